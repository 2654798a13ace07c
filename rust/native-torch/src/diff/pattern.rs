//! Which entries of the Jacobian and the Hessian can be other than zero, from the graph alone.
//!
//! Every element of a value carries the set of input elements that it depends on; sets are shared, since all elements
//! of a linear layer's result have the same one.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    ops::Range,
    sync::Arc,
};

use super::{Structure, unary::is_curved};
use crate::graph::{Broadcast, Graph, Map, Op, Source, Windows, for_each_index, split_at_dim};

/// The places of entries in a sparse matrix, sorted by row, then column; none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    /// The row of each entry.
    pub rows: Vec<usize>,
    /// The column of each entry.
    pub columns: Vec<usize>,
}

impl Pattern {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The pattern of the `m x n` Jacobian of a concrete graph.
pub fn jacobian_pattern(graph: &Graph) -> Pattern {
    jacobian_structure(graph, usize::MAX).expect("there is no limit").pattern()
}

/// The pattern of the lower triangle of the `n x n` Hessian of mu'f of a concrete graph, for any mu.
pub fn hessian_pattern(graph: &Graph) -> Pattern {
    hessian_structure(graph, usize::MAX).expect("there is no limit").0.lower().pattern()
}

/// The structure of the `m x n` Jacobian of a concrete graph; `None` if finding it takes more than `limit` numbers.
pub fn jacobian_structure(graph: &Graph, limit: usize) -> Option<Structure> {
    let (sets, values) = dependencies(graph, limit)?;
    let rows = graph.outputs().iter().flat_map(|output| values[output.value.index()].iter().copied());
    let [structure] = sets.into_structures([rows.collect()])?;
    Some(structure)
}

/// What the terms of a Hessian depend on that come from nodes with curvature by their first operand alone.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Those nodes, with the rows of the elements of their operand.
    pub nodes: Vec<(usize, Range<usize>)>,
    /// For each element, the inputs that its terms have.
    pub rows: Structure,
}

/// The structure of the `n x n` Hessian of mu'f of a concrete graph, both triangles, for any mu, and its terms; `None` if
/// finding it takes more than `limit` numbers.
pub fn hessian_structure(graph: &Graph, limit: usize) -> Option<(Structure, Terms)> {
    let (mut sets, values) = dependencies(graph, limit)?;
    let n = sets.bits;
    // The pairs of sets whose members share a nonlinear term.
    let mut all: Vec<(u32, u32)> = Vec::new();
    let (mut nodes, mut of_nodes) = (Vec::new(), Vec::new());
    let used = graph.used_values();
    for (index, node) in graph.nodes().iter().enumerate() {
        if !node.outputs.iter().any(|v| used[v.index()]) {
            continue;
        }
        let x = &values[node.inputs[0].index()];
        let shape = graph.sizes(node.inputs[0]);
        let mut own = |terms: Vec<u32>| -> Vec<(u32, u32)> {
            let first = of_nodes.len();
            of_nodes.extend_from_slice(&terms);
            nodes.push((index, first..of_nodes.len()));
            terms.into_iter().map(|s| (s, s)).collect()
        };
        let mut terms: Vec<(u32, u32)> = match &node.op {
            Op::Unary(unary) if is_curved(*unary) => own(x.clone()),
            Op::Mul | Op::Div | Op::Prelu => {
                let b = &values[node.inputs[1].index()];
                let result = graph.sizes(node.outputs[0]);
                let [at, bt] = [0, 1].map(|k| Broadcast::new(&graph.sizes(node.inputs[k]), &result));
                let pairs = (0..graph.numel(node.outputs[0])).map(|e| (x[at.at(e)], b[bt.at(e)]));
                // A quotient bends by its divisor alone, too.
                let divisors = if node.op == Op::Div { b.as_slice() } else { &[] };
                pairs.chain(divisors.iter().map(|&b| (b, b))).collect()
            }
            Op::Softmax { dim } | Op::LogSoftmax { dim } => {
                let mut terms = x.clone();
                spread(slices(split_at_dim(&shape, *dim)), &mut sets, &mut terms);
                own(terms)
            }
            Op::If(branches) => {
                let x = &values[node.inputs[1].index()];
                let terms = branches.iter().flat_map(|branch| hessian_pairs(branch, limit));
                terms.map(|(i, k)| (x[i], x[k])).collect()
            }
            Op::While { body, .. } => {
                let curved = !hessian_pairs(body, limit).is_empty();
                let all = sets.union(x.iter().copied());
                if curved { vec![(all, all)] } else { Vec::new() }
            }
            Op::LayerNorm { axes, .. } | Op::RmsNorm { axes, .. } => {
                let mut terms = x.clone();
                spread(slices(last_axes(&shape, *axes)), &mut sets, &mut terms);
                own(terms)
            }
            // Piecewise linear: the second derivative is zero where it exists.
            Op::Unary(_)
            | Op::Add
            | Op::Sub
            | Op::Compare(_)
            | Op::Where
            | Op::Linear
            | Op::Embedding
            | Op::Conv(_)
            | Op::ConvTranspose { .. }
            | Op::AvgPool(_)
            | Op::AdaptiveAvgPool(_)
            | Op::Upsample(_)
            | Op::Unfold(_)
            | Op::Fold { .. }
            | Op::MaxPool(_)
            | Op::AdaptiveMaxPool(_)
            | Op::Pad { .. }
            | Op::Flatten { .. }
            | Op::Unflatten { .. }
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::Sum { .. }
            | Op::Mean { .. }
            | Op::Cat { .. } => continue,
        };
        terms.iter_mut().for_each(|(a, b)| (*a, *b) = (*a.min(b), *a.max(b)));
        all.append(&mut terms);
    }
    all.sort_unstable();
    all.dedup();
    // The sets with which each input element shares a term, and their union.
    let mut partners: Vec<Vec<u32>> = vec![Vec::new(); n];
    let mut left = limit;
    for (a, b) in all {
        let pairs = [(a, b), (b, a)];
        for &(from, to) in &pairs[..if a == b { 1 } else { 2 }] {
            left = left.checked_sub(sets.list(from).len())?;
            sets.list(from).iter().for_each(|&row| partners[row as usize].push(to));
        }
    }
    let rows: Vec<u32> = partners.into_iter().map(|partners| sets.union(partners)).collect();
    let [structure, rows] = sets.into_structures([rows, of_nodes])?;
    Some((structure, Terms { nodes, rows }))
}

/// The pairs of inputs by which a graph within a graph has a second derivative; all where finding them takes too long.
fn hessian_pairs(graph: &Graph, limit: usize) -> Vec<(usize, usize)> {
    match hessian_structure(graph, limit) {
        Some((structure, _)) => {
            let Pattern { rows, columns } = structure.pattern();
            rows.into_iter().zip(columns).collect()
        }
        None => {
            let n: usize = graph.inputs().iter().map(|input| graph.numel(input.value)).sum();
            (0..n * n).map(|e| (e / n, e % n)).collect()
        }
    }
}

/// The sizes before, along and after the last dimensions.
fn last_axes(sizes: &[usize], axes: usize) -> (usize, usize, usize) {
    let (outer, group) = sizes.split_at(sizes.len() - axes);
    (outer.iter().product(), group.iter().product(), 1)
}

/// The elements of each slice of `length` elements that are `inner` apart.
fn slices((outer, length, inner): (usize, usize, usize)) -> impl Iterator<Item = Vec<usize>> {
    (0..outer * inner).map(move |s| {
        let (o, i) = (s / inner, s % inner);
        (0..length).map(|k| (o * length + k) * inner + i).collect()
    })
}

/// For each value, the set of each element; `None` if the sets have more than `limit` members in all.
fn dependencies(graph: &Graph, limit: usize) -> Option<(Sets, Vec<Vec<u32>>)> {
    let n = graph.inputs().iter().map(|input| graph.numel(input.value)).sum();
    let mut sets = Sets::new(n, limit);
    let mut values: Vec<Vec<u32>> = graph.values().iter().map(|_| Vec::new()).collect();
    for (dependencies, value) in values.iter_mut().zip(graph.values()) {
        if matches!(value.source, Source::Parameter(_)) {
            *dependencies = vec![EMPTY; value.ty.sizes().map_or(0, |sizes| sizes.iter().product())];
        }
    }
    let mut next = 0;
    for input in graph.inputs() {
        let count = graph.numel(input.value);
        values[input.value.index()] = (next..next + count).map(|i| sets.single(i)).collect();
        next += count;
    }
    for node in graph.nodes() {
        let result = {
            let x: Vec<&[u32]> = node.inputs.iter().map(|v| values[v.index()].as_slice()).collect();
            let sizes: Vec<Vec<usize>> = node.inputs.iter().map(|&v| graph.sizes(v)).collect();
            propagate(&node.op, &mut sets, &x, &sizes, &graph.sizes(node.outputs[0]))
        };
        values[node.outputs[0].index()] = result;
        if sets.members.len() > limit {
            return None;
        }
    }
    Some((sets, values))
}

/// The sets of an operation's result, from those of its operands.
fn propagate(op: &Op, sets: &mut Sets, x: &[&[u32]], sizes: &[Vec<usize>], result: &[usize]) -> Vec<u32> {
    let shape = &sizes[0];
    match op {
        Op::Unary(_) | Op::Flatten { .. } | Op::Unflatten { .. } => x[0].to_vec(),
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Prelu => {
            let [a, b] = [0, 1].map(|k| Broadcast::new(&sizes[k], result));
            (0..result.iter().product()).map(|e| sets.union([x[0][a.at(e)], x[1][b.at(e)]])).collect()
        }
        Op::Compare(_) => vec![EMPTY; result.iter().product()],
        Op::Where => {
            let [a, b] = [1, 2].map(|k| Broadcast::new(&sizes[k], result));
            (0..result.iter().product()).map(|e| sets.union([x[1][a.at(e)], x[2][b.at(e)]])).collect()
        }
        Op::If(branches) => {
            // What either of the two depends on.
            let structures = branches.each_ref().map(|branch| jacobian_structure(branch, sets.limit));
            let all = |sets: &mut Sets| sets.union(x[1].iter().copied());
            let row = |sets: &mut Sets, row: usize| {
                let [a, b] = structures.each_ref().map(|structure| structure.as_ref().map(|s| s.row(row)));
                match (a, b) {
                    (Some(a), Some(b)) => sets.union(a.iter().chain(b).map(|&input| x[1][input as usize])),
                    _ => all(sets),
                }
            };
            (0..result[0]).map(|i| row(sets, i)).collect()
        }
        Op::While { .. } => {
            // A turn may pass everything on to everything.
            let all = sets.union(x[0].iter().copied());
            vec![all; result[0]]
        }
        Op::Linear => {
            let (out, features) = (sizes[1][0], sizes[1][1]);
            // A layer without inputs still has results: one for each leading index.
            let rows = shape[..shape.len() - 1].iter().product::<usize>();
            (0..rows)
                .flat_map(|row| {
                    let set = sets.union(x[0][row * features..(row + 1) * features].iter().copied());
                    std::iter::repeat_n(set, out)
                })
                .collect()
        }
        Op::Conv(conv) | Op::ConvTranspose { conv, .. } => {
            let start = shape.len() - conv.stride.len();
            let (kernel, plane, places) = (&sizes[1][2..], &shape[start..], &result[start..]);
            let windows = if matches!(op, Op::Conv(_)) {
                Windows::convolution(conv, kernel, plane, places)
            } else {
                Windows::transposed_convolution(conv, kernel, plane, places)
            };
            let plane: usize = plane.iter().product();
            let (channels, out) = (shape[start - 1] / conv.groups, result[start - 1] / conv.groups);
            let mut values = Vec::with_capacity(result.iter().product());
            for group in x[0].chunks_exact((channels * plane).max(1)) {
                let mut line = Vec::with_capacity(windows.len());
                windows.for_each(|_, reads| {
                    let places =
                        reads.iter().flat_map(|read| (0..channels).map(move |c| group[c * plane + read.place]));
                    line.push(sets.union(places));
                });
                values.extend(std::iter::repeat_n(line, out).flatten());
            }
            // Without an operand there are still results: none depends on anything.
            values.resize(result.iter().product(), EMPTY);
            values
        }
        Op::AvgPool(_)
        | Op::AdaptiveAvgPool(_)
        | Op::Upsample(_)
        | Op::Unfold(_)
        | Op::Fold { .. }
        | Op::Pad { .. }
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Sum { .. }
        | Op::Mean { .. } => reads(&Map::of(op, shape).expect("a linear map"), sets, x[0]),
        Op::MaxPool(_) | Op::AdaptiveMaxPool(_) => {
            reads(&Map::of_maximum(op, shape).expect("a maximum pool"), sets, x[0])
        }
        Op::Embedding => {
            let width = sizes[0][1];
            // The indices have no derivative, and a table that is computed may give any of its rows.
            let columns: Vec<u32> =
                (0..width).map(|c| sets.union(x[0].iter().skip(c).step_by(width.max(1)).copied())).collect();
            (0..result.iter().product()).map(|e: usize| columns[e % width.max(1)]).collect()
        }
        Op::LayerNorm { axes, .. } | Op::RmsNorm { axes, .. } => {
            let mut values = x[0].to_vec();
            spread(slices(last_axes(shape, *axes)), sets, &mut values);
            values
        }
        Op::Softmax { dim } | Op::LogSoftmax { dim } => {
            let mut values = x[0].to_vec();
            spread(slices(split_at_dim(shape, *dim)), sets, &mut values);
            values
        }
        Op::Cat { dim } => {
            let mut values = Vec::with_capacity(result.iter().product());
            for_each_index(&result[..*dim], |outer| {
                let row = outer.iter().zip(result).fold(0, |row, (i, d)| row * d + i);
                for (x, sizes) in x.iter().zip(sizes) {
                    let length: usize = sizes[*dim..].iter().product();
                    values.extend_from_slice(&x[row * length..(row + 1) * length]);
                }
            });
            values
        }
    }
}

/// Every element of a slice depends on all of it.
fn spread(slices: impl Iterator<Item = Vec<usize>>, sets: &mut Sets, values: &mut [u32]) {
    for slice in slices {
        let set = sets.union(slice.iter().map(|&i| values[i]));
        slice.iter().for_each(|&i| values[i] = set);
    }
}

/// Every element depends on what it reads.
fn reads(map: &Map, sets: &mut Sets, x: &[u32]) -> Vec<u32> {
    let mut values = Vec::with_capacity(map.len());
    map.for_each(|_, reads| values.push(sets.union(reads.map(|(place, _)| x[place]))));
    values
}

/// The empty set.
const EMPTY: u32 = 0;

/// Sets of numbers below `bits`, each a sorted list that is kept once, until they have more than `limit` members.
struct Sets {
    bits: usize,
    limit: usize,
    /// All lists, one after another, and where each ends.
    members: Vec<u32>,
    ends: Vec<usize>,
    /// By the hash of the list, the last set that has it, and for each set the one before with the same hash.
    known: HashMap<u64, u32>,
    before: Vec<u32>,
    /// The set being made, and for each number the last set that it was put into.
    scratch: Vec<u32>,
    marks: Vec<u32>,
    round: u32,
}

impl Sets {
    fn new(bits: usize, limit: usize) -> Self {
        let mut sets = Self {
            bits,
            limit,
            members: Vec::new(),
            ends: Vec::new(),
            known: HashMap::new(),
            before: Vec::new(),
            scratch: Vec::new(),
            marks: vec![0; bits],
            round: 0,
        };
        sets.intern();
        sets
    }

    /// The number of the sorted set in `scratch`; the empty one beyond the limit, where the result is not used.
    fn intern(&mut self) -> u32 {
        let mut hasher = DefaultHasher::new();
        self.scratch.hash(&mut hasher);
        let hash = hasher.finish();
        let mut candidate = self.known.get(&hash).copied();
        while let Some(id) = candidate {
            if self.list(id) == self.scratch {
                return id;
            }
            candidate = Some(self.before[id as usize]).filter(|&before| before != id);
        }
        if self.members.len() > self.limit {
            return EMPTY;
        }
        let id = u32::try_from(self.ends.len()).expect("fewer than 2^32 sets");
        self.before.push(self.known.insert(hash, id).unwrap_or(id));
        self.members.extend_from_slice(&self.scratch);
        self.ends.push(self.members.len());
        id
    }

    fn list(&self, set: u32) -> &[u32] {
        let start = set.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        &self.members[start..self.ends[set as usize]]
    }

    fn single(&mut self, element: usize) -> u32 {
        self.scratch.clear();
        self.scratch.push(u32::try_from(element).expect("fewer than 2^32 inputs"));
        self.intern()
    }

    fn union(&mut self, sets: impl IntoIterator<Item = u32>) -> u32 {
        let mut sets = sets.into_iter().filter(|&set| set != EMPTY);
        let Some(first) = sets.next() else { return EMPTY };
        if self.list(first).len() == self.bits {
            return first;
        }
        // Most unions are of one set with itself.
        let Some(mut last) = sets.find(|&set| set != first) else { return first };
        self.round += 1;
        self.scratch.clear();
        self.collect(first);
        self.collect(last);
        for set in sets {
            if set != last && set != first {
                self.collect(set);
                last = set;
            }
        }
        self.scratch.sort_unstable();
        self.intern()
    }

    /// Adds the members of a set to `scratch`, none twice.
    fn collect(&mut self, set: u32) {
        let start = set.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        for &member in &self.members[start..self.ends[set as usize]] {
            if std::mem::replace(&mut self.marks[member as usize], self.round) != self.round {
                self.scratch.push(member);
            }
        }
    }

    /// The matrices whose rows are these sets; `None` beyond the limit.
    fn into_structures<const N: usize>(self, rows: [Vec<u32>; N]) -> Option<[Structure; N]> {
        if self.members.len() > self.limit {
            return None;
        }
        let range = |set: u32| {
            let start = set.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
            (start, self.ends[set as usize] - start)
        };
        let members: Arc<[u32]> = self.members.into();
        Some(rows.map(|rows| Structure::new(members.clone(), rows.into_iter().map(range).collect(), self.bits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{Builder, Dim, MaxPool, Unary},
        tensor::Tensor,
    };

    fn entries(pattern: &Pattern) -> Vec<(usize, usize)> {
        pattern.rows.iter().copied().zip(pattern.columns.iter().copied()).collect()
    }

    #[test]
    fn relu_networks_have_no_second_derivative() {
        let mut b = Builder::new();
        let x = b.input("x", vec![Dim::Size(2)]);
        let w = b.parameter("w", Tensor::from_slice(&[3, 2], &[1.0; 6]));
        let z = b.linear(x, w, None).unwrap();
        let y = b.unary(Unary::Relu, z).unwrap();
        let graph = b.finish(&[("y", y)]).unwrap();
        assert!(hessian_pattern(&graph).is_empty());
        assert_eq!(entries(&jacobian_pattern(&graph)), [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    }

    #[test]
    fn independent_rows_stay_independent() {
        let mut b = Builder::new();
        let x = b.input("x", vec![Dim::Size(2), Dim::Size(2)]);
        let y = b.node(Op::Softmax { dim: 1 }, &[x]).unwrap();
        let graph = b.finish(&[("y", y)]).unwrap();
        assert_eq!(entries(&hessian_pattern(&graph)), [(0, 0), (1, 0), (1, 1), (2, 2), (3, 2), (3, 3)]);
        assert_eq!(jacobian_pattern(&graph).len(), 8);
    }

    #[test]
    fn products_couple_their_operands_only() {
        let mut b = Builder::new();
        let x = b.input("x", vec![Dim::Size(2)]);
        let z = b.input("z", vec![Dim::Size(2)]);
        let y = b.node(Op::Mul, &[x, z]).unwrap();
        let unused = b.unary(Unary::Tanh, x).unwrap();
        assert_eq!(b.ty(unused).rank(), 1);
        let graph = b.finish(&[("y", y)]).unwrap();
        assert_eq!(entries(&hessian_pattern(&graph)), [(2, 0), (3, 1)]);
    }

    #[test]
    fn pools_read_their_windows() {
        let mut b = Builder::new();
        let x = b.input("x", vec![Dim::Size(1), Dim::Size(4)]);
        let pool = MaxPool { kernel: vec![2], stride: vec![2], padding: vec![0], dilation: vec![1], ceil_mode: false };
        let y = b.node(Op::MaxPool(pool), &[x]).unwrap();
        let graph = b.finish(&[("y", y)]).unwrap();
        assert_eq!(entries(&jacobian_pattern(&graph)), [(0, 0), (0, 1), (1, 2), (1, 3)]);
    }
}
