//! Links libgcc's unwinder into the library, where there is one.
//!
//! Otherwise a host decides whose `_Unwind_*` Rust's panics go through: Debian's Julia 1.5 puts LLVM's libunwind in front
//! of libgcc's, and a panic that should be caught then ends the process. The symbols stay hidden (rustc's version script
//! exports the `nt_*` alone), so that the host's own unwinding is not touched either.

use std::{env, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CC");
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") != "linux" || target("ENV") != "gnu" {
        return;
    }
    if let Some(archive) = libgcc_eh() {
        // In front of the standard library's own `-lgcc_s`, which is then not needed.
        println!("cargo::rustc-link-search=native={}", archive.parent().expect("a file").display());
        println!("cargo::rustc-link-lib=static:+whole-archive,-bundle=gcc_eh");
        println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,libgcc_eh.a");
    }
}

/// The path of `libgcc_eh.a`, as the C compiler knows it.
fn libgcc_eh() -> Option<PathBuf> {
    let compilers = env::var("CC").into_iter().chain(["cc".to_owned(), "gcc".to_owned()]);
    compilers.filter_map(|cc| Command::new(cc).arg("-print-file-name=libgcc_eh.a").output().ok()).find_map(|output| {
        let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        path.is_absolute().then_some(path).filter(|path| path.is_file())
    })
}
