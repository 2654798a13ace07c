//! The box that a model's inputs lie in, and the sizes that go with it.

use std::path::Path;

use native_torch::{
    Error, Result,
    bounds::Interval,
    graph::{Dim, Graph},
    load::{self, ModuleInput},
};
use serde_json::Value;

use crate::input;

/// How help texts describe a box.
pub const REGION: &str = "LO,HI for all elements, or a JSON file [[lo,hi],..] or {\"lower\":[..],\"upper\":[..]}";

/// The model with all sizes known: from --shape, from what the first layer asks for, and from how many elements or
/// which shape the other arguments have.
pub fn graph(file: &Path, shape: Option<&str>, x0: Option<&input::Array>, bounds: Option<usize>) -> Result<Graph> {
    let model = load::open(file)?.model()?;
    let sizes = |shape: Vec<usize>| shape.into_iter().map(Dim::Size).collect::<Vec<Dim>>();
    if let Some(shape) = shape {
        return model.graph(Some(&sizes(input::shape(shape)?)));
    }
    // A module's own graph says what its first layer asks for, or which layer needs to know.
    let inputs = match model.module() {
        Some(module) => {
            ModuleInput::of(&module.graph(None).map_err(|e| e.at("the input's shape is not known (--shape gives it)"))?)
        }
        None => model.inputs(),
    };
    let [own] = &inputs[..] else { return model.example() };
    let own = own.shape.as_deref().unwrap_or_default();
    if let Some(x0) = x0
        && x0.shape.len() == own.len()
        && x0.shape.iter().zip(own).all(|(&size, dim)| dim.agrees(&Dim::Size(size)))
    {
        return model.graph(Some(&x0.dims()));
    }
    let unknown = own.iter().filter(|dim| dim.size().is_none()).count();
    if unknown > 1 {
        let graph = model.graph(None)?;
        return graph.check_concrete().map(|()| graph).map_err(|e| e.at("--shape is needed"));
    }
    let rest = own.iter().filter_map(Dim::size).product::<usize>().max(1);
    let count = x0.map(|x0| x0.data.len()).or(bounds).unwrap_or(rest);
    let batch = if count.is_multiple_of(rest) { (count / rest).max(1) } else { 1 };
    let shape: Vec<Dim> = own.iter().map(|dim| Dim::Size(dim.size().unwrap_or(batch))).collect();
    model.graph(Some(&shape))
}

/// The bounds of a model's inputs, as an argument gives them.
pub enum Region {
    /// The same for all elements.
    Uniform(Interval),
    /// One for each.
    Each(Vec<Interval>),
}

impl Region {
    /// Reads the argument.
    pub fn read(argument: &str) -> Result<Self> {
        if !Path::new(argument).exists()
            && let Some((lower, upper)) = argument.split_once(',')
            && let (Ok(lower), Ok(upper)) = (lower.trim().parse(), upper.trim().parse())
        {
            return Ok(Region::Uniform(Interval::new(lower, upper)));
        }
        let expected = "LO,HI, [[lo,hi],..] or {\"lower\":[..],\"upper\":[..]} is expected";
        let text = match std::fs::read_to_string(argument) {
            Ok(text) => text,
            Err(_) if argument.trim_start().starts_with(['[', '{']) => argument.to_owned(),
            Err(error) if Path::new(argument).exists() => return Err(Error::io(argument, &error)),
            Err(_) => return Err(Error::argument(format!("`{argument}` is not a file that exists; {expected}"))),
        };
        let value: Value =
            serde_json::from_str(&text).map_err(|e| Error::format(format!("not valid JSON: {e}; {expected}")))?;
        if has_null(&value) {
            return Err(Error::format(format!(
                "null is no number; \"-Infinity\" or \"Infinity\" stands for no bound; {expected}"
            )));
        }
        if let (Some(lower), Some(upper)) = (value.get("lower"), value.get("upper")) {
            let (lower, upper) = (input::value(lower)?.data, input::value(upper)?.data);
            if lower.len() != upper.len() {
                return Err(Error::argument(format!("{} lower and {} upper bounds", lower.len(), upper.len())));
            }
            return Ok(Region::Each(lower.into_iter().zip(upper).map(|(l, u)| Interval::new(l, u)).collect()));
        }
        let array = input::value(&value).map_err(|e| e.at(expected))?;
        if array.shape.last() != Some(&2) || array.shape.len() < 2 {
            return Err(Error::format(format!("an array of shape {:?}; {expected}", array.shape)));
        }
        Ok(Region::Each(array.data.chunks_exact(2).map(|pair| Interval::new(pair[0], pair[1])).collect()))
    }

    /// How many elements they are for, if they say.
    pub fn count(&self) -> Option<usize> {
        match self {
            Region::Uniform(_) => None,
            Region::Each(all) => Some(all.len()),
        }
    }

    /// The bounds of n elements.
    pub fn intervals(&self, n: usize) -> Vec<Interval> {
        match self {
            Region::Uniform(one) => vec![*one; n],
            Region::Each(all) => all.clone(),
        }
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        // No deeper: what else there may be is refused.
        Value::Array(all) => all.iter().any(|v| v.is_null() || v.as_array().is_some_and(|v| v.contains(&Value::Null))),
        Value::Object(all) => all.values().any(|v| v.as_array().is_some_and(|v| v.contains(&Value::Null))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_in_every_form() {
        let each = |argument: &str| match Region::read(argument) {
            Ok(Region::Each(all)) => all,
            _ => panic!("{argument}"),
        };
        assert!(matches!(Region::read("-1,2.5"), Ok(Region::Uniform(i)) if i == Interval::new(-1.0, 2.5)));
        assert!(matches!(Region::read("-inf,inf"), Ok(Region::Uniform(i)) if i == Interval::ALL));
        let expected = [Interval::new(0.0, 1.0), Interval::new(-1.0, f64::INFINITY)];
        assert_eq!(each("[[0,1],[-1,\"Infinity\"]]"), expected);
        assert_eq!(each("{\"lower\":[0,-1],\"upper\":[1,\"Infinity\"]}"), expected);
        for bad in ["1", "a,b", "[1,2]", "[[1,2,3]]", "{\"lower\":[1],\"upper\":[1,2]}", "{}", "[["] {
            assert!(Region::read(bad).is_err(), "{bad}");
        }
        for bad in ["[[null,1]]", "{\"lower\":[null],\"upper\":[1]}"] {
            let error = Region::read(bad).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("\"-Infinity\" or \"Infinity\""), "{error}");
        }
    }
}
