//! `cargo xtask bench`: the speed table.

use std::process::Command;

use crate::process::run;

fn cargo(arguments: &[&str]) -> bool {
    run(Command::new(env!("CARGO")).args(arguments)).success
}

/// Builds the library and the benchmark as they are shipped, and prints the table; with `write` also into the docs.
pub fn run_bench(write: bool) -> bool {
    let run = ["run", "--quiet", "--release", "--package", "native-torch-bench"];
    let arguments: &[&str] = if write { &["--", "--write"] } else { &[] };
    cargo(&["build", "--quiet", "--release", "--package", "native-torch-capi"]) && cargo(&[&run, arguments].concat())
}
