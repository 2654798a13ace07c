//! Branches and loops on computed values as calls: what a graph passes as one row of numbers is cut into the inputs of the
//! graphs within it, and their outputs are joined again.

use super::{
    call::{Argument, Block, Flow, Kind, Var},
    writer::Writer,
};
use crate::{
    Result,
    graph::{Dim, Graph, Subgraph, Type},
    tensor::DType,
};

impl<'a> Writer<'a> {
    pub(super) fn branch(&mut self, sides: &'a [Subgraph; 2], mask: Var, x: Var, ty: &Type) -> Result<Var> {
        let inputs = self.cut(&sides[0], x)?;
        let mask = self.truth(mask);
        let [then, other] = sides;
        let mut blocks = Box::new([self.block(then, &inputs)?, self.block(other, &inputs)?]);
        // Joined in the branches: torch wants both of them to give tensors that lie alike in memory.
        for block in blocks.iter_mut() {
            self.within(block, |writer, outputs| writer.join(outputs, ty));
        }
        Ok(self.flow("cond", Flow::If { mask, blocks }, vec![Kind::Tensor(ty.clone())])[0])
    }

    pub(super) fn repeat(&mut self, condition: &'a Subgraph, body: &'a Subgraph, x: Var, ty: &Type) -> Result<Var> {
        let inputs = self.cut(body, x)?;
        let (first, rest) = inputs.split_at(body.outputs().len());
        let kinds: Vec<Kind> = first.iter().map(|&var| Kind::Tensor(self.ty(var))).collect();
        let carried: Vec<Var> = kinds.iter().map(|kind| self.result("carried", kind.clone())).collect();
        let inner = [&carried[..], rest].concat();
        let mut condition = self.block(condition, &inner)?;
        self.within(&mut condition, |writer, outputs| writer.truth(outputs[0]));
        let body = self.block(body, &inner)?;
        let (condition, body) = (Box::new(condition), Box::new(body));
        let results = self.flow("while_loop", Flow::While { carried, first: first.to_vec(), condition, body }, kinds);
        Ok(self.join(&results, ty))
    }

    /// The inputs of a graph, one after another in a row of numbers.
    fn cut(&mut self, graph: &Graph, x: Var) -> Result<Vec<Var>> {
        let (mut start, mut inputs) = (0, Vec::new());
        for input in graph.inputs() {
            let ty = graph.ty(input.value);
            let sizes = graph.sizes(input.value);
            let end = start + sizes.iter().product::<usize>();
            let ends = [
                ("dim", Argument::Int(0)),
                ("start", Argument::int(start)),
                ("end", Argument::int(end)),
                ("step", Argument::Int(1)),
            ];
            let part = self.op("slice.Tensor", x, ends, &Type::sized(ty.dtype, &[end - start]));
            inputs.push(self.op("reshape.default", part, [("shape", Argument::ints(&sizes))], ty));
            start = end;
        }
        Ok(inputs)
    }

    /// The elements of several results as one row of numbers.
    fn join(&mut self, parts: &[Var], ty: &Type) -> Var {
        let row = |writer: &mut Self, part: Var| {
            let part = writer.number(part);
            let count = writer.ty(part).shape.iter().filter_map(Dim::size).product();
            writer.op("reshape.default", part, [("shape", Argument::ints(&[count]))], &Type::sized(ty.dtype, &[count]))
        };
        let rows: Vec<Var> = parts.iter().map(|&part| row(self, part)).collect();
        self.call("cat.default", vec![("tensors", Argument::Tensors(rows)), ("dim", Argument::Int(0))], ty)
    }

    /// A mask as numbers 0 and 1.
    fn number(&mut self, x: Var) -> Var {
        let ty = self.ty(x);
        if ty.dtype.is_float() {
            return x;
        }
        self.op("mul.Scalar", x, [("other", 1.0.into())], &Type::new(DType::F64, ty.shape))
    }

    /// Whether the one element of a value is not 0, as a mask without dimensions.
    fn truth(&mut self, x: Var) -> Var {
        let ty = self.ty(x);
        if ty.dtype == DType::Bool && ty.rank() == 0 {
            return x;
        }
        let scalar = |dtype| Type::sized(dtype, &[]);
        let number = self.number(x);
        let number = self.op("reshape.default", number, [("shape", Argument::ints::<i64>(&[]))], &scalar(DType::F64));
        self.op("ne.Scalar", number, [("other", 0.0.into())], &scalar(DType::Bool))
    }

    /// Makes one output of a block's outputs, within it.
    fn within(&mut self, block: &mut Block, rule: impl FnOnce(&mut Self, &[Var]) -> Var) {
        let outer = self.swap_calls(std::mem::take(&mut block.calls));
        block.outputs = vec![rule(self, &block.outputs)];
        block.calls = self.swap_calls(outer);
    }
}
