//! Formulations of a neuron between big-M and its convex hull.
//!
//! Tsay, Kronqvist, Thebelt and Misener, Partition-Based Formulations for Mixed-Integer Optimization of Trained ReLU
//! Neural Networks, NeurIPS 2021. With one part it is big-M, with as many as inputs the hull of Anderson et al. (Strong
//! mixed-integer programming formulations for trained neural networks, Mathematical Programming 2020), by variables in
//! place of their exponentially many rows.

use super::{Domain, Lowering, Rule, VarId, piecewise::Bend};
use crate::{
    Result,
    bounds::{Interval, Sum},
    graph::Node,
};

/// The parts of `w'x` that count where the neuron is on, the binary, and what is left of `w'x + b` without them.
pub(super) struct Shares {
    shares: Vec<VarId>,
    on: VarId,
    constant: f64,
}

impl Lowering<'_> {
    /// For each part of the sum behind `z`, a variable that is the part's value where `z > kink` and 0 elsewhere.
    pub(super) fn partition(
        &mut self,
        node: &Node,
        bend: &Bend,
        kink: f64,
        index: usize,
        parts: usize,
    ) -> Result<Shares> {
        let Bend { at, z, element, range, .. } = *bend;
        let rule = Rule::Within { of: z, from: kink, to: f64::INFINITY };
        let on = self.new_variable(at, "on", index, Interval::new(0.0, 1.0), Domain::Binary, rule);
        let (mut terms, constant) = self.sum_behind(z);
        // Parts of equal size, by falling weight: what weighs alike stands together.
        terms.sort_by(|a, b| b.1.total_cmp(&a.1));
        let size = terms.len().div_ceil(parts).max(1);
        let mut shares = Vec::new();
        for part in terms.chunks(size) {
            let mut sum = Sum::new(0.0);
            part.iter().for_each(|&(x, w)| sum.add(w, self.formulation.bounds(x)));
            let sum = sum.finish();
            if !sum.is_finite() {
                return Err(self.unbounded(node, element, range, "partition"));
            }
            let first = self.formulation.rows.len();
            let rule = Rule::Rows { first: super::formulation::to_u32(first), count: 4 };
            let bounds = sum.hull(Interval::point(0.0));
            let number = self.part_len("share");
            let share = self.new_variable(at, "share", number, bounds, Domain::Continuous, rule);
            self.one_sided(1.0, &[(on, -sum.lower), (share, 1.0)], 0.0, at);
            self.one_sided(-1.0, &[(on, -sum.upper), (share, 1.0)], 0.0, at);
            let rest = |limit: f64| -> Vec<(VarId, f64)> {
                part.iter().copied().chain([(on, limit), (share, -1.0)]).collect()
            };
            self.one_sided(1.0, &rest(sum.lower), sum.lower, at);
            self.one_sided(-1.0, &rest(sum.upper), sum.upper, at);
            shares.push(share);
        }
        Ok(Shares { shares, on, constant: constant - kink })
    }

    /// `p` is the sum of the shares and the constant where the neuron is on, and never below `z - kink`.
    pub(super) fn sum_of_shares(&mut self, bend: &Bend, kink: f64, p: VarId, shares: Shares) {
        let mut sum = vec![(p, 1.0), (shares.on, -shares.constant)];
        sum.extend(shares.shares.iter().map(|&share| (share, -1.0)));
        self.formulation.push_row(0.0, &sum, 0.0, bend.at);
        self.one_sided(1.0, &[(bend.z, -1.0), (p, 1.0)], -kink, bend.at);
    }

    /// `z` as `w'x + b` where an equation says so, else as itself.
    fn sum_behind(&self, z: VarId) -> (Vec<(VarId, f64)>, f64) {
        let model = &self.formulation;
        if let Rule::Rows { first, count: 1 } = model.variables.rule[z.index()] {
            let row = first as usize;
            let own = model.rows.row(row).find(|&(variable, _)| variable == z);
            if let (Some((_, own)), true) = (own, model.rows.lower[row] == model.rows.upper[row]) {
                let others = model.rows.row(row).filter(|&(variable, _)| variable != z);
                return (others.map(|(x, a)| (x, -a / own)).collect(), model.rows.lower[row] / own);
            }
        }
        (vec![(z, 1.0)], 0.0)
    }
}
