//! The kernels: for each operation its value, its products with tangents and adjoints, and its curvature.
//!
//! Two layouts, so that every matrix product reads the weights as they are stored:
//!
//! - forward, values of several points or tangents in several directions stand side by side: `[element, column]`;
//! - in reverse, adjoints of several outputs stand one below the other: `[row, element]`.
//!
//! Derivatives are taken at several points at once, each with its own directions: tangents are then `[element, point,
//! column]` and adjoints `[point, row, element]`. An operation whose derivative does not depend on the point treats all
//! of them alike.
// A kernel's arguments are the matrices that it multiplies; bundling them would only hide that.
#![allow(clippy::too_many_arguments)]

mod arithmetic;
mod choice;
pub(super) mod constant;
pub(super) mod contraction;
mod convolution;
mod flow;
mod linear;
mod map;
mod maximum;
mod normalization;
mod softmax;
mod unary;

pub(super) use super::matmul::Write;
use super::{chain::Chain, matmul::Panels, memory::Slots};
use constant::Constant;

use std::ops::Range;

use crate::{
    Error, Result,
    graph::{Graph, Map, Node, Op, Read, Source, ValueId, split_at_dim},
    tensor::Real,
};

/// The values of a kernel's operands.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a, T> {
    /// The values that are computed.
    pub slots: Slots<'a, T>,
    /// Where each operand is.
    pub places: &'a [Place<T>],
    /// The number of points: values are `[element, point]`.
    pub points: usize,
}

/// Where a value is.
#[derive(Clone, Debug)]
pub(super) enum Place<T> {
    /// Computed at every point: slot and number of elements.
    Slot(usize, usize),
    /// The same for all points.
    Constant(Constant<T>),
}

impl<T> Place<T> {
    /// The number of elements.
    pub fn size(&self) -> usize {
        match self {
            Place::Slot(_, size) => *size,
            Place::Constant(numbers) => numbers.len(),
        }
    }
}

impl<'a, T> Operands<'a, T> {
    /// The elements of an operand, and whether they are the same for all points.
    pub fn get(&self, operand: usize) -> (&'a [T], bool) {
        match &self.places[operand] {
            Place::Slot(slot, size) => (self.slots.get(*slot, self.points, size * self.points), false),
            Place::Constant(constant) => (constant, true),
        }
    }

    /// What of an operand some elements of an element-wise result need: its own such elements, where it has one for each
    /// of the result's, or all of it. Nothing of an operand that is not there.
    pub fn part(&self, operand: usize, own: bool, part: &Range<usize>) -> Part<'a, T> {
        if operand >= self.places.len() {
            return Part::Whole(&[], true);
        }
        match self.get(operand) {
            (numbers, constant) if own && (!constant || self.points == 1) => Part::Own(&numbers[part.clone()]),
            (numbers, constant) => Part::Whole(numbers, constant),
        }
    }
}

/// What an element-wise operation reads of an operand.
#[derive(Clone, Copy)]
pub(super) enum Part<'a, T> {
    /// As many elements as it computes.
    Own(&'a [T]),
    /// All of it, and whether it is the same for all points.
    Whole(&'a [T], bool),
}

/// Where a derivative is taken: operands and result, `[element, point]`.
#[derive(Clone, Copy)]
pub(super) struct At<'a, T> {
    pub x: Operands<'a, T>,
    pub y: &'a [T],
}

impl<T> At<'_, T> {
    /// The number of points.
    pub fn points(&self) -> usize {
        self.x.points
    }
}

/// Memory for intermediate results.
#[derive(Debug)]
pub(super) struct Scratch<T> {
    /// For [`super::matmul::matmul`].
    pub panel: Panels<T>,
    /// For the kernels; grows to what the largest needs.
    pub work: Vec<T>,
    /// For places that a kernel looks up once for all columns.
    pub places: Vec<usize>,
    /// For what the places of a row read.
    pub reads: Vec<Read>,
    /// For convolutions.
    pub runs: Vec<convolution::Run>,
    /// Why a result is no number, where a loop did not end.
    pub fault: Option<Error>,
}

impl<T: Real> Scratch<T> {
    /// For kernels that may use so many threads.
    pub fn new(threads: usize) -> Self {
        Self {
            panel: Panels::new(threads),
            work: Vec::new(),
            places: Vec::new(),
            reads: Vec::new(),
            runs: Vec::new(),
            fault: None,
        }
    }

    /// The panel, and `length` elements of working memory with any content.
    pub fn take(&mut self, length: usize) -> (&mut Panels<T>, &mut [T]) {
        if self.work.len() < length {
            self.work.resize(length, T::ZERO);
        }
        (&mut self.panel, &mut self.work[..length])
    }
}

/// One operation with its sizes.
pub(super) trait Kernel<T: Real>: Send + Sync {
    /// `y = op(x)` at `x.points` points.
    fn forward(&self, x: Operands<T>, y: &mut [T], scratch: &mut Scratch<T>);

    /// The same with the links of a chain, best for each part of the result when it has been written.
    fn forward_chain(&self, x: Operands<T>, y: &mut [T], scratch: &mut Scratch<T>, chain: &mut Chain<T>) {
        self.forward(x, y, scratch);
        chain.follow(y, 0..y.len());
    }

    /// Whether each element of the result reads this operand at its own place, so that [`Kernel::elements`] computes parts.
    fn is_elementwise(&self, _operand: usize) -> bool {
        false
    }

    /// The elements of an element-wise result from number `first` on, at so many points.
    fn elements(&self, _first: usize, _points: usize, _x: [Part<T>; 2], _y: &mut [T]) {
        unreachable!("an operation that is not element-wise")
    }

    /// `out (+)= J t` for the Jacobian by one operand; `t` and `out` are `[element, point, column]`.
    fn jvp(&self, operand: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>);

    /// `out (+)= J' g` for the Jacobian by one operand; `g` and `out` are `[point, row, element]`.
    fn vjp(&self, operand: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>);

    /// Whether the result may have a derivative by an operand; its products are asked for where it may only.
    fn is_smooth(&self, _operand: usize) -> bool {
        true
    }

    /// The pairs of operands by which the second derivative is not zero.
    fn curved(&self) -> &'static [(usize, usize)] {
        &[]
    }

    /// `out = D t`, where D is the second derivative of `lambda' op(x)` by the pair's operands and `t` a tangent of
    /// the second one; `t` and `out` are `[element, point, column]`, `lambda` is `[point, element]`. Called for the
    /// pairs in [`Kernel::curved`] only.
    fn curvature(
        &self,
        _pair: (usize, usize),
        _at: At<T>,
        _lambda: &[T],
        _columns: usize,
        _t: &[T],
        _out: &mut [T],
        _s: &mut Scratch<T>,
    ) {
        unreachable!("an operation without curvature")
    }

    /// The Jacobian itself, `[result, operand]`, if it is stored as such: it is then the product with an identity.
    fn jacobian(&self) -> Option<&[T]> {
        None
    }

    /// Floating-point operations of a product with one tangent or adjoint.
    fn cost(&self) -> f64;
}

/// Makes a node's kernel, with room for so many elements beside its constants, of which it may take some.
pub(super) fn kernel<T: Real>(
    graph: &Graph,
    node: &Node,
    constants: &dyn Fn(ValueId) -> Option<Constant<T>>,
    room: &mut usize,
) -> Result<Box<dyn Kernel<T>>> {
    let sizes: Vec<Vec<usize>> = node.inputs.iter().map(|&v| graph.sizes(v)).collect();
    let x = &sizes[0];
    let y = graph.sizes(node.outputs[0]);
    let count = y.iter().product();
    let constant = |operand: usize| -> Result<Option<Constant<T>>> {
        let Some(&value) = node.inputs.get(operand) else { return Ok(None) };
        constants(value).map(Some).ok_or_else(|| {
            let what = match graph.values()[value.index()].source {
                Source::Input(_) => "an input",
                _ => "computed",
            };
            Error::unsupported(format!("operand {operand} of {} is {what}; it must be a parameter", node.op.name()))
                .at(&node.scope)
        })
    };
    Ok(match &node.op {
        Op::Unary(unary) => Box::new(unary::Unary { unary: *unary, size: count }),
        Op::Add => Box::new(arithmetic::Binary::new(arithmetic::Function::Sum, &sizes, &y)),
        Op::Sub => Box::new(arithmetic::Binary::new(arithmetic::Function::Difference, &sizes, &y)),
        Op::Mul => Box::new(arithmetic::Binary::new(arithmetic::Function::Product, &sizes, &y)),
        Op::Div => Box::new(arithmetic::Binary::new(arithmetic::Function::Quotient, &sizes, &y)),
        Op::Embedding => Box::new(arithmetic::Rows { rows: graph.embedding_rows(node)?, width: x[1], table: x[0] }),
        Op::Prelu => Box::new(arithmetic::Binary::new(arithmetic::Function::Prelu, &sizes, &y)),
        Op::Compare(comparison) => {
            Box::new(arithmetic::Binary::new(arithmetic::Function::Compare(*comparison), &sizes, &y))
        }
        Op::Where => Box::new(choice::Choice::new(&sizes, &y)),
        Op::If(branches) => Box::new(flow::Nested(flow::Branches::new(branches)?)),
        Op::While { condition, body } => Box::new(flow::Nested(flow::Loop::new(condition, body, &node.scope)?)),
        Op::Cat { dim } => Box::new(arithmetic::Concatenation::new(*dim, &sizes)),
        Op::Linear => {
            let weight = constant(1)?.expect("linear has a weight");
            let rows = x[..x.len() - 1].iter().product();
            Box::new(linear::Linear::new(weight, constant(2)?, rows, [sizes[1][0], sizes[1][1]], room))
        }
        Op::Conv(conv) => {
            let weight = constant(1)?.expect("convolution has a weight");
            Box::new(convolution::Convolution::new(conv, weight, constant(2)?, x, &sizes[1], &y))
        }
        Op::ConvTranspose { conv, .. } => {
            let weight = constant(1)?.expect("convolution has a weight");
            let convolution = convolution::Convolution::new(conv, weight, constant(2)?, &y, &sizes[1], x);
            Box::new(convolution::Transposed(convolution))
        }
        Op::AvgPool(_)
        | Op::AdaptiveAvgPool(_)
        | Op::Upsample(_)
        | Op::Unfold(_)
        | Op::Fold { .. }
        | Op::Pad { .. }
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Sum { .. }
        | Op::Mean { .. } => {
            Box::new(map::LinearMap::new(Map::of(&node.op, x).expect("the operation is a linear map")))
        }
        Op::MaxPool(_) | Op::AdaptiveMaxPool(_) => {
            Box::new(maximum::Maximum::new(Map::of_maximum(&node.op, x).expect("the operation is a maximum pool")))
        }
        Op::LayerNorm { axes, .. } | Op::RmsNorm { axes, .. } => {
            let (eps, centred) = match &node.op {
                Op::RmsNorm { eps, .. } => (eps.map_or(T::EPSILON, T::from_f64), false),
                Op::LayerNorm { eps, .. } => (T::from_f64(*eps), true),
                _ => unreachable!("one of the two"),
            };
            let length = x[x.len() - axes..].iter().product();
            let groups = x[..x.len() - axes].iter().product();
            Box::new(normalization::Norm { centred, groups, length, eps, weight: constant(1)?, bias: constant(2)? })
        }
        Op::Softmax { dim } => {
            let (outer, length, inner) = split_at_dim(x, *dim);
            Box::new(softmax::Softmax { outer, length, inner })
        }
        Op::LogSoftmax { dim } => {
            let (outer, length, inner) = split_at_dim(x, *dim);
            Box::new(softmax::LogSoftmax(softmax::Softmax { outer, length, inner }))
        }
        Op::Flatten { .. } | Op::Unflatten { .. } => unreachable!("a flattened value is the same memory"),
    })
}
