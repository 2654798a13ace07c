//! Symbolic sizes: what the file writes of them, and their values for given shapes.

use std::collections::HashMap;

use super::{
    super::records::printable,
    schema::{Range, SymInt},
};
use crate::{
    Error, Result,
    graph::{Dim, format_shape},
};

/// The dimensions of a tensor as the graph knows them.
pub(super) fn dims(sizes: &[SymInt]) -> Result<Vec<Dim>> {
    let dim = |size: &SymInt| match size {
        SymInt::AsInt(size) => usize::try_from(*size)
            .map(Dim::Size)
            .map_err(|_| Error::format(format!("a size of a tensor is {size}, which is negative"))),
        SymInt::AsExpr(expression) => Ok(symbol(&expression.expr_str).map_or(Dim::Unknown, Dim::symbol)),
    };
    sizes.iter().map(dim).collect()
}

/// The name of a symbol, which torch writes as `Symbol('s0', positive=True, integer=True)` and once wrote as `s0`; `None`
/// for other expressions.
fn symbol(expression: &str) -> Option<&str> {
    let name = name(expression);
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_name && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

/// What stands in quotes in torch's long form; anything else is as it is.
pub(super) fn name(expression: &str) -> &str {
    let rest = expression.strip_prefix("Symbol('").and_then(|rest| rest.split_once(")"));
    match rest.and_then(|(inside, behind)| inside.split_once('\'').filter(|_| behind.is_empty())) {
        Some((name, _)) => name,
        None => expression,
    }
}

/// Checks that a shape is one that the program was exported for, and that a symbol has the same size wherever it stands.
pub(super) struct Check<'a> {
    pub ranges: &'a HashMap<String, Range>,
    known: HashMap<String, (usize, String)>,
}

impl<'a> Check<'a> {
    pub fn new(ranges: &'a HashMap<String, Range>) -> Self {
        Self { ranges, known: HashMap::new() }
    }

    /// Checks one input's shape.
    pub fn input(&mut self, name: &str, expected: &[Dim], given: &[Dim]) -> Result<()> {
        let fits = expected.len() == given.len() && expected.iter().zip(given).all(|(a, b)| a.agrees(b));
        if !fits {
            return Err(Error::argument(format!(
                "input `{name}` has shape {}, which {} does not fit; export the model with dynamic_shapes for other sizes",
                format_shape(expected),
                format_shape(given)
            )));
        }
        for (axis, (expected, given)) in expected.iter().zip(given).enumerate() {
            let (Dim::Symbol(symbol), Some(size)) = (expected, given.size()) else { continue };
            self.size(symbol, size, &format!("dimension {axis} of input `{name}`"))?;
        }
        Ok(())
    }

    fn size(&mut self, symbol: &str, size: usize, place: &str) -> Result<()> {
        if let Some((known, first)) = self.known.get(symbol) {
            if *known != size {
                return Err(Error::argument(format!(
                    "{place} is {size}, but {first} is {known}; both are the size {}",
                    printable(symbol)
                )));
            }
            return Ok(());
        }
        self.known.insert(symbol.to_owned(), (size, place.to_owned()));
        let Some((least, most)) = bounds(self.ranges, symbol) else { return Ok(()) };
        if size < least || most.is_some_and(|most| size > most) {
            let most = most.map_or("any size".to_owned(), |most| most.to_string());
            return Err(Error::argument(format!(
                "{place} is {size}, but the model was exported for sizes from {least} to {most}"
            )));
        }
        Ok(())
    }
}

/// The least and the greatest size of a symbol, where the file says them.
pub(super) fn bounds(ranges: &HashMap<String, Range>, symbol: &str) -> Option<(usize, Option<usize>)> {
    let range = ranges.get(symbol)?;
    let bound = |bound: Option<i64>| bound.and_then(|bound| usize::try_from(bound).ok());
    // torch writes infinity as the greatest integer or not at all.
    let most = bound(range.max_val).filter(|&most| most < i64::MAX as usize / 2);
    Some((bound(range.min_val).unwrap_or(0), most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_knows_symbols_in_both_forms() {
        assert_eq!(symbol("Symbol('s37', positive=True, integer=True)"), Some("s37"));
        assert_eq!(symbol("s0"), Some("s0"));
        assert_eq!(symbol("2*s0"), None);
        assert_eq!(symbol("Mul(Integer(2), Symbol('s0'))"), None);
        assert_eq!(symbol("64"), None);
    }

    #[test]
    fn load_checks_sizes_against_ranges_and_each_other() {
        let ranges = HashMap::from([("s0".to_owned(), Range { min_val: Some(2), max_val: Some(8) })]);
        let expected = [Dim::symbol("s0"), Dim::Size(3)];
        let check = |shapes: &[[usize; 2]]| {
            let mut check = Check::new(&ranges);
            shapes.iter().try_for_each(|shape| check.input("x", &expected, &shape.map(Dim::Size)))
        };
        check(&[[2, 3], [2, 3]]).unwrap();
        for (shapes, message) in [
            (&[[9, 3]][..], "dimension 0 of input `x` is 9, but the model was exported for sizes from 2 to 8"),
            (&[[2, 3], [4, 3]], "dimension 0 of input `x` is 4, but dimension 0 of input `x` is 2"),
            (&[[2, 4]], "input `x` has shape [s0, 3], which [2, 4] does not fit"),
        ] {
            assert!(check(shapes).unwrap_err().message().contains(message), "{:?}", check(shapes));
        }
    }
}
