//! Where values, tangents and adjoints stand in memory, and the buffers of one thread.

use super::kernels::Scratch;
use crate::tensor::{Real, pages};

/// The part of a slot's life in which its content is needed: from the step that writes it to the last that reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// The number of elements.
    pub size: usize,
    pub from: usize,
    pub to: usize,
}

/// The place of each slot in one piece of memory, in elements; several lanes (points, columns, rows) multiply it.
#[derive(Debug)]
pub(super) struct Layout {
    offsets: Vec<usize>,
    /// The elements of all.
    pub total: usize,
}

impl Layout {
    /// One slot after another.
    pub fn apart(lives: &[Life]) -> Self {
        let before = |total: &mut usize, life: &Life| {
            *total += life.size;
            Some(*total - life.size)
        };
        let offsets = lives.iter().scan(0, before).collect();
        Self { offsets, total: lives.iter().map(|life| life.size).sum() }
    }

    /// Slots that are never needed at the same time may share their place. The largest are placed first, each at the
    /// lowest place that is free all its life.
    pub fn shared(lives: &[Life]) -> Self {
        let mut order: Vec<usize> = (0..lives.len()).filter(|&slot| lives[slot].size > 0).collect();
        order.sort_by_key(|&slot| std::cmp::Reverse(lives[slot].size));
        let mut offsets = vec![0; lives.len()];
        let mut total = 0;
        // By offset.
        let mut placed: Vec<usize> = Vec::new();
        for slot in order {
            let life = lives[slot];
            let mut offset = 0;
            let meets = |other: &&usize| lives[**other].from <= life.to && life.from <= lives[**other].to;
            for &other in placed.iter().filter(meets) {
                if offset + life.size <= offsets[other] {
                    break;
                }
                offset = offset.max(offsets[other] + lives[other].size);
            }
            offsets[slot] = offset;
            total = total.max(offset + life.size);
            placed.insert(placed.partition_point(|&other| offsets[other] < offset), slot);
        }
        Self { offsets, total }
    }
}

/// The contents of slots, all but the one that is being written.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a, T> {
    offsets: &'a [usize],
    before: &'a [T],
    after: &'a [T],
    /// Where `after` begins.
    resume: usize,
}

impl<'a, T> Slots<'a, T> {
    /// All slots.
    pub fn new(layout: &'a Layout, memory: &'a [T]) -> Self {
        Self { offsets: &layout.offsets, before: memory, after: &[], resume: memory.len() }
    }

    /// A slot of `length` elements to write to, and the others that are alive then.
    pub fn writing(
        layout: &'a Layout,
        memory: &'a mut [T],
        slot: usize,
        lanes: usize,
        length: usize,
    ) -> (Self, &'a mut [T]) {
        let start = layout.offsets[slot] * lanes;
        let (before, rest) = memory.split_at_mut(start);
        let (out, after) = rest.split_at_mut(length);
        (Self { offsets: &layout.offsets, before, after, resume: start + length }, out)
    }

    /// The first `length` elements of a slot.
    pub fn get(&self, slot: usize, lanes: usize, length: usize) -> &'a [T] {
        let start = self.offsets[slot] * lanes;
        match start.checked_sub(self.resume) {
            Some(start) => &self.after[start..start + length],
            None => &self.before[start..start + length],
        }
    }
}

/// A buffer of at least this length, with any content.
pub(super) fn grown<T: Real>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.capacity() < length {
        *buffer = pages::vec(length);
    }
    if buffer.len() < length {
        buffer.resize(length, T::ZERO);
    }
    &mut buffer[..length]
}

/// The buffers of one thread. They grow when a kind of call is first made, and stay.
pub(super) struct Memory<T> {
    pub values: Vec<T>,
    /// How many points all `values` belong to; 0 if they are not kept.
    pub points: usize,
    pub pass: Pass<T>,
}

/// What a pass of derivatives needs.
pub(super) struct Pass<T> {
    pub tangents: Vec<T>,
    pub adjoints: Adjoints<T>,
    /// Of a curved step's operand, or adjoints of adjoints.
    pub second: Adjoints<T>,
    /// The Jacobians of a curved step's operands.
    pub operands: [Vec<T>; 2],
    pub curved: Vec<T>,
    /// Lower triangles of Hessians.
    pub hessian: Vec<T>,
    pub scratch: Scratch<T>,
    /// Blocks of the links of a chain.
    pub chain: Vec<T>,
}

/// Adjoints, and which slots a pass has written.
pub(super) struct Adjoints<T> {
    pub memory: Vec<T>,
    pub written: Vec<bool>,
}

impl<T: Real> Adjoints<T> {
    fn new(slots: usize) -> Self {
        Self { memory: Vec::new(), written: vec![false; slots] }
    }

    /// Forgets all, and makes room for so many elements.
    pub fn begin(&mut self, length: usize) {
        self.written.fill(false);
        grown(&mut self.memory, length);
    }
}

impl<T: Real> Memory<T> {
    /// For plans with so many slots; kernels may use so many threads.
    pub fn new(slots: usize, threads: usize) -> Self {
        Self {
            values: Vec::new(),
            points: 0,
            pass: Pass {
                tangents: Vec::new(),
                adjoints: Adjoints::new(slots),
                second: Adjoints::new(slots),
                operands: [Vec::new(), Vec::new()],
                curved: Vec::new(),
                hessian: Vec::new(),
                scratch: Scratch::new(threads),
                chain: Vec::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_share_places_but_not_while_both_are_needed() {
        let life = |size, from, to| Life { size, from, to };
        // A chain: each is read by the next step only.
        let chain = [life(4, 0, 1), life(9, 1, 2), life(3, 2, 3), life(9, 3, 4), life(1, 4, 5)];
        let layout = Layout::shared(&chain);
        assert_eq!(layout.total, 13);
        assert_eq!(Layout::apart(&chain).total, 26);
        for (i, a) in chain.iter().enumerate() {
            for (j, b) in chain.iter().enumerate().skip(i + 1) {
                let apart =
                    layout.offsets[i] + a.size <= layout.offsets[j] || layout.offsets[j] + b.size <= layout.offsets[i];
                assert!(apart || a.to < b.from, "{i} and {j}");
            }
        }
        let mut memory = vec![0; layout.total];
        let (slots, out) = Slots::writing(&layout, &mut memory, 2, 1, 3);
        out.fill(7);
        assert_eq!(slots.get(1, 1, 9), [0; 9]);
        assert_eq!(Slots::new(&layout, &memory).get(2, 1, 3), [7; 3]);
    }
}
