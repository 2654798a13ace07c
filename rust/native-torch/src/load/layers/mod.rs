//! torch's own layers. To add one, write its rule in the file of its family and a line in the table below.

mod activation;
mod conv;
mod linear;
mod norm;
mod pool;
mod reshape;

use std::{fmt, sync::Arc};

use super::{fields::Fields, records::Global};
use crate::{
    Error, Result,
    graph::{Builder, Dim, ValueId, format_shape},
    tensor::Tensor,
};

/// Reads a layer from its attributes; an error of kind `Unsupported` becomes the reason why it cannot be used.
type Reader = fn(&Fields) -> Result<Standard>;

/// Every layer that is known, by its class in `torch.nn.modules`.
const TABLE: &[(&str, Reader)] = &[
    ("linear.Linear", linear::linear),
    ("linear.Identity", reshape::identity),
    ("conv.Conv2d", conv::conv2d),
    ("pooling.AvgPool2d", pool::avg_pool2d),
    ("pooling.MaxPool2d", pool::max_pool2d),
    ("normalization.LayerNorm", norm::layer_norm),
    ("flatten.Flatten", reshape::flatten),
    ("dropout.Dropout", reshape::dropout),
    ("activation.CELU", activation::celu),
    ("activation.ELU", activation::elu),
    ("activation.GELU", activation::gelu),
    ("activation.Hardshrink", activation::hardshrink),
    ("activation.Hardsigmoid", activation::hardsigmoid),
    ("activation.Hardswish", activation::hardswish),
    ("activation.Hardtanh", activation::hardtanh),
    ("activation.LeakyReLU", activation::leaky_relu),
    ("activation.LogSigmoid", activation::log_sigmoid),
    ("activation.Mish", activation::mish),
    ("activation.RReLU", activation::rrelu),
    ("activation.ReLU", activation::relu),
    ("activation.ReLU6", activation::relu6),
    ("activation.SELU", activation::selu),
    ("activation.Sigmoid", activation::sigmoid),
    ("activation.SiLU", activation::silu),
    ("activation.Softmax", activation::softmax),
    ("activation.Softplus", activation::softplus),
    ("activation.Softshrink", activation::softshrink),
    ("activation.Softsign", activation::softsign),
    ("activation.Tanh", activation::tanh),
    ("activation.Tanhshrink", activation::tanhshrink),
    ("activation.Threshold", activation::threshold),
];

/// The reader of a class.
pub(super) fn reader(class: &Global) -> Option<Reader> {
    let family = class.module.strip_prefix("torch.nn.modules.")?;
    let entry = TABLE.iter().find(|(name, _)| name.split_once('.') == Some((family, class.name.as_str())))?;
    Some(entry.1)
}

/// The Python module below `torch.nn.modules` that defines a class.
pub(super) fn family(class: &str) -> Option<&'static str> {
    TABLE.iter().filter_map(|(name, _)| name.split_once('.')).find(|(_, name)| *name == class).map(|(family, _)| family)
}

/// The names of all classes that are known, for error messages.
pub(super) fn known() -> String {
    let names: Vec<&str> = TABLE.iter().filter_map(|(name, _)| Some(name.split_once('.')?.1)).collect();
    names.join(", ")
}

/// What a layer says about the shape of its input.
pub(super) enum Expects {
    /// It takes any shape and keeps it.
    Any,
    /// It takes this shape.
    Shape(Vec<Dim>),
    /// What it does depends on a shape that it does not say.
    Given,
}

/// The rule of a layer.
trait Rule: fmt::Debug + Send + Sync {
    /// The attributes as torch prints them: names with values.
    fn arguments(&self) -> Vec<(&'static str, String)>;
    /// What it says about its input.
    fn expects(&self) -> Expects;
    /// Adds its operations to the graph.
    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId>;
}

/// Where a layer's operations go: the graph, and the layer's path for the names of its parameters.
pub(super) struct Place<'a> {
    pub builder: &'a mut Builder,
    pub path: &'a str,
    /// The layer as errors name it.
    pub scope: &'a str,
}

impl Place<'_> {
    /// A parameter under its name in the state dict.
    pub fn parameter(&mut self, name: &str, tensor: &Tensor) -> ValueId {
        let name = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        self.builder.parameter(&name, tensor.clone())
    }

    /// The number of dimensions of a value.
    pub fn rank(&self, x: ValueId) -> usize {
        self.builder.ty(x).rank()
    }

    /// An error that an input does not suit the layer: its shape, and what is wrong with it.
    pub fn wrong_input(&self, x: ValueId, what: &str) -> Error {
        let shape = format_shape(&self.builder.ty(x).shape);
        Error::argument(format!("the input has shape {shape}, {what}")).at(self.scope)
    }
}

/// A layer of torch's own whose rule is known.
#[derive(Clone, Debug)]
pub struct Standard(Arc<dyn Rule>);

impl Standard {
    fn new(rule: impl Rule + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// Its attributes as torch prints them: names with values.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        self.0.arguments()
    }

    pub(super) fn expects(&self) -> Expects {
        self.0.expects()
    }

    pub(super) fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        self.0.apply(x, place)
    }
}

/// As Python prints a bool.
fn python_bool(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

/// As Python prints a tuple of ints.
fn python_tuple(values: &[usize]) -> String {
    match values {
        [one] => format!("({one},)"),
        several => format!("({})", several.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// A dimension counted from the end where it is negative; `None` outside the rank.
fn resolve(dim: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let resolved = if dim < 0 { dim.checked_add(rank)? } else { dim };
    usize::try_from(resolved).ok().filter(|_| resolved < rank)
}
