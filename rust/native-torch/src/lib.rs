//! Trained PyTorch models as typed graphs: values, derivatives, bounds and optimisation formulations, without Python.
//!
//! The rooms, from the ground up; a room uses only those above it in this list:
//!
//! - [`tensor`]: dtypes, sources of bytes, storage, strided views
//! - [`graph`]: operations at ATen level, typed values, shape inference, the builder
//! - [`load`]: bytes to modules, modules to graphs
//! - [`save`]: graphs to files that torch loads
//! - `diff`: structure and cost of derivatives
//! - `eval`: the native engine
//! - [`passes`]: constants and affine chains folded
//! - `bounds`, `lower`, `write`, `solve`: intervals, formulations, files of them, solvers
//! - `tighten`: bounds by linear and mixed-integer programs
#![deny(unsafe_code)]

pub mod bounds;
pub mod diff;
mod error;
pub mod eval;
pub mod graph;
pub mod load;
pub mod lower;
pub mod passes;
pub mod save;
pub mod solve;
pub mod tensor;
pub mod tighten;
pub mod write;

pub use error::{Error, ErrorKind, Result};
