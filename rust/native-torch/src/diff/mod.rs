//! Derivatives: the local rules of element-wise functions, and the structure of Jacobian and Hessian.
//!
//! The engine (`eval`) computes with these rules; derivatives of operations that mix elements stand beside their
//! kernels there, under the same names.

mod pattern;
mod structure;
pub mod unary;

pub use pattern::{Pattern, Terms, hessian_pattern, hessian_structure, jacobian_pattern, jacobian_structure};
pub use structure::{Colours, Structure};
