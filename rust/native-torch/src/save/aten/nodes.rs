//! Operations as calls, one rule each.

use super::{
    call::{Argument, Size, Var},
    writer::Writer,
};
use crate::{
    Result,
    graph::{Comparison, Dim, Node, Op, Type},
};

fn compare(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Greater => "gt.Tensor",
        Comparison::GreaterEqual => "ge.Tensor",
        Comparison::Less => "lt.Tensor",
        Comparison::LessEqual => "le.Tensor",
        Comparison::Equal => "eq.Tensor",
        Comparison::NotEqual => "ne.Tensor",
    }
}

impl<'a> Writer<'a> {
    /// Writes the calls of a node; gives the variable of its result, which is of the given type.
    pub(super) fn rule(&mut self, node: &'a Node, inputs: &[Var], ty: &Type) -> Result<Var> {
        let x = inputs[0];
        let dim = |dim: usize| ("dim", Argument::int(dim));
        let dims = |dims: &[usize]| ("dim", Argument::ints(dims));
        let keep = |keepdim: bool| ("keepdim", keepdim.into());
        let operand = |at: usize| Argument::from(inputs.get(at).copied());
        Ok(match &node.op {
            Op::Unary(unary) => self.unary(*unary, x, ty),
            Op::Add => self.op("add.Tensor", x, [("other", operand(1))], ty),
            Op::Sub => self.op("sub.Tensor", x, [("other", operand(1))], ty),
            Op::Mul => self.op("mul.Tensor", x, [("other", operand(1))], ty),
            Op::Div => self.op("div.Tensor", x, [("other", operand(1))], ty),
            Op::Linear => {
                self.call("linear.default", vec![("input", x.into()), ("weight", operand(1)), ("bias", operand(2))], ty)
            }
            Op::Conv(conv) => self.convolution(conv, inputs, ty)?,
            Op::ConvTranspose { conv, output_padding } => {
                self.convolution_transpose(conv, output_padding, inputs, ty)?
            }
            Op::AvgPool(pool) => self.average_pool(pool, x, ty)?,
            Op::MaxPool(pool) => self.maximum_pool(pool, x, ty)?,
            Op::AdaptiveAvgPool(sizes) => self.adaptive_pool("avg", sizes, x, ty)?,
            Op::AdaptiveMaxPool(sizes) => self.adaptive_pool("max", sizes, x, ty)?,
            Op::Upsample(upsample) => self.interpolation(upsample, x, ty)?,
            Op::Unfold(blocks) => self.unfold(blocks, x, ty)?,
            Op::Fold { sizes, blocks } => self.fold(sizes, blocks, x, ty)?,
            Op::Pad { amounts, padding } => self.pad(amounts, *padding, x, ty)?,
            Op::LayerNorm { axes, eps } => {
                let arguments = vec![
                    ("input", x.into()),
                    ("normalized_shape", self.last_sizes(x, *axes)),
                    ("weight", operand(1)),
                    ("bias", operand(2)),
                    ("eps", (*eps).into()),
                ];
                self.call("layer_norm.default", arguments, ty)
            }
            Op::RmsNorm { axes, eps } => {
                let arguments = vec![
                    ("input", x.into()),
                    ("normalized_shape", self.last_sizes(x, *axes)),
                    ("weight", operand(1)),
                    ("eps", eps.map_or(Argument::None, Argument::Float)),
                ];
                self.call("rms_norm.default", arguments, ty)
            }
            Op::Prelu => self.prelu(x, inputs[1], ty),
            Op::Compare(comparison) => self.op(compare(*comparison), x, [("other", operand(1))], ty),
            Op::Where => {
                let arguments = vec![("condition", x.into()), ("self", operand(1)), ("other", operand(2))];
                self.call("where.self", arguments, ty)
            }
            Op::If(sides) => self.branch(sides, x, inputs[1], ty)?,
            Op::While { condition, body } => self.repeat(condition, body, x, ty)?,
            Op::Softmax { dim: at } => self.op("softmax.int", x, [dim(*at)], ty),
            Op::LogSoftmax { dim: at } => self.op("log_softmax.int", x, [dim(*at)], ty),
            Op::Embedding => self.call("embedding.default", vec![("weight", x.into()), ("indices", operand(1))], ty),
            Op::Flatten { start, end } => {
                let ends = [("start_dim", Argument::int(*start)), ("end_dim", Argument::int(*end))];
                self.op("flatten.using_ints", x, ends, ty)
            }
            Op::Unflatten { dim: at, sizes } => {
                let size = |(i, size): (usize, &Option<usize>)| match (size, &ty.shape[at + i]) {
                    (Some(size), _) | (None, Dim::Size(size)) => Size::Known(*size as i64),
                    (None, _) => Size::Known(-1),
                };
                let sizes = Argument::Sizes(sizes.iter().enumerate().map(size).collect());
                self.op("unflatten.int", x, [dim(*at), ("sizes", sizes)], ty)
            }
            Op::Permute { dims } => self.op("permute.default", x, [("dims", Argument::ints(dims))], ty),
            Op::Slice { dim: at, start, end, step } => {
                let ends = [
                    dim(*at),
                    ("start", Argument::int(*start)),
                    ("end", Argument::int(*end)),
                    ("step", Argument::int(*step)),
                ];
                self.op("slice.Tensor", x, ends, ty)
            }
            // Without dimensions, torch takes all of them.
            Op::Sum { dims, .. } | Op::Mean { dims, .. } if dims.is_empty() => x,
            Op::Sum { dims: at, keepdim } => self.op("sum.dim_IntList", x, [dims(at), keep(*keepdim)], ty),
            Op::Mean { dims: at, keepdim } => self.op("mean.dim", x, [dims(at), keep(*keepdim)], ty),
            Op::Cat { dim: at } => {
                self.call("cat.default", vec![("tensors", Argument::Tensors(inputs.to_vec())), dim(*at)], ty)
            }
        })
    }

    fn last_sizes(&mut self, x: Var, axes: usize) -> Argument {
        let rank = self.ty(x).rank();
        Argument::Sizes((rank - axes..rank).map(|dim| self.size(x, dim)).collect())
    }

    /// torch repeats weights along the second dimension only; others are written with the same derivatives, at 0 too:
    /// `relu(x) + weight (x - relu(x))`.
    fn prelu(&mut self, x: Var, weight: Var, ty: &Type) -> Var {
        let shape = self.ty(weight).shape;
        let wide: Vec<usize> = (0..shape.len()).filter(|&dim| shape[dim] != Dim::Size(1)).collect();
        let channels = |dim: usize| ty.rank() >= 2 && ty.rank() - shape.len() + dim == 1;
        let fits = match wide[..] {
            [] => true,
            [dim] => channels(dim),
            _ => false,
        };
        if fits {
            let size = wide.first().map_or(Dim::Size(1), |&dim| shape[dim].clone());
            let line = Type::new(ty.dtype, vec![size]);
            let weight = match shape.len() {
                1 => weight,
                _ => self.op(
                    "flatten.using_ints",
                    weight,
                    [("start_dim", Argument::Int(0)), ("end_dim", Argument::Int(-1))],
                    &line,
                ),
            };
            return self.op("prelu.default", x, [("weight", weight.into())], ty);
        }
        let above = self.op("relu.default", x, [], ty);
        let below = self.op("sub.Tensor", x, [("other", above.into())], ty);
        let below = self.op("mul.Tensor", below, [("other", weight.into())], ty);
        self.op("add.Tensor", above, [("other", below.into())], ty)
    }
}
