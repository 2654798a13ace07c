//! Files in every form, from every source: models, and roots that are no module.

use std::{collections::HashMap, fs, path::Path};

use serde_json::Value;

use crate::{
    Api, Function, Kind, Model, Outcome, Precision, Source,
    fixture::{each_fixture, equal, filled, json, models, ok},
};

/// A file from each source.
fn sources(path: &Path) -> [Source; 3] {
    let bytes = fs::read(path).unwrap();
    [Source::Path(path.to_owned()), Source::Bytes(bytes.clone()), Source::Reader(bytes)]
}

/// Models from memory and behind readers are those from the file system.
pub fn every_source_gives_the_same_model<A: Api>() {
    each_fixture(|fixture| {
        if !fixture.name.starts_with("files/") {
            return Ok(());
        }
        let x = fixture.numbers("x");
        for source in sources(&fixture.path) {
            let model = ok("open", A::open_from(source))?;
            let function = ok("compile", model.compile(Some(&fixture.sizes("input_shape")), Precision::Double))?;
            let mut workspace = ok("workspace", function.workspace())?;
            let expected = fixture.numbers("y");
            let y = filled("value", expected.len(), |y| function.value(&mut workspace, &x, y))?;
            equal("y", &y, &expected, fixture.tolerance())?;
        }
        Ok(())
    });
}

/// Values, their order, their keys, their tensors with dtypes and numbers, and what they share.
pub fn values_are_those_of_python<A: Api>() {
    let folder = models().join("values");
    let mut complaints = Vec::new();
    for entry in json(&folder.join("index.json")).as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        for source in sources(&folder.join(file)) {
            match A::root(source.clone()) {
                Ok(root) => {
                    compare(&entry["root"], &root, file, &mut complaints);
                    check_sharing(entry, &root, &mut complaints);
                }
                Err(failure) => complaints.push(format!("{file}: {failure:?}")),
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn compare(expected: &Value, found: &Value, place: &str, complaints: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(fields), Value::Object(others)) => {
            // Where torch's numbers are missing, nobody need read them.
            for (name, field) in fields {
                compare(field, others.get(name).unwrap_or(&Value::Null), &format!("{place}.{name}"), complaints);
            }
        }
        (Value::Array(elements), Value::Array(others)) if elements.len() == others.len() => {
            for (i, (element, other)) in elements.iter().zip(others).enumerate() {
                compare(element, other, &format!("{place}[{i}]"), complaints);
            }
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        (a, b) if a == b => {}
        (a, b) => complaints.push(format!("{place} is {b}, not {a}")),
    }
}

/// The storages of the tensors in a dict, by key.
fn storages(root: &Value) -> HashMap<&str, &Value> {
    let entries = root["entries"].as_array().into_iter().flatten();
    entries.filter_map(|entry| Some((entry[0]["value"].as_str()?, &entry[1]["storage"]))).collect()
}

fn check_sharing(entry: &Value, root: &Value, complaints: &mut Vec<String>) {
    let storages = storages(root);
    for pair in entry["shared"].as_array().unwrap() {
        let [a, b] = [0, 1].map(|i| storages[pair[i].as_str().unwrap()]);
        if a != b || a.is_null() || a == storages["scalar"] {
            complaints.push(format!("{}: {pair} lie in {a} and {b}", entry["file"]));
        }
    }
}

/// A wrong CRC is found by the first use of the tensor, from every source.
pub fn damaged_tensors_fail_when_they_are_read<A: Api>() {
    for source in sources(&models().join("hostile/crc_storage.pt")) {
        let model = A::open_from(source).unwrap_or_else(|failure| panic!("{failure:?}"));
        let compiled = model.compile(Some(&[3]), Precision::Double);
        for outcome in [compiled.map(drop), model.verify()] {
            let failure = outcome.expect_err("the record is damaged");
            assert!(failure.kind == Kind::Format && failure.message.contains("CRC"), "{failure:?}");
        }
    }
}

/// What is refused is refused with the same words, but for what the file is called.
pub fn refusals_do_not_depend_on_the_source<A: Api>() {
    let folder = models().join("hostile");
    for entry in json(&folder.join("index.json")).as_array().unwrap() {
        let path = folder.join(entry["file"].as_str().unwrap());
        let use_up = |source: Source| -> Outcome<()> {
            let model = A::open_from(source)?;
            model.verify()?;
            model.compile(Some(&[3]), Precision::Double).map(drop)
        };
        let [file, bytes, reader] = sources(&path).map(use_up);
        let without = |outcome: Outcome<()>, name: &str| {
            outcome.map_err(|failure| (failure.kind, failure.message.replace(&format!("{name}: "), "")))
        };
        let file = without(file, &path.display().to_string());
        assert_eq!(file, without(bytes, "the bytes"), "{entry}");
        assert_eq!(file, without(reader, "the reader"), "{entry}");
    }
}
