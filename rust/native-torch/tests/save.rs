//! Graphs written as files for torch, read back: every operation, and every model of the fixtures.

mod common;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use common::Random;
use native_torch::{
    Result,
    eval::Function,
    graph::{Blocks, Builder, Dim, Graph, Op, Unary},
    load,
    save::{self, Format},
    tensor::{DType, Tensor},
};
use serde_json::{Value, json};

/// A graph of known sizes with a point.
struct Example {
    name: String,
    graph: Graph,
    /// The same graph with open sizes, which is written instead.
    open: Option<Graph>,
    x: Vec<f64>,
    integers: Vec<i64>,
}

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models")
}

fn read<T: serde::de::DeserializeOwned>(path: &str) -> T {
    serde_json::from_slice(&std::fs::read(models().join(path)).unwrap()).unwrap()
}

fn sizes(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&size| Dim::Size(size)).collect()
}

/// The model of a file for the shapes that lie beside it, with the point there.
fn example(file: &str, answers: &Value) -> Example {
    let model = load::open(models().join(file)).unwrap().model().unwrap();
    let shapes: Vec<Vec<usize>> = match answers.get("shapes") {
        Some(shapes) => serde_json::from_value(shapes.clone()).unwrap(),
        None => vec![serde_json::from_value(answers["input_shape"].clone()).unwrap()],
    };
    let shapes: Vec<Vec<Dim>> = shapes.iter().map(|shape| sizes(shape)).collect();
    let number = |v: &Value| v.as_f64().unwrap_or_else(|| v.as_str().unwrap().parse().unwrap());
    let integers: Option<Vec<i64>> = answers.get("integers").map(|list| serde_json::from_value(list.clone()).unwrap());
    // Some operations take indices that are known only.
    let (graph, integers) = match model.graph_of(&shapes) {
        Ok(graph) => (graph, integers),
        Err(_) => (model.graph_given(Some(&shapes), &integers.unwrap_or_default()).unwrap(), None),
    };
    Example {
        name: file.to_owned(),
        graph,
        open: None,
        x: answers["x"].as_array().unwrap().iter().map(number).collect(),
        integers: integers.unwrap_or_default(),
    }
}

/// The networks that together use every operation, at points of their own.
fn cases() -> Vec<Example> {
    let mut random = Random(3);
    let example = |case: common::Case| {
        let n = case.graph.inputs().iter().map(|input| case.graph.numel(input.value)).sum();
        let name = format!("case {}", case.name);
        Example { name, graph: case.graph, open: None, x: random.vector(n), integers: Vec::new() }
    };
    common::cases().into_iter().chain(common::flows()).map(example).collect()
}

/// Models whose sizes are left open where torch leaves them, at sizes that are not the ones of their files.
fn open_models() -> Vec<Example> {
    let example = |(file, open, shape): (&str, &[&str], &[usize])| {
        let model = load::open(models().join(file)).unwrap().model().unwrap();
        let dim = |text: &&str| text.parse().map_or_else(|_| Dim::symbol(text), Dim::Size);
        let open = match open {
            [] => model.graph(None).unwrap(),
            open => model.graph_of(&[open.iter().map(dim).collect()]).unwrap(),
        };
        let graph = open.specialize(&[shape.to_vec()]).unwrap();
        let x = Random(4).vector(shape.iter().product());
        Example { name: format!("open {file}"), graph, open: Some(open), x, integers: Vec::new() }
    };
    [
        ("nets/mlp_gelu_layernorm.pt", &[][..], &[3, 5][..]),
        ("nets/cnn.pt", &["N", "1", "4", "5"], &[2, 1, 4, 5]),
        ("exported/residual_open.pt2", &[], &[5, 2, 4, 4]),
        ("layers/adaptivemaxpool2d_none.pt", &["N", "1", "H", "W"], &[2, 1, 9, 11]),
        ("layers/conv2d_circular_1.pt", &["N", "2", "H", "W"], &[2, 2, 9, 11]),
    ]
    .into_iter()
    .map(example)
    .collect()
}

/// The models of the fixtures.
fn fixtures() -> Vec<Example> {
    let names = |folder: &str| -> Vec<String> { read(&format!("{folder}index.json")) };
    let mut examples = Vec::new();
    for (folder, ends) in [("", &[".pt"][..]), ("inputs/", &[".pt"]), ("exported/", &[".pt2", "_core.pt2"])] {
        for name in names(folder) {
            let answers: Value = read(&format!("{folder}{name}.json"));
            let ends = ends.iter().filter(|end| **end != "_core.pt2" || answers.get("core_refused").is_none());
            examples.extend(ends.map(|end| example(&format!("{folder}{name}{end}"), &answers)));
        }
    }
    for (file, answers) in read::<Vec<(String, String)>>("scripted/index.json") {
        examples.push(example(&format!("scripted/{file}"), &read(&answers)));
    }
    examples
}

/// f, and one product of the Jacobian from the left.
struct Numbers {
    y: Vec<f64>,
    v: Vec<f64>,
    vjp: Vec<f64>,
}

fn numbers(graph: &Graph, x: &[f64], integers: &[i64]) -> Result<Numbers> {
    let f = Function::compile(&graph.with_integers(integers)?, DType::F64)?;
    let (mut y, mut vjp, v) = (vec![0.0; f.m()], vec![0.0; f.n()], Random(9).vector(f.m()));
    f.value(&mut f.workspace(), x, &mut y)?;
    f.vjp(&mut f.workspace(), x, &v, &mut vjp)?;
    Ok(Numbers { y, v, vjp })
}

fn read_back(bytes: Vec<u8>, graph: &Graph) -> Result<Graph> {
    let shapes: Vec<Vec<Dim>> = graph.inputs().iter().map(|input| graph.ty(input.value).shape.clone()).collect();
    load::from_bytes(bytes)?.model()?.graph_of(&shapes)
}

/// The largest difference, as a fraction of the largest magnitude.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    let largest = expected.iter().filter(|v| v.is_finite()).fold(1e-3f64, |m, v| m.max(v.abs()));
    let one = |(a, b): (&f64, &f64)| if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() / largest };
    let worst = |m: f64, d: f64| if d.is_nan() { f64::INFINITY } else { m.max(d) };
    found.iter().zip(expected).map(one).fold(if found.len() == expected.len() { 0.0 } else { f64::INFINITY }, worst)
}

/// What is wrong with the file that is written of an example.
fn fault(example: &Example, format: Format) -> Option<String> {
    let found = save::to_bytes(example.open.as_ref().unwrap_or(&example.graph), format, DType::F64)
        .and_then(|bytes| read_back(bytes, &example.graph))
        .and_then(|graph| numbers(&graph, &example.x, &example.integers));
    let expected = numbers(&example.graph, &example.x, &example.integers).unwrap();
    match found {
        // Control in code follows from sizes where it is read.
        Err(error) if format == Format::Script && error.message().contains("depends on") => None,
        Err(error) => Some(error.to_string()),
        Ok(found) => {
            let differences = [difference(&found.y, &expected.y), difference(&found.vjp, &expected.vjp)];
            differences.iter().any(|d| *d > 1e-12).then(|| format!("differences {differences:?}"))
        }
    }
}

fn check(examples: Vec<Example>) {
    let mut faults = Vec::new();
    for example in &examples {
        for format in Format::ALL {
            faults.extend(fault(example, format).map(|fault| format!("{} as {format}: {fault}", example.name)));
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), examples.len(), faults.join("\n"));
}

#[test]
fn every_operation_is_written_and_read_back() {
    check(cases());
}

#[test]
fn models_are_written_and_read_back() {
    check(fixtures());
}

#[test]
fn sizes_may_be_left_open() {
    check(open_models());
}

#[test]
fn weights_keep_their_names_and_are_stored_once() {
    let mut b = Builder::new();
    let x = b.input("x", sizes(&[2]));
    let weight = Tensor::from_slice(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let mut h = x;
    for name in ["a.0.weight", "a.1.weight", "a.0.weight", "a.odd \"name\""] {
        let parameter = b.parameter(name, weight.clone());
        h = b.linear(h, parameter, None).unwrap();
    }
    let unused = b.parameter("unused", weight);
    b.unary(Unary::Relu, unused).unwrap();
    let graph = b.finish(&[("y", h)]).unwrap();
    assert_eq!(save::trained_in(&graph), DType::F64);
    for format in Format::ALL {
        for (float, size) in [(DType::F64, 32), (DType::F32, 16)] {
            let file = load::from_bytes(save::to_bytes(&graph, format, float).unwrap()).unwrap();
            file.verify(&mut |_, _| {}).unwrap();
            let tensors = file.tensors().unwrap();
            let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, ["a.0.weight", "a.1.weight", "a.odd \"name\""], "{format}");
            let storage = |at: usize| Arc::as_ptr(tensors[at].tensor.as_ref().unwrap().storage());
            assert!(storage(0) == storage(1) && storage(1) == storage(2), "{format}");
            assert!(file.archive_records().any(|(_, bytes)| bytes == size), "{format}");
        }
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    let message = |graph: &Graph, float| save::script(graph, float).unwrap_err().to_string();
    let graph = common::graph(&[2, 4, 4, 4], |b, _, x| {
        let blocks = Blocks { kernel: vec![2; 3], stride: vec![1; 3], dilation: vec![1; 3] };
        b.set_scope("layer `3`");
        b.node(Op::Unfold(blocks), &[x]).unwrap()
    });
    assert!(message(&graph, DType::F64).contains("layer `3`: windows over 3 dimensions"));
    assert!(message(&graph, DType::F16).contains("float64 or float32, not in float16"));
    let error = save::to_file(&graph, Format::Exported, DType::F64, "no/such/folder/model.pt2").unwrap_err();
    assert_eq!(error.kind(), native_torch::ErrorKind::Io);
    assert!(Format::of(Path::new("model.onnx")).unwrap_err().to_string().contains(".pt2"));
    let folder = std::env::temp_dir().join(format!("native-torch-save-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // What was there stays where writing fails, and no part of a file is left.
    std::fs::write(folder.join("model.pt2"), "old").unwrap();
    save::to_file(&graph, Format::Exported, DType::F64, folder.join("model.pt2")).unwrap_err();
    assert_eq!(std::fs::read(folder.join("model.pt2")).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Writes all examples with our numbers for `test/models/check_saved.py`, which lets torch run them.
#[test]
#[ignore = "writes files for torch, to the folder $NATIVE_TORCH_SAVED"]
fn written_for_torch() {
    let folder = PathBuf::from(std::env::var_os("NATIVE_TORCH_SAVED").expect("NATIVE_TORCH_SAVED names a folder"));
    std::fs::create_dir_all(&folder).unwrap();
    let mut index = Vec::new();
    for (at, Example { name, graph, open, x, integers }) in
        cases().into_iter().chain(open_models()).chain(fixtures()).enumerate()
    {
        let inputs: Vec<Value> = graph
            .inputs()
            .iter()
            .map(|input| json!({"shape": graph.sizes(input.value), "float": graph.ty(input.value).dtype.is_float()}))
            .collect();
        let ours = numbers(&graph, &x, &integers).unwrap();
        let texts = |numbers: &[f64]| -> Vec<String> { numbers.iter().map(|v| format!("{v:?}")).collect() };
        let mut files = Vec::new();
        for format in Format::ALL {
            let file = format!("{at}.{format}");
            save::to_file(open.as_ref().unwrap_or(&graph), format, DType::F64, folder.join(&file)).unwrap();
            files.push(file);
        }
        index.push(json!({
            "name": name, "files": files, "inputs": inputs, "x": texts(&x), "integers": integers,
            "y": texts(&ours.y), "v": texts(&ours.v), "vjp": texts(&ours.vjp),
        }));
    }
    std::fs::write(folder.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
}
