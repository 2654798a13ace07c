//! `include/native_torch.h` is what cbindgen makes of this crate, and says what everything is for.

use std::path::Path;

/// The files that the header is made of, in the order in which a reader wants them.
const SOURCES: [&str; 10] = [
    "version.rs",
    "status.rs",
    "source.rs",
    "tensors.rs",
    "model.rs",
    "value.rs",
    "function.rs",
    "libtorch.rs",
    "bounds.rs",
    "formulation.rs",
];
/// Files without anything for C, but for the structs that others use.
const SUPPORT: [&str; 3] = ["lib.rs", "strings.rs", "types.rs"];

fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is well formed");
    let mut builder = cbindgen::Builder::new().with_config(config).with_src(root.join("src/strings.rs"));
    for source in SOURCES {
        builder = builder.with_src(root.join("src").join(source));
    }
    let mut header = Vec::new();
    builder.generate().expect("cbindgen understands the sources").write(&mut header);
    String::from_utf8(header).unwrap()
}

#[test]
fn no_source_is_forgotten() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found: Vec<String> =
        sources.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut known: Vec<&str> = SOURCES.into_iter().chain(SUPPORT).collect();
    found.sort();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn every_exported_function_is_in_the_header_with_its_documentation() {
    let header = generated();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut names = Vec::new();
    for source in SOURCES.into_iter().chain(SUPPORT) {
        let text = std::fs::read_to_string(sources.join(source)).unwrap();
        let exported = text.split("extern \"C\" fn ").skip(1);
        names.extend(exported.map(|rest| rest.split('(').next().unwrap().to_owned()));
    }
    assert!(names.len() > 20, "{names:?}");
    let lines: Vec<&str> = header.lines().collect();
    for name in names {
        let declaration = format!("{name}(");
        let at = lines.iter().position(|line| line.contains(&declaration) && !line.trim_start().starts_with('*'));
        let at = at.unwrap_or_else(|| panic!("{name} is not in the header"));
        let above = lines[..at].iter().rev().find(|line| **line != "NT_MUST_USE");
        assert_eq!(above, Some(&" */"), "{name} is not documented");
    }
}

#[test]
fn the_committed_header_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include/native_torch.h");
    let generated = generated();
    if std::env::var_os("NATIVE_TORCH_BLESS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let line = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        committed == generated,
        "include/native_torch.h is stale (first at line {}); renew it with\n    \
         NATIVE_TORCH_BLESS=1 cargo test -p native-torch-capi --test header",
        line.map_or("the end".to_owned(), |line| (line + 1).to_string()),
    );
}
