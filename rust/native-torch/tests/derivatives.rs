//! Derivatives of every operation against central differences, and the engine's promises.

mod common;

use common::{Case, Random};
use native_torch::{
    eval::{Function, Order},
    tensor::DType,
};

#[track_caller]
fn assert_close(name: &str, a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len(), "{name}");
    let scale = b.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{name}: entry {i} is {a}, not {b}");
    }
}

/// Networks that together use every operation, also those that have no bounds.
fn cases() -> Vec<Case> {
    let mut cases = common::cases();
    cases.extend(common::flows());
    cases
}

fn value(f: &Function, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; f.m()];
    f.value(&mut f.workspace(), x, &mut y).unwrap();
    y
}

fn jacobian(f: &Function, x: &[f64]) -> Vec<f64> {
    let mut j = vec![0.0; f.m() * f.n()];
    f.jacobian(&mut f.workspace(), x, Order::RowMajor, &mut j).unwrap();
    j
}

fn times(matrix: &[f64], v: &[f64]) -> Vec<f64> {
    matrix.chunks(v.len()).map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum()).collect()
}

/// `(g(x + h e_i) - g(x - h e_i)) / 2h`, a row for each i.
fn differences(x: &[f64], g: impl Fn(&[f64]) -> Vec<f64>) -> Vec<Vec<f64>> {
    let h = 1e-5;
    let shifted = |i: usize, by: f64| {
        let mut x = x.to_vec();
        x[i] += by;
        g(&x)
    };
    (0..x.len())
        .map(|i| shifted(i, h).iter().zip(&shifted(i, -h)).map(|(a, b)| (a - b) / (2.0 * h)).collect())
        .collect()
}

#[test]
fn derivatives_agree_with_central_differences() {
    let mut random = Random(1);
    for Case { name, graph } in cases() {
        let f = Function::compile(&graph, DType::F64).unwrap();
        let (n, m) = (f.n(), f.m());
        let mut ws = f.workspace();
        for _ in 0..3 {
            let x = random.vector(n);
            let (mu, v) = (random.vector(m), random.vector(n));
            let j = jacobian(&f, &x);
            let columns = differences(&x, |x| value(&f, x));
            let expected: Vec<f64> = (0..m * n).map(|i| columns[i % n][i / n]).collect();
            assert_close(&format!("{name} J"), &j, &expected, 1e-8);

            let mut column_major = vec![f64::NAN; m * n];
            f.jacobian(&mut ws, &x, Order::ColumnMajor, &mut column_major).unwrap();
            let expected: Vec<f64> = (0..m * n).map(|i| j[(i % m) * n + i / m]).collect();
            assert_eq!(column_major, expected, "{name}");

            let pattern = f.jacobian_pattern();
            let mut values = vec![f64::NAN; pattern.len()];
            f.jacobian_values(&mut ws, &x, &mut values).unwrap();
            let mut dense = vec![0.0; m * n];
            for ((&row, &column), &v) in pattern.rows.iter().zip(&pattern.columns).zip(&values) {
                dense[row * n + column] = v;
            }
            assert_eq!(dense, j, "{name}: the pattern misses an entry");

            let mut jv = vec![f64::NAN; m];
            f.jvp(&mut ws, &x, &v, &mut jv).unwrap();
            assert_close(&format!("{name} Jv"), &jv, &times(&j, &v), 1e-13);

            let mut gradient = vec![f64::NAN; n];
            f.vjp(&mut ws, &x, &mu, &mut gradient).unwrap();
            let expected: Vec<f64> = (0..n).map(|i| (0..m).map(|r| j[r * n + i] * mu[r]).sum()).collect();
            assert_close(&format!("{name} J'u"), &gradient, &expected, 1e-13);

            let mut h = vec![f64::NAN; n * n];
            f.hessian(&mut ws, &x, &mu, &mut h).unwrap();
            let expected = differences(&x, |x| {
                let mut gradient = vec![0.0; n];
                f.vjp(&mut f.workspace(), x, &mu, &mut gradient).unwrap();
                gradient
            });
            assert_close(&format!("{name} H"), &h, &expected.concat(), 1e-7);

            let pattern = f.hessian_pattern();
            let mut values = vec![f64::NAN; pattern.len()];
            f.hessian_values(&mut ws, &x, &mu, &mut values).unwrap();
            let mut dense = vec![0.0; n * n];
            for ((&row, &column), &v) in pattern.rows.iter().zip(&pattern.columns).zip(&values) {
                assert!(column <= row, "{name}");
                dense[row * n + column] = v;
                dense[column * n + row] = v;
            }
            assert_eq!(dense, h, "{name}: the pattern misses an entry");

            let mut hv = vec![f64::NAN; n];
            f.hvp(&mut ws, &x, &mu, &v, &mut hv).unwrap();
            assert_close(&format!("{name} Hv"), &hv, &times(&h, &v), 1e-12);
        }
    }
}

#[test]
fn several_points_are_separate_evaluations() {
    let mut random = Random(2);
    for Case { name, graph } in cases() {
        let f = Function::compile(&graph, DType::F64).unwrap();
        let (n, m, points) = (f.n(), f.m(), 5);
        let mut ws = f.workspace();
        let (x, mu, v) = (random.vector(points * n), random.vector(points * m), random.vector(points * n));
        let (mut y, mut j) = (vec![0.0; points * m], vec![0.0; points * m * n]);
        let (mut h, mut hv) = (vec![0.0; points * n * n], vec![0.0; points * n]);
        f.value(&mut ws, &x, &mut y).unwrap();
        f.jacobian(&mut ws, &x, Order::RowMajor, &mut j).unwrap();
        f.hessian(&mut ws, &x, &mu, &mut h).unwrap();
        f.hvp(&mut ws, &x, &mu, &v, &mut hv).unwrap();
        for p in 0..points {
            let x = &x[p * n..(p + 1) * n];
            assert_close(&name, &y[p * m..(p + 1) * m], &value(&f, x), 1e-14);
            assert_close(&name, &j[p * m * n..(p + 1) * m * n], &jacobian(&f, x), 1e-14);
            let (mu, v) = (&mu[p * m..(p + 1) * m], &v[p * n..(p + 1) * n]);
            let (mut h1, mut hv1) = (vec![0.0; n * n], vec![0.0; n]);
            f.hessian(&mut f.workspace(), x, mu, &mut h1).unwrap();
            f.hvp(&mut f.workspace(), x, mu, v, &mut hv1).unwrap();
            assert_close(&name, &h[p * n * n..(p + 1) * n * n], &h1, 1e-14);
            assert_close(&name, &hv[p * n..(p + 1) * n], &hv1, 1e-14);
        }
    }
}

#[test]
fn single_precision_is_near_double() {
    let mut random = Random(3);
    for Case { name, graph } in cases() {
        let (f, g) = (Function::compile(&graph, DType::F64).unwrap(), Function::compile(&graph, DType::F32).unwrap());
        let (x, mu) = (random.vector(f.n()), random.vector(f.m()));
        let x: Vec<f64> = x.iter().map(|&v| f64::from(v as f32)).collect();
        assert_close(&name, &value(&g, &x), &value(&f, &x), 1e-5);
        assert_close(&name, &jacobian(&g, &x), &jacobian(&f, &x), 1e-4);
        let (mut a, mut b) = (vec![0.0; f.n() * f.n()], vec![0.0; f.n() * f.n()]);
        f.hessian(&mut f.workspace(), &x, &mu, &mut a).unwrap();
        g.hessian(&mut g.workspace(), &x, &mu, &mut b).unwrap();
        assert_close(&name, &b, &a, 1e-3);
    }
}

#[test]
fn one_function_serves_many_threads() {
    for Case { name, graph } in cases() {
        let f = Function::compile(&graph, DType::F64).unwrap();
        let expected: Vec<Vec<f64>> = (0..4).map(|seed| jacobian(&f, &Random(seed).vector(f.n()))).collect();
        std::thread::scope(|scope| {
            for (seed, expected) in expected.iter().enumerate() {
                let (f, name) = (&f, &name);
                scope.spawn(move || assert_eq!(jacobian(f, &Random(seed as u64).vector(f.n())), *expected, "{name}"));
            }
        });
    }
}

#[test]
fn wrong_lengths_and_foreign_workspaces_are_refused() {
    let Case { graph, .. } = cases().swap_remove(0);
    let f = Function::compile(&graph, DType::F64).unwrap();
    let g = Function::compile(&graph, DType::F64).unwrap();
    let mut y = vec![0.0; f.m()];
    let message = |r: native_torch::Result<()>| r.unwrap_err().to_string();
    let x = vec![0.0; f.n()];
    assert!(message(f.value(&mut f.workspace(), &x[1..], &mut y)).contains("x has length"));
    assert!(message(f.value(&mut f.workspace(), &[], &mut y)).contains("x has length 0"));
    assert!(message(f.value(&mut f.workspace(), &x, &mut [])).contains("y has length 0"));
    assert!(message(f.value(&mut g.workspace(), &x, &mut y)).contains("workspace"));
    assert!(Function::compile(&graph, DType::I64).is_err());
}

#[test]
fn large_problems_are_computed_in_pieces() {
    let n = 2100;
    let graph =
        common::graph(&[n], |b, _, x| (0..8).fold(x, |h, _| b.unary(native_torch::graph::Unary::Sigmoid, h).unwrap()));
    let f = Function::compile(&graph, DType::F64).unwrap();
    let mut random = Random(4);
    let (x, mu) = (random.vector(n), random.vector(n));
    let mut ws = f.workspace();
    let mut h = vec![f64::NAN; n * n];
    f.hessian(&mut ws, &x, &mu, &mut h).unwrap();
    let mut hv = vec![f64::NAN; n];
    f.hvp(&mut ws, &x, &mu, &vec![1.0; n], &mut hv).unwrap();
    let j = jacobian(&f, &x);
    let mut slope = vec![f64::NAN; n];
    f.jvp(&mut ws, &x, &vec![1.0; n], &mut slope).unwrap();
    for i in 0..n {
        for k in 0..n {
            let (first, second) = if i == k { (slope[i], hv[i]) } else { (0.0, 0.0) };
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-14 * b.abs();
            assert!(near(j[i * n + k], first) && near(h[i * n + k], second), "{i} {k}");
        }
    }
}

#[test]
fn empty_inputs_and_outputs_are_no_special_case() {
    use native_torch::{graph::Unary, tensor::Tensor};
    for (input, output) in [(0, 3), (4, 0), (0, 0)] {
        let graph = common::graph(&[input], |b, _, x| {
            let weight = b.parameter("weight", Tensor::from_slice(&[output, input], &vec![1.0; output * input]));
            let bias = b.parameter("bias", Tensor::from_slice(&[output], &vec![0.5; output]));
            let z = b.linear(x, weight, Some(bias)).unwrap();
            b.unary(Unary::Tanh, z).unwrap()
        });
        let f = Function::compile(&graph, DType::F64).unwrap();
        let (n, m) = (f.n(), f.m());
        assert_eq!((n, m), (input, output));
        let (x, mut ws) = (vec![0.0; n], f.workspace());
        assert_eq!(value(&f, &x), vec![0.5f64.tanh(); m]);
        f.jacobian(&mut ws, &x, Order::RowMajor, &mut vec![0.0; n * m]).unwrap();
        f.jacobian_values(&mut ws, &x, &mut vec![0.0; f.jacobian_pattern().len()]).unwrap();
        let mut h = vec![1.0; n * n];
        f.hessian(&mut ws, &x, &vec![1.0; m], &mut h).unwrap();
        assert_eq!(h, vec![0.0; n * n]);
        let mut hv = vec![1.0; n];
        f.hvp(&mut ws, &x, &vec![1.0; m], &x, &mut hv).unwrap();
        f.vjp(&mut ws, &x, &vec![1.0; m], &mut hv).unwrap();
        f.jvp(&mut ws, &x, &x, &mut vec![0.0; m]).unwrap();
    }
}

/// A sum over products that nobody else reads is computed as a product of matrices.
#[test]
fn matrix_products_are_the_sums_that_they_stand_for() {
    let (a, c) = ([2, 3, 1, 4], [5, 4]);
    let [product, sum] = [false, true]
        .map(|shows_terms| Function::compile(&common::matrix_product(&a, &c, shows_terms), DType::F64).unwrap());
    let x = Random(4).vector(product.n());
    let y = value(&sum, &x);
    assert_close("product", &value(&product, &x), &y[..product.m()], 1e-14);
    let j = jacobian(&sum, &x);
    assert_close("product", &jacobian(&product, &x), &j[..product.m() * product.n()], 1e-14);
}
