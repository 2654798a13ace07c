//! `cargo xtask header | layers`: files that a test generates and compares.

use std::process::Command;

use crate::process::run;

/// Writes the file anew; its test knows how.
pub fn write(package: &str, test: &str) -> bool {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--quiet", "--package", package, "--test", test]);
    run(command.env("NATIVE_TORCH_BLESS", "1")).success
}
