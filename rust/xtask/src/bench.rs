//! The speed table, and the header.

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

/// Writes the header anew.
pub fn header() -> bool {
    let mut test = Command::new(env!("CARGO"));
    test.args(["test", "--quiet", "--package", "native-torch-capi", "--test", "header"]);
    run(test.env("NATIVE_TORCH_BLESS", "1")).success
}
