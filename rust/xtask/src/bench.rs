//! `cargo xtask bench`: the speed tables.

use std::{path::Path, process::Command};

use crate::{cache, conformance, process::run, root, tools};

fn cargo(arguments: &[&str]) -> bool {
    run(Command::new(env!("CARGO")).args(arguments)).success
}

/// Builds the library and the benchmark as they are shipped, and prints the table; with `write` also into the docs.
pub fn run_bench(write: bool) -> bool {
    let run = ["run", "--quiet", "--release", "--package", "native-torch-bench"];
    let arguments: &[&str] = if write { &["--", "--write"] } else { &[] };
    let done = cargo(&["build", "--quiet", "--release", "--package", "native-torch-capi"])
        && cargo(&[&run, arguments].concat());
    println!("skipped: libtorch; run `cargo xtask bench libtorch`");
    done
}

/// The table beside libtorch: installs libtorch, torch and torchvision outside the checkout, and makes the models there.
pub fn run_libtorch(write: bool) -> bool {
    let Some(libtorch) = tools::libtorch() else { return false };
    let Some(python) = conformance::python() else { return false };
    let Some(vision) = conformance::vision(&python) else { return false };
    let models = cache().join("bench");
    let script = "rust/libtorch/benches/speed/baseline.py";
    let make = |folder: &Path| {
        let mut make = Command::new(&python);
        run(make.args([script, "make"]).arg(folder).env("PYTHONPATH", &vision)).success
    };
    // Moved when it is whole, so that the next run does not take a part for it.
    let part = models.with_extension("part");
    let made = models.exists() || (make(&part) && std::fs::rename(&part, &models).is_ok());
    if !made {
        return false;
    }
    let built = cargo(&["build", "--quiet", "--release", "--package", "native-torch-bench"])
        && run(&mut tools::backend_cargo(&["build", "--quiet", "--release"], &libtorch)).success;
    let mut bench = tools::backend_cargo(&["bench", "--quiet", "--bench", "speed"], &libtorch);
    if write {
        bench.args(["--", "--write"]);
    }
    bench.env("NATIVE_TORCH_MODELS", models).env("NATIVE_TORCH_PYTHON", python).env("PYTHONPATH", vision);
    built && run(bench.env("NATIVE_TORCH_BENCH", root().join("target/release/native-torch-bench"))).success
}
