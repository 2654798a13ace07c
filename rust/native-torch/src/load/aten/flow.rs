//! Control that depends on computed values: branches and loops as operations of the graph.
//!
//! A branch runs on the graph under construction like everything else; what it added is taken out again and becomes a
//! graph within the graph.

use super::{
    constant::Array,
    interpreter::{Interpreter, Kept},
    shape::{concatenate, known, reshape, slice},
    value::{Context, Operand},
};
use crate::{
    Error, Result,
    graph::{Comparison, Mark, Op, Region, RegionResult, Subgraph, ValueId},
    tensor::{DType, Tensor},
};

/// Where a branch began.
pub(in crate::load) struct Begun {
    mark: Mark,
    cells: Kept,
}

/// What a branch did.
pub(in crate::load) struct Branch {
    region: Region,
    results: Vec<Given>,
    /// The tensors from outside that it wrote to, and what they are then.
    written: Vec<(usize, Given)>,
}

/// What a loop begins with.
pub(in crate::load) struct Carried {
    start: Vec<Given>,
    mark: Mark,
}

/// A result of a branch.
#[derive(Clone)]
pub(in crate::load) struct Given {
    /// As the branch left it.
    operand: Operand,
    /// As a graph gives it, where masks are numbers.
    result: RegionResult,
    sizes: Vec<usize>,
    dtype: DType,
}

/// Runs a loop's condition (true) or body (false) on tensors in the place of the carried ones, and gives their results.
pub(in crate::load) type Turn<'a> = dyn FnMut(&mut Interpreter, bool, &[Operand]) -> Result<Vec<Operand>> + 'a;

/// More turns than these are not taken in advance, where the number of turns is known.
pub(in crate::load) const TURNS: usize = 1 << 12;

impl Branch {
    /// Its results, which are put in another order, or among others, before a choice.
    pub fn results(&mut self) -> &mut Vec<Given> {
        &mut self.results
    }
}

impl Interpreter {
    /// A tensor that a branch leaves as it is, as one of its results.
    pub fn unchanged(&self, operand: &Operand) -> Result<Given> {
        unchanged(&self.context, operand)
    }

    /// Whether a tensor from outside was written to since a branch began.
    pub fn is_written(&self, begun: &Begun, cell: usize) -> bool {
        self.is_other(&begun.cells, cell)
    }

    /// What follows belongs to a branch.
    pub fn begin(&self) -> Begun {
        Begun { mark: self.context.builder.mark(), cells: self.keep_cells() }
    }

    /// The branch that ends here, with these results.
    pub fn end(&mut self, begun: Begun, results: &[Operand]) -> Result<Branch> {
        let written = self.written_since(&begun.cells);
        let give = |context: &mut Context, operand: &Operand| give(context, operand);
        let results = results.iter().map(|operand| give(&mut self.context, operand)).collect::<Result<_>>()?;
        let written = written
            .into_iter()
            .map(|(cell, operand)| Ok((cell, give(&mut self.context, &operand)?)))
            .collect::<Result<_>>()?;
        let region = self.context.builder.take(begun.mark);
        self.context.forget(begun.mark);
        self.restore_cells(begun.cells);
        Ok(Branch { region, results, written })
    }

    /// The results of the branch that a computed condition takes.
    pub fn choose(&mut self, condition: &Operand, mut branches: [Branch; 2]) -> Result<Vec<Operand>> {
        let cells = self.align(&mut branches)?;
        let [taken, other] = &branches;
        let mut merged: Vec<Option<Operand>> = Vec::new();
        let mut passed = Vec::new();
        for (i, (a, b)) in taken.results.iter().zip(&other.results).enumerate() {
            let same = self.is_same(&a.operand, &b.operand, taken)?;
            if !same {
                check_alike(a, b)?;
                passed.push(i);
            }
            merged.push(same.then(|| a.operand.clone()));
        }
        if !passed.is_empty() {
            let results = branches.each_ref().map(|branch| -> Vec<RegionResult> {
                passed.iter().map(|&i| branch.results[i].result.clone()).collect()
            });
            let mut captured: Vec<ValueId> =
                branches.iter().zip(&results).flat_map(|(branch, results)| branch.region.captured(results)).collect();
            captured.sort_unstable();
            captured.dedup();
            let mut graphs = Vec::new();
            for (branch, results) in branches.iter().zip(&results) {
                graphs.push(Subgraph(branch.region.graph(&captured, results)?.into()));
            }
            let [taken, other]: [Subgraph; 2] =
                graphs.try_into().map_err(|_| Error::internal("a condition has two branches"))?;
            let given: Vec<Operand> = captured.into_iter().map(Operand::Computed).collect();
            let x = self.joined(&given)?;
            let mask = self.mask(condition)?;
            let values = [self.context.value(&mask), self.context.value(&x)];
            let y = Operand::Computed(self.context.builder.node(Op::If([taken, other]), &values)?);
            let parts: Vec<&Given> = passed.iter().map(|&i| &branches[0].results[i]).collect();
            for (&i, part) in passed.iter().zip(self.split(&y, &parts)?) {
                merged[i] = Some(part);
            }
        }
        let mut merged: Vec<Operand> = merged.into_iter().flatten().collect();
        for (cell, operand) in cells.iter().zip(merged.split_off(merged.len() - cells.len())) {
            self.write(*cell, operand)?;
        }
        Ok(merged)
    }

    /// What a loop leaves of its carried tensors.
    pub fn repeat(&mut self, carried: &[Operand], turn: &mut Turn) -> Result<Vec<Operand>> {
        let start = self.carry(carried)?;
        let mut branches = Vec::new();
        for is_condition in [true, false] {
            let (begun, operands) = self.begin_turn(&start)?;
            let results = turn(self, is_condition, &operands)?;
            branches.push(self.end(begun, &results)?);
        }
        self.close(&start, &branches[0], &branches[1])
    }

    /// The tensors that a loop begins with.
    pub fn carry(&mut self, carried: &[Operand]) -> Result<Carried> {
        let start = carried.iter().map(|operand| give(&mut self.context, operand)).collect::<Result<_>>()?;
        Ok(Carried { start, mark: self.context.builder.mark() })
    }

    /// Begins a branch that is given tensors in the place of the carried ones.
    pub fn begin_turn(&mut self, carried: &Carried) -> Result<(Begun, Vec<Operand>)> {
        let begun = self.begin();
        let given: Vec<ValueId> =
            carried.start.iter().map(|given| self.context.builder.placeholder(&given.sizes)).collect();
        let mut operands = Vec::new();
        for (value, start) in given.into_iter().zip(&carried.start) {
            let operand = Operand::Computed(value);
            operands.push(if start.dtype == DType::Bool { self.mask(&operand)? } else { operand });
        }
        Ok((begun, operands))
    }

    /// The loop of a condition and a body, which began where the tensors were carried; its results.
    pub fn close(&mut self, carried: &Carried, condition: &Branch, body: &Branch) -> Result<Vec<Operand>> {
        let Carried { start, mark } = carried;
        let branches = [condition, body];
        if branches.iter().any(|branch| !branch.written.is_empty()) {
            return Err(Error::unsupported(
                "a loop whose number of turns depends on values writes to a tensor from outside in place",
            ));
        }
        if body.results.len() != start.len() || condition.results.len() != 1 {
            return Err(Error::format("a loop gives more or fewer tensors than it carries"));
        }
        for (a, b) in start.iter().zip(&body.results) {
            check_alike(a, b)?;
        }
        let given: Vec<ValueId> = mark.following(start.len());
        let results =
            branches.map(|branch| branch.results.iter().map(|given| given.result.clone()).collect::<Vec<_>>());
        let mut captured: Vec<ValueId> =
            branches.iter().zip(&results).flat_map(|(branch, results)| branch.region.captured(results)).collect();
        captured.sort_unstable();
        captured.dedup();
        let inputs: Vec<ValueId> = given.into_iter().chain(captured.iter().copied()).collect();
        let graph = |at: usize| Ok::<_, Error>(Subgraph(branches[at].region.graph(&inputs, &results[at])?.into()));
        let (condition, body) = (graph(0)?, graph(1)?);
        let given: Vec<Operand> = start
            .iter()
            .map(|given| match &given.result {
                RegionResult::Value(value) => Operand::Computed(*value),
                RegionResult::Known(tensor) => known_tensor(tensor),
            })
            .chain(captured.into_iter().map(Operand::Computed))
            .collect();
        let x = self.joined(&given)?;
        let x = self.context.value(&x);
        let y = Operand::Computed(self.context.builder.node(Op::While { condition, body }, &[x])?);
        self.split(&y, &start.iter().collect::<Vec<_>>())
    }

    /// Gives each of two branches the tensors that only the other one writes to, behind the results; their cells.
    fn align(&mut self, branches: &mut [Branch; 2]) -> Result<Vec<usize>> {
        let mut cells: Vec<usize> =
            branches.iter().flat_map(|branch| branch.written.iter().map(|entry| entry.0)).collect();
        cells.sort_unstable();
        cells.dedup();
        for branch in branches.iter_mut() {
            for cell in &cells {
                let own = branch.written.iter().find(|(written, _)| written == cell);
                let given = match own {
                    Some((_, given)) => given.clone(),
                    None => unchanged(&self.context, self.operand(*cell))?,
                };
                branch.results.push(given);
            }
        }
        if branches[0].results.len() != branches[1].results.len() {
            return Err(Error::format("two branches give different numbers of results"));
        }
        Ok(cells)
    }

    /// Whether two branches give the same, which then need not pass through them.
    fn is_same(&self, a: &Operand, b: &Operand, branch: &Branch) -> Result<bool> {
        Ok(match (a, b) {
            (Operand::Computed(a), Operand::Computed(b)) => a == b && branch.region.is_outside(*a),
            (Operand::Constant(a), Operand::Constant(b)) => {
                a.tensor.numel() == b.tensor.numel()
                    && a.tensor.numel() <= 1 << 20
                    && a.tensor.dtype() == b.tensor.dtype()
                    && Array::of(a)? == Array::of(b)?
            }
            _ => false,
        })
    }

    /// Tensors one after another, flat; masks as numbers.
    fn joined(&mut self, operands: &[Operand]) -> Result<Operand> {
        let mut parts = Vec::new();
        for operand in operands {
            let number = numbers(&mut self.context, operand)?;
            parts.push(reshape(&mut self.context, &number, &[None])?);
        }
        if parts.is_empty() {
            return Ok(known_tensor(&Tensor::from_slice::<f64>(&[0], &[])));
        }
        concatenate(&mut self.context, &parts, 0)
    }

    /// The opposite.
    fn split(&mut self, y: &Operand, parts: &[&Given]) -> Result<Vec<Operand>> {
        let mut start = 0;
        let mut operands = Vec::new();
        for part in parts {
            let end = start + part.sizes.iter().product::<usize>();
            let flat = slice(&mut self.context, y, 0, start, end, 1)?;
            let operand = reshape(&mut self.context, &flat, &known(&part.sizes))?;
            operands.push(if part.dtype == DType::Bool { self.mask(&operand)? } else { operand });
            start = end;
        }
        Ok(operands)
    }

    /// Where a tensor is not 0.
    fn mask(&mut self, x: &Operand) -> Result<Operand> {
        if self.context.dtype(x) == DType::Bool {
            return Ok(x.clone());
        }
        let zero = self.context.value(&known_tensor(&Tensor::from_slice(&[], &[0.0])));
        let x = self.context.value(x);
        self.context.builder.node(Op::Compare(Comparison::NotEqual), &[x, zero]).map(Operand::Computed)
    }
}

fn known_tensor(tensor: &Tensor) -> Operand {
    Operand::Constant(super::value::Constant { name: "known".into(), tensor: tensor.clone() })
}

/// A computed mask as 1 and 0.
pub(in crate::load) fn numbers(context: &mut Context, x: &Operand) -> Result<Operand> {
    if let Some(constant) = x.constant().filter(|constant| !constant.tensor.dtype().is_float()) {
        return Ok(Array::of(constant)?.map(DType::F64, |v| v).into_operand(&constant.name));
    }
    if context.dtype(x) != DType::Bool {
        return Ok(x.clone());
    }
    let [one, zero] = [1.0, 0.0].map(|v| context.value(&known_tensor(&Tensor::from_slice(&[], &[v]))));
    let x = context.value(x);
    context.builder.node(Op::Where, &[x, one, zero]).map(Operand::Computed)
}

fn give(context: &mut Context, operand: &Operand) -> Result<Given> {
    let sizes = context.sizes(operand, "a branch")?;
    let dtype = context.dtype(operand);
    let result = match operand.constant() {
        Some(constant) => {
            let array = Array::of(constant)?;
            RegionResult::Known(Tensor::from_slice(&array.shape, &array.data))
        }
        None => {
            let number = numbers(context, operand)?;
            RegionResult::Value(context.value(&number))
        }
    };
    Ok(Given { operand: operand.clone(), result, sizes, dtype })
}

/// A tensor that a branch leaves as it is.
fn unchanged(context: &Context, operand: &Operand) -> Result<Given> {
    let (sizes, dtype) = (context.sizes(operand, "a branch")?, context.dtype(operand));
    let result = match operand {
        Operand::Constant(constant) => {
            let array = Array::of(constant)?;
            RegionResult::Known(Tensor::from_slice(&array.shape, &array.data))
        }
        Operand::Computed(value) if dtype.is_float() => RegionResult::Value(*value),
        Operand::Computed(_) => return Err(Error::unsupported("a branch writes to a mask in place")),
    };
    Ok(Given { operand: operand.clone(), result, sizes, dtype })
}

fn check_alike(a: &Given, b: &Given) -> Result<()> {
    if a.sizes != b.sizes {
        return Err(Error::unsupported(format!(
            "a result has shape {:?} or {:?}, as values decide; shapes must not depend on values",
            a.sizes, b.sizes
        )));
    }
    if (a.dtype == DType::Bool) != (b.dtype == DType::Bool) {
        return Err(Error::unsupported("a result is a mask or a number, as values decide"));
    }
    Ok(())
}
