//! What programs give, against files of torch's own numbers.

use std::path::Path;

use native_torch::{
    bounds::{Interval, propagate},
    eval::{Function, Order},
    graph::Dim,
    load::{self, Format},
    lower::{Options, lower},
    tensor::DType,
};
use serde_json::Value;

fn numbers(of: &Value, name: &str) -> Vec<f64> {
    of[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Sizes as dimensions.
pub fn sizes(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&size| Dim::Size(size)).collect()
}

/// What a comparison finds wrong.
fn compare(what: &str, found: &[f64], expected: &[f64], tolerance: f64) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{what} has {} elements instead of {}", found.len(), expected.len()));
    }
    let largest = expected.iter().fold(1e-300f64, |m, v| m.max(v.abs()));
    let error = found.iter().zip(expected).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / largest;
    // A NaN is wrong, too.
    if error <= tolerance { None } else { Some(format!("{what} differs by {error:.1e}")) }
}

/// Everything that is wrong with one file.
pub fn faults(path: &Path, format: Format, expected: &Value, tolerance: f64) -> Vec<String> {
    let opened = load::open(path).and_then(|checkpoint| {
        assert_eq!(checkpoint.format(), format);
        checkpoint.verify(&mut |_, _| {}).unwrap();
        checkpoint.model()
    });
    let model = match opened {
        Ok(model) => model,
        Err(error) => return vec![error.to_string()],
    };
    let shapes: Vec<Vec<usize>> = serde_json::from_value(expected["shapes"].clone()).unwrap();
    let shapes: Vec<Vec<Dim>> = shapes.iter().map(|shape| sizes(shape)).collect();
    let integers: Vec<i64> = serde_json::from_value(expected["integers"].clone()).unwrap();
    let graph = model.graph_given(Some(&shapes), &integers);
    let compiled = graph.and_then(|graph| Function::compile(&graph, DType::F64).map(|f| (graph, f)));
    let (graph, f) = match compiled {
        Ok(both) => both,
        Err(error) => return vec![error.to_string()],
    };
    let (x, mu, mut ws) = (numbers(expected, "x"), numbers(expected, "mu"), f.workspace());
    let (n, m) = (x.len(), mu.len());
    if (f.n(), f.m()) != (n, m) {
        return vec![format!("it is {} to {} elements, not {n} to {m}", f.n(), f.m())];
    }
    let (mut y, mut j, mut h) = (vec![0.0; m], vec![0.0; m * n], vec![0.0; n * n]);
    f.value(&mut ws, &x, &mut y).unwrap();
    f.jacobian(&mut ws, &x, Order::RowMajor, &mut j).unwrap();
    f.hessian(&mut ws, &x, &mu, &mut h).unwrap();
    let mut faults: Vec<String> = [("y", y.clone()), ("jacobian", j), ("hessian", h)]
        .into_iter()
        .filter_map(|(name, found)| compare(name, &found, &numbers(expected, name), tolerance))
        .collect();
    let around: Vec<Interval> = x.iter().map(|&x| Interval::new(x - 1e-3, x + 1e-3)).collect();
    let bounds = match propagate(&graph, &around) {
        Err(error) if expected.get("endless").is_some() => {
            assert!(error.message().contains("a loop whose number of turns depends on values"), "{error}");
            return faults;
        }
        Ok(bounds) => bounds,
        Err(error) => return vec![error.to_string()],
    };
    let ranges = graph.outputs().iter().flat_map(|output| bounds.of(output.value));
    if !ranges.zip(&y).all(|(range, &y)| range.contains(y)) {
        faults.push("its bounds do not hold its value".to_owned());
    }
    match lower(&graph, &bounds, &Options::default()).and_then(|formulation| {
        let values = formulation.evaluate(&x)?;
        Ok(formulation.outputs().iter().map(|v| values[v.index()]).collect::<Vec<f64>>())
    }) {
        Ok(outputs) => faults.extend(compare("the formulation", &outputs, &y, 1e-11)),
        Err(error) => faults.push(error.to_string()),
    }
    faults
}
