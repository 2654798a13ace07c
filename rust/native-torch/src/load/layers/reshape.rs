//! Layers that keep every number: Flatten, Unflatten, and, in evaluation, Dropout and Identity.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, python_tuple, resolve};
use crate::{
    Error, Result,
    graph::{Op, ValueId},
    load::value::python_float,
};

#[derive(Debug)]
struct Flatten {
    start: i64,
    end: i64,
}

pub(super) fn flatten(fields: &Fields) -> Result<Standard> {
    Ok(Standard::new(Flatten { start: fields.int_or("start_dim", 1)?, end: fields.int_or("end_dim", -1)? }))
}

impl Rule for Flatten {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![("start_dim", self.start.to_string()), ("end_dim", self.end.to_string())]
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        // torch counts a scalar's dimensions as if it had one.
        let rank = place.rank(x).max(1);
        let [start, end] = [("start_dim", self.start), ("end_dim", self.end)].map(|(name, dim)| {
            resolve(dim, rank).ok_or_else(|| {
                place.wrong_input(x, &format!("in which {name}={dim} is no dimension; give another shape"))
            })
        });
        let (start, end) = (start?, end?);
        if start > end {
            let what = format!("in which start_dim={} comes after end_dim={}", self.start, self.end);
            return Err(place.wrong_input(x, &what));
        }
        if start == end && place.rank(x) > 0 {
            return Ok(x);
        }
        place.builder.node(Op::Flatten { start, end }, &[x])
    }
}

#[derive(Debug)]
struct Unflatten {
    dim: i64,
    /// As the file has them: at most one is -1.
    sizes: Vec<i64>,
}

pub(super) fn unflatten(fields: &Fields) -> Result<Standard> {
    if fields.text_if("dim").is_some() {
        return Err(Error::unsupported("named dimensions; give `dim` and `unflattened_size` as ints before saving"));
    }
    let (dim, sizes) = (fields.int_or("dim", 1)?, fields.ints("unflattened_size")?);
    let open = sizes.iter().filter(|&&size| size == -1).count();
    if sizes.is_empty() || open > 1 || sizes.iter().any(|&size| size < -1) {
        return Err(Error::format(format!(
            "attribute `unflattened_size` is {}; sizes are expected, of which at most one is -1",
            python_tuple(&sizes)
        )));
    }
    Ok(Standard::new(Unflatten { dim, sizes }))
}

impl Rule for Unflatten {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![("dim", self.dim.to_string()), ("unflattened_size", python_tuple(&self.sizes))]
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let dim = resolve(self.dim, place.rank(x)).ok_or_else(|| {
            place.wrong_input(x, &format!("in which dim={} is no dimension; give another shape", self.dim))
        })?;
        let sizes = self.sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
        place.builder.node(Op::Unflatten { dim, sizes }, &[x])
    }
}

/// What evaluates to its input.
#[derive(Debug)]
struct Same(Vec<(&'static str, String)>);

pub(super) fn identity(_: &Fields) -> Result<Standard> {
    Ok(Standard::new(Same(Vec::new())))
}

pub(super) fn dropout(fields: &Fields) -> Result<Standard> {
    let (p, inplace) = (fields.float_or("p", 0.5)?, fields.bool_or("inplace", false)?);
    if !(0.0..=1.0).contains(&p) {
        return Err(Error::format(format!("attribute `p` is {p}; a probability is expected")));
    }
    Ok(Standard::new(Same(vec![("p", python_float(p)), ("inplace", python_bool(inplace))])))
}

impl Rule for Same {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        self.0.clone()
    }

    fn expects(&self) -> Expects {
        Expects::Any
    }

    fn apply(&self, x: ValueId, _: &mut Place) -> Result<ValueId> {
        Ok(x)
    }
}
