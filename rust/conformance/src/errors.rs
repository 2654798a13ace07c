//! What must be refused, and what the message must say.

use std::path::Path;

use serde_json::Value;

use crate::{
    Api, Function, Kind, Model, Order, Outcome, Precision,
    fixture::{json, models},
};

fn refused<T>(what: &str, outcome: Outcome<T>, kind: Kind, words: &[&str]) {
    match outcome {
        Ok(_) => panic!("{what}: no error"),
        Err(failure) => {
            assert_eq!(failure.kind, kind, "{what}: {}", failure.message);
            for word in words {
                assert!(failure.message.contains(word), "{what}: `{}` lacks `{word}`", failure.message);
            }
        }
    }
}

fn compile<A: Api>(name: &str, shape: Option<&[usize]>) -> Outcome<<A::Model as Model>::Function> {
    A::open(&models().join(name))?.compile(shape, Precision::Double)
}

/// Opens a file and evaluates it.
fn use_up<A: Api>(path: &Path, shape: &[usize]) -> Outcome<()> {
    let model = A::open(path)?;
    model.modules()?;
    let function = model.compile(Some(shape), Precision::Double)?;
    let signature = function.signature()?;
    function.value(&mut function.workspace()?, &vec![1.0; signature.n], &mut vec![0.0; signature.m])
}

/// Whether a message has a word, or one of several.
fn says(message: &str, word: &Value) -> bool {
    match word {
        Value::Array(choices) => choices.iter().any(|word| says(message, word)),
        Value::Null => true,
        word => message.contains(&word.as_str().unwrap().to_lowercase()),
    }
}

/// Files that cannot be evaluated: an error with the words that the file's entry asks for.
pub fn refused_files_say_what_and_where<A: Api>() {
    for folder in ["refused", "hostile"] {
        let folder = models().join(folder);
        for entry in json(&folder.join("index.json")).as_array().unwrap() {
            if entry["outcome"] != "error" {
                continue;
            }
            let file = entry["file"].as_str().unwrap();
            // Sizes do not matter to most; those that they matter to are images.
            let outcomes =
                [&[3][..], &[1, 1, 4, 5], &[1, 3], &[2], &[4]].map(|shape| use_up::<A>(&folder.join(file), shape));
            let mut messages = Vec::new();
            for outcome in outcomes {
                let Err(failure) = outcome else { panic!("{file}: no error") };
                assert!(failure.kind != Kind::Internal, "{file}: {}", failure.message);
                messages.push(failure.message.to_lowercase());
            }
            let words = || entry["words"].as_array().unwrap().iter().chain(entry.get("place"));
            let said = messages.iter().any(|message| words().all(|word| says(message, word)));
            assert!(said, "{file}: {messages:?} lack {:?}", words().collect::<Vec<_>>());
        }
    }
    let missing = models().join("there is no such file.pt");
    refused("missing", A::open(&missing).map(|_| ()), Kind::Io, &["no such file"]);
    refused("a folder", A::open(&models()).map(|_| ()), Kind::Io, &["test/models"]);
}

/// Every array of every call, too short and too long.
pub fn wrong_lengths_are_refused<A: Api>() {
    let function = compile::<A>("nets/mlp_sigmoid.pt", None).unwrap();
    let signature = function.signature().unwrap();
    let (n, m) = (signature.n, signature.m);
    assert!(n > 1 && m > 1);
    let mut w = function.workspace().unwrap();
    let zeros = |length: usize| vec![0.0; length];
    let [entries, second] = [function.jacobian_pattern(), function.hessian_pattern()].map(|p| p.unwrap().len());
    let wrong = Kind::Argument;

    for length in [0, n - 1, n + 1] {
        let x = zeros(length);
        let found = length.to_string();
        refused("x", function.value(&mut w, &x, &mut zeros(m)), wrong, &["x", &found, &n.to_string()]);
        let jacobian = function.jacobian(&mut w, &x, Order::RowMajor, &mut zeros(m * n));
        refused("x", jacobian, wrong, &["x", &found]);
        refused("x", function.jvp(&mut w, &x, &zeros(n), &mut zeros(m)), wrong, &["x", &found]);
        refused("x", function.vjp(&mut w, &x, &zeros(m), &mut zeros(n)), wrong, &["x", &found]);
        let hessian = function.hessian(&mut w, &x, &zeros(m), Order::RowMajor, &mut zeros(n * n));
        refused("x", hessian, wrong, &["x", &found]);
        refused("x", function.hvp(&mut w, &x, &zeros(m), &zeros(n), &mut zeros(n)), wrong, &["x", &found]);
    }
    for points in [1, 2] {
        let x = zeros(points * n);
        for by in [-1, 1] {
            let off = |length: usize| zeros((points * length).checked_add_signed(by).unwrap());
            let right = |length: usize| zeros(points * length);
            let found = |length: usize| off(length).len().to_string();
            refused("y", function.value(&mut w, &x, &mut off(m)), wrong, &["y", &found(m)]);
            for (order, length) in [(Order::RowMajor, m * n), (Order::ColumnMajor, m * n), (Order::Pattern, entries)] {
                let jacobian = function.jacobian(&mut w, &x, order, &mut off(length));
                refused("J", jacobian, wrong, &["Jacobian", &found(length)]);
            }
            for (order, length) in [(Order::RowMajor, n * n), (Order::ColumnMajor, n * n), (Order::Pattern, second)] {
                let hessian = function.hessian(&mut w, &x, &right(m), order, &mut off(length));
                refused("H", hessian, wrong, &["Hessian", &found(length)]);
            }
            let hessian = function.hessian(&mut w, &x, &off(m), Order::RowMajor, &mut right(n * n));
            refused("mu", hessian, wrong, &["mu", &found(m)]);
            refused("v", function.jvp(&mut w, &x, &off(n), &mut right(m)), wrong, &["v", &found(n)]);
            refused("jvp", function.jvp(&mut w, &x, &right(n), &mut off(m)), wrong, &["result", &found(m)]);
            refused("u", function.vjp(&mut w, &x, &off(m), &mut right(n)), wrong, &["u", &found(m)]);
            refused("vjp", function.vjp(&mut w, &x, &right(m), &mut off(n)), wrong, &["result", &found(n)]);
            refused("mu", function.hvp(&mut w, &x, &off(m), &right(n), &mut right(n)), wrong, &["mu", &found(m)]);
            refused("v", function.hvp(&mut w, &x, &right(m), &off(n), &mut right(n)), wrong, &["v", &found(n)]);
            refused("hvp", function.hvp(&mut w, &x, &right(m), &right(n), &mut off(n)), wrong, &["result", &found(n)]);
        }
    }
}

/// Shapes that the model cannot take.
pub fn wrong_shapes_are_refused<A: Api>() {
    let layer = ["layer `0` (torch.nn.modules.linear.Linear)"];
    refused("features", compile::<A>("layers/linear.pt", Some(&[1, 5])), Kind::Argument, &layer);
    refused("no dimension", compile::<A>("layers/linear.pt", Some(&[])), Kind::Argument, &layer);
    let layer = ["layer `0` (torch.nn.modules.conv.Conv2d)"];
    refused("channels", compile::<A>("nets/cnn.pt", Some(&[1, 7, 8, 8])), Kind::Argument, &layer);
    refused("no shape", compile::<A>("nets/cnn.pt", None), Kind::Argument, &["give its sizes", layer[0]]);
    let huge = compile::<A>("layers/relu.pt", Some(&[usize::MAX, usize::MAX]));
    assert!(huge.is_err_and(|failure| failure.kind != Kind::Internal));
}

/// The workspace of one function is of no use to another.
pub fn foreign_workspaces_are_refused<A: Api>() {
    let (one, other) =
        (compile::<A>("nets/mlp_sigmoid.pt", None).unwrap(), compile::<A>("nets/mlp_relu.pt", None).unwrap());
    let n = one.signature().unwrap().n;
    let mut workspace = other.workspace().unwrap();
    let mut y = vec![0.0; one.signature().unwrap().m];
    refused("foreign", one.value(&mut workspace, &vec![0.0; n], &mut y), Kind::Argument, &["another function"]);
}
