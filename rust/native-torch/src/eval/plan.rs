//! Compiles a graph to steps over numbered slots, and runs values and derivatives through them.

use super::{
    kernels::{At, Kernel, Operands, Place, Scratch, Write, kernel},
    matmul::{Left, Part, Sizes, matmul},
};
use crate::{
    Error, Result,
    graph::{Graph, Op, Source, ValueId},
    tensor::Real,
};

/// Elements of one kind of buffer (values, tangents, adjoints) that a pass may take, beyond what one column needs.
const BUDGET: usize = 1 << 22;

/// A graph with all sizes known, ready to run. It never changes; each thread brings a [`Memory`].
pub(super) struct Plan<T> {
    steps: Vec<Step<T>>,
    /// The number of elements of each slot.
    sizes: Vec<usize>,
    /// Slots of the inputs.
    inputs: Vec<usize>,
    outputs: Vec<Place<T>>,
    n: usize,
    m: usize,
    /// Positions of the first and the last step with curvature.
    curved: Option<(usize, usize)>,
    /// The step whose stored Jacobian is the first product in forward mode: the only reader of the only input.
    first: Option<usize>,
    /// The step whose stored Jacobian is the first product in reverse mode: it makes the only output.
    last: Option<usize>,
    /// Whether the Jacobian is cheaper in forward mode.
    forward: bool,
}

struct Step<T> {
    kernel: Box<dyn Kernel<T>>,
    operands: Vec<Place<T>>,
    result: usize,
}

impl<T> Step<T> {
    /// The operands that are computed: their positions and slots.
    fn active(&self) -> impl Iterator<Item = (usize, usize)> {
        self.operands.iter().enumerate().filter_map(|(operand, place)| match place {
            Place::Slot(slot, _) => Some((operand, *slot)),
            Place::Constant(_) => None,
        })
    }
}

/// A call that reads vectors and writes one.
#[derive(Clone, Copy)]
pub(super) enum Call {
    /// f at so many points.
    Value(usize),
    /// `J v` for `v`.
    Jvp,
    /// `J' u` for `u`.
    Vjp,
    /// The Hessian of `mu' f` times `v`, for `mu` and `v`.
    Hvp,
}

/// The buffers of one thread. They grow when a kind of call is first made, and stay.
pub(super) struct Memory<T> {
    values: Vec<Vec<T>>,
    tangents: Vec<Vec<T>>,
    adjoints: Vec<Vec<T>>,
    /// Adjoints of adjoints, for products with the Hessian.
    second: Vec<Vec<T>>,
    /// Which adjoints the current pass has written.
    written: Vec<bool>,
    /// The point that `values` belong to, if `known`.
    point: Vec<T>,
    known: bool,
    spare: Vec<T>,
    /// A unit vector and the Hessian's column that belongs to it.
    unit: Vec<T>,
    column: Vec<T>,
    hessian: Vec<T>,
    scratch: Scratch<T>,
}

/// A buffer of at least this length, with any content.
fn grown<T: Real>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::ZERO);
    }
    &mut buffer[..length]
}

impl<T: Real> Plan<T> {
    pub fn compile(graph: &Graph) -> Result<Self> {
        graph.check_concrete()?;
        let used = graph.used_values();
        let mut sizes = Vec::new();
        let mut places: Vec<Option<Place<T>>> = vec![None; graph.values().len()];
        for input in graph.inputs() {
            let ty = graph.ty(input.value);
            if !ty.dtype.is_float() {
                return Err(Error::unsupported(format!("input `{}` is {}", input.name, ty.dtype.name())));
            }
            places[input.value.index()] = Some(Place::Slot(sizes.len(), graph.numel(input.value)));
            sizes.push(graph.numel(input.value));
        }
        for (place, (value, used)) in places.iter_mut().zip(graph.values().iter().zip(&used)) {
            if let (Source::Parameter(p), true) = (value.source, used) {
                let parameter = &graph.parameters()[p];
                let numbers =
                    parameter.tensor.to_vec::<T>().map_err(|e| e.at(format!("parameter `{}`", parameter.name)))?;
                *place = Some(Place::Constant(numbers.into()));
            }
        }
        let mut scratch = Scratch::new();
        let mut steps: Vec<Step<T>> = Vec::new();
        for node in graph.nodes() {
            let result = node.outputs[0];
            if !used[result.index()] {
                continue;
            }
            let operands: Vec<Place<T>> =
                node.inputs.iter().map(|v| places[v.index()].clone().expect("nodes are sorted")).collect();
            if matches!(node.op, Op::Flatten { .. } | Op::Unflatten { .. }) {
                places[result.index()] = Some(operands[0].clone());
                continue;
            }
            let constants = |value: ValueId| match &places[value.index()] {
                Some(Place::Constant(numbers)) => Some(numbers.clone()),
                _ => None,
            };
            let kernel = kernel(graph, node, &constants)?;
            let size = graph.numel(result);
            let place = if operands.iter().all(|place| matches!(place, Place::Constant(_))) {
                let mut numbers = vec![T::ZERO; size];
                kernel.forward(Operands { slots: &[], places: &operands, points: 1 }, &mut numbers, &mut scratch);
                Place::Constant(numbers.into())
            } else {
                sizes.push(size);
                steps.push(Step { kernel, operands, result: sizes.len() - 1 });
                Place::Slot(sizes.len() - 1, size)
            };
            places[result.index()] = Some(place);
        }
        let outputs: Vec<Place<T>> = graph
            .outputs()
            .iter()
            .map(|output| places[output.value.index()].clone().expect("every value has a place"))
            .collect();
        let mut plan = Self {
            inputs: (0..graph.inputs().len()).collect(),
            n: graph.inputs().iter().map(|input| graph.numel(input.value)).sum(),
            m: graph.outputs().iter().map(|output| graph.numel(output.value)).sum(),
            curved: None,
            first: None,
            last: None,
            forward: false,
            steps,
            sizes,
            outputs,
        };
        plan.analyse();
        Ok(plan)
    }

    /// Finds where derivatives start, where they end, and which way is cheaper.
    fn analyse(&mut self) {
        let curved = |step: &Step<T>| !step.kernel.curved().is_empty();
        self.curved = self.steps.iter().position(curved).zip(self.steps.iter().rposition(curved));
        let stored = |step: &Step<T>| step.kernel.jacobian().is_some();
        if let [input] = self.inputs[..] {
            let reads = |step: &Step<T>| step.active().any(|(_, slot)| slot == input);
            let mut readers = (0..self.steps.len()).filter(|&i| reads(&self.steps[i]));
            let is_output = self.outputs.iter().any(|place| matches!(place, Place::Slot(slot, _) if *slot == input));
            if let (Some(reader), None, false) = (readers.next(), readers.next(), is_output) {
                self.first = Some(reader).filter(|&i| stored(&self.steps[i]));
            }
        }
        if let [Place::Slot(output, _)] = self.outputs[..] {
            let read = self.steps.iter().any(|step| step.active().any(|(_, slot)| slot == output));
            let maker = self.steps.iter().position(|step| step.result == output);
            self.last = maker.filter(|&i| !read && stored(&self.steps[i]));
        }
        let cost = |skipped: Option<usize>| -> f64 {
            let steps = self.steps.iter().enumerate().filter(|(i, _)| Some(*i) != skipped);
            steps.map(|(_, step)| step.kernel.cost()).sum()
        };
        self.forward = self.n as f64 * cost(self.first) < self.m as f64 * cost(self.last);
    }

    pub fn n(&self) -> usize {
        self.n
    }

    pub fn m(&self) -> usize {
        self.m
    }

    /// Whether the Hessian is zero whatever the point.
    pub fn is_flat(&self) -> bool {
        self.curved.is_none()
    }

    pub fn memory(&self) -> Memory<T> {
        let empty = || vec![Vec::new(); self.sizes.len()];
        Memory {
            values: empty(),
            tangents: empty(),
            adjoints: empty(),
            second: empty(),
            written: vec![false; self.sizes.len()],
            point: Vec::new(),
            known: false,
            spare: Vec::new(),
            unit: Vec::new(),
            column: Vec::new(),
            hessian: Vec::new(),
            scratch: Scratch::new(),
        }
    }

    /// The elements of all slots.
    fn total(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// How many columns or rows a pass takes at a time, of `wanted` ones.
    fn lanes(&self, wanted: usize) -> usize {
        let lanes = BUDGET / self.total().max(1);
        if lanes >= wanted { wanted } else { (lanes / 24 * 24).max(1) }
    }

    /// Computes all values at one point, unless they are there already.
    fn values(&self, memory: &mut Memory<T>, x: &[T]) {
        // Bit by bit, so that a NaN is the same point, too.
        let same = |(a, b): (&T, &T)| a.to_f64().to_bits() == b.to_f64().to_bits();
        if memory.known && memory.point.iter().zip(x).all(same) {
            return;
        }
        memory.point.clear();
        memory.point.extend_from_slice(x);
        let mut rest = x;
        for &slot in &self.inputs {
            let (head, tail) = rest.split_at(self.sizes[slot]);
            grown(&mut memory.values[slot], head.len()).copy_from_slice(head);
            rest = tail;
        }
        self.run(memory, 1);
        memory.known = true;
    }

    /// Computes all steps from the inputs' slots.
    fn run(&self, memory: &mut Memory<T>, points: usize) {
        for step in &self.steps {
            let mut result = std::mem::take(&mut memory.values[step.result]);
            let y = grown(&mut result, self.sizes[step.result] * points);
            let x = Operands { slots: &memory.values, places: &step.operands, points };
            step.kernel.forward(x, y, &mut memory.scratch);
            memory.values[step.result] = result;
        }
    }

    /// Runs a call on `x` and up to two more vectors.
    pub fn call(&self, memory: &mut Memory<T>, call: Call, [x, a, b]: [&[T]; 3], out: &mut [T]) {
        match call {
            Call::Value(points) => self.value(memory, points, x, out),
            Call::Jvp => self.jvp(memory, x, a, out),
            Call::Vjp => self.vjp(memory, x, a, out),
            Call::Hvp => self.hvp(memory, x, a, b, out),
        }
    }

    /// f at as many points as `x` holds: `x` is `[point, n]`, `y` is `[point, m]`.
    fn value(&self, memory: &mut Memory<T>, points: usize, x: &[T], y: &mut [T]) {
        if points == 1 {
            self.values(memory, x);
            let mut rest = y;
            for place in &self.outputs {
                let numbers = self.numbers(place, &memory.values);
                let (head, tail) = rest.split_at_mut(numbers.len());
                head.copy_from_slice(numbers);
                rest = tail;
            }
            return;
        }
        memory.known = false;
        let chunk = self.lanes(points).min(256);
        for first in (0..points).step_by(chunk) {
            let count = chunk.min(points - first);
            let mut offset = 0;
            for &slot in &self.inputs {
                let size = self.sizes[slot];
                let value = grown(&mut memory.values[slot], size * count);
                for p in 0..count {
                    let x = &x[(first + p) * self.n + offset..][..size];
                    x.iter().enumerate().for_each(|(i, &x)| value[i * count + p] = x);
                }
                offset += size;
            }
            self.run(memory, count);
            let mut offset = 0;
            for place in &self.outputs {
                let size = match place {
                    Place::Slot(_, size) => *size,
                    Place::Constant(numbers) => numbers.len(),
                };
                for p in 0..count {
                    let y = &mut y[(first + p) * self.m + offset..][..size];
                    match place {
                        Place::Slot(slot, _) => {
                            let value = &memory.values[*slot];
                            y.iter_mut().enumerate().for_each(|(i, y)| *y = value[i * count + p]);
                        }
                        Place::Constant(numbers) => y.copy_from_slice(numbers),
                    }
                }
                offset += size;
            }
        }
    }

    /// An output's elements at one point.
    fn numbers<'a>(&'a self, place: &'a Place<T>, values: &'a [Vec<T>]) -> &'a [T] {
        match place {
            Place::Slot(slot, size) => &values[*slot][..*size],
            Place::Constant(numbers) => numbers,
        }
    }

    fn at<'a>(&'a self, step: &'a Step<T>, values: &'a [Vec<T>]) -> At<'a, T> {
        let x = Operands { slots: values, places: &step.operands, points: 1 };
        At { x, y: &values[step.result][..self.sizes[step.result]] }
    }

    /// Pushes the tangents in the inputs' slots through the steps before `end`. With `seeds`, the tangents are the
    /// unit vectors of these inputs, and `first` need not read them.
    fn push(&self, memory: &mut Memory<T>, columns: usize, end: usize, seeds: Option<usize>) {
        for position in 0..end {
            self.push_step(memory, position, columns, seeds);
        }
    }

    fn push_step(&self, memory: &mut Memory<T>, position: usize, columns: usize, seeds: Option<usize>) {
        let step = &self.steps[position];
        let mut result = std::mem::take(&mut memory.tangents[step.result]);
        let out = grown(&mut result, self.sizes[step.result] * columns);
        match (seeds, step.kernel.jacobian()) {
            (Some(first), Some(jacobian)) if self.first == Some(position) => {
                let lines = jacobian.chunks_exact(self.n).zip(out.chunks_exact_mut(columns));
                lines.for_each(|(from, to)| to.copy_from_slice(&from[first..first + columns]));
            }
            _ => {
                let mut write = Write::Set;
                for (operand, slot) in step.active() {
                    let t = &memory.tangents[slot][..self.sizes[slot] * columns];
                    let at = self.at(step, &memory.values);
                    step.kernel.jvp(operand, at, columns, t, out, write, &mut memory.scratch);
                    write = Write::Add;
                }
            }
        }
        memory.tangents[step.result] = result;
    }

    /// Sets the inputs' tangents to the unit vectors `first .. first + columns`, one per column.
    fn seed_tangents(&self, memory: &mut Memory<T>, first: usize, columns: usize) {
        if self.first.is_some() {
            return;
        }
        let mut offset = 0;
        for &slot in &self.inputs {
            let size = self.sizes[slot];
            let t = grown(&mut memory.tangents[slot], size * columns);
            t.fill(T::ZERO);
            for column in 0..columns {
                if let Some(i) = (first + column).checked_sub(offset).filter(|&i| i < size) {
                    t[i * columns + column] = T::ONE;
                }
            }
            offset += size;
        }
    }

    /// Sets the outputs' adjoints: `fill` is called with each output's offset and its `[row, element]`, zeroed.
    fn seed_adjoints(&self, memory: &mut Memory<T>, rows: usize, mut fill: impl FnMut(usize, usize, &mut [T])) {
        memory.written.fill(false);
        let mut offset = 0;
        for place in &self.outputs {
            let size = match place {
                Place::Slot(slot, size) => {
                    // Two outputs may be the same value: their adjoints add up.
                    let mut seed = std::mem::take(&mut memory.spare);
                    let g = grown(&mut seed, size * rows);
                    g.fill(T::ZERO);
                    fill(offset, *size, g);
                    let adjoint = grown(&mut memory.adjoints[*slot], size * rows);
                    if memory.written[*slot] {
                        adjoint.iter_mut().zip(&*g).for_each(|(a, &g)| *a += g);
                    } else {
                        adjoint.copy_from_slice(g);
                    }
                    memory.written[*slot] = true;
                    memory.spare = seed;
                    *size
                }
                Place::Constant(numbers) => numbers.len(),
            };
            offset += size;
        }
    }

    /// Pulls the adjoints of the outputs back through the steps from the last to `begin`. With `seeds`, they are the
    /// unit vectors from there on, and `last` need not read them.
    fn pull(&self, memory: &mut Memory<T>, rows: usize, begin: usize, seeds: Option<usize>) {
        for (position, step) in self.steps.iter().enumerate().skip(begin).rev() {
            let seeded = seeds.filter(|_| self.last == Some(position));
            if seeded.is_none() && !memory.written[step.result] {
                continue;
            }
            for (operand, slot) in step.active() {
                let mut result = std::mem::take(&mut memory.adjoints[slot]);
                let out = grown(&mut result, self.sizes[slot] * rows);
                let write = if memory.written[slot] { Write::Add } else { Write::Set };
                match (seeded, step.kernel.jacobian()) {
                    (Some(first), Some(jacobian)) => {
                        let jacobian = &jacobian[first * self.sizes[slot]..][..out.len()];
                        debug_assert_eq!(write, Write::Set);
                        out.copy_from_slice(jacobian);
                    }
                    _ => {
                        let g = &memory.adjoints[step.result][..self.sizes[step.result] * rows];
                        let at = self.at(step, &memory.values);
                        step.kernel.vjp(operand, at, rows, g, out, write, &mut memory.scratch);
                    }
                }
                memory.written[slot] = true;
                memory.adjoints[slot] = result;
            }
        }
    }

    /// The inputs' adjoints of one row, one after another; zero where nothing depends on an input.
    fn input_adjoints(&self, memory: &Memory<T>, row: usize, mut emit: impl FnMut(usize, Option<&[T]>)) {
        for &slot in &self.inputs {
            let size = self.sizes[slot];
            emit(size, memory.written[slot].then(|| &memory.adjoints[slot][row * size..(row + 1) * size]));
        }
    }

    /// Whether a pass in reverse can start from the stored Jacobian of `last`.
    fn starts_stored(&self) -> bool {
        self.last.is_some_and(|i| self.steps[i].active().count() == 1)
    }

    /// The Jacobian at one point: `emit(row, column, entries)` is called with pieces of rows that cover it.
    pub fn jacobian(&self, memory: &mut Memory<T>, x: &[T], mut emit: impl FnMut(usize, usize, Entries<T>)) {
        self.values(memory, x);
        if self.forward {
            let lanes = self.lanes(self.n);
            for first in (0..self.n).step_by(lanes) {
                let columns = lanes.min(self.n - first);
                self.seed_tangents(memory, first, columns);
                self.push(memory, columns, self.steps.len(), Some(first));
                let mut row = 0;
                for place in &self.outputs {
                    match place {
                        Place::Slot(slot, size) => {
                            for line in memory.tangents[*slot][..size * columns].chunks_exact(columns) {
                                emit(row, first, Entries::Numbers(line));
                                row += 1;
                            }
                        }
                        Place::Constant(numbers) => {
                            (0..numbers.len()).for_each(|i| emit(row + i, first, Entries::Zeros(columns)));
                            row += numbers.len();
                        }
                    }
                }
            }
            return;
        }
        let lanes = self.lanes(self.m);
        for first in (0..self.m).step_by(lanes) {
            let rows = lanes.min(self.m - first);
            if self.starts_stored() {
                memory.written.fill(false);
                self.pull(memory, rows, 0, Some(first));
            } else {
                self.seed_adjoints(memory, rows, |offset, size, g| {
                    for row in 0..rows {
                        if let Some(i) = (first + row).checked_sub(offset).filter(|&i| i < size) {
                            g[row * size + i] = T::ONE;
                        }
                    }
                });
                self.pull(memory, rows, 0, None);
            }
            for row in 0..rows {
                let mut column = 0;
                self.input_adjoints(memory, row, |size, g| {
                    emit(first + row, column, g.map_or(Entries::Zeros(size), Entries::Numbers));
                    column += size;
                });
            }
        }
    }

    /// `J v` at one point.
    fn jvp(&self, memory: &mut Memory<T>, x: &[T], v: &[T], out: &mut [T]) {
        self.values(memory, x);
        self.tangents_of(memory, v);
        let mut rest = out;
        for place in &self.outputs {
            let (head, tail) = rest.split_at_mut(self.numbers(place, &memory.tangents).len());
            match place {
                Place::Slot(slot, size) => head.copy_from_slice(&memory.tangents[*slot][..*size]),
                Place::Constant(_) => head.fill(T::ZERO),
            }
            rest = tail;
        }
    }

    /// Pushes one direction through all steps.
    fn tangents_of(&self, memory: &mut Memory<T>, v: &[T]) {
        let mut rest = v;
        for &slot in &self.inputs {
            let (head, tail) = rest.split_at(self.sizes[slot]);
            grown(&mut memory.tangents[slot], head.len()).copy_from_slice(head);
            rest = tail;
        }
        self.push(memory, 1, self.steps.len(), None);
    }

    /// Pulls `u' f` back to the steps from `begin` on.
    fn adjoints_of(&self, memory: &mut Memory<T>, u: &[T], begin: usize) {
        self.seed_adjoints(memory, 1, |offset, size, g| g.copy_from_slice(&u[offset..offset + size]));
        self.pull(memory, 1, begin, None);
    }

    /// `J' u` at one point.
    fn vjp(&self, memory: &mut Memory<T>, x: &[T], u: &[T], out: &mut [T]) {
        self.values(memory, x);
        self.adjoints_of(memory, u, 0);
        let mut offset = 0;
        self.input_adjoints(memory, 0, |size, g| {
            let out = &mut out[offset..offset + size];
            match g {
                Some(g) => out.copy_from_slice(g),
                None => out.fill(T::ZERO),
            }
            offset += size;
        });
    }

    /// The Hessian of `mu' f` at one point: a row-major `n x n` matrix of which the lower triangle counts.
    ///
    /// It is the sum over the curved steps of G' D G, where G is the Jacobian of the step's operand (forward) and D
    /// its second derivative weighted by its adjoint (reverse). Where the tangents would not fit, it is computed
    /// column by column as products with unit vectors.
    pub fn hessian<'a>(&self, memory: &'a mut Memory<T>, x: &[T], mu: &[T]) -> Result<&'a [T]> {
        let n = self.n;
        let length = n.checked_mul(n).filter(|&length| length <= 1 << 31).ok_or_else(|| {
            Error::unsupported(format!(
                "a dense Hessian of {n} x {n} is larger than memory; use products with it (hvp)"
            ))
        })?;
        let mut hessian = std::mem::take(&mut memory.hessian);
        let h = grown(&mut hessian, length);
        h.fill(T::ZERO);
        if let Some((begin, end)) = self.curved {
            if n * self.total() <= 8 * BUDGET {
                self.values(memory, x);
                self.adjoints_of(memory, mu, begin + 1);
                self.seed_tangents(memory, 0, n);
                for position in 0..=end {
                    self.add_curvature(memory, position, h);
                    if position < end {
                        self.push_step(memory, position, n, Some(0));
                    }
                }
            } else {
                let mut unit = std::mem::take(&mut memory.unit);
                let mut column = std::mem::take(&mut memory.column);
                grown(&mut unit, n);
                grown(&mut column, n);
                for j in 0..n {
                    unit[j] = T::ONE;
                    self.hvp(memory, x, mu, &unit, &mut column);
                    unit[j] = T::ZERO;
                    (j..n).for_each(|i| h[i * n + j] = column[i]);
                }
                (memory.unit, memory.column) = (unit, column);
            }
        }
        memory.hessian = hessian;
        Ok(&memory.hessian[..length])
    }

    /// `h += G' D G` for one step, in the lower triangle.
    fn add_curvature(&self, memory: &mut Memory<T>, position: usize, h: &mut [T]) {
        let step = &self.steps[position];
        if !memory.written[step.result] {
            return;
        }
        let n = self.n;
        for &(a, b) in step.kernel.curved() {
            let (Place::Slot(left, size), Place::Slot(right, _)) = (&step.operands[a], &step.operands[b]) else {
                continue;
            };
            let mut spare = std::mem::take(&mut memory.spare);
            let curved = grown(&mut spare, size * n);
            let lambda = &memory.adjoints[step.result][..self.sizes[step.result]];
            let t = &memory.tangents[*right][..self.sizes[*right] * n];
            let at = self.at(step, &memory.values);
            step.kernel.curvature((a, b), at, lambda, n, t, curved, &mut memory.scratch);
            let g = Left::transposed(&memory.tangents[*left][..size * n], n);
            let sizes = Sizes { m: n, n, k: *size };
            matmul(&mut memory.scratch.panel, sizes, g, curved, n, h, n, Write::Add, Part::Lower);
            memory.spare = spare;
        }
    }

    /// The Hessian of `mu' f` times `v` at one point: forward over reverse.
    fn hvp(&self, memory: &mut Memory<T>, x: &[T], mu: &[T], v: &[T], out: &mut [T]) {
        let Some((_, end)) = self.curved else { return out.fill(T::ZERO) };
        self.values(memory, x);
        self.tangents_of(memory, v);
        self.adjoints_of(memory, mu, 0);
        // The first pass's flags say which adjoints there are; the second pass keeps its own by zeroing.
        for (slot, second) in memory.second.iter_mut().enumerate() {
            grown(second, self.sizes[slot]).fill(T::ZERO);
        }
        for step in self.steps[..=end].iter().rev().filter(|step| memory.written[step.result]) {
            let at = self.at(step, &memory.values);
            for (operand, slot) in step.active() {
                let mut result = std::mem::take(&mut memory.second[slot]);
                let g = &memory.second[step.result][..self.sizes[step.result]];
                let out = &mut result[..self.sizes[slot]];
                step.kernel.vjp(operand, at, 1, g, out, Write::Add, &mut memory.scratch);
                memory.second[slot] = result;
            }
            for &(a, b) in step.kernel.curved() {
                let (Place::Slot(left, size), Place::Slot(right, _)) = (&step.operands[a], &step.operands[b]) else {
                    continue;
                };
                let curved = grown(&mut memory.spare, *size);
                let lambda = &memory.adjoints[step.result][..self.sizes[step.result]];
                let t = &memory.tangents[*right][..self.sizes[*right]];
                step.kernel.curvature((a, b), at, lambda, 1, t, curved, &mut memory.scratch);
                memory.second[*left].iter_mut().zip(&*curved).for_each(|(s, &c)| *s += c);
            }
        }
        let mut rest = out;
        for &slot in &self.inputs {
            let (head, tail) = rest.split_at_mut(self.sizes[slot]);
            head.copy_from_slice(&memory.second[slot][..self.sizes[slot]]);
            rest = tail;
        }
    }
}

/// A piece of a row of a matrix.
pub(super) enum Entries<'a, T> {
    /// These numbers.
    Numbers(&'a [T]),
    /// So many zeros.
    Zeros(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, Unary};

    #[test]
    fn values_at_the_same_point_are_not_computed_again() {
        let mut b = Builder::new();
        let x = b.input("x", vec![Dim::Size(1)]);
        let y = b.unary(Unary::Tanh, x).unwrap();
        let plan = Plan::<f64>::compile(&b.finish(&[("y", y)]).unwrap()).unwrap();
        let mut memory = plan.memory();
        let value = |memory: &mut Memory<f64>, x: f64| {
            let mut y = [0.0];
            plan.value(memory, 1, &[x], &mut y);
            y[0]
        };
        assert_eq!(value(&mut memory, 0.5), Real::tanh::<true>(0.5));
        // A mark that a new computation would overwrite.
        memory.values[1][0] = 42.0;
        assert_eq!(value(&mut memory, 0.5), 42.0);
        plan.jacobian(&mut memory, &[0.5], |_, _, entries| {
            assert!(matches!(entries, Entries::Numbers(slope) if slope == [1.0 - 42.0 * 42.0]));
        });
        assert_ne!(value(&mut memory, -0.5), 42.0);
        // The sign of zero tells points apart.
        assert_eq!(value(&mut memory, 0.0).to_bits(), 0.0f64.to_bits());
        assert_eq!(value(&mut memory, -0.0).to_bits(), (-0.0f64).to_bits());
    }
}
