//! `cargo xtask header`: the C header.

use std::process::Command;

use crate::process::run;

/// Writes the header anew; its test knows how.
pub fn write() -> bool {
    let mut test = Command::new(env!("CARGO"));
    test.args(["test", "--quiet", "--package", "native-torch-capi", "--test", "header"]);
    run(test.env("NATIVE_TORCH_BLESS", "1")).success
}
