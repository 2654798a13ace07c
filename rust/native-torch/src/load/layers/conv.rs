//! Convolutions.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, python_tuple};
use crate::{
    Error, Result,
    graph::{Conv, Dim, Op, Padding, ValueId},
    tensor::Tensor,
};

#[derive(Debug)]
struct Conv2d {
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; 2],
    /// As the file says it: `same`, `valid` or numbers.
    padding: String,
    mode: Mode,
    op: Conv,
    /// What is put around the input by an operation of its own: for every padding mode but zeros.
    pad: Option<(Vec<(usize, usize)>, Padding)>,
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

pub(super) fn conv2d(fields: &Fields) -> Result<Standard> {
    let (in_channels, out_channels) = (fields.size("in_channels")?, fields.size("out_channels")?);
    let kernel: [usize; 2] = fields.each("kernel_size", 1)?;
    let stride: [usize; 2] = fields.each("stride", 1)?;
    let dilation: [usize; 2] = fields.each("dilation", 1)?;
    let groups = fields.size("groups")?;
    let mode = Mode::read(fields)?;
    if fields.bool_or("transposed", false)? {
        return Err(Error::unsupported("`transposed` is True, which torch's Conv2d never has"));
    }
    if fields.each_or("output_padding", 0, 0)? != [0, 0] {
        return Err(Error::unsupported("`output_padding` is not 0, which torch's Conv2d never has"));
    }
    if groups == 0 || in_channels % groups != 0 || out_channels % groups != 0 {
        return Err(Error::format(format!(
            "attribute `groups` is {groups}, which does not divide in_channels={in_channels} and \
             out_channels={out_channels}"
        )));
    }
    let because =
        format!("in_channels={in_channels}, out_channels={out_channels}, kernel_size={kernel:?} and groups={groups}");
    let shape = [out_channels, in_channels / groups, kernel[0], kernel[1]];
    let weight = fields.required_tensor("weight", &shape, &because)?;
    let bias = fields.tensor_of("bias", &[out_channels], &because)?;

    let (padding, amounts) = padding(fields, kernel, dilation)?;
    let pad = match mode.entry().2 {
        Some(kind) => Some((stored_padding(fields)?.unwrap_or(amounts), kind)),
        None => {
            // Only read so that it does not count as unknown: torch computes it for every mode.
            fields.optional_sizes("_reversed_padding_repeated_twice")?;
            if padding == "same" && stride != [1, 1] {
                return Err(Error::format("padding='same' with a stride other than 1, which torch refuses"));
            }
            None
        }
    };
    let inner = if pad.is_some() { [(0, 0); 2] } else { amounts };
    let op = Conv { stride: stride.to_vec(), padding: inner.to_vec(), dilation: dilation.to_vec(), groups };
    let pad = pad.map(|(amounts, kind)| (amounts.to_vec(), kind));
    Ok(Standard::new(Conv2d { in_channels, out_channels, kernel, padding, mode, op, pad, weight, bias }))
}

/// The padding as the file says it, and what it comes to before and after each dimension.
fn padding(fields: &Fields, kernel: [usize; 2], dilation: [usize; 2]) -> Result<(String, [(usize, usize); 2])> {
    match fields.text_if("padding") {
        Some("valid") => Ok(("valid".to_owned(), [(0, 0); 2])),
        Some("same") => {
            // torch puts the odd one behind.
            let mut amounts = [(0, 0); 2];
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
            let both: [usize; 2] = fields.each("padding", 0)?;
            Ok((python_tuple(&both), both.map(|amount| (amount, amount))))
        }
    }
}

/// What torch gives to `F.pad` in the other modes: before and after, the last dimension first. Versions that did not
/// store it computed it from the padding.
fn stored_padding(fields: &Fields) -> Result<Option<[(usize, usize); 2]>> {
    const NAME: &str = "_reversed_padding_repeated_twice";
    match fields.optional_sizes(NAME)?.as_deref() {
        None => Ok(None),
        Some(&[left, right, top, bottom]) => Ok(Some([(top, bottom), (left, right)])),
        Some(other) => Err(Error::format(format!("attribute `{NAME}` is {other:?}; four ints are expected"))),
    }
}

impl Rule for Conv2d {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        let mut arguments = vec![
            ("in_channels", self.in_channels.to_string()),
            ("out_channels", self.out_channels.to_string()),
            ("kernel_size", python_tuple(&self.kernel)),
            ("stride", python_tuple(&self.op.stride)),
            ("padding", self.padding.clone()),
            ("dilation", python_tuple(&self.op.dilation)),
            ("groups", self.op.groups.to_string()),
            ("bias", python_bool(self.bias.is_some())),
        ];
        if self.mode != Mode::Zeros {
            arguments.push(("padding_mode", self.mode.entry().0.to_owned()));
        }
        arguments
    }

    fn expects(&self) -> Expects {
        let [n, h, w] = ["N", "H", "W"].map(Dim::symbol);
        Expects::Shape(vec![n, Dim::Size(self.in_channels), h, w])
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        // Checked before the padding, whose message would not name the ranks that a convolution takes.
        if !matches!(place.rank(x), 3 | 4) {
            let channels = self.in_channels;
            let what = format!("but [N, {channels}, H, W] or [{channels}, H, W] is expected");
            return Err(place.wrong_input(x, &what));
        }
        let mut x = x;
        if let Some((amounts, padding)) = &self.pad
            && amounts.iter().any(|&amount| amount != (0, 0))
        {
            x = place.builder.node(
                Op::Pad { amounts: amounts.iter().map(|a| (a.0 as isize, a.1 as isize)).collect(), padding: *padding },
                &[x],
            )?;
        }
        let mut inputs = vec![x, place.parameter("weight", &self.weight)];
        inputs.extend(self.bias.as_ref().map(|bias| place.parameter("bias", bias)));
        place.builder.node(Op::Conv(self.op.clone()), &inputs)
    }
}
