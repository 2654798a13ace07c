//! The library as it is shipped.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The path of `libnative_torch.so`. Tests cannot depend on a library that Rust cannot link, so that `cargo test` alone
/// would leave it as it was, or missing.
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "native-torch-capi", "--message-format", "json"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let output = build.current_dir(checkout()).output().expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let name = format!("{}native_torch{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
        let files = messages.flat_map(|message| message.unwrap()["filenames"].as_array().cloned().unwrap_or_default());
        let mut paths = files.filter_map(|file| file.as_str().map(PathBuf::from));
        paths.find(|path| path.file_name().is_some_and(|file| *file == *name)).expect("cargo says what it built")
    })
}

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
