//! Interpolation to another size: Upsample and its older forms.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, python_tuple};
use crate::{
    Error, Result,
    graph::{Interpolation, Op, Target, Upsample as Attributes, ValueId},
    load::value::python_float,
};

#[derive(Debug)]
struct Upsample {
    target: Target,
    mode: Mode,
    align_corners: Option<bool>,
}

/// A mode's name, its interpolation (none where it is a mean), and the number of spatial dimensions where it says one.
type Mode = (&'static str, Option<Interpolation>, Option<usize>);

const MODES: [Mode; 7] = [
    ("nearest", Some(Interpolation::Nearest), None),
    ("nearest-exact", Some(Interpolation::NearestExact), None),
    ("area", None, None),
    ("linear", Some(Interpolation::Linear), Some(1)),
    ("bilinear", Some(Interpolation::Linear), Some(2)),
    ("trilinear", Some(Interpolation::Linear), Some(3)),
    ("bicubic", Some(Interpolation::Cubic), Some(2)),
];

pub(super) fn upsample(fields: &Fields) -> Result<Standard> {
    let name = fields.text_or("mode", "nearest")?;
    let mode = *MODES.iter().find(|mode| mode.0 == name).ok_or_else(|| {
        let known: Vec<&str> = MODES.iter().map(|mode| mode.0).collect();
        Error::unsupported(format!("mode='{}'; supported are {}", name.escape_debug(), known.join(", ")))
    })?;
    let recompute = fields.optional_bool("recompute_scale_factor")?;
    let target = match (fields.optional_counts("size")?, fields.optional_factors("scale_factor")?) {
        (Some(_), None) if recompute == Some(true) => {
            return Err(Error::format("recompute_scale_factor=True with a `size`, which torch refuses"));
        }
        (Some(sizes), None) => Target::Sizes(sizes),
        (None, Some(factors)) => Target::Factors { factors, recompute: recompute == Some(true) },
        (Some(_), Some(_)) => {
            return Err(Error::format("`size` and `scale_factor` are both given, which torch refuses"));
        }
        (None, None) => return Err(Error::format("neither `size` nor `scale_factor` is given")),
    };
    let align_corners = fields.optional_bool("align_corners")?;
    if align_corners.is_some() && mode.2.is_none() {
        return Err(Error::format(format!("align_corners is given, which torch refuses with mode='{name}'")));
    }
    Ok(Standard::new(Upsample { target, mode, align_corners }))
}

/// One entry for each dimension, from one for all or as many.
fn each<V: Clone>(given: &[V], dims: usize) -> Option<Vec<V>> {
    match given {
        [one] => Some(vec![one.clone(); dims]),
        several => Some(several.to_vec()).filter(|several| several.len() == dims),
    }
}

impl Rule for Upsample {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        let mut arguments = match &self.target {
            Target::Sizes(sizes) => vec![("size", python_tuple(sizes))],
            Target::Factors { factors, recompute } => {
                let factors: Vec<String> = factors.iter().map(|&factor| python_float(factor)).collect();
                let mut arguments = vec![("scale_factor", python_tuple(&factors))];
                arguments.extend(recompute.then(|| ("recompute_scale_factor", python_bool(true))));
                arguments
            }
        };
        arguments.push(("mode", format!("'{}'", self.mode.0)));
        arguments.extend(self.align_corners.map(|align| ("align_corners", python_bool(align))));
        arguments
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let dims = place.rank(x).saturating_sub(2);
        let fits = self.mode.2.map_or((1..=3).contains(&dims), |own| own == dims);
        let wrong = || {
            let ranks = self.mode.2.map_or("3, 4 or 5".to_owned(), |dims| (dims + 2).to_string());
            let what =
                format!("but {ranks} dimensions, [N, C, ..], are expected, and one entry for each of `..` or for all");
            place.wrong_input(x, &what)
        };
        let target = match &self.target {
            Target::Sizes(sizes) => each(sizes, dims).map(Target::Sizes),
            Target::Factors { factors, recompute } => {
                each(factors, dims).map(|factors| Target::Factors { factors, recompute: *recompute })
            }
        };
        let target = target.filter(|_| fits).ok_or_else(wrong)?;
        let op = match self.mode.1 {
            Some(mode) => Op::Upsample(Attributes { mode, target, align_corners: self.align_corners == Some(true) }),
            None => {
                let shape = &place.builder.ty(x).shape[2..];
                let sizes = shape.iter().enumerate().map(|(dim, own)| match &target {
                    Target::Sizes(sizes) => Some(sizes[dim]),
                    factors => factors.size(dim, own.size()?),
                });
                let sizes = sizes.map(|size| size.map(Some)).collect::<Option<Vec<_>>>();
                let what = "but mode='area' with a `scale_factor` needs sizes that are known, and leave something";
                Op::AdaptiveAvgPool(sizes.ok_or_else(|| place.wrong_input(x, what))?)
            }
        };
        place.builder.node(op, &[x])
    }
}
