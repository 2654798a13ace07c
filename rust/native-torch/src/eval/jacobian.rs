//! The Jacobian: forward or reverse, whichever takes fewer operations, and with few directions where it is sparse.

use super::{
    kernels::Place,
    matrix::Matrices,
    memory::{Memory, Slots},
    plan::Plan,
};
use crate::{
    diff::{Colours, Structure},
    tensor::Real,
};

/// Which directions tell a matrix of derivatives.
pub(super) struct Seeding {
    /// Whether tangents are pushed forward; adjoints are pulled back otherwise.
    pub forward: bool,
    /// The columns (forward) or rows (in reverse) that share a direction; without them each has its own.
    pub colours: Option<Colours>,
}

impl<T: Real> Plan<T> {
    /// The cheapest way to a Jacobian of this structure.
    pub fn jacobian_seeding(&self, structure: &Structure) -> Seeding {
        let all = self.steps.len();
        let forward = self.n as f64 * self.cost(all, self.first);
        let reverse = self.m as f64 * self.cost(all, self.last);
        let mut seeding = Seeding { forward: forward < reverse, colours: None };
        if structure.is_full() {
            return seeding;
        }
        let each = self.cost(all, None).max(1.0);
        let mut best = forward.min(reverse);
        // With colours a pass reads more memory than it multiplies; a few saved directions do not pay.
        let limit = |best: f64| (0.9 * best / each) as usize;
        if let Some(colours) = Colours::of_columns(structure, limit(best).min(self.n)) {
            best = colours.count as f64 * each;
            seeding = Seeding { forward: true, colours: Some(colours) };
        }
        if let Some(colours) = Colours::of_rows(structure, limit(best).min(self.m)) {
            seeding = Seeding { forward: false, colours: Some(colours) };
        }
        seeding
    }

    /// How many directions tell the Jacobian.
    pub fn directions(&self, seeding: &Seeding) -> usize {
        match &seeding.colours {
            Some(colours) => colours.count,
            None if seeding.forward => self.n,
            None => self.m,
        }
    }

    /// The Jacobians at these points; `j` is zero.
    pub fn jacobian<N: Real>(
        &self,
        memory: &mut Memory<T>,
        points: usize,
        x: &[N],
        seeding: &Seeding,
        j: &mut Matrices<N>,
    ) {
        let count = self.directions(seeding);
        let layout = match (seeding.forward, &seeding.colours) {
            (true, None) => &self.layouts.tangents,
            (false, None) => &self.layouts.adjoints,
            _ => &self.layouts.passing,
        };
        let lanes = self.lanes(layout, points, count);
        for first in (0..count).step_by(lanes.max(1)) {
            let block = Block { first, count: lanes.min(count - first), colours: seeding.colours.as_ref() };
            if seeding.forward {
                self.jacobian_columns(memory, points, x, &block, j);
            } else {
                self.jacobian_rows(memory, points, x, &block, j);
            }
        }
    }

    fn jacobian_columns<N: Real>(
        &self,
        memory: &mut Memory<T>,
        points: usize,
        x: &[N],
        block: &Block,
        j: &mut Matrices<N>,
    ) {
        let (point, pass) = self.values(memory, points, x);
        let columns = block.count;
        let identity = block.colours.is_none().then_some(block.first);
        let layout = if identity.is_some() { &self.layouts.tangents } else { &self.layouts.passing };
        if identity.is_none() || self.first.is_none() {
            point.seed_columns(layout, &mut pass.tangents, columns, |column| block.lane(column));
        }
        point.push(layout, pass, columns, 0..self.steps.len(), self.first.zip(identity));
        let slots = Slots::new(layout, &pass.tangents);
        let mut offset = 0;
        for place in &self.outputs {
            let Place::Slot(slot, size) = place else {
                offset += place.size();
                continue;
            };
            let t = slots.get(*slot, points * columns, size * points * columns);
            for (i, line) in t.chunks_exact(columns).enumerate() {
                let (row, p) = (offset + i / points, i % points);
                match block.colours {
                    None => j.line(p, row, block.first, line, false),
                    Some(_) => j.pick(p, row, |column| block.lane(column).map(|lane| line[lane])),
                }
            }
            offset += size;
        }
    }

    fn jacobian_rows<N: Real>(
        &self,
        memory: &mut Memory<T>,
        points: usize,
        x: &[N],
        block: &Block,
        j: &mut Matrices<N>,
    ) {
        let (point, pass) = self.values(memory, points, x);
        let rows = block.count;
        let stored = self.last.filter(|&i| block.colours.is_none() && self.steps[i].active().count() == 1);
        let layout = if stored.is_some() { &self.layouts.adjoints } else { &self.layouts.passing };
        if stored.is_some() {
            pass.adjoints.begin(layout.total * points * rows);
        } else {
            point.seed_adjoints(layout, &mut pass.adjoints, rows, &mut pass.curved, |_, offset, g| {
                let size = g.len() / rows;
                for i in 0..size {
                    if let Some(lane) = block.lane(offset + i) {
                        g[lane * size + i] = T::ONE;
                    }
                }
            });
        }
        let stored = stored.map(|i| (i, block.first));
        point.pull(layout, &mut pass.adjoints, &mut pass.scratch, rows, 0..self.steps.len(), stored);
        point.input_adjoints(layout, &pass.adjoints, rows, |offset, size, g| {
            let Some(g) = g.filter(|_| size > 0) else { return };
            match block.colours {
                None => {
                    for (i, line) in g.chunks_exact(size).enumerate() {
                        j.line(i / rows, block.first + i % rows, offset, line, false);
                    }
                }
                Some(_) => {
                    for row in 0..self.m {
                        let Some(lane) = block.lane(row) else { continue };
                        for p in 0..points {
                            j.line(p, row, offset, &g[(p * rows + lane) * size..][..size], true);
                        }
                    }
                }
            }
        });
    }
}

/// Directions that a pass takes at a time.
struct Block<'a> {
    first: usize,
    count: usize,
    colours: Option<&'a Colours>,
}

impl Block<'_> {
    /// Which of the directions a column or row belongs to.
    fn lane(&self, of: usize) -> Option<usize> {
        let direction = self.colours.map_or(of, |colours| colours.of[of] as usize);
        direction.checked_sub(self.first).filter(|&lane| lane < self.count)
    }
}
