//! Branches and loops whose conditions are values of the input: both sides are run, and become graphs within the graph.

use std::collections::HashMap;

use super::{
    super::aten::{self, Branch, Given, Item, Operand},
    code::Step,
    machine::Machine,
    value::{DEPTH, Instance, Value},
};
use crate::{Error, Result};

/// Branches that depend on values may stand this deep in each other.
const NESTED: usize = 32;

/// What a variable holds at the end of a branch, apart from the interpreter's memory.
#[derive(Clone)]
enum Piece {
    /// A tensor or a number, and the number as a value.
    Leaf(Operand, Option<Value>),
    List(Vec<Piece>),
    Tuple(Vec<Piece>, Option<std::sync::Arc<str>>),
    /// What is no tensor and has none.
    Other(Value),
}

/// A piece whose tensors are results of a branch.
enum Merged {
    Result(usize),
    List(Vec<Merged>),
    Tuple(Vec<Merged>, Option<std::sync::Arc<str>>),
    Other(Value),
}

/// A branch, and by the number of each variable that it changes what that holds, with the place of its first tensor among
/// the branch's results.
struct Side {
    branch: Branch,
    holds: HashMap<usize, (Piece, usize)>,
}

/// What is there before a branch.
struct Before {
    slots: Vec<Value>,
    lists: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    instances: Vec<Instance>,
    attributes: usize,
    height: usize,
}

impl Machine<'_> {
    /// A condition that is computed.
    pub(super) fn computed(&self, condition: &Value) -> Option<Operand> {
        let Value::Tensor(cell) = condition else { return None };
        Some(self.interpreter.operand(*cell)).filter(|operand| operand.constant().is_none()).cloned()
    }

    /// Goes through the branch or the loop that asks for a computed condition in the step before the current one, and
    /// that goes on at `to` where it does not hold.
    pub(super) fn decide(&mut self, condition: &Operand, to: usize) -> Result<()> {
        if self.nesting == NESTED {
            return Err(Error::unsupported(format!("branches that depend on values, nested deeper than {NESTED}")));
        }
        self.nesting += 1;
        let frame = self.frame()?;
        let (asks, last) = (frame.at - 1, frame.function.steps.get(to - 1).cloned());
        let done = match last {
            Some(Step::Jump(start)) if start <= asks => self.turns(start, asks, to),
            Some(Step::Jump(end)) if end > to => self.branches(condition, [(asks + 1, to - 1), (to, end)], end),
            _ => self.branches(condition, [(asks + 1, to), (to, to)], to),
        };
        self.nesting -= 1;
        done
    }

    fn before(&mut self) -> Result<Before> {
        let height = self.height();
        let (lists, dicts, attributes) = (self.heap.lists.clone(), self.heap.dicts.clone(), self.attributes.len());
        let instances = self.heap.instances.clone();
        Ok(Before { slots: self.frame()?.slots.clone(), lists, dicts, instances, attributes, height })
    }

    /// Refuses branches that leave traces in lists and attributes of others.
    fn check_traces(&self, before: &Before) -> Result<()> {
        let same = |a: &[Value], b: &[Value]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b));
        let lists = self.heap.lists.iter().zip(&before.lists).all(|(a, b)| same(a, b));
        let instances = self.heap.instances.iter().zip(&before.instances).all(|(a, b)| {
            a.attributes.len() == b.attributes.len()
                && a.attributes.iter().zip(&b.attributes).all(|(a, b)| is_same(&a.1, &b.1))
        });
        let entry = |(a, b): (&(Value, Value), &(Value, Value))| is_same(&a.1, &b.1);
        let dict = |a: &[(Value, Value)], b: &[(Value, Value)]| a.len() == b.len() && a.iter().zip(b).all(entry);
        let dicts = self.heap.dicts.iter().zip(&before.dicts).all(|(a, b)| dict(a, b));
        if !lists || !instances || !dicts || self.attributes.len() != before.attributes {
            return Err(Error::unsupported("a list, dict or attribute is changed in a branch that depends on values"));
        }
        if self.height() != before.height {
            return Err(Error::internal("a branch leaves values on the stack"));
        }
        Ok(())
    }

    /// Both branches, of which the condition takes one; goes on at `end`.
    fn branches(&mut self, condition: &Operand, parts: [(usize, usize); 2], end: usize) -> Result<()> {
        let before = self.before()?;
        let mut sides: Vec<Side> = Vec::new();
        let mut slots: Vec<usize> = Vec::new();
        for (from, stop) in parts {
            let (begun, records) = (self.interpreter.begin(), self.records.clone());
            self.run_part(from, stop)?;
            self.check_traces(&before)?;
            let variables = self.frame()?.slots.clone();
            let (mut holds, mut results) = (HashMap::new(), Vec::new());
            for (slot, value) in variables.iter().enumerate() {
                let written =
                    |value: &Value| matches!(value, Value::Tensor(cell) if self.interpreter.is_written(&begun, *cell));
                if !is_same(value, &before.slots[slot]) {
                    slots.push(slot);
                } else if !self.heap.any(value, written)? {
                    continue;
                }
                let piece = self.piece(value, DEPTH)?;
                let first = results.len();
                leaves(&piece, &mut results);
                holds.insert(slot, (piece, first));
            }
            sides.push(Side { branch: self.interpreter.end(begun, &results)?, holds });
            self.records = records;
            self.frame()?.slots.clone_from(&before.slots);
        }
        let [mut taken, mut other]: [Side; 2] = sides.try_into().map_err(|_| Error::internal("two branches"))?;
        slots.sort_unstable();
        slots.dedup();
        let (mut merged, mut results) = (Vec::new(), [Vec::new(), Vec::new()]);
        for slot in slots {
            let mut sides = Vec::new();
            for Side { branch, holds } in [&mut taken, &mut other] {
                sides.push(match holds.get(&slot) {
                    Some((piece, first)) => (piece.clone(), given(branch, piece, *first)),
                    None => {
                        let piece = self.piece(&before.slots[slot], DEPTH)?;
                        let mut operands = Vec::new();
                        leaves(&piece, &mut operands);
                        let given = operands.iter().map(|operand| self.interpreter.unchanged(operand));
                        (piece, given.collect::<Result<Vec<_>>>()?)
                    }
                });
            }
            let [(a, mut own), (b, mut others)]: [_; 2] =
                sides.try_into().map_err(|_| Error::internal("two branches"))?;
            if let Some(value) = self.merge(&a, &b, &mut 0, results[0].len()) {
                results[0].append(&mut own);
                results[1].append(&mut others);
                merged.push((slot, value));
            } else {
                merged.push((slot, Merged::Other(Value::Unset)));
            }
        }
        let [own, others] = results;
        *taken.branch.results() = own;
        *other.branch.results() = others;
        let results = self.interpreter.choose(condition, [taken.branch, other.branch])?;
        let cells: Vec<Item> = results.into_iter().map(|operand| self.interpreter.cell(operand)).collect();
        for (slot, value) in merged {
            let value = self.restore(value, &cells)?;
            self.frame()?.slots[slot] = value;
        }
        self.frame()?.at = end;
        Ok(())
    }

    /// A loop from its condition to behind it.
    fn turns(&mut self, start: usize, asks: usize, end: usize) -> Result<()> {
        let before = self.before()?;
        // The variables that a turn changes are carried on to the next.
        let mut carried: Vec<usize> = Vec::new();
        loop {
            let operands: Vec<Operand> =
                carried.iter().map(|&slot| self.leaf(&before.slots[slot])).collect::<Result<_>>()?;
            let state = self.interpreter.carry(&operands)?;
            let (mut branches, mut more) = (Vec::new(), Vec::new());
            for is_condition in [true, false] {
                let records = self.records.clone();
                let (begun, given) = self.interpreter.begin_turn(&state)?;
                for (&slot, operand) in carried.iter().zip(given) {
                    let cell = self.interpreter.cell(operand);
                    self.frame()?.slots[slot] = self.value_of(cell)?;
                }
                let results = if is_condition {
                    self.run_part(start, asks)?;
                    let condition = self.pop()?;
                    vec![self.leaf(&condition)?]
                } else {
                    self.run_part(asks + 1, end - 1)?;
                    let slots = self.frame()?.slots.clone();
                    let changes = |slot: &usize| {
                        let old = &before.slots[*slot];
                        !matches!(old, Value::Unset) && !is_same(old, &slots[*slot]) && !carried.contains(slot)
                    };
                    more = (0..slots.len()).filter(changes).collect();
                    carried.iter().map(|&slot| self.leaf(&slots[slot])).collect::<Result<_>>()?
                };
                self.check_traces(&before)?;
                branches.push(self.interpreter.end(begun, &results)?);
                self.records = records;
                self.frame()?.slots.clone_from(&before.slots);
            }
            if !more.is_empty() {
                carried.append(&mut more);
                continue;
            }
            let results = self.interpreter.close(&state, &branches[0], &branches[1])?;
            for (slot, operand) in carried.into_iter().zip(results) {
                let cell = self.interpreter.cell(operand);
                self.frame()?.slots[slot] = self.value_of(cell)?;
            }
            self.frame()?.at = end;
            return Ok(());
        }
    }

    /// A variable as a tensor.
    fn leaf(&self, value: &Value) -> Result<Operand> {
        match self.piece(value, DEPTH)? {
            Piece::Leaf(operand, _) => Ok(operand),
            _ => Err(Error::unsupported(format!(
                "a loop whose number of turns depends on values changes {}; tensors and numbers are carried",
                value.kind()
            ))),
        }
    }

    fn piece(&self, value: &Value, depth: usize) -> Result<Piece> {
        let elements = |elements: &[Value]| -> Result<Vec<Piece>> {
            let depth = depth
                .checked_sub(1)
                .ok_or_else(|| Error::unsupported(format!("lists nested deeper than {DEPTH} levels")))?;
            elements.iter().map(|value| self.piece(value, depth)).collect()
        };
        Ok(match value {
            Value::Tensor(cell) => Piece::Leaf(self.interpreter.operand(*cell).clone(), None),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                let number = aten::number(&self.item("", value, 1)?).ok_or_else(|| Error::internal("a number"))?;
                Piece::Leaf(number, Some(value.clone()))
            }
            Value::List(at) => Piece::List(elements(&self.heap.lists[*at])?),
            Value::Tuple(at) => {
                let tuple = &self.heap.tuples[*at];
                Piece::Tuple(elements(&tuple.elements)?, tuple.class.clone())
            }
            other => Piece::Other(other.clone()),
        })
    }

    /// What a variable holds behind two branches; `None` where they leave different kinds, so that it is not used.
    fn merge(&self, a: &Piece, b: &Piece, at: &mut usize, first: usize) -> Option<Merged> {
        let each = |a: &[Piece], b: &[Piece], at: &mut usize| -> Option<Vec<Merged>> {
            (a.len() == b.len()).then_some(())?;
            a.iter().zip(b).map(|(a, b)| self.merge(a, b, at, first)).collect()
        };
        match (a, b) {
            (Piece::Leaf(_, x), Piece::Leaf(_, y)) => {
                *at += 1;
                match (x, y) {
                    (Some(x), Some(y)) if self.heap.equal(x, y) == Some(true) => Some(Merged::Other(x.clone())),
                    _ => Some(Merged::Result(first + *at - 1)),
                }
            }
            (Piece::List(a), Piece::List(b)) => each(a, b, at).map(Merged::List),
            (Piece::Tuple(a, class), Piece::Tuple(b, _)) => {
                each(a, b, at).map(|parts| Merged::Tuple(parts, class.clone()))
            }
            (Piece::Other(a), Piece::Other(b)) if is_same(a, b) || self.heap.equal(a, b) == Some(true) => {
                Some(Merged::Other(a.clone()))
            }
            _ => None,
        }
    }

    fn restore(&mut self, merged: Merged, cells: &[Item]) -> Result<Value> {
        let mut all = |parts: Vec<Merged>| -> Result<Vec<Value>> {
            parts.into_iter().map(|part| self.restore(part, cells)).collect()
        };
        match merged {
            Merged::Result(at) => {
                let cell = cells.get(at).cloned().ok_or_else(|| Error::internal("a result of a branch"))?;
                self.value_of(cell)
            }
            Merged::List(parts) => {
                let parts = all(parts)?;
                self.heap.list(parts)
            }
            Merged::Tuple(parts, class) => {
                let parts = all(parts)?;
                self.heap.named_tuple(parts, class)
            }
            Merged::Other(value) => Ok(value),
        }
    }
}

/// The results of a branch that belong to a piece.
fn given(branch: &mut Branch, piece: &Piece, first: usize) -> Vec<Given> {
    let mut operands = Vec::new();
    leaves(piece, &mut operands);
    branch.results()[first..first + operands.len()].to_vec()
}

fn leaves(piece: &Piece, operands: &mut Vec<Operand>) {
    match piece {
        Piece::Leaf(operand, _) => operands.push(operand.clone()),
        Piece::List(parts) | Piece::Tuple(parts, _) => parts.iter().for_each(|part| leaves(part, operands)),
        Piece::Other(_) => {}
    }
}

/// Whether a variable still holds the same.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Tensor(a), Value::Tensor(b))
        | (Value::List(a), Value::List(b))
        | (Value::Tuple(a), Value::Tuple(b))
        | (Value::Instance(a), Value::Instance(b))
        | (Value::Dict(a), Value::Dict(b)) => a == b,
        (Value::Object(a), Value::Object(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Size(a), Value::Size(b)) => a == b,
        (Value::Global(a), Value::Global(b)) => a == b,
        (Value::None, Value::None)
        | (Value::Placement, Value::Placement)
        | (Value::Unset, Value::Unset)
        | (Value::Uninitialized, Value::Uninitialized)
        | (Value::Unknown, Value::Unknown) => true,
        _ => false,
    }
}
