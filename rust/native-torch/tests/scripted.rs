//! Programs of TorchScript, against what torch gives.

mod programs;

use std::path::{Path, PathBuf};

use native_torch::load::{self, Format, Model};
use programs::{faults, sizes};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models")
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

fn model(file: &str) -> Model {
    load::open(folder().join("scripted").join(file)).unwrap().model().unwrap()
}

#[test]
fn traced_scripted_and_frozen_modules_are_those_of_torch() {
    let mut all = Vec::new();
    for (file, numbers) in serde_json::from_value::<Vec<(String, String)>>(json("scripted/index.json")).unwrap() {
        let expected = json(&numbers);
        let path = folder().join("scripted").join(&file);
        let found = faults(&path, Format::Script, &expected, 1e-11);
        all.extend(found.into_iter().map(|fault| format!("{file}: {fault}")));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn wrong_scripts_are_refused_with_the_place() {
    let index: Vec<Value> = serde_json::from_value(json("scripted/refused/index.json")).unwrap();
    let mut faults = Vec::new();
    for case in index {
        let file = case["file"].as_str().unwrap();
        let shape: Vec<usize> = serde_json::from_value(case["shape"].clone()).unwrap();
        let words: Vec<String> = serde_json::from_value(case["words"].clone()).unwrap();
        let graph = load::open(folder().join("scripted/refused").join(file))
            .and_then(|checkpoint| checkpoint.model())
            .and_then(|model| model.graph(Some(&sizes(&shape))));
        match graph {
            Ok(_) => faults.push(format!("{file} is read")),
            Err(error) => {
                let missing = words.iter().filter(|word| !error.message().contains(word.as_str()));
                faults.extend(missing.map(|word| format!("{file}: no `{word}` in: {error}")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
