//! The largest or smallest of several elements, in every form.

use super::{
    Domain, Element, Expression, Form, Lowering, Opcode, Rule, Space, VarId,
    formulation::to_u32,
    piecewise::{Bend, Piecewise},
};
use crate::{
    Result,
    bounds::{Interval, Sum, form},
    graph::{Node, Unary},
};

/// The elements of which one is looked for.
struct Candidates<'a> {
    at: u32,
    /// The element of the result.
    element: usize,
    /// 1 for the largest, -1 for the smallest.
    sign: f64,
    of: &'a [(Element, Interval)],
    bounds: Interval,
}

impl Lowering<'_> {
    /// The largest element of each window.
    pub(super) fn max_pool(&mut self, at: u32, node: &Node) -> Result<()> {
        let inputs = self.operand(node, 0)?.to_vec();
        let bounds = self.bounds;
        let (graph, ranges) = (self.graph, bounds.of(node.inputs[0]));
        let mut out = Vec::with_capacity(bounds.of(node.outputs[0]).len());
        form::max_pool(graph, node, |i, window| {
            let window: Vec<_> = window.iter().map(|&c| (inputs[c], ranges[c])).collect();
            out.push(self.extreme(at, node, i, &window, 1.0)?);
            Ok(())
        })?;
        self.set(node, out);
        Ok(())
    }

    /// The largest (for a sign of 1) or smallest (of -1) of elements with their bounds: element `i` of the node's result.
    pub(super) fn extreme(
        &mut self,
        at: u32,
        node: &Node,
        i: usize,
        elements: &[(Element, Interval)],
        sign: f64,
    ) -> Result<Element> {
        let left = possible(elements, sign);
        if let [(only, _)] = left[..] {
            return Ok(only);
        }
        let form = self.form(node)?;
        let of = Candidates { at, element: i, sign, of: &left, bounds: self.bounds.of(node.outputs[0])[i] };
        if form == Form::Nonlinear || self.options.space == Space::Reduced {
            let opcode = if sign > 0.0 { Opcode::Max } else { Opcode::Min };
            let operands: Vec<Expression> = left.iter().map(|&(element, _)| element.into()).collect();
            return self.define(at, "y", i, of.bounds, &Expression::call(opcode, operands));
        }
        let variables: Vec<(VarId, Interval)> =
            left.iter().map(|&(element, range)| (self.variable(at, element), range)).collect();
        Ok(Element::Variable(match form {
            Form::BigM(m) => {
                if let Some(&(_, range)) = variables.iter().find(|(_, range)| !range.is_finite())
                    && m.is_none()
                {
                    return Err(self.unbounded(node, i, range, "big_m"));
                }
                self.check_extreme_m(node, &of, m)?;
                self.chosen(&of, &variables, |model, on, terms, reach| {
                    let big = m.filter(|_| !reach.is_finite()).unwrap_or(reach);
                    let terms: Vec<_> = terms.iter().copied().chain([(on, sign * big)]).collect();
                    model.one_sided(-sign, &terms, sign * big, at);
                })
            }
            Form::Indicator => self.chosen(&of, &variables, |model, on, terms, _| {
                let (lower, upper) = if sign > 0.0 { (f64::NEG_INFINITY, 0.0) } else { (0.0, f64::INFINITY) };
                model.formulation.push_indicator(on, true, (lower, terms, upper), at);
            }),
            Form::Epigraph => {
                let list = self.list(&variables);
                self.beyond_all(&of, &variables, list)
            }
            _ => self.tournament(node, form, &of, variables)?,
        }))
    }

    fn list(&mut self, variables: &[(VarId, Interval)]) -> u32 {
        let ids: Vec<VarId> = variables.iter().map(|entry| entry.0).collect();
        self.formulation.add_list(&ids)
    }

    /// `y` that is never below (or above) any candidate.
    fn beyond_all(&mut self, of: &Candidates, variables: &[(VarId, Interval)], list: u32) -> VarId {
        let rule = Rule::Extreme { list, largest: of.sign > 0.0 };
        let y = self.new_variable(of.at, "y", of.element, of.bounds, Domain::Continuous, rule);
        for &(x, _) in variables {
            self.one_sided(of.sign, &[(x, -1.0), (y, 1.0)], 0.0, of.at);
        }
        y
    }

    /// Beyond all, and not beyond the one that a binary chooses, which `not_beyond` says of each: it gets the binary,
    /// the terms of `y - x`, and how far `y` can be beyond `x`.
    fn chosen(
        &mut self,
        of: &Candidates,
        variables: &[(VarId, Interval)],
        not_beyond: impl Fn(&mut Self, VarId, &[(VarId, f64)], f64),
    ) -> VarId {
        let list = self.list(variables);
        let y = self.beyond_all(of, variables, list);
        let mut choice = Vec::with_capacity(variables.len());
        for (position, &(x, range)) in variables.iter().enumerate() {
            let rule = Rule::Chosen { list, position: to_u32(position), largest: of.sign > 0.0 };
            let index = self.part_len("chosen");
            let on = self.new_variable(of.at, "chosen", index, Interval::new(0.0, 1.0), Domain::Binary, rule);
            let others = variables.iter().enumerate().filter(|(k, _)| *k != position);
            let reach = others.map(|(_, (_, other))| beyond(*other, range, of.sign)).fold(0.0, f64::max);
            not_beyond(self, on, &[(x, -1.0), (y, 1.0)], reach);
            choice.push((on, 1.0));
        }
        self.formulation.push_row(1.0, &choice, 1.0, of.at);
        y
    }

    fn check_extreme_m(&self, node: &Node, of: &Candidates, m: Option<f64>) -> Result<()> {
        let Some(m) = m else { return Ok(()) };
        for (k, (_, range)) in of.of.iter().enumerate() {
            let others = of.of.iter().enumerate().filter(|(other, _)| *other != k);
            let reach = others.map(|(_, (_, other))| beyond(*other, *range, of.sign)).fold(0.0, f64::max);
            if reach.is_finite() && m < reach {
                return Err(self.small_m(node, of.element, m, reach));
            }
        }
        Ok(())
    }

    /// `max(a, b) == b + max(a - b, 0)`, two by two, until one is left.
    fn tournament(
        &mut self,
        node: &Node,
        form: Form,
        of: &Candidates,
        mut left: Vec<(VarId, Interval)>,
    ) -> Result<VarId> {
        let form = if form == Form::Pairwise { self.options.form_of_kind("relu") } else { form };
        let relu = Piecewise::of(Unary::Relu).expect("it is piecewise linear");
        while left.len() > 1 {
            let mut next = Vec::with_capacity(left.len().div_ceil(2));
            let last = left.len() == 2;
            for pair in left.chunks(2) {
                let &[(a, of_a), (b, of_b)] = pair else {
                    next.push(pair[0]);
                    continue;
                };
                let extreme = |x: f64, y: f64| if of.sign > 0.0 { x.max(y) } else { x.min(y) };
                let both = Interval::new(extreme(of_a.lower, of_b.lower), extreme(of_a.upper, of_b.upper));
                let mut difference = Sum::new(0.0);
                difference.add(of.sign, of_a);
                difference.add(-of.sign, of_b);
                let range = difference.finish();
                let index = self.part_len("difference");
                let d = self.equation(
                    of.at,
                    "difference",
                    index,
                    range,
                    &[(Element::Variable(a), of.sign), (Element::Variable(b), -of.sign)],
                    0.0,
                );
                let z = self.variable(of.at, d);
                let function = relu.within(range);
                // The sign of the difference may be certain where neither element is certain to be beyond all others.
                let winner = match function.only_slope() {
                    Some(0.0) => b,
                    Some(_) => a,
                    None => {
                        let positive = Interval::new(0.0, range.upper.max(0.0));
                        let bend = Bend {
                            at: of.at,
                            element: index,
                            unary: Unary::Relu,
                            function: &function,
                            z,
                            range,
                            block: "positive",
                            y: positive,
                        };
                        let p = self.bend(node, form, &bend)?;
                        let bounds = if last { both.intersect(of.bounds) } else { both };
                        let (block, index) = if last { ("y", of.element) } else { ("larger", self.part_len("larger")) };
                        let terms = [(Element::Variable(b), 1.0), (Element::Variable(p), of.sign)];
                        let y = self.equation(of.at, block, index, bounds, &terms, 0.0);
                        self.variable(of.at, y)
                    }
                };
                next.push((winner, both));
            }
            left = next;
        }
        Ok(left[0].0)
    }
}

/// How far an element can be beyond another.
fn beyond(a: Interval, b: Interval, sign: f64) -> f64 {
    if sign > 0.0 { a.upper - b.lower } else { b.upper - a.lower }
}

/// The elements that can be the extreme one: each once, without those that another is never below.
fn possible(elements: &[(Element, Interval)], sign: f64) -> Vec<(Element, Interval)> {
    let mut left: Vec<(Element, Interval)> = Vec::with_capacity(elements.len());
    for &entry in elements {
        if !left.iter().any(|seen| seen.0 == entry.0) {
            left.push(entry);
        }
    }
    let nearest = |range: Interval| if sign > 0.0 { range.lower } else { -range.upper };
    let farthest = |range: Interval| if sign > 0.0 { range.upper } else { -range.lower };
    let best = left.iter().enumerate().max_by(|a, b| nearest(a.1.1).total_cmp(&nearest(b.1.1)));
    let Some((best, limit)) = best.map(|(k, entry)| (k, nearest(entry.1))) else { return left };
    let mut k = 0;
    left.retain(|entry| {
        k += 1;
        k - 1 == best || farthest(entry.1) > limit
    });
    left
}
