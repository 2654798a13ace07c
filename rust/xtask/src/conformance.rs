//! `cargo xtask conformance`: torch itself says anew what is right.

use std::{ffi::OsString, process::Command};

use crate::{
    cache,
    process::{exists, run},
};

/// What the fixtures are made with.
const PACKAGES: [&str; 2] = ["torch==2.13.0", "numpy"];

/// Makes the fixtures with torch and compares them with the committed ones, then runs the suite that reads them.
pub fn run_conformance() -> bool {
    let Some(python) = python() else { return false };
    let made = run(Command::new(python).arg("test/models/make.py")).success;
    let same = run(Command::new("git").args(["diff", "--exit-code", "--stat", "--", "test/models"])).success;
    if !same {
        println!("the fixtures made anew differ from the committed ones");
    }
    let cargo = |arguments: &[&str]| run(Command::new(env!("CARGO")).args(arguments)).success;
    made && same && cargo(&["test", "--package", "native-torch", "--package", "native-torch-capi", "conformance"])
}

/// A Python with torch: `$NATIVE_TORCH_PYTHON`, or one made outside the checkout.
fn python() -> Option<OsString> {
    if let Some(python) = std::env::var_os("NATIVE_TORCH_PYTHON") {
        return Some(python);
    }
    let folder = cache().join("python");
    let python = folder.join("bin/python");
    if !exists(&python.to_string_lossy()) {
        println!("making {} with {} (some 5 GB) ..", folder.display(), PACKAGES.join(", "));
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).success
            && run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES)).success;
        if !made {
            // Else the next run would take the torso for the whole.
            let _ = std::fs::remove_dir_all(&folder);
            return None;
        }
    }
    Some(python.into())
}
