//! Convolutions, pools, padding, interpolation and windows as calls.

use super::{
    call::{Argument, Kind, Size, Var},
    writer::Writer,
};
use crate::{
    Error, Result,
    graph::{AvgPool, Blocks, Conv, Dim, Interpolation, Map, MaxPool, Op, Padding, Target, Type, Upsample},
    tensor::DType,
};

/// torch has images of one to three dimensions.
fn spatial(dims: usize, what: &str) -> Result<usize> {
    if (1..=3).contains(&dims) {
        return Ok(dims);
    }
    Err(Error::unsupported(format!("{what} over {dims} dimensions; torch has it for 1, 2 and 3")))
}

impl Writer<'_> {
    pub(super) fn convolution(&mut self, conv: &Conv, inputs: &[Var], ty: &Type) -> Result<Var> {
        let dims = spatial(conv.stride.len(), "a convolution")?;
        let (x, padding) = match symmetric(&conv.padding) {
            Some(padding) => (inputs[0], padding),
            None => {
                let amounts: Vec<(isize, isize)> =
                    conv.padding.iter().map(|&(before, after)| (before as isize, after as isize)).collect();
                let padded = padded(&self.ty(inputs[0]), &amounts);
                (self.constant_pad(&amounts, 0.0, inputs[0], &padded), vec![0; dims])
            }
        };
        let arguments = vec![
            ("input", x.into()),
            ("weight", inputs[1].into()),
            ("bias", inputs.get(2).copied().into()),
            ("stride", Argument::ints(&conv.stride)),
            ("padding", Argument::ints(&padding)),
            ("dilation", Argument::ints(&conv.dilation)),
            ("groups", Argument::int(conv.groups)),
        ];
        Ok(self.call(format!("conv{dims}d.default"), arguments, ty))
    }

    pub(super) fn convolution_transpose(
        &mut self,
        conv: &Conv,
        output_padding: &[usize],
        inputs: &[Var],
        ty: &Type,
    ) -> Result<Var> {
        let dims = spatial(conv.stride.len(), "a transposed convolution")?;
        let padding = symmetric(&conv.padding);
        // Where the ends differ, the whole result is computed and then cut.
        let cut: Vec<(isize, isize)> = match padding {
            Some(_) => Vec::new(),
            None => conv.padding.iter().map(|&(before, after)| (-(before as isize), -(after as isize))).collect(),
        };
        let grown: Vec<(isize, isize)> = cut.iter().map(|&(before, after)| (-before, -after)).collect();
        let whole = padded(ty, &grown);
        let overload = if dims == 1 { "default" } else { "input" };
        let arguments = vec![
            ("input", inputs[0].into()),
            ("weight", inputs[1].into()),
            ("bias", inputs.get(2).copied().into()),
            ("stride", Argument::ints(&conv.stride)),
            ("padding", Argument::ints(&padding.unwrap_or(vec![0; dims]))),
            ("output_padding", Argument::ints(output_padding)),
            ("groups", Argument::int(conv.groups)),
            ("dilation", Argument::ints(&conv.dilation)),
        ];
        let y = self.call(format!("conv_transpose{dims}d.{overload}"), arguments, &whole);
        Ok(if cut.is_empty() { y } else { self.constant_pad(&cut, 0.0, y, ty) })
    }

    pub(super) fn average_pool(&mut self, pool: &AvgPool, x: Var, ty: &Type) -> Result<Var> {
        let mut pool = pool.clone();
        if pool.kernel.len() == 1 && pool.divisor.is_some() {
            // Only pools of two and three dimensions take a divisor.
            [&mut pool.kernel, &mut pool.stride].into_iter().for_each(|sizes| sizes.insert(0, 1));
            pool.padding.insert(0, 0);
            let x = self.row(x);
            let y = self.average_pool(&pool, x, &as_image(ty))?;
            return Ok(self.op("squeeze.dim", y, [ROW], ty));
        }
        let dims = spatial(pool.kernel.len(), "average pooling")?;
        let mut arguments = vec![
            ("kernel_size", Argument::ints(&pool.kernel)),
            ("stride", Argument::ints(&pool.stride)),
            ("padding", Argument::ints(&pool.padding)),
            ("ceil_mode", pool.ceil_mode.into()),
            ("count_include_pad", pool.count_include_pad.into()),
        ];
        if dims > 1 {
            arguments.push(("divisor_override", pool.divisor.map_or(Argument::None, Argument::Int)));
        }
        Ok(self.op(format!("avg_pool{dims}d.default"), x, arguments, ty))
    }

    pub(super) fn maximum_pool(&mut self, pool: &MaxPool, x: Var, ty: &Type) -> Result<Var> {
        let dims = spatial(pool.kernel.len(), "maximum pooling")?;
        let arguments = [
            ("kernel_size", Argument::ints(&pool.kernel)),
            ("stride", Argument::ints(&pool.stride)),
            ("padding", Argument::ints(&pool.padding)),
            ("dilation", Argument::ints(&pool.dilation)),
            ("ceil_mode", pool.ceil_mode.into()),
        ];
        Ok(self.op(format!("max_pool{dims}d.default"), x, arguments, ty))
    }

    /// Adaptive pooling of a kind, `avg` or `max`.
    pub(super) fn adaptive_pool(&mut self, kind: &str, sizes: &[Option<usize>], x: Var, ty: &Type) -> Result<Var> {
        let dims = spatial(sizes.len(), "adaptive pooling")?;
        let start = ty.rank() - dims;
        let size = |(i, size): (usize, &Option<usize>)| match size {
            Some(size) => Size::Known(*size as i64),
            None => self.size(x, start + i),
        };
        let sizes = Argument::Sizes(sizes.iter().enumerate().map(size).collect());
        let arguments = vec![("self", x.into()), ("output_size", sizes)];
        let indices = Kind::Tensor(Type::new(DType::I64, ty.shape.clone()));
        let results = if kind == "max" { vec![indices] } else { vec![] };
        let results = std::iter::once(Kind::Tensor(ty.clone())).chain(results).collect();
        Ok(self.calls(format!("adaptive_{kind}_pool{dims}d.default"), arguments, results)[0])
    }

    pub(super) fn interpolation(&mut self, upsample: &Upsample, x: Var, ty: &Type) -> Result<Var> {
        let dims = upsample.target.len();
        let name = match (upsample.mode, dims) {
            (Interpolation::Nearest, 1..=3) => format!("upsample_nearest{dims}d"),
            (Interpolation::NearestExact, 1..=3) => format!("_upsample_nearest_exact{dims}d"),
            (Interpolation::Linear, 1..=3) => format!("upsample_{}linear{dims}d", ["", "bi", "tri"][dims - 1]),
            (Interpolation::Cubic, 2) => "upsample_bicubic2d".to_owned(),
            (mode, _) => {
                return Err(Error::unsupported(format!(
                    "interpolation {mode:?} over {dims} dimensions; torch has none"
                )));
            }
        };
        let (sizes, factors) = match &upsample.target {
            Target::Sizes(sizes) => (Argument::ints(sizes), Argument::None),
            Target::Factors { factors, recompute: false } => (Argument::None, Argument::Floats(factors.clone())),
            Target::Factors { .. } => {
                let sizes = ty.shape[2..].iter().map(Dim::size).collect::<Option<Vec<_>>>();
                let message = "interpolation by factors that are recomputed is written for known sizes only; give the \
                               sizes of the model's inputs";
                (Argument::ints(&sizes.ok_or_else(|| Error::unsupported(message))?), Argument::None)
            }
        };
        let nearest = matches!(upsample.mode, Interpolation::Nearest | Interpolation::NearestExact);
        let corners = (!nearest).then_some(("align_corners", upsample.align_corners.into()));
        let arguments = [("input", x.into()), ("output_size", sizes)];
        let arguments = arguments.into_iter().chain(corners).chain([("scale_factors", factors)]);
        Ok(self.call(format!("{name}.vec"), arguments.collect(), ty))
    }

    pub(super) fn unfold(&mut self, blocks: &Blocks, x: Var, ty: &Type) -> Result<Var> {
        let (lines, blocks) = images(blocks)?;
        let x = if lines { self.row(x) } else { x };
        Ok(self.op("im2col.default", x, windows(&blocks), ty))
    }

    pub(super) fn fold(&mut self, sizes: &[usize], blocks: &Blocks, x: Var, ty: &Type) -> Result<Var> {
        let (lines, blocks) = images(blocks)?;
        let (sizes, image) = if lines { (vec![1, sizes[0]], as_image(ty)) } else { (sizes.to_vec(), ty.clone()) };
        let arguments = std::iter::once(("output_size", Argument::ints(&sizes))).chain(windows(&blocks));
        let y = self.op("col2im.default", x, arguments, &image);
        Ok(if lines { self.op("squeeze.dim", y, [ROW], ty) } else { y })
    }

    pub(super) fn pad(&mut self, amounts: &[(isize, isize)], padding: Padding, x: Var, ty: &Type) -> Result<Var> {
        let mode = match padding {
            Padding::Constant(value) => return Ok(self.constant_pad(amounts, value, x, ty)),
            Padding::Reflect => "reflect",
            Padding::Replicate => "replicate",
            Padding::Circular => "circular",
        };
        let dims = amounts.len();
        if (1..=3).contains(&dims) && (dims + 1..=dims + 2).contains(&ty.rank()) {
            let arguments = [("pad", reversed(amounts)), ("mode", Argument::Text(mode))];
            return Ok(self.op("pad.default", x, arguments, ty));
        }
        let start = ty.rank() - dims;
        let mut y = x;
        for (i, &amount) in amounts.iter().enumerate().filter(|(_, amount)| **amount != (0, 0)) {
            let size = self.sizes(y, &format!("{mode} padding of these dimensions"))?[start + i];
            let places = copied_places(&Op::Pad { amounts: vec![amount], padding }, &[size])?;
            let mut ty = self.ty(y);
            ty.shape[start + i] = Dim::Size(places.len());
            let places = self.positions(&places);
            y = self.op("index_select.default", y, [("dim", Argument::int(start + i)), ("index", places.into())], &ty);
        }
        Ok(y)
    }

    fn constant_pad(&mut self, amounts: &[(isize, isize)], value: f64, x: Var, ty: &Type) -> Var {
        self.op("constant_pad_nd.default", x, [("pad", reversed(amounts)), ("value", value.into())], ty)
    }

    /// Lines as images of one row.
    fn row(&mut self, x: Var) -> Var {
        let image = as_image(&self.ty(x));
        self.op("unsqueeze.default", x, [ROW], &image)
    }
}

/// The dimension of the row in a line that is an image.
const ROW: (&str, Argument) = ("dim", Argument::Int(-2));

fn as_image(line: &Type) -> Type {
    let mut shape = line.shape.clone();
    shape.insert(shape.len() - 1, Dim::Size(1));
    Type::new(line.dtype, shape)
}

/// Windows of images, and whether they are those of lines.
fn images(blocks: &Blocks) -> Result<(bool, Blocks)> {
    let with_row = |sizes: &[usize]| [&[1], sizes].concat();
    match blocks.kernel.len() {
        1 => {
            let [kernel, stride, dilation] = [&blocks.kernel, &blocks.stride, &blocks.dilation].map(|v| with_row(v));
            Ok((true, Blocks { kernel, stride, dilation }))
        }
        2 => Ok((false, blocks.clone())),
        dims => Err(Error::unsupported(format!("windows over {dims} dimensions; torch has them for 1 and 2"))),
    }
}

/// Which element of its operand each element of a result copies.
fn copied_places(op: &Op, sizes: &[usize]) -> Result<Vec<usize>> {
    let map = Map::of(op, sizes).ok_or_else(|| Error::internal(format!("{} is no map", op.name())))?;
    let mut places = Vec::with_capacity(map.len());
    map.for_each(|_, reads| places.extend(reads.map(|(place, _)| place)));
    Ok(places)
}

/// The padding of both ends, where it is the same.
fn symmetric(padding: &[(usize, usize)]) -> Option<Vec<usize>> {
    padding.iter().map(|&(before, after)| (before == after).then_some(before)).collect()
}

/// The type with its last dimensions padded.
fn padded(ty: &Type, amounts: &[(isize, isize)]) -> Type {
    let mut shape = ty.shape.clone();
    let start = shape.len() - amounts.len();
    for (dim, &(before, after)) in shape[start..].iter_mut().zip(amounts) {
        *dim = dim.size().map_or(Dim::Unknown, |size| Dim::Size(size.saturating_add_signed(before + after)));
    }
    Type::new(ty.dtype, shape)
}

/// Amounts as torch lists them: the last dimension first.
fn reversed(amounts: &[(isize, isize)]) -> Argument {
    let amounts: Vec<i64> = amounts.iter().rev().flat_map(|&(before, after)| [before as i64, after as i64]).collect();
    Argument::ints(&amounts)
}

fn windows(blocks: &Blocks) -> [(&'static str, Argument); 4] {
    [
        ("kernel_size", Argument::ints(&blocks.kernel)),
        ("dilation", Argument::ints(&blocks.dilation)),
        ("padding", Argument::ints(&vec![0; blocks.kernel.len()])),
        ("stride", Argument::ints(&blocks.stride)),
    ]
}
