//! Convolutions and transposed ones.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, python_tuple};
use crate::{
    Error, Result,
    graph::{Conv, Dim, Op, Padding, ValueId},
    tensor::Tensor,
};

#[derive(Debug)]
struct Convolution<const N: usize> {
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; N],
    /// As the file says it: `same`, `valid` or numbers.
    padding: String,
    mode: Mode,
    attributes: Conv,
    /// Of a transposed convolution.
    output_padding: Option<[usize; N]>,
    /// What is put around the input by an operation of its own: for every padding mode but zeros.
    pad: Option<(Vec<(isize, isize)>, Padding)>,
    weight: Tensor,
    bias: Option<Tensor>,
}

/// What a convolution's padding consists of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Zeros,
    Reflect,
    Replicate,
    Circular,
}

impl Mode {
    const ALL: [(&str, Mode, Option<Padding>); 4] = [
        ("zeros", Mode::Zeros, None),
        ("reflect", Mode::Reflect, Some(Padding::Reflect)),
        ("replicate", Mode::Replicate, Some(Padding::Replicate)),
        ("circular", Mode::Circular, Some(Padding::Circular)),
    ];

    fn entry(self) -> (&'static str, Mode, Option<Padding>) {
        Self::ALL[self as usize]
    }

    fn read(fields: &Fields) -> Result<Self> {
        let name = fields.text_or("padding_mode", "zeros")?;
        let entry = Self::ALL.iter().find(|entry| entry.0 == name);
        entry.map(|entry| entry.1).ok_or_else(|| {
            Error::format(format!(
                "attribute `padding_mode` is '{}'; zeros, reflect, replicate or circular is expected",
                name.escape_debug()
            ))
        })
    }
}

/// What both kinds of convolution have.
struct Common<const N: usize> {
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; N],
    stride: [usize; N],
    dilation: [usize; N],
    groups: usize,
    mode: Mode,
    weight: Tensor,
    bias: Option<Tensor>,
}

impl<const N: usize> Common<N> {
    fn read(fields: &Fields, transposed: bool) -> Result<Self> {
        let (in_channels, out_channels) = (fields.size("in_channels")?, fields.size("out_channels")?);
        let kernel: [usize; N] = fields.each("kernel_size", 1)?;
        let groups = fields.size("groups")?;
        if fields.bool_or("transposed", transposed)? != transposed {
            let value = python_bool(!transposed);
            return Err(Error::unsupported(format!("`transposed` is {value}, which torch's class never has")));
        }
        if groups == 0 || in_channels % groups != 0 || out_channels % groups != 0 {
            return Err(Error::format(format!(
                "attribute `groups` is {groups}, which does not divide in_channels={in_channels} and \
                 out_channels={out_channels}"
            )));
        }
        let because = format!(
            "in_channels={in_channels}, out_channels={out_channels}, kernel_size={kernel:?} and groups={groups}"
        );
        let channels =
            if transposed { [in_channels, out_channels / groups] } else { [out_channels, in_channels / groups] };
        let weight = fields.required_tensor("weight", &[&channels[..], &kernel].concat(), &because)?;
        let bias = fields.tensor_of("bias", &[out_channels], &because)?;
        let (stride, dilation) = (fields.each("stride", 1)?, fields.each("dilation", 1)?);
        let mode = Mode::read(fields)?;
        Ok(Self { in_channels, out_channels, kernel, stride, dilation, groups, mode, weight, bias })
    }

    /// The layer, with this padding as the file says it and as the operation takes it.
    fn layer(
        self,
        padding: String,
        amounts: [(usize, usize); N],
        output_padding: Option<[usize; N]>,
        pad: Option<(Vec<(isize, isize)>, Padding)>,
    ) -> Standard {
        let Self { in_channels, out_channels, kernel, stride, dilation, groups, mode, weight, bias } = self;
        let (stride, dilation) = (stride.to_vec(), dilation.to_vec());
        let attributes = Conv { stride, padding: amounts.to_vec(), dilation, groups };
        let layer = Convolution {
            in_channels,
            out_channels,
            kernel,
            padding,
            mode,
            attributes,
            output_padding,
            pad,
            weight,
            bias,
        };
        Standard::new(layer)
    }
}

pub(super) fn convolution<const N: usize>(fields: &Fields) -> Result<Standard> {
    let common = Common::<N>::read(fields, false)?;
    if fields.each_or("output_padding", 0, 0)? != [0; N] {
        return Err(Error::unsupported("`output_padding` is not 0, which this class of torch's never has"));
    }
    let (padding, amounts) = padding(fields, common.kernel, common.dilation)?;
    let Some(kind) = common.mode.entry().2 else {
        // Only read so that it does not count as unknown: torch computes it for every mode.
        fields.optional_sizes(STORED)?;
        if padding == "same" && common.stride != [1; N] {
            return Err(Error::format("padding='same' with a stride other than 1, which torch refuses"));
        }
        return Ok(common.layer(padding, amounts, None, None));
    };
    let amounts = stored_padding(fields)?.unwrap_or(amounts);
    let amounts = amounts.iter().map(|&(before, after)| {
        let small = |amount: usize| i32::try_from(amount).ok().map(|amount| amount as isize);
        small(before).zip(small(after)).ok_or_else(|| Error::format(format!("attribute `{STORED}` is too large")))
    });
    let amounts = amounts.collect::<Result<_>>()?;
    Ok(common.layer(padding, [(0, 0); N], None, Some((amounts, kind))))
}

pub(super) fn transposed<const N: usize>(fields: &Fields) -> Result<Standard> {
    let common = Common::<N>::read(fields, true)?;
    if common.mode != Mode::Zeros {
        let mode = common.mode.entry().0;
        return Err(Error::format(format!("padding_mode='{mode}', which torch refuses in a transposed convolution")));
    }
    fields.optional_sizes(STORED)?;
    let both: [usize; N] = fields.each("padding", 0)?;
    let more: [usize; N] = fields.each_or("output_padding", 0, 0)?;
    for (i, &more) in more.iter().enumerate() {
        let (stride, dilation) = (common.stride[i], common.dilation[i]);
        if more >= stride.max(dilation) {
            return Err(Error::format(format!(
                "attribute `output_padding` has the entry {more}; it must be smaller than the stride {stride} or the \
                 dilation {dilation}"
            )));
        }
    }
    Ok(common.layer(python_tuple(&both), both.map(|amount| (amount, amount)), Some(more), None))
}

/// The padding as the file says it, and what it comes to before and after each dimension.
fn padding<const N: usize>(
    fields: &Fields,
    kernel: [usize; N],
    dilation: [usize; N],
) -> Result<(String, [(usize, usize); N])> {
    match fields.text_if("padding") {
        Some("valid") => Ok(("valid".to_owned(), [(0, 0); N])),
        Some("same") => {
            // torch puts the odd one behind.
            let mut amounts = [(0, 0); N];
            for (amount, (kernel, dilation)) in amounts.iter_mut().zip(kernel.iter().zip(dilation)) {
                let total = dilation.checked_mul(kernel - 1);
                let total = total.ok_or_else(|| Error::format("kernel_size and dilation overflow"))?;
                *amount = (total / 2, total - total / 2);
            }
            Ok(("same".to_owned(), amounts))
        }
        Some(other) => Err(Error::format(format!(
            "attribute `padding` is '{}'; same, valid or ints are expected",
            other.escape_debug()
        ))),
        None => {
            let both: [usize; N] = fields.each("padding", 0)?;
            Ok((python_tuple(&both), both.map(|amount| (amount, amount))))
        }
    }
}

/// Where torch keeps what it gives to `F.pad` in the other modes: before and after, the last dimension first.
const STORED: &str = "_reversed_padding_repeated_twice";

/// What stands there; versions that did not store it computed it from the padding.
fn stored_padding<const N: usize>(fields: &Fields) -> Result<Option<[(usize, usize); N]>> {
    let Some(stored) = fields.optional_sizes(STORED)? else { return Ok(None) };
    let pairs: Vec<(usize, usize)> = stored.chunks_exact(2).rev().map(|pair| (pair[0], pair[1])).collect();
    let pairs = pairs.try_into().ok().filter(|_| stored.len() == 2 * N);
    let wrong = || Error::format(format!("attribute `{STORED}` is {stored:?}; {} ints are expected", 2 * N));
    pairs.map(Some).ok_or_else(wrong)
}

impl<const N: usize> Rule for Convolution<N> {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        let mut arguments = vec![
            ("in_channels", self.in_channels.to_string()),
            ("out_channels", self.out_channels.to_string()),
            ("kernel_size", python_tuple(&self.kernel)),
            ("stride", python_tuple(&self.attributes.stride)),
            ("padding", self.padding.clone()),
        ];
        arguments.extend(self.output_padding.map(|more| ("output_padding", python_tuple(&more))));
        arguments.extend([
            ("dilation", python_tuple(&self.attributes.dilation)),
            ("groups", self.attributes.groups.to_string()),
            ("bias", python_bool(self.bias.is_some())),
        ]);
        if self.mode != Mode::Zeros {
            arguments.push(("padding_mode", self.mode.entry().0.to_owned()));
        }
        arguments
    }

    fn expects(&self) -> Expects {
        let places = ["D", "H", "W", "L"];
        let places = if N == 1 { &places[3..] } else { &places[3 - N..3] };
        let channels = [Dim::symbol("N"), Dim::Size(self.in_channels)];
        Expects::Shape(channels.into_iter().chain(places.iter().map(|name| Dim::symbol(name))).collect())
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        // Checked before the padding, whose message would not name the ranks that a convolution takes.
        let rank = place.rank(x);
        if rank != N + 1 && rank != N + 2 {
            let (channels, places) = (self.in_channels, ["L", "H, W", "D, H, W"][N - 1]);
            let what = format!("but [N, {channels}, {places}] or [{channels}, {places}] is expected");
            return Err(place.wrong_input(x, &what));
        }
        let mut x = x;
        if let Some((amounts, padding)) = &self.pad
            && amounts.iter().any(|&amount| amount != (0, 0))
        {
            x = place.builder.node(Op::Pad { amounts: amounts.clone(), padding: *padding }, &[x])?;
        }
        let mut inputs = vec![x, place.parameter("weight", &self.weight)];
        inputs.extend(self.bias.as_ref().map(|bias| place.parameter("bias", bias)));
        let conv = self.attributes.clone();
        let op = match self.output_padding {
            None => Op::Conv(conv),
            Some(more) => Op::ConvTranspose { conv, output_padding: more.to_vec() },
        };
        place.builder.node(op, &inputs)
    }
}
