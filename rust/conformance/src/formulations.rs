//! Formulations: the forward pass satisfies them, and nothing else does.

use crate::{
    Api, Kind, Model, Tables,
    fixture::{Fixture, each_fixture, equal, models, ok},
};

/// Rounding in a forward pass of a few hundred terms.
const TOLERANCE: f64 = 1e-9;

/// The value of a tape, by the words of the C header.
fn evaluate(tables: &Tables, equation: usize, values: &[f64]) -> f64 {
    let mut stack: Vec<f64> = Vec::new();
    for at in tables.starts[equation]..tables.starts[equation + 1] {
        let argument = tables.arguments[at] as usize;
        let value = match tables.codes[at] {
            0 => tables.constants[argument],
            1 => values[argument],
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
    let rows = &tables.rows;
    for i in 0..rows.lower.len() {
        let entries = rows.starts[i]..rows.starts[i + 1];
        let terms = entries.map(|e| rows.coefficients[e] * values[rows.variables[e] as usize]);
        let (sum, magnitude) = terms.fold((0.0, 1.0), |(sum, magnitude), t| (sum + t, magnitude + t.abs()));
        if sum < rows.lower[i] - TOLERANCE * magnitude || sum > rows.upper[i] + TOLERANCE * magnitude {
            return Some(format!("row {i}: {sum} of [{}, {}]", rows.lower[i], rows.upper[i]));
        }
    }
    for (i, &variable) in tables.definitions.iter().enumerate() {
        let (value, expected) = (values[variable as usize], evaluate(tables, i, values));
        // A quotient of small differences, as in a layer norm, loses some digits.
        if (value - expected).abs() > 1e3 * TOLERANCE * (1.0 + expected.abs()) {
            return Some(format!("{} = {value}, not {expected}", tables.names[variable as usize]));
        }
    }
    None
}

/// The tables of a fixture within 0.5 of x, and the forward pass at x in their terms.
fn formulate<A: Api>(fixture: &Fixture) -> Result<(Tables, Vec<f64>), String> {
    let x = fixture.numbers("x");
    let shifted = |by: f64| x.iter().map(|value| value + by).collect::<Vec<f64>>();
    let model = ok("open", A::open(&fixture.path))?;
    let shape = fixture.sizes("input_shape");
    ok("formulate", model.formulate(Some(&shape), &shifted(-0.5), &shifted(0.5), Some(&x), &x))
}

fn check_tables(tables: &Tables) -> Result<(), String> {
    let count = tables.lower.len();
    let whole = tables.upper.len() == count
        && [tables.domains.len(), tables.start.len(), tables.names.len()] == [count; 3]
        && tables.rows.starts.len() == tables.rows.lower.len() + 1
        && tables.rows.starts.last() == Some(&tables.rows.variables.len())
        && tables.starts.len() == tables.definitions.len() + 1
        && tables.starts.last() == Some(&tables.codes.len())
        && tables.sos1.starts == [0]
        && tables.indicators.starts == [0]
        && tables.others == [0; 3];
    let variables = tables.rows.variables.iter().chain(&tables.inputs).chain(&tables.outputs);
    let inside = variables.chain(&tables.definitions).all(|&variable| (variable as usize) < count);
    let layers = tables.rows.layers.iter().all(|&layer| (layer as usize) < tables.layers.len());
    let heading = tables.text.starts_with(&format!("{count} variable"));
    if whole && inside && layers && heading { Ok(()) } else { Err(format!("the tables do not fit: {}", tables.text)) }
}

/// At x, all bounds, rows and equations hold, and the outputs are torch's; the start values are the forward pass.
pub fn the_forward_pass_satisfies_the_formulation<A: Api>() {
    each_fixture(|fixture| {
        let (tables, values) = formulate::<A>(fixture)?;
        check_tables(&tables)?;
        let of = |variables: &[u32]| variables.iter().map(|&v| values[v as usize]).collect::<Vec<f64>>();
        equal("x", &of(&tables.inputs), &fixture.numbers("x"), 0.0)?;
        equal("y", &of(&tables.outputs), &fixture.numbers("y"), TOLERANCE)?;
        equal("start", &tables.start, &values, 0.0)?;
        broken(&tables, &values).map_or(Ok(()), Err)
    });
}

/// With any variable but an input moved, something breaks.
pub fn other_points_do_not<A: Api>() {
    each_fixture(|fixture| {
        if !fixture.name.starts_with("nets/") {
            return Ok(());
        }
        let (tables, mut values) = formulate::<A>(fixture)?;
        for i in (0..values.len()).filter(|&i| !tables.inputs.contains(&(i as u32))) {
            let before = values[i];
            values[i] = if tables.domains[i] == 1 { 1.0 - before } else { before + 1.0 };
            // On a kink both branches hold.
            let free = broken(&tables, &values).is_none() && tables.domains[i] != 1;
            values[i] = before;
            if free {
                return Err(format!("{} may be anything", tables.names[i]));
            }
        }
        Ok(())
    });
}

/// Bounds that hold no number, or too few, are refused.
pub fn bounds_are_checked<A: Api>() {
    let model = A::open(&models().join("nets/mlp_relu.pt")).unwrap();
    let n = model.formulate(None, &[], &[], None, &[]).err().map(|failure| {
        assert_eq!(failure.kind, Kind::Argument, "{}", failure.message);
        failure.message
    });
    assert!(n.is_some_and(|message| message.contains("0 bounds")));
    let shape = [1, 4];
    let try_bounds = |lower: &[f64], upper: &[f64]| model.formulate(Some(&shape), lower, upper, None, &[0.5; 4]);
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
