//! Linear: `y = x W' + b`.

use super::{Expects, Fields, Place, Rule, Standard, python_bool};
use crate::{
    Result,
    graph::{Dim, ValueId},
    tensor::Tensor,
};

#[derive(Debug)]
struct Linear {
    in_features: usize,
    out_features: usize,
    weight: Tensor,
    bias: Option<Tensor>,
}

pub(super) fn linear(fields: &Fields) -> Result<Standard> {
    let (in_features, out_features) = (fields.size("in_features")?, fields.size("out_features")?);
    let because = format!("in_features={in_features} and out_features={out_features}");
    let weight = fields.required_tensor("weight", &[out_features, in_features], &because)?;
    let bias = fields.tensor_of("bias", &[out_features], &because)?;
    Ok(Standard::new(Linear { in_features, out_features, weight, bias }))
}

impl Rule for Linear {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("in_features", self.in_features.to_string()),
            ("out_features", self.out_features.to_string()),
            ("bias", python_bool(self.bias.is_some())),
        ]
    }

    fn expects(&self) -> Expects {
        Expects::Shape(vec![Dim::symbol("N"), Dim::Size(self.in_features)])
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let weight = place.parameter("weight", &self.weight);
        let bias = self.bias.as_ref().map(|bias| place.parameter("bias", bias));
        place.builder.linear(x, weight, bias)
    }
}
