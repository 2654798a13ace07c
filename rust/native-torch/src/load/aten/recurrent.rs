//! Recurrent layers, step by step: LSTM (Hochreiter and Schmidhuber, 1997), GRU (Cho et al., 2014) and Elman's RNN.

use super::{
    call::Call,
    elementwise::{difference, product, sum},
    product::linear_of,
    shape::{concatenate, expand, select, slice, transpose, unsqueeze},
    value::{Item, Operand},
};
use crate::{
    Error, Result,
    graph::{Dim, Unary},
};

/// What a step computes.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Lstm,
    Gru,
    Tanh,
    Relu,
}

impl Kind {
    /// How many states a step keeps.
    fn states(self) -> usize {
        if self == Kind::Lstm { 2 } else { 1 }
    }
}

/// The parameters of one layer in one direction.
struct Cell {
    weights: [Operand; 2],
    biases: [Option<Operand>; 2],
    /// Of an LSTM with `proj_size`.
    projection: Option<Operand>,
}

pub(super) fn lstm(call: &mut Call) -> Result<Item> {
    let states = call.tensors("hx")?;
    run(call, Kind::Lstm, states)
}

pub(super) fn gru(call: &mut Call) -> Result<Item> {
    let state = call.tensor("hx")?;
    run(call, Kind::Gru, vec![state])
}

pub(super) fn rnn(call: &mut Call) -> Result<Item> {
    let state = call.tensor("hx")?;
    let kind = if call.operation == "rnn_relu" { Kind::Relu } else { Kind::Tanh };
    run(call, kind, vec![state])
}

/// One step of a layer: `lstm_cell`, `gru_cell`, `rnn_tanh_cell`, `rnn_relu_cell`.
pub(super) fn step(call: &mut Call) -> Result<Item> {
    let kind = match call.operation {
        "lstm_cell" => Kind::Lstm,
        "gru_cell" => Kind::Gru,
        "rnn_relu_cell" => Kind::Relu,
        _ => Kind::Tanh,
    };
    let states = if kind == Kind::Lstm { call.tensors("hx")? } else { vec![call.tensor("hx")?] };
    if states.len() != kind.states() {
        return Err(Error::format(format!("{} states for a step that keeps {}", states.len(), kind.states())));
    }
    let cell = Cell {
        weights: [call.tensor("w_ih")?, call.tensor("w_hh")?],
        biases: [call.optional_tensor("b_ih")?, call.optional_tensor("b_hh")?],
        projection: None,
    };
    let x = call.tensor("input")?;
    let x = unsqueeze(call.context, &x, 0)?;
    let (_, mut end) = layer_of(call, kind, &cell, &x, states, false)?;
    Ok(match kind {
        Kind::Lstm => Item::List(end.into_iter().map(Item::Tensor).collect()),
        _ => Item::Tensor(end.pop().ok_or_else(|| Error::internal("a state"))?),
    })
}

/// All layers; gives the outputs of the last one, and the last states of all.
fn run(call: &mut Call, kind: Kind, initial: Vec<Operand>) -> Result<Item> {
    if call.bool("train")? && call.float("dropout")? != 0.0 {
        return Err(Error::unsupported(
            "dropout in training mode, which gives other numbers in each call; call model.eval() before exporting",
        ));
    }
    let (layers, directions) = (call.int("num_layers")?, if call.bool("bidirectional")? { 2 } else { 1 });
    let layers = usize::try_from(layers).map_err(|_| Error::format("argument `num_layers` is negative"))?;
    let batch_first = call.bool("batch_first")?;
    let parameters = call.tensors("params")?;
    let each = parameters.len() / (layers * directions).max(1);
    let biases = if call.bool("has_biases")? { 2 } else { 0 };
    let projects = kind == Kind::Lstm && each == 3 + biases;
    if initial.len() != kind.states()
        || each * layers * directions != parameters.len()
        || (each != 2 + biases && !projects)
    {
        return Err(Error::format(format!(
            "{} parameters and {} states for {layers} layers",
            parameters.len(),
            initial.len()
        )));
    }
    let x = call.tensor("input")?;
    if call.context.rank(&x) != 3 {
        return Err(Error::unsupported("a recurrent layer over packed sequences"));
    }
    let mut x = if batch_first { transpose(call.context, &x, 0, 1)? } else { x };
    let mut last: Vec<Vec<Operand>> = vec![Vec::new(); kind.states()];
    for layer in 0..layers {
        let mut outputs = Vec::new();
        for direction in 0..directions {
            let at = layer * directions + direction;
            let own = &parameters[at * each..(at + 1) * each];
            let cell = Cell {
                weights: [own[0].clone(), own[1].clone()],
                biases: if biases == 2 { [Some(own[2].clone()), Some(own[3].clone())] } else { [None, None] },
                projection: projects.then(|| own[each - 1].clone()),
            };
            let start =
                initial.iter().map(|state| select(call.context, state, 0, at as i64)).collect::<Result<Vec<_>>>()?;
            let (output, end) = layer_of(call, kind, &cell, &x, start, direction == 1)?;
            outputs.push(output);
            last.iter_mut().zip(end).for_each(|(all, state)| all.push(state));
        }
        x = concatenate(call.context, &outputs, 2)?;
    }
    let y = if batch_first { transpose(call.context, &x, 0, 1)? } else { x };
    let mut results = vec![Item::Tensor(y)];
    for states in last {
        results.push(Item::Tensor(stack(call, &states)?));
    }
    Ok(Item::List(results))
}

fn stack(call: &mut Call, parts: &[Operand]) -> Result<Operand> {
    let parts = parts.iter().map(|part| unsqueeze(call.context, part, 0)).collect::<Result<Vec<_>>>()?;
    concatenate(call.context, &parts, 0)
}

/// One layer in one direction over `[step, batch, feature]`: its outputs, and its states behind the last step.
fn layer_of(
    call: &mut Call,
    kind: Kind,
    cell: &Cell,
    x: &Operand,
    mut states: Vec<Operand>,
    backwards: bool,
) -> Result<(Operand, Vec<Operand>)> {
    const LIMIT: usize = 1 << 16;
    let sizes = call.context.sizes(x, "a recurrent layer")?;
    if sizes[0] == 0 || sizes[0] > LIMIT {
        return Err(Error::unsupported(format!(
            "a recurrent layer over {} steps; at most {LIMIT} are unrolled",
            sizes[0]
        )));
    }
    // A state for all examples of the batch may stand for each.
    for state in &mut states {
        let width = call.context.shape(state).last().cloned();
        *state = expand(call.context, state, &[Some(Dim::Size(sizes[1])), width])?;
    }
    let inputs = linear_of(call, x, &cell.weights[0], cell.biases[0].as_ref())?;
    let mut outputs = vec![None; sizes[0]];
    for i in 0..sizes[0] {
        let step = if backwards { sizes[0] - 1 - i } else { i };
        let input = select(call.context, &inputs, 0, step as i64)?;
        let hidden = linear_of(call, &states[0], &cell.weights[1], cell.biases[1].as_ref())?;
        states = kind.step(call, &input, &hidden, &states)?;
        if let Some(projection) = &cell.projection {
            states[0] = linear_of(call, &states[0], projection, None)?;
        }
        outputs[step] = Some(states[0].clone());
    }
    let outputs: Vec<Operand> = outputs.into_iter().flatten().collect();
    Ok((stack(call, &outputs)?, states))
}

impl Kind {
    /// The next states, from what the input and the state before become under the weights.
    fn step(self, call: &mut Call, input: &Operand, hidden: &Operand, states: &[Operand]) -> Result<Vec<Operand>> {
        let gate = |call: &mut Call, x: &Operand, index: usize, count: usize| -> Result<Operand> {
            let width = call.context.sizes(x, "a recurrent layer")?[1] / count;
            slice(call.context, x, 1, index * width, (index + 1) * width, 1)
        };
        match self {
            Kind::Tanh | Kind::Relu => {
                let both = sum(call, input, hidden)?;
                let unary = if self == Kind::Relu { Unary::Relu } else { Unary::Tanh };
                Ok(vec![call.unary(unary, &both)?])
            }
            Kind::Lstm => {
                let both = sum(call, input, hidden)?;
                let functions = [Unary::Sigmoid, Unary::Sigmoid, Unary::Tanh, Unary::Sigmoid];
                let mut gates = Vec::new();
                for (index, function) in functions.into_iter().enumerate() {
                    let own = gate(call, &both, index, 4)?;
                    gates.push(call.unary(function, &own)?);
                }
                let kept = product(call, &gates[1], &states[1])?;
                let added = product(call, &gates[0], &gates[2])?;
                let cell = sum(call, &kept, &added)?;
                let shown = call.unary(Unary::Tanh, &cell)?;
                Ok(vec![product(call, &gates[3], &shown)?, cell])
            }
            Kind::Gru => {
                let mut gates = Vec::new();
                for index in 0..2 {
                    let (a, b) = (gate(call, input, index, 3)?, gate(call, hidden, index, 3)?);
                    let both = sum(call, &a, &b)?;
                    gates.push(call.unary(Unary::Sigmoid, &both)?);
                }
                let (new, old) = (gate(call, input, 2, 3)?, gate(call, hidden, 2, 3)?);
                let old = product(call, &gates[0], &old)?;
                let both = sum(call, &new, &old)?;
                let new = call.unary(Unary::Tanh, &both)?;
                let distance = difference(call, &states[0], &new)?;
                let moved = product(call, &gates[1], &distance)?;
                Ok(vec![sum(call, &new, &moved)?])
            }
        }
    }
}
