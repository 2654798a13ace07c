//! Layers of two inputs: Bilinear, CosineSimilarity, PairwiseDistance.

use super::{Fields, Pair, Place, Standard, python_bool, resolve};
use crate::{
    Error, Result,
    graph::{Dim, Op, Unary, ValueId},
    load::value::python_float,
    tensor::Tensor,
};

/// `y_k = a' W_k b + bias_k`.
#[derive(Debug)]
struct Bilinear {
    features: [usize; 2],
    out: usize,
    /// `[out in1, in2]`
    weight: Tensor,
    bias: Option<Tensor>,
}

pub(super) fn bilinear(fields: &Fields) -> Result<Standard> {
    let features = [fields.size("in1_features")?, fields.size("in2_features")?];
    let out = fields.size("out_features")?;
    let [a, b] = features;
    let because = format!("in1_features={a}, in2_features={b} and out_features={out}");
    let weight = fields.required_tensor("weight", &[out, a, b], &because)?;
    let bias = fields.tensor_of("bias", &[out], &because)?;
    Ok(Standard::of_pair(Bilinear { features, out, weight, bias }))
}

impl Pair for Bilinear {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("in1_features", self.features[0].to_string()),
            ("in2_features", self.features[1].to_string()),
            ("out_features", self.out.to_string()),
            ("bias", python_bool(self.bias.is_some())),
        ]
    }

    fn names(&self) -> [&'static str; 2] {
        ["input1", "input2"]
    }

    fn shapes(&self) -> Option<[Vec<Dim>; 2]> {
        Some(self.features.map(|features| vec![Dim::symbol("N"), Dim::Size(features)]))
    }

    fn apply(&self, [a, b]: [ValueId; 2], place: &mut Place) -> Result<ValueId> {
        let [shape, other] = [a, b].map(|x| place.builder.ty(x).shape.clone());
        let rank = shape.len();
        let leading = rank == other.len() && rank > 0 && shape[..rank - 1].iter().zip(&other).all(|(a, b)| a.agrees(b));
        for (x, features) in [a, b].into_iter().zip(self.features) {
            let last = place.builder.ty(x).shape.last().is_some_and(|dim| dim.agrees(&Dim::Size(features)));
            if !leading || !last {
                let [a, b] = self.features;
                let what = format!("but [.., {a}] and [.., {b}] with the same sizes in front are expected");
                return Err(place.wrong_input(x, &what));
            }
        }
        // W b for every k and row of W, which is then multiplied by a and added up.
        let weight = place.parameter("weight", &self.weight);
        let rows = place.builder.node(Op::Flatten { start: 0, end: 1 }, &[weight])?;
        let products = place.builder.linear(b, rows, None)?;
        let sizes = vec![Some(self.out), Some(self.features[0])];
        let products = place.builder.node(Op::Unflatten { dim: rank - 1, sizes }, &[products])?;
        let sizes = vec![Some(1), Some(self.features[0])];
        let a = place.builder.node(Op::Unflatten { dim: rank - 1, sizes }, &[a])?;
        let terms = place.builder.node(Op::Mul, &[products, a])?;
        let y = place.builder.node(Op::Sum { dims: vec![rank], keepdim: false }, &[terms])?;
        match &self.bias {
            Some(bias) => {
                let bias = place.parameter("bias", bias);
                place.builder.add(y, bias)
            }
            None => Ok(y),
        }
    }
}

/// `sum of x1 x2 / (max(|x1|, eps) max(|x2|, eps))` along a dimension.
#[derive(Debug)]
struct CosineSimilarity {
    dim: i64,
    eps: f64,
}

pub(super) fn cosine_similarity(fields: &Fields) -> Result<Standard> {
    Ok(Standard::of_pair(CosineSimilarity { dim: fields.int_or("dim", 1)?, eps: fields.float_or("eps", 1e-8)? }))
}

/// The rank of two operands that are repeated to a common shape.
fn common_rank(pair: [ValueId; 2], place: &Place) -> usize {
    pair.map(|x| place.rank(x)).into_iter().max().unwrap_or(0)
}

impl Pair for CosineSimilarity {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![("dim", self.dim.to_string()), ("eps", python_float(self.eps))]
    }

    fn names(&self) -> [&'static str; 2] {
        ["x1", "x2"]
    }

    fn apply(&self, pair: [ValueId; 2], place: &mut Place) -> Result<ValueId> {
        let rank = common_rank(pair, place);
        let dim = resolve(self.dim, rank).ok_or_else(|| {
            place.wrong_input(pair[0], &format!("in which dim={} is no dimension; give another shape", self.dim))
        })?;
        let sizes = pair.map(|x| {
            let shape = &place.builder.ty(x).shape;
            shape.len().checked_sub(rank - dim).map_or(Some(1), |at| shape[at].size())
        });
        // How often each operand is repeated along the dimension.
        let repeats = match sizes {
            [a, b] if a == b => [1, 1],
            [Some(1), Some(b)] => [b, 1],
            [Some(a), Some(1)] => [1, a],
            _ => {
                let what = "whose size along the dimension is neither 1 nor the other input's";
                return Err(place.wrong_input(pair[0], what));
            }
        };
        let mut units = pair;
        for (unit, repeats) in units.iter_mut().zip(repeats) {
            // A smaller operand is repeated first, so that its norm is taken along the same dimension.
            let builder = &mut *place.builder;
            let missing = rank - builder.ty(*unit).rank();
            for _ in 0..missing {
                let first = builder.ty(*unit).shape.first().and_then(Dim::size);
                *unit = builder.node(Op::Unflatten { dim: 0, sizes: vec![Some(1), first] }, &[*unit])?;
            }
            let squares = builder.unary(Unary::Square, *unit)?;
            let mut sum = builder.node(Op::Sum { dims: vec![dim], keepdim: true }, &[squares])?;
            if repeats != 1 {
                sum = builder.unary(Unary::Affine { scale: repeats as f64, shift: 0.0 }, sum)?;
            }
            // The clamp stands inside the root, whose derivative at 0 is infinite.
            let sum = builder.unary(Unary::Clamp { min: self.eps * self.eps, max: f64::INFINITY }, sum)?;
            let norm = builder.unary(Unary::Sqrt, sum)?;
            *unit = builder.node(Op::Div, &[*unit, norm])?;
        }
        let products = place.builder.node(Op::Mul, &units)?;
        place.builder.node(Op::Sum { dims: vec![dim], keepdim: false }, &[products])
    }
}

/// The norm of `x1 - x2 + eps` over the last dimension.
#[derive(Debug)]
struct PairwiseDistance {
    norm: f64,
    eps: f64,
    keepdim: bool,
}

pub(super) fn pairwise_distance(fields: &Fields) -> Result<Standard> {
    let norm = fields.threshold_or("norm", 2.0)?;
    if !(norm > 0.0 && norm.is_finite()) {
        return Err(Error::unsupported(format!("attribute `norm` is {norm}; only finite norms above 0 are supported")));
    }
    let (eps, keepdim) = (fields.float_or("eps", 1e-6)?, fields.bool_or("keepdim", false)?);
    Ok(Standard::of_pair(PairwiseDistance { norm, eps, keepdim }))
}

impl Pair for PairwiseDistance {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        let keepdim = python_bool(self.keepdim);
        vec![("norm", python_float(self.norm)), ("eps", python_float(self.eps)), ("keepdim", keepdim)]
    }

    fn names(&self) -> [&'static str; 2] {
        ["x1", "x2"]
    }

    fn apply(&self, pair: [ValueId; 2], place: &mut Place) -> Result<ValueId> {
        let rank = common_rank(pair, place);
        if rank == 0 {
            return Err(place.wrong_input(pair[0], "but at least one dimension is expected"));
        }
        let builder = &mut *place.builder;
        let difference = builder.node(Op::Sub, &pair)?;
        let difference = builder.unary(Unary::Affine { scale: 1.0, shift: self.eps }, difference)?;
        let (parts, root): (&[Unary], _) = match self.norm {
            1.0 => (&[Unary::Abs], None),
            2.0 => (&[Unary::Square], Some(Unary::Sqrt)),
            norm => (&[Unary::Abs, Unary::Pow { exponent: norm }], Some(Unary::Pow { exponent: 1.0 / norm })),
        };
        let parts = parts.iter().try_fold(difference, |x, &part| builder.unary(part, x))?;
        let sum = builder.node(Op::Sum { dims: vec![rank - 1], keepdim: self.keepdim }, &[parts])?;
        root.map_or(Ok(sum), |root| builder.unary(root, sum))
    }
}
