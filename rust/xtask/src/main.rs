//! The project's chores, as `cargo xtask test | bench | header | layers | conformance`.

mod bench;
mod bless;
mod conformance;
mod process;
mod report;
mod test;
mod tools;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

const USAGE: &str = "\
cargo xtask test [--highs]   install what the tests need, run all of them, count
                             --highs: also those of the solver HiGHS (its first build takes 8 minutes)
cargo xtask bench [--write]  print the speed table
                             --write: also into docs/benchmarks.md
cargo xtask bench libtorch [--write]
                             the same beside libtorch through tch and torch in Python, which are installed outside the
                             checkout; --write: also into docs/benchmarks-libtorch.md
cargo xtask libtorch         install libtorch 2.13.0 outside the checkout and build the backend into target/debug
cargo xtask header           write include/native_torch.h anew
cargo xtask layers           write docs/layers.md anew
cargo xtask conformance      make the fixtures anew with torch 2.13, installed outside the checkout, and compare; let torch
                             run what is written for it; make large models and compare
                             FAMILY..: of the large models these alone, as resnet or LSTM";

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("xtask lies two folders below the root").into()
}

/// Where things are installed that are no part of the checkout: `$XDG_CACHE_HOME` or `~/.cache`, in `native-torch`.
fn cache() -> PathBuf {
    let folder = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into())).join(".cache");
    folder.unwrap_or_else(home).join("native-torch")
}

/// Builds the libtorch backend, and says where it is.
fn libtorch() -> bool {
    let library = tools::libtorch().and_then(|folder| tools::backend(&folder));
    if let Some(library) = &library {
        println!("NATIVE_TORCH_LIBTORCH={}", library.display());
    }
    library.is_some()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["test"] => test::run_all(false),
        ["test", "--highs"] => test::run_all(true),
        ["bench"] => bench::run_bench(false),
        ["bench", "--write"] => bench::run_bench(true),
        ["bench", "libtorch"] => bench::run_libtorch(false),
        ["bench", "libtorch", "--write"] => bench::run_libtorch(true),
        ["libtorch"] => libtorch(),
        ["header"] => bless::write("native-torch-capi", "header"),
        ["layers"] => bless::write("native-torch", "layers"),
        ["conformance"] => conformance::run_conformance(),
        ["conformance", ref families @ ..] => conformance::run_families(families),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
