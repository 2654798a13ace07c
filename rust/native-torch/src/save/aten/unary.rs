//! Functions of one element as calls: the operation that torch itself uses where there is one, so that torch's
//! derivatives at kinks are those of the graph.

use super::{call::Argument, call::Var, writer::Writer};
use crate::graph::{GeluKind, Type, Unary};

impl Writer<'_> {
    pub(super) fn unary(&mut self, unary: Unary, x: Var, ty: &Type) -> Var {
        let (target, arguments): (&str, Vec<(&'static str, Argument)>) = match unary {
            Unary::Abs => ("abs.default", vec![]),
            Unary::Affine { scale, shift } => return self.affine(scale, shift, x, ty),
            Unary::Celu { alpha } => ("celu.default", vec![("alpha", alpha.into())]),
            Unary::Clamp { min: f64::NEG_INFINITY, max: f64::INFINITY } => return x,
            Unary::Clamp { min, max } => {
                let min = if min == f64::NEG_INFINITY { Argument::None } else { min.into() };
                let max = if max == f64::INFINITY { Argument::None } else { max.into() };
                ("clamp.default", vec![("min", min), ("max", max)])
            }
            Unary::Elu { alpha, scale } => {
                ("elu.default", vec![("alpha", alpha.into()), ("scale", scale.into()), ("input_scale", 1.0.into())])
            }
            Unary::Atan => ("atan.default", vec![]),
            Unary::Sin => ("sin.default", vec![]),
            Unary::Erf => ("erf.default", vec![]),
            Unary::Detach => ("detach.default", vec![]),
            Unary::Floor => ("floor.default", vec![]),
            Unary::Round => ("round.default", vec![]),
            Unary::Exp => ("exp.default", vec![]),
            Unary::Expm1 => ("expm1.default", vec![]),
            Unary::Gelu(kind) => {
                let approximate = if kind == GeluKind::Tanh { "tanh" } else { "none" };
                ("gelu.default", vec![("approximate", Argument::Text(approximate))])
            }
            Unary::Hardshrink { lambd } => ("hardshrink.default", vec![("lambd", lambd.into())]),
            Unary::Hardsigmoid => ("hardsigmoid.default", vec![]),
            Unary::Hardswish => ("hardswish.default", vec![]),
            Unary::Hardtanh { min, max } => {
                ("hardtanh.default", vec![("min_val", min.into()), ("max_val", max.into())])
            }
            Unary::LeakyRelu { slope } => ("leaky_relu.default", vec![("negative_slope", slope.into())]),
            Unary::Log => ("log.default", vec![]),
            Unary::Log1p => ("log1p.default", vec![]),
            Unary::LogSigmoid => ("log_sigmoid.default", vec![]),
            Unary::Mish => ("mish.default", vec![]),
            Unary::Neg => ("neg.default", vec![]),
            Unary::Pow { exponent } => {
                // The root's infinite slope at 0 counts as 0 in the graph; x itself with the slope 0 there is this.
                let is_root = exponent > 0.0 && exponent < 1.0;
                let x = if is_root { self.op("hardshrink.default", x, [("lambd", 0.0.into())], ty) } else { x };
                return self.op("pow.Tensor_Scalar", x, [("exponent", exponent.into())], ty);
            }
            Unary::Reciprocal => ("reciprocal.default", vec![]),
            Unary::Relu => ("relu.default", vec![]),
            Unary::Rsqrt => ("rsqrt.default", vec![]),
            Unary::Sigmoid => ("sigmoid.default", vec![]),
            Unary::Silu => ("silu.default", vec![]),
            Unary::Softplus { beta, threshold } => {
                ("softplus.default", vec![("beta", beta.into()), ("threshold", threshold.into())])
            }
            Unary::Softshrink { lambd } => ("softshrink.default", vec![("lambd", lambd.into())]),
            Unary::Softsign => {
                let length = self.op("abs.default", x, [], ty);
                let divisor = self.op("add.Scalar", length, [("other", 1.0.into())], ty);
                return self.op("div.Tensor", x, [("other", divisor.into())], ty);
            }
            Unary::Sqrt => ("sqrt.default", vec![]),
            Unary::Square => ("square.default", vec![]),
            Unary::Tanh => ("tanh.default", vec![]),
            Unary::Tanhshrink => {
                let tanh = self.op("tanh.default", x, [], ty);
                return self.op("sub.Tensor", x, [("other", tanh.into())], ty);
            }
            Unary::Threshold { threshold, value } => {
                ("threshold.default", vec![("threshold", threshold.into()), ("value", value.into())])
            }
        };
        self.op(target, x, arguments, ty)
    }

    fn affine(&mut self, scale: f64, shift: f64, x: Var, ty: &Type) -> Var {
        let x = if scale == 1.0 { x } else { self.op("mul.Scalar", x, [("other", scale.into())], ty) };
        if shift == 0.0 { x } else { self.op("add.Scalar", x, [("other", shift.into())], ty) }
    }
}
