//! Which forms each kind of operation has.

use crate::{
    Error, Result,
    graph::{Op, Unary},
};

/// The forms of a kind of operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FormsOf {
    /// The operation's name in ATen.
    pub kind: &'static str,
    /// The kind whose choice it follows where there is none of its own.
    pub family: &'static str,
    /// The names of its forms in full space.
    pub forms: &'static [&'static str],
    /// Whether it can be an expression, in reduced space.
    pub reduced: bool,
}

const SMOOTH: &[&str] = &["nonlinear"];
const EXACT: &[&str] = &["exact"];
const SOFTPLUS: &[&str] = &["nonlinear", "epigraph", "cone"];
/// Of functions that are piecewise linear; `epigraph` where they are convex or concave within the bounds.
const BENT: &[&str] =
    &["nonlinear", "big_m", "sos1", "quadratic", "complementarity", "indicator", "epigraph", "partition"];
/// Of comparisons and choices.
const CHOICE: &[&str] = &["nonlinear", "big_m"];
/// Of products with such a function.
const PRODUCT: &[&str] = &["nonlinear", "big_m", "sos1", "quadratic", "complementarity", "indicator", "partition"];
const EXTREME: &[&str] =
    &["nonlinear", "big_m", "sos1", "quadratic", "complementarity", "indicator", "epigraph", "partition", "pairwise"];

const fn row(kind: &'static str, family: &'static str, forms: &'static [&'static str], reduced: bool) -> FormsOf {
    FormsOf { kind, family, forms, reduced }
}

/// Every kind of operation. What is linear, or copies, has one form, which is `exact`.
pub const FORMS: &[FormsOf] = &[
    row("relu", "relu", BENT, true),
    row("leaky_relu", "relu", BENT, true),
    row("prelu", "relu", BENT, true),
    row("abs", "relu", BENT, true),
    row("clamp", "relu", BENT, true),
    row("hardtanh", "relu", BENT, true),
    row("hardsigmoid", "relu", BENT, true),
    row("hardswish", "relu", PRODUCT, true),
    row("softshrink", "relu", BENT, true),
    row("max_pool", "max_pool", EXTREME, true),
    row("adaptive_max_pool", "max_pool", EXTREME, true),
    row("where", "where", CHOICE, true),
    row("gt", "where", CHOICE, true),
    row("ge", "where", CHOICE, true),
    row("lt", "where", CHOICE, true),
    row("le", "where", CHOICE, true),
    row("eq", "eq", SMOOTH, true),
    row("ne", "ne", SMOOTH, true),
    row("softplus", "softplus", SOFTPLUS, true),
    row("hardshrink", "hardshrink", SMOOTH, true),
    row("threshold", "threshold", SMOOTH, true),
    row("elu", "elu", SMOOTH, true),
    row("celu", "celu", SMOOTH, true),
    row("atan", "atan", SMOOTH, true),
    row("sin", "sin", SMOOTH, true),
    row("erf", "erf", SMOOTH, true),
    row("exp", "exp", SMOOTH, true),
    row("expm1", "expm1", SMOOTH, true),
    row("gelu", "gelu", SMOOTH, true),
    row("log", "log", SMOOTH, true),
    row("log1p", "log1p", SMOOTH, true),
    row("log_sigmoid", "log_sigmoid", SMOOTH, true),
    row("mish", "mish", SMOOTH, true),
    row("pow", "pow", SMOOTH, true),
    row("reciprocal", "reciprocal", SMOOTH, true),
    row("rsqrt", "rsqrt", SMOOTH, true),
    row("sigmoid", "sigmoid", SMOOTH, true),
    row("silu", "silu", SMOOTH, true),
    row("softsign", "softsign", SMOOTH, true),
    row("sqrt", "sqrt", SMOOTH, true),
    row("square", "square", SMOOTH, true),
    row("tanh", "tanh", SMOOTH, true),
    row("tanhshrink", "tanhshrink", SMOOTH, true),
    row("layer_norm", "layer_norm", SMOOTH, true),
    row("rms_norm", "rms_norm", SMOOTH, true),
    row("softmax", "softmax", SMOOTH, true),
    row("log_softmax", "log_softmax", SMOOTH, true),
    row("mul", "mul", SMOOTH, true),
    row("div", "div", SMOOTH, true),
    row("cond", "cond", EXACT, true),
    row("while_loop", "while_loop", EXACT, true),
    row("affine", "affine", EXACT, true),
    row("neg", "neg", EXACT, true),
    row("detach", "detach", EXACT, true),
    row("floor", "floor", EXACT, false),
    row("round", "round", EXACT, false),
    row("add", "add", EXACT, true),
    row("sub", "sub", EXACT, true),
    row("linear", "linear", EXACT, true),
    row("convolution", "convolution", EXACT, true),
    row("convolution_transpose", "convolution_transpose", EXACT, true),
    row("avg_pool", "avg_pool", EXACT, true),
    row("adaptive_avg_pool", "adaptive_avg_pool", EXACT, true),
    row("upsample", "upsample", EXACT, true),
    row("im2col", "im2col", EXACT, true),
    row("col2im", "col2im", EXACT, true),
    row("pad", "pad", EXACT, true),
    row("flatten", "flatten", EXACT, true),
    row("unflatten", "unflatten", EXACT, true),
    row("permute", "permute", EXACT, true),
    row("slice", "slice", EXACT, true),
    row("sum", "sum", EXACT, true),
    row("mean", "mean", EXACT, true),
    row("embedding", "embedding", EXACT, true),
    row("cat", "cat", EXACT, true),
];

/// Other names of kinds, as torch calls the layers.
const ALIASES: &[(&str, &str)] = &[("relu6", "hardtanh"), ("selu", "elu"), ("swish", "silu")];

/// The entry of an operation.
pub(super) fn of(op: &Op) -> &'static FormsOf {
    let name = match op {
        // Where the two pieces meet, it is a ReLU that is shifted.
        Op::Unary(Unary::Threshold { threshold, value }) if threshold == value => "relu",
        _ => op.name(),
    };
    FORMS.iter().find(|entry| entry.kind == name).expect("every operation has an entry; a test goes through them")
}

/// The entry of this name, in any spelling.
pub(super) fn entry(kind: &str) -> Result<&'static FormsOf> {
    let plain = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let mut wanted = plain(kind);
    for dims in ["1d", "2d", "3d"] {
        wanted = wanted.strip_suffix(dims).map_or(wanted.clone(), str::to_owned);
    }
    if let Some((_, kind)) = ALIASES.iter().find(|(alias, _)| *alias == wanted) {
        wanted = plain(kind);
    }
    let known = FORMS.iter().find(|entry| plain(entry.kind) == wanted && entry.forms != EXACT);
    known.ok_or_else(|| {
        let with_choice = FORMS.iter().filter(|entry| entry.forms != EXACT);
        let names: Vec<&str> = with_choice.map(|entry| entry.kind).collect();
        Error::argument(format!("there is no kind of layer `{kind}`; there are {}", names.join(", ")))
    })
}

/// The names of all forms.
pub(super) fn all_names() -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in FORMS.iter().filter(|entry| entry.forms != EXACT).flat_map(|entry| entry.forms) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names.join(", ")
}
