//! Files for other solvers and modelling languages: a formulation with an objective as MPS, LP, `.nl` or MathOptFormat.
//!
//! | | MPS | LP | `.nl` | MathOptFormat |
//! |---|---|---|---|---|
//! | linear rows, bounds, binaries, integers | yes | yes | yes | yes |
//! | SOS1 sets, indicators | yes | yes | | yes |
//! | quadratic rows | yes | yes | yes | yes |
//! | complementarities | | | yes | yes |
//! | nonlinear equations, reduced space | | | yes, but for `erf` | yes |
//! | cones | | | | yes |
//! | start values | | | yes | yes |
//!
//! What a format does not hold is an error that names the layer and a form that can be written.

mod lp;
mod mof;
mod mps;
mod names;
mod nl;

pub use names::{legal, original};

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    Error, Result,
    lower::{Domain, Formulation, LinearRows, Objective, Sense, VarId},
};

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Free MPS, with CPLEX's sections for SOS1 sets, indicators and quadratic rows. Readers disagree on how MPS says
    /// that the objective is to be maximised, so its negative is minimised.
    Mps,
    /// CPLEX's LP.
    Lp,
    /// AMPL's `.nl` as text (Gay, Writing .nl files, 2005). It knows variables by their numbers; their names stand in a
    /// file `.col` beside it, a line each.
    Nl,
    /// MathOptFormat 1.7 (Legat, Dowson, Garcia and Lubin, MathOptInterface, INFORMS Journal on Computing, 2021).
    Mof,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 4] = [Format::Mps, Format::Lp, Format::Nl, Format::Mof];

    /// What the names of its files end with: `.mps`, `.lp`, `.nl`, `.mof.json`.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Mps => ".mps",
            Format::Lp => ".lp",
            Format::Nl => ".nl",
            Format::Mof => ".mof.json",
        }
    }

    /// The format that a file's name ends with.
    pub fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        Self::ALL.into_iter().find(|format| name.ends_with(format.extension())).ok_or_else(|| {
            let known = Self::ALL.map(Self::extension).join(", ");
            Error::argument(format!("`{}` names no format; its end can be {known}", path.display()))
        })
    }
}

impl FromStr for Format {
    type Err = Error;

    /// `mps`, `lp`, `nl` or `mof`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "mps" => Ok(Format::Mps),
            "lp" => Ok(Format::Lp),
            "nl" => Ok(Format::Nl),
            "mof" => Ok(Format::Mof),
            _ => Err(Error::argument(format!("there is no format `{text}`; there are mps, lp, nl and mof"))),
        }
    }
}

/// What is written: a text, and for `.nl` the names of its variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The model.
    pub text: String,
    /// The names of the variables in their order in the text, a line each, where the text has none.
    pub columns: Option<String>,
}

/// The formulation in a format. Without an objective, 0 is minimised.
///
/// ```
/// use native_torch::{bounds, graph::{Builder, Dim}, lower::lower, tensor::Tensor, write::{Format, document}};
///
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(2)]);
/// let weight = b.parameter("0.weight", Tensor::from_slice(&[1, 2], &[1.0, -2.0]));
/// b.set_scope("layer `0` (torch.nn.modules.linear.Linear)");
/// let y = b.linear(x, weight, None)?;
/// let graph = b.finish(&[("y", y)])?;
/// let bounds = bounds::propagate(&graph, &[bounds::Interval::new(-1.0, 1.0); 2])?;
/// let formulation = lower(&graph, &bounds, &Default::default())?;
/// let text = document(&formulation, None, Format::Lp)?.text;
/// assert_eq!(
///     text.lines().take(7).collect::<Vec<_>>(),
///     [
///         "Minimize",
///         " obj: + 0.0 x(0)",
///         "Subject To",
///         " r0: - 1.0 x(0) + 2.0 x(1) + 1.0 layer~0.z(0) = 0.0",
///         "Bounds",
///         " -1.0 <= x(0) <= 1.0",
///         " -1.0 <= x(1) <= 1.0",
///     ]
/// );
/// # Ok::<(), native_torch::Error>(())
/// ```
pub fn document(formulation: &Formulation, objective: Option<&Objective>, format: Format) -> Result<Document> {
    let none = Objective { sense: Sense::Minimize, terms: Vec::new(), constant: 0.0 };
    let objective = objective.unwrap_or(&none);
    objective.check(formulation)?;
    check_held(formulation, format)?;
    let plain = |text: String| Document { text, columns: None };
    match format {
        Format::Mps => Ok(plain(mps::write(formulation, objective))),
        Format::Lp => Ok(plain(lp::write(formulation, objective))),
        Format::Nl => nl::write(formulation, objective),
        Format::Mof => mof::write(formulation, objective).map(plain),
    }
}

/// Writes the formulation to a file in the format that its name ends with, and the names of an `.nl` file to one that
/// ends with `.col` beside it. Gives the paths of what was written.
pub fn to_file(formulation: &Formulation, objective: Option<&Objective>, path: &Path) -> Result<Vec<PathBuf>> {
    let document = document(formulation, objective, Format::of(path)?)?;
    let mut files = vec![(path.to_owned(), document.text)];
    files.extend(document.columns.map(|columns| (path.with_extension("col"), columns)));
    for (path, text) in &files {
        fs::write(path, text).map_err(|e| Error::io(path.display(), &e))?;
    }
    Ok(files.into_iter().map(|file| file.0).collect())
}

/// An error for what a format does not hold.
fn check_held(formulation: &Formulation, format: Format) -> Result<()> {
    const EXACT: &str = "choose the form big_m, or one that the format holds";
    let nonlinear = matches!(format, Format::Nl | Format::Mof);
    let sets = format != Format::Nl;
    let definitions = &formulation.definitions().tapes.node;
    let kinds: [(&[u32], bool, &str, &str); 7] = [
        (&formulation.sos1().node, sets, "SOS1 sets", EXACT),
        (&formulation.indicators().rows.node, sets, "indicators", EXACT),
        (&formulation.complementarities().node, nonlinear, "complementarities", EXACT),
        (&formulation.cones().node, format == Format::Mof, "cones", "choose softplus=nonlinear, or write .mof.json"),
        (&formulation.expressions().node, nonlinear, "expressions", "choose space=full, or write .nl or .mof.json"),
        (
            definitions,
            nonlinear,
            "nonlinear equations",
            "choose another form if the layer has one, or write .nl or .mof.json",
        ),
        (&formulation.quadratic().rows.node, true, "quadratic rows", ""),
    ];
    let lacking = kinds
        .iter()
        .find_map(|(nodes, held, what, advice)| Some((nodes.first()?, held, what, advice)).filter(|kind| !kind.1));
    match lacking {
        None => Ok(()),
        Some((&node, _, what, advice)) => Err(Error::unsupported(format!(
            "{}: a file {} holds no {what}; {advice}",
            formulation.layer(node),
            format.extension()
        ))),
    }
}

/// The variable, fixed to 1, that carries the constant of the objective: readers of MPS disagree on its sign, and some of
/// LP take none.
const CONSTANT: &str = "constant";

/// One side of a row: formats do not agree on rows with two limits, so such a row is written as two.
struct Side {
    sign: &'static str,
    limit: f64,
    /// Behind the row's name.
    suffix: &'static str,
}

/// The sides of a row; none where it has no limits.
fn sides(rows: &LinearRows, i: usize) -> Vec<Side> {
    let (lower, upper) = (rows.lower[i], rows.upper[i]);
    let side = |sign, limit, suffix| Side { sign, limit, suffix };
    match (lower.is_finite(), upper.is_finite()) {
        (true, true) if lower == upper => vec![side("=", lower, "")],
        (true, true) => vec![side(">=", lower, "_lower"), side("<=", upper, "_upper")],
        (true, false) => vec![side(">=", lower, "")],
        (false, true) => vec![side("<=", upper, "")],
        (false, false) => Vec::new(),
    }
}

/// The bounds of a variable, those of integers rounded inward: not every reader takes others.
fn bounds(model: &Formulation, i: usize) -> (f64, f64) {
    let table = model.variables();
    match table.domain[i] {
        Domain::Continuous => (table.lower[i], table.upper[i]),
        Domain::Binary | Domain::Integer => (table.lower[i].ceil(), table.upper[i].floor()),
    }
}

/// Whether a variable is a binary whose bounds are 0 and 1. Others are integers with bounds.
fn is_binary(model: &Formulation, i: usize) -> bool {
    model.variables().domain[i] == Domain::Binary && bounds(model, i) == (0.0, 1.0)
}

/// The objective's terms, ordered by variable, none twice.
fn merged(objective: &Objective) -> Vec<(VarId, f64)> {
    let mut terms = objective.terms.clone();
    terms.sort_by_key(|term| term.0);
    let merged = terms.chunk_by(|a, b| a.0 == b.0).map(|same| (same[0].0, same.iter().map(|term| term.1).sum::<f64>()));
    merged.filter(|term| term.1 != 0.0).collect()
}
