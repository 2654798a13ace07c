//! Bounds and formulations of every operation: nothing true is cut off, and the forward pass in terms of the
//! formulation is the network's.

mod common;

use std::path::Path;

use common::{Case, Random, graph, linear};
use native_torch::{
    ErrorKind,
    bounds::{Interval, propagate},
    eval::Function,
    graph::{Builder, Dim, Graph, MaxPool, Op, Unary},
    load,
    lower::{Domain, Formulation, Options, VarId, lower},
    tensor::{DType, Tensor},
};

/// Networks that together use every operation that has bounds.
fn cases() -> Vec<Case> {
    let [branch, _] = common::flows();
    let mut cases = common::cases();
    cases.push(branch);
    cases
}

/// The network's outputs at a point.
fn forward(graph: &Graph, x: &[f64]) -> Vec<f64> {
    let function = Function::compile(graph, DType::F64).unwrap();
    let mut y = vec![0.0; function.m()];
    function.value(&mut function.workspace(), x, &mut y).unwrap();
    y
}

fn size(graph: &Graph) -> usize {
    graph.inputs().iter().map(|input| graph.sizes(input.value).iter().product::<usize>()).sum()
}

/// A point of a box: mostly inside, sometimes a corner.
fn point(random: &mut Random, bounds: &[Interval]) -> Vec<f64> {
    let corner = random.next() > 0.4;
    let at = |t: f64| if corner { t.round().clamp(0.0, 1.0) } else { t };
    bounds.iter().map(|b| b.lower + (b.upper - b.lower) * at(0.5 + 0.5 * random.next())).collect()
}

/// Everything that must hold of a formulation's values, to the last few bits.
fn check_values(name: &str, f: &Formulation, values: &[f64]) {
    let table = f.variables();
    for (i, &v) in values.iter().enumerate() {
        let id = VarId(i as u32);
        let slack = 1e-12 * v.abs().max(1.0);
        assert!(
            table.lower[i] - slack <= v && v <= table.upper[i] + slack,
            "{name}: {} = {v} not in [{}, {}]",
            f.name(id),
            table.lower[i],
            table.upper[i]
        );
        let fits = match table.domain[i] {
            Domain::Binary => v == 0.0 || v == 1.0,
            Domain::Integer => v.fract() == 0.0,
            _ => true,
        };
        assert!(fits, "{name}: {}", f.name(id));
    }
    let rows = f.rows();
    for i in 0..rows.len() {
        let sum = rows.value(i, values);
        let slack = 1e-9 * rows.row(i).map(|(v, a)| (a * values[v.index()]).abs()).fold(1.0, f64::max);
        assert!(rows.lower[i] - slack <= sum && sum <= rows.upper[i] + slack, "{name}: row {i}\n{f}");
        assert!(rows.row(i).all(|(_, a)| a != 0.0));
        assert!(rows.row(i).zip(rows.row(i).skip(1)).all(|(a, b)| a.0 < b.0));
    }
    for i in 0..f.definitions().len() {
        let (left, right) =
            (values[f.definitions().variable[i].index()], f.definitions().tapes.evaluate(i, values, &[]));
        assert!((left - right).abs() <= 1e-12 * left.abs().max(1.0), "{name}: definition {i}");
    }
}

#[test]
fn no_true_value_is_cut_off() {
    let mut random = Random(3);
    for case in cases() {
        let n = size(&case.graph);
        for radius in [0.0, 1e-3, 0.5, 3.0] {
            let center: Vec<f64> = random.vector(n);
            let bounds: Vec<Interval> = center.iter().map(|c| Interval::new(c - radius, c + radius)).collect();
            let intervals = propagate(&case.graph, &bounds).unwrap();
            let f = lower(&case.graph, &intervals, &Options::default()).unwrap();
            for _ in 0..40 {
                let x = point(&mut random, &bounds);
                let y = forward(&case.graph, &x);
                let values = f.evaluate(&x).unwrap();
                check_values(&case.name, &f, &values);
                let ranges = case.graph.outputs().iter().flat_map(|output| intervals.of(output.value));
                for ((&variable, &y), range) in f.outputs().iter().zip(&y).zip(ranges) {
                    assert!(range.contains(y), "{}: {y} not in {range:?}", case.name);
                    let value = values[variable.index()];
                    assert!((value - y).abs() <= 1e-11 * y.abs().max(1.0), "{}: {value} is not {y}", case.name);
                }
            }
        }
    }
}

#[test]
fn infinite_boxes_give_bounds_without_nan() {
    for case in cases() {
        let n = size(&case.graph);
        for one in [Interval::ALL, Interval::new(0.0, f64::INFINITY), Interval::new(-1e300, 1e300)] {
            let bounds = propagate(&case.graph, &vec![one; n]).unwrap();
            for output in case.graph.outputs() {
                assert!(bounds.of(output.value).iter().all(|b| b.is_valid()), "{}", case.name);
            }
        }
    }
}

#[test]
fn torch_models_are_formulated_as_torch_computes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models");
    let index: Vec<String> = serde_json::from_slice(&std::fs::read(root.join("index.json")).unwrap()).unwrap();
    let mut checked = 0;
    for name in index {
        let path = root.join(&name).with_extension("json");
        let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let list = |key: &str| -> Option<Vec<f64>> { serde_json::from_value(expected[key].clone()).ok() };
        let (Some(x), Some(y)) = (list("x"), list("y")) else { continue };
        if x.is_empty() {
            continue;
        }
        let shape: Vec<usize> = serde_json::from_value(expected["input_shape"].clone()).unwrap();
        let shape: Vec<Dim> = shape.into_iter().map(Dim::Size).collect();
        let module = load::open(root.join(&name).with_extension("pt")).unwrap().module().unwrap();
        let graph = module.graph(Some(&shape)).unwrap();
        let bounds: Vec<Interval> = x.iter().map(|v| Interval::new(v - 0.1, v + 0.1)).collect();
        let f = lower(&graph, &propagate(&graph, &bounds).unwrap(), &Options::default())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let values = f.evaluate(&x).unwrap();
        check_values(&name, &f, &values);
        let largest = y.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        for (variable, y) in f.outputs().iter().zip(&y) {
            assert!(
                (values[variable.index()] - y).abs() <= 1e-11 * largest,
                "{name}: {} is not {y}",
                f.name(*variable)
            );
        }
        checked += 1;
    }
    assert!(checked > 100, "{checked} fixtures");
}

/// The formulation of one operation on inputs in [-1, 2].
fn lowered(shape: &[usize], op: Op) -> String {
    let graph = graph(shape, |b, _, x| b.node(op, &[x]).unwrap());
    let bounds = propagate(&graph, &vec![Interval::new(-1.0, 2.0); size(&graph)]).unwrap();
    lower(&graph, &bounds, &Options::default()).unwrap().to_string()
}

#[test]
fn formulations_read_as_written_in_papers() {
    let tail = |text: String| {
        text.lines()
            .skip_while(|line| line.starts_with(' ') || !line.starts_with("op"))
            .skip(1)
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(
        tail(lowered(&[1], Op::Unary(Unary::LeakyRelu { slope: 0.5 }))),
        "-0.5 x[0] + leaky_relu 0.y[0] >= 0\n\
         -x[0] + leaky_relu 0.y[0] >= 0\n\
         -x[0] + leaky_relu 0.y[0] + 0.5 leaky_relu 0.on[0] <= 0.5\n\
         -0.5 x[0] + leaky_relu 0.y[0] - leaky_relu 0.on[0] <= 0"
    );
    assert_eq!(
        tail(lowered(&[1], Op::Unary(Unary::LeakyRelu { slope: 2.0 }))),
        "-2 x[0] + leaky_relu 0.y[0] <= 0\n\
         -x[0] + leaky_relu 0.y[0] <= 0\n\
         -x[0] + leaky_relu 0.y[0] - leaky_relu 0.on[0] >= -1\n\
         -2 x[0] + leaky_relu 0.y[0] + 2 leaky_relu 0.on[0] >= 0"
    );
    let pool = MaxPool { kernel: vec![2], stride: vec![2], padding: vec![0], dilation: vec![1], ceil_mode: false };
    assert_eq!(
        tail(lowered(&[1, 2], Op::MaxPool(pool))),
        "-x[0] + max_pool 0.y[0] >= 0\n\
         -x[1] + max_pool 0.y[0] >= 0\n\
         -x[0] + max_pool 0.y[0] + 3 max_pool 0.chosen[0] <= 3\n\
         -x[1] + max_pool 0.y[0] + 3 max_pool 0.chosen[1] <= 3\n\
         max_pool 0.chosen[0] + max_pool 0.chosen[1] == 1"
    );
    assert_eq!(tail(lowered(&[1], Op::Unary(Unary::Sigmoid))), "sigmoid 0.y[0] == 0.5 + 0.5 * tanh(0.5 * x[0])");
    assert_eq!(
        tail(lowered(&[1], Op::Unary(Unary::Softplus { beta: 1.0, threshold: 20.0 }))),
        "softplus 0.y[0] == log1p(exp(x[0]))"
    );
    assert_eq!(
        tail(lowered(&[1], Op::Unary(Unary::Softplus { beta: 2.0, threshold: 3.0 }))),
        "softplus 0.y[0] == ifelse(2 * x[0] > 3, x[0], log1p(exp(min(2 * x[0], 3))) / 2)"
    );
    assert_eq!(
        tail(lowered(&[2], Op::Softmax { dim: 0 })),
        "softmax 0.y[0] + softmax 0.y[1] == 1\n\
         softmax 0.y[0] == exp(x[0] - softmax 0.shift[0])\n\
         softmax 0.y[1] == exp(x[1] - softmax 0.shift[0])"
    );
    assert_eq!(
        tail(lowered(&[2], Op::LayerNorm { axes: 1, eps: 0.25 })),
        "-0.5 x[0] - 0.5 x[1] + layer_norm 0.mean[0] == 0\n\
         layer_norm 0.scale[0] == sqrt(((x[0] - layer_norm 0.mean[0])^2 + (x[1] - layer_norm 0.mean[0])^2) / 2 + 0.25)\n\
         layer_norm 0.normal[0] == (x[0] - layer_norm 0.mean[0]) / layer_norm 0.scale[0]\n\
         layer_norm 0.normal[1] == (x[1] - layer_norm 0.mean[0]) / layer_norm 0.scale[0]"
    );
}

#[test]
fn what_is_certain_takes_no_binary() {
    let relu = graph(&[3], |b, _, x| {
        let weight = b.parameter("w", Tensor::from_slice(&[3, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]));
        let bias = b.parameter("b", Tensor::from_slice(&[3], &[2.0, -2.0, 0.0]));
        let z = b.linear(x, weight, Some(bias)).unwrap();
        b.unary(Unary::Relu, z).unwrap()
    });
    let f = lower(&relu, &propagate(&relu, &[Interval::new(-1.0, 1.0); 3]).unwrap(), &Options::default()).unwrap();
    assert_eq!(f.variables().domain.iter().filter(|&&d| d == Domain::Binary).count(), 1);
    assert_eq!(f.name(f.outputs()[0]), "linear 0.z[0]");
    assert_eq!(f.bounds(f.outputs()[1]), Interval::point(0.0));
    // A window whose first element is never below the others.
    let pool = graph(&[1, 2], |b, _, x| {
        let pool = MaxPool { kernel: vec![2], stride: vec![2], padding: vec![0], dilation: vec![1], ceil_mode: false };
        b.node(Op::MaxPool(pool), &[x]).unwrap()
    });
    let bounds = [Interval::new(1.0, 2.0), Interval::new(-1.0, 1.0)];
    let f = lower(&pool, &propagate(&pool, &bounds).unwrap(), &Options::default()).unwrap();
    assert_eq!((f.variables().len(), f.rows().len(), f.outputs()[0]), (2, 0, f.inputs()[0]));
}

#[test]
fn errors_name_the_layer() {
    let mut b = Builder::new();
    let x = b.input("x", vec![Dim::Size(2)]);
    b.set_scope("layer `3` (torch.nn.modules.activation.ReLU)");
    let y = b.unary(Unary::Relu, x).unwrap();
    let relu = b.finish(&[("y", y)]).unwrap();
    let bounds = propagate(&relu, &[Interval::new(0.0, 1.0), Interval::new(-1.0, f64::INFINITY)]).unwrap();
    let error = lower(&relu, &bounds, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("layer `3`") && error.to_string().contains("give bounds"), "{error}");
    // Where the sign is certain, infinite bounds do.
    let bounds = propagate(&relu, &[Interval::new(0.0, f64::INFINITY), Interval::new(f64::NEG_INFINITY, 0.0)]).unwrap();
    lower(&relu, &bounds, &Options::default()).unwrap();

    for bad in [vec![Interval::ALL], vec![Interval::new(1.0, 0.0); 2], vec![Interval::new(f64::NAN, 0.0); 2]] {
        assert_eq!(propagate(&relu, &bad).unwrap_err().kind(), ErrorKind::Argument);
    }
    let nan = graph(&[1], |b, _, x| {
        let weight = b.parameter("0.weight", Tensor::from_slice(&[1, 1], &[f64::NAN]));
        b.linear(x, weight, None).unwrap()
    });
    let error = propagate(&nan, &[Interval::ALL]).unwrap_err().to_string();
    assert!(error.contains("0.weight") && error.contains("NaN"), "{error}");
    let computed = graph(&[1, 1], |b, random, x| {
        let weight = linear(b, random, x, 1, false);
        b.linear(x, weight, None).unwrap()
    });
    let error = propagate(&computed, &[Interval::ALL]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let symbolic = {
        let mut b = Builder::new();
        let x = b.input("x", vec![Dim::symbol("N"), Dim::Size(2)]);
        b.finish(&[("x", x)]).unwrap()
    };
    assert!(propagate(&symbolic, &[]).unwrap_err().to_string().contains("give its sizes"));
}

#[test]
fn a_wide_network_is_lowered_at_once() {
    let wide = common::mlp(&[784, 512, 512, 10], Unary::Relu);
    let started = std::time::Instant::now();
    let f = lower(&wide, &propagate(&wide, &vec![Interval::new(0.0, 1.0); 784]).unwrap(), &Options::default()).unwrap();
    let took = started.elapsed();
    assert_eq!(f.outputs().len(), 10);
    // In release mode a small fraction of this.
    assert!(took.as_secs_f64() < 2.0, "{took:?}");
}
