//! Padding: constants, reflection, replication, circular.

use super::{Expects, Fields, Place, Rule, Standard, python_tuple};
use crate::{
    Error, Result,
    graph::{Op, Padding, ValueId},
    load::value::python_float,
};

#[derive(Debug)]
struct Pad {
    /// As the file has it: before and after, the last dimension first.
    given: Vec<i64>,
    padding: Padding,
    /// The number of spatial dimensions, where torch wants a line, an image or a volume.
    spatial: Option<usize>,
}

pub(super) fn constant<const N: usize>(fields: &Fields) -> Result<Standard> {
    let value = fields.float_or("value", 0.0)?;
    let given = given::<N>(fields)?;
    // torch pads as many dimensions as there are pairs.
    if given.len() % 2 != 0 {
        return Err(Error::format(format!("attribute `padding` has {} entries; pairs are expected", given.len())));
    }
    Ok(Standard::new(Pad { given, padding: Padding::Constant(value), spatial: None }))
}

pub(super) fn reflection<const N: usize>(fields: &Fields) -> Result<Standard> {
    spatial::<N>(fields, Padding::Reflect)
}

pub(super) fn replication<const N: usize>(fields: &Fields) -> Result<Standard> {
    spatial::<N>(fields, Padding::Replicate)
}

pub(super) fn circular<const N: usize>(fields: &Fields) -> Result<Standard> {
    spatial::<N>(fields, Padding::Circular)
}

fn spatial<const N: usize>(fields: &Fields, padding: Padding) -> Result<Standard> {
    let given = given::<N>(fields)?;
    if given.len() != 2 * N {
        return Err(Error::format(format!(
            "attribute `padding` has {} entries; an int or {} ints are expected",
            given.len(),
            2 * N
        )));
    }
    Ok(Standard::new(Pad { given, padding, spatial: Some(N) }))
}

/// The attribute; a single int stands for all sides.
fn given<const N: usize>(fields: &Fields) -> Result<Vec<i64>> {
    let given = match fields.ints("padding")?.as_slice() {
        &[one] => vec![one; 2 * N],
        several => several.to_vec(),
    };
    match given.iter().find(|&&amount| i32::try_from(amount).is_err()) {
        Some(amount) => Err(Error::format(format!("attribute `padding` has the entry {amount}, which is too large"))),
        None => Ok(given),
    }
}

impl Rule for Pad {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        let mut arguments = vec![("padding", python_tuple(&self.given))];
        if let Padding::Constant(value) = self.padding {
            arguments.push(("value", python_float(value)));
        }
        arguments
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let rank = place.rank(x);
        if let Some(spatial) = self.spatial
            && rank != spatial + 1
            && rank != spatial + 2
        {
            let what = format!("but {} or {} dimensions are expected", spatial + 1, spatial + 2);
            return Err(place.wrong_input(x, &what));
        }
        let pairs = self.given.chunks_exact(2).rev();
        let amounts = pairs.map(|pair| (pair[0] as isize, pair[1] as isize)).collect();
        place.builder.node(Op::Pad { amounts, padding: self.padding }, &[x])
    }
}
