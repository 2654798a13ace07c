//! The JSON that `torch.export.save` writes, schema 8 (torch's `_export/serde/schema.py`). Fields that later minor
//! versions add are passed over, those that earlier ones lack have their old meaning.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Deserializer, de};

use crate::{Error, Result};

/// The major version whose meaning is known.
pub(super) const MAJOR: u64 = 8;

/// An integer that may be an expression of symbols.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names, reason = "the names in torch's schema")]
pub(super) enum SymInt {
    AsInt(i64),
    AsExpr(Expression),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Expression {
    pub expr_str: String,
}

/// What is known of a tensor without its numbers.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TensorMeta {
    pub dtype: u8,
    pub sizes: Vec<SymInt>,
    pub strides: Vec<SymInt>,
    pub storage_offset: SymInt,
    pub layout: u8,
}

/// An integer, or the name of a value that holds one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names, reason = "the names in torch's schema")]
pub(super) enum SymArgument {
    AsName(String),
    AsInt(i64),
    AsFloat(Number),
    AsBool(bool),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Name {
    pub name: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names, reason = "the names in torch's schema")]
pub(super) enum OptionalTensor {
    AsTensor(Name),
    AsNone(de::IgnoredAny),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Subgraph {
    pub graph: Box<Graph>,
}

/// An argument or a result.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names, reason = "the names in torch's schema")]
pub(super) enum Argument {
    AsNone(de::IgnoredAny),
    AsTensor(Name),
    AsTensors(Vec<Name>),
    AsInt(i64),
    AsInts(Vec<i64>),
    AsFloat(Number),
    AsFloats(Vec<Number>),
    AsString(String),
    AsStrings(Vec<String>),
    AsSymInt(SymArgument),
    AsSymInts(Vec<SymArgument>),
    AsScalarType(u8),
    AsMemoryFormat(u8),
    AsLayout(u8),
    AsDevice(de::IgnoredAny),
    AsBool(bool),
    AsBools(Vec<bool>),
    AsSymBool(SymArgument),
    AsSymBools(Vec<SymArgument>),
    AsGraph(Subgraph),
    AsOptionalTensors(Vec<OptionalTensor>),
    AsCustomObj(de::IgnoredAny),
    AsOperator(String),
    AsSymFloat(SymArgument),
    AsSymFloats(Vec<SymArgument>),
    AsOptionalTensor(OptionalTensor),
    AsComplex(Complex),
    AsNestedTensors(Vec<Vec<Name>>),
    AsIntLists(Vec<Vec<i64>>),
    AsStringToArgument(de::IgnoredAny),
    AsFloatLists(Vec<Vec<Number>>),
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Complex {
    pub real: Number,
    pub imag: Number,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct NamedArgument {
    #[serde(default)]
    pub name: String,
    pub arg: Argument,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Node {
    pub target: String,
    pub inputs: Vec<NamedArgument>,
    pub outputs: Vec<Argument>,
    #[serde(default)]
    pub metadata: HashMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Graph {
    pub inputs: Vec<Argument>,
    pub outputs: Vec<Argument>,
    pub nodes: Vec<Node>,
    #[serde(default)]
    pub tensor_values: HashMap<String, TensorMeta>,
}

/// What an input of the graph stands for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum InputSpec {
    UserInput(UserSpec),
    Parameter {
        arg: Name,
        parameter_name: String,
    },
    Buffer {
        arg: Name,
        buffer_name: String,
    },
    TensorConstant {
        arg: Name,
        tensor_constant_name: String,
    },
    CustomObj {
        custom_obj_name: String,
    },
    Token {
        arg: Name,
    },
    /// A value that is no tensor, which was the same whenever the model was called.
    ConstantInput(de::IgnoredAny),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct UserSpec {
    pub arg: Argument,
}

/// What an output of the graph stands for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutputSpec {
    UserOutput(UserSpec),
    LossOutput { arg: Name },
    BufferMutation(de::IgnoredAny),
    ParameterMutation(de::IgnoredAny),
    GradientToParameter(de::IgnoredAny),
    GradientToUserInput(de::IgnoredAny),
    UserInputMutation(de::IgnoredAny),
    Token(de::IgnoredAny),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Signature {
    pub input_specs: Vec<InputSpec>,
    pub output_specs: Vec<OutputSpec>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct CallSignature {
    pub in_spec: String,
    pub out_spec: String,
    #[serde(default)]
    pub forward_arg_names: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct CallEntry {
    pub fqn: String,
    #[serde(default)]
    pub signature: Option<CallSignature>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct GraphModule {
    pub graph: Graph,
    pub signature: Signature,
    #[serde(default)]
    pub module_call_graph: Vec<CallEntry>,
    /// The fields of named tuples, by the names of their classes.
    #[serde(default)]
    pub treespec_namedtuple_fields: HashMap<String, NamedTuple>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct NamedTuple {
    pub field_names: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    pub min_val: Option<i64>,
    #[serde(default)]
    pub max_val: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ExportedProgram {
    pub graph_module: GraphModule,
    #[serde(default)]
    pub range_constraints: HashMap<String, Range>,
    #[serde(default)]
    pub torch_version: String,
}

#[derive(Deserialize)]
struct SchemaVersion {
    major: u64,
    minor: u64,
}

#[derive(Deserialize)]
struct Versioned {
    schema_version: SchemaVersion,
}

/// Where the numbers of a weight or a constant lie.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Payload {
    pub path_name: String,
    #[serde(default)]
    pub is_param: bool,
    #[serde(default)]
    pub use_pickle: bool,
    #[serde(default)]
    pub tensor_meta: Option<TensorMeta>,
}

#[derive(Deserialize)]
pub(super) struct PayloadConfig {
    pub config: HashMap<String, Payload>,
}

/// A float, which JSON cannot hold where it is not finite: torch writes those as strings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, \"Infinity\", \"-Infinity\" or \"NaN\"")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Number, E> {
                match value {
                    "Infinity" => Ok(Number(f64::INFINITY)),
                    "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
                    "NaN" => Ok(Number(f64::NAN)),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Reads a record of JSON; the error says where in it.
pub(super) fn parse<T: de::DeserializeOwned>(record: &str, bytes: &[u8]) -> Result<T> {
    let quoted = quote_numbers(bytes);
    serde_json::from_slice(quoted.as_deref().unwrap_or(bytes))
        .map_err(|e| Error::format(e.to_string()).at(format!("record `{record}`")))
}

/// The program of a record, if its schema is one whose meaning is known.
pub(super) fn program(record: &str, bytes: &[u8]) -> Result<ExportedProgram> {
    let Versioned { schema_version: SchemaVersion { major, minor } } = parse(record, bytes)?;
    if major != MAJOR {
        let error = Error::unsupported(format!(
            "its schema version is {major}.{minor}, but only version {MAJOR} is read, that of torch 2.13; export the \
             model again with it"
        ));
        return Err(error.at(format!("record `{record}`")));
    }
    parse(record, bytes)
}

/// Earlier versions wrote numbers that are not finite as Python prints them, which is no JSON: the same with quotes,
/// where there are any.
fn quote_numbers(bytes: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let (mut out, mut copied, mut at, mut in_string) = (Vec::new(), 0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'-' | b'I' | b'N' if !in_string => {
                if let Some(word) = WORDS.iter().find(|word| bytes[at..].starts_with(word)) {
                    out.extend_from_slice(&bytes[copied..at]);
                    out.push(b'"');
                    out.extend_from_slice(word);
                    out.push(b'"');
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    (copied > 0).then(|| [&out, &bytes[copied..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_reads_numbers_that_are_not_finite() {
        let read = |text: &str| parse::<Vec<Number>>("x", text.as_bytes()).map(|all| all.iter().map(|n| n.0).collect());
        let numbers: Vec<f64> = read(r#"[1, -2.5, "Infinity", "-Infinity", Infinity, -Infinity]"#).unwrap();
        assert_eq!(numbers, [1.0, -2.5, f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY, f64::NEG_INFINITY]);
        assert!(read(r#"["NaN", NaN]"#).unwrap().iter().all(|n: &f64| n.is_nan()));
        let error = read(r#"["inf"]"#).unwrap_err();
        assert!(error.message().starts_with("record `x`: invalid value: string \"inf\""), "{error}");
        let texts: Vec<String> = parse("x", br#"["a \" Infinity", "NaN"]"#).unwrap();
        assert_eq!(texts, ["a \" Infinity", "NaN"]);
    }

    #[test]
    fn load_refuses_schemas_that_it_does_not_know() {
        let error = program("models/model.json", br#"{"schema_version": {"major": 9, "minor": 1}}"#).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
        assert!(error.message().contains("9.1"), "{error}");
        let error = program("models/model.json", b"{}").unwrap_err();
        assert!(error.message().contains("missing field `schema_version`"), "{error}");
    }
}
