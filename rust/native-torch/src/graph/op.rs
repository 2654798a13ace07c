//! The operations, at the level of ATen. Each room has one rule per operation under the same name.

use std::{ops::Deref, sync::Arc};

use super::{Graph, Unary};

/// An operation. Dimensions are counted from 0 at the front; operands are listed behind each.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A function of each element: (x).
    Unary(Unary),
    /// Sum of two values, the smaller one repeated: (a, b).
    Add,
    /// Difference of two values, the smaller one repeated: (a, b).
    Sub,
    /// Element-wise product of two values, the smaller one repeated: (a, b).
    Mul,
    /// Element-wise quotient of two values, the smaller one repeated: (a, b).
    Div,
    /// `x W' + b` over the last dimension: (x `[.., in]`, weight `[out, in]`, bias `[out]` or none).
    Linear,
    /// Convolution: (x `[N, C, ..]` or `[C, ..]`, weight `[out, C / groups, ..]`, bias `[out]` or none).
    Conv(Conv),
    /// Transposed convolution, the product with a convolution's transposed matrix: (x `[N, C, ..]` or `[C, ..]`, weight
    /// `[C, out / groups, ..]`, bias `[out]` or none).
    ConvTranspose {
        /// The convolution, from the result to the operand.
        conv: Conv,
        /// For each spatial dimension, how many places at its end the convolution leaves out.
        output_padding: Vec<usize>,
    },
    /// Average pooling: (x `[N, C, ..]` or `[C, ..]`).
    AvgPool(AvgPool),
    /// Maximum pooling, padded with -inf: (x `[N, C, ..]` or `[C, ..]`).
    MaxPool(MaxPool),
    /// Average pooling to these sizes, or to the operand's own: (x `[N, C, ..]` or `[C, ..]`).
    AdaptiveAvgPool(Vec<Option<usize>>),
    /// Maximum pooling to these sizes, or to the operand's own: (x `[N, C, ..]` or `[C, ..]`).
    AdaptiveMaxPool(Vec<Option<usize>>),
    /// Interpolation of images to another size: (x `[N, C, ..]`).
    Upsample(Upsample),
    /// The windows of an image, one after another as columns: (x `[N, C, ..]` or `[C, ..]`), to `[N, C taps, windows]`.
    Unfold(Blocks),
    /// The sum of windows at their places in an image, the transposed of `Unfold`: (x `[N, C taps, windows]` or
    /// `[C taps, windows]`), to `[N, C, ..]`.
    Fold {
        /// The sizes of the image.
        sizes: Vec<usize>,
        /// The windows.
        blocks: Blocks,
    },
    /// Padding of the last dimensions: (x).
    Pad {
        /// Elements before and after, for each of the last dimensions; negative ones are cut off.
        amounts: Vec<(isize, isize)>,
        /// What stands in the new places.
        padding: Padding,
    },
    /// Normalisation over the last dimensions: (x, weight or none, bias or none).
    LayerNorm {
        /// How many of the last dimensions are normalised together.
        axes: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// Division by the root mean square over the last dimensions (Zhang and Sennrich, 2019): (x, weight or none).
    RmsNorm {
        /// How many of the last dimensions are normalised together.
        axes: usize,
        /// Added to the mean square; without it, the machine epsilon of the type that is computed in, as torch takes
        /// that of the input.
        eps: Option<f64>,
    },
    /// `x` above 0, `weight x` elsewhere; the weight is repeated: (x, weight).
    Prelu,
    /// Compares two values, the smaller one repeated; the result is a mask, which has no derivative: (a, b).
    Compare(Comparison),
    /// `a` where a mask holds, `b` elsewhere, the smaller ones repeated: (mask, a, b). Of masks it makes a mask.
    Where,
    /// The first graph's outputs where a mask of one element holds, the second one's elsewhere: (mask, x `[n]`). Only the
    /// one that is taken is computed. Both take `x` cut into inputs of the same sizes, and give results of the same
    /// sizes, which stand one after another in the result.
    If([Subgraph; 2]),
    /// A loop: (x `[n]`). Both graphs take `x` cut into inputs. As long as the one output of `condition`, a number of one
    /// element, is not 0, the outputs of `body` take the place of as many inputs from the front; these are the result.
    While {
        /// Whether there is another turn.
        condition: Subgraph,
        /// What a turn computes.
        body: Subgraph,
    },
    /// The logarithm of softmax over one dimension: (x).
    LogSoftmax {
        /// The dimension.
        dim: usize,
    },
    /// Rows of a table: (weight `[rows, width]`, indices of integers).
    Embedding,
    /// Softmax over one dimension: (x).
    Softmax {
        /// The dimension.
        dim: usize,
    },
    /// Joins the dimensions `start ..= end`: (x).
    Flatten {
        /// The first.
        start: usize,
        /// The last.
        end: usize,
    },
    /// Splits a dimension: (x).
    Unflatten {
        /// The dimension.
        dim: usize,
        /// What it becomes; one size may be left open, and is then what the others leave.
        sizes: Vec<Option<usize>>,
    },
    /// The dimensions in another order: (x).
    Permute {
        /// Which dimension of the operand each of the result's is.
        dims: Vec<usize>,
    },
    /// Every `step`-th index of a dimension from `start` to before `end`, cut at its size: (x).
    Slice {
        /// The dimension.
        dim: usize,
        /// The first index.
        start: usize,
        /// The index that is no longer taken.
        end: usize,
        /// The distance between indices.
        step: usize,
    },
    /// Sums over dimensions: (x).
    Sum {
        /// The dimensions, each once.
        dims: Vec<usize>,
        /// Whether they stay, with a size of 1.
        keepdim: bool,
    },
    /// Means over dimensions: (x).
    Mean {
        /// The dimensions, each once.
        dims: Vec<usize>,
        /// Whether they stay, with a size of 1.
        keepdim: bool,
    },
    /// Values one after another along a dimension: (a, b, ..).
    Cat {
        /// The dimension.
        dim: usize,
    },
}

/// A graph within a graph; two are equal if they are the same.
#[derive(Clone, Debug)]
pub struct Subgraph(pub Arc<Graph>);

impl PartialEq for Subgraph {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Subgraph {
    type Target = Graph;

    fn deref(&self) -> &Graph {
        &self.0
    }
}

impl Subgraph {
    /// The sizes of its inputs and of its outputs.
    pub(crate) fn signature(&self) -> [Vec<Vec<usize>>; 2] {
        [self.inputs(), self.outputs()].map(|values| values.iter().map(|named| self.sizes(named.value)).collect())
    }

    /// The number of elements of its inputs and of its outputs.
    pub(crate) fn numels(&self) -> [usize; 2] {
        [self.inputs(), self.outputs()].map(|values| values.iter().map(|named| self.numel(named.value)).sum())
    }
}

/// How two numbers are compared; with NaN, only `NotEqual` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `a > b`.
    Greater,
    /// `a >= b`.
    GreaterEqual,
    /// `a < b`.
    Less,
    /// `a <= b`.
    LessEqual,
    /// `a == b`.
    Equal,
    /// `a != b`.
    NotEqual,
}

impl Comparison {
    /// Every comparison.
    pub const ALL: [Comparison; 6] = [
        Comparison::Greater,
        Comparison::GreaterEqual,
        Comparison::Less,
        Comparison::LessEqual,
        Comparison::Equal,
        Comparison::NotEqual,
    ];

    /// Whether it holds.
    #[inline(always)]
    pub fn holds<T: PartialOrd>(self, a: T, b: T) -> bool {
        match self {
            Comparison::Greater => a > b,
            Comparison::GreaterEqual => a >= b,
            Comparison::Less => a < b,
            Comparison::LessEqual => a <= b,
            Comparison::Equal => a == b,
            Comparison::NotEqual => a != b,
        }
    }

    /// The one that holds for `(b, a)` where this holds for `(a, b)`.
    pub fn turned(self) -> Self {
        match self {
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterEqual => Comparison::LessEqual,
            Comparison::Less => Comparison::Greater,
            Comparison::LessEqual => Comparison::GreaterEqual,
            same => same,
        }
    }

    /// The name in ATen.
    pub fn name(self) -> &'static str {
        match self {
            Comparison::Greater => "gt",
            Comparison::GreaterEqual => "ge",
            Comparison::Less => "lt",
            Comparison::LessEqual => "le",
            Comparison::Equal => "eq",
            Comparison::NotEqual => "ne",
        }
    }
}

/// The attributes of a convolution; one entry per spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Steps between windows.
    pub stride: Vec<usize>,
    /// Zeros before and after.
    pub padding: Vec<(usize, usize)>,
    /// Steps inside a window.
    pub dilation: Vec<usize>,
    /// Into how many independent convolutions the channels are split.
    pub groups: usize,
}

/// The attributes of average pooling; one entry per spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvgPool {
    /// Sizes of the window.
    pub kernel: Vec<usize>,
    /// Steps between windows.
    pub stride: Vec<usize>,
    /// Zeros on both sides.
    pub padding: Vec<usize>,
    /// Whether a last window may reach beyond the padded input.
    pub ceil_mode: bool,
    /// Whether padding counts in the divisor.
    pub count_include_pad: bool,
    /// The divisor, instead of the number of elements.
    pub divisor: Option<i64>,
}

/// The attributes of maximum pooling; one entry per spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxPool {
    /// Sizes of the window.
    pub kernel: Vec<usize>,
    /// Steps between windows.
    pub stride: Vec<usize>,
    /// Places of -inf on both sides.
    pub padding: Vec<usize>,
    /// Steps inside a window.
    pub dilation: Vec<usize>,
    /// Whether a last window may reach beyond the padded input.
    pub ceil_mode: bool,
}

/// Windows that are read as they are; one entry per spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Sizes of the window.
    pub kernel: Vec<usize>,
    /// Steps between windows.
    pub stride: Vec<usize>,
    /// Steps inside a window.
    pub dilation: Vec<usize>,
}

/// The attributes of interpolation.
#[derive(Clone, Debug, PartialEq)]
pub struct Upsample {
    /// How a place is made of its neighbours.
    pub mode: Interpolation,
    /// The size of the result; one entry per spatial dimension.
    pub target: Target,
    /// Whether the centres of the first and last places stay where they are, instead of the outer edges.
    pub align_corners: bool,
}

/// How interpolation weighs neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The one place below, torch's `nearest`.
    Nearest,
    /// The one place whose centre is nearest.
    NearestExact,
    /// Two places in each dimension.
    Linear,
    /// Four places in each dimension.
    Cubic,
}

/// The size that images are brought to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// These sizes.
    Sizes(Vec<usize>),
    /// The operand's sizes times these factors, rounded down.
    Factors {
        /// The factors, positive.
        factors: Vec<f64>,
        /// Whether places are found by the ratio of the sizes instead of the factor.
        recompute: bool,
    },
}

/// What padding puts in the new places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Padding {
    /// A number.
    Constant(f64),
    /// The input mirrored at its edge, the edge not repeated.
    Reflect,
    /// The edge.
    Replicate,
    /// The other end.
    Circular,
}

impl Op {
    /// The operation's name in ATen.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Unary(unary) => unary.name(),
            Op::Add => "add",
            Op::Sub => "sub",
            Op::Mul => "mul",
            Op::Div => "div",
            Op::Linear => "linear",
            Op::Conv(_) => "convolution",
            Op::ConvTranspose { .. } => "convolution_transpose",
            Op::AdaptiveAvgPool(_) => "adaptive_avg_pool",
            Op::AdaptiveMaxPool(_) => "adaptive_max_pool",
            Op::Upsample(_) => "upsample",
            Op::Unfold(_) => "im2col",
            Op::Fold { .. } => "col2im",
            Op::AvgPool(_) => "avg_pool",
            Op::MaxPool(_) => "max_pool",
            Op::Pad { .. } => "pad",
            Op::LayerNorm { .. } => "layer_norm",
            Op::RmsNorm { .. } => "rms_norm",
            Op::Prelu => "prelu",
            Op::Compare(comparison) => comparison.name(),
            Op::Where => "where",
            Op::If(_) => "cond",
            Op::While { .. } => "while_loop",
            Op::LogSoftmax { .. } => "log_softmax",
            Op::Embedding => "embedding",
            Op::Softmax { .. } => "softmax",
            Op::Flatten { .. } => "flatten",
            Op::Unflatten { .. } => "unflatten",
            Op::Permute { .. } => "permute",
            Op::Slice { .. } => "slice",
            Op::Sum { .. } => "sum",
            Op::Mean { .. } => "mean",
            Op::Cat { .. } => "cat",
        }
    }
}
