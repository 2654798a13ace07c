//! Programs of `torch.export`, against what torch gives.

mod programs;

use std::path::{Path, PathBuf};

use native_torch::{
    eval::Function,
    load::{self, Format, Program},
    tensor::DType,
};
use programs::{faults, sizes};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models/exported")
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

#[test]
fn programs_are_those_of_torch() {
    let names: Vec<String> = serde_json::from_value(json("index.json")).unwrap();
    let mut all = Vec::new();
    for name in names {
        let expected = json(&format!("{name}.json"));
        let has_core = expected.get("core_refused").is_none();
        for file in [Some(format!("{name}.pt2")), has_core.then(|| format!("{name}_core.pt2"))].into_iter().flatten() {
            let tolerance =
                if file.ends_with("_core.pt2") { expected["core_tolerance"].as_f64().unwrap() } else { 1e-11 };
            let found = faults(&folder().join(&file), Format::Exported, &expected, tolerance);
            all.extend(found.into_iter().map(|fault| format!("{file}: {fault}")));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

fn program(file: &str) -> std::sync::Arc<Program> {
    match load::open(folder().join(file)).unwrap().model().unwrap() {
        load::Model::Program(program) => program,
        _ => panic!("{file} is no program of torch.export"),
    }
}

#[test]
fn control_takes_the_branch_of_each_point() {
    for (name, dtype, tolerance) in
        ["controlled", "looped"].into_iter().flat_map(|name| [(name, DType::F64, 1e-11), (name, DType::F32, 1e-5)])
    {
        let expected = json(&format!("{name}.json"));
        let f = Function::compile(&program(&format!("{name}.pt2")).graph().unwrap(), dtype).unwrap();
        let numbers = |key: &str| serde_json::from_value::<Vec<f64>>(expected[key].clone()).unwrap();
        let (x, n, m) = (numbers("x"), f.n(), f.m());
        // A point on the other side, by itself and beside the first one.
        let other: Vec<f64> = x.iter().map(|v| -v).collect();
        let mut alone = vec![0.0; m];
        f.value(&mut f.workspace(), &other, &mut alone).unwrap();
        let both = [x, other].concat();
        let mut y = vec![0.0; 2 * m];
        f.value(&mut f.workspace(), &both, &mut y).unwrap();
        let largest = numbers("y").iter().fold(1.0f64, |m, v| m.max(v.abs()));
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * largest);
        assert!(near(&y[..m], &numbers("y")) && near(&y[m..], &alone), "{name} in {}", dtype.name());
        let mut j = vec![0.0; 2 * m * n];
        f.jacobian(&mut f.workspace(), &both, native_torch::eval::Order::RowMajor, &mut j).unwrap();
        assert!(near(&j[..m * n], &numbers("jacobian")), "{name} in {}", dtype.name());
        assert_ne!(j[..m * n], j[m * n..]);
    }
}

#[test]
fn wrong_programs_are_refused_with_the_place() {
    let index: Vec<Value> = serde_json::from_value(json("refused/index.json")).unwrap();
    let mut faults = Vec::new();
    for case in index {
        let (file, words) = (case["file"].as_str().unwrap(), case["words"].as_str().unwrap());
        let graph = load::open(folder().join("refused").join(file))
            .and_then(|checkpoint| checkpoint.model())
            .and_then(|model| model.graph(None));
        match graph {
            Ok(_) => faults.push(format!("{file} is read")),
            Err(error) if !error.message().contains(words) => faults.push(format!("{file}: {error}")),
            Err(_) => {}
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn inputs_and_outputs_have_the_names_of_forward() {
    let names = |file: &str| {
        let program = program(file);
        let inputs: Vec<String> = program.inputs().into_iter().map(|input| input.name).collect();
        let outputs: Vec<String> = program.outputs().map(str::to_owned).collect();
        (inputs, outputs)
    };
    let expect = |file: &str, inputs: &[&str], outputs: &[&str]| {
        let found = names(file);
        assert_eq!(
            (&found.0[..], &found.1[..]),
            (
                &inputs.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..],
                &outputs.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..]
            ),
            "{file}"
        );
    };
    expect("residual.pt2", &["x"], &["output"]);
    expect("keywords.pt2", &["args_0.p", "args_0.q", "args_1.0", "args_1.1.0", "scale.s"], &["sum", "product"]);
    expect("shapes.pt2", &["args_0"], &["a.0", "a.1", "c.0", "c.1", "e", "f", "g"]);
    expect("lstm.pt2", &["input"], &["output.0", "output.1.0", "output.1.1"]);
    expect("multihead.pt2", &["query", "key", "value"], &["output.0", "output.1"]);
}

#[test]
fn sizes_that_are_left_open_are_those_of_the_caller() {
    let program = program("residual_open.pt2");
    assert_eq!(native_torch::graph::format_shape(program.inputs()[0].shape.as_ref().unwrap()).matches('s').count(), 1);
    let f = |batch: usize| {
        let graph = program.graph_of(&[sizes(&[batch, 2, 4, 4])])?;
        Function::compile(&graph, DType::F64).map(|f| f.m())
    };
    assert_eq!((f(1).unwrap(), f(5).unwrap()), (2, 10));
    let open = program.graph().unwrap();
    assert_eq!(open.specialize(&[vec![4, 2, 4, 4]]).unwrap().sizes(open.outputs()[0].value), [4, 2]);
    assert!(f(65).unwrap_err().message().contains("exported for sizes from 1 to 64"));
    let error = program.graph_of(&[sizes(&[1, 2, 4, 5])]).unwrap_err();
    assert!(error.message().contains("which [1, 2, 4, 5] does not fit"), "{error}");
    assert_eq!(Function::compile(&program.example().unwrap(), DType::F64).unwrap().m(), 2);
}

#[test]
fn tensors_have_their_names_and_share_their_memory() {
    let program = program("tied.pt2");
    let tensor = |name: &str| program.tensors().find(|tensor| tensor.name == name).unwrap().clone();
    let storage = |name: &str| std::sync::Arc::as_ptr(tensor(name).tensor.unwrap().storage());
    assert_eq!(storage("a.weight"), storage("c.weight"));
    assert_eq!(storage("part"), storage("gaps"));
    assert_eq!(tensor("c.weight").tensor.unwrap().strides(), [1, 3]);
    assert_eq!(tensor("repeated").tensor.unwrap().strides(), [1, 0]);
    assert!(tensor("part").info.is_parameter && !tensor("constant").info.is_parameter);
    assert_eq!(tensor("free").info.shape, Some(vec![3]));
}

#[test]
fn layouts_of_every_age_hold_the_same_program() {
    let value = |file: &str| {
        let checkpoint = load::open(folder().join("layouts").join(file)).unwrap();
        checkpoint.verify(&mut |_, _| {}).unwrap();
        let f = Function::compile(&checkpoint.model().unwrap().example().unwrap(), DType::F64).unwrap();
        let mut y = vec![0.0; f.m()];
        let x: Vec<f64> = (0..f.n()).map(|i| i as f64 / 2.0 - 1.0).collect();
        f.value(&mut f.workspace(), &x, &mut y).unwrap();
        y
    };
    let now = value("now.pt2");
    for file in ["flat.pt2", "flat_oldest.pt2", "between.pt2"] {
        assert_eq!(value(file), now, "{file}");
    }
    assert_eq!(value("infinity.pt2"), [-1.0, -0.5]);
}

#[test]
fn files_are_known_by_what_they_hold() {
    let bytes = std::fs::read(folder().join("residual.pt2")).unwrap();
    let model = load::from_bytes(bytes).unwrap();
    assert_eq!(model.format(), Format::Exported);
    assert!(model.module().unwrap_err().message().contains("a program of torch.export.save"));
    assert!(model.root().is_err());
    assert_eq!(model.tensors().unwrap()[0].name, "conv1.weight");
}
