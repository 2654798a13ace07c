//! Normalisation of groups of elements: LayerNorm, RMSNorm, GroupNorm, LocalResponseNorm.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, python_tuple};
use crate::{
    Error, Result,
    graph::{AvgPool, Dim, Op, Padding, Unary, ValueId},
    load::{compose, value::python_float},
    tensor::Tensor,
};

/// LayerNorm, and RMSNorm, which has no bias and may have no eps.
#[derive(Debug)]
struct LayerNorm {
    shape: Vec<usize>,
    op: Op,
    affine: bool,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
}

pub(super) fn layer_norm(fields: &Fields) -> Result<Standard> {
    let (shape, affine, weight) = normalized(fields)?;
    let bias = fields.tensor_of("bias", &shape, &because(&shape))?;
    let eps = fields.float("eps")?;
    if !affine && bias.is_some() {
        return Err(Error::format("elementwise_affine=False, but it has a weight or a bias"));
    }
    if weight.is_none() && bias.is_some() {
        return Err(Error::unsupported("a `bias` without a `weight`; give it a weight of ones before saving"));
    }
    let op = Op::LayerNorm { axes: shape.len(), eps };
    Ok(Standard::new(LayerNorm { shape, op, affine, weight, bias }))
}

pub(super) fn rms_norm(fields: &Fields) -> Result<Standard> {
    let (shape, affine, weight) = normalized(fields)?;
    let eps = if fields.is_set("eps") { Some(fields.float("eps")?) } else { fields.mention("eps") };
    let op = Op::RmsNorm { axes: shape.len(), eps };
    Ok(Standard::new(LayerNorm { shape, op, affine, weight, bias: None }))
}

fn because(shape: &[usize]) -> String {
    format!("the sizes normalized_shape={}", python_tuple(shape))
}

/// What both have: the sizes that are normalised together, whether there is an affine part, and its weight.
fn normalized(fields: &Fields) -> Result<(Vec<usize>, bool, Option<Tensor>)> {
    let shape = fields.sizes("normalized_shape")?;
    if shape.is_empty() {
        return Err(Error::format("attribute `normalized_shape` is empty, which torch refuses"));
    }
    let affine = fields.bool_or("elementwise_affine", true)?;
    let weight = fields.tensor_of("weight", &shape, &because(&shape))?;
    if !affine && weight.is_some() {
        return Err(Error::format("elementwise_affine=False, but it has a weight or a bias"));
    }
    Ok((shape, affine, weight))
}

impl Rule for LayerNorm {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        let (eps, bias) = match &self.op {
            Op::LayerNorm { eps, .. } => (python_float(*eps), Some(("bias", python_bool(self.bias.is_some())))),
            Op::RmsNorm { eps: Some(eps), .. } => (python_float(*eps), None),
            _ => ("None".to_owned(), None),
        };
        let mut arguments = vec![
            ("normalized_shape", python_tuple(&self.shape)),
            ("eps", eps),
            ("elementwise_affine", python_bool(self.affine)),
        ];
        arguments.extend(bias);
        arguments
    }

    fn expects(&self) -> Expects {
        let sizes = self.shape.iter().map(|&size| Dim::Size(size));
        Expects::Shape([Dim::symbol("N")].into_iter().chain(sizes).collect())
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let shape = &place.builder.ty(x).shape;
        let start = shape.len().checked_sub(self.shape.len());
        let fits = start.is_some_and(|start| {
            shape[start..].iter().zip(&self.shape).all(|(dim, &size)| dim.agrees(&Dim::Size(size)))
        });
        if !fits {
            return Err(place.wrong_input(x, &format!("but its last dimensions must be {:?}", self.shape)));
        }
        let mut inputs = vec![x];
        inputs.extend(self.weight.as_ref().map(|weight| place.parameter("weight", weight)));
        inputs.extend(self.bias.as_ref().map(|bias| place.parameter("bias", bias)));
        place.builder.node(self.op.clone(), &inputs)
    }
}

#[derive(Debug)]
struct GroupNorm {
    groups: usize,
    channels: usize,
    eps: f64,
    affine: bool,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
}

pub(super) fn group_norm(fields: &Fields) -> Result<Standard> {
    let (groups, channels) = (fields.size("num_groups")?, fields.size("num_channels")?);
    if groups == 0 || channels % groups != 0 {
        return Err(Error::format(format!(
            "attribute `num_groups` is {groups}, which does not divide num_channels={channels}"
        )));
    }
    let because = format!("the sizes num_channels={channels}");
    Ok(Standard::new(GroupNorm {
        groups,
        channels,
        eps: fields.float("eps")?,
        affine: fields.bool_or("affine", true)?,
        weight: fields.tensor_of("weight", &[channels], &because)?,
        bias: fields.tensor_of("bias", &[channels], &because)?,
    }))
}

impl Rule for GroupNorm {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("num_groups", self.groups.to_string()),
            ("num_channels", self.channels.to_string()),
            ("eps", python_float(self.eps)),
            ("affine", python_bool(self.affine)),
        ]
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let rank = place.rank(x);
        if rank < 2 || !place.builder.ty(x).shape[1].agrees(&Dim::Size(self.channels)) {
            return Err(place.wrong_input(x, &format!("but [N, {}, ..] is expected", self.channels)));
        }
        let each = self.channels / self.groups;
        let mut others = place.builder.ty(x).shape.iter().enumerate().filter(|(dim, _)| *dim != 1);
        if each == 1 && others.all(|(_, size)| *size == Dim::Size(1)) {
            return Err(place.wrong_input(x, "but torch refuses a group of one element; give it more than one"));
        }
        let joined = compose::over_groups(place.builder, x, self.groups, self.channels, self.eps)?;
        place.affine_per_channel(joined, rank - 2, self.weight.as_ref(), self.bias.as_ref())
    }
}

/// Division by a power of the squares of neighbouring channels (Krizhevsky, Sutskever and Hinton, 2012).
#[derive(Debug)]
struct LocalResponseNorm {
    size: usize,
    alpha: f64,
    beta: f64,
    k: f64,
}

pub(super) fn local_response_norm(fields: &Fields) -> Result<Standard> {
    let size = fields.size("size")?;
    if size == 0 {
        return Err(Error::format("attribute `size` is 0; a positive int is expected"));
    }
    let (alpha, beta) = (fields.float_or("alpha", 1e-4)?, fields.float_or("beta", 0.75)?);
    Ok(Standard::new(LocalResponseNorm { size, alpha, beta, k: fields.float_or("k", 1.0)? }))
}

impl Rule for LocalResponseNorm {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("size", self.size.to_string()),
            ("alpha", python_float(self.alpha)),
            ("beta", python_float(self.beta)),
            ("k", python_float(self.k)),
        ]
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let shape = place.builder.ty(x).shape.clone();
        if shape.len() < 3 {
            return Err(place.wrong_input(x, "but [N, C, ..] with at least 3 dimensions is expected"));
        }
        let Ok(divisor) = i64::try_from(self.size) else {
            return Err(Error::format(format!("attribute `size` is {}, which is too large", self.size)).at(place.scope));
        };
        let builder = &mut *place.builder;
        // The channels become the height of an image without channels of its own.
        let squares = builder.unary(Unary::Square, x)?;
        let image = builder.node(Op::Flatten { start: 2, end: shape.len() - 1 }, &[squares])?;
        // Beyond the other channels a window holds zeros only, of which a file may claim any number.
        let others = shape[1].size().map_or(usize::MAX, |channels| channels.saturating_sub(1));
        let [before, after] = [self.size / 2, (self.size - 1) / 2].map(|amount| amount.min(others));
        let amounts = vec![(before as isize, after as isize), (0, 0)];
        let padded = builder.node(Op::Pad { amounts, padding: Padding::Constant(0.0) }, &[image])?;
        let pool = AvgPool {
            kernel: vec![before + after + 1, 1],
            stride: vec![1, 1],
            padding: vec![0, 0],
            ceil_mode: false,
            count_include_pad: true,
            divisor: Some(divisor),
        };
        let mean = builder.node(Op::AvgPool(pool), &[padded])?;
        let sum = builder.unary(Unary::Affine { scale: self.alpha, shift: self.k }, mean)?;
        let divisor = builder.unary(Unary::Pow { exponent: self.beta }, sum)?;
        let divisor = if shape.len() == 3 {
            divisor
        } else {
            let sizes: Vec<Option<usize>> = shape[2..].iter().map(Dim::size).collect();
            if sizes.iter().filter(|size| size.is_none()).count() > 1 {
                return Err(
                    place.wrong_input(x, "of which at most one size behind the channels may be unknown; give them")
                );
            }
            builder.node(Op::Unflatten { dim: 2, sizes }, &[divisor])?
        };
        place.builder.node(Op::Div, &[x, divisor])
    }
}
