//! Every form of every kind: what it makes of the forward pass, that no other point satisfies it, and that solvers find the
//! same extremes by forms that have nothing in common.

mod common;

use common::{Random, graph, linear};
use native_torch::{
    bounds::{Interval, propagate},
    eval::Function,
    graph::{Builder, Dim, Graph, MaxPool, Op, Unary},
    lower::{FORMS, Form, Formulation, Options, Space, lower},
    solve::{self, Objective, Sense, Status, solve},
    tensor::{DType, Tensor},
};

fn formulate(graph: &Graph, bounds: &[Interval], options: &str) -> Formulation {
    lower(graph, &propagate(graph, bounds).unwrap(), &options.parse().unwrap()).unwrap()
}

fn forward(graph: &Graph, x: &[f64]) -> Vec<f64> {
    let function = Function::compile(graph, DType::F64).unwrap();
    let mut y = vec![0.0; function.m()];
    function.value(&mut function.workspace(), x, &mut y).unwrap();
    y
}

/// A network whose hidden layer is this function of an element.
fn net(unary: Unary) -> Graph {
    graph(&[3], |b, random, x| {
        let h = linear(b, random, x, 5, true);
        // Scaled so that several kinks lie within the bounds.
        let h = b.unary(Unary::Affine { scale: 3.0, shift: 0.5 }, h).unwrap();
        let h = b.unary(unary, h).unwrap();
        linear(b, random, h, 2, true)
    })
}

fn pool_net() -> Graph {
    graph(&[1, 4], |b, random, x| {
        let h = linear(b, random, x, 8, true);
        let pool = MaxPool { kernel: vec![4], stride: vec![4], padding: vec![0], dilation: vec![1], ceil_mode: false };
        let h = b.node(Op::MaxPool(pool), &[h]).unwrap();
        linear(b, random, h, 1, true)
    })
}

const PIECEWISE: [Unary; 9] = [
    Unary::Relu,
    Unary::LeakyRelu { slope: 0.1 },
    Unary::LeakyRelu { slope: -0.5 },
    Unary::LeakyRelu { slope: 2.5 },
    Unary::Abs,
    Unary::RELU6,
    Unary::Hardtanh { min: -1.0, max: 0.5 },
    Unary::Hardsigmoid,
    Unary::Softshrink { lambd: 0.3 },
];

/// Those that a mixed-integer linear solver takes.
const LINEAR: [&str; 4] = ["big_m", "indicator", "partition(2)", "sos1"];

fn extreme(model: &Formulation, sense: Sense) -> f64 {
    let objective = Objective { terms: vec![(model.outputs()[0], 1.0)], constant: 0.0, sense };
    let solution = solve(model, &objective, &solve::Options::default()).unwrap();
    assert_eq!(solution.status, Status::Optimal, "{model}");
    solution.objective.unwrap()
}

#[test]
fn forms_agree_on_the_extremes_and_bracket_samples() {
    let mut nets: Vec<(String, Graph)> = PIECEWISE.map(|unary| (format!("{unary:?}"), net(unary))).into();
    nets.push(("max_pool".to_owned(), pool_net()));
    let mut random = Random(11);
    for (name, graph) in nets {
        let n = graph.sizes(graph.inputs()[0].value).iter().product();
        let bounds = vec![Interval::new(-0.6, 0.7); n];
        let mut seen: Option<[f64; 2]> = None;
        for form in LINEAR {
            let model = formulate(&graph, &bounds, &format!("relu={form}, max_pool={form}"));
            let found = [Sense::Minimize, Sense::Maximize].map(|sense| extreme(&model, sense));
            let first = *seen.get_or_insert(found);
            for (a, b) in found.iter().zip(first) {
                assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{name} {form}: {found:?} is not {first:?}");
            }
        }
        let [least, most] = seen.unwrap();
        for _ in 0..10_000 {
            let x: Vec<f64> = random.vector(n).iter().map(|t| 0.05 + 0.65 * t).collect();
            let y = forward(&graph, &x)[0];
            assert!(least - 1e-6 <= y && y <= most + 1e-6, "{name}: {y} outside [{least}, {most}]");
        }
    }
}

#[test]
fn every_form_holds_at_every_point() {
    let mut random = Random(5);
    let forms = "nonlinear big_m big_m(100) sos1 quadratic quadratic(0.01) complementarity indicator partition(3)";
    let mut nets: Vec<Graph> = PIECEWISE.map(net).into();
    nets.extend([net(Unary::Hardswish), pool_net()]);
    for graph in &nets {
        let n = graph.sizes(graph.inputs()[0].value).iter().product();
        let bounds = vec![Interval::new(-1.0, 1.0); n];
        let reduced = formulate(graph, &bounds, "space=reduced");
        for form in forms.split(' ') {
            let model = formulate(graph, &bounds, &format!("relu={form}, max_pool={form}"));
            for _ in 0..50 {
                let x = random.vector(n);
                let values = model.evaluate(&x).unwrap();
                model.check(&values, 1e-9).unwrap_or_else(|error| panic!("{form}: {error}\n{model}"));
                let y = forward(graph, &x);
                assert!(model.formulation_error(&x, &y).unwrap() < 1e-11);
                assert!(reduced.formulation_error(&x, &y).unwrap() < 1e-11);
            }
        }
    }
}

#[test]
fn a_big_m_of_the_callers_never_cuts_off_points() {
    let relu = graph(&[1], |b, _, x| b.unary(Unary::Relu, x).unwrap());
    let try_m = |bounds: Interval, options: &str| {
        lower(&relu, &propagate(&relu, &[bounds]).unwrap(), &options.parse::<Options>().unwrap())
    };
    let error = try_m(Interval::new(-3.0, 5.0), "relu=big_m(4)").unwrap_err().to_string();
    assert!(error.contains("needs") || error.contains("need 5"), "{error}");
    // What is given and what is known: the tighter of the two is in the rows.
    let text = try_m(Interval::new(-3.0, 5.0), "relu=big_m(100)").unwrap().to_string();
    assert!(text.contains("- 5 relu 0.on[0] <= 0") && text.contains("3 relu 0.on[0] <= 3"), "{text}");
    let half = Interval::new(-3.0, f64::INFINITY);
    let text = try_m(half, "relu=big_m(100)").unwrap().to_string();
    assert!(text.contains("- 100 relu 0.on[0] <= 0") && text.contains("3 relu 0.on[0] <= 3"), "{text}");
    for options in ["", "relu=partition(2)"] {
        let error = try_m(half, options).unwrap_err().to_string();
        assert!(error.contains("operation relu") && error.contains("give bounds"), "{error}");
    }
    for options in ["relu=sos1", "relu=indicator", "relu=complementarity", "relu=quadratic", "relu=nonlinear"] {
        try_m(Interval::ALL, options).unwrap();
    }
}

#[test]
fn epigraphs_of_softplus_hold_all_that_is_above() {
    let soft =
        |beta: f64, threshold: f64| graph(&[1], |b, _, x| b.unary(Unary::Softplus { beta, threshold }, x).unwrap());
    for form in ["epigraph", "cone"] {
        let options = format!("softplus={form}");
        let bounds = [Interval::new(-4.0, 2.0)];
        let graph = soft(2.0, 20.0);
        let model = formulate(&graph, &bounds, &options);
        // The largest value, which an upper bound of max(0, u) would cut off.
        for x in [-4.0, 0.0, 2.0] {
            let values = model.evaluate(&[x]).unwrap();
            model.check(&values, 1e-9).unwrap();
            let mut below = values.clone();
            below[model.outputs()[0].index()] -= 1e-3;
            assert!(model.check(&below, 1e-9).is_err(), "{form}");
        }
        for (beta, threshold) in [(1.0, 0.5), (-1.0, 20.0)] {
            let graph = soft(beta, threshold);
            let options: Options = options.parse().unwrap();
            let error = lower(&graph, &propagate(&graph, &bounds).unwrap(), &options).unwrap_err().to_string();
            assert!(error.contains("not convex") && error.contains("nonlinear"), "{error}");
        }
    }
}

/// Both halves of the cone's sum hold `y` up: neither can be taken for what it is not.
#[test]
fn a_cone_of_softplus_leaves_no_share_free() {
    let graph = graph(&[1], |b, _, x| b.unary(Unary::Softplus { beta: 1.0, threshold: 20.0 }, x).unwrap());
    let model = formulate(&graph, &[Interval::new(-4.0, 2.0)], "softplus=cone");
    let mut values = model.evaluate(&[1.0]).unwrap();
    let (y, share, rest) = (model.outputs()[0].index(), model.outputs()[0].index() + 1, model.outputs()[0].index() + 2);
    assert!((values[share] + values[rest] - 1.0).abs() < 1e-12);
    values[y] -= 0.05;
    for (fits, other, exponent) in [(share, rest, 1.0), (rest, share, 0.0)] {
        let mut below = values.clone();
        below[fits] = (exponent - below[y]).exp();
        below[other] = 1.0 - below[fits];
        assert!(model.check(&below, 1e-9).is_err(), "{model}");
    }
}

#[test]
fn the_two_parts_of_a_hinge_exclude_each_other() {
    let relu = graph(&[1], |b, _, x| b.unary(Unary::Relu, x).unwrap());
    for form in ["sos1", "quadratic", "complementarity"] {
        let model = formulate(&relu, &[Interval::new(-1.0, 1.0)], &format!("relu={form}"));
        let mut values = model.evaluate(&[0.3]).unwrap();
        model.check(&values, 1e-9).unwrap();
        let positive = model.outputs()[0].index();
        values[positive] += 0.1;
        values[positive + 1] += 0.1;
        assert!(model.check(&values, 1e-9).is_err(), "{model}");
    }
}

#[test]
fn an_epigraph_of_a_maximum_is_above_every_element_and_a_small_big_m_is_refused() {
    let pool = graph(&[1, 4], |b, _, x| {
        let pool = MaxPool { kernel: vec![4], stride: vec![4], padding: vec![0], dilation: vec![1], ceil_mode: false };
        b.node(Op::MaxPool(pool), &[x]).unwrap()
    });
    let bounds = [Interval::new(-1.0, 1.0); 4];
    let model = formulate(&pool, &bounds, "max_pool=epigraph");
    for largest in 0..4 {
        let mut x = [-0.5; 4];
        x[largest] = 0.5;
        let mut values = model.evaluate(&x).unwrap();
        model.check(&values, 1e-9).unwrap();
        values[model.outputs()[0].index()] -= 1e-3;
        assert!(model.check(&values, 1e-9).is_err(), "{model}");
    }
    let options: Options = "max_pool=big_m(1.5)".parse().unwrap();
    let error = lower(&pool, &propagate(&pool, &bounds).unwrap(), &options).unwrap_err().to_string();
    assert!(error.contains("big-M of 1.5") && error.contains("need 2"), "{error}");
}

#[test]
fn epigraphs_are_for_what_is_convex() {
    let relu6 = graph(&[1], |b, _, x| b.unary(Unary::RELU6, x).unwrap());
    let options: Options = "relu=epigraph".parse().unwrap();
    let try_within = |lower_bound: f64, upper: f64| {
        lower(&relu6, &propagate(&relu6, &[Interval::new(lower_bound, upper)]).unwrap(), &options)
    };
    let error = try_within(-1.0, 7.0).unwrap_err().to_string();
    assert!(error.contains("neither convex nor concave") && error.contains("sos1"), "{error}");
    // Convex and concave parts of it.
    try_within(-1.0, 5.0).unwrap();
    try_within(1.0, 7.0).unwrap();
}

#[test]
fn a_layer_has_a_form_of_its_own() {
    let mut b = Builder::new();
    let mut h = b.input("x", vec![Dim::Size(1)]);
    for path in ["act.0", "act.1"] {
        b.set_scope(format!("layer `{path}` (torch.nn.modules.activation.ReLU)"));
        h = b.unary(Unary::Relu, h).unwrap();
        let weight = b.parameter("w", Tensor::from_slice(&[1, 1], &[1.0]));
        let bias = b.parameter("b", Tensor::from_slice(&[1], &[-0.5]));
        h = b.linear(h, weight, Some(bias)).unwrap();
    }
    let graph = b.finish(&[("y", h)]).unwrap();
    let model = formulate(&graph, &[Interval::new(-1.0, 1.0)], "relu=sos1, layer act.1=quadratic(0.5)");
    assert_eq!((model.sos1().len(), model.quadratic().len()), (1, 1));
    assert_eq!(model.quadratic().rows.upper, [0.5]);
    let error = lower(
        &graph,
        &propagate(&graph, &[Interval::new(-1.0, 1.0)]).unwrap(),
        &"layer act.1=cone".parse::<Options>().unwrap(),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("act.1") && error.contains("partition"), "{error}");
}

#[test]
fn partitions_reach_from_big_m_to_the_hull() {
    // A single neuron: the relaxation of the finest partition is the convex hull, which no coarser one is inside.
    let neuron = graph(&[3], |b, _, x| {
        let weight = b.parameter("w", Tensor::from_slice(&[1, 3], &[1.0, -2.0, 0.5]));
        let z = b.linear(x, weight, None).unwrap();
        b.unary(Unary::Relu, z).unwrap()
    });
    let bounds = [Interval::new(-1.0, 1.0); 3];
    let relaxed = |options: &str| {
        let mut model = formulate(&neuron, &bounds, options);
        let [x0, x1, x2] = [0, 1, 2].map(|i| model.inputs()[i]);
        for (variable, at) in [(x0, 1.0), (x1, 1.0), (x2, -1.0)] {
            model.restrict(variable, Interval::new(at, at)).unwrap();
        }
        let objective = Objective { terms: vec![(model.outputs()[0], 1.0)], constant: 0.0, sense: Sense::Maximize };
        solve(&model, &objective, &solve::Options { relaxed: true, ..solve::Options::default() })
            .unwrap()
            .objective
            .unwrap()
    };
    let found = ["big_m", "partition(1)", "partition(2)", "partition(3)"].map(|form| relaxed(&format!("relu={form}")));
    assert!((found[0] - found[1]).abs() < 1e-6, "{found:?}");
    assert!(found[1] >= found[2] - 1e-9 && found[2] >= found[3] - 1e-9 && found[3] < found[0] - 0.1, "{found:?}");
    // At a corner the hull is the function.
    assert!(found[3].abs() < 1e-6, "{found:?}");
}

#[test]
fn the_table_of_forms_is_the_documented_one() {
    let design = include_str!("../../../docs/design.md");
    for entry in FORMS.iter().filter(|entry| entry.forms.len() > 1) {
        let row = design.lines().find(|line| {
            let kinds = line.split('|').nth(1).unwrap_or_default();
            kinds.split([',', '(']).any(|kind| kind.trim() == entry.kind)
        });
        let row = row.unwrap_or_else(|| panic!("{} is not in docs/design.md", entry.kind));
        assert_eq!(row.split('|').nth(2).unwrap().trim(), entry.forms.join(", "), "{}", entry.kind);
    }
    let options: Options = "relu=quadratic(1e-6), space=reduced".parse().unwrap();
    assert_eq!(options.space, Space::Reduced);
    assert_eq!("quadratic(1e-6)".parse::<Form>().unwrap(), Form::Quadratic(Some(1e-6)));
    assert_eq!(Form::Partition(4).to_string(), "partition(4)");
}
