//! Bounds of all values of a network: by intervals, by linear relaxation, and element by element by linear or
//! mixed-integer programs.
//!
//! The elements that a layer which is not affine reads are worked on, layer after layer: the smallest and the largest
//! value of each over the part of the network before it, in which the bounds found so far take part. An element is left
//! out where the layer is affine between its bounds anyway, as a ReLU is where the sign is certain.

mod certificate;
mod hull;
mod prefix;

use std::{
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use crate::{
    Error, Result,
    bounds::{self, Backward, Bounds, Interval, Sum},
    graph::{Graph, Node, Source, ValueId},
    lower::{Formulation, VarId},
    solve::{self, Objective, Sense, Solver, Status},
};
use hull::Cut;
use prefix::Prefix;

/// How far a bound that nothing but a solver's word vouches for is moved outward, relative to the largest magnitude
/// known of the value where that is above 1. Solvers' tolerances are 1e-9 here.
const MARGIN: f64 = 1e-6;

/// Elements whose range is this small, relative to their magnitude, are left as they are.
const NARROW: f64 = 1e-9;

/// How often the linear programs of an element are solved: with cuts of the solutions before, from the second time on.
const ROUNDS: u32 = 2;

/// A solver of the caller's is asked for its solutions only where these have at most so many numbers.
const POINTS: usize = 1 << 24;

/// How often affine rows narrow the box of the inputs.
const CONTRACTIONS: usize = 3;

/// How bounds are found; each method is at least as tight as the one before it, and takes longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Interval propagation: [`bounds::propagate`].
    Interval,
    /// Linear relaxation through the whole network: [`bounds::linear`].
    Linear,
    /// Two linear programs for each element, over the linear relaxation of the network before it.
    Lp,
    /// Two mixed-integer programs for each element that linear ones leave open.
    Mip,
}

impl Method {
    /// Every method, from the fastest to the tightest.
    pub const ALL: [Method; 4] = [Method::Interval, Method::Linear, Method::Lp, Method::Mip];

    /// The name: `interval`, `linear`, `lp`, `mip`.
    pub fn name(self) -> &'static str {
        match self {
            Method::Interval => "interval",
            Method::Linear => "linear",
            Method::Lp => "lp",
            Method::Mip => "mip",
        }
    }

    /// The method of this name.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(|| {
            Error::argument(format!("there is no method `{name}`; there are {}", Self::ALL.map(Self::name).join(", ")))
        })
    }
}

/// The affine row `lower <= sum of a x[i] <= upper` of the inputs, which are flat and one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct InputRow {
    /// Elements of the inputs with their coefficients.
    pub terms: Vec<(usize, f64)>,
    /// The smallest value, or -inf.
    pub lower: f64,
    /// The largest value, or inf.
    pub upper: f64,
}

/// What bounds are found with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many threads work; 0 stands for as many as the machine has.
    pub threads: usize,
    /// How long the programs of one element may take, linear and mixed-integer ones each. One that has no answer by then
    /// leaves what is known.
    pub time_limit: Option<Duration>,
    /// The solver of linear and mixed-integer programs.
    pub solver: Solver,
    /// What holds of the inputs beside their bounds. Intervals and linear relaxation make use of it only as far as it
    /// narrows the box.
    pub rows: Vec<InputRow>,
}

/// How far the work on a layer has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Where the layer stands in the model, as errors name it.
    pub layer: &'a str,
    /// Elements of it that are done.
    pub done: usize,
    /// Elements of it that are worked on.
    pub total: usize,
    /// Whether mixed-integer programs are solved.
    pub integer: bool,
}

/// What became of the programs of [`network_bounds`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many were solved.
    pub solved: usize,
    /// How many ran out of time.
    pub timed_out: usize,
    /// How many a solver failed at; their elements keep the bounds that they had.
    pub failed: usize,
    /// The first failure, in words.
    pub failure: Option<String>,
    /// Whether the caller ended the work early.
    pub cancelled: bool,
}

impl Report {
    fn add(&mut self, other: Report) {
        self.solved += other.solved;
        self.timed_out += other.timed_out;
        self.failed += other.failed;
        self.failure = self.failure.take().or(other.failure);
        self.cancelled |= other.cancelled;
    }
}

/// The bounds of all values of a graph, from those of its inputs: one for each element, the inputs in signature order,
/// each flat and row-major. Sizes must be known.
///
/// No bound cuts off a true value: intervals and linear relaxation are moved outward by bounds of their rounding errors;
/// the bound of a linear program is computed anew, with outward rounding, from multipliers of its rows, and is valid
/// whatever these are (Neumaier and Shcherbina, Safe bounds in linear and mixed-integer linear programming, Mathematical
/// Programming 99, 2004). Where there are no good multipliers, and for mixed-integer programs, the solver's bound is
/// moved outward by 1e-6, relative to the largest magnitude known of the value where that is above 1.
///
/// `progress` is called on this thread, after each element; when it returns false, what is known so far is the answer.
///
/// ```
/// use native_torch::{bounds::Interval, graph::{Builder, Dim, Unary}, tensor::Tensor};
/// use native_torch::tighten::{Method, Options, network_bounds};
///
/// // |x| as relu(x) + relu(-x) is at most 1, which only binaries can tell.
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(1)]);
/// let signs = b.parameter("signs", Tensor::from_slice(&[2, 1], &[1.0, -1.0]));
/// let z = b.linear(x, signs, None)?;
/// let z = b.unary(Unary::Relu, z)?;
/// let ones = b.parameter("ones", Tensor::from_slice(&[1, 2], &[1.0, 1.0]));
/// let y = b.linear(z, ones, None)?;
/// let graph = b.finish(&[("y", y)])?;
/// let upper = |method| {
///     let found = network_bounds(&graph, &[Interval::new(-1.0, 0.5)], method, &Options::default(), &mut |_| true);
///     found.map(|(bounds, _)| bounds.of(y)[0].upper)
/// };
/// assert!((upper(Method::Interval)? - 1.5).abs() < 1e-5);
/// assert!((upper(Method::Mip)? - 1.0).abs() < 1e-5);
/// # Ok::<(), native_torch::Error>(())
/// ```
pub fn network_bounds(
    graph: &Graph,
    inputs: &[Interval],
    method: Method,
    options: &Options,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<(Bounds, Report)> {
    network_bounds_by(graph, inputs, method, options, None, progress)
}

/// The programs of the elements of one layer, for a solver of the caller's.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The part of the network before the layer, with the bounds found so far.
    pub model: &'a Formulation,
    /// The variables whose smallest and largest values are asked for.
    pub elements: &'a [VarId],
    /// Whether binaries are meant as such; otherwise they may have any value from 0 to 1.
    pub integer: bool,
    /// Whether the solutions are asked for, too.
    pub points: bool,
    /// How often the programs of these elements are solved in all: each time may take its part of a time limit.
    pub rounds: u32,
}

/// What a solver of the caller's found out about an element.
#[derive(Clone, Debug, PartialEq)]
pub struct Extremes {
    /// A range that it is certain not to leave but for tolerances, infinite where that is not known.
    pub range: Interval,
    /// Where asked for and known, the values of all variables where the element is smallest and where it is largest.
    pub points: Vec<Vec<f64>>,
}

/// A solver of the caller's: what it found out about each element; `None` ends the work.
pub type ProgramSolver<'a> = dyn FnMut(Program) -> Option<Vec<Extremes>> + 'a;

/// [`network_bounds`] with a solver of the caller's, if there is one. Its ranges are moved outward as those that rest on a
/// solver's word are; the options' solver, threads and time limit are not used.
pub fn network_bounds_by(
    graph: &Graph,
    inputs: &[Interval],
    method: Method,
    options: &Options,
    mut solver: Option<&mut ProgramSolver>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<(Bounds, Report)> {
    check_rows(&options.rows, inputs.len())?;
    let inputs = contract(inputs, &options.rows)?;
    let mut report = Report::default();
    let mut bounds = match method {
        Method::Interval => bounds::propagate(graph, &inputs)?,
        _ => bounds::linear(graph, &inputs, options.threads)?,
    };
    for (pass, integer) in [(Method::Lp, false), (Method::Mip, true)] {
        if method >= pass && !report.cancelled {
            let own = Work { graph, options, integer }.run(&mut bounds, solver.as_deref_mut(), progress)?;
            report.add(own);
        }
    }
    Ok((bounds, report))
}

/// A value with bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: ValueId,
    /// The input's name, or where the operation stands in the model, as errors name it.
    pub name: String,
    /// The operation's name in ATen; empty for inputs.
    pub operation: &'static str,
}

/// The values that bounds are reported for: the inputs, and the results that outputs depend on, in the order in which
/// they are computed.
pub fn entries(graph: &Graph) -> Vec<Entry> {
    let used = graph.used_values();
    let inputs =
        graph.inputs().iter().map(|input| Entry { value: input.value, name: input.name.clone(), operation: "" });
    let results = graph.nodes().iter().filter(|node| used[node.outputs[0].index()]);
    let of = |node: &Node| Entry { value: node.outputs[0], name: node.scope.clone(), operation: node.op.name() };
    inputs.chain(results.map(of)).collect()
}

fn check_rows(rows: &[InputRow], n: usize) -> Result<()> {
    for (k, row) in rows.iter().enumerate() {
        if let Some((i, _)) = row.terms.iter().find(|(i, _)| *i >= n) {
            return Err(Error::argument(format!("row {k} names x[{i}], but the model has {n} input elements")));
        }
        if !Interval::new(row.lower, row.upper).is_valid() || row.terms.iter().any(|(_, a)| !a.is_finite()) {
            return Err(Error::argument(format!(
                "row {k} needs finite coefficients and a number between its limits {} and {}",
                row.lower, row.upper
            )));
        }
    }
    Ok(())
}

/// The box, narrowed by rows.
fn contract(inputs: &[Interval], rows: &[InputRow]) -> Result<Vec<Interval>> {
    let mut narrowed = inputs.to_vec();
    for _ in 0..CONTRACTIONS {
        for (k, row) in rows.iter().enumerate() {
            for (at, &(i, a)) in row.terms.iter().enumerate() {
                if a == 0.0 || row.terms.iter().filter(|term| term.0 == i).count() > 1 {
                    continue;
                }
                let mut rest = Sum::new(0.0);
                rest.add(1.0, Interval::new(row.lower, row.upper));
                let others = row.terms.iter().enumerate().filter(|(other, _)| *other != at);
                others.for_each(|(_, &(j, a))| rest.add(-a, narrowed[j]));
                let allowed = rest.finish().divided_by(Interval::point(a));
                let own = narrowed[i];
                narrowed[i] = Interval::new(own.lower.max(allowed.lower), own.upper.min(allowed.upper));
                if !narrowed[i].is_valid() {
                    return Err(Error::argument(format!("no point of the box meets row {k} of the inputs' rows")));
                }
            }
        }
    }
    Ok(narrowed)
}

/// One pass over the network.
struct Work<'a> {
    graph: &'a Graph,
    options: &'a Options,
    integer: bool,
}

impl Work<'_> {
    fn run(
        &self,
        bounds: &mut Bounds,
        mut solver: Option<&mut ProgramSolver>,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Report> {
        let mut report = Report::default();
        let mut backward = Backward::new(self.graph, self.options.threads);
        for (at, node) in self.graph.nodes().iter().enumerate() {
            backward.visit(bounds, at)?;
            let value = node.outputs[0];
            // Without rows, intervals of affine functions of the inputs are exact.
            if report.cancelled || (backward.is_exact(value) && self.options.rows.is_empty()) {
                continue;
            }
            let open = self.open(bounds, value)?;
            if open.is_empty() {
                continue;
            }
            match Prefix::new(self.graph, bounds, value, self.integer, &self.options.rows) {
                Ok(prefix) => {
                    report.add(self.layer(prefix, bounds, value, &node.scope, open, solver.as_deref_mut(), progress)?)
                }
                // Where a layer before it is unbounded, for one, there is no program.
                Err(error) => {
                    report.failed += 2 * open.len();
                    report.failure.get_or_insert(error.to_string());
                }
            }
        }
        Ok(report)
    }

    /// Works on elements of a value: a second time on those whose solutions violate cuts.
    #[allow(clippy::too_many_arguments)]
    fn layer(
        &self,
        mut prefix: Prefix,
        bounds: &mut Bounds,
        value: ValueId,
        layer: &str,
        mut open: Vec<usize>,
        mut solver: Option<&mut ProgramSolver>,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Report> {
        let mut report = Report::default();
        let rounds = if self.integer || prefix.neurons.is_empty() { 1 } else { ROUNDS };
        for round in 1..=rounds {
            let task =
                Task { prefix: &prefix, known: bounds.of(value), layer, open: &open, rounds, cuts: round < rounds };
            let found = match solver.as_deref_mut() {
                Some(solver) => self.given(&task, solver, progress),
                None => self.elements(&task, progress),
            };
            bounds.intersect(value, &found.ranges);
            report.add(found.report);
            if found.cuts.is_empty() || report.cancelled {
                break;
            }
            let (elements, cuts): (Vec<usize>, Vec<Vec<Cut>>) = found.cuts.into_iter().unzip();
            open = self.open(bounds, value)?;
            open.retain(|e| elements.contains(e));
            hull::add(&mut prefix.model, cuts.into_iter().flatten().collect())?;
        }
        Ok(report)
    }

    /// The elements of a value that are worth the work.
    fn open(&self, bounds: &Bounds, value: ValueId) -> Result<Vec<usize>> {
        let known = bounds.of(value);
        let wide = |e: usize| known[e].upper - known[e].lower > NARROW * known[e].magnitude();
        let mut open = vec![self.graph.outputs().iter().any(|output| output.value == value); known.len()];
        for node in self.graph.nodes() {
            if node.inputs.contains(&value) && !matches!(self.graph.values()[value.index()].source, Source::Input(_)) {
                prefix::mark_open(self.graph, bounds, node, value, &mut open)?;
            }
        }
        Ok((0..open.len()).filter(|&e| open[e] && wide(e)).collect())
    }

    /// Works on elements of a value, in parallel.
    fn elements(&self, task: &Task, progress: &mut dyn FnMut(Progress) -> bool) -> Found {
        let mut all = Found::of(task);
        let (next, cancelled) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let work = |sender: mpsc::Sender<(usize, Interval, Vec<Cut>, Report)>| {
            while let Some(&e) = task.open.get(next.fetch_add(1, Ordering::Relaxed)) {
                if cancelled.load(Ordering::Relaxed) {
                    break;
                }
                let (range, cuts, report) = self.element(task, e);
                if sender.send((e, range, cuts, report)).is_err() {
                    break;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..bounds::threads(self.options.threads).min(task.open.len()) {
                let sender = sender.clone();
                scope.spawn(|| work(sender));
            }
            drop(sender);
            for (done, (e, range, cuts, report)) in receiver.iter().enumerate() {
                all.add(e, range, cuts);
                all.report.add(report);
                if !cancelled.load(Ordering::Relaxed) && !progress(self.progress(task, done + 1)) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            }
        });
        all.report.cancelled = cancelled.into_inner();
        all
    }

    fn progress<'a>(&self, task: &Task<'a>, done: usize) -> Progress<'a> {
        Progress { layer: task.layer, done, total: task.open.len(), integer: self.integer }
    }

    /// Takes over what the caller's solver finds.
    fn given(&self, task: &Task, solver: &mut ProgramSolver, progress: &mut dyn FnMut(Progress) -> bool) -> Found {
        let mut all = Found::of(task);
        let elements: Vec<VarId> = task.open.iter().map(|&e| task.prefix.elements[e]).collect();
        let model = &task.prefix.model;
        let points = task.cuts && 2 * elements.len() * model.variables().len() <= POINTS;
        let program = Program { model, elements: &elements, integer: self.integer, points, rounds: task.rounds };
        let Some(found) = solver(program).filter(|found| found.len() == task.open.len()) else {
            all.report.cancelled = true;
            return all;
        };
        for (&e, Extremes { range, points }) in task.open.iter().zip(found) {
            let known = task.known[e];
            let margin = MARGIN * known.magnitude().max(1.0);
            let range = Interval::new(range.lower - margin, range.upper + margin);
            let proven = [range.lower, range.upper].into_iter().filter(|end| end.is_finite()).count();
            all.report.solved += proven;
            all.report.timed_out += 2 - proven;
            if range.is_valid() && known.lower <= range.upper && range.lower <= known.upper {
                let cuts = points.iter().flat_map(|point| task.separate(point)).collect();
                all.add(e, known.intersect(range), hull::of_element(model, cuts, task.open.len()));
            } else {
                all.report.failed += 1;
                let layer = task.layer;
                all.report.failure.get_or_insert(format!("the solver's bounds contradict what is known of {layer}"));
            }
        }
        all.report.cancelled = !progress(self.progress(task, task.open.len()));
        all
    }

    /// The range of one element, and the cuts that its solutions violate.
    fn element(&self, task: &Task, e: usize) -> (Interval, Vec<Cut>, Report) {
        let known = task.known[e];
        let limit = self.options.time_limit.map(|limit| limit / task.rounds);
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let (mut report, mut cuts) = (Report::default(), Vec::new());
        let mut end = |sense: Sense| {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let failed = |report: &mut Report, what: String| {
                report.failed += 1;
                report.failure.get_or_insert(what);
                None
            };
            if left.is_some_and(|left| left.is_zero()) {
                report.timed_out += 1;
                return None;
            }
            match self.limit(task.prefix, e, sense, left, known) {
                Ok((Status::Optimal, limit, point)) => {
                    report.solved += 1;
                    cuts.extend(point.iter().flat_map(|point| task.separate(point)));
                    limit
                }
                Ok((Status::TimeLimit, limit, _)) => {
                    report.timed_out += 1;
                    limit
                }
                Ok((status, ..)) => {
                    failed(&mut report, format!("the solver calls a feasible problem {}", status.name()))
                }
                Err(error) => failed(&mut report, error.to_string()),
            }
        };
        let lower = end(Sense::Minimize).unwrap_or(f64::NEG_INFINITY);
        let upper = end(Sense::Maximize).unwrap_or(f64::INFINITY);
        let range = Interval::new(lower, upper);
        if range.is_valid() && known.lower <= upper && lower <= known.upper {
            let cuts = hull::of_element(&task.prefix.model, cuts, task.open.len());
            return (known.intersect(range), cuts, report);
        }
        // Bounds that contradict each other or what is known are no bounds.
        report.failed += 1;
        report.failure.get_or_insert(format!("the solver's bounds [{lower}, {upper}] contradict what is known"));
        (known, Vec::new(), report)
    }

    /// A limit that the element does not pass, if one is found, and the point that the solver found.
    fn limit(
        &self,
        prefix: &Prefix,
        e: usize,
        sense: Sense,
        time_limit: Option<Duration>,
        known: Interval,
    ) -> Result<(Status, Option<f64>, Option<Vec<f64>>)> {
        let objective = Objective { sense, terms: vec![(prefix.elements[e], 1.0)], constant: 0.0 };
        let options = solve::Options { solver: self.options.solver, time_limit, relaxed: !self.integer };
        let solution = solve::solve(&prefix.model, &objective, &options)?;
        if !self.integer
            && let Some(limit) = certificate::limit(&prefix.model, &objective, &solution)
        {
            return Ok((solution.status, Some(limit), solution.values));
        }
        let margin = MARGIN * known.magnitude().max(1.0);
        let outward = if sense == Sense::Minimize { -margin } else { margin };
        Ok((solution.status, solution.bound.map(|bound| bound + outward), solution.values))
    }
}

/// Elements of a value to work on.
struct Task<'a> {
    prefix: &'a Prefix,
    /// The bounds of all elements of the value.
    known: &'a [Interval],
    layer: &'a str,
    open: &'a [usize],
    rounds: u32,
    /// Whether cuts are looked for.
    cuts: bool,
}

impl Task<'_> {
    /// The cuts that a point violates.
    fn separate<'a>(&'a self, point: &'a [f64]) -> impl Iterator<Item = Cut> + 'a {
        let neurons = if self.cuts { &self.prefix.neurons[..] } else { &[] };
        neurons.iter().filter_map(|neuron| neuron.cut(&self.prefix.model, point))
    }
}

/// What was found out about the elements of a value.
struct Found {
    ranges: Vec<Interval>,
    /// Elements with the cuts that their solutions violate.
    cuts: Vec<(usize, Vec<Cut>)>,
    report: Report,
}

impl Found {
    fn of(task: &Task) -> Self {
        Self { ranges: task.known.to_vec(), cuts: Vec::new(), report: Report::default() }
    }

    fn add(&mut self, e: usize, range: Interval, cuts: Vec<Cut>) {
        self.ranges[e] = range;
        if !cuts.is_empty() {
            self.cuts.push((e, cuts));
        }
    }
}
