//! Other formats, recognised by their first bytes or their records so that their refusal says what they are.

use super::{Format, archive::Archive, exported, legacy, script, tar};
use crate::{Error, Result, tensor::Source};

/// What to do about a file that is not what `torch.save` writes.
const SAVE_AGAIN: &str = "load it in Python and save it with torch.save(model, path)";

/// The format of a file; an error that names it where `torch.save` writes no such.
pub(crate) fn format(source: &Source) -> Result<Format> {
    let mut buffer = Vec::new();
    let start = source.read(0..source.len().min(64), &mut buffer)?;
    if start.starts_with(b"PK") {
        return Ok(Format::Zip);
    }
    if tar::is_tar(source) {
        return Ok(Format::Tar);
    }
    if legacy::is_legacy(source) {
        return Ok(Format::Legacy);
    }
    let refuse = |what: &str, advice: &str| Err(Error::unsupported(format!("this is {what}; {advice}")));
    if is_safetensors(start, source.len()) {
        return refuse("a safetensors file, which is not read yet", SAVE_AGAIN);
    }
    if start.starts_with(b"\x80") && start.get(1).is_some_and(|&protocol| (2..=5).contains(&protocol)) {
        return refuse("a bare pickle without tensors' storages", SAVE_AGAIN);
    }
    if is_onnx(start) {
        return refuse("an ONNX model, which is not read yet", "save the torch model with torch.save(model, path)");
    }
    for (magic, what) in [
        (&b"\x89HDF\r\n"[..], "an HDF5 file (Keras?)"),
        (b"GGUF", "a GGUF file"),
        (b"\x1f\x8b", "a gzip file; unpack it first if there is a torch file in it"),
        (b"\x93NUMPY", "a NumPy array"),
    ] {
        if start.starts_with(magic) {
            return refuse(what, "torch.save(model, path) makes the files that are read here");
        }
    }
    // Protocols 0 and 1 have no magic; GLOBAL or MARK and a last STOP give them away.
    let mut buffer = Vec::new();
    let end = source.read(source.len() - 1..source.len(), &mut buffer)?;
    if matches!(start.first(), Some(b'c' | b'(' | b'}' | b']')) && end == b"." {
        return refuse("a bare pickle without tensors' storages", SAVE_AGAIN);
    }
    Err(Error::format(format!(
        "no file that torch.save writes: it begins with the bytes {}, not with those of a zip archive",
        start[..start.len().min(8)].escape_ascii()
    )))
}

/// The first 8 bytes are the length of a JSON object that follows.
fn is_safetensors(start: &[u8], file: usize) -> bool {
    let Some(Ok(length)) = start.get(..8).map(<[u8; 8]>::try_from) else { return false };
    let length = u64::from_le_bytes(length);
    start.get(8) == Some(&b'{') && length >= 2 && length <= file as u64 - 8
}

/// A protobuf message whose field 1 (`ir_version`) is a small number and whose next one has a tag of `ModelProto`.
fn is_onnx(start: &[u8]) -> bool {
    matches!(start, [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72, ..])
}

/// What a zip archive holds, a pickle or a program; an error that names anything else.
pub(crate) fn archive(archive: &Archive) -> Result<Format> {
    if let Some(error) = other_archive(archive.names().map(str::to_owned)) {
        return Err(error);
    }
    if archive.names().any(exported::is_record_of_program) {
        return Ok(Format::Exported);
    }
    if archive.names().any(script::is_record_of_script) {
        return Ok(Format::Script);
    }
    if archive.record("data.pkl").is_some() {
        return Ok(Format::Zip);
    }
    Err(Error::format(
        "the zip archive has no record `data.pkl`, so torch.save did not write it; save the model with \
         torch.save(model, path)",
    ))
}

/// The error that names another format, from the names of the records below the top folder.
pub(crate) fn other_archive(names: impl Iterator<Item = String>) -> Option<Error> {
    let names: Vec<String> = names.collect();
    let any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    let refusal = if any(&|name| {
        name == "data.pkl" || script::is_record_of_script(name) || exported::is_record_of_program(name)
    }) {
        return None;
    } else if any(&exported::is_record_of_package) {
        "this is a package of AOTInductor: machine code for one kind of processor, with no graph in it; save the exported \
         program itself with torch.export.save(program, path)"
    } else if any(&|name| name == "archive_format") {
        "this is a .pt2 archive without an exported program; write one with torch.export.save(program, path)"
    } else if any(&|name| name.ends_with(".npy")) {
        "this is a NumPy .npz archive; torch.save(model, path) makes the files read here"
    } else {
        return None;
    };
    Some(Error::unsupported(refusal))
}
