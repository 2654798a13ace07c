//! Cuts that hold a neuron of ReLU's kind within its convex hull over the box of all that the neuron reads.
//!
//! Tjandraatmadja, Anderson, Huchette, Ma, Patel and Vielma, The Convex Relaxation Barrier, Revisited: Tightened
//! Single-Neuron Relaxations for Neural Network Verification, NeurIPS 2020.

use std::collections::HashSet;

use crate::{
    Result,
    lower::{Formulation, Rule, VarId},
};

/// A cut is worth a row where it is violated by more than this fraction of the neuron's range.
const WORTH: f64 = 0.01;

/// Cuts may have this many times as many entries as the rows of the program.
const ENTRIES: usize = 4;

/// The cuts of one element may have this many times its share of those entries, since elements have many in common.
const SHARES: usize = 4;

/// `y = slope z + (1 - slope) max(z, 0)` for a slope below 1, with `z` affine in other variables.
pub(super) struct Neuron {
    y: VarId,
    z: VarId,
    slope: f64,
    terms: Vec<(VarId, f64)>,
    constant: f64,
}

/// The row `sum of terms <= limit`, which every point of the neuron's graph satisfies.
pub(super) struct Cut {
    /// The neuron and, of its terms, those that the cut follows and the one that it follows in part: what is alike in
    /// these is the same cut.
    key: (VarId, Vec<usize>, usize),
    terms: Vec<(VarId, f64)>,
    limit: f64,
    /// How far the point violates it, as a fraction of the neuron's range.
    violation: f64,
}

impl Neuron {
    /// The neuron, if its kink lies within its range and its argument is a sum.
    pub(super) fn new(model: &Formulation, y: VarId, z: VarId, slope: f64) -> Option<Self> {
        let range = model.bounds(z);
        if y == z || slope >= 1.0 || !(range.lower < 0.0 && 0.0 < range.upper) {
            return None;
        }
        let (mut terms, mut constant) = definition(model, z)?;
        // A layer that scales each element stands between.
        while let [(inner, a)] = terms[..] {
            let (below, shift) = definition(model, inner)?;
            terms = below.into_iter().map(|(v, b)| (v, a * b)).collect();
            constant += a * shift;
        }
        let bounded = terms.iter().all(|&(v, _)| model.bounds(v).is_finite());
        bounded.then_some(Self { y, z, slope, terms, constant })
    }

    /// The facet of the hull that a point violates most.
    ///
    /// With `L` and `U` as the ends of each term's variable where the term is smallest and largest, it is
    /// `max(z, 0) <= sum over I of w (x - L) + s (x_h - L_h)`, where `s (U_h - L_h)` is the value of `z` with `L` in `I`
    /// and `U` elsewhere: not negative, but negative with `L` at `h` too.
    pub(super) fn cut(&self, model: &Formulation, point: &[f64]) -> Option<Cut> {
        let ends = |i: usize| {
            let ((v, w), bounds) = (self.terms[i], model.bounds(self.terms[i].0));
            if w > 0.0 { (v, w, bounds.lower, bounds.upper) } else { (v, w, bounds.upper, bounds.lower) }
        };
        let (mut value, mut magnitude) = (self.constant, self.constant.abs());
        let mut order = Vec::with_capacity(self.terms.len());
        for i in 0..self.terms.len() {
            let (v, w, l, u) = ends(i);
            value += w * u;
            magnitude += w.abs() * l.abs().max(u.abs());
            if l != u {
                order.push(((point[v.index()] - l) / (u - l), i));
            }
        }
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut followed = Vec::new();
        let mut part = None;
        for (_, i) in order {
            let (_, w, l, u) = ends(i);
            let next = value - w * (u - l);
            if next < 0.0 {
                part = Some(i);
                break;
            }
            followed.push(i);
            value = next;
        }
        let part = part?;
        followed.sort_unstable();
        let (_, _, l, u) = ends(part);
        let mut slopes: Vec<(VarId, f64, f64)> = vec![(self.terms[part].0, value / (u - l), l)];
        slopes.extend(followed.iter().map(|&i| (ends(i).0, ends(i).1, ends(i).2)));
        let hull: f64 = slopes.iter().map(|&(v, s, l)| s * (point[v.index()] - l)).sum();
        let (y, z) = (point[self.y.index()], point[self.z.index()]);
        let range = model.bounds(self.z);
        let violation = ((y - self.slope * z) / (1.0 - self.slope) - hull) / (range.upper - range.lower);
        // A point may hold NaN.
        if violation.is_nan() || violation <= WORTH {
            return None;
        }
        // What rounding may have moved the cut by, at any point of the box.
        let margin = 8.0 * (self.terms.len() as f64 + 4.0) * f64::EPSILON * magnitude;
        let offset: f64 = slopes.iter().map(|&(_, s, l)| -s * l).sum();
        let rest = 1.0 - self.slope;
        let mut terms = vec![(self.y, 1.0), (self.z, -self.slope)];
        terms.extend(slopes.iter().map(|&(v, s, _)| (v, -rest * s)));
        Some(Cut { key: (self.y, followed, part), terms, limit: rest * (offset + margin), violation })
    }
}

/// What a variable's equation says that it is: a sum of others and a constant.
fn definition(model: &Formulation, z: VarId) -> Option<(Vec<(VarId, f64)>, f64)> {
    let Rule::Rows { first, count: 1 } = model.variables().rule[z.index()] else { return None };
    let (rows, row) = (model.rows(), first as usize);
    let own = rows.row(row).find(|&(v, _)| v == z)?.1;
    if own != 1.0 || rows.lower[row] != rows.upper[row] {
        return None;
    }
    let terms = rows.row(row).filter(|&(v, _)| v != z).map(|(v, a)| (v, -a)).collect();
    Some((terms, rows.lower[row]))
}

/// How many entries all cuts may have.
fn room(model: &Formulation) -> usize {
    ENTRIES * model.rows().variable.len()
}

/// The most violated cuts, each once, that have so many entries at most.
fn strongest(mut cuts: Vec<Cut>, mut left: usize) -> Vec<Cut> {
    cuts.sort_by(|a, b| b.violation.total_cmp(&a.violation).then_with(|| a.key.cmp(&b.key)));
    let mut seen = HashSet::new();
    cuts.retain(|cut| {
        let Some(rest) = left.checked_sub(cut.terms.len()) else { return false };
        let is_new = seen.insert(cut.key.clone());
        left = if is_new { rest } else { left };
        is_new
    });
    cuts
}

/// The cuts of one element that are kept where so many elements are worked on.
pub(super) fn of_element(model: &Formulation, cuts: Vec<Cut>, elements: usize) -> Vec<Cut> {
    strongest(cuts, SHARES * room(model) / elements.max(1))
}

/// Adds cuts to a program, as far as they do not outgrow its rows.
pub(super) fn add(model: &mut Formulation, cuts: Vec<Cut>) -> Result<()> {
    for cut in strongest(cuts, room(model)) {
        model.add_row(f64::NEG_INFINITY, &cut.terms, cut.limit)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bounds::{Interval, propagate},
        graph::{Builder, Dim, Unary},
        lower::{Options, lower},
        tensor::Tensor,
    };

    /// Every cut holds at all corners and at points between, and together they are the hull: at the middle of the box
    /// its upper end, the mean over pairs of opposite corners at best, is met.
    #[test]
    fn cuts_hold_and_meet_the_hull() {
        for slope in [0.0, 0.25, -0.5] {
            let weights = [1.0, -2.0, 0.5, 3.0];
            let mut b = Builder::new();
            let x = b.input("x", vec![Dim::Size(4)]);
            let weight = b.parameter("w", Tensor::from_slice(&[1, 4], &weights));
            let z = b.linear(x, weight, None).unwrap();
            let y = b.unary(Unary::LeakyRelu { slope }, z).unwrap();
            let graph = b.finish(&[("z", z), ("y", y)]).unwrap();
            let box_ =
                [Interval::new(-1.0, 1.0), Interval::new(-0.5, 1.0), Interval::new(0.0, 2.0), Interval::new(-1.0, 0.5)];
            let mut model =
                lower(&graph, &propagate(&graph, &box_).unwrap(), &"fold=off".parse::<Options>().unwrap()).unwrap();
            let (z, y) = (model.outputs()[0], model.outputs()[1]);
            let neuron = Neuron::new(&model, y, z, slope).unwrap();
            let f = |z: f64| if z > 0.0 { z } else { slope * z };
            let at = |t: &[f64]| -> (Vec<f64>, f64) {
                let x: Vec<f64> = box_.iter().zip(t).map(|(b, t)| b.lower + t * (b.upper - b.lower)).collect();
                let z = x.iter().zip(weights).map(|(x, w)| x * w).sum();
                (x, z)
            };
            let place = |model: &Formulation, x: &[f64], zv: f64, yv: f64| {
                let mut point = vec![0.0; model.variables().len()];
                model.inputs().iter().zip(x).for_each(|(v, &x)| point[v.index()] = x);
                (point[z.index()], point[y.index()]) = (zv, yv);
                point
            };
            let grid = |steps: usize| {
                (0..(steps + 1).pow(4))
                    .map(move |k| [0, 1, 2, 3].map(|d| ((k / (steps + 1).pow(d)) % (steps + 1)) as f64 / steps as f64))
            };
            let mut cuts = Vec::new();
            for t in grid(3) {
                let (x, zv) = at(&t);
                cuts.extend(neuron.cut(&model, &place(&model, &x, zv, f(zv) + 5.0)));
            }
            assert!(cuts.len() > 10);
            for t in grid(6) {
                let (x, zv) = at(&t);
                let point = place(&model, &x, zv, f(zv));
                let value = |cut: &Cut| cut.terms.iter().map(|&(v, a)| a * point[v.index()]).sum::<f64>();
                assert!(cuts.iter().all(|cut| value(cut) <= cut.limit), "{slope} {t:?}");
                // At a corner the hull is the function itself.
                if t.iter().all(|&t| t == 0.0 || t == 1.0) {
                    let least = cuts.iter().map(|cut| cut.limit - value(cut)).fold(f64::INFINITY, f64::min);
                    assert!(least < 1e-9, "{slope} {t:?}: {least}");
                }
            }
            let before = model.rows().len();
            add(&mut model, cuts).unwrap();
            assert!(model.rows().len() > before && model.rows().len() < before + 30);
        }
    }
}
