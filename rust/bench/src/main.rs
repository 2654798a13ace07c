//! The speed table: values, Jacobians and Hessians of networks as medians, beside the peak of the same run (the `gemm`
//! crate at n = 1000). With `--write` it becomes `docs/benchmarks.md`; `memory FILE SIZES` measures one forward pass instead.

mod abi;
mod memory;

use std::path::{Path, PathBuf};

use native_torch::{
    bounds::{self, Interval},
    eval::Function,
    graph::{GeluKind, Unary},
    lower::{Options, lower},
    tensor::DType,
};
use native_torch_bench::{
    Call, Report, caller, median, medians, micro,
    nets::{self, Case, numbers},
    percent, sampler,
};

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
}

/// The median time of a call in f64.
fn time(f: &Function, call: Call, points: usize, threads: usize) -> f64 {
    median(caller::<f64>(f, call, points, threads))
}

fn compiled(case: &Case, dtype: DType) -> Function {
    Function::compile(&case.graph, dtype).expect("the network compiles")
}

/// The small network through the C ABI, as `cargo xtask bench` has just built the library.
fn foreign(report: &mut Report, peak: f64) {
    let layers = Layers(&[10, 50, 50, 1]);
    let library = root().join("target/release/libnative_torch.so");
    let f = abi::Foreign::open(&library, &root().join("test/models/nets/mlp_tanh.pt"), &[10]);
    let points = [numbers(10, 1.0), numbers(10, 0.5)];
    let (mut y, mut j, mut h) = (vec![0.0; 1], vec![0.0; 10], vec![0.0; 100]);
    let mut row = |call: Call, time: f64, operations: f64| {
        let name = "10-50-50-1 tanh, C ABI".to_owned();
        report.row(&[
            name,
            call.name().to_owned(),
            micro(time),
            percent(operations / time / peak),
            String::new(),
            String::new(),
        ]);
    };
    row(Call::Value, median(|i| f.value(&points[i % 2], &mut y)), layers.value());
    let time = median(|i| {
        f.value(&points[i % 2], &mut y);
        f.jacobian(&points[i % 2], &mut j);
    });
    row(Call::Jacobian, time, layers.value() + layers.jacobian());
    let time = median(|i| {
        f.value(&points[i % 2], &mut y);
        f.hessian(&points[i % 2], &[1.0], &mut h);
    });
    row(Call::Hessian, time, layers.value() + layers.hessian());
}

/// f, J and H in both precisions, with the share of the peak in f64 where the operations are counted.
fn precisions(report: &mut Report, peak: f64, case: &Case, calls: &[(Call, Option<f64>)]) {
    let (double, single) = (compiled(case, DType::F64), compiled(case, DType::F32));
    for &(call, operations) in calls {
        let double = sampler(caller::<f64>(&double, call, 1, 1));
        let single = sampler(caller::<f32>(&single, call, 1, 1));
        let times = medians(&mut [double, single]);
        let (a, b) = (times[0], times[1]);
        let share = operations.map_or(String::new(), |operations| percent(operations / a / peak));
        report.row(&[case.name.clone(), call.name().to_owned(), micro(a), share, micro(b), format!("{:.2}", a / b)]);
    }
}

/// Bounds of a ReLU network over a box, and its formulation in full space with them.
fn formulations(report: &mut Report, widths: &[usize]) {
    let case = nets::layers(widths, Unary::Relu, None);
    let region = vec![Interval::new(-0.1, 0.1); widths[0]];
    let linear =
        |threads: usize| median(|_| drop(bounds::linear(&case.graph, &region, threads).expect("it has bounds")));
    let known = bounds::linear(&case.graph, &region, 0).expect("it has bounds");
    let lowered = || lower(&case.graph, &known, &Options::default()).expect("it has a formulation");
    let [one, two] = [1, 2].map(|threads| format!("{:.2}", 1e3 * linear(threads)));
    let time = format!("{:.2}", 1e3 * median(|_| drop(lowered())));
    let model = lowered();
    let sizes = [model.variables().len(), model.rows().coefficient.len()].map(|count| count.to_string());
    let [variables, entries] = sizes;
    report.row(&[case.name.clone(), one, two, time, variables, entries]);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn main() -> native_torch::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, path, sizes] = &arguments[..]
        && command == "memory"
    {
        return memory::print(path, sizes);
    }
    let mut report = Report::default();
    report.line("# Benchmarks");
    report.line("");
    report.line("Written by `cargo xtask bench --write`: medians of one run, on one thread unless said otherwise.");
    let peak = peak();
    report.line(&format!("Peak (the `gemm` crate at n = 1000, f64, one thread): {:.1} Gflop/s.", peak / 1e9));

    report.table("Networks", &["net", "call", "us, f64", "of peak", "us, f32", "f64 / f32"]);
    foreign(&mut report, peak);
    for (widths, unary) in [
        (&[10, 50, 50, 1][..], Unary::Tanh),
        (&[100, 200, 200, 50], Unary::Tanh),
        (&[784, 512, 512, 10], Unary::Tanh),
        (&[784, 512, 512, 10], Unary::Relu),
    ] {
        let count = Layers(widths);
        let curved = if unary == Unary::Relu { 0.0 } else { count.hessian() };
        let calls = [
            (Call::Value, Some(count.value())),
            (Call::Jacobian, Some(count.value() + count.jacobian())),
            (Call::Hessian, Some(count.value() + curved)),
        ];
        precisions(&mut report, peak, &nets::layers(widths, unary, None), &calls);
    }
    for case in [nets::digits(Unary::Tanh), nets::digits(Unary::Relu)] {
        let operations = Some(case.operations);
        precisions(
            &mut report,
            peak,
            &case,
            &[(Call::Value, operations), (Call::Jacobian, None), (Call::Hessian, None)],
        );
    }
    let residual = nets::residual();
    precisions(&mut report, peak, &residual, &[(Call::Value, Some(residual.operations))]);
    for unary in [Unary::Tanh, Unary::Sigmoid, Unary::Gelu(GeluKind::Exact), Unary::Relu] {
        precisions(&mut report, peak, &nets::elements(10_000, unary), &[(Call::Value, None)]);
    }
    for case in [
        nets::softmax(100, 100),
        nets::pools(28, 2, 2),
        nets::pools(56, 3, 2),
        nets::convolution(1, 16, 28),
        nets::convolution(64, 64, 56),
    ] {
        let operations = Some(case.operations).filter(|&operations| operations > 0.0);
        precisions(&mut report, peak, &case, &[(Call::Value, operations)]);
    }

    report.table("f against a copy of its weights", &["net", "us, copy", "us, f", "copy / f"]);
    let case = nets::layers(&[784, 512, 512, 10], Unary::Tanh, None);
    let (from, mut to) = (numbers(case.weights, 1.0), vec![0.0; case.weights]);
    let copy = median(|_| {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
    });
    let value = time(&compiled(&case, DType::F64), Call::Value, 1, 1);
    report.row(&[case.name.clone(), micro(copy), micro(value), percent(copy / value)]);

    report.table("Many points at once, f64", &["net", "call", "us, one point", "us a point, of 96", "ratio"]);
    for widths in [&[10, 50, 50, 1][..], &[100, 200, 200, 50], &[784, 512, 512, 10]] {
        let case = nets::layers(widths, Unary::Tanh, None);
        let f = compiled(&case, DType::F64);
        for call in [Call::Value, Call::Jacobian, Call::Hessian] {
            if call == Call::Hessian && widths[0] > 100 {
                continue;
            }
            let (one, many) = (time(&f, call, 1, 1), time(&f, call, 96, 1) / 96.0);
            report.row(&[
                case.name.clone(),
                call.name().to_owned(),
                micro(one),
                micro(many),
                format!("{:.2}", one / many),
            ]);
        }
    }

    report.table("Sparse J and H, f64", &["net", "n", "m", "entries of J", "us, f", "us, J", "entries of H", "us, H"]);
    for case in [nets::filter(28), nets::filter(64), nets::layers(&[20, 50, 50, 5], Unary::Tanh, Some(64))] {
        let f = compiled(&case, DType::F64);
        let [value, jacobian, hessian] =
            [Call::Value, Call::Jacobian, Call::Hessian].map(|call| micro(time(&f, call, 1, 1)));
        let counts = [f.n(), f.m(), f.jacobian_pattern().len(), f.hessian_pattern().len()].map(|c| c.to_string());
        let [n, m, first, second] = counts;
        report.row(&[case.name.clone(), n, m, first, value, jacobian, second, hessian]);
    }

    report.table("Threads, f64", &["net", "call", "points", "us, 1 thread", "us, 2 threads", "ratio"]);
    let large = nets::layers(&[784, 512, 512, 10], Unary::Tanh, None);
    let small = nets::layers(&[10, 50, 50, 1], Unary::Tanh, None);
    for (case, call, points) in [
        (&small, Call::Hessian, 1000),
        (&large, Call::Value, 1),
        (&large, Call::Jacobian, 1),
        (&large, Call::Hessian, 1),
        (&residual, Call::Value, 1),
    ] {
        let f = compiled(case, DType::F64);
        let (one, two) = (time(&f, call, points, 1), time(&f, call, points, 2));
        let name = call.name().to_owned();
        report.row(&[case.name.clone(), name, points.to_string(), micro(one), micro(two), format!("{:.2}", one / two)]);
    }

    let headings = ["net", "ms, linear bounds", "ms, 2 threads", "ms, formulation", "variables", "entries of rows"];
    report.table("Bounds and formulations over a box", &headings);
    for widths in [&[10, 50, 50, 1][..], &[784, 512, 512, 10]] {
        formulations(&mut report, widths);
    }

    if arguments.iter().any(|argument| argument == "--write") {
        std::fs::write(root().join("docs/benchmarks.md"), report.text()).expect("docs/benchmarks.md can be written");
    }
    Ok(())
}
