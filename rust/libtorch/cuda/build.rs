//! Compiles the C++ part where CUDA's headers are. libtorch's CUDA libraries need not be there yet: those that the running
//! libtorch has are taken.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The libraries that `graphs.cpp` uses.
const LIBRARIES: [&str; 2] = ["torch_cuda", "c10_cuda"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cpp");
    for name in ["LIBTORCH", "CUDA_HOME", "CUDA_PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rustc-check-cfg=cfg(has_cuda)");
    let Some(libtorch) = folder("LIBTORCH") else { return };
    let Some(cuda) = headers(&libtorch) else {
        println!(
            "cargo::warning=CUDA's headers are neither in CUDA_HOME, CUDA_PATH, $LIBTORCH/cuda nor /usr/local/cuda, or \
             libtorch has none for CUDA: without them there are no CUDA graphs, and CUDA devices launch kernel by kernel"
        );
        return;
    };
    println!("cargo::rustc-cfg=has_cuda");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .include(libtorch.join("include"))
        .include(cuda)
        .file("cpp/graphs.cpp")
        .compile("native_torch_graphs");
    let built = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for library in LIBRARIES {
        stand_in(&built, library);
    }
    let names = LIBRARIES.map(|library| format!("-l{library}")).join(",");
    println!("cargo::rustc-link-arg=-L{}", built.display());
    println!("cargo::rustc-link-arg=-Wl,--push-state,--no-as-needed,{names},--pop-state");
}

fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// The folder of CUDA's headers, where libtorch's own are there as well.
fn headers(libtorch: &Path) -> Option<PathBuf> {
    if !libtorch.join("include/c10/cuda/impl/cuda_cmake_macros.h").is_file() {
        return None;
    }
    let places =
        [folder("CUDA_HOME"), folder("CUDA_PATH"), Some(libtorch.join("cuda")), Some("/usr/local/cuda".into())];
    let mut folders = places.into_iter().flatten().map(|folder| folder.join("include"));
    folders.find(|folder| folder.join("cuda_runtime.h").is_file())
}

/// Makes an empty library of this name, so that ours names it as one that it needs.
fn stand_in(folder: &Path, library: &str) {
    let file = format!("lib{library}.so");
    let mut command = Command::new("cc");
    command.args(["-shared", "-x", "c", "/dev/null", "-o"]).arg(folder.join(&file)).arg(format!("-Wl,-soname,{file}"));
    let made = command.status().is_ok_and(|status| status.success());
    assert!(made, "cc could not make {file}");
}
