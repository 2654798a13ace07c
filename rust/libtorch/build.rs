//! Compiles the C++ part, and lets the library find libtorch: where it was built, or in its own folder.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cpp");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = env::var("LIBTORCH").ok().filter(|folder| !folder.is_empty()) else {
        println!("cargo::error=LIBTORCH must name the folder of libtorch 2.13.0: the one with `include` and `lib`");
        return;
    };
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .include(format!("{libtorch}/include"))
        .include(format!("{libtorch}/include/torch/csrc/api/include"))
        .file("cpp/module.cpp")
        .compile("native_torch_module");
    for folder in ["$ORIGIN", &format!("{libtorch}/lib")] {
        for target in ["cdylib", "benches"] {
            println!("cargo::rustc-link-arg-{target}=-Wl,-rpath,{folder}");
        }
    }
    println!("cargo::rustc-link-lib=c10");
    println!("cargo::rustc-link-lib=torch_cpu");
    println!("cargo::rustc-link-search=native={libtorch}/lib");
}
