//! How long opening a file takes, and what is resident then, after reading the weights, and after a forward pass in f32,
//! beside the weights and twice the activations that are alive at once at most:
//! `cargo run --release -p native-torch --example memory -- model.pt [1,3,224,224]`.

use std::time::Instant;

use native_torch::{
    eval::Function,
    graph::{Dim, Graph, Source},
    load,
    tensor::DType,
};

/// A line of `/proc/self/status`, in MB.
fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<f64>().unwrap_or(f64::NAN) * 1024.0 / 1e6
}

/// The elements of the parameters, and of the values that are alive at once at most.
fn elements(graph: &Graph) -> (usize, usize) {
    let used = graph.used_values();
    let size = |value: usize| graph.values()[value].ty.sizes().map_or(0, |sizes| sizes.iter().product::<usize>());
    let mut last = vec![0; graph.values().len()];
    for (time, node) in graph.nodes().iter().enumerate() {
        node.inputs.iter().for_each(|v| last[v.index()] = time);
    }
    let computed = |v: &usize| used[*v] && !matches!(graph.values()[*v].source, Source::Parameter(_));
    let (mut alive, mut most) = (graph.inputs().iter().map(|i| size(i.value.index())).sum::<usize>(), 0);
    for (time, node) in graph.nodes().iter().enumerate() {
        alive += node.outputs.iter().map(|v| v.index()).filter(computed).map(size).sum::<usize>();
        most = most.max(alive);
        let mut over: Vec<usize> = node.inputs.iter().map(|v| v.index()).filter(|&v| last[v] == time).collect();
        over.sort_unstable();
        over.dedup();
        alive -= over.into_iter().filter(computed).map(size).sum::<usize>();
    }
    (graph.parameters().iter().map(|p| p.tensor.numel()).sum(), most)
}

fn main() -> native_torch::Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| native_torch::Error::argument("memory FILE"))?;
    let report = |what: &str, since: Instant| {
        println!(
            "{what}: {:.1} ms, resident {:.1} MB, at most {:.1} MB",
            since.elapsed().as_secs_f64() * 1e3,
            status("VmRSS"),
            status("VmHWM")
        );
    };
    let start = Instant::now();
    let checkpoint = load::open(&path)?;
    report("opened", start);
    let start = Instant::now();
    let module = checkpoint.module()?;
    report("read as a module", start);
    let shape: Option<Vec<Dim>> = std::env::args()
        .nth(2)
        .map(|shape| shape.split(',').map(|size| Dim::Size(size.parse().expect("sizes, as in 1,3,224,224"))).collect());
    let graph = module.graph(shape.as_deref())?;
    let shapes: Vec<Vec<usize>> = graph
        .inputs()
        .iter()
        .map(|i| graph.ty(i.value).shape.iter().map(|d| d.size().unwrap_or(1)).collect())
        .collect();
    let graph = graph.specialize(&shapes)?;
    let start = Instant::now();
    let function = Function::compile(&graph, DType::F32)?;
    report("compiled in f32", start);
    let start = Instant::now();
    let (x, mut y) = (vec![0.0; function.n()], vec![0.0; function.m()]);
    function.value(&mut function.workspace(), &x, &mut y)?;
    report("evaluated", start);
    let (weights, alive) = elements(&graph);
    let megabytes = |elements: usize| elements as f64 * 4.0 / 1e6;
    println!(
        "weights {:.1} MB, activations alive at once {:.1} MB: with 16 MB at most {:.1} MB",
        megabytes(weights),
        megabytes(alive),
        megabytes(weights + 2 * alive) + 16.0
    );
    Ok(())
}
