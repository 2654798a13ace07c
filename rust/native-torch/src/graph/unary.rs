//! The functions of one element, under their names in ATen.

/// Which formula a function uses, where torch has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeluKind {
    /// With the error function: torch's `approximate="none"`.
    Exact,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
    Tanh,
}

/// A function of one element. Where it has a kink, its derivative there is torch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `|x|`, derivative 0 at 0.
    Abs,
    /// `scale x + shift`.
    Affine {
        /// The factor.
        scale: f64,
        /// What is added.
        shift: f64,
    },
    /// The inverse tangent.
    Atan,
    /// `x` above 0, `alpha (exp(x / alpha) - 1)` elsewhere (Barron, 2017).
    Celu {
        /// The limit on the left; not 0.
        alpha: f64,
    },
    /// `min(max(x, min), max)`, derivative 1 on the bounds.
    Clamp {
        /// The smallest value, or -inf.
        min: f64,
        /// The largest value, or inf; it wins where the two contradict.
        max: f64,
    },
    /// `x`, whose derivative counts as 0: torch's `detach`.
    Detach,
    /// `scale x` above 0, `scale alpha (exp(x) - 1)` elsewhere (Clevert, Unterthiner and Hochreiter, 2016).
    Elu {
        /// The limit on the left, before `scale`.
        alpha: f64,
        /// The factor of both pieces.
        scale: f64,
    },
    /// The error function.
    Erf,
    /// The exponential.
    Exp,
    /// `exp(x) - 1`, exact where x is small.
    Expm1,
    /// The greatest whole number that is not above `x`, derivative 0.
    Floor,
    /// `x Phi(x)`, or its approximation (Hendrycks and Gimpel, 2016).
    Gelu(GeluKind),
    /// `x` where `|x| > lambd`, else 0; derivative 0 on the bounds.
    Hardshrink {
        /// Half the width of the flat piece.
        lambd: f64,
    },
    /// `min(max(x + 3, 0), 6) / 6`, derivative 0 on the bounds.
    Hardsigmoid,
    /// `x min(max(x + 3, 0), 6) / 6` (Howard et al., 2019), derivatives 0 and 1 at -3 and 3.
    Hardswish,
    /// `min(max(x, min), max)`, derivative 0 on the bounds; ReLU6 is this from 0 to 6.
    Hardtanh {
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// `x` above 0, `slope x` elsewhere.
    LeakyRelu {
        /// The slope for x <= 0.
        slope: f64,
    },
    /// The natural logarithm.
    Log,
    /// `log(1 + x)`, exact where x is small.
    Log1p,
    /// `log(1 / (1 + exp(-x)))`.
    LogSigmoid,
    /// `x tanh(log(1 + exp(x)))` (Misra, 2019).
    Mish,
    /// `-x`.
    Neg,
    /// `x` to a fixed power.
    Pow {
        /// The power.
        exponent: f64,
    },
    /// `1 / x`.
    Reciprocal,
    /// `max(x, 0)`, derivative 0 at 0.
    Relu,
    /// The nearest whole number, the even one of two, derivative 0.
    Round,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x / (1 + exp(-x))`.
    Silu,
    /// The sine.
    Sin,
    /// `log(1 + exp(beta x)) / beta`, and `x` where `beta x > threshold`.
    Softplus {
        /// The steepness.
        beta: f64,
        /// Where the function becomes `x`.
        threshold: f64,
    },
    /// `x` moved towards 0 by `lambd`, and 0 where `|x| <= lambd`; derivative 0 on the bounds.
    Softshrink {
        /// Half the width of the flat piece; not negative.
        lambd: f64,
    },
    /// `x / (1 + |x|)`.
    Softsign,
    /// The square root.
    Sqrt,
    /// `x^2`.
    Square,
    /// The hyperbolic tangent.
    Tanh,
    /// `x - tanh(x)`.
    Tanhshrink,
    /// `x` above `threshold`, else `value`; derivative 0 at the threshold.
    Threshold {
        /// The largest `x` that is replaced.
        threshold: f64,
        /// What replaces it.
        value: f64,
    },
}

impl Unary {
    /// ReLU6 (Krizhevsky, 2010).
    pub const RELU6: Unary = Unary::Hardtanh { min: 0.0, max: 6.0 };

    /// SELU with the constants of its paper (Klambauer et al., 2017).
    pub const SELU: Unary = Unary::Elu { alpha: 1.673_263_242_354_377_2, scale: 1.050_700_987_355_480_5 };

    /// The function's name in ATen.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Abs => "abs",
            Unary::Affine { .. } => "affine",
            Unary::Atan => "atan",
            Unary::Celu { .. } => "celu",
            Unary::Clamp { .. } => "clamp",
            Unary::Detach => "detach",
            Unary::Elu { .. } => "elu",
            Unary::Erf => "erf",
            Unary::Exp => "exp",
            Unary::Expm1 => "expm1",
            Unary::Floor => "floor",
            Unary::Gelu(_) => "gelu",
            Unary::Hardshrink { .. } => "hardshrink",
            Unary::Hardsigmoid => "hardsigmoid",
            Unary::Hardswish => "hardswish",
            Unary::Hardtanh { .. } => "hardtanh",
            Unary::LeakyRelu { .. } => "leaky_relu",
            Unary::Log => "log",
            Unary::Log1p => "log1p",
            Unary::LogSigmoid => "log_sigmoid",
            Unary::Mish => "mish",
            Unary::Neg => "neg",
            Unary::Pow { .. } => "pow",
            Unary::Reciprocal => "reciprocal",
            Unary::Relu => "relu",
            Unary::Round => "round",
            Unary::Rsqrt => "rsqrt",
            Unary::Sigmoid => "sigmoid",
            Unary::Silu => "silu",
            Unary::Sin => "sin",
            Unary::Softplus { .. } => "softplus",
            Unary::Softshrink { .. } => "softshrink",
            Unary::Softsign => "softsign",
            Unary::Sqrt => "sqrt",
            Unary::Square => "square",
            Unary::Tanh => "tanh",
            Unary::Tanhshrink => "tanhshrink",
            Unary::Threshold { .. } => "threshold",
        }
    }

    /// Each function with several settings, for tests that go through all of them.
    pub fn examples() -> Vec<Unary> {
        use Unary::*;
        vec![
            Abs,
            Affine { scale: -2.5, shift: 0.75 },
            Affine { scale: 0.0, shift: -1.0 },
            Atan,
            Clamp { min: -0.6, max: 0.7 },
            Clamp { min: 0.1, max: f64::INFINITY },
            Celu { alpha: 0.25 },
            Celu { alpha: 2.0 },
            Celu { alpha: -2.0 },
            Detach,
            Elu { alpha: 1.0, scale: 1.0 },
            Elu { alpha: -0.7, scale: 1.0 },
            Self::SELU,
            Erf,
            Exp,
            Expm1,
            Floor,
            Gelu(GeluKind::Exact),
            Gelu(GeluKind::Tanh),
            Hardshrink { lambd: 0.4 },
            Hardshrink { lambd: -0.4 },
            Hardsigmoid,
            Hardswish,
            Hardtanh { min: -1.0, max: 0.5 },
            Self::RELU6,
            LeakyRelu { slope: 0.01 },
            LeakyRelu { slope: -0.5 },
            LeakyRelu { slope: 3.0 },
            LeakyRelu { slope: 0.0 },
            Log,
            Log1p,
            LogSigmoid,
            Mish,
            Neg,
            Pow { exponent: 3.0 },
            Pow { exponent: -2.0 },
            Pow { exponent: -0.75 },
            Pow { exponent: 1.5 },
            Pow { exponent: 0.0 },
            Reciprocal,
            Relu,
            Round,
            Rsqrt,
            Sigmoid,
            Silu,
            Sin,
            Softplus { beta: 1.0, threshold: 20.0 },
            Softplus { beta: 2.0, threshold: 0.5 },
            Softplus { beta: -1.5, threshold: 1.0 },
            Softplus { beta: 0.5, threshold: -1.1 },
            Softshrink { lambd: 0.3 },
            Softshrink { lambd: 0.0 },
            Softsign,
            Sqrt,
            Square,
            Tanh,
            Tanhshrink,
            Threshold { threshold: 0.2, value: -0.5 },
            Threshold { threshold: -1.0, value: 20.0 },
        ]
    }

    /// The open interval of the `x` where the function and its derivatives are finite real numbers.
    pub fn domain(self) -> (f64, f64) {
        let positive = matches!(self, Unary::Log | Unary::Sqrt | Unary::Rsqrt)
            || matches!(self, Unary::Pow { exponent } if exponent.fract() != 0.0);
        let least = if self == Unary::Log1p { -1.0 } else { f64::NEG_INFINITY };
        (if positive { 0.0 } else { least }, f64::INFINITY)
    }

    /// Whether the function has a pole at 0 and both sides of it belong to its domain.
    pub fn has_pole(self) -> bool {
        match self {
            Unary::Reciprocal => true,
            Unary::Pow { exponent } => exponent < 0.0 && exponent.fract() == 0.0,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_hold_every_function() {
        let mut names: Vec<&str> = Unary::examples().into_iter().map(Unary::name).collect();
        names.sort_unstable();
        names.dedup();
        let source = include_str!("unary.rs");
        let arms =
            source.lines().filter(|line| line.trim().starts_with("Unary::") && line.trim().ends_with("\",")).count();
        assert_eq!(names.len(), arms);
    }
}
