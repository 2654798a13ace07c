//! Trained PyTorch models as typed graphs: values, derivatives, bounds and optimisation formulations, without Python.
//!
//! The rooms, from the ground up; a room uses only those above it in this list:
//!
//! - [`tensor`]: dtypes, storage, memory maps, strided views
//! - [`graph`]: operations at ATen level, typed values, shape inference, the builder
//! - [`load`]: bytes to modules, modules to graphs
//! - `diff`: structure and cost of derivatives
//! - `eval`: the native engine
//! - `bounds`, `lower`, `solve`: intervals, formulations, solvers
//! - `tighten`: bounds by linear and mixed-integer programs
#![deny(unsafe_code)]

pub mod bounds;
pub mod diff;
mod error;
pub mod eval;
pub mod graph;
pub mod load;
pub mod lower;
pub mod solve;
pub mod tensor;
pub mod tighten;

pub use error::{Error, ErrorKind, Result};
