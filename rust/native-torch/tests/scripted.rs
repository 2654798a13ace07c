//! Programs of TorchScript, against what torch gives.

mod programs;

use std::path::{Path, PathBuf};

use native_torch::{
    eval::Function,
    load::{self, Format, Model},
    tensor::DType,
};
use programs::{faults, sizes};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models")
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

fn model(file: &str) -> Model {
    load::open(folder().join("scripted").join(file)).unwrap().model().unwrap()
}

#[test]
fn traced_scripted_and_frozen_modules_are_those_of_torch() {
    let mut all = Vec::new();
    for (file, numbers) in serde_json::from_value::<Vec<(String, String)>>(json("scripted/index.json")).unwrap() {
        let expected = json(&numbers);
        let path = folder().join("scripted").join(&file);
        let found = faults(&path, Format::Script, &expected, 1e-11);
        all.extend(found.into_iter().map(|fault| format!("{file}: {fault}")));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn control_takes_the_branch_of_each_point() {
    let expected = json("scripted/decides.json");
    let numbers = |key: &str| serde_json::from_value::<Vec<f64>>(expected[key].clone()).unwrap();
    let (x, y) = (numbers("x"), numbers("y"));
    for (file, dtype, tolerance) in
        [("decides_scripted.pt", DType::F32, 1e-5), ("decides_frozen.pt", DType::F64, 1e-11)]
    {
        let graph = model(file).graph_of(&[sizes(&[2, 3]), sizes(&[3])]).unwrap();
        let f = Function::compile(&graph, dtype).unwrap();
        // The other point takes the other side of most branches, and fewer turns.
        let other: Vec<f64> = x.iter().map(|v| -2.0 * v).collect();
        let (mut alone, mut both) = (vec![0.0; f.m()], vec![0.0; 2 * f.m()]);
        f.value(&mut f.workspace(), &other, &mut alone).unwrap();
        f.value(&mut f.workspace(), &[x.clone(), other].concat(), &mut both).unwrap();
        let near = |a: &[f64], b: &[f64]| {
            let largest = b.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * largest)
        };
        assert!(near(&both[..f.m()], &y) && near(&both[f.m()..], &alone) && !near(&alone, &y), "{file}");
    }
}

#[test]
fn wrong_scripts_are_refused_with_the_place() {
    let index: Vec<Value> = serde_json::from_value(json("scripted/refused/index.json")).unwrap();
    let mut faults = Vec::new();
    for case in index {
        let file = case["file"].as_str().unwrap();
        let shape: Vec<usize> = serde_json::from_value(case["shape"].clone()).unwrap();
        let words: Vec<String> = serde_json::from_value(case["words"].clone()).unwrap();
        let graph = load::open(folder().join("scripted/refused").join(file))
            .and_then(|checkpoint| checkpoint.model())
            .and_then(|model| model.graph(Some(&sizes(&shape))));
        match graph {
            Ok(_) => faults.push(format!("{file} is read")),
            Err(error) => {
                let missing = words.iter().filter(|word| !error.message().contains(word.as_str()));
                faults.extend(missing.map(|word| format!("{file}: no `{word}` in: {error}")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn inputs_outputs_and_tensors_have_their_names() {
    let several = model("several_scripted.pt");
    let names: Vec<String> = several.inputs().into_iter().map(|input| input.name).collect();
    assert_eq!(names, ["a", "pair.0", "pair.1"]);
    let graph = several.graph_of(&[sizes(&[2, 2]), sizes(&[2, 3]), sizes(&[4])]).unwrap();
    let names: Vec<&str> = graph.outputs().iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["left", "right"]);
    assert!(several.graph_of(&[sizes(&[2, 2])]).unwrap_err().message().contains("3 input(s)"));
    assert!(several.example().unwrap_err().message().contains("give the shape of `a`, `pair.0`, `pair.1`"));
    let tensors = several.program_tensors();
    let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["mix.weight", "mix.bias"]);
    assert_eq!((several.parameter_count(), several.class().as_str()), (12, "cases.scripted.Several"));
    let objects = model("objects_scripted.pt");
    let names: Vec<String> = objects.inputs().into_iter().map(|input| input.name).collect();
    assert_eq!(names, ["given.x", "given.scale", "sides.left", "sides.right.0", "sides.right.1"]);
    let loops = model("loops_scripted.pt").graph(Some(&sizes(&[2, 3]))).unwrap();
    let names: Vec<&str> = loops.outputs().iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["output.0", "output.1.0", "output.1.1", "output.2.first", "output.2.last"]);
}

#[test]
fn traced_modules_know_their_shapes() {
    let traced = model("residual_traced.pt");
    assert_eq!(traced.inputs()[0].shape, Some(sizes(&[1, 2, 4, 4])));
    assert_eq!(Function::compile(&traced.example().unwrap(), DType::F64).unwrap().m(), 2);
    // Other shapes are for the code to refuse.
    assert!(traced.graph(Some(&sizes(&[5, 2, 6, 6]))).is_ok());
    let error = traced.graph(Some(&sizes(&[1, 3, 4, 4]))).unwrap_err();
    assert!(error.message().contains("layer `conv1` (torch.nn.modules.conv.Conv2d)"), "{error}");
    assert_eq!(model("words_traced.pt").inputs()[0].dtype, DType::I64);
}
