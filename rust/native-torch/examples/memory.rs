//! How long opening a file takes, and what is resident then, after reading the weights, and after a forward pass:
//! `cargo run --release -p native-torch --example memory -- model.pt`.

use std::time::Instant;

use native_torch::{eval::Function, load, tensor::DType};

/// A line of `/proc/self/status`, in MB.
fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<f64>().unwrap_or(f64::NAN) / 1024.0
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
    let graph = module.graph(None)?;
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
    Ok(())
}
