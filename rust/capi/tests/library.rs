//! What the library needs, what it exports, and that hosts survive its panics.

mod abi;

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use abi::{checkout, library};

/// The standard output of a command that must succeed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn libc_is_the_only_dependency() {
    let dynamic = output(Command::new("readelf").arg("-dW").arg(library()));
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    let names = needed.filter_map(|line| line.split_once('[')?.1.split_once(']')).map(|(name, _)| name);
    // All three are glibc.
    let foreign: Vec<&str> =
        names.filter(|name| !["libc.so", "libm.so", "ld-linux"].iter().any(|libc| name.starts_with(libc))).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn nothing_is_exported_but_what_the_header_declares() {
    let header = fs::read_to_string(checkout().join("include/native_torch.h")).unwrap();
    let symbols = output(Command::new("nm").args(["--dynamic", "--defined-only", "--format=posix"]).arg(library()));
    let exported: Vec<&str> = symbols.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(exported.len() > 20);
    for name in exported {
        assert!(header.contains(&format!("{name}(")), "{name} is not in the header");
    }
    let wanted = output(Command::new("nm").args(["--dynamic", "--undefined-only"]).arg(library()));
    assert!(!wanted.contains("_Unwind"), "the unwinder is not the library's own:\n{wanted}");
}

/// Every Julia of this machine: `$NATIVE_TORCH_JULIA`, on the path, and those under `/opt`.
fn julias() -> Vec<PathBuf> {
    let named = env::var_os("NATIVE_TORCH_JULIA").map(PathBuf::from);
    let installed = fs::read_dir("/opt").into_iter().flatten().filter_map(Result::ok);
    let installed = installed.map(|entry| entry.path().join("bin/julia")).filter(|julia| julia.is_file());
    let runs = |julia: &PathBuf| Command::new(julia).arg("--version").output().is_ok_and(|out| out.status.success());
    named.into_iter().chain([PathBuf::from("julia")]).chain(installed).filter(runs).collect()
}

#[test]
fn a_panic_does_not_end_julia() {
    let script = r#"
        using Libdl
        library = Libdl.dlopen(ARGS[1])
        for _ in 1:3
            status = ccall(Libdl.dlsym(library, :nt_check_panic), Cint, ())
            message = unsafe_string(ccall(Libdl.dlsym(library, :nt_last_error), Cstring, ()))
            status == 6 && occursin("asked for", message) || error(message)
        end
        print("alive")
    "#;
    let julias = julias();
    if julias.is_empty() {
        // Past the test harness, which would swallow it.
        let _ = writeln!(std::io::stdout(), "skipped: a panic in Julia: there is no Julia");
    }
    for julia in julias {
        let mut command = Command::new(&julia);
        command.args(["--startup-file=no", "-e", script]).arg(Path::new(library()));
        let finished = command.output().unwrap();
        let (printed, complaint) =
            (String::from_utf8_lossy(&finished.stdout), String::from_utf8_lossy(&finished.stderr));
        assert!(finished.status.success() && printed == "alive" && complaint.is_empty(), "{julia:?}: {complaint}");
    }
}
