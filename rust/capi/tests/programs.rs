//! The C and C++ programs of `test/c`, against the library as it is shipped.

mod abi;

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use abi::{checkout, library};

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// The compilers with what makes them read C11 and C++17: `$CC` or gcc, `$CXX` or g++.
fn languages() -> [(&'static str, String, &'static [&'static str]); 2] {
    let compiler = |variable: &str, default: &str| env::var(variable).unwrap_or_else(|_| default.to_owned());
    [
        ("C11", compiler("CC", "gcc"), &["-std=c11", "-x", "c"]),
        ("C++17", compiler("CXX", "g++"), &["-std=c++17", "-x", "c++"]),
    ]
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// What a command writes to standard output and standard error; a failure shows it.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// Calls `check` with each language whose compiler is there; the others are reported.
fn in_each_language(what: &str, check: impl Fn(&str, &str, &[&str])) {
    for (language, compiler, flags) in languages() {
        if Command::new(&compiler).arg("--version").output().is_ok() {
            check(language, &compiler, flags);
        } else {
            // Past the test harness, which would swallow it.
            let _ = writeln!(std::io::stdout(), "skipped: {what} in {language}: there is no {compiler}");
        }
    }
}

/// Compiles a program of `test/c` in both languages, and runs it on the fixtures; it prints nothing when all is well.
fn program(name: &str) {
    let library = library();
    let beside = library.parent().unwrap();
    in_each_language(name, |language, compiler, flags| {
        let executable = folder().join(format!("{name}-{language}"));
        let mut compile = Command::new(compiler);
        compile.args(STRICT).args(flags).arg(checkout().join(format!("test/c/{name}.c"))).args(["-x", "none", "-g"]);
        compile.arg("-I").arg(checkout().join("include")).arg("-o").arg(&executable);
        compile.arg(library).arg(format!("-Wl,-rpath,{}", beside.display())).args(["-lm", "-pthread"]);
        run(&mut compile);
        let printed = run(Command::new(executable).arg(checkout().join("test/models")));
        assert_eq!(printed, "", "{name} in {language}");
    });
}

macro_rules! programs {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                program(stringify!($name));
            }
        )*

        #[test]
        fn every_program_is_run() {
            let mut names: Vec<String> = fs::read_dir(checkout().join("test/c"))
                .unwrap()
                .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".c")?.to_owned()))
                .collect();
            names.sort();
            let mut known = vec![$(stringify!($name)),*];
            known.sort_unstable();
            assert_eq!(names, known);
        }
    };
}
programs!(status, model, function, formulation, threads);

#[test]
fn the_header_stands_alone() {
    in_each_language("the header", |language, compiler, flags| {
        let source = folder().join(format!("header-{language}.c"));
        fs::write(&source, "#include \"native_torch.h\"\n#include \"native_torch.h\"\nint unused;\n").unwrap();
        let include = checkout().join("include");
        run(Command::new(compiler).args(STRICT).args(flags).arg("-fsyntax-only").arg("-I").arg(include).arg(&source));
    });
}

#[test]
fn a_result_that_is_ignored_is_a_warning() {
    in_each_language("ignored results", |_, compiler, flags| {
        let source = folder().join("ignored.c");
        fs::write(&source, "#include \"native_torch.h\"\nvoid f(void) { nt_model_verify(NULL); }\n").unwrap();
        let mut compile = Command::new(compiler);
        compile.args(STRICT).args(flags).arg("-I").arg(checkout().join("include"));
        compile.arg("-c").arg(&source).arg("-o").arg(folder().join("ignored.o"));
        let complaint = compile.output().unwrap().stderr;
        assert!(String::from_utf8_lossy(&complaint).contains("nt_model_verify"));
    });
}
