//! Normalisation.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, python_tuple};
use crate::{
    Error, Result,
    graph::{Dim, Op, ValueId},
    load::value::python_float,
    tensor::Tensor,
};

#[derive(Debug)]
struct LayerNorm {
    shape: Vec<usize>,
    eps: f64,
    affine: bool,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
}

pub(super) fn layer_norm(fields: &Fields) -> Result<Standard> {
    let shape = fields.sizes("normalized_shape")?;
    if shape.is_empty() {
        return Err(Error::format("attribute `normalized_shape` is empty, which torch refuses"));
    }
    let eps = fields.float("eps")?;
    let affine = fields.bool_or("elementwise_affine", true)?;
    let because = format!("the sizes normalized_shape={}", python_tuple(&shape));
    let [weight, bias] = ["weight", "bias"].map(|name| fields.tensor_of(name, &shape, &because));
    let (weight, bias) = (weight?, bias?);
    if !affine && (weight.is_some() || bias.is_some()) {
        return Err(Error::format("elementwise_affine=False, but it has a weight or a bias"));
    }
    if weight.is_none() && bias.is_some() {
        return Err(Error::unsupported("a `bias` without a `weight`; give it a weight of ones before saving"));
    }
    Ok(Standard::new(LayerNorm { shape, eps, affine, weight, bias }))
}

impl Rule for LayerNorm {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("normalized_shape", python_tuple(&self.shape)),
            ("eps", python_float(self.eps)),
            ("elementwise_affine", python_bool(self.affine)),
            ("bias", python_bool(self.bias.is_some())),
        ]
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
        place.builder.node(Op::LayerNorm { axes: self.shape.len(), eps: self.eps }, &inputs)
    }
}
