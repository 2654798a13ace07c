//! Formulations: a model as variables and rows for an optimisation solver.

use std::{
    ffi::{CString, c_char},
    mem::MaybeUninit,
    path::Path,
    sync::OnceLock,
};

use engine::{
    Error, Result,
    bounds::{self, Bounds, Interval},
    graph::Graph,
    lower::{self, Complementarities, Cones, Definitions, Formulation, Indicators, LinearRows, Options, QuadraticRows},
    lower::{Tapes, VarId, VariableLists, Variables},
    solve::with_objective,
};

use crate::{
    bounds::NtBounds,
    model::NtModel,
    status::{NtStatus, construct, guard},
    strings::{NtStrings, Strings},
    types::{NtShape, NtSlice, NtSliceMut, NtStr, give, optional_text, read, required, shape, text, write},
};

/// A model as an optimisation model: variables, and rows that hold exactly where the outputs are the model's values at
/// the inputs. It never changes; any number of threads may use it at once.
pub struct NtFormulation {
    formulation: Formulation,
    block_names: Strings,
    block_nodes: Vec<u32>,
    layers: Strings,
    output_lower: Vec<f64>,
    output_upper: Vec<f64>,
    text: OnceLock<CString>,
}

/// Stands for the layer of what comes from no layer: the inputs.
pub const NT_NO_LAYER: u32 = 0xffff_ffff;

/// Any value within the bounds.
pub const NT_CONTINUOUS: u8 = 0;
/// 0 or 1.
pub const NT_BINARY: u8 = 1;
/// Whole numbers within the bounds.
pub const NT_INTEGER: u8 = 2;

/// Numbers `(x, y, z)` with `y exp(x / y) <= z` and `y > 0`.
pub const NT_EXPONENTIAL_CONE: u8 = 0;
/// Numbers `(t, x..)` with `t >= |x|` (Euclidean).
pub const NT_SECOND_ORDER_CONE: u8 = 1;

/// Pushes a constant; the argument is its position in the constants.
pub const NT_OP_CONSTANT: u8 = 0;
/// Pushes the value of a variable; the argument is the variable.
pub const NT_OP_VARIABLE: u8 = 1;
/// `a + b + ..`. The argument of this and all that follow is the number of operands, which are popped.
pub const NT_OP_ADD: u8 = 2;
/// `a - b`.
pub const NT_OP_SUB: u8 = 3;
/// `a b ..`.
pub const NT_OP_MUL: u8 = 4;
/// `a / b`.
pub const NT_OP_DIV: u8 = 5;
/// `a` to the power of `b`.
pub const NT_OP_POW: u8 = 6;
/// `-a`.
pub const NT_OP_NEG: u8 = 7;
/// The exponential.
pub const NT_OP_EXP: u8 = 8;
/// The natural logarithm.
pub const NT_OP_LOG: u8 = 9;
/// `log(1 + a)`.
pub const NT_OP_LOG1P: u8 = 10;
/// The square root.
pub const NT_OP_SQRT: u8 = 11;
/// The hyperbolic tangent.
pub const NT_OP_TANH: u8 = 12;
/// The error function.
pub const NT_OP_ERF: u8 = 13;
/// The magnitude.
pub const NT_OP_ABS: u8 = 14;
/// The largest operand.
pub const NT_OP_MAX: u8 = 15;
/// The smallest operand.
pub const NT_OP_MIN: u8 = 16;
/// `b` where `a` is not 0, else `c`.
pub const NT_OP_IFELSE: u8 = 17;
/// 1 where `a > b`, else 0.
pub const NT_OP_GREATER: u8 = 18;
/// Pushes the value of an expression; the argument is its position in `NtTables.expressions`.
pub const NT_OP_EXPRESSION: u8 = 19;
/// The sine.
pub const NT_OP_SIN: u8 = 20;
/// The inverse tangent.
pub const NT_OP_ATAN: u8 = 21;

/// `variable == expression`.
pub const NT_EQUAL: u8 = 0;
/// `variable >= expression`.
pub const NT_AT_LEAST: u8 = 1;
/// `variable <= expression`.
pub const NT_AT_MOST: u8 = 2;

/// Variables. All arrays have `count` entries.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtVariables {
    /// How many there are.
    pub count: usize,
    /// Their smallest values, or -inf.
    pub lower: *const f64,
    /// Their largest values, or inf.
    pub upper: *const f64,
    /// What they may be: `NT_CONTINUOUS`, `NT_BINARY` or `NT_INTEGER`.
    pub domains: *const u8,
    /// Initial values; NaN where there is none.
    pub start: *const f64,
    /// The block that each belongs to.
    pub blocks: *const u32,
    /// The place of each in its block. A variable's name is its block's with this in brackets: `layer 0.z[5]`.
    pub indices: *const u32,
}

/// Variables that were made together and share a name. All arrays have `count` entries.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtBlocks {
    /// How many there are.
    pub count: usize,
    /// Their names: `input`, `layer 0.z`.
    pub names: NtStrings,
    /// The layer of each, or `NT_NO_LAYER`.
    pub layers: *const u32,
}

/// Linear rows `lower <= a'x <= upper`, compressed: row `i` has the entries `starts[i]` to `starts[i + 1] - 1`, in
/// ascending order of variables, none twice and none zero.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtRows {
    /// How many rows there are.
    pub count: usize,
    /// Where the entries of each begin, and the end of the last: `count + 1` entries.
    pub starts: *const usize,
    /// The variables of the entries.
    pub variables: *const u32,
    /// The coefficients of the entries.
    pub coefficients: *const f64,
    /// The smallest value of each row, or -inf.
    pub lower: *const f64,
    /// The largest value of each row, or inf.
    pub upper: *const f64,
    /// The layer of each row, or `NT_NO_LAYER`.
    pub layers: *const u32,
}

/// Ordered lists of variables: list `i` has the entries `starts[i]` to `starts[i + 1] - 1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtLists {
    /// How many lists there are.
    pub count: usize,
    /// Where the entries of each begin, and the end of the last: `count + 1` entries.
    pub starts: *const usize,
    /// The variables of the entries.
    pub variables: *const u32,
    /// A number with each entry: the weight in an SOS1 set.
    pub weights: *const f64,
    /// The layer of each list, or `NT_NO_LAYER`.
    pub layers: *const u32,
}

/// Rows that hold where a binary has a value: `binaries[i] == active[i]` implies row `i`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtIndicators {
    /// The binary of each row.
    pub binaries: *const u32,
    /// The value, 0 or 1, at which the row holds.
    pub active: *const u8,
    /// The rows.
    pub rows: NtRows,
}

/// Quadratic rows `lower <= a'x + sum of q x_j x_k <= upper`: row `i` has the products `starts[i]` to
/// `starts[i + 1] - 1`, each product of two variables listed once.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtQuadraticRows {
    /// The linear parts and the limits.
    pub rows: NtRows,
    /// Where the products of each row begin, and the end of the last: `rows.count + 1` entries.
    pub starts: *const usize,
    /// The first factor of each product.
    pub first: *const u32,
    /// The second factor of each product.
    pub second: *const u32,
    /// The coefficient of each product.
    pub coefficients: *const f64,
}

/// Affine functions `a'x + c`, compressed: function `i` has the entries `starts[i]` to `starts[i + 1] - 1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtAffineFunctions {
    /// How many there are.
    pub count: usize,
    /// Where the entries of each begin, and the end of the last: `count + 1` entries.
    pub starts: *const usize,
    /// The variables of the entries.
    pub variables: *const u32,
    /// The coefficients of the entries.
    pub coefficients: *const f64,
    /// The constant of each.
    pub constants: *const f64,
}

/// Lists of affine functions that lie in cones: cone `i` has the members `starts[i]` to `starts[i + 1] - 1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtCones {
    /// How many there are.
    pub count: usize,
    /// The kind of each: `NT_EXPONENTIAL_CONE` or `NT_SECOND_ORDER_CONE`.
    pub kinds: *const u8,
    /// Where the members of each begin, and the end of the last: `count + 1` entries.
    pub starts: *const usize,
    /// The members of all, in the order that the kind says.
    pub members: NtAffineFunctions,
    /// The layer of each, or `NT_NO_LAYER`.
    pub layers: *const u32,
}

/// Pairs of variables, neither negative, of which one is zero. All arrays have `count` entries.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtComplementarities {
    /// How many there are.
    pub count: usize,
    /// One of each pair.
    pub first: *const u32,
    /// The other.
    pub second: *const u32,
    /// The layer of each pair, or `NT_NO_LAYER`.
    pub layers: *const u32,
}

/// Expressions. Expression `i` is a tape, the places `starts[i]` to `starts[i + 1] - 1`, in postfix order: each code takes
/// its operands from a stack, the last one topmost, and puts its value there; one value is left.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtTapes {
    /// How many expressions there are.
    pub count: usize,
    /// Where the tape of each begins, and the end of the last: `count + 1` entries.
    pub starts: *const usize,
    /// The codes of all tapes: `NT_OP_CONSTANT` and so on.
    pub codes: *const u8,
    /// The argument of each code.
    pub arguments: *const u32,
    /// How many constants there are.
    pub constant_count: usize,
    /// The constants of all tapes.
    pub constants: *const f64,
    /// The layer of each expression, or `NT_NO_LAYER`.
    pub layers: *const u32,
}

/// Nonlinear equations `variable == expression`, and inequalities. Both arrays have `tapes.count` entries.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtDefinitions {
    /// The variable on the left of each.
    pub variables: *const u32,
    /// What stands between: `NT_EQUAL`, `NT_AT_LEAST` or `NT_AT_MOST`.
    pub relations: *const u8,
    /// The expression on the right of each.
    pub tapes: NtTapes,
}

/// All of a formulation. Variables are given by their positions in `variables`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtTables {
    /// The variables.
    pub variables: NtVariables,
    /// What they belong to.
    pub blocks: NtBlocks,
    /// Linear rows.
    pub rows: NtRows,
    /// Sets of variables of which at most one is not zero, ordered by their weights.
    pub sos1: NtLists,
    /// Linear rows that a binary switches on.
    pub indicators: NtIndicators,
    /// Quadratic rows.
    pub quadratic: NtQuadraticRows,
    /// Cones.
    pub cones: NtCones,
    /// Complementary pairs.
    pub complementarities: NtComplementarities,
    /// Nonlinear equations and inequalities.
    pub definitions: NtDefinitions,
    /// Expressions that others and the outputs refer to, each after those that it refers to. Empty in full space.
    pub expressions: NtTapes,
    /// The number of input elements.
    pub input_count: usize,
    /// The variables of the inputs, each flat and row-major, one after another.
    pub inputs: *const u32,
    /// The number of output elements.
    pub output_count: usize,
    /// In full space, the variables of the outputs, each flat and row-major, one after another. One variable may stand
    /// for several outputs, and an input may be an output. NULL in reduced space.
    pub outputs: *const u32,
    /// In reduced space, the expressions of the outputs: positions in `expressions`. NULL in full space.
    pub output_expressions: *const u32,
    /// The smallest values of the outputs, or -inf.
    pub output_lower: *const f64,
    /// The largest values of the outputs, or inf.
    pub output_upper: *const f64,
    /// The number of layers.
    pub layer_count: usize,
    /// What the layers are, as errors name them: ``layer `0` (torch.nn.modules.linear.Linear)``. A layer that takes
    /// several operations is named as often.
    pub layers: NtStrings,
}

fn ids(variables: &[VarId]) -> *const u32 {
    // `VarId` is a transparent u32.
    variables.as_ptr().cast()
}

/// NULL for an empty array.
fn or_null<T, U>(of: &[T], pointer: *const U) -> *const U {
    if of.is_empty() { std::ptr::null() } else { pointer }
}

fn variables(table: &Variables) -> NtVariables {
    NtVariables {
        count: table.len(),
        lower: table.lower.as_ptr(),
        upper: table.upper.as_ptr(),
        // `Domain` has the representation of u8, and the numbers above.
        domains: table.domain.as_ptr().cast(),
        start: table.start.as_ptr(),
        blocks: table.block.as_ptr(),
        indices: table.index.as_ptr(),
    }
}

fn rows(table: &LinearRows) -> NtRows {
    NtRows {
        count: table.len(),
        starts: table.starts.as_ptr(),
        variables: ids(&table.variable),
        coefficients: table.coefficient.as_ptr(),
        lower: table.lower.as_ptr(),
        upper: table.upper.as_ptr(),
        layers: table.node.as_ptr(),
    }
}

fn lists(table: &VariableLists) -> NtLists {
    NtLists {
        count: table.len(),
        starts: table.starts.as_ptr(),
        variables: ids(&table.variable),
        weights: table.weight.as_ptr(),
        layers: table.node.as_ptr(),
    }
}

fn indicators(table: &Indicators) -> NtIndicators {
    NtIndicators { binaries: ids(&table.binary), active: table.active.as_ptr(), rows: rows(&table.rows) }
}

fn quadratic(table: &QuadraticRows) -> NtQuadraticRows {
    NtQuadraticRows {
        rows: rows(&table.rows),
        starts: table.starts.as_ptr(),
        first: ids(&table.first),
        second: ids(&table.second),
        coefficients: table.coefficient.as_ptr(),
    }
}

fn cones(table: &Cones) -> NtCones {
    NtCones {
        count: table.len(),
        // `Cone` has the representation of u8, and the numbers above.
        kinds: table.cone.as_ptr().cast(),
        starts: table.starts.as_ptr(),
        members: NtAffineFunctions {
            count: table.members.constant.len(),
            starts: table.members.starts.as_ptr(),
            variables: ids(&table.members.variable),
            coefficients: table.members.coefficient.as_ptr(),
            constants: table.members.constant.as_ptr(),
        },
        layers: table.node.as_ptr(),
    }
}

fn complementarities(table: &Complementarities) -> NtComplementarities {
    NtComplementarities {
        count: table.len(),
        first: ids(&table.first),
        second: ids(&table.second),
        layers: table.node.as_ptr(),
    }
}

fn tapes(table: &Tapes) -> NtTapes {
    NtTapes {
        count: table.len(),
        starts: table.starts.as_ptr(),
        // `Opcode` has the representation of u8, and the numbers above.
        codes: table.opcode.as_ptr().cast(),
        arguments: table.argument.as_ptr(),
        constant_count: table.constants.len(),
        constants: table.constants.as_ptr(),
        layers: table.node.as_ptr(),
    }
}

fn definitions(table: &Definitions) -> NtDefinitions {
    NtDefinitions {
        variables: ids(&table.variable),
        // `Relation` has the representation of u8, and the numbers above.
        relations: table.relation.as_ptr().cast(),
        tapes: tapes(&table.tapes),
    }
}

impl NtFormulation {
    pub(crate) fn new(formulation: Formulation) -> Self {
        Self {
            block_names: formulation.blocks().iter().map(|block| &block.name).collect(),
            block_nodes: formulation.blocks().iter().map(|block| block.node).collect(),
            layers: formulation.layers().iter().collect(),
            output_lower: formulation.output_bounds().iter().map(|bounds| bounds.lower).collect(),
            output_upper: formulation.output_bounds().iter().map(|bounds| bounds.upper).collect(),
            text: OnceLock::new(),
            formulation,
        }
    }

    fn tables(&self) -> NtTables {
        let own = &self.formulation;
        NtTables {
            variables: variables(own.variables()),
            blocks: NtBlocks {
                count: self.block_nodes.len(),
                names: self.block_names.as_c(),
                layers: self.block_nodes.as_ptr(),
            },
            rows: rows(own.rows()),
            sos1: lists(own.sos1()),
            indicators: indicators(own.indicators()),
            quadratic: quadratic(own.quadratic()),
            cones: cones(own.cones()),
            complementarities: complementarities(own.complementarities()),
            definitions: definitions(own.definitions()),
            expressions: tapes(own.expressions()),
            input_count: own.inputs().len(),
            inputs: ids(own.inputs()),
            output_count: own.output_bounds().len(),
            outputs: or_null(own.outputs(), ids(own.outputs())),
            output_expressions: or_null(own.output_expressions(), own.output_expressions().as_ptr()),
            output_lower: self.output_lower.as_ptr(),
            output_upper: self.output_upper.as_ptr(),
            layer_count: own.layers().len(),
            layers: self.layers.as_c(),
        }
    }
}

/// The intervals between two lists of bounds.
pub fn intervals(lower: &[f64], upper: &[f64]) -> Result<Vec<Interval>> {
    if lower.len() != upper.len() {
        let (lower, upper) = (lower.len(), upper.len());
        return Err(Error::argument(format!("lower has length {lower}, but upper has length {upper}")));
    }
    Ok(lower.iter().zip(upper).map(|(&lower, &upper)| Interval::new(lower, upper)).collect())
}

/// Formulates a model: by default in full space, a variable for each element of each layer with bounds by interval
/// propagation.
///
/// `shape` is as for `nt_function_compile`. `lower` and `upper` are the bounds of the n inputs, flat; infinite ones are
/// allowed where nothing depends on them that needs finite ones. `start`, of length n, is a point whose forward pass
/// becomes the start values of all variables; NULL for none.
///
/// `options` are choices between commas; NULL or an empty text for none.
///
/// - `space=full` or `space=reduced`: in reduced space the inputs are the only variables, and the outputs are expressions.
/// - `fold=on` or `fold=off`: whether constants, BatchNorms and chains of affine layers are folded into one layer first.
/// - `KIND=FORM` chooses the form of a kind of layer: `relu=sos1`, `softplus=epigraph`. `relu` stands for all functions of
///   one element that are piecewise linear and have no form of their own, `max_pool` for all maxima.
/// - `layer PATH=FORM` does so for one layer.
///
/// The forms of `relu` and its kin are `nonlinear`, `big_m` (the default in full space), `big_m(M)`, `sos1`, `quadratic`,
/// `quadratic(RELAXATION)`, `complementarity`, `indicator`, `epigraph` and `partition(PARTS)`; `max_pool` has these and
/// `pairwise`; `softplus` has `nonlinear`, `epigraph` and `cone`. In reduced space all have `nonlinear` only. Where the
/// sign of a layer's input is certain, nothing is switched.
///
/// `NT_ERROR_ARGUMENT`: the shape does not fit or is missing; a length is not n; a lower bound exceeds its upper one; an
/// option is unknown; a form needs bounds that are infinite, or a big-M is smaller than known bounds, with the layer.
/// `NT_ERROR_UNSUPPORTED`: a layer is custom or has no such form; the message names it. `NT_ERROR_FORMAT`: the file's
/// record of a tensor is damaged.
///
/// `out` receives the formulation, to be freed with `nt_formulation_destroy`; NULL on failure.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_formulation_create(
    model: Option<&NtModel>,
    shape: NtShape,
    lower: NtSlice,
    upper: NtSlice,
    start: NtSlice,
    options: NtStr,
    out: Option<&mut MaybeUninit<Option<Box<NtFormulation>>>>,
) -> NtStatus {
    construct(out, || {
        let graph = required(model, "model")?.graph(self::shape(shape)?)?;
        let n = graph.inputs().iter().map(|input| graph.sizes(input.value).iter().product::<usize>()).sum();
        let bounds = intervals(read(lower, "lower", n)?, read(upper, "upper", n)?)?;
        formulate(&graph, &bounds::propagate(&graph, &bounds)?, start, options)
    })
}

fn formulate(graph: &Graph, bounds: &Bounds, start: NtSlice, options: NtStr) -> Result<NtFormulation> {
    let options: Options = optional_text(options, "options")?.map(str::parse).transpose()?.unwrap_or_default();
    let mut formulation = lower::lower(graph, bounds, &options)?;
    if start.is_some() {
        formulation.set_start(read(start, "start", formulation.inputs().len())?)?;
    }
    Ok(NtFormulation::new(formulation))
}

/// The formulation of a model as `nt_formulation_create`'s, with bounds that `nt_bounds_create` found for all its values:
/// tighter bounds make a tighter formulation with fewer binaries. `start` and `options` are as there. The bounds are not needed any
/// more afterwards.
///
/// `NT_ERROR_ARGUMENT` and `NT_ERROR_UNSUPPORTED` are as there. `out` receives the formulation, to be freed with
/// `nt_formulation_destroy`; NULL on failure.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_formulation_create_bounded(
    bounds: Option<&NtBounds>,
    start: NtSlice,
    options: NtStr,
    out: Option<&mut MaybeUninit<Option<Box<NtFormulation>>>>,
) -> NtStatus {
    construct(out, || {
        let NtBounds { graph, bounds, .. } = required(bounds, "bounds")?;
        formulate(graph, bounds, start, options)
    })
}

/// Frees a formulation; NULL is allowed. Pointers that it gave out are then invalid.
#[unsafe(no_mangle)]
pub extern "C" fn nt_formulation_destroy(formulation: Option<Box<NtFormulation>>) -> NtStatus {
    guard(|| {
        drop(formulation);
        Ok(())
    })
}

/// All of a formulation as arrays. `out` receives pointers that are valid as long as the formulation.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_formulation_tables(
    formulation: Option<&NtFormulation>,
    out: Option<&mut MaybeUninit<NtTables>>,
) -> NtStatus {
    guard(|| give(out, required(formulation, "formulation")?.tables()))
}

/// The values of all variables where the inputs are `x`: the model's forward pass, with the binaries that go with it.
/// Lengths: `x` the number of inputs, `values` the number of variables.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_formulation_evaluate(
    formulation: Option<&NtFormulation>,
    x: NtSlice,
    values: NtSliceMut,
) -> NtStatus {
    guard(|| {
        let formulation = &required(formulation, "formulation")?.formulation;
        let count = formulation.variables().len();
        let values = write(values, "values", count, &[x])?;
        if values.len() != count {
            let found = values.len();
            return Err(Error::argument(format!("values has length {found}, but there are {count} variables")));
        }
        values.copy_from_slice(&formulation.evaluate(read(x, "x", formulation.inputs().len())?)?);
        Ok(())
    })
}

/// The outputs where the variables have these values: in full space those of the output variables, in reduced space those
/// of the output expressions. Lengths: `values` the number of variables, `outputs` the number of outputs.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_formulation_outputs(
    formulation: Option<&NtFormulation>,
    values: NtSlice,
    outputs: NtSliceMut,
) -> NtStatus {
    guard(|| {
        let formulation = &required(formulation, "formulation")?.formulation;
        let (variables, count) = (formulation.variables().len(), formulation.output_bounds().len());
        let outputs = write(outputs, "outputs", count, &[values])?;
        let values = read(values, "values", variables)?;
        exactly("values", values.len(), variables)?;
        exactly("outputs", outputs.len(), count)?;
        outputs.copy_from_slice(&formulation.output_values(values));
        Ok(())
    })
}

/// Checks that these values of all variables satisfy the formulation, each row and bound to a tolerance relative to its
/// largest term.
///
/// `NT_ERROR_ARGUMENT`: they do not; the message names the first row or bound that they break.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_formulation_check(
    formulation: Option<&NtFormulation>,
    values: NtSlice,
    tolerance: f64,
) -> NtStatus {
    guard(|| {
        let formulation = &required(formulation, "formulation")?.formulation;
        formulation.check(read(values, "values", formulation.variables().len())?, tolerance)
    })
}

/// The largest difference between outputs that a solver gives for inputs `x`, and the model's own forward pass. `out`
/// receives it; NaN where an output is NaN. Lengths: `x` the number of inputs, `y` the number of outputs.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_formulation_error(
    formulation: Option<&NtFormulation>,
    x: NtSlice,
    y: NtSlice,
    out: Option<&mut MaybeUninit<f64>>,
) -> NtStatus {
    guard(|| {
        let formulation = &required(formulation, "formulation")?.formulation;
        let x = read(x, "x", formulation.inputs().len())?;
        give(out, formulation.formulation_error(x, read(y, "y", formulation.output_bounds().len())?)?)
    })
}

fn exactly(name: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::argument(format!("{name} has length {found}, but {expected} is expected")))
}

/// A formulation as text: its variables with their bounds, then its rows layer by layer, with numbers to six digits.
/// `out` receives a string that is valid as long as the formulation.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_formulation_text(
    formulation: Option<&NtFormulation>,
    out: Option<&mut MaybeUninit<*const c_char>>,
) -> NtStatus {
    guard(|| {
        let NtFormulation { formulation, text, .. } = required(formulation, "formulation")?;
        let text = text.get_or_init(|| CString::new(formulation.to_string().replace('\0', "\\0")).unwrap_or_default());
        give(out, text.as_ptr())
    })
}

/// Writes a formulation to a file for other solvers and modelling languages, in the format that the path ends with:
/// `.mps` (free, always minimised: what is maximised has its sign changed), `.lp` (CPLEX's), `.nl` (AMPL's, as text, with
/// the names of the variables, a line each, in a file `.col` beside it) or `.mof.json` (MathOptFormat 1.7).
///
/// In MPS and LP files, names have `~` for a blank, round brackets for square ones, and as in URLs, `%` and two hexadecimal
/// digits for all bytes but letters, digits, `.` and `_`, and for an `e` or a digit in front.
///
/// `objective` is `minimize` or `maximize` and an expression in the inputs `x[i]` and outputs `y[j]`, as the command's:
/// `maximize y[0] - 2 * y[1]`. NULL for none: 0 is then minimised. In reduced space, the outputs get variables `y`.
///
/// `NT_ERROR_ARGUMENT`: the path ends otherwise, or the objective is no linear expression. `NT_ERROR_UNSUPPORTED`: the
/// format does not hold a part of the formulation; the message names the layer and what to choose instead.
/// `NT_ERROR_IO`: the file cannot be written.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_formulation_write(formulation: Option<&NtFormulation>, path: NtStr, objective: NtStr) -> NtStatus {
    guard(|| {
        let formulation = &required(formulation, "formulation")?.formulation;
        let path = Path::new(text(path, "path")?);
        let Some(objective) = optional_text(objective, "objective")? else {
            return engine::write::to_file(formulation, None, path).map(|_| ());
        };
        let (formulation, objective) = with_objective(formulation, objective)?;
        engine::write::to_file(&formulation, Some(&objective), path).map(|_| ())
    })
}

#[cfg(test)]
mod tests {
    use engine::lower::{Cone, Domain, NO_NODE, Opcode, Relation};

    use super::*;

    #[test]
    fn constants_are_the_numbers_in_the_tables() {
        let codes = [
            (NT_OP_CONSTANT, Opcode::Constant),
            (NT_OP_VARIABLE, Opcode::Variable),
            (NT_OP_ADD, Opcode::Add),
            (NT_OP_SUB, Opcode::Sub),
            (NT_OP_MUL, Opcode::Mul),
            (NT_OP_DIV, Opcode::Div),
            (NT_OP_POW, Opcode::Pow),
            (NT_OP_NEG, Opcode::Neg),
            (NT_OP_EXP, Opcode::Exp),
            (NT_OP_LOG, Opcode::Log),
            (NT_OP_LOG1P, Opcode::Log1p),
            (NT_OP_SQRT, Opcode::Sqrt),
            (NT_OP_TANH, Opcode::Tanh),
            (NT_OP_ERF, Opcode::Erf),
            (NT_OP_ABS, Opcode::Abs),
            (NT_OP_MAX, Opcode::Max),
            (NT_OP_MIN, Opcode::Min),
            (NT_OP_IFELSE, Opcode::IfElse),
            (NT_OP_GREATER, Opcode::Greater),
            (NT_OP_EXPRESSION, Opcode::Expression),
            (NT_OP_SIN, Opcode::Sin),
            (NT_OP_ATAN, Opcode::Atan),
        ];
        assert_eq!(codes.len(), Opcode::ALL.len());
        assert!(codes.iter().all(|&(number, code)| number == code as u8));
        let domains = [NT_CONTINUOUS, NT_BINARY, NT_INTEGER];
        assert_eq!(domains, [Domain::Continuous, Domain::Binary, Domain::Integer].map(|domain| domain as u8));
        let cones = [NT_EXPONENTIAL_CONE, NT_SECOND_ORDER_CONE];
        assert_eq!(cones, [Cone::Exponential, Cone::SecondOrder].map(|cone| cone as u8));
        let relations = [NT_EQUAL, NT_AT_LEAST, NT_AT_MOST];
        assert_eq!(relations, [Relation::Equal, Relation::AtLeast, Relation::AtMost].map(|relation| relation as u8));
        assert_eq!(NT_NO_LAYER, NO_NODE);
    }
}
