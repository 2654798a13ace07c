//! The command `native-torch`: PyTorch models looked at, evaluated with their derivatives, and solved.

mod bounds;
mod evaluate;
mod export;
mod formulate;
mod info;
mod input;
mod output;
mod problem;
mod region;
mod solve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use native_torch::Result;

/// Trained PyTorch models, without Python: values, derivatives and optimisation.
#[derive(Parser)]
#[command(name = "native-torch", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the layers, shapes, parameters and tensors of a model, and what of it is not supported
    Info(info::Arguments),
    /// Compute the model's outputs
    Eval(evaluate::Arguments),
    /// Compute the outputs and the Jacobian of all output elements by all input elements
    Jacobian(evaluate::Arguments),
    /// Compute the outputs and the Hessian of the sum of the outputs, weighted by --mu
    Hessian(evaluate::HessianArguments),
    /// Bound all values of the model over a box of its inputs
    Bounds(bounds::Arguments),
    /// Minimise or maximise over the model's inputs and outputs, to proven optimality
    Solve(solve::Arguments),
    /// Write such a problem as a file for other solvers: .mps, .lp, .nl or .mof.json
    Formulate(formulate::Arguments),
    /// Write the model as a file that torch loads and runs: .pt2, or .pt for TorchScript
    Export(export::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Info(arguments) => info::run(&arguments),
        Command::Eval(arguments) => evaluate::eval(&arguments),
        Command::Jacobian(arguments) => evaluate::jacobian(&arguments),
        Command::Hessian(arguments) => evaluate::hessian(&arguments),
        Command::Bounds(arguments) => bounds::run(&arguments),
        Command::Solve(arguments) => solve::run(&arguments),
        Command::Formulate(arguments) => formulate::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
    }
}
