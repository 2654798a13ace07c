//! What is resident at most when a file is opened and its forward pass computed in f32, beside its weights and the
//! activations that are alive at once. A process measures one file: `native-torch-bench memory model.pt2 1,3,224,224`.

use native_torch::{
    Error, Result,
    eval::Function,
    graph::{Dim, Graph, Source},
    load,
    tensor::DType,
};

const MEGABYTE: f64 = 1e6;

/// The most that was resident so far, in MB.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0 / MEGABYTE)
}

/// The elements of the parameters, and of the values that are alive at once at most.
fn elements(graph: &Graph) -> [usize; 2] {
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
    [graph.parameters().iter().map(|p| p.tensor.numel()).sum(), most]
}

/// The MB of the weights, of the activations that are alive at once at most, and what was resident at most.
fn measured(path: &str, sizes: &str) -> Result<[f64; 3]> {
    let size = |text: &str| text.parse().map(Dim::Size);
    let shape = sizes.split(',').map(size).collect::<std::result::Result<Vec<_>, _>>();
    let shape = shape.map_err(|error| Error::argument(format!("sizes are {sizes}, not as 1,3,224,224: {error}")))?;
    let graph = load::open(path)?.model()?.graph_of(&[shape])?;
    let function = Function::compile(&graph, DType::F32)?;
    let (x, mut y) = (vec![0.5f32; function.n()], vec![0.0f32; function.m()]);
    function.value(&mut function.workspace(), &x, &mut y)?;
    let most = resident().ok_or_else(|| Error::unsupported("/proc/self/status does not say what is resident"))?;
    let [weights, alive] = elements(&graph).map(|count| count as f64 * 4.0 / MEGABYTE);
    Ok([weights, alive, most])
}

/// Prints the three numbers of a file.
pub fn print(path: &str, sizes: &str) -> Result<()> {
    let [weights, alive, most] = measured(path, sizes)?;
    println!("{weights:.1} {alive:.1} {most:.1}");
    Ok(())
}
