//! `cargo xtask conformance`: torch itself says anew what is right.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cache,
    process::{capture, exists, run},
    root, tools,
};

/// What the fixtures are made with.
const PACKAGES: [&str; 2] = ["torch==2.13.0", "numpy"];
/// What the large models are made with, beside it; torch is what they depend on.
const VISION: [&str; 2] = ["torchvision==0.28.0", "pillow"];

/// Makes the fixtures with torch and compares them with the committed ones, then runs the suite that reads them.
pub fn run_conformance() -> bool {
    let Some(python) = python() else { return false };
    let made = run(Command::new(&python).arg("test/models/make.py")).success;
    let same = run(Command::new("git").args(["diff", "--exit-code", "--stat", "--", "test/models"])).success;
    if !same {
        println!("the fixtures made anew differ from the committed ones");
    }
    let cargo = |arguments: &[&str]| run(Command::new(env!("CARGO")).args(arguments)).success;
    let suite = || cargo(&["test", "--package", "native-torch", "--package", "native-torch-capi", "conformance"]);
    made && same && suite() && saved(&python) && run_families(&[])
}

/// Makes the models of these families with torch, or of all, and compares values and products of the Jacobian on both
/// engines; prints a table of the differences. The one of resnet goes through JuMP's gray box as well.
pub fn run_families(names: &[&str]) -> bool {
    let Some(python) = python() else { return false };
    let Some(vision) = vision(&python) else { return false };
    let script = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.arg("test/models/families.py").args(arguments).env("PYTHONPATH", &vision);
        command
    };
    let listed = capture(&mut script(&["--list"])).lines;
    let known: Vec<&str> = listed.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        println!("there is no family {name}; there are {}", known.join(", "));
        return false;
    }
    let names = if names.is_empty() { &known[..] } else { names };
    let backend = tools::libtorch().and_then(|folder| tools::backend(&folder));
    if backend.is_none() {
        println!("the libtorch backend could not be built: the native engine is compared alone");
    }
    let folder = cache().join("families");
    let (mut good, mut rows) = (backend.is_some(), Vec::new());
    for name in names {
        // One at a time: all of them together take some 10 GB.
        let _ = std::fs::remove_dir_all(&folder);
        let made = run(script(&[name]).arg(&folder)).success;
        let test = ["test", "--release", "--package", "native-torch", "--test", "families", "--"];
        let mut compare = Command::new(env!("CARGO"));
        compare.args(test).args(["--ignored", "--nocapture"]).env("NATIVE_TORCH_FAMILIES", &folder);
        if let Some(library) = &backend {
            compare.env("NATIVE_TORCH_LIBTORCH", library);
        }
        let compared = run(&mut compare);
        good &= made && compared.success;
        rows.extend(compared.lines.into_iter().filter(|line| line.starts_with("| ")));
        if *name == "resnet" {
            let (row, solved) = gray_box(&folder.join("resnet.pt2"));
            rows.push(format!("| resnet.pt2 | JuMP's gray box | {row} |"));
            good &= solved;
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    println!("| file | engine | f in f64 | v'J in f64 | f in f32 | v'J in f32 |");
    println!("|---|---|---|---|---|---|\n{}", rows.join("\n"));
    good
}

/// Solves a problem with a model as JuMP's gray box, where there is a Julia with JuMP: what came of it, and whether that is
/// no fault.
fn gray_box(model: &Path) -> (&'static str, bool) {
    let program = |code: &str| {
        let mut command = Command::new(std::env::var_os("JULIA").unwrap_or_else(|| "julia".into()));
        command.args(["--startup-file=no", "--project=julia", "-e", code]);
        command.env("NATIVE_TORCH_LIBRARY", root().join("target/release/libnative_torch.so"));
        command
    };
    let found = "exit(all(name -> Base.find_package(name) !== nothing, [\"JuMP\", \"Ipopt\"]) ? 0 : 1)";
    if !capture(&mut program(found)).success {
        return ("skipped: there is no Julia with JuMP and Ipopt", true);
    }
    let build = ["build", "--quiet", "--release", "--package", "native-torch-capi"];
    let mut solve = program("using Test, NativeTorch; include(\"julia/test/resnet18.jl\")");
    solve.env("NATIVE_TORCH_RESNET18", model);
    let solved = run(Command::new(env!("CARGO")).args(build)).success && run(&mut solve).success;
    (if solved { "solved" } else { "failed" }, solved)
}

/// A folder outside the checkout with torchvision.
pub fn vision(python: &OsStr) -> Option<PathBuf> {
    let folder = cache().join("vision");
    if !folder.exists() {
        println!("installing {} into {} ..", VISION.join(", "), folder.display());
        let mut install = Command::new(python);
        install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(&folder).args(VISION);
        if !run(&mut install).success {
            let _ = std::fs::remove_dir_all(&folder);
            return None;
        }
    }
    Some(folder)
}

/// Writes every model of the fixtures as files for torch, and lets torch run them.
fn saved(python: &OsStr) -> bool {
    let folder = cache().join("saved");
    let _ = std::fs::remove_dir_all(&folder);
    let test = ["test", "--package", "native-torch", "--test", "save", "--", "--ignored", "written_for_torch"];
    run(Command::new(env!("CARGO")).args(test).env("NATIVE_TORCH_SAVED", &folder)).success
        && run(Command::new(python).arg("test/models/check_saved.py").arg(&folder)).success
}

/// A Python with torch: `$NATIVE_TORCH_PYTHON`, or one made outside the checkout.
pub fn python() -> Option<OsString> {
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
