//! `native-torch solve`.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use native_torch::{
    Error, Result,
    solve::{Answer, Options, Status},
};
use serde_json::{Value, json};

use crate::{output, problem};

/// The problem, and how it is solved.
#[derive(Args)]
#[command(after_long_help = problem::LANGUAGE, after_help = problem::LANGUAGE)]
pub struct Arguments {
    #[command(flatten)]
    problem: problem::Arguments,
    /// Stop after this many seconds with what is known
    #[arg(long, allow_hyphen_values = true, value_name = "SECONDS")]
    time_limit: Option<f64>,
    /// Draw x0 and the solution as grey images of this height and width
    #[arg(long, value_name = "HxW")]
    draw: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Solves the problem and prints the answer.
pub fn run(arguments: &Arguments) -> Result<()> {
    let given = problem::Given::read(&arguments.problem)?;
    let options = Options { solver: given.solver, time_limit: time_limit(arguments.time_limit)?, ..Options::default() };
    let image = arguments.draw.as_deref().map(image_size).transpose().map_err(|e| e.at("--draw"))?;
    let n = given.n();
    if let Some([height, width]) = image
        && height.checked_mul(width) != Some(n)
    {
        return Err(Error::argument(format!("--draw: {height} x {width} pixels for {n} input elements")));
    }
    if arguments.problem.minimize.is_none() && arguments.problem.maximize.is_none() {
        return Err(Error::argument("give --minimize or --maximize"));
    }
    let mut problem = given.problem(&arguments.problem)?;
    let spinner = spinner()?;
    given.tighten(&mut problem)?;
    let answer = problem.solve(&options);
    spinner.finish_and_clear();
    let answer = answer?;
    if arguments.json {
        return output::print(&json(&answer).to_string());
    }
    let mut text = summary(&answer);
    if let Some([_, width]) = image {
        let x0 = given.x0.as_ref().map(|x0| &x0.data[..]);
        let images: Vec<(&str, &[f64])> = [("x0", x0), ("x", answer.x.as_deref())]
            .into_iter()
            .filter_map(|(name, data)| data.map(|data| (name, data)))
            .collect();
        text.push(draw(&images, width));
    }
    output::print(&text.join("\n"))
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
