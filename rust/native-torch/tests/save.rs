//! Graphs written as files for torch, read back: every operation, and every model of the fixtures.

mod common;

use std::path::{Path, PathBuf};

use common::Random;
use native_torch::{
    Result,
    eval::Function,
    graph::{Dim, Graph},
    load, save,
    tensor::DType,
};
use serde_json::{Value, json};

/// A graph of known sizes with a point.
struct Example {
    name: String,
    graph: Graph,
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
    let integers = answers.get("integers").map(|list| serde_json::from_value(list.clone()).unwrap());
    Example {
        name: file.to_owned(),
        graph: model.graph_of(&shapes).unwrap(),
        x: answers["x"].as_array().unwrap().iter().map(number).collect(),
        integers: integers.unwrap_or_default(),
    }
}

/// The networks that together use every operation, at points of their own.
fn cases() -> Vec<Example> {
    let mut random = Random(3);
    let example = |case: common::Case| {
        let n = case.graph.inputs().iter().map(|input| case.graph.numel(input.value)).sum();
        Example { name: format!("case {}", case.name), graph: case.graph, x: random.vector(n), integers: Vec::new() }
    };
    common::cases().into_iter().map(example).collect()
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

type Write = fn(&Graph, DType) -> Result<Vec<u8>>;

const FORMATS: [(&str, Write); 1] = [("pt", save::script)];

/// What is wrong with the file that is written of an example.
fn fault(example: &Example, write: Write) -> Option<String> {
    let found = write(&example.graph, DType::F64)
        .and_then(|bytes| read_back(bytes, &example.graph))
        .and_then(|graph| numbers(&graph, &example.x, &example.integers));
    let expected = numbers(&example.graph, &example.x, &example.integers).unwrap();
    match found {
        Err(error) if error.message().contains("is not written; control") => None,
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
        for (format, write) in FORMATS {
            faults.extend(fault(example, write).map(|fault| format!("{} as {format}: {fault}", example.name)));
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

/// Writes all examples with our numbers for `test/models/check_saved.py`, which lets torch run them.
#[test]
#[ignore = "writes files for torch, to the folder $NATIVE_TORCH_SAVED"]
fn written_for_torch() {
    let folder = PathBuf::from(std::env::var_os("NATIVE_TORCH_SAVED").expect("NATIVE_TORCH_SAVED names a folder"));
    std::fs::create_dir_all(&folder).unwrap();
    let mut index = Vec::new();
    for (at, Example { name, graph, x, integers }) in cases().into_iter().chain(fixtures()).enumerate() {
        let inputs: Vec<Value> = graph
            .inputs()
            .iter()
            .map(|input| json!({"shape": graph.sizes(input.value), "float": graph.ty(input.value).dtype.is_float()}))
            .collect();
        let ours = numbers(&graph, &x, &integers).unwrap();
        let texts = |numbers: &[f64]| -> Vec<String> { numbers.iter().map(|v| format!("{v:?}")).collect() };
        let mut files = Vec::new();
        for (format, write) in FORMATS {
            let file = format!("{at}.{format}");
            std::fs::write(folder.join(&file), write(&graph, DType::F64).unwrap()).unwrap();
            files.push(file);
        }
        index.push(json!({
            "name": name, "files": files, "inputs": inputs, "x": texts(&x), "integers": integers,
            "y": texts(&ours.y), "v": texts(&ours.v), "vjp": texts(&ours.vjp),
        }));
    }
    std::fs::write(folder.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
}
