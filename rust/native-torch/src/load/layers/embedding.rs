//! Embedding: rows of a table at integers.

use super::{Expects, Fields, Place, Rule, Standard};
use crate::{
    Error, Result,
    graph::{Op, ValueId},
    load::value::python_float,
    tensor::{DType, Tensor},
};

#[derive(Debug)]
struct Embedding {
    rows: usize,
    width: usize,
    padding: Option<i64>,
    max_norm: Option<f64>,
    norm_type: f64,
    weight: Tensor,
}

pub(super) fn embedding(fields: &Fields) -> Result<Standard> {
    let (rows, width) = (fields.size("num_embeddings")?, fields.size("embedding_dim")?);
    let because = format!("num_embeddings={rows} and embedding_dim={width}");
    let mut weight = fields.required_tensor("weight", &[rows, width], &because)?;
    // The row at `padding_idx` has no gradient in training; its values are like any other's.
    let padding = fields.optional_int("padding_idx")?;
    if let Some(index) = padding.filter(|&index| usize::try_from(index).map_or(true, |index| index >= rows)) {
        return Err(Error::format(format!("attribute `padding_idx` is {index}, which is none of the {rows} rows")));
    }
    let max_norm = if fields.is_set("max_norm") { Some(fields.float("max_norm")?) } else { fields.mention("max_norm") };
    let norm_type = fields.threshold_or("norm_type", 2.0)?;
    for name in ["scale_grad_by_freq", "sparse"] {
        fields.bool_or(name, false)?;
    }
    if let Some(max_norm) = max_norm {
        weight = renormalised(&weight, width, max_norm, norm_type)?;
    }
    Ok(Standard::new(Embedding { rows, width, padding, max_norm, norm_type, weight }))
}

/// The table as torch's forward leaves it: rows whose norm is larger than `max_norm` are scaled down to it.
fn renormalised(weight: &Tensor, width: usize, max_norm: f64, p: f64) -> Result<Tensor> {
    let mut numbers: Vec<f64> = weight.to_vec()?;
    for row in numbers.chunks_exact_mut(width.max(1)) {
        let norm = norm(row, p);
        if norm > max_norm {
            let scale = max_norm / (norm + 1e-7);
            row.iter_mut().for_each(|v| *v *= scale);
        }
    }
    Ok(Tensor::from_slice(weight.shape(), &numbers))
}

/// torch's norm of any order.
fn norm(row: &[f64], p: f64) -> f64 {
    let magnitudes = row.iter().map(|v| v.abs());
    match p {
        2.0 => magnitudes.map(|v| v * v).sum::<f64>().sqrt(),
        1.0 => magnitudes.sum(),
        0.0 => magnitudes.filter(|&v| v != 0.0).count() as f64,
        f64::INFINITY => magnitudes.fold(0.0, f64::max),
        f64::NEG_INFINITY => magnitudes.fold(f64::INFINITY, f64::min),
        p => magnitudes.map(|v| libm::pow(v, p)).sum::<f64>().powf(1.0 / p),
    }
}

impl Rule for Embedding {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        let mut arguments = vec![("num_embeddings", self.rows.to_string()), ("embedding_dim", self.width.to_string())];
        arguments.extend(self.padding.map(|padding| ("padding_idx", padding.to_string())));
        if let Some(max_norm) = self.max_norm {
            arguments.extend([("max_norm", python_float(max_norm)), ("norm_type", python_float(self.norm_type))]);
        }
        arguments
    }

    fn expects(&self) -> Expects {
        Expects::Integers
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        if place.builder.ty(x).dtype != DType::I64 {
            return Err(Error::argument("its input is made of floating-point numbers, but integers are expected")
                .at(place.scope));
        }
        let weight = place.parameter("weight", &self.weight);
        place.builder.node(Op::Embedding, &[weight, x])
    }
}
