//! `native-torch solve`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};
use native_torch::{
    Error, Result,
    solve::{Answer, Options, Problem, Solver, Status},
    tighten::{self, Method, network_bounds},
};
use serde_json::{Value, json};

use crate::{
    input, output,
    region::{self, Region},
};

/// How long the programs that bound one neuron may take.
const NEURON: Option<Duration> = Some(Duration::from_secs(2));

/// What `help solve` says about the language.
const LANGUAGE: &str = "\
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

/// The problem, and how it is solved.
#[derive(Args)]
#[command(after_long_help = LANGUAGE, after_help = LANGUAGE)]
#[command(group = ArgGroup::new("objective").required(true).args(["minimize", "maximize"]))]
pub struct Arguments {
    /// The model, as torch.save(model) or torch.export.save(program) wrote it
    file: PathBuf,
    /// What is to be as small as possible
    #[arg(long, allow_hyphen_values = true, value_name = "EXPR")]
    minimize: Option<String>,
    /// What is to be as large as possible
    #[arg(long, allow_hyphen_values = true, value_name = "EXPR")]
    maximize: Option<String>,
    /// The input's bounds
    #[arg(long = "box", allow_hyphen_values = true, value_name = "LO,HI|FILE", help = format!("The input's bounds: {}", region::REGION))]
    region: Option<String>,
    /// Either the input's bounds as well, or how the network's own bounds are found: interval (the default), linear, lp
    /// or mip; may be given for each
    #[arg(long, allow_hyphen_values = true, value_name = "LO,HI|FILE|METHOD")]
    bounds: Vec<String>,
    /// Fix an input element, as 3=0.5, in or outside its bounds; may be repeated
    #[arg(long, allow_hyphen_values = true, value_name = "I=V")]
    fix: Vec<String>,
    /// A condition; may be repeated, and all must hold
    #[arg(long = "where", allow_hyphen_values = true, value_name = "COND")]
    conditions: Vec<String>,
    /// The point x0 of expressions, where the search starts
    #[arg(long, allow_hyphen_values = true, value_name = "IN", help = format!("The point x0 of expressions, where the search starts: {}", input::ARRAY))]
    x0: Option<String>,
    /// Stop after this many seconds with what is known
    #[arg(long, allow_hyphen_values = true, value_name = "SECONDS")]
    time_limit: Option<f64>,
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
    /// Draw x0 and the solution as grey images of this height and width
    #[arg(long, value_name = "HxW")]
    draw: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Solves the problem and prints the answer.
pub fn run(arguments: &Arguments) -> Result<()> {
    let x0 = arguments.x0.as_deref().map(input::read).transpose().map_err(|e| e.at("--x0"))?;
    let (region, method) = regions(arguments)?;
    let options = options(arguments)?;
    let image = arguments.draw.as_deref().map(image_size).transpose().map_err(|e| e.at("--draw"))?;
    let graph = region::graph(&arguments.file, arguments.shape.as_deref(), x0.as_ref(), region.count())?;
    let n: usize = graph.inputs().iter().map(|input| graph.sizes(input.value).iter().product::<usize>()).sum();
    if let Some([height, width]) = image
        && height.checked_mul(width) != Some(n)
    {
        return Err(Error::argument(format!("--draw: {height} x {width} pixels for {n} input elements")));
    }

    let mut problem = Problem::new(&graph, region.intervals(n)).map_err(|e| e.at("--bounds"))?;
    problem.set_margin(arguments.margin).map_err(|e| e.at("--margin"))?;
    if let Some(x0) = &x0 {
        problem.set_x0(&x0.data).map_err(|e| e.at("--x0"))?;
    }
    for fix in &arguments.fix {
        let (i, value) = parse_fix(fix).map_err(|e| e.at("--fix"))?;
        problem.fix(i, value).map_err(|e| e.at("--fix"))?;
    }
    match (&arguments.minimize, &arguments.maximize) {
        (Some(objective), _) => problem.minimize(objective).map_err(|e| e.at("--minimize"))?,
        (None, Some(objective)) => problem.maximize(objective).map_err(|e| e.at("--maximize"))?,
        (None, None) => return Err(Error::argument("give --minimize or --maximize")),
    }
    for condition in &arguments.conditions {
        problem.subject_to(condition).map_err(|e| e.at("--where"))?;
    }

    let spinner = spinner()?;
    if method > Method::Interval {
        let limits = tighten::Options { solver: options.solver, time_limit: NEURON, ..tighten::Options::default() };
        let (known, _) = network_bounds(&graph, problem.bounds(), method, &limits, &mut |_| true)?;
        problem.set_known(known)?;
    }
    let answer = problem.solve(&options);
    spinner.finish_and_clear();
    let answer = answer?;
    if arguments.json {
        return output::print(&json(&answer).to_string());
    }
    let mut text = summary(&answer);
    if let Some([_, width]) = image {
        let images: Vec<(&str, &[f64])> = [("x0", x0.as_ref().map(|x0| &x0.data[..])), ("x", answer.x.as_deref())]
            .into_iter()
            .filter_map(|(name, data)| data.map(|data| (name, data)))
            .collect();
        text.push(draw(&images, width));
    }
    output::print(&text.join("\n"))
}

/// The argument --solver.
pub fn solver(argument: Option<&str>) -> Result<Solver> {
    argument.map_or(Ok(Solver::default()), Solver::from_name).map_err(|e| e.at("--solver"))
}

/// The argument --time-limit.
pub fn time_limit(seconds: Option<f64>) -> Result<Option<Duration>> {
    match seconds {
        None => Ok(None),
        // More seconds than a duration holds are no limit.
        Some(seconds) if seconds >= 0.0 => Ok(Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))),
        Some(seconds) => {
            Err(Error::argument(format!("--time-limit {seconds}: a number of seconds, 0 or more, is expected")))
        }
    }
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

fn options(arguments: &Arguments) -> Result<Options> {
    let solver = solver(arguments.solver.as_deref())?;
    Ok(Options { solver, time_limit: time_limit(arguments.time_limit)?, ..Options::default() })
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

/// `8x8`.
fn image_size(argument: &str) -> Result<[usize; 2]> {
    let parsed = argument.split_once('x').and_then(|(h, w)| Some([h.trim().parse().ok()?, w.trim().parse().ok()?]));
    match parsed {
        Some(size) if !size.contains(&0) => Ok(size),
        _ => Err(Error::argument(format!("`{argument}`: a height and a width are expected, as 8x8"))),
    }
}

fn spinner() -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{spinner} solving, {elapsed}")
        .map_err(|e| Error::internal(format!("the progress bar's template: {e}")))?;
    // Drawn on standard error, if that is a terminal.
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

fn json(answer: &Answer) -> Value {
    let number = |value: Option<f64>| value.map_or(Value::Null, output::number);
    let numbers = |values: &Option<Vec<f64>>| values.as_ref().map_or(Value::Null, |v| output::numbers(v));
    json!({
        "status": answer.status.name(),
        "objective": number(answer.objective),
        "bound": number(answer.bound),
        "x": numbers(&answer.x),
        "y": numbers(&answer.y),
    })
}

fn summary(answer: &Answer) -> Vec<String> {
    let status = match answer.status {
        Status::Optimal => "optimal (proven)",
        Status::Infeasible => "infeasible (proven)",
        Status::Unbounded => "unbounded",
        Status::TimeLimit => "time limit",
    };
    let mut text = vec![format!("status     {status}")];
    let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    text.extend(answer.objective.map(|v| format!("objective  {v}")));
    text.extend(answer.bound.map(|v| format!("bound      {v}")));
    text.extend(answer.x.as_ref().map(|x| format!("x          [{}]", list(x))));
    if let Some(y) = &answer.y {
        text.push(format!("y          [{}]", list(y)));
        if y.len() > 1 {
            let largest = (0..y.len()).fold(0, |best, j| if y[j] > y[best] { j } else { best });
            text.push(format!("argmax(y)  {largest}"));
        }
    }
    text
}

/// Images side by side, from black (the smallest number of all) to white (the largest), two characters a pixel.
fn draw(images: &[(&str, &[f64])], width: usize) -> String {
    const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
    let pixels = || images.iter().flat_map(|(_, data)| data.iter().copied());
    let (low, high) = pixels().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let shade = |v: f64| {
        let level = if high > low { (v - low) / (high - low) } else { 0.0 };
        SHADES[((level * SHADES.len() as f64) as usize).min(SHADES.len() - 1)]
    };
    let heading: Vec<String> = images.iter().map(|(name, _)| format!("  {name:<w$}  ", w = 2 * width)).collect();
    let edge = images.iter().map(|_| format!(" +{}+ ", "-".repeat(2 * width))).collect::<Vec<_>>().join("  ");
    let mut lines = vec![heading.join("  "), edge.clone()];
    let rows = images.first().map_or(0, |(_, data)| data.len() / width);
    for row in 0..rows {
        let part = |(_, data): &(&str, &[f64])| {
            let pixels: String = data[row * width..(row + 1) * width].iter().flat_map(|&v| [shade(v); 2]).collect();
            format!(" |{pixels}| ")
        };
        lines.push(images.iter().map(part).collect::<Vec<_>>().join("  "));
    }
    lines.push(edge);
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_arguments_are_checked() {
        assert_eq!(parse_fix("3=-0.5").unwrap(), (3, -0.5));
        assert_eq!(parse_fix(" x[3] = 1").unwrap(), (3, 1.0));
        assert!(["3", "=1", "a=1", "3=b", "-1=0"].iter().all(|bad| parse_fix(bad).is_err()));
        assert_eq!(image_size("8x4").unwrap(), [8, 4]);
        assert!(["8", "8x", "0x8", "x"].iter().all(|bad| image_size(bad).is_err()));
    }

    #[test]
    fn images_stand_side_by_side() {
        let text = draw(&[("x0", &[0.0, 1.0]), ("x", &[0.5, 0.5])], 1);
        assert_eq!(text.lines().nth(2), Some(" |  |    |▒▒|"));
        assert_eq!(text.lines().count(), 5);
    }
}
