//! The Rust API as the conformance suite sees it, on either backend.

use std::{io::Cursor, marker::PhantomData, sync::Arc};

use native_torch::{
    Error, ErrorKind, Result,
    bounds::{Interval, propagate},
    diff::Pattern,
    eval::{self, Backend, Workspace},
    graph::{self, Dim, Graph},
    load::{self, Checkpoint, Layer},
    lower::{self, Domain, Formulation, LinearRows, VarId, VariableLists, lower},
    tensor::{DType, Tensor},
    tighten::{self, InputRow},
};
use native_torch_conformance::{
    Api, Cones, Failure, Function, Indicators, Kind, Lists, Model, Module, ModuleKind, Order, Outcome, Precision,
    QuadraticRows, Ranges, Row, Rows, Signature, Source, Tables, Tapes,
};
use serde_json::{Value as Json, json};

/// What computes the functions.
pub trait Engine {
    /// The backend, ready to be used.
    fn backend() -> Backend;
}

/// The Rust API.
pub struct Rust<E>(PhantomData<E>);

/// A model whose functions are compiled for one backend.
pub struct RustModel<E> {
    checkpoint: Checkpoint,
    module: load::Module,
    engine: PhantomData<E>,
}

/// A compiled function.
pub struct RustFunction(eval::Function);

fn failure(error: Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::Argument => Kind::Argument,
        ErrorKind::Io => Kind::Io,
        ErrorKind::Format => Kind::Format,
        ErrorKind::Unsupported => Kind::Unsupported,
        ErrorKind::Solver => Kind::Solver,
        _ => Kind::Internal,
    };
    Failure { kind, message: error.message().to_owned() }
}

impl<E: Engine> Api for Rust<E> {
    type Model = RustModel<E>;

    fn open_from(source: Source) -> Outcome<RustModel<E>> {
        let checkpoint = checkpoint(source).map_err(failure)?;
        let module = checkpoint.module().map_err(failure)?;
        Ok(RustModel { checkpoint, module, engine: PhantomData })
    }

    fn root(source: Source) -> Outcome<Json> {
        let checkpoint = checkpoint(source).map_err(failure)?;
        checkpoint.verify(&mut |_, _| {}).map_err(failure)?;
        checkpoint.root().and_then(|root| described(&root)).map_err(failure)
    }
}

fn checkpoint(source: Source) -> Result<Checkpoint> {
    match source {
        Source::Path(path) => load::open(path),
        Source::Bytes(bytes) => load::from_bytes(bytes),
        Source::Reader(bytes) => load::from_reader(Cursor::new(bytes)),
    }
}

/// A number that JSON can hold; text where a double cannot.
fn number(value: f64) -> Json {
    if value.is_finite() { json!(value) } else { json!(value.to_string().to_lowercase()) }
}

fn integer(value: impl Into<i128>) -> Json {
    let value = value.into();
    if value.abs() > 1 << 53 { json!(value.to_string()) } else { json!(value as i64) }
}

/// A value as `test/models/values.py` describes it.
fn described(value: &load::Value) -> Result<Json> {
    if value.is_module() {
        return Ok(json!({ "kind": "module", "class": value.class() }));
    }
    if let Some(tensor) = value.as_tensor() {
        return described_tensor(value, tensor);
    }
    if let Some(entries) = value.entries() {
        let entries: Result<Vec<Json>> =
            entries.iter().map(|(key, value)| Ok(json!([described(key)?, described(value)?]))).collect();
        return Ok(json!({ "kind": value.kind(), "entries": entries? }));
    }
    if let Some(elements) = value.elements() {
        let elements: Result<Vec<Json>> = elements.iter().map(described).collect();
        return Ok(json!({ "kind": value.kind(), "elements": elements? }));
    }
    let scalar = if let Some(bytes) = value.as_int_bytes() {
        let mut wide = [if bytes.last().is_some_and(|&byte| byte > 127) { 0xff } else { 0 }; 16];
        wide[..bytes.len()].copy_from_slice(&bytes);
        integer(i128::from_le_bytes(wide))
    } else if let Some(class) = value.class() {
        return Ok(json!({ "kind": "class", "value": class }));
    } else {
        let float = || value.as_f64().map(number);
        let text = || value.as_str().map(Json::from);
        let bytes = || value.as_bytes().map(Json::from);
        value.as_bool().map(Json::from).or_else(float).or_else(text).or_else(bytes).unwrap_or_default()
    };
    Ok(json!({ "kind": value.kind(), "value": scalar }))
}

fn described_tensor(value: &load::Value, tensor: Result<Tensor>) -> Result<Json> {
    let info = value.tensor_info().expect("a tensor");
    let values: Json = match &tensor {
        Err(_) => Json::Null,
        Ok(tensor) if tensor.dtype().is_complex() => {
            tensor.to_complex_vec()?.iter().map(|pair: &[f64; 2]| Json::from(pair.map(number).to_vec())).collect()
        }
        Ok(tensor) if tensor.dtype().is_float() => tensor.to_vec()?.into_iter().map(number).collect(),
        Ok(tensor) if tensor.dtype() == DType::Bool => {
            tensor.to_vec::<f64>()?.iter().map(|&v| json!(v != 0.0)).collect()
        }
        Ok(tensor) if tensor.dtype() == DType::U64 => tensor.to_vec::<u64>()?.into_iter().map(integer).collect(),
        Ok(tensor) => tensor.to_vec::<i64>()?.into_iter().map(integer).collect(),
    };
    let storage = tensor.ok().map(|tensor| Arc::as_ptr(tensor.storage()) as usize);
    Ok(json!({
        "kind": "tensor", "layout": info.kind, "dtype": info.dtype, "shape": info.shape, "values": values, "storage": storage,
    }))
}

impl<E> RustModel<E> {
    fn graph(&self, shape: Option<&[usize]>) -> Result<Graph> {
        match shape {
            Some(shape) => {
                let dims: Vec<Dim> = shape.iter().map(|&size| Dim::Size(size)).collect();
                self.module.graph(Some(&dims))
            }
            None => {
                let graph = self.module.graph(None)?;
                let shape = &graph.ty(graph.inputs()[0].value).shape;
                let one: Option<Vec<usize>> =
                    shape.iter().enumerate().map(|(i, dim)| if i == 0 { Some(1) } else { dim.size() }).collect();
                match one {
                    Some(one) => graph.specialize(&[one]),
                    None => graph.check_concrete().map_err(|error| error.at(&graph.nodes()[0].scope)).map(|()| graph),
                }
            }
        }
    }
}

fn ids(variables: &[VarId]) -> Vec<u32> {
    variables.iter().map(|variable| variable.0).collect()
}

fn rows(rows: &LinearRows) -> Rows {
    Rows {
        starts: rows.starts.clone(),
        variables: ids(&rows.variable),
        coefficients: rows.coefficient.clone(),
        lower: rows.lower.clone(),
        upper: rows.upper.clone(),
        layers: rows.node.clone(),
    }
}

fn lists(lists: &VariableLists) -> Lists {
    Lists { starts: lists.starts.clone(), variables: ids(&lists.variable), weights: lists.weight.clone() }
}

impl<E: Engine> Model for RustModel<E> {
    type Function = RustFunction;

    fn modules(&self) -> Outcome<Vec<Module>> {
        let unsupported = self.module.unsupported();
        let table = self.module.modules().map(|module| {
            let reason = unsupported.iter().find(|(other, _)| std::ptr::eq(*other, module));
            Module {
                kind: match module.layer() {
                    Layer::Sequential => ModuleKind::Sequential,
                    Layer::Standard(_) => ModuleKind::Standard,
                    Layer::Custom(_) => ModuleKind::Custom,
                    Layer::Unsupported { .. } => ModuleKind::Unsupported,
                },
                path: module.path().to_owned(),
                class: module.class().to_owned(),
                parameters: module.parameter_count(),
                reason: reason.map(|(_, reason)| reason.clone()).unwrap_or_default(),
            }
        });
        Ok(table.collect())
    }

    fn verify(&self) -> Outcome<()> {
        self.checkpoint.verify(&mut |_, _| {}).map_err(failure)
    }

    fn compile(&self, shape: Option<&[usize]>, precision: Precision) -> Outcome<RustFunction> {
        let dtype = match precision {
            Precision::Double => DType::F64,
            Precision::Single => DType::F32,
        };
        let compile = |graph| eval::Function::compile_for(&graph, dtype, E::backend());
        self.graph(shape).and_then(compile).map(RustFunction).map_err(failure)
    }

    fn formulate(
        &self,
        shape: Option<&[usize]>,
        (lower_bounds, upper_bounds): (&[f64], &[f64]),
        options: &str,
        start: Option<&[f64]>,
        x: &[f64],
    ) -> Outcome<(Tables, Vec<f64>, Vec<f64>)> {
        let graph = self.graph(shape).map_err(failure)?;
        let bounds: Vec<Interval> =
            lower_bounds.iter().zip(upper_bounds).map(|(&lower, &upper)| Interval::new(lower, upper)).collect();
        let bounds = propagate(&graph, &bounds).map_err(failure)?;
        let options = options.parse().map_err(failure)?;
        let mut formulation = lower(&graph, &bounds, &options).map_err(failure)?;
        if let Some(start) = start {
            formulation.set_start(start).map_err(failure)?;
        }
        let values = formulation.evaluate(x).map_err(failure)?;
        let outputs = formulation.output_values(&values);
        Ok((tables(&formulation), values, outputs))
    }

    fn bounds(
        &self,
        shape: Option<&[usize]>,
        lower_bounds: &[f64],
        upper_bounds: &[f64],
        method: u32,
        row: Option<Row>,
    ) -> Outcome<Ranges> {
        let graph = self.graph(shape).map_err(failure)?;
        let inputs: Vec<Interval> =
            lower_bounds.iter().zip(upper_bounds).map(|(&lower, &upper)| Interval::new(lower, upper)).collect();
        let rows = row.into_iter().map(|row| InputRow {
            terms: row.elements.iter().copied().zip(row.coefficients.iter().copied()).collect(),
            lower: row.lower,
            upper: row.upper,
        });
        let options = tighten::Options { threads: 1, rows: rows.collect(), ..tighten::Options::default() };
        let mut calls = 0;
        let mut count = |_: tighten::Progress| {
            calls += 1;
            true
        };
        let method = tighten::Method::ALL[method as usize];
        let (bounds, report) =
            tighten::network_bounds(&graph, &inputs, method, &options, &mut count).map_err(failure)?;
        let formulation = lower(&graph, &bounds, &lower::Options::default()).map_err(failure)?;
        let entries = tighten::entries(&graph);
        let mut ranges = Ranges {
            names: entries.iter().map(|entry| entry.name.clone()).collect(),
            operations: entries.iter().map(|entry| entry.operation.to_owned()).collect(),
            starts: vec![0],
            solved: report.solved,
            calls,
            binaries: formulation.variables().domain.iter().filter(|&&domain| domain == Domain::Binary).count(),
            ..Ranges::default()
        };
        for entry in &entries {
            ranges.lower.extend(bounds.of(entry.value).iter().map(|range| range.lower));
            ranges.upper.extend(bounds.of(entry.value).iter().map(|range| range.upper));
            ranges.starts.push(ranges.lower.len());
        }
        let place = |output: &graph::Named| entries.iter().position(|entry| entry.value == output.value);
        ranges.outputs = graph.outputs().iter().filter_map(place).collect();
        Ok(ranges)
    }
}

fn tables(formulation: &Formulation) -> Tables {
    let variables = formulation.variables();
    let (indicators, quadratic, cones) = (formulation.indicators(), formulation.quadratic(), formulation.cones());
    let (pairs, definitions) = (formulation.complementarities(), formulation.definitions());
    Tables {
        lower: variables.lower.clone(),
        upper: variables.upper.clone(),
        domains: variables.domain.iter().map(|&domain| domain as u8).collect(),
        start: variables.start.clone(),
        names: (0..variables.len()).map(|i| formulation.name(VarId(i as u32))).collect(),
        rows: rows(formulation.rows()),
        sos1: lists(formulation.sos1()),
        indicators: Indicators {
            binaries: ids(&indicators.binary),
            active: indicators.active.clone(),
            rows: rows(&indicators.rows),
        },
        quadratic: QuadraticRows {
            rows: rows(&quadratic.rows),
            starts: quadratic.starts.clone(),
            first: ids(&quadratic.first),
            second: ids(&quadratic.second),
            coefficients: quadratic.coefficient.clone(),
        },
        cones: Cones {
            kinds: cones.cone.iter().map(|&cone| cone as u8).collect(),
            starts: cones.starts.clone(),
            members: (
                cones.members.starts.clone(),
                ids(&cones.members.variable),
                cones.members.coefficient.clone(),
                cones.members.constant.clone(),
            ),
        },
        complementarities: ids(&pairs.first).into_iter().zip(ids(&pairs.second)).collect(),
        definitions: ids(&definitions.variable),
        relations: definitions.relation.iter().map(|&relation| relation as u8).collect(),
        tapes: tapes(&definitions.tapes),
        expressions: tapes(formulation.expressions()),
        inputs: ids(formulation.inputs()),
        outputs: ids(formulation.outputs()),
        output_expressions: formulation.output_expressions().to_vec(),
        output_bounds: formulation.output_bounds().iter().map(|bounds| (bounds.lower, bounds.upper)).collect(),
        layers: formulation.layers().to_vec(),
        text: formulation.to_string(),
    }
}

fn tapes(tapes: &lower::Tapes) -> Tapes {
    Tapes {
        starts: tapes.starts.clone(),
        codes: tapes.opcode.iter().map(|&code| code as u8).collect(),
        arguments: tapes.argument.clone(),
        constants: tapes.constants.clone(),
    }
}

fn pattern(pattern: &Pattern) -> Vec<(usize, usize)> {
    pattern.rows.iter().copied().zip(pattern.columns.iter().copied()).collect()
}

impl Function for RustFunction {
    type Workspace = Workspace;

    fn signature(&self) -> Outcome<Signature> {
        let values = |values: &[eval::Signature]| values.iter().map(|v| (v.name.clone(), v.shape.clone())).collect();
        Ok(Signature {
            n: self.0.n(),
            m: self.0.m(),
            inputs: values(self.0.inputs()),
            outputs: values(self.0.outputs()),
        })
    }

    fn jacobian_pattern(&self) -> Outcome<Vec<(usize, usize)>> {
        Ok(pattern(self.0.jacobian_pattern()))
    }

    fn hessian_pattern(&self) -> Outcome<Vec<(usize, usize)>> {
        Ok(pattern(self.0.hessian_pattern()))
    }

    fn workspace(&self) -> Outcome<Workspace> {
        Ok(self.0.workspace())
    }

    fn value(&self, w: &mut Workspace, x: &[f64], y: &mut [f64]) -> Outcome<()> {
        self.0.value(w, x, y).map_err(failure)
    }

    fn jacobian(&self, w: &mut Workspace, x: &[f64], order: Order, values: &mut [f64]) -> Outcome<()> {
        match order {
            Order::RowMajor => self.0.jacobian(w, x, eval::Order::RowMajor, values),
            Order::ColumnMajor => self.0.jacobian(w, x, eval::Order::ColumnMajor, values),
            Order::Pattern => self.0.jacobian_values(w, x, values),
        }
        .map_err(failure)
    }

    fn jvp(&self, w: &mut Workspace, x: &[f64], v: &[f64], out: &mut [f64]) -> Outcome<()> {
        self.0.jvp(w, x, v, out).map_err(failure)
    }

    fn vjp(&self, w: &mut Workspace, x: &[f64], u: &[f64], out: &mut [f64]) -> Outcome<()> {
        self.0.vjp(w, x, u, out).map_err(failure)
    }

    fn hessian(&self, w: &mut Workspace, x: &[f64], mu: &[f64], order: Order, values: &mut [f64]) -> Outcome<()> {
        match order {
            Order::RowMajor | Order::ColumnMajor => self.0.hessian(w, x, mu, values),
            Order::Pattern => self.0.hessian_values(w, x, mu, values),
        }
        .map_err(failure)
    }

    fn hvp(&self, w: &mut Workspace, x: &[f64], mu: &[f64], v: &[f64], out: &mut [f64]) -> Outcome<()> {
        self.0.hvp(w, x, mu, v, out).map_err(failure)
    }
}
