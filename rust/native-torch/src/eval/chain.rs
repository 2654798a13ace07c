//! Chains: element-wise steps that are computed part by part, while the result that they read is still in the cache.
//!
//! A chain is a head, which may be any operation, and links that follow it at once, each with an element of what the chain
//! has computed for each of its own. Nothing else reads what is between the head and the last link. Each step is still one
//! in passes for derivatives, which read its operands and its result: where values are kept for them, those of all links
//! are. Where only f is wanted and values pass, those between take a few blocks.

use std::ops::Range;

use super::{
    kernels::{Operands, Part, Place},
    memory::Slots,
    plan::Step,
};
use crate::tensor::Real;

/// Links of a chain at most: so many blocks stay in the second-level cache.
const LONGEST: usize = 8;
/// Bytes of a result that are computed at a time.
const BLOCK: usize = 16 << 10;

/// The steps in chains, most of them alone; outputs are read by the caller.
pub(super) fn chains<T: Real>(steps: &[Step<T>], outputs: &[Place<T>]) -> Vec<Range<usize>> {
    // Results are numbered in the order of the steps.
    let Some(inputs) = steps.first().map(|step| step.result) else { return Vec::new() };
    let mut last_reader = vec![0; steps.len()];
    let made = |place: &Place<T>| match place {
        Place::Slot(slot, _) => slot.checked_sub(inputs),
        Place::Constant(_) => None,
    };
    for (i, step) in steps.iter().enumerate() {
        step.operands.iter().filter_map(made).for_each(|maker| last_reader[maker] = i);
    }
    outputs.iter().filter_map(made).for_each(|maker| last_reader[maker] = usize::MAX);
    let mut found = Vec::new();
    let mut head = 0;
    while head < steps.len() {
        let (mut end, mut needed) = (head + 1, 0);
        for at in head + 1..steps.len().min(head + 1 + LONGEST) {
            let mut operands = steps[at].operands.iter().map(made).enumerate();
            let inside = |maker: &Option<usize>| maker.is_some_and(|maker| maker >= head);
            let joins = operands.clone().any(|(_, maker)| inside(&maker))
                && operands.all(|(i, maker)| !inside(&maker) || steps[at].kernel.is_elementwise(i));
            if !joins {
                break;
            }
            needed = needed.max(last_reader[at - 1]);
            if needed <= at {
                end = at + 1;
            }
        }
        found.push(head..end);
        head = end;
    }
    found
}

/// What follows a head that is being computed.
pub(super) struct Chain<'a, T> {
    links: &'a [Step<T>],
    /// The slot of the head's result; those of the links follow.
    first: usize,
    /// The values outside the chain.
    slots: Slots<'a, T>,
    points: usize,
    /// The links' results, or a block of each.
    results: &'a mut [T],
    kept: bool,
}

/// The elements of a block.
const fn block<T>() -> usize {
    BLOCK / size_of::<T>()
}

/// How far blocks are apart: not by a page, at which distance places share a set of the cache, and a read waits for a write.
const fn pitch<T>() -> usize {
    (BLOCK + 192) / size_of::<T>()
}

impl<'a, T: Real> Chain<'a, T> {
    /// The length of `results` for so many links whose values are not kept.
    pub fn room(links: usize) -> usize {
        links * pitch::<T>()
    }

    /// Whether so many elements are computed at once.
    pub fn is_block(length: usize) -> bool {
        length <= block::<T>()
    }

    /// For these links at so many points. Their results are kept, whole and one after another, or `results` has
    /// [`Chain::room`], and only the last link's is, in the place of the head's.
    pub fn new(
        links: &'a [Step<T>],
        first: usize,
        slots: Slots<'a, T>,
        points: usize,
        results: &'a mut [T],
        kept: bool,
    ) -> Self {
        Self { links, first, slots, points, results, kept }
    }

    /// Computes the head, where it is element-wise itself, and the links.
    pub fn lead(&mut self, head: &Step<T>, x: Operands<T>, y: &mut [T]) {
        let length = y.len();
        for at in (0..length).step_by(block::<T>()) {
            let part = at..length.min(at + block::<T>());
            let x = [0, 1].map(|operand| x.part(operand, head.kernel.is_elementwise(operand), &part));
            head.kernel.elements(at, self.points, x, &mut y[part.clone()]);
            self.follow_block(y, part);
        }
    }

    /// Computes the links for these elements of the head's result, which are there.
    pub fn follow(&mut self, y: &mut [T], part: Range<usize>) {
        for at in part.clone().step_by(block::<T>()) {
            self.follow_block(y, at..part.end.min(at + block::<T>()));
        }
    }

    fn follow_block(&mut self, y: &mut [T], part: Range<usize>) {
        let (pitch, own) = if self.kept { (y.len(), part.clone()) } else { (pitch::<T>(), 0..part.len()) };
        for (i, link) in self.links.iter().enumerate() {
            let (before, out) = self.results.split_at_mut(i * pitch);
            let outside = Operands { slots: self.slots, places: &link.operands, points: self.points };
            let x = [0, 1].map(|operand| match link.operands.get(operand) {
                Some(Place::Slot(slot, _)) if *slot == self.first => Part::Own(&y[part.clone()]),
                Some(Place::Slot(slot, _)) if *slot > self.first => {
                    Part::Own(&before[(slot - self.first - 1) * pitch..][own.clone()])
                }
                _ => outside.part(operand, link.kernel.is_elementwise(operand), &part),
            });
            link.kernel.elements(part.start, self.points, x, &mut out[own.clone()]);
        }
        if !self.kept {
            let last = (self.links.len() - 1) * pitch;
            y[part].copy_from_slice(&self.results[last..][own]);
        }
    }
}

/// Computes the links of a chain, where there is one, for these elements of the head's result.
pub(super) fn follow<T: Real>(chain: Option<&mut Chain<T>>, y: &mut [T], part: Range<usize>) {
    if let Some(chain) = chain {
        chain.follow(y, part);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        eval::plan::Plan,
        graph::{Builder, Dim, Op, Unary, ValueId},
        tensor::Tensor,
    };

    /// The chains of a graph from a vector of 4 elements to the given outputs, as nodes.
    fn chains(build: impl FnOnce(&mut Builder, ValueId) -> Vec<ValueId>) -> Vec<Vec<usize>> {
        let mut b = Builder::new();
        let x = b.input("x", vec![Dim::Size(4)]);
        let outputs = build(&mut b, x);
        let named: Vec<_> = outputs.into_iter().map(|y| ("y", y)).collect();
        Plan::<f64>::compile(&b.finish(&named).unwrap()).unwrap().chains().collect()
    }

    fn linear(b: &mut Builder, x: ValueId) -> ValueId {
        let weight = b.parameter("weight", Tensor::from_slice(&[4, 4], &[0.5; 16]));
        b.linear(x, weight, None).unwrap()
    }

    #[test]
    fn chains_are_what_nothing_else_reads() {
        // All in one: hardswish in pieces reads its head twice, and a residual that was there before.
        let found = chains(|b, x| {
            let h = linear(b, x);
            let shifted = b.unary(Unary::Affine { scale: 1.0, shift: 3.0 }, h).unwrap();
            let gate = b.unary(Unary::Clamp { min: 0.0, max: 6.0 }, shifted).unwrap();
            let h = b.node(Op::Mul, &[gate, h]).unwrap();
            let h = b.add(x, h).unwrap();
            vec![b.unary(Unary::Relu, h).unwrap()]
        });
        assert_eq!(found, [[0, 1, 2, 3, 4, 5]]);
        // What an output, or another layer, reads ends a chain; so does what is computed in between.
        let found = chains(|b, x| {
            let h = linear(b, x);
            let h = b.unary(Unary::Tanh, h).unwrap();
            let y = b.unary(Unary::Relu, h).unwrap();
            vec![h, y]
        });
        assert_eq!(found, [[0, 1]]);
        let found = chains(|b, x| {
            let a = linear(b, x);
            let c = linear(b, x);
            let a = b.unary(Unary::Tanh, a).unwrap();
            let c = b.unary(Unary::Tanh, c).unwrap();
            vec![b.add(a, c).unwrap()]
        });
        assert_eq!(found, [[3, 4]]);
        // An operand that is repeated is read at other places.
        let found = chains(|b, x| {
            let h = linear(b, x);
            let column = b.node(Op::Unflatten { dim: 0, sizes: vec![Some(4), Some(1)] }, &[h]).unwrap();
            let h = b.node(Op::Mul, &[column, h]).unwrap();
            vec![b.unary(Unary::Sin, h).unwrap()]
        });
        assert_eq!(found, [[2, 3]]);
    }
}
