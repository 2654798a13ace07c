//! What writes calls: the variables of a graph's values, its weights, and the nodes one after another.

use std::collections::HashMap;

use super::{
    call::{Argument, Block, Call, Flow, Kind, Program, Size, Var, Variable, Weight},
    names::Names,
};
use crate::{
    Error, Result,
    graph::{Dim, Graph, Node, Op, Parameter, Source, Type, ValueId},
    tensor::{DType, Tensor},
};

/// The calls that compute a graph. Nodes that no output depends on are left out, and so are their parameters.
pub(in crate::save) fn program(graph: &Graph) -> Result<Program> {
    let mut writer = Writer {
        graph,
        program: Program::default(),
        values: vec![None; graph.values().len()],
        variables: Names::default(),
        paths: Names::default(),
        named: HashMap::new(),
        products: HashMap::new(),
        place: String::new(),
    };
    writer.inputs();
    writer.program.outputs = writer.nodes()?;
    Ok(writer.program)
}

/// Writes a graph's calls.
pub(super) struct Writer<'a> {
    pub graph: &'a Graph,
    program: Program,
    /// The variable of each value that has one yet.
    values: Vec<Option<Var>>,
    variables: Names,
    paths: Names,
    /// The weights by the names that they came with.
    named: HashMap<String, Vec<Var>>,
    /// For the sums that are products of matrices, the nodes of their terms; for these nodes, themselves.
    products: HashMap<usize, usize>,
    place: String,
}

impl<'a> Writer<'a> {
    /// Writes the nodes of the graph whose inputs have variables; gives the variables of its outputs.
    fn nodes(&mut self) -> Result<Vec<Var>> {
        self.parameters()?;
        self.find_products();
        let (graph, used) = (self.graph, self.graph.used_values());
        for (at, node) in graph.nodes().iter().enumerate() {
            if node.outputs.iter().any(|v| used[v.index()]) {
                self.node(at, node).map_err(|e| e.at(&node.scope))?;
            }
        }
        graph.outputs().iter().map(|output| self.var(output.value)).collect()
    }

    /// Writes a graph within the graph as a block that reads these variables as its inputs.
    pub fn block(&mut self, inner: &'a Graph, inputs: &[Var]) -> Result<Block> {
        let mut values = vec![None; inner.values().len()];
        for (input, &var) in inner.inputs().iter().zip(inputs) {
            values[input.value.index()] = Some(var);
        }
        let outer = (
            std::mem::replace(&mut self.graph, inner),
            std::mem::replace(&mut self.values, values),
            std::mem::take(&mut self.products),
            std::mem::take(&mut self.program.calls),
        );
        let outputs = self.nodes();
        let calls;
        (self.graph, self.values, self.products, calls) =
            (outer.0, outer.1, outer.2, std::mem::replace(&mut self.program.calls, outer.3));
        Ok(Block { calls, outputs: outputs? })
    }

    /// Adds control that depends on values; gives its results.
    pub fn flow(&mut self, word: &str, flow: Flow, results: Vec<Kind>) -> Vec<Var> {
        let results = self.calls(word.to_owned(), Vec::new(), results);
        let call = self.program.calls.last_mut().expect("it was just added");
        call.flow = Some(flow);
        results
    }

    /// Writes to other calls from now on; gives those that were written.
    pub fn swap_calls(&mut self, calls: Vec<Call>) -> Vec<Call> {
        std::mem::replace(&mut self.program.calls, calls)
    }

    /// A variable for the results of operations of this name.
    pub fn result(&mut self, word: &str, kind: Kind) -> Var {
        let name = self.variables.result(word, self.program.variables.len());
        self.variable(name, kind)
    }

    fn inputs(&mut self) {
        for input in self.graph.inputs() {
            let name = self.variables.variable(&input.name);
            let var = self.variable(name, Kind::Tensor(self.graph.ty(input.value).clone()));
            self.values[input.value.index()] = Some(var);
            self.program.inputs.push(var);
        }
    }

    fn parameters(&mut self) -> Result<()> {
        let (graph, used) = (self.graph, self.graph.used_values());
        for (index, value) in graph.values().iter().enumerate() {
            if let Source::Parameter(at) = value.source
                && used[index]
            {
                self.values[index] = Some(self.parameter(&graph.parameters()[at])?);
            }
        }
        Ok(())
    }

    fn parameter(&mut self, Parameter { name, tensor }: &Parameter) -> Result<Var> {
        let dtype = tensor.dtype();
        if !dtype.is_float() && !matches!(dtype, DType::I64 | DType::Bool) {
            let message =
                format!("it is a tensor of {}; floating-point numbers, int64 and bool are written", dtype.name());
            return Err(Error::unsupported(message).at(format!("parameter `{name}`")));
        }
        // A layer that is called twice brings its weights twice.
        let same = |var: &&Var| self.program.weights.iter().any(|w| w.var == **var && w.tensor.is_same_view(tensor));
        if let Some(&var) = self.named.get(name).and_then(|vars| vars.iter().find(same)) {
            return Ok(var);
        }
        let var = self.weight(name, tensor.clone());
        self.named.entry(name.clone()).or_default().push(var);
        Ok(var)
    }

    fn weight(&mut self, name: &str, tensor: Tensor) -> Var {
        let path = self.paths.path(name);
        let is_float = tensor.dtype().is_float();
        let kind = Type::sized(if is_float { DType::F64 } else { tensor.dtype() }, tensor.shape());
        let name = self.variables.variable(&format!("{}_{path}", if is_float { "p" } else { "b" }));
        let var = self.variable(name, Kind::Tensor(kind));
        self.program.weights.push(Weight { name: path, tensor, var });
        var
    }

    /// A weight of positions that an operation takes as a tensor.
    pub fn positions(&mut self, positions: &[usize]) -> Var {
        let positions: Vec<i64> = positions.iter().map(|&p| p as i64).collect();
        self.weight("positions", Tensor::from_slice(&[positions.len()], &positions))
    }

    fn variable(&mut self, name: String, kind: Kind) -> Var {
        self.program.variables.push(Variable { name, kind });
        Var(self.program.variables.len() - 1)
    }

    /// Finds the sums over the last dimension of a product of `[.., m, 1, k]` and `[.., 1, n, k]` that nothing else
    /// reads: products of matrices.
    fn find_products(&mut self) {
        let graph = self.graph;
        let uses = graph.uses();
        for (at, node) in graph.nodes().iter().enumerate() {
            let Op::Sum { dims, keepdim: false } = &node.op else { continue };
            let terms = node.inputs[0];
            let Source::Node { node: product, .. } = graph.values()[terms.index()].source else { continue };
            let rank = graph.ty(terms).rank();
            let operands = &graph.nodes()[product].inputs;
            let fits = graph.nodes()[product].op == Op::Mul
                && uses[terms.index()] == 1
                && *dims == [rank - 1]
                && is_product(graph.ty(operands[0]), graph.ty(operands[1]));
            if fits {
                self.products.extend([(at, product), (product, product)]);
            }
        }
    }

    fn node(&mut self, at: usize, node: &'a Node) -> Result<()> {
        self.place.clone_from(&node.scope);
        let ty = self.graph.ty(node.outputs[0]);
        let y = match self.products.get(&at) {
            Some(&terms) if terms == at => return Ok(()),
            Some(&terms) => {
                let operands = &self.graph.nodes()[terms].inputs;
                self.matrix_product(operands[0], operands[1], ty)?
            }
            None => {
                let inputs = node.inputs.iter().map(|&v| self.var(v)).collect::<Result<Vec<_>>>()?;
                self.rule(node, &inputs, ty)?
            }
        };
        self.values[node.outputs[0].index()] = Some(y);
        Ok(())
    }

    /// `[.., m, 1, k]` times `[.., 1, n, k]`, summed over the last dimension.
    fn matrix_product(&mut self, a: ValueId, c: ValueId, ty: &Type) -> Result<Var> {
        let [a_type, c_type] = [a, c].map(|v| self.graph.ty(v));
        let without = |ty: &Type, back: usize| {
            let mut shape = ty.shape.clone();
            shape.remove(ty.rank() - back);
            Type::new(ty.dtype, shape)
        };
        let a = self.var(a)?;
        let left = self.op("squeeze.dim", a, [("dim", Argument::Int(-2))], &without(a_type, 2));
        let (mut right, mut right_type) = (self.var(c)?, c_type.clone());
        if c_type.rank() > 2 {
            right_type = without(c_type, 3);
            right = self.op("squeeze.dim", right, [("dim", Argument::Int(-3))], &right_type);
        }
        let rank = right_type.rank();
        right_type.shape.swap(rank - 1, rank - 2);
        let swap = [("dim0", Argument::Int(-2)), ("dim1", Argument::Int(-1))];
        let right = self.op("transpose.int", right, swap, &right_type);
        Ok(self.op("matmul.default", left, [("other", right.into())], ty))
    }

    /// The variable of a value that is computed.
    pub fn var(&self, value: ValueId) -> Result<Var> {
        self.values[value.index()].ok_or_else(|| Error::internal("a value is read before it is computed"))
    }

    /// The type of a variable that holds a tensor.
    pub fn ty(&self, var: Var) -> Type {
        match &self.program.variables[var.0].kind {
            Kind::Tensor(ty) => ty.clone(),
            Kind::Size { .. } => Type::sized(DType::I64, &[]),
        }
    }

    /// Calls an operation with the first argument `self` and others.
    pub fn op(
        &mut self,
        target: impl Into<String>,
        x: Var,
        others: impl IntoIterator<Item = (&'static str, Argument)>,
        ty: &Type,
    ) -> Var {
        self.call(target, std::iter::once(("self", x.into())).chain(others).collect(), ty)
    }

    /// Calls an operation of one result.
    pub fn call(&mut self, target: impl Into<String>, arguments: Vec<(&'static str, Argument)>, ty: &Type) -> Var {
        self.calls(target.into(), arguments, vec![Kind::Tensor(ty.clone())])[0]
    }

    /// Calls an operation.
    pub fn calls(&mut self, target: String, arguments: Vec<(&'static str, Argument)>, results: Vec<Kind>) -> Vec<Var> {
        let word = target.split('.').next().unwrap_or_default().to_owned();
        let results: Vec<Var> = results.into_iter().map(|kind| self.result(&word, kind)).collect();
        let place = self.place.clone();
        self.program.calls.push(Call { target, arguments, results: results.clone(), flow: None, place });
        results
    }

    /// The size of a dimension.
    pub fn size(&mut self, x: Var, dim: usize) -> Size {
        match self.ty(x).shape[dim] {
            Dim::Size(size) => Size::Known(size as i64),
            Dim::Symbol(_) | Dim::Unknown => {
                let arguments = vec![("self", x.into()), ("dim", Argument::int(dim))];
                Size::Of(self.calls("sym_size.int".to_owned(), arguments, vec![Kind::Size { of: x, dim }])[0])
            }
        }
    }

    /// The sizes of a variable, all of them known; `what` needs them.
    pub fn sizes(&self, x: Var, what: &str) -> Result<Vec<usize>> {
        self.ty(x).sizes().ok_or_else(|| {
            Error::unsupported(format!("{what} is written for known sizes only; give the sizes of the model's inputs"))
        })
    }
}

/// Whether an element-wise product has the shapes `[.., m, 1, k]` and `[.., 1, n, k]`.
fn is_product(a: &Type, c: &Type) -> bool {
    let back = |ty: &Type, place: usize| ty.rank().checked_sub(place).map(|at| ty.shape[at].clone());
    let one = Some(Dim::Size(1));
    let same = |x: &Option<Dim>, y: &Option<Dim>| x == y && *x != Some(Dim::Unknown);
    a.rank() >= 3
        && c.rank() >= 2
        && back(a, 2) == one
        && back(c, 3).is_none_or(|size| size == Dim::Size(1))
        && same(&back(a, 1), &back(c, 1))
}
