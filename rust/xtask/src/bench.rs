//! `cargo xtask bench`: the speed table.

use std::process::Command;

use crate::process::run;

fn cargo(arguments: &[&str]) -> bool {
    run(Command::new(env!("CARGO")).args(arguments)).success
}

/// Builds the library and the benchmark as they are shipped, and prints the table.
pub fn run_bench() -> bool {
    cargo(&["build", "--quiet", "--release", "--package", "native-torch-capi"])
        && cargo(&["run", "--quiet", "--release", "--package", "native-torch-bench"])
}
