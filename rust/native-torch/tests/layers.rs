//! `docs/layers.md` is what the layers' table and the fixtures say: which operations a layer becomes, and what there is
//! for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
};

use native_torch::{
    bounds::{Interval, propagate},
    eval::{Function, Order},
    graph::{Dim, Graph},
    load,
    lower::{Options, lower},
    tensor::DType,
};
use serde_json::Value;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What was seen of a layer in its fixtures.
#[derive(Default)]
struct Seen {
    operations: BTreeSet<&'static str>,
    fixtures: usize,
    jacobian: bool,
    hessian: bool,
    bounds: BTreeSet<bool>,
    formulation: BTreeSet<bool>,
}

impl Seen {
    /// Adds a graph that consists of the layer alone.
    fn add(&mut self, graph: &Graph) {
        let function = Function::compile(graph, DType::F64).unwrap();
        let (n, m, mut workspace) = (function.n(), function.m(), function.workspace());
        let (x, ones) = (vec![0.25; n], vec![1.0; m]);
        function.value(&mut workspace, &x, &mut vec![0.0; m]).unwrap();
        function.jacobian(&mut workspace, &x, Order::RowMajor, &mut vec![0.0; m * n]).unwrap();
        function.hessian(&mut workspace, &x, &ones, &mut vec![0.0; n * n]).unwrap();
        self.operations.extend(graph.nodes().iter().map(|node| node.op.name()));
        self.fixtures += 1;
        self.jacobian |= !function.jacobian_pattern().is_empty();
        self.hessian |= !function.hessian_pattern().is_empty();
        let bounds = propagate(graph, &vec![Interval::new(-1.0, 1.0); n]);
        self.bounds.insert(bounds.is_ok());
        self.formulation.insert(bounds.is_ok_and(|bounds| lower(graph, &bounds, &Options::default()).is_ok()));
    }
}

fn shape(sizes: &Value) -> Vec<Dim> {
    sizes.as_array().unwrap().iter().map(|size| Dim::Size(size.as_u64().unwrap() as usize)).collect()
}

/// Every fixture that is a single layer, with the graph of its module.
fn each_layer(mut f: impl FnMut(&str, Graph)) {
    for folder in ["", "inputs"] {
        let folder = models().join(folder);
        for name in json(&folder.join("index.json")).as_array().unwrap() {
            let name = name.as_str().unwrap();
            let answers = json(&folder.join(format!("{name}.json")));
            let model = folder.join(format!("{name}.pt"));
            let module = load::open(&model).unwrap().module().unwrap();
            let class = match module.children() {
                [] => module.class(),
                [only] => only.class(),
                _ => continue,
            };
            let graph = match answers.get("shapes") {
                Some(shapes) => {
                    let shapes: Vec<_> = shapes.as_array().unwrap().iter().map(shape).collect();
                    let integers: Vec<i64> = serde_json::from_value(answers["integers"].clone()).unwrap();
                    module.graph_of(&shapes).unwrap().with_integers(&integers).unwrap()
                }
                None => module.graph(Some(&shape(&answers["input_shape"]))).unwrap(),
            };
            f(class.rsplit('.').next().unwrap_or(class), graph);
        }
    }
}

/// "yes", "no", or "for some settings".
fn some(seen: &BTreeSet<bool>) -> &'static str {
    match (seen.contains(&true), seen.contains(&false)) {
        (true, false) => "yes",
        (true, true) => "some settings",
        _ => "no",
    }
}

fn table() -> String {
    let mut layers: BTreeMap<String, Seen> = BTreeMap::new();
    each_layer(|class, graph| layers.entry(class.to_owned()).or_default().add(&graph));
    let mut text = String::from(
        "# Layers\n\n\
         Made by `cargo xtask layers` from the table in `rust/native-torch/src/load/layers` and the fixtures of \
         `test/models`.\n\n\
         - **Operations**: what the graph has for the layer. f, J, H and their products are computed for all of them.\n\
         - **J**: `yes`, or `none` where the input is integers. **H**: `yes`, or `zero` where the second derivative is \
         zero everywhere; it costs nothing then.\n\
         - **Bounds**: interval bounds. **Full space**: whether `lower` has a form with the default options.\n\n\
         | layer | operations | f | J | H | products | bounds | full space | fixtures |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (_, class) in load::known_layers() {
        let seen = layers.get(class).unwrap_or_else(|| panic!("{class} has no fixture of its own"));
        let operations = seen.operations.iter().copied().collect::<Vec<_>>().join(", ");
        let operations = if operations.is_empty() { "none".to_owned() } else { operations };
        let jacobian = if seen.jacobian { "yes" } else { "none" };
        let hessian = if seen.hessian { "yes" } else { "zero" };
        let (bounds, formulation) = (some(&seen.bounds), some(&seen.formulation));
        let fixtures = seen.fixtures;
        writeln!(
            text,
            "| {class} | {operations} | yes | {jacobian} | {hessian} | yes | {bounds} | {formulation} | {fixtures} |"
        )
        .unwrap();
    }
    text
}

#[test]
fn the_committed_table_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/layers.md");
    let table = table();
    if std::env::var_os("NATIVE_TORCH_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == table, "docs/layers.md is stale; renew it with `cargo xtask layers`");
}
