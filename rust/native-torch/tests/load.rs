//! Files that torch 2.13 wrote, loaded and made graphs.

use std::path::{Path, PathBuf};

use native_torch::{
    graph::{Dim, Op, Unary},
    load::{self, Layer},
};

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_digits_example_becomes_a_graph() {
    let checkpoint = load::open(checkout().join("docs/examples/digits/digits.pt")).unwrap();
    let names: Vec<String> = checkpoint.tensors().unwrap().into_iter().map(|tensor| tensor.name).collect();
    assert_eq!(names, ["0.weight", "0.bias", "2.weight", "2.bias"]);
    let module = checkpoint.module().unwrap();
    assert!(matches!(module.layer(), Layer::Sequential));
    let layers: Vec<String> = module.layers().map(|layer| layer.describe()).collect();
    assert_eq!(
        layers,
        [
            "Linear(in_features=64, out_features=16, bias=True)",
            "ReLU(inplace=False)",
            "Linear(in_features=16, out_features=10, bias=True)"
        ]
    );
    let graph = module.graph(None).unwrap();
    let ops: Vec<&Op> = graph.nodes().iter().map(|node| &node.op).collect();
    assert_eq!(ops, [&Op::Linear, &Op::Unary(Unary::Relu), &Op::Linear]);
    assert_eq!(graph.ty(graph.outputs()[0].value).shape, [Dim::symbol("N"), Dim::Size(10)]);
    assert_eq!(graph.nodes()[2].scope, "layer `2` (torch.nn.modules.linear.Linear)");
    let mut last = (0, 1);
    checkpoint.verify(&mut |done, total| last = (done, total)).unwrap();
    assert_eq!(last, (6480, 6480));
}
