//! `native-torch formulate`.

use std::path::PathBuf;

use clap::Args;
use native_torch::{
    Result,
    write::{Format, to_file},
};

use crate::{output, problem};

/// The problem, and where its formulation goes.
#[derive(Args)]
#[command(after_long_help = problem::LANGUAGE, after_help = problem::LANGUAGE)]
pub struct Arguments {
    #[command(flatten)]
    problem: problem::Arguments,
    /// The file, whose name ends with .mps, .lp, .nl or .mof.json; without one, the formulation is printed for reading.
    /// An .nl file has no names: they go to a .col file beside it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Formulates the problem, and writes or prints it.
pub fn run(arguments: &Arguments) -> Result<()> {
    // A wrong name is found before the work is done.
    arguments.output.as_deref().map(Format::of).transpose().map_err(|e| e.at("--output"))?;
    let given = problem::Given::read(&arguments.problem)?;
    let mut problem = given.problem(&arguments.problem)?;
    given.tighten(&mut problem)?;
    let (formulation, objective) = problem.formulation()?;
    match &arguments.output {
        Some(path) => to_file(&formulation, Some(&objective), path).map(|_| ()),
        None => output::print(formulation.to_string().trim_end()),
    }
}
