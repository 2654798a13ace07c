//! Compiles a graph to steps over numbered slots, and decides where and which way derivatives go.

use std::ops::Range;

use super::{
    chain::chains,
    kernels::{
        Kernel, Operands, Place, Scratch, constant,
        contraction::{Contraction, contractions},
        kernel,
    },
    memory::{Layout, Life, Slots},
};
use crate::{
    Error, Result,
    graph::{Graph, Op, Source, ValueId},
    tensor::Real,
};

/// Bytes that the kernels of a plan may take for what they prepare once.
const ROOM: usize = 4 << 20;

/// A graph with all sizes known, ready to run. It never changes; each thread brings a [`Memory`].
pub(super) struct Plan<T> {
    pub steps: Vec<Step<T>>,
    /// The steps whose values are computed together, one range after another.
    pub chains: Vec<Range<usize>>,
    /// The number of elements of each slot.
    pub sizes: Vec<usize>,
    /// Slots of the inputs.
    pub inputs: Vec<usize>,
    pub outputs: Vec<Place<T>>,
    pub n: usize,
    pub m: usize,
    /// Positions of the first and the last step with curvature.
    pub curved: Option<(usize, usize)>,
    /// The step whose stored Jacobian is the first product in forward mode: the only reader of the only input.
    pub first: Option<usize>,
    /// The step whose stored Jacobian is the first product in reverse mode: it makes the only output.
    pub last: Option<usize>,
    /// Curved steps from this position on take the Jacobian of their operand from a pass in reverse.
    pub split: usize,
    pub layouts: Layouts,
}

pub(super) struct Step<T> {
    pub kernel: Box<dyn Kernel<T>>,
    pub operands: Vec<Place<T>>,
    pub result: usize,
    /// The graph's node that it computes.
    pub node: usize,
}

/// Layouts for the purposes of passes.
pub(super) struct Layouts {
    /// Everything stays.
    pub kept: Layout,
    /// Values only: what is no longer needed makes room, in the order of the chains. Of a chain, only the last result is
    /// there; it takes its place when the first is computed.
    pub values: Layout,
    /// What is no longer needed makes room; in the order of the steps or against it.
    pub passing: Layout,
    /// As `passing`, without the input's tangents that `first` need not read.
    pub tangents: Layout,
    /// As `passing`, without the output's adjoints that `last` need not read.
    pub adjoints: Layout,
    /// As `passing`, but the operands of curved steps stay.
    pub bent: Layout,
}

impl<T> Step<T> {
    /// The operands that are computed: their positions and slots.
    fn computed(&self) -> impl Iterator<Item = (usize, usize)> {
        self.operands.iter().enumerate().filter_map(|(operand, place)| match place {
            Place::Slot(slot, _) => Some((operand, *slot)),
            Place::Constant(_) => None,
        })
    }
}

impl<T: Real> Step<T> {
    /// The computed operands by which the result may have a derivative: their positions and slots.
    pub fn active(&self) -> impl Iterator<Item = (usize, usize)> {
        self.computed().filter(|&(operand, _)| self.kernel.is_smooth(operand))
    }

    /// The slots by which the second derivative is not zero: the pairs of operands that are both computed.
    pub fn curved_pairs(&self) -> impl Iterator<Item = ((usize, usize), [usize; 2])> {
        self.kernel.curved().iter().filter_map(|&(a, b)| match (&self.operands[a], &self.operands[b]) {
            (Place::Slot(left, _), Place::Slot(right, _)) => Some(((a, b), [*left, *right])),
            _ => None,
        })
    }
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
        let mut parameters = constant::Constants::default();
        for (place, (value, used)) in places.iter_mut().zip(graph.values().iter().zip(&used)) {
            if let (Source::Parameter(p), true) = (value.source, used) {
                let parameter = &graph.parameters()[p];
                let numbers =
                    parameters.read(&parameter.tensor).map_err(|e| e.at(format!("parameter `{}`", parameter.name)))?;
                *place = Some(Place::Constant(numbers));
            }
        }
        let mut scratch = Scratch::new(1);
        let mut room = ROOM / size_of::<T>();
        let mut steps: Vec<Step<T>> = Vec::new();
        let contractions = contractions(graph);
        let mut products: Vec<usize> = contractions.iter().flatten().copied().collect();
        products.sort_unstable();
        for (index, node) in graph.nodes().iter().enumerate() {
            let result = node.outputs[0];
            if !used[result.index()] || products.binary_search(&index).is_ok() {
                continue;
            }
            // A contraction reads what its product would.
            let product = contractions[index].map(|product| &graph.nodes()[product]);
            let operands: Vec<Place<T>> = product
                .unwrap_or(node)
                .inputs
                .iter()
                .map(|v| places[v.index()].clone().expect("nodes are sorted"))
                .collect();
            if matches!(node.op, Op::Flatten { .. } | Op::Unflatten { .. }) {
                places[result.index()] = Some(operands[0].clone());
                continue;
            }
            let constants = |value: ValueId| match &places[value.index()] {
                Some(Place::Constant(numbers)) => Some(numbers.clone()),
                _ => None,
            };
            let kernel: Box<dyn Kernel<T>> = match product.and_then(|product| Contraction::new(graph, product)) {
                Some(contraction) => Box::new(contraction),
                None => kernel(graph, node, &constants, &mut room)?,
            };
            let size = graph.numel(result);
            let place = if operands.iter().all(|place| matches!(place, Place::Constant(_))) {
                let mut numbers = vec![T::ZERO; size];
                let none = Layout::apart(&[]);
                let x = Operands { slots: Slots::new(&none, &[]), places: &operands, points: 1 };
                kernel.forward(x, &mut numbers, &mut scratch);
                if let Some(fault) = scratch.fault.take() {
                    return Err(fault);
                }
                Place::Constant(numbers.into())
            } else {
                sizes.push(size);
                steps.push(Step { kernel, operands, result: sizes.len() - 1, node: index });
                Place::Slot(sizes.len() - 1, size)
            };
            places[result.index()] = Some(place);
        }
        let outputs: Vec<Place<T>> = graph
            .outputs()
            .iter()
            .map(|output| places[output.value.index()].clone().expect("every value has a place"))
            .collect();
        let none = || Layout::apart(&[]);
        let mut plan = Self {
            inputs: (0..graph.inputs().len()).collect(),
            n: graph.inputs().iter().map(|input| graph.numel(input.value)).sum(),
            m: graph.outputs().iter().map(|output| graph.numel(output.value)).sum(),
            curved: None,
            first: None,
            last: None,
            split: 0,
            layouts: Layouts {
                kept: none(),
                values: none(),
                passing: none(),
                tangents: none(),
                adjoints: none(),
                bent: none(),
            },
            chains: chains(&steps, &outputs),
            steps,
            sizes,
            outputs,
        };
        plan.find_ends();
        plan.lay_out();
        plan.choose_split();
        Ok(plan)
    }

    /// Finds where derivatives start and where they end.
    fn find_ends(&mut self) {
        let curved = |step: &Step<T>| step.curved_pairs().next().is_some();
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
            let maker = self.maker(output);
            self.last = maker.filter(|&i| !read && stored(&self.steps[i]));
        }
    }

    /// The step that writes a slot; none for inputs.
    pub fn maker(&self, slot: usize) -> Option<usize> {
        // Results are numbered in the order of the steps.
        slot.checked_sub(self.inputs.len())
    }

    fn lay_out(&mut self) {
        let mut lives: Vec<Life> = self.sizes.iter().map(|&size| Life { size, from: 0, to: 0 }).collect();
        for (time, step) in self.steps.iter().enumerate().map(|(i, step)| (i + 1, step)) {
            (lives[step.result].from, lives[step.result].to) = (time, time);
            step.computed().for_each(|(_, slot)| lives[slot].to = time);
        }
        for place in &self.outputs {
            if let Place::Slot(slot, _) = place {
                lives[*slot].to = usize::MAX;
            }
        }
        self.layouts.kept = Layout::apart(&lives);
        self.layouts.values = Layout::shared(&self.lives_of_values(&lives));
        self.layouts.passing = Layout::shared(&lives);
        let without = |slot: Option<usize>| {
            let mut lives = lives.clone();
            slot.into_iter().for_each(|slot| lives[slot].size = 0);
            Layout::shared(&lives)
        };
        self.layouts.tangents = without(self.first.map(|_| self.inputs[0]));
        self.layouts.adjoints = without(self.last.map(|i| self.steps[i].result));
        for (_, [left, right]) in self.steps.iter().flat_map(Step::curved_pairs) {
            (lives[left].to, lives[right].to) = (usize::MAX, usize::MAX);
        }
        self.layouts.bent = Layout::shared(&lives);
    }

    /// The nodes of the chains of more than one step.
    pub fn chains(&self) -> impl Iterator<Item = Vec<usize>> {
        let chains = self.chains.iter().filter(|chain| chain.len() > 1);
        chains.map(|chain| self.steps[chain.clone()].iter().map(|step| step.node).collect())
    }

    /// The lives of values by chains, from those by steps.
    fn lives_of_values(&self, lives: &[Life]) -> Vec<Life> {
        let mut of_step: Vec<usize> = vec![0];
        self.chains.iter().enumerate().for_each(|(i, chain)| of_step.extend(chain.clone().map(|_| i + 1)));
        let time = |step: usize| of_step.get(step).copied().unwrap_or(usize::MAX);
        let mut lives: Vec<Life> =
            lives.iter().map(|life| Life { size: life.size, from: time(life.from), to: time(life.to) }).collect();
        for chain in &self.chains {
            self.steps[chain.start..chain.end - 1].iter().for_each(|step| lives[step.result].size = 0);
        }
        lives
    }

    /// Operations of a pass with one direction through the steps before `end`, without one of them.
    pub fn cost(&self, end: usize, skipped: Option<usize>) -> f64 {
        let steps = self.steps[..end].iter().enumerate().filter(|(i, _)| Some(*i) != skipped);
        steps.map(|(_, step)| step.kernel.cost()).sum()
    }

    /// Finds the cheapest way to the Jacobians of the curved steps' operands: n tangents forward up to some step, and a
    /// pass in reverse with as many rows as the operand has elements for each step behind it.
    fn choose_split(&mut self) {
        let Some((_, end)) = self.curved else { return };
        let curved: Vec<usize> = (0..=end).filter(|&i| self.steps[i].curved_pairs().next().is_some()).collect();
        let n = self.n as f64;
        let (mut best, mut reverse) = (f64::INFINITY, 0.0);
        // From the last curved step to the first, each one joins those in reverse.
        for &position in curved.iter().rev() {
            let total = n * self.cost(position, self.first) + reverse;
            if total <= best {
                (best, self.split) = (total, position + 1);
            }
            reverse += self.cost_reverse(position);
        }
        if reverse < best {
            self.split = 0;
        }
    }

    /// Operations for the Jacobians of a curved step's operands by passes in reverse.
    pub fn cost_reverse(&self, position: usize) -> f64 {
        let mut slots: Vec<usize> = self.steps[position].curved_pairs().flat_map(|(_, slots)| slots).collect();
        slots.sort_unstable();
        slots.dedup();
        slots.iter().map(|&slot| self.sizes[slot] as f64 * self.cost_behind(slot)).sum()
    }

    /// Operations to pull one row back from a slot to the inputs.
    fn cost_behind(&self, slot: usize) -> f64 {
        let mut needed = vec![false; self.sizes.len()];
        needed[slot] = true;
        let mut cost = 0.0;
        for step in self.steps.iter().rev().filter(|step| step.result <= slot) {
            if needed[step.result] {
                step.active().for_each(|(_, operand)| needed[operand] = true);
                let stored = step.result == slot && step.kernel.jacobian().is_some();
                cost += if stored { 0.0 } else { step.kernel.cost() };
            }
        }
        cost
    }

    /// Operations for the dense Hessian: the Jacobians of the curved steps' operands, and half of G'DG.
    pub fn hessian_cost(&self) -> f64 {
        let n = self.n as f64;
        let mut cost = 0.0;
        let mut forward = 0;
        for (position, step) in self.steps.iter().enumerate() {
            for (_, [left, right]) in step.curved_pairs() {
                cost += n * n * self.sizes[left] as f64;
                if position < self.split {
                    forward = position;
                } else {
                    cost += self.sizes[right] as f64 * self.cost_behind(right);
                }
            }
        }
        cost + n * self.cost(forward, self.first)
    }
}
