//! The conformance suite on the libtorch backend: what is evaluated. Files and formulations know nothing of backends.

#[path = "../../native-torch/tests/api/mod.rs"]
mod api;
mod common;

use api::{Engine, Rust};
use native_torch::eval::{Backend, Device};
use native_torch_conformance::suite;

struct Libtorch;

impl Engine for Libtorch {
    fn backend() -> Backend {
        common::open();
        Backend::Libtorch(Device::Cpu)
    }
}

suite! { Rust<Libtorch>:
    models { values_are_those_of_torch, single_precision_is_that_of_torch, the_default_shape_holds_one_example,
             a_function_serves_many_threads }
    derivatives { jacobians_are_those_of_torch, products_are_those_of_torch, hessians_are_those_of_torch,
                  several_points_are_as_one_by_one }
    errors { wrong_lengths_are_refused, wrong_shapes_are_refused, foreign_workspaces_are_refused }
}
