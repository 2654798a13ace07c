//! Names for the inputs and outputs of a program, from the trees that say how Python passes them.

use std::collections::HashMap;

use serde::Deserialize;

use super::{super::records::printable, schema};
use crate::Result;

/// torch's tree of containers, of which the leaves are values.
#[derive(Deserialize)]
struct Spec {
    #[serde(rename = "type")]
    class: Option<String>,
    context: Option<String>,
    children_spec: Vec<Spec>,
}

/// The keys that lead to the leaves of a tree, in order; the root's own path is empty.
pub(super) fn leaves(what: &str, spec: &str, fields: &HashMap<String, schema::NamedTuple>) -> Result<Vec<Vec<String>>> {
    // torch writes the version of the protocol in front of the tree.
    let (_, root): (u64, Spec) = schema::parse(what, spec.as_bytes())?;
    let mut leaves = Vec::new();
    let mut stack = vec![(root, Vec::new())];
    while let Some((spec, path)) = stack.pop() {
        if spec.class.is_none() {
            leaves.push(path);
            continue;
        }
        let keys = keys(&spec, fields);
        let children = spec.children_spec.into_iter().zip(keys).rev();
        stack.extend(children.map(|(child, key)| (child, path.iter().cloned().chain([key]).collect())));
    }
    Ok(leaves)
}

/// The keys of a container's children: those that it keeps, else their positions.
fn keys(spec: &Spec, fields: &HashMap<String, schema::NamedTuple>) -> Vec<String> {
    let count = spec.children_spec.len();
    let context = spec.context.as_deref().unwrap_or_default();
    let kept = fields.get(context).map(|tuple| tuple.field_names.clone()).or_else(|| {
        let keys: Vec<serde_json::Value> = serde_json::from_str(context).ok()?;
        let key = |key: serde_json::Value| match key {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        Some(keys.into_iter().map(key).collect())
    });
    let kept = kept.filter(|keys| keys.len() == count);
    let kept = kept.unwrap_or_else(|| (0..count).map(|i| i.to_string()).collect());
    kept.into_iter().map(|key| printable(&key).into_owned()).collect()
}

/// Names of the inputs: the names of forward's arguments, with the keys that lead into containers behind them. `None`
/// where the tree does not say.
pub(super) fn inputs(leaves: Vec<Vec<String>>, arguments: &[String]) -> Option<Vec<String>> {
    let name = |path: Vec<String>| {
        // The outermost tuple holds the positional arguments and those by keyword.
        let [group, argument, rest @ ..] = &path[..] else { return None };
        let first = match group.as_str() {
            "0" => arguments.get(argument.parse::<usize>().ok()?)?.clone(),
            _ => argument.clone(),
        };
        Some([&[first], rest].concat().join("."))
    };
    leaves.into_iter().map(name).collect()
}

/// Names of the outputs: `output` where there is one, `output.1` in a tuple, and the keys of a dict by themselves.
pub(super) fn outputs(leaves: Vec<Vec<String>>) -> Vec<String> {
    let name = |path: Vec<String>| match path.first() {
        Some(first) if first.parse::<usize>().is_err() => path.join("."),
        _ => ["output".to_owned()].into_iter().chain(path).collect::<Vec<_>>().join("."),
    };
    leaves.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: &str = r#"{"type": null, "context": null, "children_spec": []}"#;

    fn spec(class: &str, context: &str, children: &[String]) -> String {
        let context = serde_json::to_string(context).unwrap();
        format!(r#"{{"type": "{class}", "context": {context}, "children_spec": [{}]}}"#, children.join(", "))
    }

    fn read(root: &str) -> Vec<Vec<String>> {
        let fields =
            HashMap::from([("my.P".to_owned(), schema::NamedTuple { field_names: vec!["u".into(), "v".into()] })]);
        leaves("in_spec", &format!("[1, {root}]"), &fields).unwrap()
    }

    #[test]
    fn load_names_inputs_by_the_arguments_of_forward() {
        let leaf = LEAF.to_owned();
        let dict = spec("builtins.dict", r#"["p", "q"]"#, &[leaf.clone(), leaf.clone()]);
        let list = spec("builtins.list", "null", &[leaf.clone(), leaf.clone()]);
        let positional = spec("builtins.tuple", "null", &[dict, leaf.clone(), list]);
        let keywords = spec("builtins.dict", r#"["k"]"#, &[leaf]);
        let all = read(&spec("builtins.tuple", "null", &[positional, keywords]));
        let arguments = ["x", "y", "z", "k"].map(str::to_owned);
        assert_eq!(inputs(all.clone(), &arguments).unwrap(), ["x.p", "x.q", "y", "z.0", "z.1", "k"]);
        assert_eq!(inputs(all, &arguments[..2]), None);
    }

    #[test]
    fn load_names_outputs_by_the_keys_that_lead_to_them() {
        let leaf = LEAF.to_owned();
        assert_eq!(outputs(read(LEAF)), ["output"]);
        let pair = spec("collections.namedtuple", "my.P", &[leaf.clone(), leaf.clone()]);
        assert_eq!(outputs(read(&pair)), ["u", "v"]);
        let tuple = spec("builtins.tuple", "null", &[leaf.clone(), pair]);
        assert_eq!(outputs(read(&tuple)), ["output.0", "output.1.u", "output.1.v"]);
        let dict = spec("builtins.dict", r#"["a", 3]"#, &[tuple, leaf]);
        assert_eq!(outputs(read(&dict)), ["a.0", "a.1.u", "a.1.v", "output.3"]);
    }
}
