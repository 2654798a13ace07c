//! `native-torch eval | jacobian | hessian`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use native_torch::{
    Error, Result,
    eval::{Backend, Function, Order, Workspace},
    graph::Dim,
    load,
    tensor::DType,
};
use serde_json::{Value, json};

use crate::{input, output};

/// What is evaluated, where, and how it is printed.
#[derive(Args)]
pub struct Arguments {
    /// The model, as torch.save(model) or torch.export.save(program) wrote it
    file: PathBuf,
    /// The model's input; repeated for several
    #[arg(long, required = true, allow_hyphen_values = true, value_name = "IN", help = format!("The model's input, once for each in the order of `info`, of integers where they index a table: {}", input::ARRAY))]
    input: Vec<String>,
    /// The input's shape where a flat list needs one, as 1,3,8,8; repeats with --input
    #[arg(long, value_name = "SIZES")]
    shape: Vec<String>,
    /// The precision of the computation
    #[arg(long, value_enum, default_value_t = Precision::F64)]
    dtype: Precision,
    /// What computes: native, or libtorch, which is opened from the library that NATIVE_TORCH_LIBTORCH names
    #[arg(long, value_name = "NAME", default_value = "native")]
    backend: String,
    /// Where libtorch computes: cpu, cuda or cuda:1
    #[arg(long, default_value = "cpu")]
    device: String,
    /// How many threads to use
    #[arg(long, default_value_t = 1, value_name = "K")]
    threads: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The same with the outputs' weights.
#[derive(Args)]
pub struct HessianArguments {
    #[command(flatten)]
    arguments: Arguments,
    /// The weights of the outputs, all ones unless given
    #[arg(long, allow_hyphen_values = true, value_name = "MU", help = format!("The weights of the outputs, ones unless given: {}", input::ARRAY))]
    mu: Option<String>,
}

/// A precision of computation.
#[derive(Clone, Copy, ValueEnum)]
pub enum Precision {
    F32,
    F64,
}

impl Precision {
    /// The dtype.
    pub fn dtype(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::F64 => DType::F64,
        }
    }
}

/// A model at a point, with its outputs.
struct Evaluation {
    function: Function,
    workspace: Workspace,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Arguments {
    fn evaluate(&self) -> Result<Evaluation> {
        if self.shape.len() > self.input.len() {
            return Err(Error::argument(format!(
                "{} shapes were given for {} input(s)",
                self.shape.len(),
                self.input.len()
            )));
        }
        if self.input.iter().filter(|input| *input == "-").count() > 1 {
            return Err(Error::argument("standard input can be read once"));
        }
        let model = load::open(&self.file)?.model()?;
        let mut arrays = Vec::new();
        for (i, argument) in self.input.iter().enumerate() {
            let array = input::read(argument)?;
            arrays.push(match self.shape.get(i) {
                Some(shape) => array.reshape(input::shape(shape)?)?,
                None => array,
            });
        }
        let (mut x, mut integers) = (Vec::new(), Vec::new());
        for (array, input) in arrays.iter().zip(model.inputs()) {
            if input.dtype.is_float() {
                x.extend(&array.data);
            } else {
                integers.extend(array.integers().map_err(|e| e.at(format!("--input for `{}`", input.name)))?);
            }
        }
        let shapes: Vec<Vec<Dim>> = arrays.iter().map(input::Array::dims).collect();
        let backend = Backend::named(&self.backend, self.device.parse()?)?;
        let compiled = Function::of_model(&model, Some(&shapes), &integers, self.dtype.dtype(), backend);
        let function = compiled.map_err(|e| e.at(self.file.display()))?;
        let mut workspace = function.workspace();
        workspace.set_threads(self.threads)?;
        let mut y = vec![0.0; function.m()];
        function.value(&mut workspace, &x, &mut y)?;
        Ok(Evaluation { function, workspace, x, y })
    }
}

impl Evaluation {
    /// The outputs and, under its name, a matrix.
    fn print(&self, json: bool, matrix: Option<(&str, [usize; 2], &[f64])>) -> Result<()> {
        let mut rest = &self.y[..];
        let mut outputs = Vec::new();
        let mut text = Vec::new();
        for signature in self.function.outputs() {
            let (data, tail) = rest.split_at(signature.shape.iter().product());
            rest = tail;
            if json {
                outputs.push(json!({
                    "name": signature.name,
                    "dtype": self.function.dtype().name(),
                    "shape": signature.shape,
                    "data": output::numbers(data),
                }));
            } else {
                text.push(format!("{} {:?}", signature.name, signature.shape));
                text.push(output::array(&signature.shape, data));
            }
        }
        let mut object = json!({ "outputs": Value::Array(outputs) });
        if let Some((name, shape, data)) = matrix {
            if json {
                object[name] = json!({ "shape": shape, "data": output::numbers(data) });
            } else {
                text.push(format!("{name} {shape:?}"));
                text.push(output::array(&shape, data));
            }
        }
        output::print(&if json { object.to_string() } else { text.join("\n") })
    }
}

/// An array of `a x b` zeros, if that is not beyond all measure.
fn matrix(a: usize, b: usize) -> Result<Vec<f64>> {
    const LIMIT: usize = 1 << 31;
    let length = a.checked_mul(b).filter(|&length| length <= LIMIT);
    length
        .map(|length| vec![0.0; length])
        .ok_or_else(|| Error::unsupported(format!("a dense {a} x {b} matrix; at most {LIMIT} entries are computed")))
}

/// Prints the outputs.
pub fn eval(arguments: &Arguments) -> Result<()> {
    arguments.evaluate()?.print(arguments.json, None)
}

/// Prints the outputs and the Jacobian.
pub fn jacobian(arguments: &Arguments) -> Result<()> {
    let mut at = arguments.evaluate()?;
    let (n, m) = (at.function.n(), at.function.m());
    let mut jacobian = matrix(m, n)?;
    at.function.jacobian(&mut at.workspace, &at.x, Order::RowMajor, &mut jacobian)?;
    at.print(arguments.json, Some(("jacobian", [m, n], &jacobian)))
}

/// Prints the outputs and the Hessian of mu'f.
pub fn hessian(arguments: &HessianArguments) -> Result<()> {
    let mut at = arguments.arguments.evaluate()?;
    let (n, m) = (at.function.n(), at.function.m());
    let mu = match &arguments.mu {
        Some(mu) => input::read(mu)?.data,
        None => vec![1.0; m],
    };
    if mu.len() != m {
        return Err(Error::argument(format!("--mu has {} elements, but the outputs have {m}", mu.len())));
    }
    let mut hessian = matrix(n, n)?;
    at.function.hessian(&mut at.workspace, &at.x, &mu, &mut hessian)?;
    at.print(arguments.arguments.json, Some(("hessian", [n, n], &hessian)))
}
