//! The native engine: a graph compiled to a plan of kernels with their buffers, in f64 or f32. The libtorch backend beside
//! it, which computes the same.

mod backend;
mod call;
mod chain;
mod function;
mod hessian;
mod jacobian;
mod kernels;
pub mod libtorch;
mod matmul;
mod matrix;
mod memory;
mod narrow;
mod pass;
mod plan;
mod registers;
mod simd;

pub use backend::{Backend, Device};
pub use function::{Function, Order, Signature, Workspace};
pub(crate) use matmul::{Panels, add_transposed_product};
