//! Comparisons and choices: masks are 0 or 1.
//!
//! Where the two that are compared are equal, the rows of big-M allow either answer; rows have no strict inequalities.

use super::{
    Domain, Element, Form, Lowering, Rule, VarId,
    smooth::{choose, greater},
};
use crate::{
    Result,
    bounds::{Interval, Sum, decided, form},
    graph::{Comparison, Node},
};

impl Lowering<'_> {
    /// A mask for each element.
    pub(super) fn compare(&mut self, at: u32, node: &Node, comparison: Comparison) -> Result<()> {
        let form = self.form(node)?;
        let operands = [self.operand(node, 0)?.to_vec(), self.operand(node, 1)?.to_vec()];
        let places: [_; 2] = form::broadcasts(self.graph, node);
        let bounds = self.bounds;
        let mut out = Vec::with_capacity(self.graph.numel(node.outputs[0]));
        for (i, &mask) in bounds.of(node.outputs[0]).iter().enumerate() {
            let [a, b] = [0, 1].map(|k| operands[k][places[k].at(i)]);
            out.push(match (decided(mask), a, b) {
                (Some(holds), ..) => Element::Constant(f64::from(u8::from(holds))),
                (_, Element::Constant(a), Element::Constant(b)) => {
                    Element::Constant(f64::from(u8::from(comparison.holds(a, b))))
                }
                _ if form == Form::Nonlinear => {
                    let expression = match comparison {
                        Comparison::Greater => choose(greater(a, b), 1.0, 0.0),
                        Comparison::LessEqual => choose(greater(a, b), 0.0, 1.0),
                        Comparison::Less => choose(greater(b, a), 1.0, 0.0),
                        Comparison::GreaterEqual => choose(greater(b, a), 0.0, 1.0),
                        Comparison::Equal => choose(greater(a, b), 0.0, choose(greater(b, a), 0.0, 1.0)),
                        Comparison::NotEqual => choose(greater(a, b), 1.0, choose(greater(b, a), 1.0, 0.0)),
                    };
                    self.define(at, "y", i, mask, &expression)?
                }
                _ => {
                    let ranges = [0, 1].map(|k| bounds.of(node.inputs[k])[places[k].at(i)]);
                    let (z, range, from, comparison) = self.compared(at, i, [a, b], ranges, comparison);
                    Element::Variable(self.mask(node, form, Compared { at, i, z, range, from, comparison })?)
                }
            });
        }
        self.set(node, out);
        Ok(())
    }

    /// One variable, and the number that it is compared with instead.
    fn compared(
        &mut self,
        at: u32,
        i: usize,
        elements: [Element; 2],
        ranges: [Interval; 2],
        comparison: Comparison,
    ) -> (VarId, Interval, f64, Comparison) {
        match elements {
            [a, Element::Constant(c)] => (self.variable(at, a), ranges[0], c, comparison),
            [Element::Constant(c), b] => (self.variable(at, b), ranges[1], c, comparison.turned()),
            [a, b] => {
                let mut difference = Sum::new(0.0);
                difference.add(1.0, ranges[0]);
                difference.add(-1.0, ranges[1]);
                let range = difference.finish();
                let z = self.equation(at, "difference", i, range, &[(a, 1.0), (b, -1.0)], 0.0);
                (self.variable(at, z), range, 0.0, comparison)
            }
        }
    }

    /// A binary that is 1 on one side of a number and 0 on the other.
    fn mask(&mut self, node: &Node, form: Form, compared: Compared) -> Result<VarId> {
        let Compared { at, i, z, range, from, comparison } = compared;
        let (below, above) = self.far(node, form, i, range, from)?;
        let (rises, within) = match comparison {
            Comparison::Greater => (true, (from, f64::INFINITY)),
            Comparison::GreaterEqual => (true, (from.next_down(), f64::INFINITY)),
            Comparison::LessEqual => (false, (f64::NEG_INFINITY, from)),
            _ => (false, (f64::NEG_INFINITY, from.next_down())),
        };
        let rule = Rule::Within { of: z, from: within.0, to: within.1 };
        let on = self.new_variable(at, "y", i, Interval::new(0.0, 1.0), Domain::Binary, rule);
        if rises {
            self.one_sided(1.0, &[(z, 1.0), (on, below)], from + below, at);
            self.one_sided(-1.0, &[(z, 1.0), (on, -above)], from, at);
        } else {
            self.one_sided(1.0, &[(z, 1.0), (on, -below)], from, at);
            self.one_sided(-1.0, &[(z, 1.0), (on, above)], from + above, at);
        }
        Ok(on)
    }

    /// How far a range reaches below a number, not positive, and above it; the caller's big-M stands for infinite ends.
    fn far(&self, node: &Node, form: Form, i: usize, range: Interval, from: f64) -> Result<(f64, f64)> {
        let ends = [range.lower - from, range.upper - from];
        let m = match form {
            Form::BigM(Some(m)) => m,
            _ if range.is_finite() => return Ok((ends[0], ends[1])),
            _ => return Err(self.unbounded(node, i, range, "big_m")),
        };
        let needed = ends.into_iter().filter(|end| end.is_finite()).fold(0.0, |most: f64, end| most.max(end.abs()));
        if m < needed {
            return Err(self.small_m(node, i, m, needed));
        }
        Ok((ends[0].max(-m), ends[1].min(m)))
    }

    /// One of two for each element.
    pub(super) fn choice(&mut self, at: u32, node: &Node) -> Result<()> {
        let form = self.form(node)?;
        let operands = [0, 1, 2].map(|k| self.operand(node, k).map(<[Element]>::to_vec));
        let [mask, a, b] = operands;
        let operands = [mask?, a?, b?];
        let places: [_; 3] = form::broadcasts(self.graph, node);
        let bounds = self.bounds;
        let range = |k: usize, i: usize| bounds.of(node.inputs[k])[places[k].at(i)];
        let mut out = Vec::with_capacity(self.graph.numel(node.outputs[0]));
        for (i, &y) in bounds.of(node.outputs[0]).iter().enumerate() {
            let [mask, a, b] = [0, 1, 2].map(|k| operands[k][places[k].at(i)]);
            let known = if let Element::Constant(c) = mask { Some(c != 0.0) } else { decided(range(0, i)) };
            out.push(match (known, a, b) {
                (Some(holds), ..) => {
                    if holds {
                        a
                    } else {
                        b
                    }
                }
                _ if a == b => a,
                (_, Element::Constant(a), Element::Constant(b)) => match (a, b) {
                    (1.0, 0.0) => mask,
                    _ => self.equation(at, "y", i, y, &[(mask, a - b)], b),
                },
                _ if form == Form::Nonlinear => self.define(at, "y", i, y, &choose(greater(mask, 0.5), a, b))?,
                _ => {
                    for k in [1, 2] {
                        if !range(k, i).is_finite() {
                            return Err(self.unbounded(node, places[k].at(i), range(k, i), "big_m"));
                        }
                    }
                    self.one_of(at, i, y, mask, [(a, range(1, i)), (b, range(2, i))])
                }
            });
        }
        self.set(node, out);
        Ok(())
    }

    /// `y` equals the side that the mask chooses; the other is as far from it as the ranges let it be.
    fn one_of(&mut self, at: u32, i: usize, y: Interval, mask: Element, sides: [(Element, Interval); 2]) -> Element {
        let on = self.variable(at, mask);
        let first = super::formulation::to_u32(self.formulation.rows.len());
        let y = self.new_variable(at, "y", i, y, Domain::Continuous, Rule::Rows { first, count: 4 });
        let [(_, a), (_, b)] = sides;
        // Of `other - side` where the other is taken.
        let gaps = [(b.lower - a.upper, b.upper - a.lower), (a.lower - b.upper, a.upper - b.lower)];
        for (k, ((side, _), (least, most))) in sides.into_iter().zip(gaps).enumerate() {
            for (sign, gap) in [(1.0, least), (-1.0, most)] {
                // With the first side, the gap counts where the mask is 0.
                let (weight, free) = if k == 0 { (gap, gap) } else { (-gap, 0.0) };
                let mut terms = vec![(y, 1.0), (on, weight)];
                let limit = match side {
                    Element::Constant(c) => c + free,
                    side => {
                        terms.push((self.variable(at, side), -1.0));
                        free
                    }
                };
                self.one_sided(sign, &terms, limit, at);
            }
        }
        Element::Variable(y)
    }
}

/// A variable that is compared with a number.
struct Compared {
    at: u32,
    i: usize,
    z: VarId,
    range: Interval,
    from: f64,
    comparison: Comparison,
}
