//! `cargo xtask test`: everything that can be checked on this machine, counted.

use std::{path::Path, process::Command, time::Instant};

use crate::{
    process::{Finished, capture, run},
    report::Report,
    root, tools,
};

/// Runs all tests; true if none failed.
pub fn run_all(highs: bool) -> bool {
    let mut report = Report::default();
    let cpp = tools::cpp_compiler();
    let julia = tools::julia();
    tools::solvers();

    headline("formatting and lints");
    report.step("cargo fmt", cargo(&["fmt", "--all", "--check"]).success);
    let lints = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    report.step("cargo clippy", cargo(&lints).success);

    headline("Rust and C");
    if !cpp {
        report.skip("C++17 programs", "there is no g++");
    }
    // The library first: tests load it, and so does Julia.
    report.step("libnative_torch", cargo(&["build", "--quiet", "--package", "native-torch-capi"]).success);
    report.suite("Rust and C", &cargo(&["test", "--workspace"]));
    if highs && !tools::highs_build() {
        report.step("HiGHS's build tools", false);
    } else if highs {
        report.suite("HiGHS", &cargo(&["test", "--package", "native-torch", "--features", "highs", "--test", "solve"]));
    } else {
        report.skip("HiGHS", "its first build takes 8 minutes; run `cargo xtask test --highs`");
    }

    headline("libtorch");
    libtorch(&mut report);

    headline("the README's first command");
    readme(&mut report);

    headline("Julia");
    match julia {
        Some(julia) => self::julia(&julia, &mut report),
        None => report.skip("Julia", "there is none, and it could not be installed"),
    }
    report.close()
}

fn headline(text: &str) {
    println!("\n== {text} ==");
}

fn cargo(arguments: &[&str]) -> Finished {
    run(Command::new(env!("CARGO")).args(arguments))
}

/// Builds the libtorch backend and runs its tests, where libtorch can be had.
fn libtorch(report: &mut Report) {
    let Some(folder) = tools::libtorch() else {
        return report.skip("libtorch backend", "libtorch 2.13.0 could not be installed");
    };
    let fmt = ["fmt", "--all", "--check", "--manifest-path", "rust/libtorch/Cargo.toml"];
    report.step("cargo fmt of the libtorch backend", cargo(&fmt).success);
    let lints = ["clippy", "--quiet", "--workspace", "--all-targets"];
    let mut lints = tools::backend_cargo(&lints, &folder);
    report.step("cargo clippy of the libtorch backend", run(lints.args(["--", "--deny", "warnings"])).success);
    let library = tools::backend(&folder);
    report.step("libnative_torch_libtorch", library.is_some());
    if library.is_some() {
        report.suite("libtorch backend", &run(&mut tools::backend_cargo(&["test"], &folder)));
    }
}

/// Runs the command that the README shows first, as a shell does.
fn readme(report: &mut Report) {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap_or_default();
    let mut lines = text.lines().skip_while(|line| !line.starts_with("cargo run --release -- "));
    let mut command = String::new();
    for line in lines.by_ref() {
        match line.strip_suffix('\\') {
            Some(part) => command += part,
            None => {
                command += line;
                break;
            }
        }
    }
    println!("{command}");
    let started = Instant::now();
    let finished = run(Command::new("sh").args(["-c", &command]));
    println!("({:.0} s, the build included)", started.elapsed().as_secs_f64());
    let proven = finished.lines.iter().any(|line| line.contains("optimal"));
    report.step("the README's first command", !command.is_empty() && finished.success && proven);
}

/// Runs the binding's suite, and those of the packages that this Julia can load.
fn julia(julia: &Path, report: &mut Report) {
    let version = capture(Command::new(julia).arg("--version")).lines.join(" ");
    println!("{version}");
    let program = |file: &str| {
        let library = root().join("target/debug/libnative_torch.so");
        let mut command = Command::new(julia);
        command.args(["--startup-file=no", "--project=julia", file]).env("NATIVE_TORCH_LIBRARY", library);
        run(&mut command)
    };
    report.suite(&version, &program("julia/test/runtests.jl"));
}
