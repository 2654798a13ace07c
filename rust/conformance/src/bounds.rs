//! Bounds by every method hold what torch computes, and each is at least as tight as the one before it.

use crate::{
    Api, Kind, Model, Outcome, Ranges,
    api::Row,
    fixture::{Fixture, each_fixture, models, ok},
};

/// The ranges of a model's outputs, one after another.
fn outputs(ranges: &Ranges) -> Vec<(f64, f64)> {
    let of = |&value: &usize| {
        let own = ranges.starts[value]..ranges.starts[value + 1];
        ranges.lower[own.clone()].iter().copied().zip(ranges.upper[own].iter().copied())
    };
    ranges.outputs.iter().flat_map(of).collect()
}

/// Bounds within 0.5 of x.
fn bounds<A: Api>(fixture: &Fixture, method: u32) -> Result<Ranges, String> {
    let x = fixture.numbers("x");
    let shifted = |by: f64| x.iter().map(|value| value + by).collect::<Vec<f64>>();
    let model = ok("open", A::open(&fixture.path))?;
    let shape = fixture.sizes("input_shape");
    ok("bounds", model.bounds(Some(&shape), &shifted(-0.5), &shifted(0.5), method, None))
}

fn check_nested(outer: &Ranges, inner: &Ranges) -> Result<(), String> {
    if outer.starts != inner.starts || outer.names != inner.names {
        return Err("the methods bound other values".to_owned());
    }
    let wider = |i: &usize| inner.lower[*i] < outer.lower[*i] || inner.upper[*i] > outer.upper[*i];
    (0..outer.lower.len()).find(wider).map_or(Ok(()), |i| Err(format!("element {i} is wider")))
}

/// Intervals and linear relaxation hold torch's values, over the whole network.
pub fn bounds_hold_the_values_of_torch<A: Api>() {
    each_fixture(|fixture| {
        let (intervals, linear) = (bounds::<A>(fixture, 0)?, bounds::<A>(fixture, 1)?);
        check_nested(&intervals, &linear)?;
        let count = linear.names.len();
        let fits = linear.operations.len() == count
            && linear.starts.len() == count + 1
            && linear.starts.last() == Some(&linear.lower.len())
            && linear.upper.len() == linear.lower.len()
            && linear.operations[0].is_empty();
        if !fits {
            return Err("the tables do not fit".to_owned());
        }
        let y = fixture.numbers("y");
        let ranges = outputs(&linear);
        let largest = y.iter().fold(1.0, |largest: f64, y| largest.max(y.abs()));
        for (i, (y, (lower, upper))) in y.iter().zip(&ranges).enumerate() {
            // Torch rounds as well.
            let slack = 1e-11 * largest;
            if *y < lower - slack || *y > upper + slack {
                return Err(format!("y[{i}] = {y} of [{lower}, {upper}]"));
            }
        }
        if y.len() != ranges.len() || linear.binaries > intervals.binaries {
            return Err(format!("{} ranges, {} binaries of {}", ranges.len(), linear.binaries, intervals.binaries));
        }
        Ok(())
    });
}

/// Programs are solved, watched, and make use of rows; what is wrong is refused.
pub fn programs_tighten_bounds<A: Api>() {
    let model = A::open(&models().join("nets/mlp_relu.pt")).unwrap();
    let of = |method: u32, row: Option<Row>| -> Outcome<Ranges> {
        model.bounds(Some(&[1, 4]), &[-1.0; 4], &[1.0; 4], method, row)
    };
    let all: Vec<Ranges> = (0..4).map(|method| of(method, None).unwrap()).collect();
    for pair in all.windows(2) {
        check_nested(&pair[0], &pair[1]).unwrap();
    }
    assert!(all[1].solved == 0 && all[1].calls == 0 && all[2].solved > 0 && all[2].calls > 0);
    assert!(all[3].binaries <= all[0].binaries);
    let elements = [0, 1];
    let row = |upper: f64| Row { elements: &elements, coefficients: &[1.0, 1.0], lower: f64::NEG_INFINITY, upper };
    let narrowed = of(2, Some(row(-1.5))).unwrap();
    check_nested(&all[1], &narrowed).unwrap();
    assert!(narrowed.upper[0] <= -0.5 + 1e-9, "{}", narrowed.upper[0]);
    for (failure, words) in [
        (of(2, Some(row(-2.5))), "no point"),
        (of(2, Some(Row { elements: &[0, 4], ..row(0.0) })), "x[4]"),
        (model.bounds(Some(&[1, 4]), &[0.0; 3], &[1.0; 3], 0, None), "3 bounds"),
    ] {
        let failure = failure.expect_err(words);
        assert!(failure.kind == Kind::Argument && failure.message.contains(words), "{}", failure.message);
    }
}
