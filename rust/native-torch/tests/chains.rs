//! Element-wise chains are computed together, and keep values and derivatives to the last bit or nearly.

mod common;

use common::{Random, cases, graph, linear};
use native_torch::{
    eval::{Function, Order},
    graph::{Builder, Conv, Graph, MaxPool, Op, Source, Unary, ValueId},
    tensor::DType,
};

/// The same graph with every value as an output before its own, so that nothing is read by one step alone: without chains.
fn unfused(graph: &Graph) -> Graph {
    let mut b = Builder::new();
    let mut copies: Vec<Option<ValueId>> = vec![None; graph.values().len()];
    for input in graph.inputs() {
        copies[input.value.index()] = Some(b.input(&input.name, graph.ty(input.value).shape.clone()));
    }
    for (value, copy) in graph.values().iter().zip(&mut copies) {
        if let Source::Parameter(p) = value.source {
            *copy = Some(b.parameter("copy", graph.parameters()[p].tensor.clone()));
        }
    }
    let mut outputs = Vec::new();
    for node in graph.nodes() {
        let inputs: Vec<ValueId> = node.inputs.iter().map(|v| copies[v.index()].unwrap()).collect();
        let y = b.node(node.op.clone(), &inputs).unwrap();
        copies[node.outputs[0].index()] = Some(y);
        outputs.push(("value", y));
    }
    outputs.extend(graph.outputs().iter().map(|output| ("own", copies[output.value.index()].unwrap())));
    b.finish(&outputs).unwrap()
}

/// Whether the last numbers agree with all of the others: exactly, or to so many roundings of the largest.
fn agree(name: &str, dtype: DType, found: &[f64], whole: &[f64], roundings: f64) {
    let expected = &whole[whole.len() - found.len()..];
    let epsilon = if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let largest = expected.iter().fold(1.0f64, |largest, v| largest.max(v.abs()));
    for (a, b) in found.iter().zip(expected) {
        assert!(
            a == b || (a - b).abs() <= roundings * epsilon * largest || a.is_nan() && b.is_nan(),
            "{name}: {a} {b}"
        );
    }
}

/// f exactly, J, H and products to a few roundings, in both precisions, at one point and at several.
fn check(name: &str, graph: &Graph, random: &mut Random) -> usize {
    let apart = unfused(graph);
    // A sum of products whose terms are outputs is no longer one product of matrices.
    let sums = graph.nodes().iter().any(|node| matches!(node.op, Op::Sum { .. }));
    let mut chains = 0;
    for dtype in [DType::F64, DType::F32] {
        let (f, g) = (Function::compile(graph, dtype).unwrap(), Function::compile(&apart, dtype).unwrap());
        chains = f.chains().len();
        assert!(g.chains().is_empty(), "{name}");
        let (mut fused, mut whole) = (f.workspace(), g.workspace());
        let (n, m, all) = (f.n(), f.m(), g.m());
        for points in [1, 3] {
            let (x, v) = (random.vector(points * n), random.vector(points * n));
            let (mut y, mut z) = (vec![0.0; points * m], vec![0.0; points * all]);
            f.value(&mut fused, &x, &mut y).unwrap();
            g.value(&mut whole, &x, &mut z).unwrap();
            for p in 0..points {
                agree(name, dtype, &y[p * m..][..m], &z[p * all..][..all], if sums { 16.0 } else { 0.0 });
            }
            f.jvp(&mut fused, &x, &v, &mut y).unwrap();
            g.jvp(&mut whole, &x, &v, &mut z).unwrap();
            for p in 0..points {
                agree(name, dtype, &y[p * m..][..m], &z[p * all..][..all], 64.0);
            }
            let mu = random.vector(points * m);
            let padded = |p: usize| [vec![0.0; all - m], mu[p * m..][..m].to_vec()].concat();
            let padded: Vec<f64> = (0..points).flat_map(padded).collect();
            let (mut a, mut b) = (vec![0.0; points * n], vec![0.0; points * n]);
            f.vjp(&mut fused, &x, &mu, &mut a).unwrap();
            g.vjp(&mut whole, &x, &padded, &mut b).unwrap();
            agree(name, dtype, &a, &b, 64.0);
            f.hvp(&mut fused, &x, &mu, &v, &mut a).unwrap();
            g.hvp(&mut whole, &x, &padded, &v, &mut b).unwrap();
            agree(name, dtype, &a, &b, 512.0);
            if n > 200 || points > 1 {
                continue;
            }
            let (mut a, mut b) = (vec![0.0; m * n], vec![0.0; all * n]);
            f.jacobian(&mut fused, &x, Order::RowMajor, &mut a).unwrap();
            g.jacobian(&mut whole, &x, Order::RowMajor, &mut b).unwrap();
            agree(name, dtype, &a, &b, 64.0);
            let (mut a, mut b) = (vec![0.0; n * n], vec![0.0; n * n]);
            f.hessian(&mut fused, &x, &mu, &mut a).unwrap();
            g.hessian(&mut whole, &x, &padded, &mut b).unwrap();
            agree(name, dtype, &a, &b, 512.0);
        }
    }
    chains
}

fn conv(b: &mut Builder, random: &mut Random, x: ValueId, out: usize, kernel: usize, groups: usize) -> ValueId {
    let channels = b.ty(x).sizes().unwrap()[1];
    let weight = b.parameter("weight", random.tensor(&[out, channels / groups, kernel, kernel]));
    let bias = b.parameter("bias", random.tensor(&[out]));
    let padding = vec![(kernel / 2, kernel / 2); 2];
    let conv = Conv { stride: vec![1; 2], padding, dilation: vec![1; 2], groups };
    b.node(Op::Conv(conv), &[x, weight, bias]).unwrap()
}

/// A BatchNorm as arithmetic with numbers for each channel; the numbers come first in the product.
fn norm(b: &mut Builder, random: &mut Random, x: ValueId) -> ValueId {
    let channels = b.ty(x).sizes().unwrap()[1];
    let (s, t) =
        (b.parameter("s", random.tensor(&[channels, 1, 1])), b.parameter("t", random.tensor(&[channels, 1, 1])));
    let x = b.node(Op::Mul, &[s, x]).unwrap();
    b.node(Op::Sub, &[x, t]).unwrap()
}

/// Hardswish and GELU as the decompositions of torch have them.
fn pieces(b: &mut Builder, x: ValueId) -> ValueId {
    let shifted = b.unary(Unary::Affine { scale: 1.0, shift: 3.0 }, x).unwrap();
    let gate = b.unary(Unary::Clamp { min: 0.0, max: 6.0 }, shifted).unwrap();
    let x = b.node(Op::Mul, &[x, gate]).unwrap();
    let x = b.unary(Unary::Affine { scale: 1.0 / 6.0, shift: 0.0 }, x).unwrap();
    let half = b.unary(Unary::Affine { scale: 0.5, shift: 0.0 }, x).unwrap();
    let erf = b.unary(Unary::Affine { scale: 0.5f64.sqrt(), shift: 0.0 }, x).unwrap();
    let erf = b.unary(Unary::Erf, erf).unwrap();
    let erf = b.unary(Unary::Affine { scale: 1.0, shift: 1.0 }, erf).unwrap();
    b.node(Op::Mul, &[half, erf]).unwrap()
}

#[test]
fn values_and_derivatives_stay() {
    let mut random = Random(77);
    let image = [2, 4, 5, 5];
    let own: Vec<(&str, Graph, usize)> = vec![
        (
            "pieces behind a linear layer of many rows",
            // Longer than a block in either precision.
            graph(&[11, 6], |b, random, x| {
                let h = linear(b, random, x, 500, true);
                let h = pieces(b, h);
                linear(b, random, h, 1, true)
            }),
            2,
        ),
        (
            "residual blocks: branches, a value that is read twice, a sum before a kink",
            graph(&image, |b, random, x| {
                let h = conv(b, random, x, 4, 3, 2);
                let h = norm(b, random, h);
                let h = b.unary(Unary::Relu, h).unwrap();
                let inner = conv(b, random, h, 4, 1, 1);
                let inner = norm(b, random, inner);
                let inner = b.unary(Unary::Tanh, inner).unwrap();
                let inner = conv(b, random, inner, 4, 3, 4);
                let sum = b.add(h, inner).unwrap();
                b.unary(Unary::Relu, sum).unwrap()
            }),
            3,
        ),
        (
            "a transposed convolution of groups and a pool",
            graph(&image, |b, random, x| {
                let weight = b.parameter("w", random.tensor(&[4, 3, 2, 2]));
                let same = Conv { stride: vec![1; 2], padding: vec![(0, 0); 2], dilation: vec![1; 2], groups: 2 };
                let op = Op::ConvTranspose { conv: same, output_padding: vec![0; 2] };
                let h = b.node(op, &[x, weight]).unwrap();
                let h = norm(b, random, h);
                let h = b.unary(Unary::Silu, h).unwrap();
                let pool = MaxPool {
                    kernel: vec![2; 2],
                    stride: vec![2; 2],
                    padding: vec![0; 2],
                    dilation: vec![1; 2],
                    ceil_mode: false,
                };
                let h = b.node(Op::MaxPool(pool), &[h]).unwrap();
                b.unary(Unary::Softsign, h).unwrap()
            }),
            2,
        ),
        (
            "gates of a recurrent cell, from parts of one layer",
            graph(&[3, 5], |b, random, x| {
                let gate = |b: &mut Builder, random: &mut Random, unary| {
                    let z = linear(b, random, x, 5, true);
                    b.unary(unary, z).unwrap()
                };
                let (input, output) = (gate(b, random, Unary::Sigmoid), gate(b, random, Unary::Sigmoid));
                let (forget, cell) = (gate(b, random, Unary::Sigmoid), gate(b, random, Unary::Tanh));
                let kept = b.node(Op::Mul, &[forget, x]).unwrap();
                let new = b.node(Op::Mul, &[input, cell]).unwrap();
                let state = b.add(kept, new).unwrap();
                let state = b.unary(Unary::Tanh, state).unwrap();
                b.node(Op::Mul, &[state, output]).unwrap()
            }),
            5,
        ),
        (
            "operands that are repeated along the first, the middle and the last dimension, and for all points",
            graph(&[3, 4, 5], |b, random, x| {
                let mut h = b.unary(Unary::Sin, x).unwrap();
                for shape in [&[5][..], &[4, 1], &[3, 1, 1], &[3, 1, 5], &[], &[3, 4, 5]] {
                    let c = b.parameter("c", random.tensor(shape));
                    h = b.node(Op::Mul, &[h, c]).unwrap();
                }
                let d = b.parameter("d", random.tensor(&[4, 5]));
                h = b.node(Op::Prelu, &[h, d]).unwrap();
                let d = b.parameter("d", random.tensor(&[3, 4, 5]));
                h = b.node(Op::Div, &[d, h]).unwrap();
                let first = b.node(Op::Slice { dim: 0, start: 0, end: 1, step: 1 }, &[x]).unwrap();
                let wide = b.unary(Unary::Sigmoid, x).unwrap();
                let wide = b.node(Op::Sub, &[first, wide]).unwrap();
                b.add(wide, h).unwrap()
            }),
            2,
        ),
    ];
    for (name, graph, chains) in own {
        assert_eq!(check(name, &graph, &mut random), chains, "{name}");
    }
    for case in cases() {
        check(&case.name, &case.graph, &mut random);
    }
}

#[test]
fn values_that_are_not_kept_are_the_same() {
    // More than 8 MB of values: only f is wanted, and what is between the links of a chain is never there as a whole.
    let net = graph(&[1, 3, 150, 150], |b, random, x| {
        let mut h = conv(b, random, x, 8, 3, 1);
        h = norm(b, random, h);
        h = pieces(b, h);
        let skip = h;
        h = conv(b, random, h, 8, 1, 1);
        h = norm(b, random, h);
        h = b.add(h, skip).unwrap();
        b.unary(Unary::Relu, h).unwrap()
    });
    let apart = unfused(&net);
    let mut random = Random(3);
    for dtype in [DType::F64, DType::F32] {
        let (f, g) = (Function::compile(&net, dtype).unwrap(), Function::compile(&apart, dtype).unwrap());
        let x = random.vector(f.n());
        let (mut y, mut z) = (vec![0.0; f.m()], vec![0.0; g.m()]);
        f.value(&mut f.workspace(), &x, &mut y).unwrap();
        g.value(&mut g.workspace(), &x, &mut z).unwrap();
        agree("not kept", dtype, &y, &z, 0.0);
    }
}
