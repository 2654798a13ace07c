//! The speed table: values, Jacobians and Hessians of tanh and ReLU networks in f64 on one thread, as medians, beside
//! the peak of the same run (the `gemm` crate at n = 1000).

mod abi;

use std::{path::Path, time::Instant};

use native_torch::{
    eval::{Function, Order},
    graph::{Builder, Dim, Graph, Unary},
    tensor::{DType, Tensor},
};

/// Numbers in [-scale, scale) that look random.
fn numbers(count: usize, scale: f64) -> Vec<f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| scale * next()).collect()
}

fn network(widths: &[usize], unary: Unary) -> Graph {
    let mut b = Builder::new();
    let mut h = b.input("x", vec![Dim::Size(widths[0])]);
    for (i, pair) in widths.windows(2).enumerate() {
        if i > 0 {
            h = b.unary(unary, h).expect("an element-wise function takes any shape");
        }
        let scale = (pair[0] as f64).sqrt().recip();
        let weight = Tensor::from_slice(&[pair[1], pair[0]], &numbers(pair[0] * pair[1], scale));
        let weight = b.parameter("weight", weight);
        let bias = b.parameter("bias", Tensor::from_slice(&[pair[1]], &numbers(pair[1], scale)));
        h = b.linear(h, weight, Some(bias)).expect("the widths fit");
    }
    b.finish(&[("y", h)]).expect("there is an output")
}

/// The median time of a call in seconds: samples of at least a millisecond for half a second.
fn median(mut call: impl FnMut(usize)) -> f64 {
    let started = Instant::now();
    call(0);
    let once = started.elapsed().as_secs_f64().max(1e-9);
    let repeat = ((1e-3 / once) as usize).clamp(1, 10_000);
    let mut samples = Vec::new();
    let mut calls = 0;
    while samples.len() < 9 || (started.elapsed().as_secs_f64() < 0.5 && samples.len() < 1000) {
        let sample = Instant::now();
        for _ in 0..repeat {
            calls += 1;
            call(calls);
        }
        samples.push(sample.elapsed().as_secs_f64() / repeat as f64);
    }
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Floating-point operations per second of a large product.
#[allow(unsafe_code)]
fn peak() -> f64 {
    let n = 1000;
    let (a, b) = (numbers(n * n, 1.0), numbers(n * n, 1.0));
    let mut c = vec![0.0; n * n];
    let time = median(|_| {
        let (rows, columns) = (n as isize, 1);
        // SAFETY: all three matrices are row-major with n rows of n columns.
        unsafe {
            gemm::gemm(
                n,
                n,
                n,
                c.as_mut_ptr(),
                columns,
                rows,
                false,
                a.as_ptr(),
                columns,
                rows,
                b.as_ptr(),
                columns,
                rows,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    });
    2.0 * (n as f64).powi(3) / time
}

/// The sizes of a network of linear layers, and what its evaluations cost.
struct Layers<'a>(&'a [usize]);

impl Layers<'_> {
    fn products(widths: &[usize]) -> f64 {
        widths.windows(2).map(|p| (p[0] * p[1]) as f64).sum()
    }

    /// Operations for f.
    fn value(&self) -> f64 {
        2.0 * Self::products(self.0)
    }

    /// Operations for J, the cheaper way. In reverse the last layer's weights are the start, forward the first layer's.
    fn jacobian(&self) -> f64 {
        let (n, m) = (self.0[0] as f64, *self.0.last().expect("a network has layers") as f64);
        let last = self.0.len() - 1;
        2.0 * (m * Self::products(&self.0[..last])).min(n * Self::products(&self.0[1..]))
    }

    /// Operations for H: the forward tangents, and half of G'DG for each hidden layer.
    fn hessian(&self) -> f64 {
        let n = self.0[0] as f64;
        let hidden = &self.0[1..self.0.len() - 1];
        2.0 * n * Self::products(hidden) + hidden.iter().map(|&w| n * n * w as f64).sum::<f64>()
    }

    fn name(&self, unary: Unary) -> String {
        let widths: Vec<String> = self.0.iter().map(usize::to_string).collect();
        format!("{} {}", widths.join("-"), unary.name())
    }
}

/// Prints a line of the table.
fn row(name: &str, call: &str, time: f64, flops: f64, peak: f64) {
    let rate = flops / time;
    println!("| {name} | {call} | {:.2} | {:.1} | {:.0}% |", time * 1e6, rate / 1e9, 100.0 * rate / peak);
}

/// The small network through the C ABI, as `cargo xtask bench` has just built the library.
fn foreign(peak: f64) {
    let layers = Layers(&[10, 50, 50, 1]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let library = root.join("target/release/libnative_torch.so");
    let f = abi::Foreign::open(&library, &root.join("test/models/nets/mlp_tanh.pt"), &[10]);
    let points = [numbers(10, 1.0), numbers(10, 0.5)];
    let (mut y, mut j, mut h) = (vec![0.0; 1], vec![0.0; 10], vec![0.0; 100]);
    let name = format!("{}, C ABI", layers.name(Unary::Tanh));
    row(&name, "f", median(|i| f.value(&points[i % 2], &mut y)), layers.value(), peak);
    let time = median(|i| {
        f.value(&points[i % 2], &mut y);
        f.jacobian(&points[i % 2], &mut j);
    });
    row(&name, "f and J", time, layers.value() + layers.jacobian(), peak);
    let time = median(|i| {
        f.value(&points[i % 2], &mut y);
        f.hessian(&points[i % 2], &[1.0], &mut h);
    });
    row(&name, "f and H", time, layers.value() + layers.hessian(), peak);
}

fn main() {
    let peak = peak();
    println!("peak (gemm crate, n = 1000, f64, one thread): {:.1} Gflop/s\n", peak / 1e9);
    println!("| net | call | us | Gflop/s | of peak |");
    println!("|---|---|---|---|---|");
    foreign(peak);
    for (widths, unary) in [
        (&[10, 50, 50, 1][..], Unary::Tanh),
        (&[100, 200, 200, 50], Unary::Tanh),
        (&[784, 512, 512, 10], Unary::Tanh),
        (&[784, 512, 512, 10], Unary::Relu),
    ] {
        let f = Function::compile(&network(widths, unary), DType::F64).expect("the network compiles");
        let (n, m) = (f.n(), f.m());
        let mut workspace = f.workspace();
        // Two points in turn, so that no call finds its values in the workspace.
        let points = [numbers(n, 1.0), numbers(n, 0.5)];
        let mu = numbers(m, 1.0);
        let mut y = vec![0.0; m];
        let mut j = vec![0.0; m * n];
        let mut h = vec![0.0; f.hessian_pattern().len()];
        let layers = Layers(widths);
        let name = layers.name(unary);
        let time = median(|i| f.value(&mut workspace, &points[i % 2], &mut y).expect("lengths fit"));
        row(&name, "f", time, layers.value(), peak);
        let time =
            median(|i| f.jacobian(&mut workspace, &points[i % 2], Order::RowMajor, &mut j).expect("lengths fit"));
        row(&name, "f and J", time, layers.value() + layers.jacobian(), peak);
        let time = median(|i| {
            f.value(&mut workspace, &points[i % 2], &mut y).expect("lengths fit");
            f.hessian_values(&mut workspace, &points[i % 2], &mu, &mut h).expect("lengths fit");
        });
        let curved = if unary == Unary::Relu { 0.0 } else { layers.hessian() };
        row(&name, "f and H", time, layers.value() + curved, peak);
    }
}
