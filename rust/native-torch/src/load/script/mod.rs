//! Programs that `torch.jit.save` wrote: TorchScript archives of traced, scripted and frozen modules.
//!
//! Such a file holds the code of the module's classes, which is read by a small parser of its own, and the module's
//! attributes. The code is run on inputs of given shapes: calls are inlined, loops unrolled, branches taken where their
//! condition is known, and what remains are operations of a graph.

mod builtins;
mod code;
mod control;
mod debug;
mod forms;
mod lexer;
mod machine;
mod overload;
mod parser;
mod value;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::Arc,
};

use super::{
    Contents, ModuleInput, NamedTensor, Stored, TensorInfo,
    archive::Archive,
    assemble,
    input::Input,
    pickle,
    records::{Pickle, Record, RecordId, printable},
    value::{Records, View},
    zip,
};
use crate::{
    Error, Result,
    graph::{Dim, Graph},
    tensor::{DType, Source, Storage},
};
use code::{Class, Function, Step, Unit};
use debug::Sources;
use forms::Form;

/// A program of TorchScript: a module with the code of its forward.
pub struct Script {
    /// The file.
    source: Arc<Source>,
    records: Arc<Records>,
    constants: Option<Arc<Records>>,
    /// Files of code by the name that the code knows them by: `__torch__.torch.nn.modules.conv`.
    units: HashMap<String, Unit>,
    sources: HashMap<String, Sources>,
    /// The modules' paths from the root.
    paths: HashMap<RecordId, String>,
    tensors: Vec<NamedTensor>,
    method: &'static str,
    forward: Arc<Function>,
    inputs: Vec<Form>,
    /// The shapes and types of the inputs that the module was traced with, where the file has them.
    traced: Vec<(DType, Vec<usize>)>,
    version: u32,
}

/// A program with the records of its archive.
pub(super) struct Archived {
    pub script: Arc<Script>,
    pub records: Vec<Arc<Storage>>,
}

/// Whether a record is one that only TorchScript archives have.
pub(super) fn is_record_of_script(name: &str) -> bool {
    name == "constants.pkl" || (name.starts_with("code/") && name.ends_with(".py"))
}

/// A record of code may have this many bytes.
const CODE: usize = 1 << 26;

/// Reads a program from an archive of which the directory is known.
pub(super) fn read(source: &Arc<Source>, archive: Archive, big_endian: bool) -> Result<Archived> {
    let version = zip::version(&archive)?.unwrap_or(3);
    if version < 3 {
        return Err(Error::unsupported(format!(
            "TorchScript of file version {version}; versions 3 to 10 are read: load it with torch.jit.load of torch 1.6 \
             or later and save it again with torch.jit.save"
        )));
    }
    let records: Vec<Arc<Storage>> =
        archive.into_records().into_iter().map(|record| Arc::new(record.with_big_endian(big_endian))).collect();
    let (mut units, mut sources) = (HashMap::new(), HashMap::new());
    for record in &records {
        let Some(name) = record.name().strip_prefix("code/").and_then(|name| name.strip_suffix(".py")) else {
            continue;
        };
        let place = |e: Error| e.at(format!("record `{}`", printable(record.name())));
        if record.len() > CODE {
            return Err(place(Error::unsupported(format!("code of {} bytes; {CODE} are read at most", record.len()))));
        }
        let bytes = record.to_bytes()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| place(Error::format("it is not UTF-8")))?;
        units.insert(name.replace('/', "."), parser::read(record.name(), text)?);
        let debug = records.iter().find(|other| other.name().strip_suffix(".debug_pkl") == Some(record.name()));
        if let Some(found) = debug.and_then(|debug| Sources::read(debug)) {
            sources.insert(record.name().to_owned(), found);
        }
    }
    let data = values(&records, "data.pkl", "data/")?;
    let data = data.ok_or_else(|| Error::format("the archive has code, but no record `data.pkl`"))?;
    let constants = values(&records, "constants.pkl", "constants/")?;
    let script = Script::new(source.clone(), data, constants, units, sources, version, traced(&records))?;
    Ok(Archived { script: Arc::new(script), records })
}

/// The values of one of the archive's pickles, whose storages are records of one folder.
fn values(records: &[Arc<Storage>], name: &str, folder: &'static str) -> Result<Option<Arc<Records>>> {
    let Some(record) = records.iter().find(|record| record.name() == name) else { return Ok(None) };
    record.verify()?;
    let (source, range) = record.location();
    let pickle = pickle::read(&mut Input::new(source, range), name)?;
    let stored =
        |record: &Arc<Storage>| Some((record.name().strip_prefix(folder)?.to_owned(), Stored::whole(record.clone())));
    let storages = records.iter().filter_map(stored).collect();
    let contents = Contents { place: folder, records: Vec::new(), storages, ..Contents::default() };
    assemble(pickle, contents).map(Some)
}

/// The types and shapes of the inputs that forward was traced with; none where the file does not say. torch leaves their
/// numbers out, so that they are no tensors that could be read.
fn traced(records: &[Arc<Storage>]) -> Vec<(DType, Vec<usize>)> {
    let Some(record) = records.iter().find(|record| record.name() == "traced_inputs.pkl") else { return Vec::new() };
    let (source, range) = record.location();
    let Ok(pickle) = pickle::read(&mut Input::new(source, range), record.name()) else { return Vec::new() };
    inputs_of(&pickle).unwrap_or_default()
}

fn inputs_of(pickle: &Pickle) -> Option<Vec<(DType, Vec<usize>)>> {
    let arguments = |id: RecordId| pickle.tuple(pickle.object(id)?.args);
    let untagged = |id: RecordId| arguments(id)?.first().copied();
    let Record::Dict(entries) = pickle.get(untagged(pickle.root())?) else { return None };
    let forward = entries.iter().find(|entry| pickle.str(entry.0) == Some("forward"))?.1;
    let Record::List(inputs) = pickle.get(untagged(forward)?) else { return None };
    let one = |&id: &RecordId| {
        let [storage, _, sizes, ..] = arguments(id)? else { return None };
        let Record::Persistent(key) = pickle.get(*storage) else { return None };
        let kind = &pickle.global(*pickle.tuple(*key)?.get(1)?)?.name;
        let dtype = match kind.as_str() {
            "FloatStorage" | "DoubleStorage" | "HalfStorage" | "BFloat16Storage" => DType::F64,
            "BoolStorage" => DType::Bool,
            _ => DType::I64,
        };
        let size = |&id: &RecordId| match pickle.get(id) {
            Record::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        let sizes = pickle.tuple(*sizes)?.iter().map(size).collect::<Option<Vec<usize>>>()?;
        Some((dtype, sizes))
    };
    inputs.iter().map(one).collect()
}

impl Script {
    fn new(
        source: Arc<Source>,
        records: Arc<Records>,
        constants: Option<Arc<Records>>,
        units: HashMap<String, Unit>,
        sources: HashMap<String, Sources>,
        version: u32,
        traced: Vec<(DType, Vec<usize>)>,
    ) -> Result<Self> {
        let root = records.root();
        let View::Object(_) = records.view(root) else {
            return Err(Error::format(format!("`data.pkl` holds {}, not a module", records.kind(root))));
        };
        let forward = Arc::new(Function {
            record: "data.pkl".into(),
            parameters: Vec::new(),
            steps: Vec::new(),
            places: Vec::new(),
            slots: 0,
            names: Vec::new(),
        });
        let mut script = Self {
            source,
            records,
            constants,
            units,
            sources,
            paths: HashMap::new(),
            tensors: Vec::new(),
            method: "forward",
            forward,
            inputs: Vec::new(),
            traced,
            version,
        };
        script.walk();
        let methods = &script.class_of(root)?.methods;
        // A forward that is overloaded has a number behind its name; the first takes tensors.
        let found = ["forward", "forward__0"].into_iter().find_map(|name| Some((name, methods.get(name)?.clone())));
        (script.method, script.forward) = found.ok_or_else(|| {
            Error::unsupported("the module has no forward; save one that has with torch.jit.save")
                .at(script.scope(root))
        })?;
        script.inputs = forms::inputs(&script)?;
        // The entries of a dict may have been traced in another order.
        if script.inputs.iter().any(|form| matches!(form, Form::Dict(_))) {
            script.traced.clear();
        }
        Ok(script)
    }

    /// Finds the modules and the tensors of the file, each by the first path that leads to it.
    fn walk(&mut self) {
        /// A file may name this many attributes.
        const LIMIT: usize = 1 << 20;
        let mut queue = VecDeque::from([(self.records.root(), String::new())]);
        self.paths.insert(self.records.root(), String::new());
        let mut seen = 0;
        let records = self.records.clone();
        while let Some((id, path)) = queue.pop_front() {
            let View::Object(object) = records.view(id) else { continue };
            let Some(attributes) = records.attributes(object) else { continue };
            let class = self.class_name(id).and_then(|name| self.class(&name));
            let parameters: HashSet<String> = class.iter().flat_map(|class| class.parameters.iter().cloned()).collect();
            let mut found = Vec::new();
            for (name, value) in attributes.iter() {
                seen += 1;
                if seen > LIMIT {
                    return;
                }
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                match records.view(value) {
                    View::Tensor(tensor) => {
                        let info = records.tensors.described(value).map(|found| found.info.clone()).unwrap_or_default();
                        let info = TensorInfo { is_parameter: parameters.contains(name), ..info };
                        let name = printable(&path).into_owned();
                        found.push(NamedTensor { name, info, tensor: tensor.clone() });
                    }
                    View::Object(_) if !self.paths.contains_key(&value) => {
                        self.paths.insert(value, path.clone());
                        queue.push_back((value, path));
                    }
                    _ => {}
                }
            }
            self.tensors.extend(found);
        }
        let Some(constants) = &self.constants else { return };
        let (View::Tuple(elements) | View::List(elements)) = constants.view(constants.root()) else { return };
        for (i, &id) in elements.iter().enumerate() {
            if let View::Tensor(tensor) = constants.view(id) {
                let info = constants.tensors.described(id).map(|found| found.info.clone()).unwrap_or_default();
                self.tensors.push(NamedTensor { name: format!("CONSTANTS.c{i}"), info, tensor: tensor.clone() });
            }
        }
    }

    /// The bytes of the file.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.source.len());
        self.source.pieces(0..self.source.len(), &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// The version of the file's format.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The class of the module that was saved, as Python named it.
    pub fn class_path(&self) -> String {
        self.class_name(self.records.root()).map(|name| plain(&name)).unwrap_or_default()
    }

    /// The parameters, buffers and constants, under their names in the module.
    pub fn tensors(&self) -> impl Iterator<Item = &NamedTensor> {
        self.tensors.iter()
    }

    /// The number of elements of its parameters, those that share memory counted once.
    pub fn parameter_count(&self) -> usize {
        let mut seen = HashSet::new();
        let tensors = self.tensors.iter().filter(|named| named.info.is_parameter);
        let tensors = tensors.filter_map(|named| named.tensor.as_ref().ok());
        let new = |tensor: &&crate::tensor::Tensor| {
            let storage = Arc::as_ptr(tensor.storage());
            seen.insert((storage, tensor.offset(), tensor.shape().to_vec(), tensor.strides().to_vec()))
        };
        tensors.filter(new).fold(0, |sum, tensor| sum.saturating_add(tensor.numel()))
    }

    /// What it takes, in the order of forward's parameters; those that have a default come behind the others. Shapes are
    /// those that it was traced with, none for a scripted module.
    pub fn inputs(&self) -> Vec<ModuleInput> {
        let names = forms::names(&self.inputs);
        let input = |(at, name): (usize, String)| {
            let traced = self.traced.get(at).filter(|_| self.traced.len() == names.len());
            let is_float = traced.is_none_or(|(dtype, _)| dtype.is_float());
            let shape = traced.map(|(_, shape)| shape.iter().map(|&size| Dim::Size(size)).collect());
            ModuleInput { name, dtype: if is_float { DType::F64 } else { DType::I64 }, shape }
        };
        names.iter().cloned().enumerate().map(input).collect()
    }

    /// The graph for the shapes that the module was traced with; an error that asks for shapes where the file has none.
    pub fn example(&self) -> Result<Graph> {
        self.graph_of(&self.shapes()?)
    }

    /// The shapes that the module was traced with.
    pub(crate) fn shapes(&self) -> Result<Vec<Vec<Dim>>> {
        let shapes: Option<Vec<Vec<Dim>>> = self.inputs().into_iter().map(|input| input.shape).collect();
        shapes.ok_or_else(|| {
            let names: Vec<String> = forms::names(&self.inputs).iter().map(|name| format!("`{name}`")).collect();
            let names = names.join(", ");
            Error::argument(format!("scripted code takes inputs of many shapes; give the shape of {names}"))
        })
    }

    /// How many calls of each operation stand in the code that the forward may reach, by name.
    pub fn operations(&self) -> Vec<(String, usize)> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let functions = self.units.values().flat_map(|unit| {
            unit.functions.values().chain(unit.classes.values().flat_map(|class| class.methods.values()))
        });
        for step in functions.flat_map(|function| &function.steps) {
            if let Step::Call(code::Call { callee: code::Callee::Global(name), .. }) = step
                && let Some(name) = name.strip_prefix("torch.")
                && !super::aten::overloads(name).is_empty()
            {
                *counts.entry(format!("aten.{}", printable(name))).or_default() += 1;
            }
        }
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        counts
    }

    /// The graph for inputs of these shapes, one for each of [`Script::inputs`]; further ones are for parameters of
    /// forward that have a default. Names all operations that are not supported, with the place of each call; what depends on the inputs' values
    /// and not on their shapes alone is an error.
    pub fn graph_of(&self, shapes: &[Vec<Dim>]) -> Result<Graph> {
        Ok(self.inferred(shapes)?.0)
    }

    /// The same with the integers of the inputs that hold such, one input after another; the graph has the other inputs.
    /// What depends on integers alone is computed at once, so that they may be indices of any operation.
    pub fn graph_given(&self, shapes: &[Vec<Dim>], integers: &[i64]) -> Result<Graph> {
        Ok(self.specialised(shapes, integers)?.0)
    }

    /// That graph, and all inputs with their types and shapes.
    ///
    /// Scripted code does not say which inputs hold integers. Those do that are used as indices; where these do not take
    /// all integers that are given, the inputs with as many elements do for which the code can be run.
    pub(crate) fn specialised(&self, shapes: &[Vec<Dim>], integers: &[i64]) -> Result<(Graph, Vec<ModuleInput>)> {
        let inferred = self.inferred(shapes);
        let Some(counts) = counts(shapes) else { return self.open(inferred?, integers) };
        let total = |set: &HashSet<usize>| set.iter().map(|&at| counts.get(at).copied().unwrap_or(0)).sum::<usize>();
        let typed = |set: &HashSet<usize>, dtype: DType| match forms::graph(self, shapes, set, Some((integers, dtype)))?
        {
            forms::Outcome::Graph(graph, inputs) => Ok((graph, inputs)),
            forms::Outcome::Integers(_) => Err(Error::unsupported("an input of floating-point numbers as an index")),
        };
        // Code that refuses integers may take truth values.
        let may_be_bools = integers.iter().all(|v| matches!(v, 0 | 1));
        let given = |set: &HashSet<usize>| match typed(set, DType::I64) {
            Err(error) if may_be_bools => typed(set, DType::Bool).map_err(|_| error),
            done => done,
        };
        if let Some(known) = self.traced_integers() {
            return if total(&known) == integers.len() { given(&known) } else { self.open(inferred?, integers) };
        }
        if let Ok((_, inputs)) = &inferred {
            let set = (0..inputs.len()).filter(|&at| !inputs[at].dtype.is_float()).collect();
            if total(&set) == integers.len() {
                return given(&set);
            }
        }
        let sets = subsets(&counts, integers.len());
        let (found, failed): (Vec<_>, Vec<_>) = sets.iter().map(given).partition(Result::is_ok);
        let mut found: Vec<(Graph, Vec<ModuleInput>)> = found.into_iter().flatten().collect();
        match (found.len(), failed.into_iter().find_map(Result::err)) {
            (1, _) => Ok(found.swap_remove(0)),
            (0, Some(error)) => Err(error),
            (0, None) => self.open(inferred?, integers),
            (count, _) => Err(Error::argument(format!(
                "the {} integers may be those of {count} different inputs, and scripted code does not say which hold integers; \
                 save the module with torch.jit.trace or torch.export",
                integers.len()
            ))),
        }
    }

    /// Which inputs hold integers, by their sizes alone.
    pub(crate) fn integers_by_size(&self, shapes: &[Vec<Dim>], integers: &[i64]) -> Option<HashSet<usize>> {
        let mut sets = subsets(&counts(shapes)?, integers.len());
        if sets.len() == 1 { sets.pop() } else { None }
    }

    /// The integers given to a graph with inputs for them.
    fn open(&self, (graph, inputs): (Graph, Vec<ModuleInput>), integers: &[i64]) -> Result<(Graph, Vec<ModuleInput>)> {
        Ok((graph.with_integers(integers)?, inputs))
    }

    /// Which inputs held integers when the module was traced.
    fn traced_integers(&self) -> Option<HashSet<usize>> {
        let all = 0..self.traced.len();
        (self.traced.len() == forms::names(&self.inputs).len() && !all.is_empty())
            .then(|| all.filter(|&at| !self.traced[at].0.is_float()).collect())
    }

    /// The type of an input of integers where it was traced: bools or integers.
    fn integer_type(&self, input: usize) -> Option<DType> {
        self.traced.get(input).map(|(dtype, _)| *dtype)
    }

    /// The graph with inputs of integers where the trace says so, or the use of an input as an index.
    fn inferred(&self, shapes: &[Vec<Dim>]) -> Result<(Graph, Vec<ModuleInput>)> {
        let mut integers = self.traced_integers().unwrap_or_default();
        loop {
            match forms::graph(self, shapes, &integers, None)? {
                forms::Outcome::Graph(graph, inputs) => return Ok((graph, inputs)),
                forms::Outcome::Integers(input) => {
                    if !integers.insert(input) {
                        return Err(Error::internal("an input of integers is one of floats"));
                    }
                }
            }
        }
    }

    /// The name of an object's class as the code knows it.
    fn class_name(&self, id: RecordId) -> Option<String> {
        match self.records.view(id) {
            View::Object(object) => {
                self.records.class(object).map(|global| format!("{}.{}", global.module, global.name))
            }
            _ => None,
        }
    }

    fn class_of(&self, id: RecordId) -> Result<&Class> {
        let name = self.class_name(id).unwrap_or_default();
        self.class(&name).ok_or_else(|| {
            let place =
                self.paths.get(&id).filter(|path| !path.is_empty()).map(|path| format!("`{}`", printable(path)));
            let place = place.unwrap_or_else(|| "the model".to_owned());
            Error::format(format!("the file has no code of its class {}", printable(&name))).at(place)
        })
    }

    fn class(&self, name: &str) -> Option<&Class> {
        let (unit, name) = name.rsplit_once('.')?;
        self.units.get(unit)?.classes.get(name)
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        let (unit, name) = name.rsplit_once('.')?;
        self.units.get(unit)?.functions.get(name).cloned()
    }

    fn attribute(&self, id: RecordId, name: &str) -> Option<RecordId> {
        match self.records.view(id) {
            View::Object(object) => self.records.attributes(object)?.get(name),
            _ => None,
        }
    }

    /// The path of an attribute of a module.
    fn path_of(&self, id: RecordId, name: &str) -> String {
        match self.paths.get(&id).map(String::as_str) {
            None | Some("") => printable(name).into_owned(),
            Some(path) => printable(&format!("{path}.{name}")).into_owned(),
        }
    }

    /// A module as error messages name it: ``layer `features.0` (torch.nn.modules.conv.Conv2d)``.
    fn scope(&self, id: RecordId) -> String {
        let class = self.class_name(id).map(|name| plain(&name)).unwrap_or_default();
        match self.paths.get(&id).map(String::as_str) {
            None | Some("") => format!("the model ({class})"),
            Some(path) => format!("layer `{}` ({class})", printable(path)),
        }
    }

    /// The line of the source that a byte of a record of code comes from, where the file says it.
    fn source(&self, record: &str, byte: u32) -> Option<String> {
        self.sources.get(record)?.line(byte)
    }
}

/// The numbers of elements of inputs of these shapes, if all sizes are known.
fn counts(shapes: &[Vec<Dim>]) -> Option<Vec<usize>> {
    let count = |shape: &Vec<Dim>| shape.iter().try_fold(1usize, |count, dim| Some(count.saturating_mul(dim.size()?)));
    shapes.iter().map(count).collect()
}

/// The sets of inputs that together have so many elements; none of more inputs than can be tried.
fn subsets(counts: &[usize], total: usize) -> Vec<HashSet<usize>> {
    const MOST: usize = 10;
    if total == 0 || counts.len() > MOST {
        return Vec::new();
    }
    let members = |bits: usize| (0..counts.len()).filter(move |at| bits >> at & 1 == 1);
    let fits = |&bits: &usize| members(bits).map(|at| counts[at]).fold(0, usize::saturating_add) == total;
    (1..1usize << counts.len()).filter(fits).map(|bits| members(bits).collect()).collect()
}

/// A class as Python named it: without the prefix of serialized names and the numbers that tell classes of one name apart.
fn plain(name: &str) -> String {
    let parts = name.split('.').filter(|part| *part != "__torch__" && !part.starts_with("___torch_mangle_"));
    printable(&parts.collect::<Vec<_>>().join(".")).into_owned()
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({}, version {})", self.class_path(), self.version)
    }
}
