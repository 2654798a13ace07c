//! The solver-neutral formulation: variables and what must hold between them.

use super::{
    Block, Complementarities, Cones, Definitions, Domain, Expression, Indicators, LinearRows, NO_NODE, QuadraticRows,
    Relation, Rule, Tapes, VarId, VariableLists, Variables,
};
use crate::{
    Error, Result,
    bounds::{Interval, unary_value},
};

/// An optimisation model of a network: its variables, and rows that hold exactly where the outputs are the network's
/// values at the inputs. The caller may add variables and rows.
///
/// In full space every output is a variable; in reduced space every output is an expression of the inputs.
///
/// All tables are flat arrays. [`Display`](std::fmt::Display) prints the whole of it.
#[derive(Clone, Debug, Default)]
pub struct Formulation {
    pub(super) variables: Variables,
    pub(super) blocks: Vec<Block>,
    pub(super) rows: LinearRows,
    pub(super) sos1: VariableLists,
    pub(super) indicators: Indicators,
    pub(super) quadratic: QuadraticRows,
    pub(super) cones: Cones,
    pub(super) complementarities: Complementarities,
    pub(super) definitions: Definitions,
    pub(super) expressions: Tapes,
    /// What [`Rule`]s refer to.
    pub(super) lists: VariableLists,
    pub(super) inputs: Vec<VarId>,
    pub(super) outputs: Vec<VarId>,
    pub(super) output_expressions: Vec<u32>,
    pub(super) output_bounds: Vec<Interval>,
    pub(super) layers: Vec<String>,
}

impl Formulation {
    /// The variables.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// The blocks that the variables belong to.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The linear rows.
    pub fn rows(&self) -> &LinearRows {
        &self.rows
    }

    /// Sets of variables of which at most one is not zero.
    pub fn sos1(&self) -> &VariableLists {
        &self.sos1
    }

    /// Linear rows that a binary switches on.
    pub fn indicators(&self) -> &Indicators {
        &self.indicators
    }

    /// Quadratic rows.
    pub fn quadratic(&self) -> &QuadraticRows {
        &self.quadratic
    }

    /// Cones.
    pub fn cones(&self) -> &Cones {
        &self.cones
    }

    /// Complementary pairs.
    pub fn complementarities(&self) -> &Complementarities {
        &self.complementarities
    }

    /// Nonlinear equations and inequalities.
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// In reduced space, expressions that others and the outputs refer to, each after those that it refers to.
    pub fn expressions(&self) -> &Tapes {
        &self.expressions
    }

    /// The variables of the graph's inputs: each flat and row-major, in signature order.
    pub fn inputs(&self) -> &[VarId] {
        &self.inputs
    }

    /// The variables of the graph's outputs: each flat and row-major, in signature order. One variable may stand for
    /// several outputs, and an input may be an output. Empty in reduced space.
    pub fn outputs(&self) -> &[VarId] {
        &self.outputs
    }

    /// In reduced space, the number in [`Formulation::expressions`] of every output. Empty in full space.
    pub fn output_expressions(&self) -> &[u32] {
        &self.output_expressions
    }

    /// The bounds of every output.
    pub fn output_bounds(&self) -> &[Interval] {
        &self.output_bounds
    }

    /// Where the graph's node stands in the model, as errors name it.
    pub fn layer(&self, node: u32) -> &str {
        self.layers.get(node as usize).map_or("the caller's part", String::as_str)
    }

    /// The graph's nodes in order, as errors name them.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    /// A variable's name: `x[3]`, `layer 0.z[5]`.
    pub fn name(&self, variable: VarId) -> String {
        let i = variable.index();
        format!("{}[{}]", self.blocks[self.variables.block[i] as usize].name, self.variables.index[i])
    }

    /// A variable's bounds.
    pub fn bounds(&self, variable: VarId) -> Interval {
        Interval::new(self.variables.lower[variable.index()], self.variables.upper[variable.index()])
    }

    /// Whether any variable is binary or integer.
    pub fn is_discrete(&self) -> bool {
        self.variables.domain.iter().any(|&d| d != Domain::Continuous)
    }

    /// A block of the caller's for variables to come.
    pub fn add_block(&mut self, name: impl Into<String>) -> u32 {
        self.push_block(name.into(), NO_NODE, None)
    }

    /// A variable in a block; its index counts the block's variables.
    pub fn add_variable(&mut self, block: u32, bounds: Interval, domain: Domain) -> Result<VarId> {
        if block as usize >= self.blocks.len() {
            return Err(Error::argument(format!("block {block} of {}", self.blocks.len())));
        }
        if !bounds.is_valid() {
            return Err(Error::argument(format!("the bounds [{}, {}] hold no number", bounds.lower, bounds.upper)));
        }
        let index = self.blocks[block as usize].len as usize;
        Ok(self.push_variable(block, index, bounds, domain, Rule::Given))
    }

    /// The linear row `lower <= sum of a v <= upper`; gives its number.
    pub fn add_row(&mut self, lower: f64, terms: &[(VarId, f64)], upper: f64) -> Result<usize> {
        self.check_terms(terms)?;
        check_limits(lower, upper)?;
        Ok(self.push_row(lower, terms, upper, NO_NODE))
    }

    /// At most one of the variables is not zero; the weights give their order.
    pub fn add_sos1(&mut self, entries: &[(VarId, f64)]) -> Result<()> {
        self.check_terms(entries)?;
        self.sos1.push(entries, NO_NODE);
        Ok(())
    }

    /// The linear row holds where the binary has the value `active`.
    pub fn add_indicator(
        &mut self,
        binary: VarId,
        active: bool,
        lower: f64,
        terms: &[(VarId, f64)],
        upper: f64,
    ) -> Result<()> {
        self.check_terms(terms)?;
        self.check_terms(&[(binary, 1.0)])?;
        check_limits(lower, upper)?;
        if self.variables.domain[binary.index()] != Domain::Binary {
            return Err(Error::argument(format!("{} switches a row, but is not binary", self.name(binary))));
        }
        self.push_indicator(binary, active, (lower, terms, upper), NO_NODE);
        Ok(())
    }

    /// The nonlinear equation `variable == expression`, or an inequality.
    pub fn add_definition(&mut self, variable: VarId, relation: Relation, expression: &Expression) -> Result<()> {
        self.check_terms(&[(variable, 1.0)])?;
        self.definitions.push(variable, relation, expression, NO_NODE)
    }

    /// The quadratic row `lower <= sum of a v + sum of q v w <= upper`.
    pub fn add_quadratic_row(
        &mut self,
        lower: f64,
        terms: &[(VarId, f64)],
        products: &[(VarId, VarId, f64)],
        upper: f64,
    ) -> Result<()> {
        self.check_terms(terms)?;
        for &(a, b, q) in products {
            self.check_terms(&[(a, q), (b, q)])?;
        }
        check_limits(lower, upper)?;
        self.quadratic.push(lower, terms, products, upper, NO_NODE);
        Ok(())
    }

    /// Narrows a variable's bounds; an error if nothing is left.
    pub fn restrict(&mut self, variable: VarId, bounds: Interval) -> Result<()> {
        self.check_terms(&[(variable, 1.0)])?;
        let old = self.bounds(variable);
        let new = Interval::new(old.lower.max(bounds.lower), old.upper.min(bounds.upper));
        if !new.is_valid() {
            return Err(Error::argument(format!(
                "{} in [{}, {}] cannot be in [{}, {}]",
                self.name(variable),
                old.lower,
                old.upper,
                bounds.lower,
                bounds.upper
            )));
        }
        self.variables.lower[variable.index()] = new.lower;
        self.variables.upper[variable.index()] = new.upper;
        Ok(())
    }

    /// A list for [`Rule`]s.
    pub(super) fn add_list(&mut self, entries: &[VarId]) -> u32 {
        self.add_weighted_list(&entries.iter().map(|&v| (v, 1.0)).collect::<Vec<_>>())
    }

    /// The same with weights.
    pub(super) fn add_weighted_list(&mut self, entries: &[(VarId, f64)]) -> u32 {
        self.lists.push(entries, NO_NODE);
        to_u32(self.lists.len() - 1)
    }

    /// The values of all variables where the inputs have these values: the network's forward pass, with the binaries
    /// that go with it. A variable that nothing defines gets its start value, or NaN.
    pub fn evaluate(&self, inputs: &[f64]) -> Result<Vec<f64>> {
        if inputs.len() != self.inputs.len() {
            return Err(Error::argument(format!(
                "{} values were given for {} input elements",
                inputs.len(),
                self.inputs.len()
            )));
        }
        let mut values = vec![f64::NAN; self.variables.len()];
        for (&variable, &value) in self.inputs.iter().zip(inputs) {
            values[variable.index()] = value;
        }
        let expressions = self.expression_values(&values);
        for i in 0..values.len() {
            if values[i].is_nan() {
                values[i] = self.rule_value(i, &values, &expressions);
            }
        }
        Ok(values)
    }

    /// The outputs where the variables have these values.
    pub fn output_values(&self, values: &[f64]) -> Vec<f64> {
        if self.output_expressions.is_empty() {
            return self.outputs.iter().map(|v| values[v.index()]).collect();
        }
        let expressions = self.expression_values(values);
        self.output_expressions.iter().map(|&e| expressions[e as usize]).collect()
    }

    /// The values of all expressions where the variables have these values.
    pub(super) fn expression_values(&self, values: &[f64]) -> Vec<f64> {
        let mut expressions = Vec::with_capacity(self.expressions.len());
        for i in 0..self.expressions.len() {
            expressions.push(self.expressions.evaluate(i, values, &expressions));
        }
        expressions
    }

    /// Gives the outputs variables `y` of their own where they are expressions, with an equation each; rows and
    /// objectives can then name them. In full space they are variables as it is.
    pub fn name_outputs(&mut self) -> Result<()> {
        let expressions = std::mem::take(&mut self.output_expressions);
        if expressions.is_empty() {
            return Ok(());
        }
        let block = self.push_block("y".to_owned(), NO_NODE, None);
        for (j, (e, bounds)) in expressions.into_iter().zip(self.output_bounds.clone()).enumerate() {
            let rule = Rule::Definition(to_u32(self.definitions.len()));
            let y = self.push_variable(block, j, bounds, Domain::Continuous, rule);
            self.definitions.push(y, Relation::Equal, &Expression::Shared(e), NO_NODE)?;
            self.outputs.push(y);
        }
        Ok(())
    }

    /// The largest difference between outputs that a solver gives for these inputs, and the network's own.
    pub fn formulation_error(&self, inputs: &[f64], outputs: &[f64]) -> Result<f64> {
        let own = self.output_values(&self.evaluate(inputs)?);
        if own.len() != outputs.len() {
            return Err(Error::argument(format!("{} values were given for {} outputs", outputs.len(), own.len())));
        }
        // A NaN must not be lost in a maximum.
        let difference = own.iter().zip(outputs).map(|(a, b)| (a - b).abs());
        Ok(difference.fold(0.0, |largest, d| if d > largest || d.is_nan() { d } else { largest }))
    }

    fn rule_value(&self, i: usize, values: &[f64], expressions: &[f64]) -> f64 {
        let entries = |list: u32| self.lists.list(list as usize).map(|(v, _)| values[v.index()]);
        match self.variables.rule[i] {
            Rule::Given => self.variables.start[i],
            Rule::Rows { first, count } => self.row_value(i, first as usize..(first + count) as usize, values),
            Rule::Definition(d) => self.definitions.tapes.evaluate(d as usize, values, expressions),
            Rule::Unary(unary, of) => unary_value(unary, values[of.index()]),
            Rule::Way { of, from, to } => {
                let way = if to > from { values[of.index()] - from } else { from - values[of.index()] };
                way.clamp(0.0, (to - from).abs())
            }
            Rule::Within { of, from, to } => f64::from(from < values[of.index()] && values[of.index()] <= to),
            Rule::Extreme { list, largest: true } => entries(list).fold(f64::NEG_INFINITY, f64::max),
            Rule::Extreme { list, largest: false } => entries(list).fold(f64::INFINITY, f64::min),
            Rule::Chosen { list, position, largest } => {
                let position = position as usize;
                let sign = if largest { 1.0 } else { -1.0 };
                let own = entries(list).nth(position).map_or(f64::NAN, |v| sign * v);
                let beats = |(k, v): (usize, f64)| if k < position { own > sign * v } else { own >= sign * v };
                f64::from(entries(list).enumerate().all(beats))
            }
            Rule::Exp(list) => libm::exp(self.lists.list(list as usize).map(|(v, w)| w * values[v.index()]).sum()),
            Rule::LogSumExp(list) => {
                let largest = entries(list).fold(f64::NEG_INFINITY, f64::max);
                largest + libm::log(entries(list).map(|v| libm::exp(v - largest)).sum())
            }
        }
    }

    /// The smallest value that rows allow, or the largest where they have an upper limit only.
    fn row_value(&self, i: usize, rows: std::ops::Range<usize>, values: &[f64]) -> f64 {
        let (mut smallest, mut largest) = (f64::NEG_INFINITY, f64::INFINITY);
        for row in rows {
            let (mut own, mut rest) = (0.0, 0.0);
            for (variable, a) in self.rows.row(row) {
                if variable.index() == i {
                    own = a;
                } else {
                    rest += a * values[variable.index()];
                }
            }
            let ends = [(self.rows.lower[row] - rest) / own, (self.rows.upper[row] - rest) / own];
            smallest = smallest.max(ends[0].min(ends[1]));
            largest = largest.min(ends[0].max(ends[1]));
        }
        // Bounds of an equation's variable hold by themselves; clamping to them would hide a wrong bound.
        if smallest == f64::NEG_INFINITY {
            largest
        } else if largest == f64::INFINITY {
            smallest.max(self.variables.lower[i])
        } else {
            smallest
        }
    }

    /// Makes the forward pass at this point the start values of all variables.
    pub fn set_start(&mut self, inputs: &[f64]) -> Result<()> {
        self.variables.start = self.evaluate(inputs)?;
        Ok(())
    }

    /// The start value of one variable.
    pub fn set_start_value(&mut self, variable: VarId, value: f64) {
        self.variables.start[variable.index()] = value;
    }

    /// The start values of all variables; NaN where there is none. What is missing at the end has none.
    pub fn set_start_values(&mut self, mut values: Vec<f64>) {
        values.resize(self.variables.len(), f64::NAN);
        self.variables.start = values;
    }

    fn check_terms(&self, terms: &[(VarId, f64)]) -> Result<()> {
        for &(variable, a) in terms {
            if variable.index() >= self.variables.len() {
                return Err(Error::argument(format!("variable {} of {}", variable.0, self.variables.len())));
            }
            if !a.is_finite() {
                return Err(Error::argument(format!("{} has the coefficient {a}", self.name(variable))));
            }
        }
        Ok(())
    }

    pub(super) fn push_block(&mut self, name: String, node: u32, value: Option<u32>) -> u32 {
        self.blocks.push(Block { name, node, value, len: 0 });
        to_u32(self.blocks.len() - 1)
    }

    pub(super) fn push_variable(
        &mut self,
        block: u32,
        index: usize,
        bounds: Interval,
        domain: Domain,
        rule: Rule,
    ) -> VarId {
        self.blocks[block as usize].len += 1;
        let table = &mut self.variables;
        table.lower.push(bounds.lower);
        table.upper.push(bounds.upper);
        table.domain.push(domain);
        table.start.push(f64::NAN);
        table.block.push(block);
        table.index.push(to_u32(index));
        table.rule.push(rule);
        VarId(to_u32(table.len() - 1))
    }

    pub(super) fn push_indicator(
        &mut self,
        binary: VarId,
        active: bool,
        (lower, terms, upper): (f64, &[(VarId, f64)], f64),
        node: u32,
    ) {
        self.indicators.binary.push(binary);
        self.indicators.active.push(u8::from(active));
        self.indicators.rows.push(lower, terms, upper, node);
    }

    pub(super) fn push_row(&mut self, lower: f64, terms: &[(VarId, f64)], upper: f64, node: u32) -> usize {
        self.rows.push(lower, terms, upper, node);
        self.rows.len() - 1
    }
}

fn check_limits(lower: f64, upper: f64) -> Result<()> {
    if Interval::new(lower, upper).is_valid() {
        return Ok(());
    }
    Err(Error::argument(format!("no number lies between a row's limits {lower} and {upper}")))
}

/// Positions are 32 bits wide in every table; a formulation beyond that does not fit into memory.
pub(super) fn to_u32(position: usize) -> u32 {
    u32::try_from(position).expect("fewer than 2^32 entries")
}
