//! torch's own layers. To add one, write its rule in the file of its family and a line in the table below.

mod activation;
mod batch_norm;
mod blocks;
mod conv;
mod embedding;
mod linear;
mod norm;
mod pad;
mod pair;
mod pool;
mod reshape;
mod upsample;

use std::{fmt, sync::Arc};

use super::{compose, fields::Fields, records::Global};
use crate::{
    Error, Result,
    graph::{Builder, Dim, ValueId, format_shape},
    tensor::Tensor,
};

/// Reads a layer from its attributes; an error of kind `Unsupported` becomes the reason why it cannot be used.
type Reader = fn(&Fields) -> Result<Standard>;

/// Every layer that is known, by its class in `torch.nn.modules`.
const TABLE: &[(&str, Reader)] = &[
    ("distance.CosineSimilarity", pair::cosine_similarity),
    ("distance.PairwiseDistance", pair::pairwise_distance),
    ("linear.Bilinear", pair::bilinear),
    ("linear.Linear", linear::linear),
    ("sparse.Embedding", embedding::embedding),
    ("linear.Identity", reshape::identity),
    ("conv.Conv1d", conv::convolution::<1>),
    ("conv.Conv2d", conv::convolution::<2>),
    ("conv.Conv3d", conv::convolution::<3>),
    ("conv.ConvTranspose1d", conv::transposed::<1>),
    ("conv.ConvTranspose2d", conv::transposed::<2>),
    ("conv.ConvTranspose3d", conv::transposed::<3>),
    ("pooling.AvgPool1d", pool::average::<1>),
    ("pooling.AvgPool2d", pool::average::<2>),
    ("pooling.AvgPool3d", pool::average::<3>),
    ("pooling.MaxPool1d", pool::maximum::<1>),
    ("pooling.MaxPool2d", pool::maximum::<2>),
    ("pooling.MaxPool3d", pool::maximum::<3>),
    ("pooling.AdaptiveAvgPool1d", pool::adaptive_average::<1>),
    ("pooling.AdaptiveAvgPool2d", pool::adaptive_average::<2>),
    ("pooling.AdaptiveAvgPool3d", pool::adaptive_average::<3>),
    ("pooling.AdaptiveMaxPool1d", pool::adaptive_maximum::<1>),
    ("pooling.AdaptiveMaxPool2d", pool::adaptive_maximum::<2>),
    ("pooling.AdaptiveMaxPool3d", pool::adaptive_maximum::<3>),
    ("batchnorm.BatchNorm1d", batch_norm::batch_norm1d),
    ("batchnorm.BatchNorm2d", batch_norm::batch_norm2d),
    ("batchnorm.BatchNorm3d", batch_norm::batch_norm3d),
    ("instancenorm.InstanceNorm1d", batch_norm::instance_norm1d),
    ("instancenorm.InstanceNorm2d", batch_norm::instance_norm2d),
    ("instancenorm.InstanceNorm3d", batch_norm::instance_norm3d),
    ("normalization.GroupNorm", norm::group_norm),
    ("normalization.LayerNorm", norm::layer_norm),
    ("normalization.LocalResponseNorm", norm::local_response_norm),
    ("normalization.RMSNorm", norm::rms_norm),
    ("flatten.Flatten", reshape::flatten),
    ("flatten.Unflatten", reshape::unflatten),
    ("pooling.LPPool1d", pool::power::<1>),
    ("pooling.LPPool2d", pool::power::<2>),
    ("pooling.LPPool3d", pool::power::<3>),
    ("padding.ConstantPad1d", pad::constant::<1>),
    ("padding.ConstantPad2d", pad::constant::<2>),
    ("padding.ConstantPad3d", pad::constant::<3>),
    ("padding.ZeroPad1d", pad::constant::<1>),
    ("padding.ZeroPad2d", pad::constant::<2>),
    ("padding.ZeroPad3d", pad::constant::<3>),
    ("padding.ReflectionPad1d", pad::reflection::<1>),
    ("padding.ReflectionPad2d", pad::reflection::<2>),
    ("padding.ReflectionPad3d", pad::reflection::<3>),
    ("padding.ReplicationPad1d", pad::replication::<1>),
    ("padding.ReplicationPad2d", pad::replication::<2>),
    ("padding.ReplicationPad3d", pad::replication::<3>),
    ("padding.CircularPad1d", pad::circular::<1>),
    ("padding.CircularPad2d", pad::circular::<2>),
    ("padding.CircularPad3d", pad::circular::<3>),
    ("upsampling.Upsample", upsample::upsample),
    ("upsampling.UpsamplingNearest2d", upsample::upsample),
    ("upsampling.UpsamplingBilinear2d", upsample::upsample),
    ("pixelshuffle.PixelShuffle", blocks::pixel_shuffle),
    ("pixelshuffle.PixelUnshuffle", blocks::pixel_unshuffle),
    ("channelshuffle.ChannelShuffle", blocks::channel_shuffle),
    ("fold.Fold", blocks::fold),
    ("fold.Unfold", blocks::unfold),
    ("dropout.Dropout", reshape::dropout),
    ("dropout.Dropout1d", reshape::dropout),
    ("dropout.Dropout2d", reshape::dropout),
    ("dropout.Dropout3d", reshape::dropout),
    ("dropout.AlphaDropout", reshape::dropout),
    ("dropout.FeatureAlphaDropout", reshape::dropout),
    ("activation.CELU", activation::celu),
    ("activation.ELU", activation::elu),
    ("activation.GELU", activation::gelu),
    ("activation.GLU", activation::glu),
    ("activation.Hardshrink", activation::hardshrink),
    ("activation.Hardsigmoid", activation::hardsigmoid),
    ("activation.Hardswish", activation::hardswish),
    ("activation.Hardtanh", activation::hardtanh),
    ("activation.LeakyReLU", activation::leaky_relu),
    ("activation.LogSigmoid", activation::log_sigmoid),
    ("activation.LogSoftmax", activation::log_softmax),
    ("activation.Mish", activation::mish),
    ("activation.PReLU", activation::prelu),
    ("activation.RReLU", activation::rrelu),
    ("activation.ReLU", activation::relu),
    ("activation.ReLU6", activation::relu6),
    ("activation.SELU", activation::selu),
    ("activation.Sigmoid", activation::sigmoid),
    ("activation.SiLU", activation::silu),
    ("activation.Softmax", activation::softmax),
    ("activation.Softmax2d", activation::softmax2d),
    ("activation.Softmin", activation::softmin),
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

/// All classes that are known, each behind the Python module below `torch.nn.modules` that defines it.
pub(super) fn classes() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().filter_map(|(name, _)| name.split_once('.'))
}

/// The names of all classes that are known, for error messages.
pub(super) fn known() -> String {
    classes().map(|(_, class)| class).collect::<Vec<_>>().join(", ")
}

/// What a layer says about the shape of its input.
pub(super) enum Expects {
    /// It takes any shape and keeps it.
    Any,
    /// It takes this shape.
    Shape(Vec<Dim>),
    /// What it does depends on a shape that it does not say.
    Given,
    /// It takes integers, of any shape.
    Integers,
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

/// The rule of a layer of two inputs.
pub(super) trait Pair: fmt::Debug + Send + Sync {
    /// The attributes as torch prints them: names with values.
    fn arguments(&self) -> Vec<(&'static str, String)>;
    /// The names of the inputs in torch's forward.
    fn names(&self) -> [&'static str; 2];
    /// The shapes that it takes, where it says so.
    fn shapes(&self) -> Option<[Vec<Dim>; 2]> {
        None
    }
    /// Adds its operations to the graph.
    fn apply(&self, pair: [ValueId; 2], place: &mut Place) -> Result<ValueId>;
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

    /// `w x + b` with the layer's `weight` and `bias` of one number for each channel, where it has them.
    pub fn affine_per_channel(
        &mut self,
        x: ValueId,
        behind: usize,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
    ) -> Result<ValueId> {
        let weight = weight.map(|tensor| self.parameter("weight", tensor));
        let bias = bias.map(|tensor| self.parameter("bias", tensor));
        compose::affine_per_channel(self.builder, x, behind, weight, bias)
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
pub struct Standard(Kind);

#[derive(Clone, Debug)]
enum Kind {
    One(Arc<dyn Rule>),
    Two(Arc<dyn Pair>),
}

impl Standard {
    fn new(rule: impl Rule + 'static) -> Self {
        Self(Kind::One(Arc::new(rule)))
    }

    fn of_pair(rule: impl Pair + 'static) -> Self {
        Self(Kind::Two(Arc::new(rule)))
    }

    /// The rule of a layer of two inputs, if it is one.
    pub(super) fn pair(&self) -> Option<&dyn Pair> {
        match &self.0 {
            Kind::One(_) => None,
            Kind::Two(rule) => Some(&**rule),
        }
    }

    /// Its attributes as torch prints them: names with values.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        match &self.0 {
            Kind::One(rule) => rule.arguments(),
            Kind::Two(rule) => rule.arguments(),
        }
    }

    pub(super) fn expects(&self) -> Expects {
        match &self.0 {
            Kind::One(rule) => rule.expects(),
            Kind::Two(_) => Expects::Given,
        }
    }

    pub(super) fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        match &self.0 {
            Kind::One(rule) => rule.apply(x, place),
            Kind::Two(_) => {
                Err(Error::unsupported("it takes two inputs, but stands where there is one").at(place.scope))
            }
        }
    }
}

/// As Python prints a bool.
fn python_bool(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

/// As Python prints a tuple of numbers.
fn python_tuple(values: &[impl fmt::Display]) -> String {
    match values {
        [one] => format!("({one},)"),
        several => format!("({})", several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// As Python prints a value that may be `None`.
fn python_option(value: Option<impl fmt::Display>) -> String {
    value.map_or("None".to_owned(), |value| value.to_string())
}

/// A dimension counted from the end where it is negative; `None` outside the rank.
fn resolve(dim: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let resolved = if dim < 0 { dim.checked_add(rank)? } else { dim };
    usize::try_from(resolved).ok().filter(|_| resolved < rank)
}
