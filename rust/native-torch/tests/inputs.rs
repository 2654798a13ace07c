//! Models of two inputs and of integers, against what torch gives.

use std::path::{Path, PathBuf};

use native_torch::{
    bounds::{Interval, propagate},
    eval::{Function, Order},
    graph::{Builder, Dim, Graph, Op, Unary},
    load,
    lower::{Options, lower},
    tensor::{DType, Tensor},
};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models/inputs")
}

fn numbers(of: &Value, name: &str) -> Vec<f64> {
    of[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn sizes(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&size| Dim::Size(size)).collect()
}

#[track_caller]
fn assert_equal(name: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-12 * largest, "{name}: {found} is not {expected}");
    }
}

#[test]
fn models_are_those_of_torch() {
    let index: Vec<String> = serde_json::from_slice(&std::fs::read(folder().join("index.json")).unwrap()).unwrap();
    for name in index {
        let expected: Value =
            serde_json::from_slice(&std::fs::read(folder().join(format!("{name}.json"))).unwrap()).unwrap();
        let module = load::open(folder().join(format!("{name}.pt"))).unwrap().module().unwrap();
        let shapes: Vec<Vec<usize>> = serde_json::from_value(expected["shapes"].clone()).unwrap();
        let shapes: Vec<Vec<Dim>> = shapes.iter().map(|shape| sizes(shape)).collect();
        let integers: Vec<i64> = serde_json::from_value(expected["integers"].clone()).unwrap();
        let graph = module.graph_of(&shapes).unwrap().with_integers(&integers).unwrap();
        let f = Function::compile(&graph, DType::F64).unwrap();
        let (x, mu, mut ws) = (numbers(&expected, "x"), numbers(&expected, "mu"), f.workspace());
        let (n, m) = (x.len(), mu.len());
        assert_eq!((f.n(), f.m()), (n, m), "{name}");
        let (mut y, mut j, mut h) = (vec![0.0; m], vec![0.0; m * n], vec![0.0; n * n]);
        f.value(&mut ws, &x, &mut y).unwrap();
        f.jacobian(&mut ws, &x, Order::RowMajor, &mut j).unwrap();
        f.hessian(&mut ws, &x, &mu, &mut h).unwrap();
        assert_equal(&name, &y, &numbers(&expected, "y"));
        assert_equal(&name, &j, &numbers(&expected, "jacobian"));
        assert_equal(&name, &h, &numbers(&expected, "hessian"));
        let box_of_x: Vec<Interval> = x.iter().map(|&x| Interval::new(x - 0.1, x + 0.1)).collect();
        let bounds = propagate(&graph, &box_of_x).unwrap();
        let ranges = bounds.of(graph.outputs()[0].value);
        assert!(ranges.iter().zip(&y).all(|(range, &y)| range.contains(y)), "{name}");
        let formulation = lower(&graph, &bounds, &Options::default()).unwrap();
        let values = formulation.evaluate(&x).unwrap();
        let outputs: Vec<f64> = formulation.outputs().iter().map(|v| values[v.index()]).collect();
        for (found, y) in outputs.iter().zip(&y) {
            assert!((found - y).abs() <= 1e-11 * y.abs().max(1.0), "{name}: {found} is not {y}");
        }
    }
}

/// A table's rows times the other input.
fn mixed() -> Graph {
    let mut b = Builder::new();
    let words = b.integers("words", sizes(&[3]));
    let x = b.input("x", sizes(&[3, 2]));
    let table = b.parameter("table", Tensor::from_slice(&[4, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]));
    let rows = b.node(Op::Embedding, &[table, words]).unwrap();
    let y = b.node(Op::Mul, &[rows, x]).unwrap();
    let y = b.unary(Unary::Tanh, y).unwrap();
    b.finish(&[("y", y)]).unwrap()
}

#[test]
fn derivatives_are_by_the_other_inputs() {
    let f = Function::compile(&mixed().with_integers(&[3, 0, 3]).unwrap(), DType::F64).unwrap();
    assert_eq!((f.n(), f.m(), f.inputs()[0].name.as_str()), (6, 6, "x"));
    let mut j = vec![0.0; 36];
    f.jacobian(&mut f.workspace(), &[0.0; 6], Order::RowMajor, &mut j).unwrap();
    let diagonal: Vec<f64> = (0..6).map(|i| j[i * 6 + i]).collect();
    assert_eq!(diagonal, [6.0, 7.0, 0.0, 1.0, 6.0, 7.0]);
}

#[test]
fn wrong_integers_are_named() {
    let message = |integers: &[i64]| {
        let graph = mixed().with_integers(integers);
        graph.and_then(|graph| Function::compile(&graph, DType::F64).map(drop)).unwrap_err().to_string()
    };
    assert!(message(&[0, 4, 1]).contains("index 1 is 4, but the table has the rows 0 to 3"), "{}", message(&[0, 4, 1]));
    assert!(message(&[0, -1, 1]).contains("index 1 is -1"));
    for count in [0, 1, 4] {
        let expected = format!("{count} integers were given, but 3 are expected: 3 for `words` [3]");
        assert!(message(&vec![0; count]).contains(&expected), "{}", message(&vec![0; count]));
    }
    let missing = Function::compile(&mixed(), DType::F64).err().unwrap().to_string();
    assert!(missing.contains("`words` holds integers"), "{missing}");
}
