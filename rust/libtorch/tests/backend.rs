//! What libtorch computes of TorchScript, against torch's own numbers, and what it says where it cannot.

mod common;

use std::path::{Path, PathBuf};

use common::open;
use native_torch::{
    Error, Result,
    eval::{Backend, Device, Function, Order},
    graph::Dim,
    load::{self, Model},
    tensor::DType,
};
use serde_json::Value;

const CPU: Backend = Backend::Libtorch(Device::Cpu);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models")
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

fn model(file: &str) -> Model {
    load::open(folder().join(file)).unwrap().model().unwrap()
}

fn numbers(of: &Value, name: &str) -> Vec<f64> {
    of[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn sizes(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&size| Dim::Size(size)).collect()
}

/// The largest error, relative to the largest number.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-300f64, |m, v| m.max(v.abs()));
    found.iter().zip(expected).fold(0.0, |m, (a, b)| if (a - b).abs() <= m { m } else { (a - b).abs() }) / largest
}

/// A vector that is no point of a test.
fn direction(n: usize) -> Vec<f64> {
    (1..=n).map(|i| (i as f64).sin()).collect()
}

/// Everything that a function computes: f, J, J'mu, H, and J v and H v for v of [`direction`].
fn all(f: &Function, x: &[f64], mu: &[f64]) -> Result<[Vec<f64>; 6]> {
    let (n, m, mut ws) = (f.n(), f.m(), f.workspace());
    let v = direction(n);
    let mut out = [m, m * n, n, n * n, m, n].map(|length| vec![0.0; length]);
    f.value(&mut ws, x, &mut out[0])?;
    f.jacobian(&mut ws, x, Order::RowMajor, &mut out[1])?;
    f.vjp(&mut ws, x, mu, &mut out[2])?;
    f.hessian(&mut ws, x, mu, &mut out[3])?;
    f.jvp(&mut ws, x, &v, &mut out[4])?;
    f.hvp(&mut ws, x, mu, &v, &mut out[5])?;
    Ok(out)
}

/// The same from torch's numbers of f, J and H.
fn expected(numbers_of: &Value) -> [Vec<f64>; 6] {
    let [x, mu, y, j, h] = ["x", "mu", "y", "jacobian", "hessian"].map(|name| numbers(numbers_of, name));
    let (n, m) = (x.len(), mu.len());
    let product = |matrix: &[f64], v: &[f64]| -> Vec<f64> {
        matrix.chunks(n.max(1)).map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum()).collect()
    };
    let vjp = (0..n).map(|c| (0..m).map(|r| mu[r] * j[r * n + c]).sum()).collect();
    let (jvp, hvp) = (product(&j, &direction(n)), product(&h, &direction(n)));
    [y, j, vjp, h, jvp, hvp]
}

fn faults(file: &str, numbers_of: &Value, backend: Backend, dtype: DType, tolerance: f64) -> Result<Vec<String>> {
    let shapes: Vec<Vec<usize>> = serde_json::from_value(numbers_of["shapes"].clone()).unwrap();
    let shapes: Vec<Vec<Dim>> = shapes.iter().map(|shape| sizes(shape)).collect();
    let integers: Vec<i64> = serde_json::from_value(numbers_of["integers"].clone()).unwrap();
    let f = Function::of_model(&model(file), Some(&shapes), &integers, dtype, backend)?;
    let found = all(&f, &numbers(numbers_of, "x"), &numbers(numbers_of, "mu"))?;
    let names = ["f", "J", "J'u", "H", "J v", "H v"];
    let each = names.iter().zip(found.iter().zip(expected(numbers_of)));
    let wrong = each.map(|(name, (found, expected))| (name, distance(found, &expected)));
    Ok(wrong.filter(|(_, d)| *d > tolerance).map(|(name, d)| format!("{name} differs by {d:.1e}")).collect())
}

/// Files with those that hold torch's numbers for them.
fn scripted() -> Vec<(String, String)> {
    let all: Vec<(String, String)> = serde_json::from_value(json("scripted/index.json")).unwrap();
    all.into_iter().map(|(file, numbers)| (format!("scripted/{file}"), numbers)).collect()
}

/// The same, of programs of torch.export as they were exported and in core form.
fn foreign() -> Vec<(String, String)> {
    let names: Vec<String> = serde_json::from_value(json("foreign/index.json")).unwrap();
    let files =
        |name: &String| ["", "_core"].map(|form| (format!("foreign/{name}{form}.pt2"), format!("foreign/{name}.json")));
    names.iter().flat_map(files).collect()
}

#[track_caller]
fn compare(files: Vec<(String, String)>, dtype: DType, tolerance: f64) {
    open();
    let mut wrong = Vec::new();
    for (file, numbers) in files {
        match faults(&file, &json(&numbers), CPU, dtype, tolerance) {
            Ok(found) => wrong.extend(found.into_iter().map(|fault| format!("{file}: {fault}"))),
            Err(error) => wrong.push(format!("{file}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn torchscript_runs_as_it_is_in_double() {
    compare(scripted(), DType::F64, 1e-11);
}

#[test]
fn torchscript_runs_as_it_is_in_single() {
    compare(scripted(), DType::F32, 2e-3);
}

#[test]
fn programs_run_call_by_call_in_double() {
    compare(foreign(), DType::F64, 1e-11);
}

#[test]
fn programs_run_call_by_call_in_single() {
    compare(foreign(), DType::F32, 2e-3);
}

#[test]
fn the_native_engine_names_what_it_lacks() {
    // In core form, some of them are made of others.
    for (file, _) in foreign().into_iter().filter(|(file, _)| !file.ends_with("_core.pt2")) {
        let error = Function::of_model(&model(&file), None, &[], DType::F64, Backend::Native).err();
        assert_eq!(error.map(|error| error.kind()), Some(native_torch::ErrorKind::Unsupported), "{file}");
    }
    let error = error_of(Function::of_model(&model("foreign/special.pt2"), None, &[], DType::F64, Backend::Native));
    for words in ["aten.lgamma.default (", "aten.erfinv.default (", ".py line ", "\"libtorch\""] {
        assert!(error.message().contains(words), "{words}: {error}");
    }
}

#[test]
fn what_libtorch_lacks_too_is_named() {
    open();
    let mut wrong = Vec::new();
    for refused in json("foreign/refused/index.json").as_array().unwrap() {
        let (file, words) = (refused["file"].as_str().unwrap(), refused["words"].as_str().unwrap());
        let compile = |model: &Model| Function::of_model(model, None, &[], DType::F64, CPU).map(drop);
        let opened = load::open(folder().join("foreign/refused").join(file)).and_then(|file| file.model());
        match opened.and_then(|model| compile(&model)) {
            Ok(()) => wrong.push(format!("{file} runs")),
            Err(error) if !error.message().contains(words) => wrong.push(format!("{file}: {error}")),
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn parameters_have_gradients() {
    open();
    let model = model("nets/mlp_tanh.pt");
    let f = Function::of_model(&model, None, &[], DType::F64, CPU).unwrap();
    let names: Vec<&str> = f.parameters().iter().map(|parameter| parameter.name.as_str()).collect();
    let count = f.parameters().iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum();
    assert_eq!(names[..2], ["0.0.weight", "0.0.bias"]);
    let (mut ws, x) = (f.workspace(), direction(f.n()));
    let u: Vec<f64> = (0..f.m()).map(|i| 1.0 + i as f64).collect();
    let mut gradient = vec![0.0; 2 * count];
    f.parameter_gradient(&mut ws, &[&x[..], &x[..]].concat(), &[&u[..], &u[..]].concat(), &mut gradient).unwrap();
    assert_eq!(gradient[..count], gradient[count..]);
    // W0's gradient is b0's times x.
    let width = f.parameters()[0].shape[0];
    let (weight, bias) = gradient[..count].split_at(width * f.n());
    let product: Vec<f64> = (0..width).flat_map(|i| x.iter().map(move |x| bias[i] * x)).collect();
    assert!(distance(weight, &product) < 1e-14);
    // The last bias adds to the output itself.
    assert_eq!(gradient[count - f.m()..count], u);
    let native = Function::of_model(&model, None, &[], DType::F64, Backend::Native).unwrap();
    let refused = native.parameter_gradient(&mut native.workspace(), &x, &u, &mut []).unwrap_err();
    assert!(refused.message().contains("libtorch"), "{refused}");
}

fn error_of(result: Result<Function>) -> Error {
    result.err().unwrap()
}

#[test]
fn devices_that_are_not_there_say_what_to_do() {
    let info = open();
    assert_eq!(info.version, "2.13.0");
    let device = Device::Cuda(info.cuda_devices as u16);
    let model = model("scripted/mlp_traced.pt");
    let error = error_of(Function::of_model(&model, None, &[], DType::F64, Backend::Libtorch(device)));
    let words = if info.cuda_devices == 0 { "use the device \"cpu\"" } else { "there is no device" };
    assert!(error.message().contains(words), "{error}");
}

/// A CUDA device launches from a recording after the first calls of a kind.
#[test]
fn repeated_calls_agree_on_every_device() {
    let devices = (0..open().cuda_devices as u16).map(Device::Cuda).chain([Device::Cpu]);
    for device in devices {
        for (file, shape) in [("nets/mlp_tanh.pt", &[10][..]), ("nets/cnn_smooth.pt", &[1, 1, 5, 6])] {
            let (model, shapes) = (model(file), [sizes(shape)]);
            let compile = |backend| Function::of_model(&model, Some(&shapes), &[], DType::F64, backend).unwrap();
            let (native, f) = (compile(Backend::Native), compile(Backend::Libtorch(device)));
            let mu = direction(f.m());
            for point in 1..6 {
                let x: Vec<f64> = direction(f.n()).iter().map(|v| v / f64::from(point)).collect();
                let (found, expected) = (all(&f, &x, &mu).unwrap(), all(&native, &x, &mu).unwrap());
                for (what, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert!(distance(found, expected) < 1e-10, "{file} on {device}, point {point}, result {what}");
                }
            }
        }
    }
}

#[test]
fn threads_share_a_function_on_every_device() {
    let devices = (0..open().cuda_devices as u16).map(Device::Cuda).chain([Device::Cpu]);
    for device in devices {
        let model = model("nets/mlp_tanh.pt");
        let f = Function::of_model(&model, None, &[], DType::F64, Backend::Libtorch(device)).unwrap();
        let (x, u) = (direction(f.n()), direction(f.m()));
        let count = f.parameters().iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum();
        let both = || {
            let (mut ws, mut gradient, mut product) = (f.workspace(), vec![0.0; count], vec![0.0; f.n()]);
            f.parameter_gradient(&mut ws, &x, &u, &mut gradient).unwrap();
            f.vjp(&mut ws, &x, &u, &mut product).unwrap();
            (gradient, product)
        };
        let alone = both();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| (0..8).map(|_| both()).collect::<Vec<_>>())).collect();
            for found in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
                assert!(distance(&found.0, &alone.0) < 1e-12 && distance(&found.1, &alone.1) < 1e-12, "{device}");
            }
        });
    }
}

#[test]
fn a_model_without_parameters_has_no_gradient_by_them() {
    open();
    let model = model("nets/empty.pt");
    let f = Function::of_model(&model, Some(&[sizes(&[3])]), &[], DType::F64, CPU).unwrap();
    assert!(f.parameters().is_empty());
    f.parameter_gradient(&mut f.workspace(), &[1.0, 2.0, 3.0], &[1.0; 3], &mut []).unwrap();
}
