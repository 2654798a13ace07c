//! Which form of an operation a call means: code names operations without their overloads.

use super::value::{Heap, Value};
use crate::load::aten::{self, Operation, Target};

/// The form of an operation that takes these arguments, by place and by name.
pub(super) fn choose(name: &str, heap: &Heap, given: &[Value], keywords: &[(&str, &Value)]) -> Option<Target> {
    aten::overloads(name).into_iter().find(|target| fits(target.operation, heap, given, keywords))
}

/// Parameters that are given by name only, where tensors are made.
const PLACEMENT: [&str; 5] = ["dtype", "layout", "device", "pin_memory", "memory_format"];
/// Operations whose dtype is given by name only.
const DTYPE_BY_NAME: [&str; 7] = ["sum", "mean", "prod", "cumsum", "cumprod", "linalg_vector_norm", "norm"];

fn by_name_only(operation: &Operation, parameter: &str) -> bool {
    let makes = || operation.parameters().any(|(name, _)| name == "pin_memory");
    let corrected = || operation.parameters().any(|(name, _)| name == "correction");
    match parameter {
        "dtype" if DTYPE_BY_NAME.contains(&operation.name) => true,
        "correction" => true,
        "keepdim" => corrected(),
        parameter if PLACEMENT.contains(&parameter) => makes(),
        _ => false,
    }
}

fn fits(operation: &Operation, heap: &Heap, given: &[Value], keywords: &[(&str, &Value)]) -> bool {
    let mut places = given.iter();
    let mut named = 0;
    for (name, is_optional) in operation.parameters() {
        let by_place = if by_name_only(operation, name) { None } else { places.next() };
        let by_name = keywords.iter().find(|keyword| keyword.0 == name).map(|keyword| keyword.1);
        named += usize::from(by_name.is_some());
        let holds = match (by_place, by_name) {
            (Some(_), Some(_)) => false,
            (Some(value), None) | (None, Some(value)) => may_be(operation, name, heap, value),
            (None, None) => is_optional,
        };
        if !holds {
            return false;
        }
    }
    places.next().is_none() && named == keywords.len()
}

/// Whether a parameter of this name takes such a value; those that no two forms tell apart take any.
fn may_be(operation: &Operation, parameter: &str, heap: &Heap, value: &Value) -> bool {
    let is_int = |value: &Value| matches!(value, Value::Int(_) | Value::Size(_));
    let ints = |value: &Value| heap.elements(value).is_some_and(|elements| elements.iter().all(is_int));
    match (parameter, value) {
        ("unbiased" | "keepdim" | "align_corners" | "non_blocking" | "copy" | "train" | "training", value) => {
            matches!(value, Value::Bool(_))
        }
        ("other", value) if operation.name == "to" => matches!(value, Value::Tensor(_)),
        ("dtype", value) => matches!(value, Value::Int(_) | Value::None),
        ("device", value) => matches!(value, Value::Placement | Value::None),
        ("dim" | "dims" | "output_size", value) => matches!(value, Value::None) || is_int(value) || ints(value),
        ("size", value) if operation.name == "unfold" => is_int(value),
        ("size" | "sizes" | "split_sizes", value) => ints(value),
        ("scale_factors", value) => matches!(value, Value::None) || heap.elements(value).is_some(),
        ("scales" | "scales_d" | "scales_h" | "scales_w", value) => matches!(value, Value::None | Value::Float(_)),
        ("m" | "n" | "sections" | "split_size" | "chunks", value) => is_int(value),
        ("tensors", value) => heap.elements(value).is_some(),
        _ => true,
    }
}
