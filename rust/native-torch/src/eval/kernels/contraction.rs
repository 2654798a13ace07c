//! Products of matrices of which both are computed, in batches: what a graph writes as a sum over the last dimension of an
//! element-wise product, without the terms of the sum in memory.

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{
    eval::matmul::{Left, Part, Sizes, matmul},
    graph::{Broadcast, Graph, Node, Op, Source},
    tensor::Real,
};

/// `y[b, i, j] = sum over k of a[b, i, k] c[b, j, k]`.
pub(in crate::eval) struct Contraction {
    m: usize,
    n: usize,
    k: usize,
    /// For each batch, where the matrices of the operands begin.
    starts: Vec<[usize; 2]>,
    /// The numbers of elements of the operands.
    sizes: [usize; 2],
}

/// For each node, the product that it sums and that nothing else reads, if the two are one contraction.
pub(in crate::eval) fn contractions(graph: &Graph) -> Vec<Option<usize>> {
    let mut readers = vec![0usize; graph.values().len()];
    let read = graph.nodes().iter().flat_map(|node| &node.inputs).chain(graph.outputs().iter().map(|o| &o.value));
    read.for_each(|value| readers[value.index()] += 1);
    let product = |node: &Node| {
        let Op::Sum { dims, keepdim: false } = &node.op else { return None };
        let value = node.inputs[0];
        let Source::Node { node, .. } = graph.values()[value.index()].source else { return None };
        let product = &graph.nodes()[node];
        let rank = graph.ty(value).rank();
        let fits = product.op == Op::Mul && readers[value.index()] == 1 && rank >= 3 && *dims == [rank - 1];
        (fits && Contraction::new(graph, product).is_some()).then_some(node)
    };
    graph.nodes().iter().map(product).collect()
}

impl Contraction {
    /// Of an element-wise product of `[.., m, 1, k]` and `[.., 1, n, k]`.
    pub fn new(graph: &Graph, product: &Node) -> Option<Self> {
        let result = graph.sizes(product.outputs[0]);
        let (leading, &[m, n, k]) = result.split_last_chunk::<3>()?;
        let shapes = [0, 1].map(|operand| {
            let sizes = graph.sizes(product.inputs[operand]);
            [vec![1; result.len() - sizes.len()], sizes].concat()
        });
        let last = |operand: usize| &shapes[operand][leading.len()..];
        if last(0) != [m, 1, k] || last(1) != [1, n, k] {
            return None;
        }
        let places = [0, 1].map(|operand: usize| Broadcast::new(&shapes[operand][..leading.len()], leading));
        let starts = (0..leading.iter().product()).map(|b| [places[0].at(b) * m * k, places[1].at(b) * n * k]);
        let sizes = [0, 1].map(|operand: usize| shapes[operand].iter().product());
        Some(Self { m, n, k, starts: starts.collect(), sizes })
    }

    /// The number of elements of the result.
    fn size(&self) -> usize {
        self.starts.len() * self.m * self.n
    }

    /// The rows of an operand's matrices.
    fn rows(&self, operand: usize) -> usize {
        if operand == 0 { self.m } else { self.n }
    }

    /// A matrix of an operand at one point, gathered into `buffer` where points stand side by side.
    fn matrix<'a, T: Real>(
        &self,
        x: Operands<'a, T>,
        operand: usize,
        start: usize,
        point: usize,
        buffer: &'a mut [T],
    ) -> &'a [T] {
        let length = self.rows(operand) * self.k;
        let (numbers, constant) = x.get(operand);
        if constant || x.points == 1 {
            return &numbers[start..start + length];
        }
        let buffer = &mut buffer[..length];
        let numbers = numbers[start * x.points + point..].iter().step_by(x.points);
        buffer.iter_mut().zip(numbers).for_each(|(to, &from)| *to = from);
        buffer
    }
}

impl<T: Real> Kernel<T> for Contraction {
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        let (&Self { m, n, k, .. }, points) = (self, x.points);
        let (panel, work) = s.take((m + 2 * n) * k + m * n);
        let (a_room, work) = work.split_at_mut(m * k);
        let (c_room, work) = work.split_at_mut(n * k);
        let (turned, result) = work.split_at_mut(n * k);
        for (b, starts) in self.starts.iter().enumerate() {
            for p in 0..points {
                let a = self.matrix(x, 0, starts[0], p, a_room);
                let c = self.matrix(x, 1, starts[1], p, c_room);
                for (j, row) in c.chunks_exact(k.max(1)).enumerate() {
                    row.iter().enumerate().for_each(|(at, &v)| turned[at * n + j] = v);
                }
                let sizes = Sizes { m, n, k };
                if points == 1 {
                    let y = &mut y[b * m * n..(b + 1) * m * n];
                    matmul(panel, sizes, Left::rows(a, k), turned, n, y, n, Write::Set, Part::All);
                } else {
                    let result = &mut result[..m * n];
                    matmul(panel, sizes, Left::rows(a, k), turned, n, result, n, Write::Set, Part::All);
                    let y = y[b * m * n * points + p..].iter_mut().step_by(points);
                    y.zip(result).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    fn jvp(&self, operand: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let (&Self { m, n, k, .. }, points) = (self, at.points());
        let line = points * columns;
        let (panel, room) = s.take(m.max(n) * k);
        for (b, starts) in self.starts.iter().enumerate() {
            for p in 0..points {
                let other = self.matrix(at.x, 1 - operand, starts[1 - operand], p, room);
                // Rows of the operand's tangent meet all rows of the other matrix.
                for row in 0..self.rows(operand) {
                    let t = &t[(starts[operand] + row * k) * line + p * columns..];
                    let (first, step) = if operand == 0 { (row * n, 1) } else { (row, n) };
                    let out = &mut out[(b * m * n + first) * line + p * columns..];
                    let sizes = Sizes { m: self.rows(1 - operand), n: columns, k };
                    matmul(panel, sizes, Left::rows(other, k), t, line, out, step * line, write, Part::All);
                }
            }
        }
    }

    fn vjp(&self, operand: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let (&Self { m, n, k, .. }, points) = (self, at.points());
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        let (panel, room) = s.take(m.max(n) * k);
        for (b, starts) in self.starts.iter().enumerate() {
            for p in 0..points {
                let other = self.matrix(at.x, 1 - operand, starts[1 - operand], p, room);
                for row in p * rows..(p + 1) * rows {
                    let g = &g[row * self.size() + b * m * n..][..m * n];
                    let left = if operand == 0 { Left::rows(g, n) } else { Left::transposed(g, n) };
                    let out = &mut out[row * self.sizes[operand] + starts[operand]..][..self.rows(operand) * k];
                    let sizes = Sizes { m: self.rows(operand), n: k, k: self.rows(1 - operand) };
                    matmul(panel, sizes, left, other, k, out, k, Write::Add, Part::All);
                }
            }
        }
    }

    fn curved(&self) -> &'static [(usize, usize)] {
        &[(0, 1), (1, 0)]
    }

    fn curvature(
        &self,
        pair: (usize, usize),
        at: At<T>,
        lambda: &[T],
        columns: usize,
        t: &[T],
        out: &mut [T],
        s: &mut Scratch<T>,
    ) {
        let (&Self { m, n, k, .. }, points) = (self, at.points());
        let line = points * columns;
        let (panel, _) = s.take(0);
        out.fill(T::ZERO);
        for (b, starts) in self.starts.iter().enumerate() {
            for p in 0..points {
                let lambda = &lambda[p * self.size() + b * m * n..][..m * n];
                let left = if pair.0 == 0 { Left::rows(lambda, n) } else { Left::transposed(lambda, n) };
                let sizes = Sizes { m: self.rows(pair.0), n: columns, k: self.rows(pair.1) };
                let (t, out) = (&t[starts[pair.1] * line..], &mut out[starts[pair.0] * line..]);
                if points == 1 {
                    let sizes = Sizes { n: k * columns, ..sizes };
                    matmul(panel, sizes, left, t, k * columns, out, k * columns, Write::Add, Part::All);
                    continue;
                }
                for at in 0..k {
                    let place = at * line + p * columns;
                    matmul(
                        panel,
                        sizes,
                        left,
                        &t[place..],
                        k * line,
                        &mut out[place..],
                        k * line,
                        Write::Add,
                        Part::All,
                    );
                }
            }
        }
    }

    fn cost(&self) -> f64 {
        (self.size() * self.k) as f64
    }
}
