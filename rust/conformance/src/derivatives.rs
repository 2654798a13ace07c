//! Derivatives.

use std::ops::Range;

use crate::{
    Api, Function, Order, Outcome,
    fixture::{Workspace, compiled, each_fixture, equal, filled, ok},
};

/// A pattern must be sorted, without repetition, and inside the matrix.
fn check_pattern(pattern: &[(usize, usize)], rows: usize, columns: usize) -> Result<(), String> {
    let sorted = pattern.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = pattern.iter().all(|&(row, column)| row < rows && column < columns);
    if sorted && inside { Ok(()) } else { Err(format!("{pattern:?} of {rows} x {columns}")) }
}

/// The dense matrix of the entries of a pattern.
fn scatter(pattern: &[(usize, usize)], values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let mut dense = vec![0.0; rows * columns];
    pattern.iter().zip(values).for_each(|(&(row, column), &value)| dense[row * columns + column] = value);
    dense
}

/// J in all three orders.
pub fn jacobians_are_those_of_torch<A: Api>() {
    each_fixture(|fixture| {
        let (function, mut w) = compiled::<A>(fixture)?;
        let (x, expected) = (fixture.numbers("x"), fixture.numbers("jacobian"));
        let (n, m) = (x.len(), fixture.numbers("y").len());
        let rows = filled("jacobian", m * n, |j| function.jacobian(&mut w, &x, Order::RowMajor, j))?;
        equal("jacobian", &rows, &expected, fixture.tolerance())?;
        let columns = filled("jacobian", m * n, |j| function.jacobian(&mut w, &x, Order::ColumnMajor, j))?;
        let turned: Vec<f64> = (0..m * n).map(|i| columns[i % n * m + i / n]).collect();
        equal("column-major jacobian", &turned, &expected, fixture.tolerance())?;
        let pattern = ok("pattern", function.jacobian_pattern())?;
        check_pattern(&pattern, m, n)?;
        let values = filled("jacobian", pattern.len(), |j| function.jacobian(&mut w, &x, Order::Pattern, j))?;
        equal("sparse jacobian", &scatter(&pattern, &values, m, n), &expected, fixture.tolerance())
    });
}

/// J v, J'u and H v.
pub fn products_are_those_of_torch<A: Api>() {
    each_fixture(|fixture| {
        let (function, mut w) = compiled::<A>(fixture)?;
        let [x, v, u, mu] = ["x", "v", "u", "mu"].map(|name| fixture.numbers(name));
        let jvp = filled("jvp", u.len(), |out| function.jvp(&mut w, &x, &v, out))?;
        equal("jvp", &jvp, &fixture.numbers("jvp"), fixture.tolerance())?;
        let vjp = filled("vjp", x.len(), |out| function.vjp(&mut w, &x, &u, out))?;
        equal("vjp", &vjp, &fixture.numbers("vjp"), fixture.tolerance())?;
        let hvp = filled("hvp", x.len(), |out| function.hvp(&mut w, &x, &mu, &v, out))?;
        equal("hvp", &hvp, &fixture.numbers("hvp"), fixture.tolerance())
    });
}

/// H of mu'f: both triangles, and the entries of the pattern of the lower one.
pub fn hessians_are_those_of_torch<A: Api>() {
    each_fixture(|fixture| {
        let (function, mut w) = compiled::<A>(fixture)?;
        let [x, mu, expected] = ["x", "mu", "hessian"].map(|name| fixture.numbers(name));
        let n = x.len();
        for order in [Order::RowMajor, Order::ColumnMajor] {
            let hessian = filled("hessian", n * n, |h| function.hessian(&mut w, &x, &mu, order, h))?;
            equal("hessian", &hessian, &expected, fixture.tolerance())?;
        }
        let pattern = ok("pattern", function.hessian_pattern())?;
        check_pattern(&pattern, n, n)?;
        if let Some(entry) = pattern.iter().find(|(row, column)| column > row) {
            return Err(format!("{entry:?} is above the diagonal"));
        }
        let values = filled("hessian", pattern.len(), |h| function.hessian(&mut w, &x, &mu, Order::Pattern, h))?;
        let mut dense = scatter(&pattern, &values, n, n);
        (0..n).for_each(|i| (0..i).for_each(|j| dense[j * n + i] = dense[i * n + j]));
        equal("sparse hessian", &dense, &expected, fixture.tolerance())
    });
}

/// A call over some of the points.
type Call<'a, A> = &'a dyn Fn(&mut Workspace<A>, Range<usize>, &mut [f64]) -> Outcome<()>;

/// A call over K points gives what K calls give.
pub fn several_points_are_as_one_by_one<A: Api>() {
    const K: usize = 3;
    each_fixture(|fixture| {
        let (function, mut w) = compiled::<A>(fixture)?;
        let several = |name: &str| {
            let one = fixture.numbers(name);
            let shifted = |k: usize| one.iter().map(move |value| value * (1.0 + 0.125 * k as f64));
            (0..K).flat_map(shifted).collect::<Vec<f64>>()
        };
        let [x, v, u, mu] = ["x", "v", "u", "mu"].map(several);
        let (n, m) = (x.len() / K, u.len() / K);
        let [entries, second] = [function.jacobian_pattern(), function.hessian_pattern()];
        let (entries, second) = (ok("pattern", entries)?.len(), ok("pattern", second)?.len());
        let part = |values: &[f64], each: usize, at: &Range<usize>| values[at.start * each..at.end * each].to_vec();
        // Each kind of call over the points `at`.
        let mut check = |what: &str, each: usize, call: Call<A>| {
            let together = filled(what, K * each, |out| call(&mut w, 0..K, out))?;
            for k in 0..K {
                let alone = filled(what, each, |out| call(&mut w, k..k + 1, out))?;
                equal(what, &together[k * each..(k + 1) * each], &alone, 1e-14)?;
            }
            Ok::<(), String>(())
        };
        let f = &function;
        check("value", m, &|w, at, out| f.value(w, &part(&x, n, &at), out))?;
        check("jacobian", m * n, &|w, at, out| f.jacobian(w, &part(&x, n, &at), Order::RowMajor, out))?;
        check("columns", m * n, &|w, at, out| f.jacobian(w, &part(&x, n, &at), Order::ColumnMajor, out))?;
        check("entries", entries, &|w, at, out| f.jacobian(w, &part(&x, n, &at), Order::Pattern, out))?;
        check("jvp", m, &|w, at, out| f.jvp(w, &part(&x, n, &at), &part(&v, n, &at), out))?;
        check("vjp", n, &|w, at, out| f.vjp(w, &part(&x, n, &at), &part(&u, m, &at), out))?;
        check("hessian", second, &|w, at, out| {
            f.hessian(w, &part(&x, n, &at), &part(&mu, m, &at), Order::Pattern, out)
        })?;
        check("hvp", n, &|w, at, out| f.hvp(w, &part(&x, n, &at), &part(&mu, m, &at), &part(&v, n, &at), out))
    });
}
