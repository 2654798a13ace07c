//! The fixtures of `test/models`, and what it means to be equal to torch.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{Api, Function, Model, Outcome, Precision};

/// The folder of the fixtures.
pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models")
}

/// A JSON file.
pub fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A model with torch's answers.
pub struct Fixture {
    pub name: String,
    pub path: PathBuf,
    answers: Value,
}

impl Fixture {
    /// An array of numbers.
    pub fn numbers(&self, what: &str) -> Vec<f64> {
        let number = |value: &Value| match value {
            Value::String(text) => text.parse().unwrap(),
            other => other.as_f64().unwrap(),
        };
        self.list(what).iter().map(number).collect()
    }

    /// An array of sizes.
    pub fn sizes(&self, what: &str) -> Vec<usize> {
        self.list(what).iter().map(|size| size.as_u64().unwrap() as usize).collect()
    }

    /// An array of words.
    pub fn words(&self, what: &str) -> Vec<&str> {
        self.list(what).iter().map(|word| word.as_str().unwrap()).collect()
    }

    fn list(&self, what: &str) -> &[Value] {
        self.answers[what].as_array().unwrap_or_else(|| panic!("{}: no {what}", self.name))
    }

    /// How far from torch's array ours may be, as a fraction of the array's largest magnitude.
    pub fn tolerance(&self) -> f64 {
        if self.name.starts_with("layers/") { 1e-12 } else { 1e-11 }
    }

    /// The model compiled for the shape of x.
    pub fn compile<A: Api>(&self, precision: Precision) -> Outcome<<A::Model as Model>::Function> {
        A::open(&self.path)?.compile(Some(&self.sizes("input_shape")), precision)
    }
}

/// Runs a check on every fixture; fails with all complaints.
pub fn each_fixture(check: impl Fn(&Fixture) -> Result<(), String>) {
    let index = json(&models().join("index.json"));
    let names = index.as_array().unwrap();
    assert!(names.len() > 200);
    let mut complaints = Vec::new();
    for name in names {
        let name = name.as_str().unwrap().to_owned();
        let answers = json(&models().join(format!("{name}.json")));
        let fixture = Fixture { path: models().join(format!("{name}.pt")), name, answers };
        if let Err(complaint) = check(&fixture) {
            complaints.push(format!("{}: {complaint}", fixture.name));
        }
    }
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), names.len(), complaints.join("\n"));
}

/// Checks an array against torch's: the largest difference as a fraction of the array's largest magnitude.
pub fn equal(what: &str, found: &[f64], expected: &[f64], tolerance: f64) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{what} has length {}, not {}", found.len(), expected.len()));
    }
    let finite = expected.iter().filter(|value| value.is_finite());
    // What is zero in truth is some 1e-15 of rounding in torch too.
    let scale = finite.fold(1e-3f64, |scale, value| scale.max(value.abs()));
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * scale;
        if !same {
            return Err(format!("{what}[{i}] is {a:e}, not {b:e}; the largest is {scale:e}"));
        }
    }
    Ok(())
}

/// A call that must succeed.
pub fn ok<T>(what: &str, outcome: Outcome<T>) -> Result<T, String> {
    outcome.map_err(|failure| format!("{what}: {:?}: {}", failure.kind, failure.message))
}

/// An array of this length filled by a call that must succeed.
pub fn filled(what: &str, length: usize, call: impl FnOnce(&mut [f64]) -> Outcome<()>) -> Result<Vec<f64>, String> {
    // What is not written shows.
    let mut values = vec![1234.5; length];
    ok(what, call(&mut values))?;
    Ok(values)
}

/// A compiled fixture with a workspace.
pub type Compiled<A> = (<<A as Api>::Model as Model>::Function, Workspace<A>);
/// The workspace of an API's functions.
pub type Workspace<A> = <<<A as Api>::Model as Model>::Function as Function>::Workspace;

/// Compiles a fixture in f64 and makes a workspace.
pub fn compiled<A: Api>(fixture: &Fixture) -> Result<Compiled<A>, String> {
    let function = ok("compile", fixture.compile::<A>(Precision::Double))?;
    let workspace = ok("workspace", function.workspace())?;
    Ok((function, workspace))
}
