//! Files that torch 2.13 wrote, loaded and made graphs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use native_torch::{
    ErrorKind, Result,
    eval::Function,
    graph::{Dim, Op, Unary},
    load::{self, Layer, Module},
    tensor::DType,
};
use serde_json::Value;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn models() -> PathBuf {
    checkout().join("test/models")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().unwrap(),
        other => other.as_f64().unwrap(),
    };
    value.as_array().unwrap().iter().map(number).collect()
}

fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect()
}

/// The output's sizes and values at `x`.
fn evaluate(module: &Module, shape: &[usize], x: &[f64]) -> Result<(Vec<usize>, Vec<f64>)> {
    let dims: Vec<Dim> = shape.iter().map(|&size| Dim::Size(size)).collect();
    let graph = module.graph(Some(&dims))?;
    let function = Function::compile(&graph, DType::F64)?;
    let mut y = vec![0.0; function.m()];
    function.value(&mut function.workspace(), x, &mut y)?;
    Ok((graph.sizes(graph.outputs()[0].value), y))
}

fn worst(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(f64::MIN_POSITIVE, |scale, value| scale.max(value.abs()));
    found.iter().zip(expected).fold(0.0, |worst, (a, b)| worst.max((a - b).abs() / scale))
}

#[test]
fn the_digits_example_becomes_a_graph() {
    let checkpoint = load::open(checkout().join("docs/examples/digits/digits.pt")).unwrap();
    let names: Vec<String> = checkpoint.tensors().unwrap().into_iter().map(|tensor| tensor.name).collect();
    assert_eq!(names, ["0.weight", "0.bias", "2.weight", "2.bias"]);
    let module = checkpoint.module().unwrap();
    assert!(matches!(module.layer(), Layer::Sequential));
    let layers: Vec<String> = module.layers().map(|layer| layer.describe()).collect();
    assert_eq!(
        layers,
        [
            "Linear(in_features=64, out_features=16, bias=True)",
            "ReLU(inplace=False)",
            "Linear(in_features=16, out_features=10, bias=True)"
        ]
    );
    let graph = module.graph(None).unwrap();
    let ops: Vec<&Op> = graph.nodes().iter().map(|node| &node.op).collect();
    assert_eq!(ops, [&Op::Linear, &Op::Unary(Unary::Relu), &Op::Linear]);
    assert_eq!(graph.ty(graph.outputs()[0].value).shape, [Dim::symbol("N"), Dim::Size(10)]);
    assert_eq!(graph.nodes()[2].scope, "layer `2` (torch.nn.modules.linear.Linear)");
    let mut last = (0, 1);
    checkpoint.verify(&mut |done, total| last = (done, total)).unwrap();
    assert_eq!(last, (6480, 6480));
}

#[test]
fn every_fixture_has_the_values_that_torch_gave() {
    let mut failures = Vec::new();
    let index = json(&models().join("index.json"));
    for name in index.as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
        let expected = json(&models().join(format!("{name}.json")));
        let tolerance = if name.starts_with("layers/") { 1e-12 } else { 1e-11 };
        let shape = sizes(&expected["input_shape"]);
        let found = load::open(models().join(format!("{name}.pt")))
            .and_then(|checkpoint| checkpoint.module())
            .and_then(|module| evaluate(&module, &shape, &numbers(&expected["x"])));
        match found {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok((shape, _)) if shape != sizes(&expected["output_shape"]) => failures.push(format!("{name}: {shape:?}")),
            Ok((_, y)) => {
                let worst = worst(&y, &numbers(&expected["y"]));
                if worst > tolerance {
                    failures.push(format!("{name}: relative error {worst:e}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), index.as_array().unwrap().len(), failures.join("\n"));
}

/// What `words` asks for that `message` does not say.
fn missing_words(entry: &Value, message: &str) -> Vec<String> {
    let message = message.to_lowercase();
    let says = |word: &Value| message.contains(&word.as_str().unwrap().to_lowercase());
    let mut missing = Vec::new();
    for word in entry["words"].as_array().unwrap().iter().chain(entry.get("place")) {
        let said = match word {
            Value::Array(choices) => choices.iter().any(says),
            Value::Null => true,
            word => says(word),
        };
        if !said {
            missing.push(word.to_string());
        }
    }
    missing
}

/// Opens a file and uses all of it: its module as a graph, evaluated where it is legal.
fn use_up(path: &Path, entry: &Value) -> Result<Vec<f64>> {
    let checkpoint = load::open(path)?;
    checkpoint
        .tensors()
        .map(drop)
        .or_else(|error| if error.kind() == ErrorKind::Unsupported { Ok(()) } else { Err(error) })?;
    let module = checkpoint.module()?;
    for layer in module.layers() {
        layer.describe();
    }
    let x = entry.get("x").map_or_else(|| vec![2.0, -1.0, 4.0], numbers);
    // A layer over lines, images or volumes needs one of these.
    let spatial: [(&str, &[usize]); 3] = [("1d", &[1, 1, 20]), ("2d", &[1, 1, 4, 5]), ("3d", &[1, 1, 2, 2, 5])];
    let class = module.layers().next().map_or("", |layer| layer.class());
    let (shape, x) = match spatial.iter().find(|(name, _)| class.contains(name)) {
        Some((_, shape)) => (shape.to_vec(), vec![1.0; 20]),
        None => (vec![x.len()], x),
    };
    evaluate(&module, &shape, &x).map(|(_, y)| y)
}

#[test]
fn hostile_and_refused_files_get_errors_that_name_the_thing_and_the_place() {
    let mut failures = Vec::new();
    let mut count = 0;
    for folder in ["hostile", "refused"] {
        let folder = models().join(folder);
        for entry in json(&folder.join("index.json")).as_array().unwrap() {
            count += 1;
            let file = entry["file"].as_str().unwrap();
            let outcome = entry["outcome"].as_str().unwrap();
            let start = std::time::Instant::now();
            let found = use_up(&folder.join(file), entry);
            let seconds = start.elapsed().as_secs_f64();
            let fault = match (&found, outcome) {
                (Ok(y), "legal") | (Ok(y), "error or legal") => {
                    let expected = entry.get("y").map(numbers);
                    let same = |y: &[f64]| {
                        expected
                            .as_ref()
                            .is_none_or(|e| y.iter().zip(e).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())))
                    };
                    if same(y) { None } else { Some(format!("gave {y:?}")) }
                }
                (Ok(_), _) => Some("no error".to_owned()),
                (Err(error), "legal") => Some(error.to_string()),
                (Err(error), _) => {
                    let message = error.to_string();
                    let missing = missing_words(entry, &message);
                    let unclean = message.contains(char::is_control) || message.len() > 600;
                    (unclean || !missing.is_empty()).then(|| format!("lacks {missing:?}: {message}"))
                }
            };
            failures.extend(fault.map(|fault| format!("{file} ({outcome}): {fault}")));
            if seconds > 2.0 {
                failures.push(format!("{file}: took {seconds} s"));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
}
