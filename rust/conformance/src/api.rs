//! The API as the suite sees it.

use std::path::{Path, PathBuf};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A wrong argument.
    Argument,
    /// The operating system refused.
    Io,
    /// A malformed file.
    Format,
    /// Something that is not there.
    Unsupported,
    /// A solver failed.
    Solver,
    /// A defect.
    Internal,
}

/// An error.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What went wrong.
    pub kind: Kind,
    /// The message.
    pub message: String,
}

/// What a call gives.
pub type Outcome<T> = Result<T, Failure>;

/// The order of a matrix.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Dense, row by row.
    RowMajor,
    /// Dense, column by column.
    ColumnMajor,
    /// The entries of the pattern.
    Pattern,
}

/// The precision of a computation.
#[derive(Clone, Copy, Debug)]
pub enum Precision {
    /// f64.
    Double,
    /// f32.
    Single,
}

/// What a module computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// Its children.
    Sequential,
    /// A layer of torch's own.
    Standard,
    /// A class that torch does not define.
    Custom,
    /// Something that cannot be used.
    Unsupported,
}

/// A module of a model.
#[derive(Clone, Debug)]
pub struct Module {
    /// What it computes.
    pub kind: ModuleKind,
    /// Where it stands.
    pub path: String,
    /// Its class.
    pub class: String,
    /// The number of elements of its own parameters.
    pub parameters: usize,
    /// Why it keeps the model from being evaluated, or nothing.
    pub reason: String,
}

/// What a function takes and gives: names and shapes.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The number of input elements.
    pub n: usize,
    /// The number of output elements.
    pub m: usize,
    /// The inputs.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// The outputs.
    pub outputs: Vec<(String, Vec<usize>)>,
}

/// Linear rows, compressed.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Where each begins, and the end of the last.
    pub starts: Vec<usize>,
    /// The variables.
    pub variables: Vec<u32>,
    /// The coefficients.
    pub coefficients: Vec<f64>,
    /// The lower limits.
    pub lower: Vec<f64>,
    /// The upper limits.
    pub upper: Vec<f64>,
    /// The layer of each.
    pub layers: Vec<u32>,
}

/// Lists of variables, compressed.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// Where each begins, and the end of the last.
    pub starts: Vec<usize>,
    /// The variables.
    pub variables: Vec<u32>,
    /// The weights.
    pub weights: Vec<f64>,
}

/// Linear rows that binaries switch on.
#[derive(Clone, Debug, Default)]
pub struct Indicators {
    /// The binaries.
    pub binaries: Vec<u32>,
    /// The values at which the rows hold.
    pub active: Vec<u8>,
    /// The rows.
    pub rows: Rows,
}

/// Quadratic rows.
#[derive(Clone, Debug, Default)]
pub struct QuadraticRows {
    /// The linear parts and limits.
    pub rows: Rows,
    /// Where the products of each begin, and the end of the last.
    pub starts: Vec<usize>,
    /// The first factors.
    pub first: Vec<u32>,
    /// The second factors.
    pub second: Vec<u32>,
    /// The coefficients.
    pub coefficients: Vec<f64>,
}

/// Cones of affine functions.
#[derive(Clone, Debug, Default)]
pub struct Cones {
    /// The kinds.
    pub kinds: Vec<u8>,
    /// Where the members of each begin, and the end of the last.
    pub starts: Vec<usize>,
    /// The members: where the entries of each begin, their variables, coefficients and constants.
    pub members: (Vec<usize>, Vec<u32>, Vec<f64>, Vec<f64>),
}

/// Expressions.
#[derive(Clone, Debug, Default)]
pub struct Tapes {
    /// Where each begins, and the end of the last.
    pub starts: Vec<usize>,
    /// The codes.
    pub codes: Vec<u8>,
    /// Their arguments.
    pub arguments: Vec<u32>,
    /// The constants.
    pub constants: Vec<f64>,
}

/// A formulation.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The lower bounds of the variables.
    pub lower: Vec<f64>,
    /// The upper bounds of the variables.
    pub upper: Vec<f64>,
    /// 0, 1 or 2: continuous, binary, integer.
    pub domains: Vec<u8>,
    /// The start values.
    pub start: Vec<f64>,
    /// The names of the variables.
    pub names: Vec<String>,
    /// The linear rows.
    pub rows: Rows,
    /// The SOS1 sets.
    pub sos1: Lists,
    /// The rows that binaries switch on.
    pub indicators: Indicators,
    /// The quadratic rows.
    pub quadratic: QuadraticRows,
    /// The cones.
    pub cones: Cones,
    /// The complementary pairs.
    pub complementarities: Vec<(u32, u32)>,
    /// The variables of the nonlinear equations and inequalities.
    pub definitions: Vec<u32>,
    /// 0, 1 or 2: equal, at least, at most.
    pub relations: Vec<u8>,
    /// Their right sides.
    pub tapes: Tapes,
    /// The expressions that others refer to.
    pub expressions: Tapes,
    /// The variables of the inputs.
    pub inputs: Vec<u32>,
    /// The variables of the outputs.
    pub outputs: Vec<u32>,
    /// The expressions of the outputs.
    pub output_expressions: Vec<u32>,
    /// The bounds of the outputs.
    pub output_bounds: Vec<(f64, f64)>,
    /// The names of the layers.
    pub layers: Vec<String>,
    /// All of it as text.
    pub text: String,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In the file system.
    Path(PathBuf),
    /// In memory.
    Bytes(Vec<u8>),
    /// Behind a reader.
    Reader(Vec<u8>),
}

/// The affine row `lower <= sum of coefficient x[element] <= upper` of a model's inputs.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The elements of the inputs.
    pub elements: &'a [usize],
    /// Their coefficients.
    pub coefficients: &'a [f64],
    /// The lower limit.
    pub lower: f64,
    /// The upper limit.
    pub upper: f64,
}

/// Bounds of all values.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    /// The inputs, and the layers of the others.
    pub names: Vec<String>,
    /// What computes each; empty for inputs.
    pub operations: Vec<String>,
    /// Where the elements of each value begin, and the end of the last.
    pub starts: Vec<usize>,
    /// The lower bounds.
    pub lower: Vec<f64>,
    /// The upper bounds.
    pub upper: Vec<f64>,
    /// The values that are outputs.
    pub outputs: Vec<usize>,
    /// How many programs were solved.
    pub solved: usize,
    /// How often progress was told.
    pub calls: usize,
    /// The number of binaries of the formulation with these bounds.
    pub binaries: usize,
}

/// A way to call NativeTorch.
pub trait Api {
    /// A model in a file.
    type Model: Model;

    /// Opens a file whose root is a module.
    fn open_from(source: Source) -> Outcome<Self::Model>;
    /// The value at the root of a file, whatever it is, as `test/models/values.py` describes it. A tensor also says in
    /// `storage` which one it lies in, by a number of the API's choice.
    fn root(source: Source) -> Outcome<serde_json::Value>;

    /// Opens a file by its path.
    fn open(path: &Path) -> Outcome<Self::Model> {
        Self::open_from(Source::Path(path.to_owned()))
    }
}

/// A model in a file.
pub trait Model {
    /// A compiled function.
    type Function: Function;

    /// The modules, each in front of those in it.
    fn modules(&self) -> Outcome<Vec<Module>>;
    /// Checks the file's CRCs.
    fn verify(&self) -> Outcome<()>;
    /// Compiles for an input of this shape, or of the default one.
    fn compile(&self, shape: Option<&[usize]>, precision: Precision) -> Outcome<Self::Function>;
    /// The formulation within bounds as the options say, with the forward pass at `start`, and that at `x`: the values of
    /// all variables and those of the outputs.
    fn formulate(
        &self,
        shape: Option<&[usize]>,
        bounds: (&[f64], &[f64]),
        options: &str,
        start: Option<&[f64]>,
        x: &[f64],
    ) -> Outcome<(Tables, Vec<f64>, Vec<f64>)>;
    /// The bounds of all values by the method of this number, from intervals to mixed-integer programs.
    fn bounds(
        &self,
        shape: Option<&[usize]>,
        lower: &[f64],
        upper: &[f64],
        method: u32,
        row: Option<Row>,
    ) -> Outcome<Ranges>;
}

/// A compiled function.
pub trait Function: Send + Sync {
    /// The memory of one thread.
    type Workspace: Send;

    /// What it takes and gives.
    fn signature(&self) -> Outcome<Signature>;
    /// The places of the Jacobian's entries.
    fn jacobian_pattern(&self) -> Outcome<Vec<(usize, usize)>>;
    /// The places of the entries of the Hessian's lower triangle.
    fn hessian_pattern(&self) -> Outcome<Vec<(usize, usize)>>;
    /// Memory for one thread.
    fn workspace(&self) -> Outcome<Self::Workspace>;
    /// f.
    fn value(&self, workspace: &mut Self::Workspace, x: &[f64], y: &mut [f64]) -> Outcome<()>;
    /// J.
    fn jacobian(&self, workspace: &mut Self::Workspace, x: &[f64], order: Order, values: &mut [f64]) -> Outcome<()>;
    /// J v.
    fn jvp(&self, workspace: &mut Self::Workspace, x: &[f64], v: &[f64], out: &mut [f64]) -> Outcome<()>;
    /// J'u.
    fn vjp(&self, workspace: &mut Self::Workspace, x: &[f64], u: &[f64], out: &mut [f64]) -> Outcome<()>;
    /// The Hessian of mu'f.
    fn hessian(
        &self,
        workspace: &mut Self::Workspace,
        x: &[f64],
        mu: &[f64],
        order: Order,
        values: &mut [f64],
    ) -> Outcome<()>;
    /// The Hessian of mu'f times v.
    fn hvp(&self, workspace: &mut Self::Workspace, x: &[f64], mu: &[f64], v: &[f64], out: &mut [f64]) -> Outcome<()>;
}
