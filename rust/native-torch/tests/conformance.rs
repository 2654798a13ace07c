//! The conformance suite on the Rust API.

mod api;

use api::{Engine, Rust};
use native_torch::eval::Backend;
use native_torch_conformance::suite;

struct Native;

impl Engine for Native {
    fn backend() -> Backend {
        Backend::Native
    }
}

suite!(Rust<Native>);
