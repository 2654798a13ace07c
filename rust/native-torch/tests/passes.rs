//! Passes keep values, Jacobians and Hessians, and leave less.

mod common;

use std::{fs, path::Path};

use common::{Random, cases, graph, linear};
use native_torch::{
    bounds::{self, Interval, propagate},
    eval::{Function, Order},
    graph::{Builder, Conv, Graph, Op, Unary, ValueId},
    load,
    lower::{Formulation, Options, lower},
    passes::{affine, constants, dead, fold},
    tensor::{DType, Tensor},
};

fn names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().iter().map(|node| node.op.name()).collect()
}

/// Values, Jacobian and Hessian at a point.
fn all(graph: &Graph, x: &[f64]) -> [Vec<f64>; 3] {
    let f = Function::compile(graph, DType::F64).unwrap();
    let mut workspace = f.workspace();
    let (n, m) = (f.n(), f.m());
    let mut numbers = [vec![0.0; m], vec![0.0; m * n], vec![0.0; n * n]];
    let [y, j, h] = &mut numbers;
    f.value(&mut workspace, x, y).unwrap();
    f.jacobian(&mut workspace, x, Order::RowMajor, j).unwrap();
    f.hessian(&mut workspace, x, &vec![1.0; m], h).unwrap();
    numbers
}

fn count(graph: &Graph) -> usize {
    graph.inputs().iter().map(|input| graph.numel(input.value)).sum()
}

fn assert_same(name: &str, before: &Graph, after: &Graph, x: &[f64]) {
    for (a, b) in all(before, x).iter().zip(&all(after, x)) {
        let largest = a.iter().fold(1.0f64, |largest, v| largest.max(v.abs()));
        assert!(
            a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-11 * largest || a.is_nan() == b.is_nan() && a.is_nan()),
            "{name}"
        );
    }
}

fn fixtures() -> Vec<(String, Graph)> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models");
    let mut found = Vec::new();
    for folder in ["layers", "nets"] {
        for entry in fs::read_dir(models.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "pt") {
                let expected = fs::read_to_string(path.with_extension("json")).unwrap();
                let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
                let Ok(shape) = serde_json::from_value::<Vec<usize>>(expected["input_shape"].clone()) else { continue };
                let module = load::open(&path).and_then(|file| file.module()).unwrap();
                let dims: Vec<_> = shape.into_iter().map(native_torch::graph::Dim::Size).collect();
                found.push((path.display().to_string(), module.graph(Some(&dims)).unwrap()));
            }
        }
    }
    found
}

#[test]
fn values_and_derivatives_stay() {
    let mut random = Random(21);
    let mut folded = 0;
    let own = cases().into_iter().map(|case| (case.name, case.graph));
    let fixtures = fixtures();
    assert!(fixtures.len() > 100);
    for (name, graph) in fixtures.into_iter().chain(own) {
        let n = count(&graph);
        if n > 600 {
            continue;
        }
        let after = fold(&graph, |_| true).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(after.nodes().len() <= graph.nodes().len());
        folded += usize::from(after.nodes().len() < graph.nodes().len());
        assert_same(&name, &graph, &after, &random.vector(n));
    }
    assert!(folded > 20, "{folded}");
}

/// A parameter of per-channel numbers, away from 0.
fn numbers(random: &mut Random, shape: &[usize]) -> Tensor {
    let count = shape.iter().product();
    Tensor::from_slice(shape, &random.vector(count).iter().map(|v| v + 2.0 * v.signum()).collect::<Vec<_>>())
}

#[test]
fn chains_become_one_layer() {
    let image = [2, 4, 5, 5];
    let conv = |padding: usize, groups: usize| Conv {
        stride: vec![1; 2],
        padding: vec![(padding, padding); 2],
        dilation: vec![1; 2],
        groups,
    };
    let per_channel: &[usize] = &[4, 1, 1];
    let cases: Vec<(&str, Graph, &[&str])> = vec![
        (
            "linear, scale, shift, linear",
            graph(&[3, 4], |b, random, x| {
                let h = linear(b, random, x, 6, true);
                let (s, t) = (b.parameter("s", numbers(random, &[6])), b.parameter("t", numbers(random, &[6])));
                let h = b.node(Op::Mul, &[s, h]).unwrap();
                let h = b.node(Op::Sub, &[t, h]).unwrap();
                let h = b.unary(Unary::Neg, h).unwrap();
                linear(b, random, h, 2, false)
            }),
            &["linear"],
        ),
        (
            "a bottleneck stays",
            graph(&[9], |b, random, x| {
                let h = linear(b, random, x, 2, true);
                linear(b, random, h, 9, true)
            }),
            &["linear", "linear"],
        ),
        (
            "scaling before a convolution without padding",
            graph(&image, |b, random, x| {
                let h = b.unary(Unary::Tanh, x).unwrap();
                let (s, t) =
                    (b.parameter("s", numbers(random, per_channel)), b.parameter("t", numbers(random, per_channel)));
                let h = b.node(Op::Div, &[h, s]).unwrap();
                let h = b.node(Op::Add, &[h, t]).unwrap();
                let weight = b.parameter("w", random.tensor(&[6, 2, 2, 2]));
                b.node(Op::Conv(conv(0, 2)), &[h, weight]).unwrap()
            }),
            &["tanh", "convolution"],
        ),
        (
            "scaling before a convolution with padding",
            graph(&image, |b, random, x| {
                let h = b.unary(Unary::Tanh, x).unwrap();
                let (s, t) =
                    (b.parameter("s", numbers(random, per_channel)), b.parameter("t", numbers(random, per_channel)));
                let h = b.node(Op::Mul, &[h, s]).unwrap();
                let h = b.node(Op::Add, &[h, t]).unwrap();
                let weight = b.parameter("w", random.tensor(&[6, 2, 3, 3]));
                b.node(Op::Conv(conv(1, 2)), &[h, weight]).unwrap()
            }),
            &["tanh", "convolution", "convolution"],
        ),
        (
            "scaling behind a transposed convolution of groups",
            graph(&image, |b, random, x| {
                let weight = b.parameter("w", random.tensor(&[4, 3, 2, 2]));
                let op = Op::ConvTranspose { conv: conv(0, 2), output_padding: vec![0; 2] };
                let h = b.node(op, &[x, weight]).unwrap();
                let (s, t) =
                    (b.parameter("s", numbers(random, &[6, 1, 1])), b.parameter("t", numbers(random, &[6, 1, 1])));
                let h = b.node(Op::Mul, &[h, s]).unwrap();
                b.node(Op::Sub, &[h, t]).unwrap()
            }),
            &["convolution_transpose"],
        ),
        (
            "a residual block",
            graph(&image, |b, random, x| {
                let normed = |b: &mut Builder, random: &mut Random, x: ValueId, padding: usize, kernel: usize| {
                    let weight = b.parameter("w", random.tensor(&[4, 2, kernel, kernel]));
                    let h = b.node(Op::Conv(conv(padding, 2)), &[x, weight]).unwrap();
                    let (s, t) = (
                        b.parameter("s", numbers(random, per_channel)),
                        b.parameter("t", numbers(random, per_channel)),
                    );
                    let h = b.node(Op::Mul, &[h, s]).unwrap();
                    b.node(Op::Add, &[h, t]).unwrap()
                };
                let h = normed(b, random, x, 1, 3);
                let h = b.unary(Unary::Silu, h).unwrap();
                let inner = normed(b, random, h, 1, 3);
                let inner = b.unary(Unary::Tanh, inner).unwrap();
                let inner = normed(b, random, inner, 0, 1);
                let short = normed(b, random, h, 0, 1);
                let sum = b.add(inner, short).unwrap();
                b.unary(Unary::Sigmoid, sum).unwrap()
            }),
            &["convolution", "silu", "convolution", "tanh", "convolution", "convolution", "add", "sigmoid"],
        ),
        (
            "scalings alone",
            graph(&[3, 5], |b, random, x| {
                let h = b.unary(Unary::Tanh, x).unwrap();
                let h = b.unary(Unary::Affine { scale: 2.0, shift: 1.0 }, h).unwrap();
                let h = b.unary(Unary::Neg, h).unwrap();
                let h = b.unary(Unary::Sigmoid, h).unwrap();
                let (s, t) = (b.parameter("s", numbers(random, &[5])), b.parameter("t", numbers(random, &[])));
                let h = b.node(Op::Mul, &[h, s]).unwrap();
                b.node(Op::Add, &[h, t]).unwrap()
            }),
            &["tanh", "affine", "sigmoid", "linear"],
        ),
        (
            "numbers along the wrong dimension, and for every element",
            graph(&[3, 3], |b, random, x| {
                let h = linear(b, random, x, 3, true);
                let s = b.parameter("s", numbers(random, &[3, 1]));
                let h = b.node(Op::Mul, &[h, s]).unwrap();
                let t = b.parameter("t", numbers(random, &[3, 3]));
                b.node(Op::Add, &[h, t]).unwrap()
            }),
            &["linear", "mul", "add"],
        ),
        (
            "what is read twice",
            graph(&[4], |b, random, x| {
                let h = linear(b, random, x, 4, true);
                let g = linear(b, random, h, 4, true);
                b.add(h, g).unwrap()
            }),
            &["linear", "linear", "add"],
        ),
    ];
    let mut random = Random(9);
    for (name, graph, expected) in cases {
        let after = fold(&graph, |_| true).unwrap();
        assert_eq!(names(&after), expected, "{name}");
        assert_same(name, &graph, &after, &random.vector(count(&graph)));
        // Nothing may be folded that must not be.
        assert_eq!(names(&fold(&graph, |_| false).unwrap()), names(&constants(&graph).unwrap()), "{name}");
        assert_eq!(names(&dead(&affine(&graph, |_| true).unwrap())), expected, "{name}");
    }
}

#[test]
fn constants_are_computed_once_and_dead_code_goes() {
    let graph = graph(&[3], |b, random, x| {
        let w = b.parameter("w", random.tensor(&[3]));
        let w = b.unary(Unary::Tanh, w).unwrap();
        let w = b.unary(Unary::Square, w).unwrap();
        b.unary(Unary::Exp, x).unwrap();
        let h = linear(b, random, x, 3, false);
        linear(b, random, h, 2, true);
        let h = b.node(Op::Mul, &[h, w]).unwrap();
        let h = b.unary(Unary::Tanh, h).unwrap();
        b.node(Op::Div, &[h, w]).unwrap()
    });
    let x = Random(4).vector(3);
    assert_eq!(names(&graph), ["tanh", "square", "exp", "linear", "linear", "mul", "tanh", "div"]);
    assert_eq!(names(&dead(&graph)), ["tanh", "square", "linear", "mul", "tanh", "div"]);
    assert_same("dead code", &graph, &dead(&graph), &x);
    let folded = constants(&graph).unwrap();
    assert_eq!(names(&dead(&folded)), ["linear", "mul", "tanh", "div"]);
    assert_same("constants", &graph, &folded, &x);
}

fn formulation(graph: &Graph, options: &str) -> Formulation {
    let bounds = propagate(graph, &vec![Interval::new(-1.0, 1.0); count(graph)]).unwrap();
    lower(graph, &bounds, &options.parse().unwrap()).unwrap()
}

#[test]
fn a_batch_norm_adds_no_variable() {
    let mut smaller = 0;
    let mut random = Random(31);
    for (name, graph) in fixtures() {
        if count(&graph) > 200 || !fs::read(&name).unwrap().windows(9).any(|word| word == b"BatchNorm") {
            continue;
        }
        for space in ["space=full", "space=reduced"] {
            let [whole, folded] = ["off", "on"].map(|fold| formulation(&graph, &format!("{space}, fold={fold}")));
            smaller += usize::from(folded.variables().len() < whole.variables().len());
            let x = random.vector(count(&graph));
            let y = |model: &Formulation| model.output_values(&model.evaluate(&x).unwrap());
            for (a, b) in y(&whole).iter().zip(y(&folded)) {
                assert!((a - b).abs() <= 1e-10 * a.abs().max(1.0), "{name}: {a} {b}");
            }
            folded.check(&folded.evaluate(&x).unwrap(), 1e-9).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    assert!(smaller > 0);
}

#[test]
fn the_printed_form_says_what_was_folded() {
    let graph = graph(&[2], |b, random, x| {
        b.set_scope("layer `0` (torch.nn.modules.linear.Linear)");
        let h = linear(b, random, x, 2, true);
        b.set_scope("layer `1` (torch.nn.modules.batchnorm.BatchNorm1d)");
        let (s, t) = (b.parameter("s", numbers(random, &[2])), b.parameter("t", numbers(random, &[2])));
        let h = b.node(Op::Mul, &[h, s]).unwrap();
        let h = b.add(h, t).unwrap();
        b.set_scope("layer `2` (torch.nn.modules.activation.ReLU)");
        b.unary(Unary::Relu, h).unwrap()
    });
    let folded = formulation(&graph, "").to_string();
    let both = "layer `0` (torch.nn.modules.linear.Linear), layer `1` (torch.nn.modules.batchnorm.BatchNorm1d)\n";
    assert!(folded.contains(both) && folded.contains("layer 1.z[0]") && !folded.contains("layer 0.z[0]"), "{folded}");
    let whole = formulation(&graph, "fold=off");
    assert_eq!(whole.variables().len(), formulation(&graph, "").variables().len() + 4);
    assert!(whole.to_string().contains("layer 0.z[0]"), "{whole}");
    assert!("fold=maybe".parse::<Options>().unwrap_err().to_string().contains("on or off"));
    // Bounds of every kind hold for what is left.
    let tight = bounds::linear(&graph, &[Interval::new(-1.0, 1.0); 2], 1).unwrap();
    let model = lower(&graph, &tight, &Options::default()).unwrap();
    for at in [[0.3, -0.8], [1.0, 1.0], [-1.0, 0.2]] {
        model.check(&model.evaluate(&at).unwrap(), 1e-9).unwrap();
    }
    // A layer with a form of its own stays.
    let kept = formulation(&graph, "layer 2=sos1, layer 1=nonlinear").to_string();
    assert!(kept.contains("layer 0.z[0]"), "{kept}");
}
