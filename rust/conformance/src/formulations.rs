//! Formulations: the forward pass satisfies them, and nothing else does.

use crate::{
    Api, Kind, Model, Rows, Tables, Tapes,
    fixture::{Fixture, each_fixture, equal, models, ok},
};

/// Rounding in a forward pass of a few hundred terms.
const TOLERANCE: f64 = 1e-9;

/// The value of a tape, by the words of the C header.
fn evaluate(tapes: &Tapes, number: usize, values: &[f64], expressions: &[f64]) -> f64 {
    let mut stack: Vec<f64> = Vec::new();
    for at in tapes.starts[number]..tapes.starts[number + 1] {
        let argument = tapes.arguments[at] as usize;
        let value = match tapes.codes[at] {
            0 => tapes.constants[argument],
            1 => values[argument],
            19 => expressions[argument],
            code => {
                let args = stack.split_off(stack.len() - argument);
                match (code, &args[..]) {
                    (2, args) => args.iter().sum(),
                    (3, [a, b]) => a - b,
                    (4, args) => args.iter().product(),
                    (5, [a, b]) => a / b,
                    (6, [a, b]) => a.powf(*b),
                    (7, [a]) => -a,
                    (8, [a]) => a.exp(),
                    (9, [a]) => a.ln(),
                    (10, [a]) => a.ln_1p(),
                    (11, [a]) => a.sqrt(),
                    (12, [a]) => a.tanh(),
                    (13, [a]) => erf(*a),
                    (14, [a]) => a.abs(),
                    (15, args) => args.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    (16, args) => args.iter().copied().fold(f64::INFINITY, f64::min),
                    (17, [condition, a, b]) => *if *condition == 0.0 { b } else { a },
                    (18, [a, b]) => f64::from(a > b),
                    (code, args) => panic!("code {code} with {} operands", args.len()),
                }
            }
        };
        stack.push(value);
    }
    assert_eq!(stack.len(), 1, "a tape leaves one value");
    stack[0]
}

/// erf by its series and, further out, by the continued fraction of erfc (Abramowitz and Stegun 7.1.5, 7.1.14).
fn erf(x: f64) -> f64 {
    let magnitude = x.abs();
    let value = if magnitude < 2.5 {
        let (mut term, mut sum) = (magnitude, magnitude);
        for n in 1..200 {
            term *= -magnitude * magnitude / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..200).rev().fold(0.0, |rest, n| f64::from(n) / 2.0 / (magnitude + rest));
        1.0 - (-magnitude * magnitude).exp() / std::f64::consts::PI.sqrt() / (magnitude + fraction)
    };
    value.copysign(x)
}

/// What the values break, if anything.
fn broken(tables: &Tables, values: &[f64]) -> Option<String> {
    for (i, &value) in values.iter().enumerate() {
        let slack = TOLERANCE * (1.0 + value.abs());
        if value.is_nan() || value < tables.lower[i] - slack || value > tables.upper[i] + slack {
            return Some(format!("{} = {value} of [{}, {}]", tables.names[i], tables.lower[i], tables.upper[i]));
        }
        if tables.domains[i] > 0 && value.fract() != 0.0 {
            return Some(format!("{} = {value} is not whole", tables.names[i]));
        }
    }
    let row = |what: &str, rows: &Rows, i: usize, more: f64| {
        let entries = rows.starts[i]..rows.starts[i + 1];
        let terms = entries.map(|e| rows.coefficients[e] * values[rows.variables[e] as usize]);
        let (sum, magnitude) = terms.fold((more, 1.0 + more.abs()), |(sum, size), t| (sum + t, size + t.abs()));
        let broken = sum < rows.lower[i] - TOLERANCE * magnitude || sum > rows.upper[i] + TOLERANCE * magnitude;
        broken.then(|| format!("{what} {i}: {sum} of [{}, {}]", rows.lower[i], rows.upper[i]))
    };
    let of = |variable: u32| values[variable as usize];
    for i in 0..tables.rows.lower.len() {
        if let Some(what) = row("row", &tables.rows, i, 0.0) {
            return Some(what);
        }
    }
    let indicators = &tables.indicators;
    for i in 0..indicators.active.len() {
        if of(indicators.binaries[i]) == f64::from(indicators.active[i])
            && let Some(what) = row("indicator", &indicators.rows, i, 0.0)
        {
            return Some(what);
        }
    }
    let quadratic = &tables.quadratic;
    for i in 0..quadratic.rows.lower.len() {
        let entries = quadratic.starts[i]..quadratic.starts[i + 1];
        let products = entries.map(|k| quadratic.coefficients[k] * of(quadratic.first[k]) * of(quadratic.second[k]));
        if let Some(what) = row("quadratic row", &quadratic.rows, i, products.sum()) {
            return Some(what);
        }
    }
    for set in tables.sos1.starts.windows(2) {
        if tables.sos1.variables[set[0]..set[1]].iter().filter(|&&v| of(v).abs() > TOLERANCE).count() > 1 {
            return Some("an SOS1 set".to_owned());
        }
    }
    for &(a, b) in &tables.complementarities {
        if of(a).min(of(b)).abs() > TOLERANCE {
            return Some(format!("{} with {}", tables.names[a as usize], tables.names[b as usize]));
        }
    }
    let (starts, variables, coefficients, constants) = &tables.cones.members;
    for cone in tables.cones.starts.windows(2) {
        let member = |k: usize| {
            let entries = starts[k]..starts[k + 1];
            constants[k] + entries.map(|e| coefficients[e] * of(variables[e])).sum::<f64>()
        };
        let [x, y, z] = [0, 1, 2].map(|k| member(cone[0] + k));
        if y * (x / y).exp() > z + TOLERANCE {
            return Some(format!("a cone: ({x}, {y}, {z})"));
        }
    }
    for (i, &variable) in tables.definitions.iter().enumerate() {
        let (value, expected) = (values[variable as usize], evaluate(&tables.tapes, i, values, &[]));
        // A quotient of small differences, as in a layer norm, loses some digits.
        let slack = 1e3 * TOLERANCE * (1.0 + expected.abs());
        let (above, below) = (value > expected + slack, value < expected - slack);
        if [above || below, below, above][tables.relations[i] as usize] {
            return Some(format!("{} = {value}, not {expected}", tables.names[variable as usize]));
        }
    }
    None
}

/// The tables of a fixture within 0.5 of x, and the forward pass at x in their terms.
fn formulate<A: Api>(fixture: &Fixture, options: &str) -> Result<(Tables, Vec<f64>, Vec<f64>), String> {
    let x = fixture.numbers("x");
    let shifted = |by: f64| x.iter().map(|value| value + by).collect::<Vec<f64>>();
    let model = ok("open", A::open(&fixture.path))?;
    let shape = fixture.sizes("input_shape");
    ok("formulate", model.formulate(Some(&shape), (&shifted(-0.5), &shifted(0.5)), options, Some(&x), &x))
}

fn check_tables(tables: &Tables) -> Result<(), String> {
    let count = tables.lower.len();
    let whole = tables.upper.len() == count
        && [tables.domains.len(), tables.start.len(), tables.names.len()] == [count; 3]
        && tables.rows.starts.len() == tables.rows.lower.len() + 1
        && tables.rows.starts.last() == Some(&tables.rows.variables.len())
        && [&tables.tapes, &tables.expressions].iter().all(|t| t.starts.last() == Some(&t.codes.len()))
        && tables.tapes.starts.len() == tables.definitions.len() + 1
        && tables.relations.len() == tables.definitions.len()
        && tables.output_bounds.len() == tables.outputs.len() + tables.output_expressions.len();
    let variables = tables.rows.variables.iter().chain(&tables.inputs).chain(&tables.outputs);
    let inside = variables.chain(&tables.definitions).all(|&variable| (variable as usize) < count);
    let layers = tables.rows.layers.iter().all(|&layer| (layer as usize) < tables.layers.len());
    let heading = tables.text.starts_with(&format!("{count} variable"));
    if whole && inside && layers && heading { Ok(()) } else { Err(format!("the tables do not fit: {}", tables.text)) }
}

/// What a formulation says at x: all bounds, rows and equations hold, and the outputs are torch's; the start values are
/// the forward pass.
fn check_at_x(fixture: &Fixture, tables: &Tables, values: &[f64], outputs: &[f64]) -> Result<(), String> {
    check_tables(tables)?;
    let of = |variables: &[u32]| variables.iter().map(|&v| values[v as usize]).collect::<Vec<f64>>();
    equal("x", &of(&tables.inputs), &fixture.numbers("x"), 0.0)?;
    equal("y", outputs, &fixture.numbers("y"), TOLERANCE)?;
    if tables.output_expressions.is_empty() {
        equal("the outputs", outputs, &of(&tables.outputs), 0.0)?;
    } else {
        let mut expressions = Vec::new();
        for i in 0..tables.expressions.starts.len() - 1 {
            expressions.push(evaluate(&tables.expressions, i, values, &expressions));
        }
        let own: Vec<f64> = tables.output_expressions.iter().map(|&e| expressions[e as usize]).collect();
        equal("the output expressions", outputs, &own, TOLERANCE)?;
    }
    let inside = |(&y, &(lower, upper)): (&f64, &(f64, f64))| {
        let slack = TOLERANCE * (1.0 + y.abs());
        lower - slack <= y && y <= upper + slack
    };
    if !outputs.iter().zip(&tables.output_bounds).all(inside) {
        return Err("an output is not within its bounds".to_owned());
    }
    equal("start", &tables.start, values, 0.0)?;
    broken(tables, values).map_or(Ok(()), Err)
}

/// At x, the default formulation of every fixture holds.
pub fn the_forward_pass_satisfies_the_formulation<A: Api>() {
    each_fixture(|fixture| {
        let (tables, values, outputs) = formulate::<A>(fixture, "")?;
        check_at_x(fixture, &tables, &values, &outputs)
    });
}

/// At x, every form of every fixture holds, in full and in reduced space. Layers without such a form are refused by name.
pub fn every_form_holds<A: Api>() {
    let of_relu = "nonlinear big_m big_m(1e6) sos1 quadratic quadratic(0.001) complementarity indicator partition(2)";
    let mut all: Vec<String> = of_relu.split(' ').map(|form| format!("relu={form},max_pool={form}")).collect();
    for options in ["relu=epigraph", "max_pool=epigraph", "max_pool=pairwise", "max_pool=pairwise,relu=sos1"] {
        all.push(options.to_owned());
    }
    all.extend(["softplus=epigraph", "softplus=cone", "space=reduced"].map(str::to_owned));
    each_fixture(|fixture| {
        for options in &all {
            match formulate::<A>(fixture, options) {
                Ok((tables, values, outputs)) => {
                    check_at_x(fixture, &tables, &values, &outputs).map_err(|error| format!("{options}: {error}"))?
                }
                Err(error) if error.contains("Unsupported") && error.contains("nonlinear") => {}
                Err(error) => return Err(format!("{options}: {error}")),
            }
        }
        Ok(())
    });
}

/// With any variable but an input moved, something breaks.
pub fn other_points_do_not<A: Api>() {
    each_fixture(|fixture| {
        if !fixture.name.starts_with("nets/") {
            return Ok(());
        }
        for options in
            ["", "relu=sos1", "relu=indicator", "relu=complementarity", "relu=quadratic", "relu=partition(3)"]
        {
            let (tables, mut values, _) = formulate::<A>(fixture, options)?;
            for i in (0..values.len()).filter(|&i| !tables.inputs.contains(&(i as u32))) {
                let before = values[i];
                values[i] = if tables.domains[i] == 1 { 1.0 - before } else { before + 1.0 };
                // On a kink both branches hold.
                let free = broken(&tables, &values).is_none() && tables.domains[i] != 1;
                values[i] = before;
                if free {
                    return Err(format!("{options}: {} may be anything", tables.names[i]));
                }
            }
        }
        Ok(())
    });
}

/// Options that are unknown or do not fit are refused, by name.
pub fn options_are_checked<A: Api>() {
    let model = A::open(&models().join("nets/mlp_relu.pt")).unwrap();
    let bounds: (&[f64], &[f64]) = (&[-1.0; 4], &[1.0; 4]);
    let cases = [
        ("relu=bigm", "sos1"),
        ("relo=sos1", "max_pool"),
        ("relu", "kind=form"),
        ("relu=cone", "partition"),
        ("relu=sos1(3)", "takes no number"),
        ("relu=partition", "number of parts"),
        ("relu=big_m(-1)", "negative"),
        ("space=half", "reduced"),
        ("layer 17=sos1", "layer `17`"),
        ("space=reduced,relu=sos1", "needs variables"),
        ("relu=big_m(0.001)", "would cut off points"),
    ];
    for (options, word) in cases {
        let failure = model.formulate(Some(&[1, 4]), bounds, options, None, &[0.5; 4]).err();
        let failure = failure.unwrap_or_else(|| panic!("{options}"));
        assert!(matches!(failure.kind, Kind::Argument | Kind::Unsupported), "{}", failure.message);
        assert!(failure.message.contains(word), "`{}` lacks `{word}`", failure.message);
    }
    for options in ["ReLU = sos1", "relu=big_m(1000)", " ", "MaxPool2d=pairwise,SoftPlus=cone", "layer 0.1=sos1"] {
        model.formulate(Some(&[1, 4]), bounds, options, None, &[0.5; 4]).unwrap();
    }
}

/// Bounds that hold no number, or too few, are refused.
pub fn bounds_are_checked<A: Api>() {
    let model = A::open(&models().join("nets/mlp_relu.pt")).unwrap();
    let n = model.formulate(None, (&[], &[]), "", None, &[]).err().map(|failure| {
        assert_eq!(failure.kind, Kind::Argument, "{}", failure.message);
        failure.message
    });
    assert!(n.is_some_and(|message| message.contains("0 bounds")));
    let shape = [1, 4];
    let try_bounds = |lower: &[f64], upper: &[f64]| model.formulate(Some(&shape), (lower, upper), "", None, &[0.5; 4]);
    try_bounds(&[0.0; 4], &[1.0; 4]).unwrap();
    let cases: [(&[f64], &[f64], &str); 4] = [
        (&[0.0; 3], &[1.0; 3], "3 bounds"),
        (&[0.0, 2.0, 0.0, 0.0], &[1.0; 4], "x[1]"),
        (&[0.0, 0.0, f64::NAN, 0.0], &[1.0; 4], "x[2]"),
        (&[f64::NEG_INFINITY; 4], &[1.0; 4], "layer `"),
    ];
    for (lower, upper, word) in cases {
        let failure = try_bounds(lower, upper).err().unwrap_or_else(|| panic!("{lower:?} {upper:?}"));
        assert_eq!(failure.kind, Kind::Argument, "{}", failure.message);
        assert!(failure.message.contains(word), "`{}` lacks `{word}`", failure.message);
    }
}
