//! Optimisation problems as the command line gives them, for `solve` and `formulate`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use native_torch::{
    Error, Result,
    graph::Graph,
    solve::{Problem, Solver},
    tighten::{self, Method, network_bounds},
};

use crate::{
    input,
    region::{self, Region},
};

/// How long the programs that bound one neuron may take.
const NEURON: Option<Duration> = Some(Duration::from_secs(2));

/// What the help says about the language.
pub const LANGUAGE: &str = "\
Expressions:
  x[i], y[j]            elements of the model's input and output, flat and row-major, counted from 0
  x0[i]                 elements of --x0
  + - * / ( )           one factor of a product must be a number
  abs(e)  max(e, ..)  min(e, ..)
  norm1(x - x0)  norminf(x - x0)
Conditions:
  e <= e   e >= e   e == e
  argmax(y) == k   argmax(y) != k     by --margin

Convex uses of abs, max and norms are exact and cheap; others take binaries and finite
bounds. The status is optimal, infeasible, unbounded or time_limit; the bound is proven.";

/// The network, the box of its inputs, the objective and the conditions.
#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// The model, as torch.save(model) or torch.export.save(program) wrote it
    pub file: PathBuf,
    /// What is to be as small as possible
    #[arg(long, allow_hyphen_values = true, value_name = "EXPR", conflicts_with = "maximize")]
    pub minimize: Option<String>,
    /// What is to be as large as possible
    #[arg(long, allow_hyphen_values = true, value_name = "EXPR")]
    pub maximize: Option<String>,
    /// The input's bounds
    #[arg(long = "box", allow_hyphen_values = true, value_name = "LO,HI|FILE", help = format!("The input's bounds: {}", region::REGION))]
    region: Option<String>,
    /// Either the input's bounds as well, or how the network's own bounds are found: interval (the default), linear, lp
    /// or mip; may be given for each
    #[arg(long, allow_hyphen_values = true, value_name = "LO,HI|FILE|METHOD")]
    bounds: Vec<String>,
    /// The forms of layers, as relu=sos1,max_pool=pairwise or `layer 2=big_m(100)`, and space=reduced
    #[arg(long, value_name = "KIND=FORM,..", default_value = "", hide_default_value = true)]
    options: String,
    /// Fix an input element, as 3=0.5, in or outside its bounds; may be repeated
    #[arg(long, allow_hyphen_values = true, value_name = "I=V")]
    fix: Vec<String>,
    /// A condition; may be repeated, and all must hold
    #[arg(long = "where", allow_hyphen_values = true, value_name = "COND")]
    conditions: Vec<String>,
    /// The point x0 of expressions, where the search starts
    #[arg(long, allow_hyphen_values = true, value_name = "IN", help = format!("The point x0 of expressions, where the search starts: {}", input::ARRAY))]
    x0: Option<String>,
    /// By how much one output must exceed another to count as larger; 0: equal ones count as either, so that rounding
    /// may decide which the model itself calls the largest
    #[arg(long, allow_hyphen_values = true, default_value_t = 1e-6)]
    margin: f64,
    /// microlp or highs
    #[arg(long)]
    solver: Option<String>,
    /// The input's shape, as 1,3,8,8; by default what the first layer asks for
    #[arg(long, value_name = "SIZES")]
    shape: Option<String>,
}

/// What the arguments name, read.
pub struct Given {
    /// The network.
    pub graph: Graph,
    /// The point x0.
    pub x0: Option<input::Array>,
    /// The solver.
    pub solver: Solver,
    region: Region,
    method: Method,
}

impl Given {
    /// Reads the files.
    pub fn read(arguments: &Arguments) -> Result<Self> {
        let x0 = arguments.x0.as_deref().map(input::read).transpose().map_err(|e| e.at("--x0"))?;
        let (region, method) = regions(arguments)?;
        let solver = solver(arguments.solver.as_deref())?;
        let graph = region::graph(&arguments.file, arguments.shape.as_deref(), x0.as_ref(), region.count())?;
        Ok(Self { graph, x0, solver, region, method })
    }

    /// The number of input elements.
    pub fn n(&self) -> usize {
        self.graph.inputs().iter().map(|input| self.graph.sizes(input.value).iter().product::<usize>()).sum()
    }

    /// The problem, with the bounds of the box alone.
    pub fn problem(&self, arguments: &Arguments) -> Result<Problem<'_>> {
        let mut problem = Problem::new(&self.graph, self.region.intervals(self.n())).map_err(|e| e.at("--bounds"))?;
        problem.set_margin(arguments.margin).map_err(|e| e.at("--margin"))?;
        problem.set_forms(arguments.options.parse().map_err(|e: Error| e.at("--options"))?);
        if let Some(x0) = &self.x0 {
            problem.set_x0(&x0.data).map_err(|e| e.at("--x0"))?;
        }
        for fix in &arguments.fix {
            let (i, value) = parse_fix(fix).map_err(|e| e.at("--fix"))?;
            problem.fix(i, value).map_err(|e| e.at("--fix"))?;
        }
        if let Some(objective) = &arguments.minimize {
            problem.minimize(objective).map_err(|e| e.at("--minimize"))?;
        }
        if let Some(objective) = &arguments.maximize {
            problem.maximize(objective).map_err(|e| e.at("--maximize"))?;
        }
        for condition in &arguments.conditions {
            problem.subject_to(condition).map_err(|e| e.at("--where"))?;
        }
        Ok(problem)
    }

    /// Gives the problem the network's own bounds by the method that is asked for.
    pub fn tighten(&self, problem: &mut Problem) -> Result<()> {
        if self.method > Method::Interval {
            let limits = tighten::Options { solver: self.solver, time_limit: NEURON, ..tighten::Options::default() };
            let (known, _) = network_bounds(&self.graph, problem.bounds(), self.method, &limits, &mut |_| true)?;
            problem.set_known(known)?;
        }
        Ok(())
    }
}

/// The argument --solver.
pub fn solver(argument: Option<&str>) -> Result<Solver> {
    argument.map_or(Ok(Solver::default()), Solver::from_name).map_err(|e| e.at("--solver"))
}

/// The box, and how the network's own bounds are found.
fn regions(arguments: &Arguments) -> Result<(Region, Method)> {
    let (mut region, mut method) = (arguments.region.as_deref(), Method::Interval);
    for argument in &arguments.bounds {
        match Method::from_name(argument) {
            Ok(named) if !Path::new(argument).exists() => method = named,
            _ if region.is_some() => {
                return Err(Error::argument(format!("--bounds {argument}: the box is given twice")));
            }
            _ => region = Some(argument),
        }
    }
    let region = region.ok_or_else(|| Error::argument(format!("--box is needed: {}", region::REGION)))?;
    Ok((Region::read(region).map_err(|e| e.at("--bounds"))?, method))
}

/// `3=0.5`, also `x[3]=0.5`.
fn parse_fix(argument: &str) -> Result<(usize, f64)> {
    let parsed = argument.split_once('=').and_then(|(i, value)| {
        let i = i.trim();
        let i = i.strip_prefix("x[").and_then(|i| i.strip_suffix(']')).unwrap_or(i);
        Some((i.trim().parse().ok()?, value.trim().parse().ok()?))
    });
    parsed.ok_or_else(|| Error::argument(format!("`{argument}`: an index and a number are expected, as 3=0.5")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_elements_are_read() {
        assert_eq!(parse_fix("3=-0.5").unwrap(), (3, -0.5));
        assert_eq!(parse_fix(" x[3] = 1").unwrap(), (3, 1.0));
        assert!(["3", "=1", "a=1", "3=b", "-1=0"].iter().all(|bad| parse_fix(bad).is_err()));
    }
}
