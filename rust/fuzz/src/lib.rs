//! What the fuzz targets do with a file once they have put it together: everything that a user would.

use native_torch::{
    ErrorKind,
    graph::Dim,
    load::{self, Value},
};

/// Longer tensors are not read, so that an input takes milliseconds.
const ELEMENTS: usize = 1 << 16;

/// Opens a file in memory, reads its tensors, walks its values, and makes graphs of its module.
///
/// # Panics
/// Where the library says of itself that it has a defect.
pub fn use_up(bytes: Vec<u8>) {
    let checkpoint = match load::from_bytes(bytes) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return assert_ne!(error.kind(), ErrorKind::Internal, "{error}"),
    };
    let _ = checkpoint.verify(&mut |_, _| {});
    if let Ok(tensors) = checkpoint.tensors() {
        for tensor in tensors.into_iter().filter_map(|found| found.tensor.ok()).filter(|t| t.numel() <= ELEMENTS) {
            let _ = (tensor.to_vec::<f64>(), tensor.to_vec::<i64>(), tensor.to_complex_vec::<f32>());
        }
    }
    if let Ok(root) = checkpoint.root() {
        walk(&root);
    }
    let Ok(model) = checkpoint.model() else { return };
    let _ = (model.describe(), model.parameter_count(), model.unsupported(), model.inputs(), model.example());
    for layer in model.module().iter().flat_map(|module| module.layers()) {
        let _ = (layer.describe(), layer.parameter_count());
    }
    for shape in [None, Some([2, 3].map(Dim::Size).to_vec()), Some([1, 1, 4, 5].map(Dim::Size).to_vec())] {
        if let Err(error) = model.graph(shape.as_deref()) {
            assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
        }
    }
}

/// Looks at values in breadth; what is shared or cyclic ends it.
fn walk(root: &Value) {
    let mut queue = vec![root.clone()];
    for _ in 0..1000 {
        let Some(value) = queue.pop() else { return };
        let _ =
            (value.to_string(), value.kind(), value.as_f64(), value.as_int_bytes(), value.as_bytes(), value.class());
        queue.extend(value.elements().into_iter().flatten());
        queue.extend(value.entries().into_iter().flatten().flat_map(|(key, value)| [key, value]));
        queue.extend(value.attributes().into_iter().flatten().map(|(_, value)| value));
        queue.extend(value.arguments().into_iter().flatten());
    }
}

/// A zip archive of stored records with right checksums, as torch lays them out.
pub fn zip(records: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in records {
        let name = format!("m/{name}");
        let offset = file.len() as u32;
        let length = (bytes.len() as u32).to_le_bytes();
        let crc = crc32fast::hash(bytes).to_le_bytes();
        let common = [&[0; 8][..], &crc, &length, &length, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        file.extend([b"PK\x03\x04\x14\0", &common[..], name.as_bytes(), bytes].concat());
        let tail = [&[0; 10][..], &offset.to_le_bytes(), name.as_bytes()].concat();
        directory.extend([b"PK\x01\x02\x14\0\x14\0", &common[..], &tail].concat());
    }
    let [offset, size] = [file.len(), directory.len()].map(|n| (n as u32).to_le_bytes());
    let count = (records.len() as u16).to_le_bytes();
    file.extend(directory);
    file.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &offset, &[0; 2]].concat());
    file
}
