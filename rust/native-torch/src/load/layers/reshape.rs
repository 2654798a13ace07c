//! Layers that keep every number: Flatten, and, in evaluation, Dropout and Identity.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, resolve};
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
