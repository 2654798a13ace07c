//! Where an archive of `torch.export.save` keeps its program and its tensors: the layout of torch 2.8 and later with a
//! folder for each kind of record, and the flat one of torch 2.7 and earlier.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{Checkpoint, NamedTensor, TensorInfo, archive::Archive, records::printable, tensors::Described},
    schema::{self, ExportedProgram, Payload, PayloadConfig, SymInt, TensorMeta},
};
use crate::{
    Error, Result,
    tensor::{DType, Source, Storage, Tensor},
};

/// What an archive holds.
pub(super) struct Contents {
    /// The record that holds the program.
    pub record: String,
    pub program: ExportedProgram,
    /// Parameters and persistent buffers.
    pub weights: HashMap<String, Described>,
    /// Constants and buffers that are not persistent.
    pub constants: HashMap<String, Described>,
    pub records: Vec<Arc<Storage>>,
}

/// Files longer than this are not read as JSON: torch's largest models take some MB.
const JSON_LIMIT: usize = 1 << 29;

const FLAT_PROGRAM: &str = "serialized_exported_program.json";

/// Whether a record of this name, below the top folder, belongs to an archive of `torch.export.save`.
pub(in super::super) fn is_record_of_program(name: &str) -> bool {
    name == FLAT_PROGRAM || model_name(name).is_some()
}

/// Whether a record of this name belongs to a package that AOTInductor compiled.
pub(in super::super) fn is_record_of_package(name: &str) -> bool {
    name.starts_with("data/aotinductor/")
}

fn model_name(record: &str) -> Option<&str> {
    record.strip_prefix("models/")?.strip_suffix(".json")
}

/// Reads the archive's directory, the program, and where its tensors are.
pub(super) fn read(source: &Arc<Source>, archive: Archive, big_endian: bool) -> Result<Contents> {
    let names: Vec<&str> = archive.names().filter_map(model_name).collect();
    let (record, name) = match names[..] {
        [] => (FLAT_PROGRAM.to_owned(), None),
        [name] => (format!("models/{name}.json"), Some(name.to_owned())),
        // torch.export.load gives the model of this name, too.
        _ if names.contains(&"model") => ("models/model.json".to_owned(), Some("model".to_owned())),
        _ => {
            return Err(Error::unsupported(format!(
                "the archive holds several models, {}, and none is called `model`; save each into a file of its own",
                names.join(", ")
            )));
        }
    };
    let stored = archive.record(&record).ok_or_else(|| Error::internal("the archive holds no program"))?;
    if stored.len() > JSON_LIMIT {
        return Err(Error::unsupported(format!(
            "record `{record}` has {} bytes, more than {JSON_LIMIT}",
            stored.len()
        )));
    }
    let program = schema::program(&record, &stored.to_bytes()?)?;
    let records: HashMap<String, Arc<Storage>> = archive
        .into_records()
        .into_iter()
        .map(|record| (record.name().to_owned(), Arc::new(record.with_big_endian(big_endian))))
        .collect();
    let reader = Reader { source, records: &records };
    let (weights, constants) = match name {
        Some(name) => (
            reader.payloads("data/weights/", "weights", &name)?,
            reader.payloads("data/constants/", "constants", &name)?,
        ),
        None => (reader.flat("state_dict")?, reader.flat("constants")?),
    };
    let mut records: Vec<Arc<Storage>> = records.into_values().collect();
    records.sort_by_key(|record| record.location().1.start);
    Ok(Contents { record, program, weights, constants, records })
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    records: &'a HashMap<String, Arc<Storage>>,
}

impl Reader<'_> {
    fn record(&self, name: &str) -> Result<&Arc<Storage>> {
        self.records.get(name).ok_or_else(|| Error::format(format!("record `{name}` is missing from the archive")))
    }

    /// The tensors that a folder's list of contents names.
    fn payloads(&self, folder: &str, kind: &str, model: &str) -> Result<HashMap<String, Described>> {
        // torch 2.8 wrote all of them with torch.save.
        let saved = format!("{folder}{model}.pt");
        if self.records.contains_key(&saved) {
            return self.saved(&saved);
        }
        let list = format!("{folder}{model}_{kind}_config.json");
        let PayloadConfig { config } = schema::parse(&list, &self.record(&list)?.to_bytes()?)?;
        let tensor = |(name, payload): (String, Payload)| {
            let described = self.payload(folder, &payload);
            described
                .map(|described| (name.clone(), described))
                .map_err(|e| e.at(format!("tensor `{}`", printable(&name))).at(format!("record `{list}`")))
        };
        config.into_iter().map(tensor).collect()
    }

    fn payload(&self, folder: &str, payload: &Payload) -> Result<Described> {
        let name = format!("{folder}{}", payload.path_name);
        let record = self.record(&name)?;
        let meta = match &payload.tensor_meta {
            Some(meta) if !payload.use_pickle => meta,
            // An object of a class of the user's, which only an operation that needs it refuses.
            None => {
                let info = TensorInfo { kind: "object".to_owned(), ..TensorInfo::default() };
                let error = Error::unsupported("it is no tensor, but an object of a class that torch does not define");
                return Ok(Described { info, tensor: Err(error) });
            }
            Some(_) => {
                let mut tensors = self.open(record)?.tensors()?;
                let whole = tensors.len() == 1 && tensors[0].name.is_empty();
                let found = tensors.pop().filter(|_| whole);
                let found = found.ok_or_else(|| Error::format(format!("record `{name}` holds no tensor")))?;
                return Ok(Described { info: found.info, tensor: found.tensor });
            }
        };
        let mut described = described(meta, record)?;
        described.info.is_parameter = payload.is_param;
        Ok(described)
    }

    /// The tensors of a record that torch.save wrote.
    fn saved(&self, record: &str) -> Result<HashMap<String, Described>> {
        let stored = self.record(record)?;
        // Without tensors, torch 2.7 and earlier write nothing at all.
        if stored.is_empty() {
            return Ok(HashMap::new());
        }
        let tensors = self.open(stored)?.tensors().map_err(|e| e.at(format!("record `{record}`")))?;
        let named = |found: NamedTensor| (found.name, Described { info: found.info, tensor: found.tensor });
        Ok(tensors.into_iter().map(named).collect())
    }

    fn open(&self, record: &Storage) -> Result<Checkpoint> {
        let source = Source::part(self.source, record.location().1)?;
        Checkpoint::read(&source).map_err(|e| e.at(format!("record `{}`", record.name())))
    }

    /// The tensors of the flat layout, whose oldest form has another ending with the same content.
    fn flat(&self, kind: &str) -> Result<HashMap<String, Described>> {
        let names = ["pt", "json"].map(|ending| format!("serialized_{kind}.{ending}"));
        match names.iter().find(|name| self.records.contains_key(*name)) {
            Some(name) => self.saved(name),
            // Constants have a record of their own since torch 2.3.
            None if kind == "constants" => Ok(HashMap::new()),
            None => self.record(&names[0]).map(|_| HashMap::new()),
        }
    }
}

/// torch's numbers for its dtypes in this schema.
const SCALAR_TYPES: [(u8, DType); 21] = [
    (1, DType::U8),
    (2, DType::I8),
    (3, DType::I16),
    (4, DType::I32),
    (5, DType::I64),
    (6, DType::F16),
    (7, DType::F32),
    (8, DType::F64),
    (9, DType::C32),
    (10, DType::C64),
    (11, DType::C128),
    (12, DType::Bool),
    (13, DType::BF16),
    (28, DType::U16),
    (29, DType::F8E4M3FN),
    (30, DType::F8E5M2),
    (31, DType::F8E4M3FNUZ),
    (32, DType::F8E5M2FNUZ),
    (33, DType::F8E8M0FNU),
    (34, DType::U32),
    (35, DType::U64),
];

/// The dtype of a number in the schema.
pub(super) fn dtype(code: u8) -> Result<DType> {
    let entry = SCALAR_TYPES.iter().find(|entry| entry.0 == code);
    entry.map(|entry| entry.1).ok_or_else(|| {
        Error::unsupported(format!("the file gives the dtype the number {code}, which schema 8 does not define"))
    })
}

const STRIDED: u8 = 7;

fn described(meta: &TensorMeta, record: &Arc<Storage>) -> Result<Described> {
    let dtype = dtype(meta.dtype)?;
    let size = |size: &SymInt| match size {
        SymInt::AsInt(size) => {
            usize::try_from(*size).map_err(|_| Error::format(format!("its size or stride is {size}")))
        }
        SymInt::AsExpr(expression) => {
            Err(Error::format(format!("its size is the expression {}; a number is expected", expression.expr_str)))
        }
    };
    let sizes = |list: &[SymInt]| list.iter().map(size).collect::<Result<Vec<usize>>>();
    let (shape, strides) = (sizes(&meta.sizes)?, sizes(&meta.strides)?);
    let info = TensorInfo {
        kind: if meta.layout == STRIDED { "strided" } else { "sparse" }.to_owned(),
        dtype: Some(dtype.name().to_owned()),
        shape: Some(shape.clone()),
        is_parameter: false,
    };
    if meta.layout != STRIDED {
        let error = Error::unsupported(format!("its layout is number {}; dense tensors are read", meta.layout));
        return Ok(Described { info, tensor: Err(error) });
    }
    if !record.len().is_multiple_of(dtype.size()) {
        return Err(Error::format(format!(
            "record `{}` has {} bytes, which are no whole number of {} elements",
            record.name(),
            record.len(),
            dtype.name()
        )));
    }
    let tensor = Tensor::new(dtype, shape, strides, size(&meta.storage_offset)?, record.clone())?;
    Ok(Described { info, tensor: Ok(tensor) })
}
