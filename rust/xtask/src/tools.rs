//! What the tests need beside cargo and a C compiler, and how it is installed on Debian.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::{
    cache,
    process::{capture, exists, run, starts},
    root,
};

/// Runs an installation, saying what is installed and how long it took.
fn install(what: &str, action: impl FnOnce() -> bool) -> bool {
    println!("installing {what} ..");
    let started = Instant::now();
    let success = action();
    let outcome = if success { "installed" } else { "could not install" };
    println!("{outcome} {what} in {:.0} s", started.elapsed().as_secs_f64());
    success
}

fn apt(arguments: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "Dpkg::Use-Pty=0"]).args(arguments);
    run(&mut command).success
}

/// A C++ compiler, for the header's tests.
pub fn cpp_compiler() -> bool {
    exists("g++") || install("g++", || apt(&["update"]) && apt(&["install", "--yes", "g++"]))
}

/// The programs that read files of formulations: the tests name those that are missing.
pub fn solvers() {
    let programs =
        [("glpsol", "glpk-utils"), ("cbc", "coinor-cbc"), ("clp", "coinor-clp"), ("gjh_asl_json", "gjh-asl-json")];
    // Ipopt is a library in Debian; a program of the tests reads `.nl` files for it.
    let headers =
        [("coin/IpStdCInterface.h", "coinor-libipopt-dev"), ("ampl-netlib-solvers/asl_pfgh.h", "libamplsolver-dev")];
    let missing = programs.iter().filter(|(program, _)| !starts(program));
    let absent = headers.iter().filter(|(header, _)| !Path::new("/usr/include").join(header).exists());
    let packages: Vec<&str> = missing.chain(absent).map(|(_, package)| *package).collect();
    if !packages.is_empty() {
        let arguments = [&["install", "--yes", "--no-install-recommends"], &packages[..]].concat();
        install(&packages.join(", "), || apt(&["update"]) && apt(&arguments));
    }
}

/// What the solver HiGHS is built with.
pub fn highs_build() -> bool {
    let libclang = || run_quietly("ldconfig", &["-p"]).iter().any(|line| line.contains("libclang"));
    let install_all = || apt(&["update"]) && apt(&["install", "--yes", "cmake", "libclang-dev"]);
    (exists("cmake") && libclang()) || install("cmake and libclang", install_all)
}

fn run_quietly(program: &str, arguments: &[&str]) -> Vec<String> {
    capture(Command::new(program).args(arguments)).lines
}

/// The Julia to test with: `$JULIA`, `julia` on the PATH, or Debian 11's.
pub fn julia() -> Option<PathBuf> {
    let named = std::env::var("JULIA").ok().filter(|julia| !julia.is_empty());
    let program = named.unwrap_or_else(|| "julia".to_owned());
    if exists(&program) || (program == "julia" && install("Debian 11's julia", debian_julia)) {
        return Some(program.into());
    }
    println!("{program} does not start");
    None
}

/// Installs Debian 11's julia beside the newer packages of this Debian. Its archive is the one that apt uses already;
/// the source is known to this call alone and leaves the machine's configuration as it is.
fn debian_julia() -> bool {
    let folder = std::env::temp_dir().join(format!("native-torch-apt-{}", std::process::id()));
    let done = debian_11(&folder).is_some_and(|options| {
        let with = |rest: &[&str]| {
            let mut arguments: Vec<&str> = options.iter().map(String::as_str).collect();
            arguments.extend_from_slice(rest);
            apt(&arguments)
        };
        with(&["update"]) && with(&["install", "--yes", "--no-install-recommends", "julia"])
    });
    // What is left behind is a few megabytes in a temporary folder.
    let _ = std::fs::remove_dir_all(&folder);
    done
}

/// The options that let apt know Debian 11 beside what it knows, with its state in `folder`.
fn debian_11(folder: &Path) -> Option<Vec<String>> {
    let release = std::fs::read_to_string("/etc/os-release").ok()?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    let targets = run_quietly("apt-get", &["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(ORIGIN)"]);
    let archive = targets.iter().find_map(|line| line.strip_suffix(&format!(" {codename} Debian")))?;
    let lists = folder.join("lists");
    std::fs::create_dir_all(lists.join("partial")).ok()?;
    let known = std::fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let sources = folder.join("sources.list");
    std::fs::write(&sources, format!("{known}\ndeb [signed-by={keys}] {archive} bullseye main\n")).ok()?;
    let option = |name: &str, path: &Path| ["-o".to_owned(), format!("{name}={}", path.display())];
    Some([option("Dir::Etc::sourcelist", &sources), option("Dir::State::lists", &lists)].concat())
}

/// What libtorch is made of: the parts of these packages that torch needs on a CPU, some 490 MB, and CUDA's headers. CUDA's
/// run time is linked by the CPU's library as well.
const LIBTORCH: [&str; 4] =
    ["torch==2.13.0", "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85", "nvidia-cuda-crt==13.0.88"];

/// The folder of libtorch 2.13.0 that the backend is built with: `$LIBTORCH`, or one made outside the checkout.
pub fn libtorch() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("LIBTORCH").filter(|folder| !folder.is_empty()) {
        return Some(folder.into());
    }
    let folder = cache().join("libtorch-2.13.0");
    // The file that is written last.
    if folder.join("build-version").is_file() || install("libtorch 2.13.0", || make_libtorch(&folder)) {
        return Some(folder);
    }
    None
}

fn make_libtorch(folder: &Path) -> bool {
    let parts = folder.with_extension("parts");
    let made = pip(&parts) && arrange(&parts, folder).inspect_err(|error| println!("{error}")).is_ok();
    // What is left behind is in the cache, and is taken away by the next try.
    let _ = std::fs::remove_dir_all(&parts);
    made
}

/// Unpacks the packages, which any Python with pip can do: nothing of them is run.
fn pip(parts: &Path) -> bool {
    let _ = std::fs::remove_dir_all(parts);
    let version = ["--python-version", "3.11", "--only-binary", ":all:"];
    let mut command = Command::new("python3");
    command
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"])
        .arg(parts);
    run(command.args(version).args(LIBTORCH)).success
}

/// Moves what is needed into a folder of the form that torch's builders expect.
fn arrange(parts: &Path, folder: &Path) -> std::io::Result<()> {
    let _ = std::fs::remove_dir_all(folder);
    let library = folder.join("lib");
    std::fs::create_dir_all(&library)?;
    let (torch, cuda) = (parts.join("torch"), parts.join("nvidia/cu13"));
    for (from, name) in [
        (&torch.join("lib"), "libtorch_cpu.so"),
        (&torch.join("lib"), "libc10.so"),
        (&torch.join("lib"), "libgomp.so.1"),
        (&cuda.join("lib"), "libcudart.so.13"),
        (&cuda.join("lib"), "libcupti.so.13"),
    ] {
        std::fs::rename(from.join(name), library.join(name))?;
    }
    std::fs::rename(torch.join("include"), folder.join("include"))?;
    std::fs::create_dir(folder.join("cuda"))?;
    std::fs::rename(cuda.join("include"), folder.join("cuda/include"))?;
    // The linker asks for it; all that it holds elsewhere is the names of the others.
    let empty = ["-shared", "-x", "c", "/dev/null", "-Wl,-soname,libtorch.so", "-o"];
    if !run(Command::new("cc").args(empty).arg(library.join("libtorch.so"))).success {
        return Err(std::io::Error::other("cc could not make libtorch.so"));
    }
    std::fs::write(folder.join("build-version"), "2.13.0\n")
}

/// Builds the libtorch backend into `target/debug`, and gives its library.
pub fn backend(libtorch: &Path) -> Option<PathBuf> {
    let built = run(&mut backend_cargo(&["build", "--quiet"], libtorch)).success;
    built.then(|| root().join("target/debug/libnative_torch_libtorch.so"))
}

/// Runs cargo in the backend's own workspace.
pub fn backend_cargo(arguments: &[&str], libtorch: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).args(["--manifest-path", "rust/libtorch/Cargo.toml", "--target-dir", "target"]);
    command.env("LIBTORCH", libtorch);
    command
}
