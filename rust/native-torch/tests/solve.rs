//! Solving: against forward passes, samples, enumerations, other formulations and HiGHS's answers.

mod common;

use std::{path::Path, time::Duration};

use common::{Random, graph, linear, mlp};
use native_torch::{
    ErrorKind,
    bounds::{Interval, propagate},
    eval::Function,
    graph::{AvgPool, Builder, Conv, Dim, Graph, MaxPool, Op, Padding, Unary},
    load,
    lower::{Domain, Expression, Formulation, Opcode, Relation, VarId, lower},
    solve::{Answer, Objective, Options, Problem, Sense, Solver, Status, solve},
    tensor::{DType, Tensor},
};

/// The solvers of this build.
fn solvers() -> Vec<Options> {
    let built = Solver::ALL.into_iter().filter(|solver| match solver {
        Solver::Microlp => cfg!(feature = "microlp"),
        Solver::Highs => cfg!(feature = "highs"),
    });
    built.map(|solver| Options { solver, ..Options::default() }).collect()
}

fn forward(graph: &Graph, x: &[f64]) -> Vec<f64> {
    let function = Function::compile(graph, DType::F64).unwrap();
    let mut y = vec![0.0; function.m()];
    function.value(&mut function.workspace(), x, &mut y).unwrap();
    y
}

fn inputs(graph: &Graph) -> usize {
    graph.inputs().iter().map(|input| graph.sizes(input.value).iter().product::<usize>()).sum()
}

fn formulate(graph: &Graph, bounds: &[Interval]) -> Formulation {
    lower(graph, &propagate(graph, bounds).unwrap(), &native_torch::lower::Options::default()).unwrap()
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0)
}

/// Piecewise linear networks that use every such operation.
fn networks() -> Vec<(&'static str, Graph)> {
    let image = |op: Op| {
        graph(&[1, 2, 4, 4], |b, random, x| {
            let conv = Conv { stride: vec![1, 2], padding: vec![(1, 0), (0, 1)], dilation: vec![2, 1], groups: 2 };
            let weight = b.parameter("w", random.tensor(&[4, 1, 2, 2]));
            let bias = b.parameter("b", random.tensor(&[4]));
            let h = b.node(Op::Conv(conv), &[x, weight, bias]).unwrap();
            let h = b.unary(Unary::Relu, h).unwrap();
            let h = b.node(op, &[h]).unwrap();
            let h = b.node(Op::Flatten { start: 1, end: 3 }, &[h]).unwrap();
            linear(b, random, h, 2, true)
        })
    };
    let max =
        MaxPool { kernel: vec![2; 2], stride: vec![2; 2], padding: vec![1, 0], dilation: vec![1; 2], ceil_mode: true };
    let average = AvgPool {
        kernel: vec![2; 2],
        stride: vec![1, 2],
        padding: vec![1, 0],
        ceil_mode: true,
        count_include_pad: false,
        divisor: None,
    };
    vec![
        ("relu", mlp(&[3, 6, 5, 2], Unary::Relu)),
        ("leaky relu", mlp(&[3, 5, 4, 2], Unary::LeakyRelu { slope: 0.1 })),
        ("negative slope", mlp(&[3, 5, 2], Unary::LeakyRelu { slope: -0.5 })),
        ("steep slope", mlp(&[3, 5, 4, 2], Unary::LeakyRelu { slope: 2.5 })),
        ("max pool", image(Op::MaxPool(max))),
        ("average pool", image(Op::AvgPool(average))),
        ("reflect", image(Op::Pad { amounts: vec![(1, 0), (0, 1)], padding: Padding::Reflect })),
        (
            "residual",
            graph(&[4], |b, random, x| {
                let h = linear(b, random, x, 4, true);
                let h = b.unary(Unary::Relu, h).unwrap();
                let sum = b.add(x, h).unwrap();
                let difference = b.node(Op::Sub, &[sum, x]).unwrap();
                let scale = b.parameter("scale", random.tensor(&[4]));
                let scaled = b.node(Op::Mul, &[difference, scale]).unwrap();
                let constant = b.parameter("constant", random.tensor(&[3]));
                let joined = b.node(Op::Cat { dim: 0 }, &[scaled, constant, x, x]).unwrap();
                linear(b, random, joined, 3, false)
            }),
        ),
    ]
}

#[test]
fn fixed_inputs_give_the_forward_pass() {
    let mut random = Random(1);
    for options in solvers() {
        for (name, graph) in networks() {
            let n = inputs(&graph);
            let mut f = formulate(&graph, &vec![Interval::new(-1.0, 1.0); n]);
            let x = random.vector(n);
            for (&variable, &value) in f.inputs().to_vec().iter().zip(&x) {
                f.restrict(variable, Interval::point(value)).unwrap();
            }
            let y = forward(&graph, &x);
            for (j, &variable) in f.outputs().to_vec().iter().enumerate() {
                for sense in [Sense::Minimize, Sense::Maximize] {
                    let objective = Objective { sense, terms: vec![(variable, 1.0)], constant: 0.5 };
                    let solution = solve(&f, &objective, &options).unwrap();
                    assert_eq!(solution.status, Status::Optimal, "{name}");
                    assert!(close(solution.objective.unwrap(), y[j] + 0.5, 1e-6), "{name} {solution:?} {}", y[j]);
                    assert!(close(solution.bound.unwrap(), y[j] + 0.5, 1e-6), "{name}");
                }
            }
        }
    }
}

/// The extreme of a one-hidden-layer ReLU network by enumeration of the phases, one linear program each.
fn enumerate(w1: &[f64], b1: &[f64], w2: &[f64], n: usize, sense: Sense, options: &Options) -> f64 {
    let hidden = b1.len();
    let mut best: Option<f64> = None;
    for phases in 0..1u32 << hidden {
        let mut f = Formulation::default();
        let block = f.add_block("x");
        let x: Vec<VarId> =
            (0..n).map(|_| f.add_variable(block, Interval::new(-1.0, 1.0), Domain::Continuous).unwrap()).collect();
        let mut objective = Objective { sense, terms: Vec::new(), constant: 0.0 };
        for i in 0..hidden {
            let on = phases >> i & 1 == 1;
            let row: Vec<(VarId, f64)> = x.iter().zip(&w1[i * n..]).map(|(&v, &a)| (v, a)).collect();
            let (lower, upper) = if on { (-b1[i], f64::INFINITY) } else { (f64::NEG_INFINITY, -b1[i]) };
            f.add_row(lower, &row, upper).unwrap();
            if on {
                objective.terms.extend(row.iter().map(|&(v, a)| (v, a * w2[i])));
                objective.constant += w2[i] * b1[i];
            }
        }
        let solution = solve(&f, &objective, options).unwrap();
        if let Some(value) = solution.objective {
            best = Some(match (best, sense) {
                (None, _) => value,
                (Some(best), Sense::Minimize) => best.min(value),
                (Some(best), Sense::Maximize) => best.max(value),
            });
        }
    }
    best.unwrap()
}

#[test]
fn extremes_are_those_of_an_enumeration_of_phases() {
    for options in solvers() {
        for seed in 0..6 {
            let mut random = Random(seed);
            let (n, hidden) = (3, 5);
            let (w1, b1, w2) = (random.vector(n * hidden), random.vector(hidden), random.vector(hidden));
            let mut b = Builder::new();
            let x = b.input("x", vec![Dim::Size(n)]);
            let first = b.parameter("w1", Tensor::from_slice(&[hidden, n], &w1));
            let bias = b.parameter("b1", Tensor::from_slice(&[hidden], &b1));
            let second = b.parameter("w2", Tensor::from_slice(&[1, hidden], &w2));
            let h = b.linear(x, first, Some(bias)).unwrap();
            let h = b.unary(Unary::Relu, h).unwrap();
            let y = b.linear(h, second, None).unwrap();
            let graph = b.finish(&[("y", y)]).unwrap();
            for sense in [Sense::Minimize, Sense::Maximize] {
                let mut problem = Problem::new(&graph, vec![Interval::new(-1.0, 1.0); n]).unwrap();
                match sense {
                    Sense::Minimize => problem.minimize("y[0]").unwrap(),
                    Sense::Maximize => problem.maximize("y[0]").unwrap(),
                }
                let answer = problem.solve(&options).unwrap();
                let expected = enumerate(&w1, &b1, &w2, n, sense, &options);
                assert!(close(answer.objective.unwrap(), expected, 1e-6), "{answer:?} {expected}");
                assert!(close(answer.bound.unwrap(), expected, 1e-6), "{answer:?} {expected}");
            }
        }
    }
}

#[test]
fn extremes_bracket_samples_and_are_reached() {
    let mut random = Random(5);
    for options in solvers() {
        for (name, graph) in networks() {
            let n = inputs(&graph);
            let bounds = vec![Interval::new(-0.3, 0.3); n];
            let samples: Vec<f64> = (0..2000)
                .map(|_| forward(&graph, &random.vector(n).iter().map(|v| 0.3 * v).collect::<Vec<_>>())[0])
                .collect();
            let extreme = |maximize: bool| -> Answer {
                let mut problem = Problem::new(&graph, bounds.clone()).unwrap();
                if maximize { problem.maximize("y[0]") } else { problem.minimize("y[0]") }.unwrap();
                problem.solve(&options).unwrap()
            };
            for (answer, sign) in [(extreme(false), 1.0), (extreme(true), -1.0)] {
                assert_eq!(answer.status, Status::Optimal, "{name}");
                let value = answer.objective.unwrap();
                assert!(close(value, answer.bound.unwrap(), 1e-6), "{name}: {answer:?}");
                assert!(samples.iter().all(|s| sign * (s - value) >= -1e-6), "{name}");
                let y = forward(&graph, answer.x.as_ref().unwrap());
                assert!(y == *answer.y.as_ref().unwrap() && close(y[0], value, 1e-9), "{name}");
            }
        }
    }
}

/// ReLU by a slack: `y - s == z`, y and s not negative, one of them zero.
fn relu_with_slack(z: Interval, indicator: bool) -> (Formulation, VarId, VarId) {
    let mut f = Formulation::default();
    let block = f.add_block("v");
    let x = f.add_variable(block, z, Domain::Continuous).unwrap();
    let y = f.add_variable(block, Interval::new(0.0, z.upper), Domain::Continuous).unwrap();
    let s = f.add_variable(block, Interval::new(0.0, -z.lower), Domain::Continuous).unwrap();
    f.add_row(0.0, &[(y, 1.0), (s, -1.0), (x, -1.0)], 0.0).unwrap();
    if indicator {
        let on = f.add_variable(block, Interval::new(0.0, 1.0), Domain::Binary).unwrap();
        f.add_indicator(on, true, f64::NEG_INFINITY, &[(s, 1.0)], 0.0).unwrap();
        f.add_indicator(on, false, f64::NEG_INFINITY, &[(y, 1.0)], 0.0).unwrap();
    } else {
        f.add_sos1(&[(y, 1.0), (s, 2.0)]).unwrap();
    }
    (f, x, y)
}

#[test]
fn sos1_and_indicators_become_big_m() {
    for options in solvers() {
        for indicator in [false, true] {
            let (f, x, y) = relu_with_slack(Interval::new(-2.0, 3.0), indicator);
            // max y - 0.5 x is 1.5 at x = 3; min is -x/2 = .. at the kink 0.
            for (sense, expected) in [(Sense::Maximize, 1.5), (Sense::Minimize, 0.0)] {
                let objective = Objective { sense, terms: vec![(y, 1.0), (x, -0.5)], constant: 0.0 };
                let solution = solve(&f, &objective, &options).unwrap();
                assert!(close(solution.objective.unwrap(), expected, 1e-7), "{solution:?}");
                assert_eq!(solution.values.unwrap().len(), f.variables().len());
            }
            let (f, _, y) = relu_with_slack(Interval::new(f64::NEG_INFINITY, 3.0), indicator);
            let objective = Objective { sense: Sense::Maximize, terms: vec![(y, 1.0)], constant: 0.0 };
            assert!(solve(&f, &objective, &options).unwrap_err().to_string().contains("needs finite"));
        }
    }
}

fn one_input(widths: &[usize]) -> Graph {
    mlp(widths, Unary::Relu)
}

#[test]
fn statuses_are_told_apart() {
    let net = one_input(&[2, 4, 2]);
    let line = graph(&[2], |b, random, x| linear(b, random, x, 1, true));
    for options in solvers() {
        let boxed = || Problem::new(&net, vec![Interval::new(-1.0, 1.0); 2]).unwrap();
        let mut problem = boxed();
        problem.subject_to("y[0] >= 1000").unwrap();
        let answer = problem.solve(&options).unwrap();
        assert_eq!((answer.status, answer.objective, &answer.x), (Status::Infeasible, None, &None));
        for contradiction in ["x[0] >= 2", "1 <= 0", "x[0] + x[1] == 2.5", "abs(x[0]) <= -1"] {
            let mut problem = boxed();
            problem.subject_to(contradiction).unwrap();
            assert_eq!(problem.solve(&options).unwrap().status, Status::Infeasible, "{contradiction}");
        }

        let mut problem = Problem::new(&line, vec![Interval::ALL; 2]).unwrap();
        problem.maximize("y[0]").unwrap();
        let answer = problem.solve(&options).unwrap();
        assert_eq!((answer.status, answer.bound), (Status::Unbounded, None));

        let none = Options { time_limit: Some(Duration::ZERO), ..options.clone() };
        let mut problem = boxed();
        problem.minimize("y[0]").unwrap();
        let answer = problem.solve(&none).unwrap();
        // The middle of the box is tried, however early the time is over.
        assert_eq!((answer.status, &answer.x, answer.bound), (Status::TimeLimit, &Some(vec![0.0, 0.0]), None));
        problem.subject_to("x[0] >= 0.25").unwrap();
        let answer = problem.solve(&none).unwrap();
        assert_eq!((answer.status, answer.objective, answer.bound), (Status::TimeLimit, None, None));
        // A start is kept, however early the time is over.
        problem.set_x0(&[0.5, 0.5]).unwrap();
        let answer = problem.solve(&none).unwrap();
        assert_eq!((answer.status, answer.x), (Status::TimeLimit, Some(vec![0.5, 0.5])));
        assert_eq!(answer.objective, Some(forward(&net, &[0.5, 0.5])[0]));

        // No objective: any point.
        let mut problem = boxed();
        problem.subject_to("y[0] == y[1]").unwrap();
        let answer = problem.solve(&options).unwrap();
        if let Some(y) = answer.y {
            assert!((y[0] - y[1]).abs() < 1e-6 && answer.objective == Some(0.0));
        }
    }
}

#[test]
fn a_time_limit_in_the_middle_gives_an_honest_gap() {
    let net = one_input(&[8, 40, 40, 1]);
    for options in solvers() {
        let options = Options { time_limit: Some(Duration::from_millis(1500)), ..options };
        let mut problem = Problem::new(&net, vec![Interval::new(-1.0, 1.0); 8]).unwrap();
        problem.maximize("y[0]").unwrap();
        problem.set_x0(&[0.0; 8]).unwrap();
        let answer = problem.solve(&options).unwrap();
        let objective = answer.objective.unwrap();
        if answer.status == Status::TimeLimit {
            assert!(answer.bound.is_none_or(|bound| bound >= objective - 1e-9), "{answer:?}");
        }
        assert!(objective >= forward(&net, &[0.0; 8])[0]);
    }
}

#[test]
fn a_time_limit_leaves_a_point_of_the_relaxation() {
    let net = one_input(&[10, 40, 40, 5]);
    for options in solvers() {
        let options = Options { time_limit: Some(Duration::from_secs(2)), ..options };
        let mut problem = Problem::new(&net, vec![Interval::new(-1.0, 1.0); 10]).unwrap();
        problem.maximize("y[0]").unwrap();
        assert!(problem.solve(&options).unwrap().objective.is_some());
        // Without the middle of the box.
        problem.subject_to("x[0] + x[1] >= 0.5").unwrap();
        let answer = problem.solve(&options).unwrap();
        assert!(answer.objective.is_some_and(|v| v <= answer.bound.unwrap_or(f64::INFINITY)), "{answer:?}");
    }
}

/// A linear layer with these weights, row by row, and biases.
fn affine(inputs: usize, weights: &[f64], bias: &[f64]) -> Graph {
    graph(&[inputs], |b, _, x| {
        let weight = b.parameter("w", Tensor::from_slice(&[bias.len(), inputs], weights));
        let bias = b.parameter("b", Tensor::from_slice(&[bias.len()], bias));
        b.linear(x, weight, Some(bias)).unwrap()
    })
}

#[test]
fn inputs_without_bounds_are_solved() {
    let everywhere = |n| vec![Interval::ALL; n];
    for options in solvers() {
        // In case of a cycle.
        let options = Options { time_limit: Some(Duration::from_secs(20)), ..options };
        for (weights, bias) in [
            ([1.0, -1.0], 1.0),
            ([-0.3, 0.7], 0.2),
            ([1.0, 1.0], 0.0),
            ([1.0, 1.0], 1.0),
            ([1.0, 2.0], -1.0),
            ([0.5, -2.0], 3.0),
        ] {
            let net = affine(2, &weights, &[bias]);
            let mut boxes = vec![everywhere(2)];
            if options.solver == Solver::Microlp {
                // Bounds beyond 2^52 are no start for microlp either. HiGHS may go there, where sums round to the next
                // multiple of 16 and so are refused as wrong.
                boxes.push(vec![Interval::new(-1e17, 1e17); 2]);
            }
            for bounds in boxes {
                let mut problem = Problem::new(&net, bounds).unwrap();
                for objective in ["abs(y[0])", "norminf(y)", "max(y[0], -y[0], x[0] - 1e6)"] {
                    problem.minimize(objective).unwrap();
                    let answer = problem.solve(&options).unwrap();
                    assert_eq!(answer.status, Status::Optimal, "{objective} {weights:?} {bias}");
                    assert!(answer.objective.unwrap().abs() < 1e-6, "{objective} {weights:?} {bias} {answer:?}");
                }
            }
            let mut problem = Problem::new(&net, everywhere(2)).unwrap();
            problem.minimize("norminf(y)").unwrap();
            problem.subject_to("y[0] <= x[0]").unwrap();
            assert_eq!(problem.solve(&options).unwrap().status, Status::Optimal, "{weights:?} {bias}");
            // Unbounded along a direction in which other variables grow too, or infeasible all the same.
            for objective in ["y[0] + x[1]", "max(y[0], x[1]) + 3*x[0]", "x[0] - abs(y[0] - x[0] - x[1])/9"] {
                let bounds = vec![Interval::new(f64::NEG_INFINITY, 3.0), Interval::ALL];
                let mut problem = Problem::new(&net, bounds).unwrap();
                if objective.contains("abs") {
                    problem.maximize(objective).unwrap();
                    problem.subject_to("x[1] <= x[0]").unwrap();
                    assert_eq!(problem.solve(&options).unwrap().status, Status::Optimal, "{objective} {weights:?}");
                    continue;
                }
                problem.minimize(objective).unwrap();
                assert_eq!(problem.solve(&options).unwrap().status, Status::Unbounded, "{objective} {weights:?}");
                problem.subject_to("x[0] - 2*x[1] >= 1").unwrap();
                problem.subject_to("2*x[1] - x[0] >= 1").unwrap();
                assert_eq!(problem.solve(&options).unwrap().status, Status::Infeasible, "{objective} {weights:?}");
            }
        }
        let net = affine(2, &[0.3, -0.2, 0.5, 0.7, -0.1, 0.4], &[0.1, -0.2, 0.3]);
        let mut problem = Problem::new(&net, everywhere(2)).unwrap();
        problem.minimize("abs(x[0])").unwrap();
        let answer = problem.solve(&options).unwrap();
        assert_eq!((answer.status, answer.objective), (Status::Optimal, Some(0.0)));
    }
}

#[test]
fn an_infeasible_problem_without_bounds_is_infeasible() {
    let net = graph(&[3], |b, _, x| {
        let first = Tensor::from_slice(&[3, 3], &[1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let first = b.parameter("0.weight", first);
        let h = b.linear(x, first, None).unwrap();
        let h = b.unary(Unary::Relu, h).unwrap();
        let second = b.parameter("2.weight", Tensor::from_slice(&[1, 3], &[1.0, 1.0, 0.0]));
        b.linear(h, second, None).unwrap()
    });
    let unit = Interval::new(-1.0, 1.0);
    for options in solvers() {
        let mut problem = Problem::new(&net, vec![unit, unit, Interval::ALL]).unwrap();
        problem.maximize("x[2]").unwrap();
        problem.subject_to("x[0] - x[1] == 0").unwrap();
        assert_eq!(problem.solve(&options).unwrap().status, Status::Unbounded);
        problem.subject_to("x[0] + x[1] == 0").unwrap();
        assert_eq!(problem.solve(&options).unwrap().status, Status::Unbounded);
        problem.subject_to("y[0] >= 0.5").unwrap();
        assert_eq!(problem.solve(&options).unwrap().status, Status::Infeasible);
    }
}

#[test]
fn a_nearly_flat_limit_is_a_limit() {
    // 1e-12 x >= -1 is a limit far away, and none for a solver's tolerance.
    let mut f = Formulation::default();
    let block = f.add_block("v");
    let v = f.add_variable(block, Interval::ALL, Domain::Continuous).unwrap();
    f.add_row(-1.0, &[(v, 1e-12)], f64::INFINITY).unwrap();
    let objective = Objective { sense: Sense::Minimize, terms: vec![(v, 1.0)], constant: 0.0 };
    for options in solvers() {
        match solve(&f, &objective, &options) {
            Ok(solution) => assert_eq!(solution.status, Status::Optimal),
            Err(error) => assert!(error.to_string().contains("narrower bounds"), "{error}"),
        }
    }
}

#[test]
fn constant_conditions_have_the_tolerance_of_others() {
    let net = one_input(&[2, 2, 1]);
    for options in solvers() {
        for (condition, holds) in
            [("0 == 1e-9", true), ("1e-9 <= 0", true), ("1e9 == 1e9 + 1e-6", true), ("0 == 1e-5", false)]
        {
            let mut problem = Problem::new(&net, vec![Interval::new(-1.0, 1.0); 2]).unwrap();
            problem.subject_to(condition).unwrap();
            problem.minimize("y[0]").unwrap();
            let expected = if holds { Status::Optimal } else { Status::Infeasible };
            assert_eq!(problem.solve(&options).unwrap().status, expected, "{condition}");
        }
    }
}

#[test]
fn integers_that_microlp_cannot_hold() {
    let objective = |v| Objective { sense: Sense::Maximize, terms: vec![(v, 1.0)], constant: 0.0 };
    for options in solvers() {
        let mut f = Formulation::default();
        let block = f.add_block("n");
        let v = f.add_variable(block, Interval::new(0.2, 0.8), Domain::Integer).unwrap();
        assert_eq!(solve(&f, &objective(v), &options).unwrap().status, Status::Infeasible);
        let mut f = Formulation::default();
        let block = f.add_block("n");
        let v = f.add_variable(block, Interval::new(1.0, 1e10), Domain::Integer).unwrap();
        match solve(&f, &objective(v), &options) {
            Ok(solution) => assert_eq!(solution.objective, Some(1e10)),
            Err(error) => assert!(error.to_string().contains("n[0] is an integer in [1, 1"), "{error}"),
        }
    }
}

/// The values of an objective on a grid over the box, where the conditions hold.
fn grid(graph: &Graph, steps: usize, objective: impl Fn(&[f64], &[f64]) -> Option<f64>) -> f64 {
    let function = Function::compile(graph, DType::F64).unwrap();
    let (mut workspace, mut y) = (function.workspace(), vec![0.0; function.m()]);
    let mut best = f64::INFINITY;
    for i in 0..=steps {
        for j in 0..=steps {
            let x = [i, j].map(|k| 2.0 * k as f64 / steps as f64 - 1.0);
            function.value(&mut workspace, &x, &mut y).unwrap();
            best = objective(&x, &y).map_or(best, |value| best.min(value));
        }
    }
    best
}

/// What the problem's objective is at `x` and `y`; none where a condition fails.
type Check = fn(&[f64], &[f64]) -> Option<f64>;

#[test]
fn the_language_means_what_it_says() {
    let net = one_input(&[2, 5, 3]);
    let x0 = [0.3, -0.2];
    // (what is minimised, conditions, the same by hand)
    let cases: [(&str, &[&str], Check); 12] = [
        ("2*x[0] - y[1]/2 + 1", &[], |x, y| Some(2.0 * x[0] - y[1] / 2.0 + 1.0)),
        ("abs(y[0] - 0.1) + abs(x[0])", &[], |x, y| Some((y[0] - 0.1).abs() + x[0].abs())),
        ("-abs(y[0])", &[], |_, y| Some(-y[0].abs())),
        ("max(y[0], y[1], y[2])", &[], |_, y| Some(y[0].max(y[1]).max(y[2]))),
        ("min(y[0], y[1], x[0])", &[], |x, y| Some(y[0].min(y[1]).min(x[0]))),
        ("-max(abs(x[0]), y[1]) + 0.3*x[1]", &[], |x, y| Some(-x[0].abs().max(y[1]) + 0.3 * x[1])),
        ("abs(abs(x[0]) - 0.5) + abs(max(x[1], y[0]) - 0.25)", &[], |x, y| {
            Some((x[0].abs() - 0.5).abs() + (x[1].max(y[0]) - 0.25).abs())
        }),
        ("-norm1(x - x0)", &["y[0] <= y[1]"], |x, y| (y[0] <= y[1]).then(|| -(x[0] - 0.3).abs() - (x[1] + 0.2).abs())),
        ("norminf(x - x0)", &["argmax(y) == 2"], |x, y| {
            (y[2] > y[0] && y[2] > y[1]).then(|| (x[0] - 0.3).abs().max((x[1] + 0.2).abs()))
        }),
        ("y[0]", &["argmax(y) != 0"], |_, y| (y[1] > y[0] || y[2] > y[0]).then_some(y[0])),
        ("-y[1]", &["argmax(y) != 0", "argmax(y) != 1", "abs(x[0]) >= 0.25"], |x, y| {
            ((y[1] > y[0] || y[2] > y[0]) && (y[0] > y[1] || y[2] > y[1]) && x[0].abs() >= 0.25).then(|| -y[1])
        }),
        ("x[0]", &["abs(x[0] - x[1]) == 0.5", "norm1(y) <= 2"], |x, y| {
            let on = ((x[0] - x[1]).abs() - 0.5).abs() < 1e-9;
            (on && y.iter().map(|v| v.abs()).sum::<f64>() <= 2.0).then_some(x[0])
        }),
    ];
    for options in solvers() {
        for (objective, conditions, by_hand) in cases {
            let mut problem = Problem::new(&net, vec![Interval::new(-1.0, 1.0); 2]).unwrap();
            problem.set_x0(&x0).unwrap();
            problem.minimize(objective).unwrap();
            conditions.iter().for_each(|condition| problem.subject_to(condition).unwrap());
            let answer = problem.solve(&options).unwrap();
            let expected = grid(&net, 400, by_hand);
            if expected == f64::INFINITY {
                assert_eq!(answer.status, Status::Infeasible, "{objective} {conditions:?}");
                continue;
            }
            assert_eq!(answer.status, Status::Optimal, "{objective} {conditions:?}");
            let value = answer.objective.unwrap();
            // The grid is coarse: nothing on it is better, and something on it is nearly as good.
            assert!(
                value <= expected + 1e-6 && value > expected - 0.1,
                "{objective} {conditions:?}: {value} {expected}"
            );
            assert!(close(value, answer.bound.unwrap(), 1e-6), "{answer:?}");
            // The same the other way round.
            let mut problem = Problem::new(&net, vec![Interval::new(-1.0, 1.0); 2]).unwrap();
            problem.set_x0(&x0).unwrap();
            problem.maximize(&format!("-({objective})")).unwrap();
            conditions.iter().for_each(|condition| problem.subject_to(condition).unwrap());
            let answer = problem.solve(&options).unwrap();
            assert!(close(-answer.objective.unwrap(), value, 1e-6) && close(-answer.bound.unwrap(), value, 1e-6));
        }
    }
}

#[test]
fn convex_uses_take_no_bounds() {
    let line = graph(&[2], |b, _, x| {
        let weight = b.parameter("w", Tensor::from_slice(&[1, 2], &[1.0, 2.0]));
        b.linear(x, weight, None).unwrap()
    });
    for options in solvers() {
        let mut problem = Problem::new(&line, vec![Interval::ALL; 2]).unwrap();
        problem.minimize("abs(y[0] - 3) + norm1(x) + max(x[0], -x[1])").unwrap();
        let answer = problem.solve(&options).unwrap();
        assert_eq!(answer.status, Status::Optimal);
        problem.minimize("-abs(x[0])").unwrap();
        let error = problem.solve(&options).unwrap_err();
        assert!(error.kind() == ErrorKind::Argument && error.to_string().contains("not convex"), "{error}");
        // Conditions on the inputs alone bound them well enough.
        problem.subject_to("norminf(x) <= 2").unwrap();
        let answer = problem.solve(&options).unwrap();
        assert!(close(answer.objective.unwrap(), -2.0, 1e-6), "{answer:?}");
    }
}

#[test]
fn fixed_inputs_and_margins() {
    let net = one_input(&[3, 5, 2]);
    for options in solvers() {
        let mut problem = Problem::new(&net, vec![Interval::new(-1.0, 1.0); 3]).unwrap();
        problem.fix(1, 0.25).unwrap();
        problem.fix(2, 7.0).unwrap();
        problem.maximize("y[0] - y[1]").unwrap();
        let free = problem.solve(&options).unwrap();
        let x = free.x.unwrap();
        assert_eq!(x[1..], [0.25, 7.0]);
        let gap = free.objective.unwrap();
        let winner = if gap > 0.0 { "argmax(y) == 0" } else { "argmax(y) == 1" };
        problem.subject_to(winner).unwrap();
        problem.set_margin(gap.abs() * 0.5).unwrap();
        let answer = problem.solve(&options).unwrap();
        let y = answer.y.unwrap();
        assert!((y[0] - y[1]).abs() >= gap.abs() * 0.5 - 1e-6);
    }
    let mut problem = Problem::new(&net, vec![Interval::new(-1.0, 1.0); 3]).unwrap();
    assert!(problem.fix(3, 0.0).unwrap_err().to_string().contains("x[3]"));
    assert!(problem.fix(0, f64::NAN).is_err());
    assert!(problem.set_margin(-1.0).is_err() && problem.set_margin(f64::NAN).is_err());
    assert!(problem.set_x0(&[0.0]).is_err() && problem.set_x0(&[f64::INFINITY; 3]).is_err());
    assert!(problem.minimize("norm1(x - x0)").is_err());
    assert!(Problem::new(&net, vec![Interval::ALL]).is_err());
    assert!(Problem::new(&net, vec![Interval::new(1.0, 0.0); 3]).is_err());
}

#[test]
fn what_cannot_be_solved_is_named() {
    let mut b = Builder::new();
    let x = b.input("x", vec![Dim::Size(2)]);
    b.set_scope("layer `1` (torch.nn.modules.activation.Tanh)");
    let y = b.unary(Unary::Tanh, x).unwrap();
    let smooth = b.finish(&[("y", y)]).unwrap();
    for options in solvers() {
        let problem = Problem::new(&smooth, vec![Interval::new(-1.0, 1.0); 2]).unwrap();
        let error = problem.solve(&options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("layer `1`") && text.contains("Ipopt") && text.contains("gray box"), "{text}");
        let relu = one_input(&[2, 4, 1]);
        let error = Problem::new(&relu, vec![Interval::ALL; 2]).unwrap().solve(&options).unwrap_err();
        assert!(error.to_string().contains("give bounds"), "{error}");
    }
    assert!(Solver::from_name("gurobi").unwrap_err().to_string().contains("microlp, highs"));
    for missing in Solver::ALL.into_iter().filter(|s| !solvers().iter().any(|built| built.solver == *s)) {
        let f = Formulation::default();
        let objective = Objective { sense: Sense::Minimize, terms: Vec::new(), constant: 0.0 };
        let error = solve(&f, &objective, &Options { solver: missing, ..Options::default() }).unwrap_err();
        assert!(error.to_string().contains("cargo feature"), "{error}");
    }
}

#[test]
fn formulations_of_the_callers_are_checked() {
    let mut f = Formulation::default();
    let block = f.add_block("v");
    let v = f.add_variable(block, Interval::new(0.0, 1.0), Domain::Continuous).unwrap();
    let missing = VarId(7);
    assert!(f.add_variable(9, Interval::ALL, Domain::Continuous).is_err());
    assert!(f.add_variable(block, Interval::new(1.0, 0.0), Domain::Continuous).is_err());
    assert!(f.add_row(0.0, &[(missing, 1.0)], 1.0).is_err());
    assert!(f.add_row(0.0, &[(v, f64::NAN)], 1.0).is_err());
    assert!(f.add_row(1.0, &[(v, 1.0)], 0.0).is_err());
    assert!(f.add_indicator(v, true, 0.0, &[(v, 1.0)], 0.0).unwrap_err().to_string().contains("not binary"));
    assert!(f.add_sos1(&[(missing, 1.0)]).is_err());
    assert!(f.add_definition(v, Relation::Equal, &Expression::call(Opcode::Exp, [])).is_err());
    assert!(f.restrict(v, Interval::new(2.0, 3.0)).is_err());
    assert!(f.evaluate(&[1.0]).is_err());
    // The same variable twice is one entry.
    f.add_row(0.0, &[(v, 1.0), (v, 2.0)], 1.5).unwrap();
    assert_eq!(f.rows().row(0).collect::<Vec<_>>(), [(v, 3.0)]);
    for options in solvers() {
        let objective = |terms| Objective { sense: Sense::Maximize, terms, constant: 0.0 };
        assert!(solve(&f, &objective(vec![(missing, 1.0)]), &options).is_err());
        assert!(solve(&f, &objective(vec![(v, f64::NAN)]), &options).is_err());
        let solution = solve(&f, &objective(vec![(v, 1.0)]), &options).unwrap();
        assert!(close(solution.objective.unwrap(), 0.5, 1e-7));
        // Relaxed and integer.
        let mut g = f.clone();
        let block = g.add_block("n");
        let n = g.add_variable(block, Interval::new(0.0, 2.5), Domain::Integer).unwrap();
        let solution = solve(&g, &objective(vec![(n, 1.0)]), &options).unwrap();
        assert_eq!((solution.objective, solution.bound), (Some(2.0), Some(2.0)));
        let relaxed = Options { relaxed: true, ..options.clone() };
        assert!(close(solve(&g, &objective(vec![(n, 1.0)]), &relaxed).unwrap().objective.unwrap(), 2.5, 1e-9));
    }
}

#[test]
fn digits_are_those_of_highs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/digits");
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let x0: Vec<f64> = serde_json::from_value(read("image.json")).unwrap();
    let expected = read("expected.json");
    let label = expected["label"].as_u64().unwrap();
    let module = load::open(folder.join("digits.pt")).unwrap().module().unwrap();
    let graph = module.graph(Some(&[Dim::Size(1), Dim::Size(64)])).unwrap();
    for options in solvers() {
        let nearest = |condition: &str| {
            let mut problem = Problem::new(&graph, vec![Interval::new(0.0, 1.0); 64]).unwrap();
            problem.set_x0(&x0).unwrap();
            problem.minimize("norminf(x - x0)").unwrap();
            problem.subject_to(condition).unwrap();
            let answer = problem.solve(&options).unwrap();
            assert_eq!(answer.status, Status::Optimal);
            assert!(close(answer.bound.unwrap(), answer.objective.unwrap(), 1e-9));
            answer
        };
        let answer = nearest(&format!("argmax(y) != {label}"));
        assert!((answer.objective.unwrap() - expected["radius"].as_f64().unwrap()).abs() < 1e-6, "{answer:?}");
        let y = answer.y.unwrap();
        let read = (0..10).max_by(|&a, &b| y[a].total_cmp(&y[b])).unwrap();
        assert_eq!(read as u64, expected["other_digit"].as_u64().unwrap());
        for (digit, radius) in expected["per_digit"].as_object().unwrap() {
            let answer = nearest(&format!("y[{digit}] >= y[{label}] + 1e-6"));
            assert!((answer.objective.unwrap() - radius.as_f64().unwrap()).abs() < 1e-6, "{digit}");
        }
    }
}
