//! Whole models of torchvision, and the layers of sequences, as `test/models/families.py` makes them: values and products
//! of the Jacobian against torch's, in both precisions and on both engines. Run by `cargo xtask conformance`.

use std::path::{Path, PathBuf};

use native_torch::{
    Result,
    eval::{Backend, Device, Function},
    graph::Dim,
    load,
    tensor::DType,
};
use serde_json::Value;

/// What the differences may be, as fractions of the largest magnitude, in f64 and in f32.
const LIMITS: [f64; 2] = [1e-10, 1e-5];

fn array(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    bytes.chunks_exact(8).map(|chunk| f64::from_le_bytes(chunk.try_into().unwrap())).collect()
}

fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let worst = found.iter().zip(expected).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    if found.iter().any(|v| v.is_nan()) { f64::NAN } else { worst / largest }
}

/// The engines that are there: libtorch's library is named where it was built.
fn engines() -> Vec<(&'static str, Backend)> {
    let libtorch = std::env::var_os("NATIVE_TORCH_LIBTORCH").map(|_| ("libtorch", Backend::Libtorch(Device::Cpu)));
    [("native", Backend::Native)].into_iter().chain(libtorch).collect()
}

/// The differences of f and of v'J in f64 and in f32.
fn differences(folder: &Path, name: &str, file: &str, shapes: &[Vec<Dim>], backend: Backend) -> Result<[f64; 4]> {
    let model = load::open(folder.join(file))?.model()?;
    let numbers = |what: &str| array(&folder.join(format!("{name}.{what}")));
    let (x, v) = (numbers("x"), numbers("v"));
    let mut all = [0.0; 4];
    for (at, (dtype, bits)) in [(DType::F64, 64), (DType::F32, 32)].into_iter().enumerate() {
        let f = Function::of_model(&model, Some(shapes), &[], dtype, backend)?;
        let (mut y, mut vjp, mut workspace) = (vec![0.0; f.m()], vec![0.0; f.n()], f.workspace());
        f.value(&mut workspace, &x, &mut y)?;
        f.vjp(&mut workspace, &x, &v, &mut vjp)?;
        all[2 * at] = difference(&y, &numbers(&format!("y{bits}")));
        all[2 * at + 1] = difference(&vjp, &numbers(&format!("vjp{bits}")));
    }
    Ok(all)
}

#[test]
#[ignore = "reads the models in the folder $NATIVE_TORCH_FAMILIES"]
fn families_are_those_of_torch() {
    let folder =
        PathBuf::from(std::env::var_os("NATIVE_TORCH_FAMILIES").expect("NATIVE_TORCH_FAMILIES names a folder"));
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort_unstable();
    assert!(!names.is_empty(), "{} holds no models", folder.display());
    let mut faults = 0;
    for name in names {
        let answers: Value =
            serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap();
        let shapes: Vec<Vec<usize>> = serde_json::from_value(answers["shapes"].clone()).unwrap();
        let shapes: Vec<Vec<Dim>> =
            shapes.into_iter().map(|shape| shape.into_iter().map(Dim::Size).collect()).collect();
        for (ending, reason) in answers["failed"].as_object().unwrap() {
            println!("| {name}{ending} | torch does not write it: {} |", reason.as_str().unwrap().replace('\n', " "));
        }
        for file in answers["files"].as_array().unwrap() {
            let file = file.as_str().unwrap();
            for (engine, backend) in engines() {
                match differences(&folder, &name, file, &shapes, backend) {
                    Ok(all) => {
                        let good = all.iter().enumerate().all(|(at, d)| *d <= LIMITS[at / 2]);
                        let cells: Vec<String> = all.iter().map(|d| format!("{d:.1e}")).collect();
                        let remark = if good { "" } else { " too far from torch" };
                        println!("| {file} | {engine} | {} |{remark}", cells.join(" | "));
                        faults += usize::from(!good);
                    }
                    Err(error) => {
                        println!("| {file} | {engine} | {error} |");
                        faults += 1;
                    }
                }
            }
        }
    }
    assert_eq!(faults, 0, "files that are not as torch has them");
}
