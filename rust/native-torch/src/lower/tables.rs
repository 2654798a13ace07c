//! The tables of a formulation: flat arrays, one entry per variable or row, as the C ABI hands them out.

use crate::graph::Unary;

/// A variable of a formulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VarId(pub u32);

impl VarId {
    /// The position in [`Variables`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Stands for the graph's node where a row or block was added by the caller.
pub const NO_NODE: u32 = u32::MAX;

/// The values that a variable may take within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Domain {
    /// Any.
    Continuous = 0,
    /// 0 or 1.
    Binary = 1,
    /// Whole numbers.
    Integer = 2,
}

/// How a variable's value follows from those before it: this is the forward pass in terms of the formulation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Given from outside: an input, or a variable of the caller's.
    Given,
    /// The smallest value within its bounds that the rows `first .. first + count` allow, or the largest where they
    /// bound it from above only. With an equation that is its solution.
    Rows {
        /// The first row.
        first: u32,
        /// How many.
        count: u32,
    },
    /// The value of the nonlinear definition of this number, which is an equation.
    Definition(u32),
    /// A function of a variable.
    Unary(Unary, VarId),
    /// How far a variable has come on its way from one place to another: between 0 and their distance, which may be
    /// infinite.
    Way {
        /// The variable.
        of: VarId,
        /// Where the way begins.
        from: f64,
        /// Where it ends.
        to: f64,
    },
    /// 1 where `from < variable <= to`, else 0.
    Within {
        /// The variable.
        of: VarId,
        /// The largest value that does not count.
        from: f64,
        /// The largest that does.
        to: f64,
    },
    /// The largest entry of a list, or the smallest.
    Extreme {
        /// One of the lists of variables that rules refer to.
        list: u32,
        /// Whether it is the largest.
        largest: bool,
    },
    /// 1 where the entry at `position` is the first largest of the list, or the first smallest, else 0.
    Chosen {
        /// One of the lists of variables that rules refer to.
        list: u32,
        /// The place in it.
        position: u32,
        /// Whether it is the largest.
        largest: bool,
    },
    /// `log(sum exp)` of the list's entries.
    LogSumExp(u32),
    /// The exponential of the sum of the list's entries with their weights.
    Exp(u32),
}

/// The variables, column by column.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// The smallest values, or -inf.
    pub lower: Vec<f64>,
    /// The largest values, or inf.
    pub upper: Vec<f64>,
    /// What they may be.
    pub domain: Vec<Domain>,
    /// Initial values; NaN where there is none.
    pub start: Vec<f64>,
    /// The block each belongs to.
    pub block: Vec<u32>,
    /// The number behind its name: for a block that stands for a graph's value, the element, flat and row-major.
    pub index: Vec<u32>,
    /// How its value follows from those before it.
    pub rule: Vec<Rule>,
}

impl Variables {
    /// The number of variables.
    pub fn len(&self) -> usize {
        self.lower.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lower.is_empty()
    }
}

/// Variables that were made together and share a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The name before the index: `x`, `layer 0.z`.
    pub name: String,
    /// The graph's node, or [`NO_NODE`] for inputs and what the caller adds.
    pub node: u32,
    /// The position in [`Graph::values`](crate::graph::Graph::values) of the value whose elements they are, if any.
    pub value: Option<u32>,
    /// How many variables it has.
    pub len: u32,
}

/// Linear rows `lower <= a'x <= upper` in compressed form: row `i` has the entries `starts[i] .. starts[i + 1]`, in
/// ascending order of variables, none twice and none zero.
#[derive(Clone, Debug)]
pub struct LinearRows {
    /// Where each row begins, and the end of the last.
    pub starts: Vec<usize>,
    /// The variables of the entries.
    pub variable: Vec<VarId>,
    /// The coefficients of the entries.
    pub coefficient: Vec<f64>,
    /// The smallest value of each row, or -inf.
    pub lower: Vec<f64>,
    /// The largest value of each row, or inf.
    pub upper: Vec<f64>,
    /// The graph's node of each row, or [`NO_NODE`].
    pub node: Vec<u32>,
}

impl Default for LinearRows {
    fn default() -> Self {
        Self {
            starts: vec![0],
            variable: Vec::new(),
            coefficient: Vec::new(),
            lower: Vec::new(),
            upper: Vec::new(),
            node: Vec::new(),
        }
    }
}

impl LinearRows {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.lower.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lower.is_empty()
    }

    /// The entries of a row.
    pub fn row(&self, i: usize) -> impl ExactSizeIterator<Item = (VarId, f64)> + Clone + '_ {
        let entries = self.starts[i]..self.starts[i + 1];
        self.variable[entries.clone()].iter().copied().zip(self.coefficient[entries].iter().copied())
    }

    /// The value of a row where the variables have these values.
    pub fn value(&self, i: usize, values: &[f64]) -> f64 {
        self.row(i).map(|(v, a)| a * values[v.index()]).sum()
    }

    /// Appends a row: sorts its entries, adds up those of one variable, leaves out zeros.
    pub(super) fn push(&mut self, lower: f64, terms: &[(VarId, f64)], upper: f64, node: u32) {
        if terms.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            self.extend(terms.iter().copied());
        } else {
            let mut sorted = terms.to_vec();
            sorted.sort_by_key(|&(variable, _)| variable);
            let merged = sorted.chunk_by(|a, b| a.0 == b.0);
            self.extend(merged.map(|same| (same[0].0, same.iter().map(|&(_, a)| a).sum())));
        }
        self.starts.push(self.variable.len());
        self.lower.push(lower);
        self.upper.push(upper);
        self.node.push(node);
    }

    fn extend(&mut self, terms: impl Iterator<Item = (VarId, f64)>) {
        for (variable, coefficient) in terms.filter(|&(_, a)| a != 0.0) {
            self.variable.push(variable);
            self.coefficient.push(coefficient);
        }
    }
}

/// Ordered lists of variables: list `i` has the entries `starts[i] .. starts[i + 1]`.
#[derive(Clone, Debug)]
pub struct VariableLists {
    /// Where each list begins, and the end of the last.
    pub starts: Vec<usize>,
    /// The variables.
    pub variable: Vec<VarId>,
    /// A number with each: the weight in an SOS1 set.
    pub weight: Vec<f64>,
    /// The graph's node of each list, or [`NO_NODE`].
    pub node: Vec<u32>,
}

impl Default for VariableLists {
    fn default() -> Self {
        Self { starts: vec![0], variable: Vec::new(), weight: Vec::new(), node: Vec::new() }
    }
}

impl VariableLists {
    /// The number of lists.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries of a list.
    pub fn list(&self, i: usize) -> impl ExactSizeIterator<Item = (VarId, f64)> + Clone + '_ {
        let entries = self.starts[i]..self.starts[i + 1];
        self.variable[entries.clone()].iter().copied().zip(self.weight[entries].iter().copied())
    }

    pub(super) fn push(&mut self, entries: &[(VarId, f64)], node: u32) {
        self.variable.extend(entries.iter().map(|entry| entry.0));
        self.weight.extend(entries.iter().map(|entry| entry.1));
        self.starts.push(self.variable.len());
        self.node.push(node);
    }
}

/// Rows that hold where a binary variable has a value: `binary[i] == active[i]` implies row `i`.
#[derive(Clone, Debug, Default)]
pub struct Indicators {
    /// The binary of each row.
    pub binary: Vec<VarId>,
    /// The value, 0 or 1, at which the row holds.
    pub active: Vec<u8>,
    /// The rows.
    pub rows: LinearRows,
}

/// Quadratic rows `lower <= a'x + sum q_jk x_j x_k <= upper`; each product of two variables is listed once.
#[derive(Clone, Debug)]
pub struct QuadraticRows {
    /// The linear parts and the limits.
    pub rows: LinearRows,
    /// Where each row's products begin, and the end of the last.
    pub starts: Vec<usize>,
    /// The first factor of each product.
    pub first: Vec<VarId>,
    /// The second factor of each product.
    pub second: Vec<VarId>,
    /// The coefficient of each product.
    pub coefficient: Vec<f64>,
}

impl QuadraticRows {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The products of a row: two factors and a coefficient.
    pub fn products(&self, i: usize) -> impl Iterator<Item = (VarId, VarId, f64)> + Clone + '_ {
        (self.starts[i]..self.starts[i + 1]).map(|k| (self.first[k], self.second[k], self.coefficient[k]))
    }

    /// The value of a row where the variables have these values.
    pub fn value(&self, i: usize, values: &[f64]) -> f64 {
        let product = |(a, b, q): (VarId, VarId, f64)| q * values[a.index()] * values[b.index()];
        self.rows.value(i, values) + self.products(i).map(product).sum::<f64>()
    }

    pub(super) fn push(
        &mut self,
        lower: f64,
        terms: &[(VarId, f64)],
        products: &[(VarId, VarId, f64)],
        upper: f64,
        node: u32,
    ) {
        for &(a, b, q) in products {
            self.first.push(a);
            self.second.push(b);
            self.coefficient.push(q);
        }
        self.starts.push(self.first.len());
        self.rows.push(lower, terms, upper, node);
    }
}

impl Default for QuadraticRows {
    fn default() -> Self {
        Self {
            rows: LinearRows::default(),
            starts: vec![0],
            first: Vec::new(),
            second: Vec::new(),
            coefficient: Vec::new(),
        }
    }
}

/// The cones that a list of numbers may lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Cone {
    /// `(x, y, z)` with `y exp(x / y) <= z`, `y > 0`.
    Exponential = 0,
    /// `(t, x..)` with `t >= |x|`.
    SecondOrder = 1,
}

/// Affine functions `a'x + c` in compressed form, as [`LinearRows`].
#[derive(Clone, Debug)]
pub struct AffineFunctions {
    /// Where the entries of each begin, and the end of the last.
    pub starts: Vec<usize>,
    /// The variables of the entries.
    pub variable: Vec<VarId>,
    /// The coefficients of the entries.
    pub coefficient: Vec<f64>,
    /// The constant of each.
    pub constant: Vec<f64>,
}

impl Default for AffineFunctions {
    fn default() -> Self {
        Self { starts: vec![0], variable: Vec::new(), coefficient: Vec::new(), constant: Vec::new() }
    }
}

impl AffineFunctions {
    /// The entries of a function.
    pub fn terms(&self, i: usize) -> impl ExactSizeIterator<Item = (VarId, f64)> + Clone + '_ {
        let entries = self.starts[i]..self.starts[i + 1];
        self.variable[entries.clone()].iter().copied().zip(self.coefficient[entries].iter().copied())
    }

    /// The value of a function where the variables have these values.
    pub fn value(&self, i: usize, values: &[f64]) -> f64 {
        self.constant[i] + self.terms(i).map(|(v, a)| a * values[v.index()]).sum::<f64>()
    }

    fn push(&mut self, terms: &[(VarId, f64)], constant: f64) {
        self.variable.extend(terms.iter().map(|term| term.0));
        self.coefficient.extend(terms.iter().map(|term| term.1));
        self.starts.push(self.variable.len());
        self.constant.push(constant);
    }
}

/// Lists of affine functions that lie in cones: cone `i` has the members `starts[i] .. starts[i + 1]`.
#[derive(Clone, Debug)]
pub struct Cones {
    /// The kind of each.
    pub cone: Vec<Cone>,
    /// Where the members of each begin, and the end of the last.
    pub starts: Vec<usize>,
    /// The members of all.
    pub members: AffineFunctions,
    /// The graph's node of each, or [`NO_NODE`].
    pub node: Vec<u32>,
}

impl Default for Cones {
    fn default() -> Self {
        Self { cone: Vec::new(), starts: vec![0], members: AffineFunctions::default(), node: Vec::new() }
    }
}

impl Cones {
    /// The number of cones.
    pub fn len(&self) -> usize {
        self.cone.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cone.is_empty()
    }

    pub(super) fn push(&mut self, cone: Cone, members: &[(&[(VarId, f64)], f64)], node: u32) {
        members.iter().for_each(|(terms, constant)| self.members.push(terms, *constant));
        self.cone.push(cone);
        self.starts.push(self.members.constant.len());
        self.node.push(node);
    }
}

/// Pairs of variables, neither negative, of which one is zero.
#[derive(Clone, Debug, Default)]
pub struct Complementarities {
    /// One of each pair.
    pub first: Vec<VarId>,
    /// The other.
    pub second: Vec<VarId>,
    /// The graph's node of each pair, or [`NO_NODE`].
    pub node: Vec<u32>,
}

impl Complementarities {
    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    pub(super) fn push(&mut self, first: VarId, second: VarId, node: u32) {
        self.first.push(first);
        self.second.push(second);
        self.node.push(node);
    }
}
