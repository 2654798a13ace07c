//! Bounds of all values of a model.

use std::{
    ffi::{CString, c_char, c_void},
    mem::MaybeUninit,
    time::Duration,
};

use engine::{
    Error, Result,
    bounds::{Bounds, Interval},
    graph::Graph,
    solve::Solver,
    tighten::{
        Extremes, InputRow, Method, Options, Program, ProgramSolver, Progress, Report, entries, network_bounds_by,
    },
};

use crate::{
    formulation::{NtFormulation, intervals},
    model::NtModel,
    status::{NtStatus, construct, guard},
    strings::{NtStrings, Strings},
    types::{NtShape, NtSlice, NtStr, give, optional_text, read, required, shape},
};

/// Intervals of all values of a model over a box of its inputs. It never changes; any number of threads may use it at
/// once.
pub struct NtBounds {
    pub(crate) graph: Graph,
    pub(crate) bounds: Bounds,
    report: Report,
    names: Strings,
    operations: Strings,
    shape_starts: Vec<usize>,
    sizes: Vec<usize>,
    starts: Vec<usize>,
    lower: Vec<f64>,
    upper: Vec<f64>,
    outputs: Vec<usize>,
    failure: CString,
}

/// How bounds are found: `NT_BOUNDS_INTERVAL`, `NT_BOUNDS_LINEAR`, `NT_BOUNDS_LP` or `NT_BOUNDS_MIP`, each at least as
/// tight as the one before it, and slower.
pub type NtBoundsMethod = u32;
/// Interval propagation.
pub const NT_BOUNDS_INTERVAL: NtBoundsMethod = 0;
/// Linear relaxation through the whole network (CROWN), intersected with intervals.
pub const NT_BOUNDS_LINEAR: NtBoundsMethod = 1;
/// Two linear programs for each element that a layer which is not affine reads, layer after layer.
pub const NT_BOUNDS_LP: NtBoundsMethod = 2;
/// Two mixed-integer programs for each such element that linear ones leave open.
pub const NT_BOUNDS_MIP: NtBoundsMethod = 3;

/// Called after each element that `nt_bounds_create` has worked on, on the thread that called it: with `data` of the
/// options, where the layer stands in the model, how many of its elements are done, how many are worked on, and 1 where
/// mixed-integer programs are solved, else 0. Returns 0 to end the work: what is known so far is then the result. It
/// must return; exceptions and jumps must not leave it.
pub type NtBoundsProgress =
    Option<extern "C" fn(data: *mut c_void, layer: *const c_char, done: usize, total: usize, integer: u8) -> u8>;

/// Solves programs for `nt_bounds_create`, on the thread that called it: with `data` of the options, the part of the
/// network before a layer as a formulation, `count` of its variables, and 1 where its binaries are meant as such; else
/// they may have any value from 0 to 1. Writes for each variable a range that it is certain not to leave but for the
/// solver's tolerances, infinite where that is not known, to `lower` and `upper`, each of length `count`. Where `points`
/// is not NULL it has room for two solutions of each variable, one after another, where it is smallest and where it is
/// largest: the values of all variables of the formulation; what is not written there is not used. The same elements are
/// asked for up to `rounds` times, with more rows each time; a time limit of theirs is meant for all of them. Returns 0
/// to end the work: what is known so far is then the result. The formulation and the arrays live until it returns. It
/// must return; exceptions and jumps must not leave it.
pub type NtBoundsSolve = Option<
    extern "C" fn(
        data: *mut c_void,
        formulation: *const NtFormulation,
        elements: *const u32,
        count: usize,
        integer: u8,
        rounds: u32,
        lower: *mut f64,
        upper: *mut f64,
        points: *mut f64,
    ) -> u8,
>;

/// What bounds are found with. All zero is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NtBoundsOptions<'a> {
    /// How many threads work; 0 for as many as the machine has.
    pub threads: usize,
    /// Seconds that the programs of one element may take, linear and mixed-integer ones each; 0 or infinity for no
    /// limit.
    pub time_limit: f64,
    /// `microlp` or `highs`; NULL for the default of this build.
    pub solver: NtStr<'a>,
    /// Affine rows of the inputs, which hold beside their bounds: where the entries of each begin, and the end of the
    /// last. NULL for none.
    pub row_starts: NtShape<'a>,
    /// The input elements of the entries, counted over all inputs, one after another.
    pub row_elements: NtShape<'a>,
    /// The coefficients of the entries.
    pub row_coefficients: NtSlice<'a>,
    /// The smallest value of each row, or -inf.
    pub row_lower: NtSlice<'a>,
    /// The largest value of each row, or inf.
    pub row_upper: NtSlice<'a>,
    /// Called now and then; NULL for nothing.
    pub progress: NtBoundsProgress,
    /// Solves the programs in place of the solver, the threads and the time limit above; NULL for those. Its ranges are
    /// moved outward by 1e-6, relative to the value's size.
    pub solve: NtBoundsSolve,
    /// Handed to `progress` and `solve`.
    pub data: *mut c_void,
}

/// Bounds as arrays. The first values are the model's inputs, in order; the others are the results of its operations
/// that outputs depend on, in the order in which they are computed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtBoundsTables {
    /// How many values there are.
    pub count: usize,
    /// The name of each input, and where each operation stands in the model: ``layer `0` (torch.nn.modules.linear.Linear)``.
    pub names: NtStrings,
    /// The operations by their names in ATen; empty for inputs.
    pub operations: NtStrings,
    /// Where the sizes of each value begin in `sizes`, and the end of the last: `count + 1` entries.
    pub shape_starts: *const usize,
    /// The sizes of all values.
    pub sizes: *const usize,
    /// Where the elements of each value begin in `lower` and `upper`, and the end of the last: `count + 1` entries.
    pub starts: *const usize,
    /// The smallest values, flat and row-major, or -inf.
    pub lower: *const f64,
    /// The largest values, flat and row-major, or inf.
    pub upper: *const f64,
    /// The number of outputs.
    pub output_count: usize,
    /// The values that are the outputs; `count` for one that is a parameter of the model.
    pub outputs: *const usize,
    /// How many programs were solved.
    pub solved: usize,
    /// How many ran out of time.
    pub timed_out: usize,
    /// How many the solver failed at; their elements keep the bounds they had.
    pub failed: usize,
    /// 1 where `progress` ended the work, else 0.
    pub cancelled: u8,
    /// The first failure in words; empty if there was none.
    pub failure: *const c_char,
}

impl NtBounds {
    fn new(graph: Graph, bounds: Bounds, report: Report) -> Self {
        let entries = entries(&graph);
        let (mut shape_starts, mut starts, mut sizes) = (vec![0], vec![0], Vec::new());
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        for entry in &entries {
            sizes.extend(graph.sizes(entry.value));
            shape_starts.push(sizes.len());
            lower.extend(bounds.of(entry.value).iter().map(|range| range.lower));
            upper.extend(bounds.of(entry.value).iter().map(|range| range.upper));
            starts.push(lower.len());
        }
        let place = |value| entries.iter().position(|entry| entry.value == value).unwrap_or(entries.len());
        Self {
            names: entries.iter().map(|entry| &entry.name).collect(),
            operations: entries.iter().map(|entry| entry.operation).collect(),
            outputs: graph.outputs().iter().map(|output| place(output.value)).collect(),
            failure: CString::new(report.failure.clone().unwrap_or_default().replace('\0', "\\0")).unwrap_or_default(),
            graph,
            bounds,
            report,
            shape_starts,
            sizes,
            starts,
            lower,
            upper,
        }
    }

    fn tables(&self) -> NtBoundsTables {
        NtBoundsTables {
            count: self.starts.len() - 1,
            names: self.names.as_c(),
            operations: self.operations.as_c(),
            shape_starts: self.shape_starts.as_ptr(),
            sizes: self.sizes.as_ptr(),
            starts: self.starts.as_ptr(),
            lower: self.lower.as_ptr(),
            upper: self.upper.as_ptr(),
            output_count: self.outputs.len(),
            outputs: self.outputs.as_ptr(),
            solved: self.report.solved,
            timed_out: self.report.timed_out,
            failed: self.report.failed,
            cancelled: u8::from(self.report.cancelled),
            failure: self.failure.as_ptr(),
        }
    }
}

fn method(method: NtBoundsMethod) -> Result<Method> {
    let index = usize::try_from(method).unwrap_or(usize::MAX);
    Method::ALL.get(index).copied().ok_or_else(|| Error::argument(format!("there is no bounds method {method}")))
}

fn options(options: &NtBoundsOptions) -> Result<Options> {
    let seconds = options.time_limit;
    if seconds.is_nan() || seconds < 0.0 {
        return Err(Error::argument(format!("the time limit is {seconds} s; 0 or infinity stand for none")));
    }
    let solver = optional_text(options.solver, "solver")?.map(Solver::from_name).transpose()?.unwrap_or_default();
    // More seconds than a duration holds are no limit.
    let time_limit = if seconds > 0.0 { Duration::try_from_secs_f64(seconds).ok() } else { None };
    Ok(Options { threads: options.threads, time_limit, solver, rows: rows(options)? })
}

fn rows(options: &NtBoundsOptions) -> Result<Vec<InputRow>> {
    let starts = shape(options.row_starts)?.unwrap_or_default();
    let count = starts.len().saturating_sub(1);
    let entries = starts.last().copied().unwrap_or(0);
    let elements = shape(options.row_elements)?.unwrap_or_default();
    let coefficients = read(options.row_coefficients, "row_coefficients", entries)?;
    let (lower, upper) = (read(options.row_lower, "row_lower", count)?, read(options.row_upper, "row_upper", count)?);
    let ordered = starts.windows(2).all(|ends| ends[0] <= ends[1]) && starts.first().is_none_or(|first| *first == 0);
    if !ordered
        || elements.len() != entries
        || coefficients.len() != entries
        || [lower, upper].map(<[f64]>::len) != [count; 2]
    {
        return Err(Error::argument(format!(
            "rows of the inputs: {} starts, {} elements, {} coefficients, {} lower and {} upper limits do not fit",
            starts.len(),
            elements.len(),
            coefficients.len(),
            lower.len(),
            upper.len()
        )));
    }
    let row = |i: usize| {
        let own = starts[i]..starts[i + 1];
        let terms = elements[own.clone()].iter().copied().zip(coefficients[own].iter().copied()).collect();
        InputRow { terms, lower: lower[i], upper: upper[i] }
    };
    Ok((0..count).map(row).collect())
}

type Solve =
    extern "C" fn(*mut c_void, *const NtFormulation, *const u32, usize, u8, u32, *mut f64, *mut f64, *mut f64) -> u8;

fn solved_by(solve: Solve, data: *mut c_void, program: Program) -> Option<Vec<Extremes>> {
    let elements: Vec<u32> = program.elements.iter().map(|variable| variable.0).collect();
    let (count, variables) = (elements.len(), program.model.variables().len());
    let mut lower = vec![f64::NEG_INFINITY; count];
    let mut upper = vec![f64::INFINITY; count];
    let mut points = vec![f64::NAN; if program.points { 2 * count * variables } else { 0 }];
    let formulation = NtFormulation::new(program.model.clone());
    let go_on = solve(
        data,
        &formulation,
        elements.as_ptr(),
        count,
        u8::from(program.integer),
        program.rounds,
        lower.as_mut_ptr(),
        upper.as_mut_ptr(),
        if program.points { points.as_mut_ptr() } else { std::ptr::null_mut() },
    );
    let points_of = |k: usize| match program.points {
        true => points[2 * k * variables..][..2 * variables].chunks(variables).map(<[f64]>::to_vec).collect(),
        false => Vec::new(),
    };
    let extremes = |k: usize| Extremes { range: Interval::new(lower[k], upper[k]), points: points_of(k) };
    (go_on != 0).then(|| (0..count).map(extremes).collect())
}

/// Bounds all values of a model over a box of its inputs. No bound cuts off a value of the model, exact or as computed in
/// float64; those of mixed-integer programs, and of linear ones whose solver gives no multipliers, rest on the solver's
/// word, moved outward by 1e-6 relative to the value's size.
///
/// `shape` is as for `nt_function_compile`. `lower` and `upper` are the bounds of the n inputs, flat; they may be
/// infinite. `options` may be NULL. A program that fails or runs out of time is no error: its element keeps the bounds it
/// had, and the tables count it.
///
/// `NT_ERROR_ARGUMENT`: the shape does not fit or is missing; a length is not n; a lower bound exceeds its upper one; no
/// point meets the rows; an unknown method or solver. `NT_ERROR_UNSUPPORTED`: a layer is custom or has no bounds; the
/// message names it. `NT_ERROR_FORMAT`: the file's record of a tensor is damaged.
///
/// `out` receives the bounds, to be freed with `nt_bounds_destroy`; NULL on failure.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_bounds_create(
    model: Option<&NtModel>,
    shape: NtShape,
    lower: NtSlice,
    upper: NtSlice,
    method: NtBoundsMethod,
    options: Option<&NtBoundsOptions>,
    out: Option<&mut MaybeUninit<Option<Box<NtBounds>>>>,
) -> NtStatus {
    construct(out, || {
        let method = self::method(method)?;
        let (own, progress, solve, data) = match options {
            Some(options) => (self::options(options)?, options.progress, options.solve, options.data),
            None => (Options::default(), None, None, std::ptr::null_mut()),
        };
        let graph = required(model, "model")?.graph(self::shape(shape)?)?;
        let n = graph.inputs().iter().map(|input| graph.sizes(input.value).iter().product::<usize>()).sum();
        let inputs = intervals(read(lower, "lower", n)?, read(upper, "upper", n)?)?;
        let mut report_progress = |now: Progress| {
            let Some(progress) = progress else { return true };
            let layer = CString::new(now.layer.replace('\0', "\\0")).unwrap_or_default();
            progress(data, layer.as_ptr(), now.done, now.total, u8::from(now.integer)) != 0
        };
        let mut solver = solve.map(|solve| move |program: Program| solved_by(solve, data, program));
        let solver = solver.as_mut().map(|solver| solver as &mut ProgramSolver);
        let (bounds, report) = network_bounds_by(&graph, &inputs, method, &own, solver, &mut report_progress)?;
        Ok(NtBounds::new(graph, bounds, report))
    })
}

/// Frees bounds; NULL is allowed. Pointers that they gave out are then invalid.
#[unsafe(no_mangle)]
pub extern "C" fn nt_bounds_destroy(bounds: Option<Box<NtBounds>>) -> NtStatus {
    guard(|| {
        drop(bounds);
        Ok(())
    })
}

/// Bounds as arrays. `out` receives pointers that are valid as long as the bounds.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_bounds_tables(
    bounds: Option<&NtBounds>,
    out: Option<&mut MaybeUninit<NtBoundsTables>>,
) -> NtStatus {
    guard(|| give(out, required(bounds, "bounds")?.tables()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_methods() {
        let numbers = [NT_BOUNDS_INTERVAL, NT_BOUNDS_LINEAR, NT_BOUNDS_LP, NT_BOUNDS_MIP];
        assert_eq!(numbers.map(|number| method(number).ok()), Method::ALL.map(Some));
        assert!(method(4).is_err());
    }
}
