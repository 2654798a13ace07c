//! `native-torch bounds`.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use native_torch::{
    Error, Result,
    tighten::{Method, Options, entries, network_bounds},
};
use serde_json::json;

use crate::{
    output, problem,
    region::{self, Region},
    solve,
};

/// The box, and how bounds are found.
#[derive(Args)]
pub struct Arguments {
    /// The model, as torch.save(model) or torch.export.save(program) wrote it
    file: PathBuf,
    /// The input's bounds
    #[arg(long = "box", allow_hyphen_values = true, value_name = "LO,HI|FILE", help = format!("The input's bounds: {}", region::REGION))]
    region: String,
    /// interval, linear (relaxation through the whole network), lp or mip (programs for each neuron)
    #[arg(long, default_value = "linear")]
    method: String,
    /// How many threads work; 0: as many as the machine has
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// How many seconds the programs of one neuron may take; it keeps what is known of it then
    #[arg(long, allow_hyphen_values = true, value_name = "SECONDS")]
    time_limit: Option<f64>,
    /// microlp or highs
    #[arg(long)]
    solver: Option<String>,
    /// The input's shape, as 1,3,8,8; by default what the first layer asks for
    #[arg(long, value_name = "SIZES")]
    shape: Option<String>,
}

/// Finds the bounds and prints them as one JSON object: an entry for each input and each operation.
pub fn run(arguments: &Arguments) -> Result<()> {
    let region = Region::read(&arguments.region).map_err(|e| e.at("--box"))?;
    let method = Method::from_name(&arguments.method).map_err(|e| e.at("--method"))?;
    let graph = region::graph(&arguments.file, arguments.shape.as_deref(), None, region.count())?;
    let n = graph.inputs().iter().map(|input| graph.sizes(input.value).iter().product::<usize>()).sum();
    let options = Options {
        threads: arguments.threads,
        time_limit: solve::time_limit(arguments.time_limit)?,
        solver: problem::solver(arguments.solver.as_deref())?,
        ..Options::default()
    };
    let bar = bar()?;
    let found = network_bounds(&graph, &region.intervals(n), method, &options, &mut |now| {
        bar.set_length(now.total as u64);
        bar.set_position(now.done as u64);
        bar.set_message(format!("{} ({})", now.layer, if now.integer { "mip" } else { "lp" }));
        true
    });
    bar.finish_and_clear();
    let (bounds, report) = found?;
    let layers: Vec<_> = entries(&graph)
        .iter()
        .map(|entry| {
            let ranges = bounds.of(entry.value);
            json!({
                "name": entry.name,
                "operation": entry.operation,
                "shape": graph.sizes(entry.value),
                "output": graph.outputs().iter().any(|output| output.value == entry.value),
                "lower": output::numbers(&ranges.iter().map(|range| range.lower).collect::<Vec<_>>()),
                "upper": output::numbers(&ranges.iter().map(|range| range.upper).collect::<Vec<_>>()),
            })
        })
        .collect();
    let programs = json!({
        "solved": report.solved,
        "timed_out": report.timed_out,
        "failed": report.failed,
        "failure": report.failure,
    });
    output::print(&json!({ "method": method.name(), "layers": layers, "programs": programs }).to_string())
}

fn bar() -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}, {elapsed}")
        .map_err(|e| Error::internal(format!("the progress bar's template: {e}")))?;
    // Drawn on standard error, if that is a terminal.
    Ok(ProgressBar::no_length().with_style(style))
}
