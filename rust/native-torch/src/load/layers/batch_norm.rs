//! BatchNorm and InstanceNorm, as they evaluate: with running statistics an affine function of each channel, without
//! them a normalisation of the numbers that are there.

use super::{Expects, Fields, Place, Rule, Standard, python_bool};
use crate::{
    Error, Result,
    graph::{Dim, Op, ValueId},
    load::{compose, value::python_float},
    tensor::Tensor,
};

#[derive(Debug)]
struct ChannelNorm {
    kind: Kind,
    /// The dimensions behind the channels that the layer is named after.
    spatial: usize,
    features: usize,
    eps: f64,
    momentum: Option<f64>,
    affine: bool,
    tracks: bool,
    /// The running mean and variance, where the layer evaluates with them.
    statistics: Option<[Tensor; 2]>,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
}

/// What is normalised together where there are no running statistics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A channel of the whole batch.
    Batch,
    /// A channel of each example.
    Instance,
}

macro_rules! readers {
    ($($name:ident: $kind:expr, $spatial:expr;)*) => {
        $(pub(super) fn $name(fields: &Fields) -> Result<Standard> {
            read(fields, $kind, $spatial)
        })*
    };
}

readers! {
    batch_norm1d: Kind::Batch, 1;
    batch_norm2d: Kind::Batch, 2;
    batch_norm3d: Kind::Batch, 3;
    instance_norm1d: Kind::Instance, 1;
    instance_norm2d: Kind::Instance, 2;
    instance_norm3d: Kind::Instance, 3;
}

fn read(fields: &Fields, kind: Kind, spatial: usize) -> Result<Standard> {
    let features = fields.size("num_features")?;
    let because = format!("the sizes num_features={features}");
    let optional = |name| if fields.has(name) { fields.tensor_of(name, &[features], &because) } else { Ok(None) };
    let running = [optional("running_mean")?, optional("running_var")?];
    // Only counts the batches of training.
    fields.mention::<()>("num_batches_tracked");
    let tracks = fields.bool_or("track_running_stats", true)?;
    let statistics = match running {
        // In evaluation a BatchNorm uses the statistics that it has, an InstanceNorm those that it says it tracks.
        [Some(mean), Some(variance)] if kind == Kind::Batch || tracks => Some([mean, variance]),
        [None, None] if kind == Kind::Batch || !tracks => None,
        _ if kind == Kind::Instance && !tracks => None,
        _ => {
            return Err(Error::format(
                "it has only a part of `running_mean` and `running_var`, or none although it tracks them; torch \
                 evaluates with both",
            ));
        }
    };
    let momentum = if fields.is_set("momentum") { Some(fields.float("momentum")?) } else { fields.mention("momentum") };
    Ok(Standard::new(ChannelNorm {
        kind,
        spatial,
        features,
        eps: fields.float("eps")?,
        momentum,
        affine: fields.bool_or("affine", true)?,
        tracks,
        statistics,
        weight: optional("weight")?,
        bias: optional("bias")?,
    }))
}

impl ChannelNorm {
    fn with_statistics(&self, x: ValueId, [mean, variance]: &[Tensor; 2], place: &mut Place) -> Result<ValueId> {
        let statistics = [place.parameter("running_mean", mean), place.parameter("running_var", variance)];
        let weight = self.weight.as_ref().map(|weight| place.parameter("weight", weight));
        let bias = self.bias.as_ref().map(|bias| place.parameter("bias", bias));
        let trailing = self.trailing(x, place);
        compose::with_statistics(place.builder, x, statistics, weight, bias, self.eps, trailing)
    }

    /// The dimensions behind the channels.
    fn trailing(&self, x: ValueId, place: &Place) -> usize {
        match self.kind {
            Kind::Batch => place.rank(x) - 2,
            Kind::Instance => self.spatial,
        }
    }

    fn without_statistics(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let rank = place.rank(x);
        let trailing = self.trailing(x, place);
        let shape = &place.builder.ty(x).shape;
        let together = shape[rank - trailing..].iter().chain((self.kind == Kind::Batch).then(|| &shape[0]));
        if together.map(Dim::size).collect::<Option<Vec<_>>>().is_some_and(|sizes| sizes.iter().product::<usize>() == 1)
        {
            let what = "but without running statistics more than one number per channel is needed; give another shape";
            return Err(place.wrong_input(x, what));
        }
        let normal = match self.kind {
            Kind::Instance => place.builder.node(Op::LayerNorm { axes: trailing, eps: self.eps }, &[x])?,
            Kind::Batch => compose::over_batch(place.builder, x, self.eps)?,
        };
        place.affine_per_channel(normal, trailing, self.weight.as_ref(), self.bias.as_ref())
    }
}

impl Rule for ChannelNorm {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("num_features", self.features.to_string()),
            ("eps", python_float(self.eps)),
            ("momentum", self.momentum.map_or("None".to_owned(), python_float)),
            ("affine", python_bool(self.affine)),
            ("track_running_stats", python_bool(self.tracks)),
        ]
    }

    fn expects(&self) -> Expects {
        if self.kind == Kind::Batch && self.spatial == 1 {
            return Expects::Given;
        }
        let spatial = ["D", "H", "W", "L"];
        let names = if self.spatial == 1 { &spatial[3..] } else { &spatial[3 - self.spatial..3] };
        let leading = [Dim::symbol("N"), Dim::Size(self.features)];
        Expects::Shape(leading.into_iter().chain(names.iter().map(|name| Dim::symbol(name))).collect())
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let rank = place.rank(x);
        let ranks = match (self.kind, self.spatial) {
            (Kind::Batch, 1) => 2..=3,
            (Kind::Batch, spatial) => spatial + 2..=spatial + 2,
            (Kind::Instance, spatial) => spatial + 1..=spatial + 2,
        };
        let fits = ranks.contains(&rank) && {
            let channels = &place.builder.ty(x).shape[rank - 1 - self.trailing(x, place)];
            let free = self.statistics.is_none() && self.weight.is_none() && self.bias.is_none();
            channels.agrees(&Dim::Size(self.features)) || (self.kind == Kind::Instance && free)
        };
        if !fits {
            let what = match self.kind {
                Kind::Batch if self.spatial == 1 => "[N, C] or [N, C, L]".to_owned(),
                Kind::Batch => format!("[N, C, ..] of rank {}", self.spatial + 2),
                Kind::Instance => format!("[N, C, ..] or [C, ..] with {} dimension(s) behind C", self.spatial),
            };
            return Err(place.wrong_input(x, &format!("but {what} with C={} is expected", self.features)));
        }
        match &self.statistics {
            Some(statistics) => self.with_statistics(x, statistics, place),
            None => self.without_statistics(x, place),
        }
    }
}
