//! Networks with sparse derivatives, many points and threads: whatever way the engine takes, the numbers are the same.

mod common;

use common::{Case, Random, cases, linear, mlp};
use native_torch::{
    eval::{Function, Order},
    graph::{Builder, Conv, Dim, Graph, Op, Unary, ValueId},
    tensor::DType,
};

#[track_caller]
fn assert_close(name: &str, a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len(), "{name}");
    // What is smaller is left of a sum of numbers near 1.
    let scale = b.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{name}: entry {i} is {a}, not {b}");
    }
}

fn convolution(b: &mut Builder, random: &mut Random, x: ValueId, out: usize, kernel: usize, stride: usize) -> ValueId {
    let channels = b.ty(x).shape[b.ty(x).rank() - 3].size().unwrap();
    let weight = b.parameter("weight", random.tensor(&[out, channels, kernel, kernel]));
    let conv =
        Conv { stride: vec![stride; 2], padding: vec![(kernel / 2, kernel / 2); 2], dilation: vec![1; 2], groups: 1 };
    b.node(Op::Conv(conv), &[x, weight]).unwrap()
}

/// Independent networks on inputs of their own, their results one after another.
fn heads(count: usize, width: usize) -> Graph {
    let mut b = Builder::new();
    let mut random = Random(3);
    let results: Vec<ValueId> = (0..count)
        .map(|i| {
            let x = b.input(&format!("x{i}"), vec![Dim::Size(width)]);
            let h = linear(&mut b, &mut random, x, width + 2, true);
            let h = b.unary(Unary::Tanh, h).unwrap();
            linear(&mut b, &mut random, h, 2, false)
        })
        .collect();
    let y = b.node(Op::Cat { dim: 0 }, &results).unwrap();
    b.finish(&[("y", y)]).unwrap()
}

/// Graphs whose derivatives are sparse, with how many of n (or m) directions are enough for J.
fn sparse() -> Vec<Case> {
    let mut all = vec![
        Case { name: "heads".to_owned(), graph: heads(7, 3) },
        Case {
            name: "batch".to_owned(),
            graph: common::graph(&[9, 4], |b, random, x| {
                let h = linear(b, random, x, 6, true);
                let h = b.unary(Unary::Tanh, h).unwrap();
                let h = linear(b, random, h, 5, true);
                b.node(Op::Softmax { dim: 1 }, &[h]).unwrap()
            }),
        },
        Case {
            name: "image to image".to_owned(),
            graph: common::graph(&[1, 1, 9, 8], |b, random, x| {
                let h = convolution(b, random, x, 3, 3, 1);
                let h = b.unary(Unary::Tanh, h).unwrap();
                convolution(b, random, h, 2, 3, 1)
            }),
        },
        Case {
            name: "image to numbers".to_owned(),
            graph: common::graph(&[1, 1, 12, 12], |b, random, x| {
                let h = convolution(b, random, x, 4, 3, 1);
                let h = b.unary(Unary::Tanh, h).unwrap();
                let h = convolution(b, random, h, 3, 3, 2);
                let h = b.unary(Unary::Sigmoid, h).unwrap();
                let h = b.node(Op::Flatten { start: 1, end: 3 }, &[h]).unwrap();
                let h = linear(b, random, h, 4, true);
                let h = b.unary(Unary::Tanh, h).unwrap();
                linear(b, random, h, 2, true)
            }),
        },
        Case {
            name: "normalised rows".to_owned(),
            graph: common::graph(&[9, 6], |b, random, x| {
                let h = linear(b, random, x, 7, true);
                let h = b.node(Op::LayerNorm { axes: 1, eps: 1e-3 }, &[h]).unwrap();
                let h = b.unary(Unary::Sigmoid, h).unwrap();
                let h = linear(b, random, h, 5, true);
                b.node(Op::LogSoftmax { dim: 1 }, &[h]).unwrap()
            }),
        },
        Case {
            name: "strided".to_owned(),
            graph: common::graph(&[2, 11, 11], |b, random, x| {
                let h = convolution(b, random, x, 2, 3, 2);
                let h = b.unary(Unary::Sigmoid, h).unwrap();
                let h = convolution(b, random, h, 3, 1, 1);
                let squares = b.node(Op::Mul, &[h, h]).unwrap();
                b.unary(Unary::Relu, squares).unwrap()
            }),
        },
        Case {
            name: "element-wise".to_owned(),
            graph: common::graph(&[40], |b, _, x| b.unary(Unary::Tanh, x).unwrap()),
        },
    ];
    for Case { name, graph } in cases() {
        all.push(Case { name, graph });
    }
    all
}

struct Numbers {
    y: Vec<f64>,
    j: Vec<f64>,
    j_entries: Vec<f64>,
    h: Vec<f64>,
    h_entries: Vec<f64>,
    jv: Vec<f64>,
    ju: Vec<f64>,
    hv: Vec<f64>,
}

/// All calls at the points of `x`.
fn evaluate(f: &Function, threads: usize, x: &[f64], mu: &[f64], v: &[f64]) -> Numbers {
    let (n, m, points) = (f.n(), f.m(), x.len() / f.n());
    let mut ws = f.workspace();
    ws.set_threads(threads).unwrap();
    assert_eq!(ws.threads(), threads);
    let zeros = |each: usize| vec![f64::NAN; points * each];
    let mut all = Numbers {
        y: zeros(m),
        j: zeros(m * n),
        j_entries: zeros(f.jacobian_pattern().len()),
        h: zeros(n * n),
        h_entries: zeros(f.hessian_pattern().len()),
        jv: zeros(m),
        ju: zeros(n),
        hv: zeros(n),
    };
    f.value(&mut ws, x, &mut all.y).unwrap();
    f.jacobian(&mut ws, x, Order::RowMajor, &mut all.j).unwrap();
    f.jacobian_values(&mut ws, x, &mut all.j_entries).unwrap();
    f.hessian(&mut ws, x, mu, &mut all.h).unwrap();
    f.hessian_values(&mut ws, x, mu, &mut all.h_entries).unwrap();
    f.jvp(&mut ws, x, v, &mut all.jv).unwrap();
    f.vjp(&mut ws, x, mu, &mut all.ju).unwrap();
    f.hvp(&mut ws, x, mu, v, &mut all.hv).unwrap();
    all
}

#[test]
fn dense_and_sparse_derivatives_are_those_of_products() {
    let mut random = Random(1);
    for Case { name, graph } in sparse() {
        let f = Function::compile(&graph, DType::F64).unwrap();
        let (n, m) = (f.n(), f.m());
        let (x, mu, v) = (random.vector(n), random.vector(m), random.vector(n));
        let all = evaluate(&f, 1, &x, &mu, &v);
        let (jacobian, hessian) = (f.jacobian_pattern(), f.hessian_pattern());
        let mut dense = vec![0.0; m * n];
        for ((&row, &column), &v) in jacobian.rows.iter().zip(&jacobian.columns).zip(&all.j_entries) {
            dense[row * n + column] = v;
        }
        assert_eq!(dense, all.j, "{name}");
        let mut dense = vec![0.0; n * n];
        for ((&row, &column), &v) in hessian.rows.iter().zip(&hessian.columns).zip(&all.h_entries) {
            (dense[row * n + column], dense[column * n + row]) = (v, v);
        }
        assert_eq!(dense, all.h, "{name}");
        // Column by column and row by row, by products with unit vectors.
        let mut ws = f.workspace();
        let (mut column, mut row, mut second) = (vec![0.0; m], vec![0.0; n], vec![0.0; n]);
        for i in 0..n.max(m) {
            let unit = |length: usize| (0..length).map(|k| if k == i { 1.0 } else { 0.0 }).collect::<Vec<_>>();
            if i < n {
                f.jvp(&mut ws, &x, &unit(n), &mut column).unwrap();
                let expected: Vec<f64> = (0..m).map(|r| all.j[r * n + i]).collect();
                assert_close(&format!("{name} J"), &expected, &column, 1e-13);
                f.hvp(&mut ws, &x, &mu, &unit(n), &mut second).unwrap();
                assert_close(&format!("{name} H"), &all.h[i * n..(i + 1) * n], &second, 1e-12);
            }
            if i < m {
                f.vjp(&mut ws, &x, &unit(m), &mut row).unwrap();
                assert_close(&format!("{name} J'"), &all.j[i * n..(i + 1) * n], &row, 1e-13);
            }
        }
    }
}

#[test]
fn second_derivatives_agree_with_differences_of_gradients() {
    let mut random = Random(2);
    for Case { name, graph } in sparse().into_iter().take(5) {
        let f = Function::compile(&graph, DType::F64).unwrap();
        let (n, m, step) = (f.n(), f.m(), 1e-5);
        let (x, mu, mut ws) = (random.vector(n), random.vector(m), f.workspace());
        let mut h = vec![0.0; n * n];
        f.hessian(&mut ws, &x, &mu, &mut h).unwrap();
        for i in 0..n {
            let mut gradient = |by: f64| {
                let (mut x, mut g) = (x.clone(), vec![0.0; n]);
                x[i] += by;
                f.vjp(&mut ws, &x, &mu, &mut g).unwrap();
                g
            };
            let pairs = gradient(step).into_iter().zip(gradient(-step));
            let row: Vec<f64> = pairs.map(|(a, b)| (a - b) / (2.0 * step)).collect();
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-7;
            assert!(h[i * n..(i + 1) * n].iter().zip(&row).all(near), "{name}: row {i} of H");
        }
    }
}

#[test]
fn results_do_not_depend_on_threads_and_hardly_on_the_number_of_points() {
    let mut random = Random(4);
    let mut all = sparse();
    // Products that are large enough to be spread over threads.
    all.push(Case { name: "large".to_owned(), graph: mlp(&[120, 310, 260, 24], Unary::Tanh) });
    for Case { name, graph } in all {
        for dtype in [DType::F64, DType::F32] {
            let f = Function::compile(&graph, dtype).unwrap();
            let (n, m) = (f.n(), f.m());
            let points = if n < 100 { 107 } else { 3 };
            let (x, mu, v) = (random.vector(points * n), random.vector(points * m), random.vector(points * n));
            let one = evaluate(&f, 1, &x, &mu, &v);
            let four = evaluate(&f, 4, &x, &mu, &v);
            let lists = |all: &Numbers| {
                [&all.y, &all.j, &all.j_entries, &all.h, &all.h_entries, &all.jv, &all.ju, &all.hv].map(Clone::clone)
            };
            for (k, (a, b)) in lists(&one).iter().zip(&lists(&four)).enumerate() {
                let same = a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{name} in {}: result {k} depends on the number of threads", dtype.name());
            }
            let tolerance = if dtype == DType::F64 { 1e-13 } else { 1e-4 };
            for p in [0, points / 2, points - 1] {
                let part = |a: &[f64], each: usize| a[p * each..(p + 1) * each].to_vec();
                let single = evaluate(&f, 1, &part(&x, n), &part(&mu, m), &part(&v, n));
                for (many, single) in lists(&one).iter().zip(&lists(&single)) {
                    assert_close(&name, &part(many, single.len()), single, tolerance);
                }
            }
        }
    }
}

#[test]
fn many_heads_take_few_directions() {
    // As a dense matrix each derivative would have 10^8 entries, and take as long.
    let f = Function::compile(&heads(2500, 4), DType::F64).unwrap();
    assert_eq!((f.n(), f.m()), (10_000, 5_000));
    assert_eq!((f.jacobian_pattern().len(), f.hessian_pattern().len()), (20_000, 25_000));
    let (x, mu, mut ws) = (Random(1).vector(f.n()), Random(2).vector(f.m()), f.workspace());
    let (mut j, mut h) = (vec![0.0; 20_000], vec![0.0; 25_000]);
    f.jacobian_values(&mut ws, &x, &mut j).unwrap();
    f.hessian_values(&mut ws, &x, &mu, &mut h).unwrap();
    let (mut jv, mut hv) = (vec![0.0; f.m()], vec![0.0; f.n()]);
    f.jvp(&mut ws, &x, &vec![1.0; f.n()], &mut jv).unwrap();
    f.hvp(&mut ws, &x, &mu, &vec![1.0; f.n()], &mut hv).unwrap();
    let (mut rows, mut sums) = (vec![0.0; f.m()], vec![0.0; f.n()]);
    let pattern = f.jacobian_pattern();
    pattern.rows.iter().zip(&j).for_each(|(&row, v)| rows[row] += v);
    let pattern = f.hessian_pattern();
    for ((&row, &column), v) in pattern.rows.iter().zip(&pattern.columns).zip(&h) {
        sums[row] += v;
        if row != column {
            sums[column] += v;
        }
    }
    assert_close("J", &rows, &jv, 1e-13);
    assert_close("H", &sums, &hv, 1e-12);
}

#[test]
fn a_call_without_threads_is_refused() {
    let f = Function::compile(&mlp(&[2, 2], Unary::Tanh), DType::F64).unwrap();
    assert!(f.workspace().set_threads(0).unwrap_err().to_string().contains("threads is 0; a call uses 1 to 1024"));
}
