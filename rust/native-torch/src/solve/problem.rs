//! Problems over a network's inputs and outputs, written as text, solved to proven optimality.

use super::{
    FEASIBILITY, Objective, Options, Sense, Solution, Status,
    embed::{Embedding, Side},
    expression::{Expr, Point, Ranges},
    parse::{self, Condition, Names},
};
use crate::{
    Error, Result,
    bounds::{self, Bounds, Interval, propagate},
    eval::{Function, Workspace},
    graph::Graph,
    lower::{self, lower},
    tensor::DType,
};
use std::time::{Duration, Instant};

/// A point must be better than the best one by this much, relative where that is above 1, to be looked for.
const CUTOFF: f64 = 1e-9;

/// Ceilings of the objective, as fractions of its range.
const CEILINGS: [f64; 4] = [1.0 / 256.0, 1.0 / 64.0, 1.0 / 16.0, 1.0 / 4.0];

/// The smallest margin that solvers tell from 0.
const TOLD_APART: f64 = 1e-7;

/// How often conditions narrow the box before the network's own bounds do.
const CONTRACTIONS: usize = 3;

/// An optimisation problem over the inputs x and outputs y of a network.
///
/// Objective and conditions are linear in `x[i]` and `y[j]` (elements counted from 0, flat and row-major, in signature
/// order), with `abs`, `max`, `min`, `norm1` and `norminf`; convex uses take no binaries. A condition may also be
/// `argmax(y) == k` or `argmax(y) != k`, by the margin.
///
/// ```
/// use native_torch::{bounds::Interval, graph::{Builder, Dim, Unary}, solve::{Problem, Status}, tensor::Tensor};
///
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(2)]);
/// let weight = b.parameter("0.weight", Tensor::from_slice(&[2, 2], &[1.0, -1.0, -1.0, 1.0]));
/// let z = b.linear(x, weight, None)?;
/// let y = b.unary(Unary::Relu, z)?;
/// let graph = b.finish(&[("y", y)])?;
/// let mut problem = Problem::new(&graph, vec![Interval::new(-1.0, 1.0); 2])?;
/// problem.set_x0(&[0.5, 0.0])?;
/// problem.minimize("norminf(x - x0)")?;
/// problem.subject_to("argmax(y) != 0")?;
/// let answer = problem.solve(&Default::default())?;
/// assert_eq!(answer.status, Status::Optimal);
/// assert!((answer.objective.unwrap() - 0.25).abs() < 1e-5);
/// # Ok::<(), native_torch::Error>(())
/// ```
pub struct Problem<'a> {
    pub(super) graph: &'a Graph,
    forward: Function,
    pub(super) bounds: Vec<Interval>,
    /// Of all values over the whole box.
    pub(super) known: Option<Bounds>,
    pub(super) x0: Option<Vec<f64>>,
    margin: f64,
    pub(super) forms: lower::Options,
    pub(super) sense: Sense,
    /// To be minimised, whatever the sense.
    pub(super) objective: Expr,
    conditions: Vec<Condition>,
}

/// The answer to a [`Problem`].
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What is known.
    pub status: Status,
    /// The objective at `x`, if there is an `x`.
    pub objective: Option<f64>,
    /// A proven limit of the objective: no point is better. None where none is known.
    pub bound: Option<f64>,
    /// The best point found.
    pub x: Option<Vec<f64>>,
    /// The network's values there.
    pub y: Option<Vec<f64>>,
}

impl<'a> Problem<'a> {
    /// A problem over the inputs in these bounds, one for each element; they may be infinite. The objective is 0 and
    /// there are no conditions.
    pub fn new(graph: &'a Graph, bounds: Vec<Interval>) -> Result<Self> {
        let forward = Function::compile(graph, DType::F64)?;
        if bounds.len() != forward.n() {
            return Err(Error::argument(format!(
                "the model has {} input elements, but {} bounds were given",
                forward.n(),
                bounds.len()
            )));
        }
        if let Some(i) = bounds.iter().position(|b| !b.is_valid()) {
            return Err(Error::argument(format!(
                "the bounds of x[{i}] are [{}, {}]; the lower must not exceed the upper, and a number must lie between",
                bounds[i].lower, bounds[i].upper
            )));
        }
        Ok(Self {
            graph,
            forward,
            bounds,
            known: None,
            x0: None,
            margin: 1e-6,
            forms: lower::Options::default(),
            sense: Sense::Minimize,
            objective: Expr::default(),
            conditions: Vec::new(),
        })
    }

    /// The reference point `x0` of expressions; where it meets all conditions, the search starts there.
    pub fn set_x0(&mut self, x0: &[f64]) -> Result<()> {
        if x0.len() != self.forward.n() {
            return Err(Error::argument(format!(
                "x0 has {} elements, but the model has {} input elements",
                x0.len(),
                self.forward.n()
            )));
        }
        if let Some(i) = x0.iter().position(|v| !v.is_finite()) {
            return Err(Error::argument(format!("x0[{i}] is {}", x0[i])));
        }
        self.x0 = Some(x0.to_vec());
        Ok(())
    }

    /// By how much one output must exceed another to count as larger; 1e-6 unless set.
    pub fn set_margin(&mut self, margin: f64) -> Result<()> {
        if !(margin.is_finite() && margin >= 0.0) {
            return Err(Error::argument(format!("the margin is {margin}, but must be a finite number, 0 or more")));
        }
        self.margin = margin;
        Ok(())
    }

    /// Chooses the forms of the network's layers; see [`lower::Options`].
    pub fn set_forms(&mut self, forms: lower::Options) {
        self.forms = forms;
    }

    /// Fixes an input element. It may lie outside its bounds.
    pub fn fix(&mut self, i: usize, value: f64) -> Result<()> {
        let n = self.forward.n();
        let bounds = self.bounds.get_mut(i).ok_or_else(|| {
            Error::argument(format!("x[{i}] is to be fixed, but the model has {n} input elements, which count from 0"))
        })?;
        if !value.is_finite() {
            return Err(Error::argument(format!("x[{i}] is to be fixed to {value}")));
        }
        if !bounds.contains(value) {
            self.known = None;
        }
        *bounds = Interval::point(value);
        Ok(())
    }

    /// The box of the inputs.
    pub fn bounds(&self) -> &[Interval] {
        &self.bounds
    }

    /// Gives bounds of all the network's values over the box, as [`network_bounds`](crate::tighten::network_bounds)
    /// finds them. They, and linear relaxation in what is left of the box, then narrow the formulations that are solved.
    /// An input that is fixed outside the box afterwards makes them void.
    pub fn set_known(&mut self, known: Bounds) -> Result<()> {
        if !known.fits(self.graph) {
            return Err(Error::argument("the bounds are those of another network"));
        }
        self.known = Some(known);
        Ok(())
    }

    /// Sets the objective.
    pub fn minimize(&mut self, objective: &str) -> Result<()> {
        self.objective = parse::expression(objective, self.names())?;
        self.sense = Sense::Minimize;
        Ok(())
    }

    /// Sets the objective.
    pub fn maximize(&mut self, objective: &str) -> Result<()> {
        self.objective = parse::expression(objective, self.names())?.scale(-1.0);
        self.sense = Sense::Maximize;
        Ok(())
    }

    /// Adds a condition.
    pub fn subject_to(&mut self, condition: &str) -> Result<()> {
        self.conditions.push(parse::condition(condition, self.names())?);
        Ok(())
    }

    /// The middle of the box; where it is not bounded on both sides, the number nearest to 0.
    pub(super) fn centre(&self) -> Vec<f64> {
        let middle = |b: &Interval| 0.5 * b.lower + 0.5 * b.upper;
        let of = |b: &Interval| if b.is_finite() { middle(b) } else { 0.0_f64.clamp(b.lower, b.upper) };
        self.bounds.iter().map(of).collect()
    }

    fn names(&self) -> Names<'_> {
        Names { n: self.forward.n(), m: self.forward.m(), x0: self.x0.as_deref() }
    }

    /// Solves the problem. The time limit is that of the whole.
    pub fn solve(&self, options: &Options) -> Result<Answer> {
        if let Some(form) = self.forms.relaxation() {
            return Err(Error::unsupported(format!(
                "the form {form} also holds at points that are not the network's; choose an exact one to solve it here"
            )));
        }
        Search {
            problem: self,
            options,
            // A limit beyond what the clock can count is none.
            deadline: options.time_limit.and_then(|limit| Instant::now().checked_add(limit)),
            workspace: self.forward.workspace(),
            best: None,
            ceiling: f64::INFINITY,
        }
        .run()
    }

    /// `y[larger] >= y[smaller] + margin` as an expression that is at most 0.
    fn larger(&self, larger: usize, smaller: usize) -> Expr {
        use super::expression::Symbol::Y;
        Expr::symbol(Y(smaller)).sub(Expr::symbol(Y(larger))).add(Expr::constant(self.margin))
    }

    /// What must hold in any case: expressions that are at most 0, or 0.
    pub(super) fn requirements(&self) -> Vec<(Expr, bool)> {
        let mut all = Vec::new();
        for condition in &self.conditions {
            match condition {
                Condition::AtMostZero(expr) => all.push((expr.clone(), false)),
                Condition::Zero(expr) => all.push((expr.clone(), true)),
                Condition::Largest(k) => {
                    let others = (0..self.forward.m()).filter(|j| j != k);
                    all.extend(others.map(|j| (self.larger(*k, j), false)));
                }
                Condition::NotLargest(_) => {}
            }
        }
        all
    }

    /// For each `argmax(y) != k`, what may exceed `y[k]`.
    pub(super) fn disjunctions(&self) -> Vec<Vec<Expr>> {
        let of = |condition: &Condition| match condition {
            Condition::NotLargest(k) => {
                Some((0..self.forward.m()).filter(|j| j != k).map(|j| self.larger(j, *k)).collect())
            }
            _ => None,
        };
        self.conditions.iter().filter_map(of).collect()
    }
}

/// A point that meets all conditions, with the network's values there.
struct Best {
    x: Vec<f64>,
    y: Vec<f64>,
    /// The objective, to be minimised.
    value: f64,
}

/// A choice of one alternative for each of the first disjunctions, with a bound of the objective.
struct Open {
    chosen: Vec<usize>,
    bound: f64,
}

/// The search over the alternatives, best bound first. Each complete choice is one mixed-integer problem over the box
/// that the best point so far leaves.
///
/// Where a small objective means a small box, as with a norm, the search is first made below a low ceiling, which is
/// then raised: in a small box most neurons have a certain sign, and what is found below a ceiling is optimal.
struct Search<'a> {
    problem: &'a Problem<'a>,
    options: &'a Options,
    deadline: Option<Instant>,
    workspace: Workspace,
    best: Option<Best>,
    /// Only points with a smaller objective are looked for.
    ceiling: f64,
}

/// What a search below a ceiling ends with.
enum Pass {
    Unbounded,
    /// Nothing is left that has a smaller objective than this and has not been found.
    Left(f64),
}

impl Search<'_> {
    fn run(mut self) -> Result<Answer> {
        if let Some(x0) = self.problem.x0.clone() {
            self.offer(&x0)?;
        }
        // A cheap point, so that there may be one however early the time is over.
        self.offer(&self.problem.centre())?;
        let mut left = f64::NEG_INFINITY;
        for ceiling in self.ceilings() {
            self.ceiling = ceiling;
            match self.pass()? {
                Pass::Unbounded => return Ok(Answer::without_point(Status::Unbounded, None)),
                Pass::Left(bound) => left = bound.min(ceiling).max(left),
            }
            if left < self.cutoff() || self.best.as_ref().is_some_and(|best| best.value <= ceiling) {
                break;
            }
        }
        Ok(self.answer(left))
    }

    /// Ceilings below which the box is at most half as wide, and none at last.
    fn ceilings(&self) -> Vec<f64> {
        let objective = &self.problem.objective;
        let whole = || Ranges { x: self.problem.bounds.clone(), y: vec![Interval::ALL; self.problem.forward.m()] };
        let width = |ranges: &Ranges| ranges.x.iter().map(|x| (x.upper - x.lower).max(0.0)).sum::<f64>();
        let range = objective.range(&whole());
        let mut ceilings = Vec::new();
        if range.is_finite() {
            for fraction in CEILINGS {
                let ceiling = range.lower + fraction * (range.upper - range.lower);
                let mut narrowed = whole();
                objective.contract(Interval::new(f64::NEG_INFINITY, ceiling), &mut narrowed);
                if width(&narrowed) <= 0.5 * width(&whole()) {
                    ceilings.push(ceiling);
                }
            }
        }
        ceilings.push(f64::INFINITY);
        ceilings
    }

    /// The search below the ceiling.
    fn pass(&mut self) -> Result<Pass> {
        let disjunctions = self.problem.disjunctions();
        let mut open = vec![Open { chosen: Vec::new(), bound: f64::NEG_INFINITY }];
        // The smallest bound of what was given up because of time.
        let mut given_up = f64::INFINITY;
        loop {
            // Best bound first; of equal bounds, the one that was opened first.
            open.sort_by(|a, b| b.bound.total_cmp(&a.bound));
            let Some(node) = open.pop() else { break };
            if self.is_over() {
                open.push(node);
                break;
            }
            if node.bound >= self.cutoff() {
                break;
            }
            if let Some(alternatives) = disjunctions.get(node.chosen.len()) {
                let mut children = Vec::with_capacity(alternatives.len());
                for k in 0..alternatives.len() {
                    let chosen: Vec<usize> = node.chosen.iter().copied().chain([k]).collect();
                    if let Some(bound) = self.relaxation(&disjunctions, &chosen)? {
                        children.push(Open { chosen, bound: bound.max(node.bound) });
                    }
                }
                open.extend(children.into_iter().rev());
                continue;
            }
            // Without alternatives there was no relaxation yet. Its point may meet all conditions long before the
            // solver finds one.
            if self.best.is_none() && self.deadline.is_some() && disjunctions.is_empty() {
                self.relaxation(&disjunctions, &node.chosen)?;
            }
            let solution = self.solve_choice(&disjunctions, &node.chosen, false)?;
            match solution.status {
                Status::Optimal | Status::Infeasible => {}
                Status::Unbounded => return Ok(Pass::Unbounded),
                Status::TimeLimit => given_up = given_up.min(solution.bound.map_or(node.bound, |b| b.max(node.bound))),
            }
        }
        Ok(Pass::Left(open.iter().map(|node| node.bound).fold(given_up, f64::min)))
    }

    /// The answer, where what is left has this bound.
    fn answer(self, left: f64) -> Answer {
        let sign = if self.problem.sense == Sense::Minimize { 1.0 } else { -1.0 };
        let cutoff = self.cutoff();
        let Some(best) = self.best else {
            let status = if left == f64::INFINITY { Status::Infeasible } else { Status::TimeLimit };
            return Answer::without_point(status, left.is_finite().then_some(sign * left));
        };
        let proven = left >= cutoff;
        let bound = if proven { best.value } else { left };
        Answer {
            status: if proven { Status::Optimal } else { Status::TimeLimit },
            objective: Some(sign * best.value),
            bound: bound.is_finite().then_some(sign * bound),
            x: Some(best.x),
            y: Some(best.y),
        }
    }

    fn left(&self) -> Option<Duration> {
        self.deadline.map(|end| end.saturating_duration_since(Instant::now()))
    }

    fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// What a point must stay below to be looked for.
    fn cutoff(&self) -> f64 {
        let better = self.best.as_ref().map(|best| best.value - CUTOFF * best.value.abs().max(1.0));
        self.ceiling.min(better.unwrap_or(f64::INFINITY))
    }

    /// The bound of a choice from its linear relaxation; None if there is nothing in it that is better.
    fn relaxation(&mut self, disjunctions: &[Vec<Expr>], chosen: &[usize]) -> Result<Option<f64>> {
        if self.is_over() {
            return Ok(Some(f64::NEG_INFINITY));
        }
        let solution = self.solve_choice(disjunctions, chosen, true)?;
        Ok(match solution.status {
            Status::Infeasible => None,
            Status::Optimal => Some(solution.bound.unwrap_or(f64::NEG_INFINITY)),
            Status::Unbounded | Status::TimeLimit => Some(f64::NEG_INFINITY),
        })
    }

    /// Solves one choice of alternatives, and offers its point as the best one.
    fn solve_choice(&mut self, disjunctions: &[Vec<Expr>], chosen: &[usize], relaxed: bool) -> Result<Solution> {
        let mut requirements = self.problem.requirements();
        requirements.extend(chosen.iter().zip(disjunctions).map(|(&k, all)| (all[k].clone(), false)));
        let Some(mut embedding) = self.embed(&requirements)? else {
            return Ok(Solution::without_values(Status::Infeasible, None));
        };
        let objective = embedding.linear(&self.problem.objective, Side::Above)?;

        // A start that is feasible here takes the place of the limit that it would violate.
        let start = self.best.as_ref().filter(|best| {
            let point = Point { x: &best.x, y: &best.y };
            !relaxed
                && best.value <= self.ceiling
                && requirements.iter().all(|(expr, equal)| {
                    let value = expr.value(&point);
                    // A solver's tolerance is smaller than ours: what meets a condition within ours alone is no start.
                    if *equal { value == 0.0 } else { value <= 0.0 }
                })
        });
        if let Some(start) = start {
            embedding.set_start(&start.x)?;
        } else if self.cutoff().is_finite() {
            let better = self.problem.objective.clone().sub(Expr::constant(self.cutoff()));
            embedding.require(&better, false)?;
        }
        if embedding.contradiction {
            return Ok(Solution::without_values(Status::Infeasible, None));
        }
        let options = Options { time_limit: self.left(), relaxed, ..self.options.clone() };
        let objective = Objective { sense: Sense::Minimize, terms: objective.terms, constant: objective.constant };
        let solution = super::solve(&embedding.model, &objective, &options)?;
        if let Some(values) = &solution.values {
            let x: Vec<f64> = embedding.model.inputs().iter().map(|v| values[v.index()]).collect();
            let claimed = solution.objective.unwrap_or(f64::NEG_INFINITY);
            let accepted = self.offer(&x)?;
            if !relaxed && solution.status == Status::Optimal && !accepted && claimed < self.cutoff() {
                return Err(self.refuted(&x, &requirements));
            }
        }
        Ok(solution)
    }

    /// The formulation over what conditions and the best point leave of the box; None if that is nothing.
    fn embed(&self, requirements: &[(Expr, bool)]) -> Result<Option<Embedding>> {
        let problem = self.problem;
        let mut ranges = Ranges { x: problem.bounds.clone(), y: vec![Interval::ALL; problem.forward.m()] };
        for _ in 0..CONTRACTIONS {
            for (expr, equal) in requirements {
                let lower = if *equal { 0.0 } else { f64::NEG_INFINITY };
                expr.contract(Interval::new(lower, 0.0), &mut ranges);
            }
            let limit = self.best.as_ref().map_or(self.ceiling, |best| best.value.min(self.ceiling));
            if limit.is_finite() {
                problem.objective.contract(Interval::new(f64::NEG_INFINITY, limit), &mut ranges);
            }
        }
        if !ranges.x.iter().all(|x| x.is_valid()) {
            return Ok(None);
        }
        let bounds = match &problem.known {
            None => propagate(problem.graph, &ranges.x)?,
            Some(known) => bounds::linear(problem.graph, &ranges.x, 0)?.intersection(known),
        };
        let mut embedding = Embedding::new(lower(problem.graph, &bounds, &problem.forms)?);
        for (expr, equal) in requirements {
            embedding.require(expr, *equal)?;
        }
        Ok(Some(embedding))
    }

    /// Takes a point as the best one if it meets all conditions and is better. Gives whether it meets them.
    fn offer(&mut self, x: &[f64]) -> Result<bool> {
        let problem = self.problem;
        let inside = |(&v, b): (&f64, &Interval)| b.contains(v) || (v.clamp(b.lower, b.upper) - v).abs() <= FEASIBILITY;
        if !x.iter().zip(&problem.bounds).all(inside) {
            return Ok(false);
        }
        let x: Vec<f64> = x.iter().zip(&problem.bounds).map(|(v, b)| v.clamp(b.lower, b.upper)).collect();
        let mut y = vec![0.0; problem.forward.m()];
        problem.forward.value(&mut self.workspace, &x, &mut y)?;
        let point = Point { x: &x, y: &y };
        let met = |expr: &Expr, equal: bool| {
            let (value, slack) = (expr.value(&point), FEASIBILITY * expr.size(&point).max(1.0));
            value <= slack && (!equal || value >= -slack)
        };
        // Half the margin is left to rounding, so that what is called the largest is. A margin that a solver cannot
        // tell from 0 means >=, with the tolerance of any condition.
        let leads = |k: usize, j: usize| {
            let slack = FEASIBILITY * y[k].abs().max(y[j].abs()).max(1.0);
            y[k] - y[j] >= if problem.margin >= TOLD_APART { 0.5 * problem.margin } else { -slack }
        };
        let others = |k: usize| (0..y.len()).filter(move |&j| j != k);
        let feasible = problem.conditions.iter().all(|condition| match condition {
            Condition::AtMostZero(expr) => met(expr, false),
            Condition::Zero(expr) => met(expr, true),
            Condition::Largest(k) => others(*k).all(|j| leads(*k, j)),
            Condition::NotLargest(k) => others(*k).any(|j| leads(j, *k)),
        });
        if feasible {
            let value = problem.objective.value(&point);
            if self.best.as_ref().is_none_or(|best| value < best.value) {
                self.best = Some(Best { x, y, value });
            }
        }
        Ok(feasible)
    }

    fn refuted(&self, x: &[f64], requirements: &[(Expr, bool)]) -> Error {
        let mut y = vec![0.0; self.problem.forward.m()];
        let mut workspace = self.problem.forward.workspace();
        let _ = self.problem.forward.value(&mut workspace, x, &mut y);
        let point = Point { x, y: &y };
        let worst = requirements.iter().map(|(expr, _)| expr.value(&point)).fold(f64::NEG_INFINITY, f64::max);
        Error::solver(format!(
            "{} returned a wrong answer: at its x the network's own outputs violate a condition by {worst:e}",
            self.options.solver.name()
        ))
    }
}

impl Answer {
    fn without_point(status: Status, bound: Option<f64>) -> Self {
        Self { status, objective: None, bound, x: None, y: None }
    }
}
