//! Pickles put together opcode by opcode, and zip archives header by header, for the tests of this room.

use std::sync::Arc;

use super::{
    assemble_in_memory,
    contents::Contents,
    input::Input,
    module,
    records::{Pickle, Record},
    tensors::Tensors,
    value::Records,
};
use crate::{Error, Result, load::Module, tensor::Source};

/// Opcodes that leave one value on the stack.
pub(super) type Code = Vec<u8>;

pub(super) fn none() -> Code {
    b"N".to_vec()
}

pub(super) fn boolean(value: bool) -> Code {
    vec![if value { 0x88 } else { 0x89 }]
}

pub(super) fn int(value: i32) -> Code {
    [b"J".as_slice(), &value.to_le_bytes()].concat()
}

pub(super) fn float(value: f64) -> Code {
    [b"G".as_slice(), &value.to_be_bytes()].concat()
}

pub(super) fn text(value: &str) -> Code {
    [b"X".as_slice(), &(value.len() as u32).to_le_bytes(), value.as_bytes()].concat()
}

pub(super) fn tuple(elements: &[Code]) -> Code {
    [b"(".as_slice(), &elements.concat(), b"t"].concat()
}

pub(super) fn dict(entries: &[(&str, Code)]) -> Code {
    let entries: Vec<Code> = entries.iter().map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(".as_slice(), &entries.concat(), b"u"].concat()
}

/// `name` is `module.class`.
pub(super) fn global(name: &str) -> Code {
    let (module, class) = name.rsplit_once('.').unwrap();
    format!("c{module}\n{class}\n").into_bytes()
}

pub(super) fn call(name: &str, arguments: &[Code]) -> Code {
    [global(name), tuple(arguments), b"R".to_vec()].concat()
}

/// A module with what torch 1.0 stored of every one, and attributes of its own.
pub(super) fn object(
    class: &str,
    parameters: &[(&str, Code)],
    children: &[(&str, Code)],
    more: &[(&str, Code)],
) -> Code {
    let mut state = vec![
        ("training", boolean(true)),
        ("_parameters", dict(parameters)),
        ("_buffers", dict(&[])),
        ("_backward_hooks", call("collections.OrderedDict", &[])),
        ("_forward_hooks", call("collections.OrderedDict", &[])),
        ("_forward_pre_hooks", call("collections.OrderedDict", &[])),
        ("_modules", dict(children)),
    ];
    for (name, value) in more {
        state.retain(|entry| entry.0 != *name);
        state.push((name, value.clone()));
    }
    [global(class), b")\x81".to_vec(), dict(&state), b"b".to_vec()].concat()
}

/// A float32 tensor of this shape in storage `key`, which has `numel` elements.
pub(super) fn tensor(key: &str, numel: i32, shape: &[i32]) -> Code {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let ints = |values: &[i32]| tuple(&values.iter().map(|&value| int(value)).collect::<Vec<_>>());
    let id = tuple(&[text("storage"), global("torch.FloatStorage"), text(key), text("cpu"), int(numel)]);
    let hooks = call("collections.OrderedDict", &[]);
    let storage = [id, b"Q".to_vec()].concat();
    call("torch._utils._rebuild_tensor_v2", &[storage, int(0), ints(shape), ints(&strides), boolean(false), hooks])
}

pub(super) fn pickle(value: Code) -> Code {
    [b"\x80\x02".as_slice(), &value, b"."].concat()
}

/// The records of a pickle, with storages of float32 zeros.
pub(super) fn assembled(bytes: &[u8], storages: &[(&str, usize)]) -> Result<Arc<Records>> {
    assemble_in_memory(bytes, storages.iter().map(|&(key, numel)| (key.to_owned(), vec![0; 4 * numel])))
}

/// The records of a value, with storages of float32 zeros.
pub(super) fn records(value: Code, storages: &[(&str, usize)]) -> Result<Arc<Records>> {
    assembled(&pickle(value), storages)
}

/// The module of a value.
pub(super) fn read_module(value: Code, storages: &[(&str, usize)]) -> Result<Module> {
    let records = records(value, storages)?;
    module::read(&records, records.root())
}

/// A pickle in memory.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle> {
    // A source is never empty; nothing behind the pickle is read.
    let source = Source::from_bytes([bytes, b"!"].concat())?;
    super::pickle::read(&mut Input::new(&source, 0..bytes.len()), "data.pkl")
}

/// The record that a whole pickle stands for.
pub(super) fn root(bytes: &[u8]) -> Result<Record> {
    let mut pickle = read(bytes)?;
    let root = pickle.root().0 as usize;
    Ok(std::mem::replace(&mut pickle.records[root], Record::None))
}

/// The records of a pickle without tensors.
pub(super) fn plain(pickle: Pickle) -> Records {
    let tensors = Tensors::new(&pickle, Contents::default());
    Records { pickle, tensors }
}

/// The message of an error.
pub(super) fn message<T>(result: Result<T>) -> String {
    result.err().as_ref().map(Error::to_string).expect("an error")
}

/// A zip archive of stored records in the folder `model`, with zip64 ends if asked for.
pub(super) fn zip(records: &[(&str, &[u8])], zip64: bool) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in records {
        let name = format!("model/{name}");
        let offset = file.len() as u32;
        let crc = crc32fast::hash(bytes).to_le_bytes();
        let length = (bytes.len() as u32).to_le_bytes();
        let common = [&[0; 8][..], &crc, &length, &length, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        file.extend([b"PK\x03\x04\x14\0", &common[..], name.as_bytes(), bytes].concat());
        let tail = [&[0; 10][..], &offset.to_le_bytes(), name.as_bytes()].concat();
        directory.extend([b"PK\x01\x02\x14\0\x14\0", &common[..], &tail].concat());
    }
    let (offset, size, count) = (file.len() as u64, directory.len() as u64, records.len() as u64);
    file.extend(directory);
    let [offset, size, count] = [offset, size, count].map(u64::to_le_bytes);
    if zip64 {
        let end = file.len() as u64;
        file.extend([b"PK\x06\x06\x2c\0\0\0\0\0\0\0", &[0; 12][..], &count, &count, &size, &offset].concat());
        file.extend([b"PK\x06\x07\0\0\0\0", &end.to_le_bytes()[..], &[1, 0, 0, 0]].concat());
        file.extend([&b"PK\x05\x06\0\0\0\0"[..], &[0xff; 12], &[0; 2]].concat());
    } else {
        file.extend([&b"PK\x05\x06\0\0\0\0"[..], &count[..2], &count[..2], &size[..4], &offset[..4], &[0; 2]].concat());
    }
    file
}
