//! Bounds by every method: nothing true is cut off, and each method is at least as tight as the one before it.

mod common;

use std::time::{Duration, Instant};

use common::{Random, cases, graph, linear};
use native_torch::{
    bounds::{self, Bounds, Interval},
    eval::Function,
    graph::{AvgPool, Builder, Conv, Dim, GeluKind, Graph, MaxPool, Op, Unary, ValueId},
    tensor::{DType, Tensor},
    tighten::{InputRow, Method, Options, Report, network_bounds},
};

fn size(graph: &Graph) -> usize {
    graph.inputs().iter().map(|input| graph.numel(input.value)).sum()
}

/// A network under construction whose every value is an output.
struct Net {
    b: Builder,
    random: Random,
    values: Vec<ValueId>,
}

impl Net {
    fn new(seed: u64) -> Self {
        Self { b: Builder::new(), random: Random(seed), values: Vec::new() }
    }

    fn input(&mut self, name: &str, shape: &[usize]) -> ValueId {
        self.b.input(name, shape.iter().map(|&d| Dim::Size(d)).collect())
    }

    fn keep(&mut self, value: ValueId) -> ValueId {
        self.values.push(value);
        value
    }

    fn linear(&mut self, x: ValueId, out: usize) -> ValueId {
        let y = linear(&mut self.b, &mut self.random, x, out, true);
        self.keep(y)
    }

    fn unary(&mut self, unary: Unary, x: ValueId) -> ValueId {
        self.node(Op::Unary(unary), &[x])
    }

    fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let y = self.b.node(op, inputs).unwrap();
        self.keep(y)
    }

    fn conv(&mut self, x: ValueId, out: usize, kernel: usize, stride: usize) -> ValueId {
        let rank = self.b.ty(x).rank();
        let channels = self.b.ty(x).shape[rank - 3].size().unwrap();
        let weight = self.random.tensor(&[out, channels, kernel, kernel]);
        let weight = self.b.parameter("weight", weight);
        let bias = self.random.tensor(&[out]);
        let bias = self.b.parameter("bias", bias);
        let conv = Conv { stride: vec![stride; 2], padding: vec![(1, 0); 2], dilation: vec![1; 2], groups: 1 };
        self.node(Op::Conv(conv), &[x, weight, bias])
    }

    fn flatten(&mut self, x: ValueId) -> ValueId {
        let rank = self.b.ty(x).rank();
        self.node(Op::Flatten { start: rank - 3, end: rank - 1 }, &[x])
    }

    fn finish(self) -> Graph {
        let outputs: Vec<(&str, ValueId)> = self.values.iter().map(|&v| ("v", v)).collect();
        self.b.finish(&outputs).unwrap()
    }
}

/// Functions of one element that are defined everywhere.
fn functions() -> Vec<Unary> {
    let total = |unary: &Unary| unary.domain() == (f64::NEG_INFINITY, f64::INFINITY) && !unary.has_pole();
    Unary::examples().into_iter().filter(total).collect()
}

/// Networks of every kind, all of whose values are outputs.
fn nets(seed: u64) -> Vec<(String, Graph)> {
    let mut nets = Vec::new();
    for unary in functions() {
        let mut net = Net::new(seed);
        let mut h = net.input("x", &[4]);
        for width in [8, 7, 3] {
            h = net.linear(h, width);
            h = net.unary(unary, h);
        }
        net.linear(h, 2);
        nets.push((format!("mlp {unary:?}"), net.finish()));
    }
    for unary in [Unary::Relu, Unary::Gelu(GeluKind::Exact)] {
        let mut net = Net::new(seed);
        let x = net.input("x", &[2, 6, 5]);
        let h = net.conv(x, 3, 3, 1);
        let h = net.unary(unary, h);
        let pool = MaxPool {
            kernel: vec![2, 2],
            stride: vec![1, 2],
            padding: vec![1, 0],
            dilation: vec![1, 1],
            ceil_mode: true,
        };
        let h = net.node(Op::MaxPool(pool), &[h]);
        let h = net.conv(h, 2, 2, 2);
        let h = net.unary(unary, h);
        let pool = AvgPool {
            kernel: vec![2, 2],
            stride: vec![1, 1],
            padding: vec![1, 1],
            ceil_mode: false,
            count_include_pad: true,
            divisor: None,
        };
        let h = net.node(Op::AvgPool(pool), &[h]);
        let h = net.flatten(h);
        net.linear(h, 3);
        nets.push((format!("cnn {unary:?}"), net.finish()));
        let mut net = Net::new(seed);
        let x = net.input("x", &[5]);
        let h = net.linear(x, 5);
        let h = net.unary(unary, h);
        let h = net.linear(h, 5);
        let r = net.node(Op::Add, &[h, x]);
        let h = net.unary(unary, r);
        let h = net.linear(h, 5);
        let h = net.node(Op::Sub, &[r, h]);
        let h = net.node(Op::LayerNorm { axes: 1, eps: 1e-3 }, &[h]);
        let h = net.linear(h, 3);
        net.node(Op::Softmax { dim: 0 }, &[h]);
        nets.push((format!("residual {unary:?}"), net.finish()));
    }
    let mut net = Net::new(seed);
    let (x, z) = (net.input("x", &[2, 3]), net.input("z", &[3]));
    let a = net.linear(x, 3);
    let a = net.unary(Unary::Tanh, a);
    let b = net.linear(z, 3);
    let b = net.unary(Unary::Sigmoid, b);
    let product = net.node(Op::Mul, &[a, b]);
    let quotient = net.node(Op::Div, &[a, b]);
    let joined = net.node(Op::Cat { dim: 0 }, &[product, quotient, x]);
    let square = net.node(Op::Mul, &[joined, joined]);
    let shifted = net.node(Op::Sub, &[joined, square]);
    net.node(Op::Sum { dims: vec![0], keepdim: false }, &[shifted]);
    net.node(Op::Mean { dims: vec![1], keepdim: true }, &[joined]);
    nets.push(("products".to_owned(), net.finish()));
    nets
}

/// Boxes from points to wide ones.
fn boxes(random: &mut Random, n: usize) -> Vec<Vec<Interval>> {
    let around = |random: &mut Random, radius: f64| -> Vec<Interval> {
        random.vector(n).into_iter().map(|c| Interval::new(c - radius, c + radius)).collect()
    };
    let mut boxes: Vec<Vec<Interval>> = [0.0, 1e-9, 0.05, 0.5, 3.0].map(|radius| around(random, radius)).to_vec();
    let mut mixed = around(random, 0.4);
    mixed.iter_mut().step_by(2).for_each(|x| *x = Interval::point(x.lower));
    boxes.push(mixed);
    boxes
}

/// A point of a box: a corner, on some faces, or inside.
fn point(random: &mut Random, x: &[Interval]) -> Vec<f64> {
    let corners = random.next();
    let at = |random: &mut Random, x: &Interval| {
        let t = 0.5 + 0.5 * random.next();
        let t = if random.next() < corners { t.round() } else { t };
        (x.lower + (x.upper - x.lower) * t).clamp(x.lower, x.upper)
    };
    x.iter().map(|x| at(random, x)).collect()
}

/// Every output's range.
fn ranges(graph: &Graph, bounds: &Bounds) -> Vec<Interval> {
    graph.outputs().iter().flat_map(|output| bounds.of(output.value)).copied().collect()
}

/// Forward passes at random points stay in all ranges.
fn check_samples(name: &str, graph: &Graph, x: &[Interval], bounds: &Bounds, samples: usize) {
    let function = Function::compile(graph, DType::F64).unwrap();
    let (mut workspace, mut y) = (function.workspace(), vec![0.0; function.m()]);
    let ranges = ranges(graph, bounds);
    let mut random = Random(77);
    for _ in 0..samples {
        let x = point(&mut random, x);
        function.value(&mut workspace, &x, &mut y).unwrap();
        for (i, (y, range)) in y.iter().zip(&ranges).enumerate() {
            // Infinities that a forward pass computes with are no numbers.
            let overflows = y.is_nan() && !range.is_finite();
            assert!(range.contains(*y) || overflows, "{name}: output {i} is {y}, not in {range:?}");
        }
    }
}

/// `inner` is at least as tight as `outer`.
fn check_nested(name: &str, graph: &Graph, outer: &Bounds, inner: &Bounds) {
    for (i, (outer, inner)) in ranges(graph, outer).iter().zip(ranges(graph, inner)).enumerate() {
        assert!(outer.lower <= inner.lower && inner.upper <= outer.upper, "{name}: {i}: {inner:?} in {outer:?}");
    }
}

fn width(graph: &Graph, bounds: &Bounds) -> f64 {
    graph.outputs().last().map_or(0.0, |y| bounds.of(y.value).iter().map(|r| r.upper - r.lower).sum())
}

#[test]
fn linear_bounds_hold_every_value_and_are_never_wider() {
    let mut random = Random(1);
    for (name, graph) in nets(3).into_iter().chain(cases().into_iter().map(|case| (case.name, case.graph))) {
        for (k, x) in boxes(&mut random, size(&graph)).into_iter().enumerate() {
            let name = format!("{name}, box {k}");
            let intervals = bounds::propagate(&graph, &x).unwrap();
            let linear = bounds::linear(&graph, &x, 1).unwrap();
            check_samples(&name, &graph, &x, &intervals, 400);
            check_samples(&name, &graph, &x, &linear, 2000);
            check_nested(&name, &graph, &intervals, &linear);
        }
    }
}

#[test]
fn linear_bounds_do_not_depend_on_the_number_of_threads() {
    for (name, graph) in nets(4) {
        let x = vec![Interval::new(-0.4, 0.9); size(&graph)];
        let [one, three] = [1, 3].map(|threads| ranges(&graph, &bounds::linear(&graph, &x, threads).unwrap()));
        assert_eq!(one, three, "{name}");
    }
}

#[test]
fn linear_bounds_are_much_tighter_in_small_boxes() {
    // Of a rounding that a box decides nothing is left to be tighter than.
    let curves = functions().into_iter().filter(|unary| !matches!(unary, Unary::Floor | Unary::Round));
    for unary in curves {
        let graph = common::mlp(&[6, 20, 20, 20, 3], unary);
        // A box may hold a jump, where neither is tight: the best of a few counts.
        let ratios = (1..=4).filter_map(|seed| {
            let centre = Random(seed).vector(6);
            let x: Vec<Interval> = centre.into_iter().map(|c| Interval::new(c - 0.01, c + 0.01)).collect();
            let [intervals, linear] = [bounds::propagate(&graph, &x), bounds::linear(&graph, &x, 1)];
            let [intervals, linear] = [intervals, linear].map(|bounds| width(&graph, &bounds.unwrap()));
            // A constant has no width, and three exponentials in a row reach infinity.
            let says = intervals > 1e-9 && intervals.is_finite();
            says.then_some(linear / intervals)
        });
        let best = ratios.reduce(f64::min).unwrap_or(0.0);
        assert!(best < 0.2, "{unary:?}: {best}");
    }
}

#[test]
fn unbounded_inputs_bound_what_is_bounded() {
    let mut net = Net::new(2);
    let x = net.input("x", &[3]);
    let h = net.linear(x, 4);
    let h = net.unary(Unary::Tanh, h);
    let y = net.linear(h, 2);
    let h = net.unary(Unary::Relu, y);
    net.linear(h, 2);
    let graph = net.finish();
    for x in [Interval::ALL, Interval::new(0.0, f64::INFINITY), Interval::new(-1e308, 1e308)] {
        let x = [x, Interval::new(-1.0, 1.0), Interval::new(f64::NEG_INFINITY, 3.0)];
        let bounds = bounds::linear(&graph, &x, 1).unwrap();
        assert!(ranges(&graph, &bounds).iter().all(|r| r.is_valid()));
        assert!(bounds.of(y).iter().all(|r| r.is_finite() && r.upper - r.lower < 10.0));
    }
}

fn tightened(graph: &Graph, x: &[Interval], method: Method, options: &Options) -> (Bounds, Report) {
    network_bounds(graph, x, method, options, &mut |_| true).unwrap()
}

#[test]
fn programs_hold_every_value_and_are_never_wider() {
    let mut random = Random(9);
    let options = Options { threads: 2, time_limit: Some(Duration::from_millis(100)), ..Options::default() };
    let mut solved = 0;
    let nets = nets(6);
    let graphs = nets.len() - 5;
    // All that are no chains of linear layers, and some of these: the methods take their time.
    for (k, (name, graph)) in nets.into_iter().enumerate().filter(|(k, _)| k % 5 == 0 || *k >= graphs) {
        let x = &boxes(&mut random, size(&graph))[2 + k % 4];
        let mut outer = tightened(&graph, x, Method::Interval, &options).0;
        for method in [Method::Linear, Method::Lp, Method::Mip] {
            let (inner, report) = tightened(&graph, x, method, &options);
            let name = format!("{name}, {method:?}");
            check_samples(&name, &graph, x, &inner, 2000);
            // What runs out of time in one pass may not in another.
            if report.timed_out == 0 {
                check_nested(&name, &graph, &outer, &inner);
                outer = inner;
            }
            solved += report.solved;
        }
    }
    assert!(solved > 1000, "{solved}");
}

/// The smallest and the largest value of a network with one output at points of a grid.
fn grid(graph: &Graph, x: &[Interval; 2]) -> Interval {
    let function = Function::compile(graph, DType::F64).unwrap();
    let (mut workspace, mut y) = (function.workspace(), [0.0]);
    let mut range = Interval::new(f64::INFINITY, f64::NEG_INFINITY);
    for i in 0..=200 {
        for j in 0..=200 {
            let at = |x: Interval, k: i32| x.lower + (x.upper - x.lower) * f64::from(k) / 200.0;
            function.value(&mut workspace, &[at(x[0], i), at(x[1], j)], &mut y).unwrap();
            range = range.hull(Interval::point(y[0]));
        }
    }
    range
}

#[test]
fn mixed_integer_programs_find_the_exact_range() {
    for unary in [Unary::Relu, Unary::LeakyRelu { slope: 0.1 }, Unary::LeakyRelu { slope: 2.0 }] {
        let graph = common::mlp(&[2, 6, 5, 1], unary);
        let x = [Interval::new(-0.7, 0.4), Interval::new(-0.2, 0.9)];
        let seen = grid(&graph, &x);
        let options = Options { threads: 1, ..Options::default() };
        let found = tightened(&graph, &x, Method::Mip, &options).0.of(graph.outputs()[0].value)[0];
        let slack = 0.02 * (seen.upper - seen.lower) + 1e-5;
        assert!(found.lower <= seen.lower && seen.upper <= found.upper, "{unary:?}: {found:?} {seen:?}");
        assert!(found.lower > seen.lower - slack && found.upper < seen.upper + slack, "{unary:?}: {found:?} {seen:?}");
    }
}

#[test]
fn rows_of_the_inputs_narrow_bounds() {
    let graph = graph(&[2], |b, _, x| {
        let weight = b.parameter("weight", Tensor::from_slice(&[1, 2], &[1.0, 1.0]));
        b.linear(x, weight, None).unwrap()
    });
    let (x, y) = ([Interval::new(0.0, 2.0), Interval::new(0.0, 1.0)], graph.outputs()[0].value);
    let row = |terms: &[(usize, f64)], upper: f64| InputRow { terms: terms.to_vec(), lower: f64::NEG_INFINITY, upper };
    let upper = |rows: Vec<InputRow>, method| {
        let options = Options { rows, ..Options::default() };
        tightened(&graph, &x, method, &options).0.of(y)[0].upper
    };
    // x0 <= 1/2 narrows the box; x0 + x1 <= 1 only a program can use.
    assert!((upper(vec![row(&[(0, 2.0)], 1.0)], Method::Interval) - 1.5).abs() < 1e-9);
    let both = vec![row(&[(0, 1.0), (1, 1.0)], 1.0)];
    assert!((upper(both.clone(), Method::Linear) - 2.0).abs() < 1e-9);
    assert!((upper(both, Method::Lp) - 1.0).abs() < 1e-5);
    for (rows, words) in [
        (vec![row(&[(2, 1.0)], 1.0)], "row 0 names x[2]"),
        (vec![row(&[(0, f64::NAN)], 1.0)], "finite"),
        (vec![row(&[(0, 1.0)], -1.0)], "no point"),
    ] {
        let options = Options { rows, ..Options::default() };
        let error = network_bounds(&graph, &x, Method::Linear, &options, &mut |_| true).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn the_work_can_be_watched_and_ended() {
    let graph = common::mlp(&[4, 9, 8, 3], Unary::Relu);
    let x = vec![Interval::new(-1.0, 1.0); 4];
    let mut seen = Vec::new();
    let options = Options { threads: 2, ..Options::default() };
    let (all, report) = network_bounds(&graph, &x, Method::Lp, &options, &mut |now| {
        assert!(now.done <= now.total && now.total > 0 && !now.integer && !now.layer.is_empty());
        seen.push((now.done, now.total));
        true
    })
    .unwrap();
    assert!(!report.cancelled && report.solved > 0 && seen.last().is_some_and(|(done, total)| done == total));
    let mut calls = 0;
    let (some, report) = network_bounds(&graph, &x, Method::Mip, &options, &mut |_| {
        calls += 1;
        false
    })
    .unwrap();
    assert!(report.cancelled && calls == 1);
    check_nested("cancelled", &graph, &some, &all);
}

/// A number as the sum of two, with about 106 bits (Dekker, 1971).
#[derive(Clone, Copy)]
struct Double(f64, f64);

impl Double {
    fn add(self, other: Double) -> Double {
        let sum = self.0 + other.0;
        let part = sum - self.0;
        let error = (self.0 - (sum - part)) + (other.0 - part) + self.1 + other.1;
        let high = sum + error;
        Double(high, error - (high - sum))
    }

    fn times(self, factor: f64) -> Double {
        let product = self.0 * factor;
        let error = self.0.mul_add(factor, -product) + self.1 * factor;
        let high = product + error;
        Double(high, error - (high - product))
    }
}

#[test]
fn the_exact_values_of_points_are_inside() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let widths = [5, 12, 12, 12, 4];
        let layers: Vec<(Vec<f64>, Vec<f64>)> =
            widths.windows(2).map(|w| (random.vector(w[0] * w[1]), random.vector(w[1]))).collect();
        let graph = graph(&[5], |b, _, x| {
            let mut h = x;
            for (k, (weight, bias)) in layers.iter().enumerate() {
                if k > 0 {
                    h = b.unary(Unary::Relu, h).unwrap();
                }
                let weight = b.parameter("weight", Tensor::from_slice(&[widths[k + 1], widths[k]], weight));
                let bias = b.parameter("bias", Tensor::from_slice(&[widths[k + 1]], bias));
                h = b.linear(h, weight, Some(bias)).unwrap();
            }
            h
        });
        let x: Vec<f64> = random.vector(5).iter().map(|v| v * 100.0).collect();
        let mut h: Vec<Double> = x.iter().map(|&x| Double(x, 0.0)).collect();
        for (k, (weight, bias)) in layers.iter().enumerate() {
            if k > 0 {
                h.iter_mut().filter(|v| v.0 < 0.0).for_each(|v| *v = Double(0.0, 0.0));
            }
            let row = |(o, b): (usize, &f64)| {
                let terms = h.iter().enumerate().map(|(i, v)| v.times(weight[o * h.len() + i]));
                terms.fold(Double(*b, 0.0), Double::add)
            };
            h = bias.iter().enumerate().map(row).collect();
        }
        // The box is the point, so that nothing but rounding has room.
        let point: Vec<Interval> = x.iter().map(|&x| Interval::point(x)).collect();
        for bounds in [bounds::propagate(&graph, &point).unwrap(), bounds::linear(&graph, &point, 1).unwrap()] {
            for (range, value) in ranges(&graph, &bounds).iter().zip(&h) {
                let above = value.0 > range.lower || (value.0 == range.lower && value.1 >= 0.0);
                let below = value.0 < range.upper || (value.0 == range.upper && value.1 <= 0.0);
                assert!(above && below && range.upper - range.lower < 1e-8, "{range:?}: {} {}", value.0, value.1);
            }
        }
    }
}

/// The limit is a second on one core; without optimisation only the order of magnitude is looked at.
#[test]
fn a_large_network_takes_little_time() {
    let mut net = Net::new(8);
    let x = net.input("x", &[784]);
    let h = net.linear(x, 512);
    let h = net.unary(Unary::Relu, h);
    let h = net.linear(h, 512);
    let h = net.unary(Unary::Relu, h);
    net.linear(h, 10);
    let graph = net.finish();
    let x = vec![Interval::new(-0.01, 0.01); 784];
    let start = Instant::now();
    let linear = bounds::linear(&graph, &x, 1).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    println!("784-512-512-10: {seconds:.3} s");
    assert!(seconds < if cfg!(debug_assertions) { 20.0 } else { 1.0 });
    check_samples("large", &graph, &x, &linear, 100);
}

/// The benchmark: big-M with the bounds of linear programs proves the minimum of a 10-50-50-1 network over boxes
/// of radius 0.2 within a minute each, and faster than with intervals.
#[cfg(feature = "highs")]
#[test]
#[ignore = "takes minutes"]
fn linear_programs_make_big_m_fast() {
    use native_torch::{
        lower::{self, lower},
        solve::{self, Objective, Sense, Solver, Status},
    };
    let widths = [10, 50, 50, 1];
    let mut random = Random(20);
    let network = graph(&[10], |b, _, x| {
        let mut h = x;
        for (k, w) in widths.windows(2).enumerate() {
            if k > 0 {
                h = b.unary(Unary::Relu, h).unwrap();
            }
            // As torch initialises a linear layer.
            let scale = 1.0 / (w[0] as f64).sqrt();
            let mut scaled = |n: usize| random.vector(n).into_iter().map(|v| v * scale).collect::<Vec<f64>>();
            let weight = b.parameter("weight", Tensor::from_slice(&[w[1], w[0]], &scaled(w[0] * w[1])));
            let bias = b.parameter("bias", Tensor::from_slice(&[w[1]], &scaled(w[1])));
            h = b.linear(h, weight, Some(bias)).unwrap();
        }
        h
    });
    let mut random = Random(21);
    for k in 0..5 {
        let x: Vec<Interval> = random.vector(10).into_iter().map(|c| Interval::new(c - 0.2, c + 0.2)).collect();
        for method in Method::ALL {
            let options = Options { threads: 2, solver: Solver::Highs, ..Options::default() };
            let start = Instant::now();
            let (bounds, report) = tightened(&network, &x, method, &options);
            let tighten = start.elapsed().as_secs_f64();
            let formulation = lower(&network, &bounds, &lower::Options::default()).unwrap();
            let objective =
                Objective { sense: Sense::Minimize, terms: vec![(formulation.outputs()[0], 1.0)], constant: 0.0 };
            let limit = Some(Duration::from_secs(60));
            let options = solve::Options { solver: Solver::Highs, time_limit: limit, ..solve::Options::default() };
            let start = Instant::now();
            let solution = solve::solve(&formulation, &objective, &options).unwrap();
            println!(
                "point {k}, {method:?}: bounds {tighten:.2} s ({} programs, {} failed), width {:.4}, {} binaries, solved in \
                 {:.2} s: {:?} {:?}",
                report.solved,
                report.failed,
                width(&network, &bounds),
                formulation.variables().domain.iter().filter(|d| **d as u8 == 1).count(),
                start.elapsed().as_secs_f64(),
                solution.status,
                solution.objective,
            );
            assert!(method < Method::Lp || solution.status == Status::Optimal);
        }
    }
}
