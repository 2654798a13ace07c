//! Shape inference: one rule per operation.

use super::{
    AvgPool, Blocks, Conv, Dim, Interpolation, MaxPool, Op, Padding, Subgraph, Target, Type, Upsample, format_shape,
};
use crate::{Error, Result, tensor::DType};

/// The sizes before, along and after a dimension; a scalar counts as a dimension of one.
pub fn split_at_dim(sizes: &[usize], dim: usize) -> (usize, usize, usize) {
    let Some((&length, inner)) = sizes.get(dim..).and_then(<[usize]>::split_first) else { return (1, 1, 1) };
    (sizes[..dim].iter().product(), length, inner.iter().product())
}

/// The types of an operation's results.
pub(super) fn infer(op: &Op, inputs: &[&Type]) -> Result<Vec<Type>> {
    let x = *inputs.first().ok_or_else(|| Error::argument(format!("{} needs an operand", op.name())))?;
    check_dtypes(op, inputs)?;
    let arity = match op {
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Prelu | Op::Embedding | Op::Compare(_) => 2..=2,
        Op::Where => 3..=3,
        Op::If(_) => 2..=2,
        Op::While { .. } => 1..=1,
        Op::Linear | Op::Conv(_) | Op::ConvTranspose { .. } => 2..=3,
        Op::LayerNorm { .. } => 1..=3,
        Op::RmsNorm { .. } => 1..=2,
        Op::Cat { .. } => 1..=usize::MAX,
        Op::Unary(_)
        | Op::AvgPool(_)
        | Op::MaxPool(_)
        | Op::AdaptiveAvgPool(_)
        | Op::AdaptiveMaxPool(_)
        | Op::Upsample(_)
        | Op::Unfold(_)
        | Op::Fold { .. }
        | Op::Pad { .. }
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::Flatten { .. }
        | Op::Unflatten { .. }
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Sum { .. }
        | Op::Mean { .. } => 1..=1,
    };
    if !arity.contains(&inputs.len()) {
        return Err(Error::argument(format!("{} was given {} operands", op.name(), inputs.len())));
    }
    let shape = match op {
        Op::Unary(_) => x.shape.clone(),
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Compare(_) => broadcast(op, inputs)?,
        Op::Where => {
            let both = Type::new(x.dtype, broadcast(op, &inputs[1..])?);
            broadcast(op, &[x, &both])?
        }
        Op::If(branches) => branches_of(branches, inputs)?,
        Op::While { condition, body } => turns(condition, body, x)?,
        Op::Embedding => embedding(x, inputs[1])?,
        Op::Prelu => {
            let shape = broadcast(op, inputs)?;
            if shape.len() != x.rank() || !shape.iter().zip(&x.shape).all(|(a, b)| a.agrees(b)) {
                return Err(Error::argument(format!(
                    "the weight has shape {}, which cannot be repeated to {}",
                    format_shape(&inputs[1].shape),
                    format_shape(&x.shape)
                )));
            }
            x.shape.clone()
        }
        Op::Linear => linear(inputs)?,
        Op::Conv(conv) => convolution(conv, inputs)?,
        Op::ConvTranspose { conv, output_padding } => convolution_transpose(conv, output_padding, inputs)?,
        Op::AvgPool(pool) => average_pool(pool, x)?,
        Op::AdaptiveAvgPool(sizes) | Op::AdaptiveMaxPool(sizes) => adaptive_pool(sizes, x)?,
        Op::Upsample(upsample) => interpolation(upsample, x)?,
        Op::Unfold(blocks) => unfold(blocks, x)?,
        Op::Fold { sizes, blocks } => fold(sizes, blocks, x)?,
        Op::MaxPool(pool) => max_pool(pool, x)?,
        Op::Pad { amounts, padding } => pad(amounts, *padding, x)?,
        Op::LayerNorm { axes, .. } | Op::RmsNorm { axes, .. } => layer_norm(*axes, inputs)?,
        Op::Softmax { dim } | Op::LogSoftmax { dim } => {
            // A scalar counts as a dimension of one.
            if x.rank() > 0 || *dim > 0 {
                axis(*dim, x)?;
            }
            x.shape.clone()
        }
        Op::Flatten { start, end } => flatten(*start, *end, x)?,
        Op::Unflatten { dim, sizes } => unflatten(*dim, sizes, x)?,
        Op::Permute { dims } => permute(dims, x)?,
        Op::Slice { dim, start, end, step } => slice(*dim, [*start, *end, *step], x)?,
        Op::Sum { dims, keepdim } | Op::Mean { dims, keepdim } => reduced(op, dims, *keepdim, x)?,
        Op::Cat { dim } => cat(*dim, inputs)?,
    };
    let known: Vec<usize> = shape.iter().filter_map(Dim::size).filter(|&size| size != 0).collect();
    if !product(&known).is_some_and(fits_in_memory) {
        return Err(Error::unsupported(format!("a result of shape {} is larger than memory", format_shape(&shape))));
    }
    let dtype = match op {
        Op::Compare(_) => DType::Bool,
        Op::Where | Op::If(_) => inputs[1].dtype,
        _ => x.dtype,
    };
    Ok(vec![Type::new(dtype, shape)])
}

/// Operands are floating-point numbers, but for indices, what is compared, masks, and what only moves elements.
fn check_dtypes(op: &Op, inputs: &[&Type]) -> Result<()> {
    let moves = matches!(
        op,
        Op::Flatten { .. } | Op::Unflatten { .. } | Op::Permute { .. } | Op::Slice { .. } | Op::Cat { .. }
    );
    let (operands, any) = match op {
        Op::Compare(_) => return Ok(()),
        Op::Embedding => (&inputs[..1], false),
        Op::If(_) => (&inputs[inputs.len().min(1)..], false),
        Op::Where => match inputs.split_first() {
            Some((mask, sides)) if mask.dtype == DType::Bool => (sides, true),
            _ => return Err(Error::unsupported("where needs a mask, the result of a comparison, as its condition")),
        },
        _ => (inputs, moves),
    };
    match operands.iter().find(|ty| ty.dtype != operands[0].dtype || !(any || ty.dtype.is_float())) {
        None => Ok(()),
        Some(ty) => Err(Error::unsupported(format!(
            "{} of a {} tensor; operands must be floating point",
            op.name(),
            ty.dtype.name()
        ))),
    }
}

/// Two graphs of the same signature.
fn branches_of(branches: &[Subgraph; 2], inputs: &[&Type]) -> Result<Vec<Dim>> {
    let mask = inputs[0];
    if mask.dtype != DType::Bool || mask.shape.iter().any(|dim| dim.size() != Some(1)) {
        return Err(Error::argument("cond needs a mask of one element as its condition"));
    }
    branches.iter().try_for_each(|branch| branch.check_concrete())?;
    if branches[0].signature() != branches[1].signature() {
        return Err(Error::argument("the two graphs of cond take or give values of different sizes"));
    }
    let [n, m] = branches[0].numels();
    expect("what cond is given", inputs[1], &[Dim::Size(n)])?;
    Ok(vec![Dim::Size(m)])
}

/// A condition and a body that take the same.
fn turns(condition: &Subgraph, body: &Subgraph, x: &Type) -> Result<Vec<Dim>> {
    [condition, body].into_iter().try_for_each(|graph| graph.check_concrete())?;
    let ([inputs, _], [given, carried]) = (condition.signature(), body.signature());
    if inputs != given || condition.numels()[1] != 1 || !given.starts_with(&carried) {
        return Err(Error::argument("the graphs of a loop take or give values of different sizes"));
    }
    let [n, m] = body.numels();
    expect("what a loop is given", x, &[Dim::Size(n)])?;
    Ok(vec![Dim::Size(m)])
}

/// Whether so many elements can be had, with the tables and bounds that they bring: 32 bytes each. Attributes of a few
/// bytes in a file may ask for any size, and running out of memory later would end the process.
fn fits_in_memory(elements: usize) -> bool {
    elements < 1 << 24 || Vec::<[f64; 4]>::new().try_reserve_exact(elements).is_ok()
}

fn axis(dim: usize, x: &Type) -> Result<()> {
    if dim < x.rank() {
        return Ok(());
    }
    Err(Error::argument(format!("dimension {dim} of an input of shape {}", format_shape(&x.shape))))
}

fn expect(what: &str, ty: &Type, shape: &[Dim]) -> Result<()> {
    if ty.rank() == shape.len() && ty.shape.iter().zip(shape).all(|(a, b)| a.agrees(b)) {
        return Ok(());
    }
    Err(Error::argument(format!(
        "{what} has shape {}, but {} is expected",
        format_shape(&ty.shape),
        format_shape(shape)
    )))
}

/// The dimension that two agreeing ones have: the known one of the two.
fn merge(a: &Dim, b: &Dim) -> Dim {
    if a.size().is_none() && b.size().is_some() { b.clone() } else { a.clone() }
}

/// Dimensions are matched from the last one; a missing one and one of size 1 take the other's size.
fn broadcast(op: &Op, inputs: &[&Type]) -> Result<Vec<Dim>> {
    let (a, b) = (&inputs[0].shape, &inputs[1].shape);
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let missing = long.len() - short.len();
    let mut shape = long.clone();
    for (dim, other) in shape[missing..].iter_mut().zip(short) {
        *dim = match (dim.size(), other.size()) {
            (Some(1), _) => other.clone(),
            (_, Some(1)) => dim.clone(),
            _ if dim.agrees(other) => merge(dim, other),
            _ => {
                return Err(Error::argument(format!(
                    "{} of shapes {} and {}; they must be the same, or 1 where they differ",
                    op.name(),
                    format_shape(a),
                    format_shape(b)
                )));
            }
        };
    }
    Ok(shape)
}

fn linear(inputs: &[&Type]) -> Result<Vec<Dim>> {
    let (x, weight) = (inputs[0], inputs[1]);
    let [out, features] = weight.shape.as_slice() else {
        return Err(Error::argument(format!("the weight has shape {}, not [out, in]", format_shape(&weight.shape))));
    };
    match x.shape.last() {
        Some(last) if last.agrees(features) => {}
        _ => {
            return Err(Error::argument(format!(
                "the input has shape {}, but its last dimension must be {features}",
                format_shape(&x.shape)
            )));
        }
    }
    if let Some(bias) = inputs.get(2) {
        expect("the bias", bias, std::slice::from_ref(out))?;
    }
    let mut shape = x.shape.clone();
    *shape.last_mut().expect("checked above") = out.clone();
    Ok(shape)
}

/// Where the spatial dimensions of a batched or unbatched image start.
fn spatial_start(x: &Type, spatial: usize) -> Result<usize> {
    if x.rank() == spatial + 1 || x.rank() == spatial + 2 {
        return Ok(x.rank() - spatial);
    }
    let names = ["L", "H, W", "D, H, W"].get(spatial.wrapping_sub(1)).unwrap_or(&"..");
    Err(Error::argument(format!(
        "the input has shape {}, but [N, C, {names}] or [C, {names}] is expected",
        format_shape(&x.shape)
    )))
}

fn positive(what: &str, values: &[usize]) -> Result<()> {
    if values.contains(&0) {
        return Err(Error::argument(format!("{what} {values:?} must be positive")));
    }
    Ok(())
}

fn entries(spatial: usize, lists: &[usize]) -> Result<()> {
    if spatial == 0 || lists.iter().any(|&n| n != spatial) {
        return Err(Error::argument("the attributes differ in their number of spatial dimensions"));
    }
    Ok(())
}

/// Checks a convolution's attributes, its weight's channels (`out` and `channels` per group), its bias and its input;
/// gives where the spatial dimensions start, and the result's shape up to there.
fn channels(conv: &Conv, inputs: &[&Type], transposed: bool) -> Result<(usize, Vec<Dim>)> {
    let (x, weight) = (inputs[0], inputs[1]);
    let spatial = conv.stride.len();
    entries(spatial, &[conv.padding.len(), conv.dilation.len(), weight.rank().saturating_sub(2)])?;
    positive("stride", &conv.stride)?;
    positive("dilation", &conv.dilation)?;
    positive("groups", &[conv.groups])?;
    let start = spatial_start(x, spatial)?;
    let sizes = weight.sizes().ok_or_else(|| Error::argument("the weight's sizes must be known"))?;
    positive("kernel size", &sizes[2..])?;
    if sizes[0] % conv.groups != 0 {
        let what = if transposed { "input" } else { "output" };
        return Err(Error::argument(format!(
            "{} {what} channels cannot be split into {} groups",
            sizes[0], conv.groups
        )));
    }
    let all = sizes[1].saturating_mul(conv.groups);
    let (channels, out) = if transposed { (sizes[0], all) } else { (all, sizes[0]) };
    if !x.shape[start - 1].agrees(&Dim::Size(channels)) {
        return Err(Error::argument(format!(
            "the input has shape {}, but its channel dimension must be {channels}",
            format_shape(&x.shape)
        )));
    }
    if let Some(bias) = inputs.get(2) {
        expect("the bias", bias, &[Dim::Size(out)])?;
    }
    let mut shape = x.shape.clone();
    shape[start - 1] = Dim::Size(out);
    Ok((start, shape))
}

fn convolution(conv: &Conv, inputs: &[&Type]) -> Result<Vec<Dim>> {
    let (start, mut shape) = channels(conv, inputs, false)?;
    for (i, kernel) in kernel(inputs).enumerate() {
        let (before, after) = conv.padding[i];
        shape[start + i] = shape[start + i].map(|size| {
            windows(size, before.saturating_add(after), kernel, conv.stride[i], conv.dilation[i])
                .ok_or_else(|| too_small(inputs[0], kernel))
        })?;
    }
    Ok(shape)
}

/// The sizes of a convolution's kernel, once its weight is checked.
fn kernel<'a>(inputs: &'a [&Type]) -> impl Iterator<Item = usize> + 'a {
    inputs[1].shape[2..].iter().filter_map(Dim::size)
}

fn convolution_transpose(conv: &Conv, output_padding: &[usize], inputs: &[&Type]) -> Result<Vec<Dim>> {
    let (start, mut shape) = channels(conv, inputs, true)?;
    entries(conv.stride.len(), &[output_padding.len()])?;
    for (i, kernel) in kernel(inputs).enumerate() {
        let (stride, dilation, more) = (conv.stride[i], conv.dilation[i], output_padding[i]);
        if more >= stride.max(dilation) {
            return Err(Error::argument(format!(
                "output padding {more} must be smaller than the stride {stride} or the dilation {dilation}"
            )));
        }
        let (before, after) = conv.padding[i];
        shape[start + i] = shape[start + i].map(|size| {
            let last = size.checked_sub(1).and_then(|last| last.checked_mul(stride));
            let reach = dilation.checked_mul(kernel - 1).and_then(|reach| reach.checked_add(more + 1));
            let full = last.zip(reach).and_then(|(last, reach)| last.checked_add(reach));
            let cut = full.and_then(|full| full.checked_sub(before)?.checked_sub(after)).filter(|&size| size > 0);
            cut.ok_or_else(|| {
                Error::argument(format!(
                    "the padding of ({before}, {after}) leaves nothing of the result of {}",
                    format_shape(&inputs[0].shape)
                ))
            })
        })?;
    }
    Ok(shape)
}

fn too_small(x: &Type, kernel: usize) -> Error {
    Error::argument(format!("the window of {kernel} does not fit into the padded input {}", format_shape(&x.shape)))
}

/// How many windows of a convolution fit.
fn windows(size: usize, padding: usize, kernel: usize, stride: usize, dilation: usize) -> Option<usize> {
    let reach = dilation.checked_mul(kernel - 1)?.checked_add(1)?;
    let room = size.checked_add(padding)?.checked_sub(reach)?;
    Some(room / stride + 1)
}

/// The number of windows of a pool along one dimension: with `ceil_mode`, the last one may reach beyond the padded
/// input, but must start inside the input or the padding before it. `None` if there is no window.
pub fn pooled_size(
    size: usize,
    padding: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    ceil_mode: bool,
) -> Option<usize> {
    // In torch's arithmetic the room may be negative: a single window may be larger than the padded input.
    let [size, padding, kernel, stride, dilation] = [size, padding, kernel, stride, dilation].map(|v| v as i128);
    let room = size + 2 * padding - dilation.checked_mul(kernel - 1)? - 1;
    let mut count = (room + if ceil_mode { stride - 1 } else { 0 }).div_euclid(stride) + 1;
    if ceil_mode && (count - 1) * stride >= size + padding {
        count -= 1;
    }
    usize::try_from(count).ok().filter(|&count| count > 0)
}

fn pool(x: &Type, [kernel, stride, padding, dilation]: [&[usize]; 4], ceil_mode: bool) -> Result<Vec<Dim>> {
    let spatial = kernel.len();
    entries(spatial, &[stride.len(), padding.len(), dilation.len()])?;
    positive("kernel size", kernel)?;
    positive("stride", stride)?;
    positive("dilation", dilation)?;
    let start = spatial_start(x, spatial)?;
    let mut shape = x.shape.clone();
    for i in 0..spatial {
        let reach = dilation[i].saturating_mul(kernel[i] - 1).saturating_add(1);
        if padding[i] > reach / 2 {
            return Err(Error::argument(format!("padding {} is more than half of the window of {reach}", padding[i])));
        }
        shape[start + i] = x.shape[start + i].map(|size| {
            pooled_size(size, padding[i], kernel[i], stride[i], dilation[i], ceil_mode)
                .ok_or_else(|| too_small(x, kernel[i]))
        })?;
    }
    Ok(shape)
}

fn average_pool(p: &AvgPool, x: &Type) -> Result<Vec<Dim>> {
    if p.divisor == Some(0) {
        return Err(Error::argument("divisor_override must not be 0"));
    }
    let shape = pool(x, [&p.kernel, &p.stride, &p.padding, &vec![1; p.kernel.len()]], p.ceil_mode)?;
    // ATen asks this of volumes only.
    let volume = if p.kernel.len() == 3 { &x.shape[x.rank() - 3..] } else { &[] };
    let small = volume.iter().zip(&p.kernel).find(|(dim, kernel)| dim.size().is_some_and(|size| size < **kernel));
    if let Some((_, &kernel)) = small {
        return Err(Error::argument(format!(
            "the input has shape {}, but torch takes no volume smaller than the window of {kernel}",
            format_shape(&x.shape)
        )));
    }
    Ok(shape)
}

fn max_pool(p: &MaxPool, x: &Type) -> Result<Vec<Dim>> {
    pool(x, [&p.kernel, &p.stride, &p.padding, &p.dilation], p.ceil_mode)
}

/// Replaces the last dimensions by what `rule` makes of each known one.
fn planes(dims: usize, x: &Type, rule: impl Fn(usize, usize) -> Result<usize>) -> Result<Vec<Dim>> {
    let start = spatial_start(x, dims)?;
    let mut shape = x.shape.clone();
    for i in 0..dims {
        shape[start + i] = shape[start + i].map(|size| rule(i, size))?;
    }
    Ok(shape)
}

fn adaptive_pool(sizes: &[Option<usize>], x: &Type) -> Result<Vec<Dim>> {
    entries(sizes.len(), &[])?;
    let start = spatial_start(x, sizes.len())?;
    let mut shape = planes(sizes.len(), x, |i, size| match sizes[i] {
        Some(wanted) if size == 0 && wanted > 0 => {
            Err(Error::argument(format!("the input {} has no elements to pool", format_shape(&x.shape))))
        }
        wanted => Ok(wanted.unwrap_or(size)),
    })?;
    for (dim, size) in shape[start..].iter_mut().zip(sizes) {
        *dim = size.map_or(dim.clone(), Dim::Size);
    }
    Ok(shape)
}

impl Target {
    /// The number of spatial dimensions.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Target::Sizes(sizes) => sizes.len(),
            Target::Factors { factors, .. } => factors.len(),
        }
    }

    /// The size that a dimension becomes; `None` if there is none.
    pub fn size(&self, dim: usize, own: usize) -> Option<usize> {
        let size = match self {
            Target::Sizes(sizes) => sizes[dim],
            // A cast to an integer saturates, and makes NaN 0.
            Target::Factors { factors, .. } => (own as f64 * factors[dim]) as usize,
        };
        Some(size).filter(|&size| size > 0 && size < isize::MAX as usize)
    }
}

fn interpolation(upsample: &Upsample, x: &Type) -> Result<Vec<Dim>> {
    let dims = upsample.target.len();
    if dims == 0 || x.rank() != dims + 2 {
        return Err(Error::argument(format!(
            "the input has shape {}, but a batch of images with {dims} spatial dimension(s) is expected",
            format_shape(&x.shape)
        )));
    }
    if upsample.align_corners && matches!(upsample.mode, Interpolation::Nearest | Interpolation::NearestExact) {
        return Err(Error::argument("align_corners does not go with nearest neighbours"));
    }
    if let Target::Factors { factors, .. } = &upsample.target
        && let Some(factor) = factors.iter().find(|factor| !(factor.is_finite() && **factor > 0.0))
    {
        return Err(Error::argument(format!("the scale factor {factor} must be positive")));
    }
    let mut shape = planes(dims, x, |i, size| {
        let target = upsample.target.size(i, size).filter(|_| size > 0);
        target
            .ok_or_else(|| Error::argument(format!("a dimension of {size} cannot be resized by {:?}", upsample.target)))
    })?;
    if let Target::Sizes(sizes) = &upsample.target {
        shape.splice(2.., sizes.iter().map(|&size| Dim::Size(size)));
    }
    Ok(shape)
}

impl Blocks {
    /// How many windows there are along a dimension of this size.
    pub fn count(&self, dim: usize, size: usize) -> usize {
        windows(size, 0, self.kernel[dim], self.stride[dim], self.dilation[dim]).unwrap_or(0)
    }

    fn check(&self) -> Result<usize> {
        entries(self.kernel.len(), &[self.stride.len(), self.dilation.len()])?;
        positive("kernel size", &self.kernel)?;
        positive("stride", &self.stride)?;
        positive("dilation", &self.dilation)?;
        product(&self.kernel).ok_or_else(|| Error::argument(format!("the kernel {:?} is too large", self.kernel)))
    }
}

fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

fn unfold(blocks: &Blocks, x: &Type) -> Result<Vec<Dim>> {
    let taps = blocks.check()?;
    let start = spatial_start(x, blocks.kernel.len())?;
    let counts = planes(blocks.kernel.len(), x, |i, size| match blocks.count(i, size) {
        0 => Err(too_small(x, blocks.kernel[i])),
        count => Ok(count),
    })?;
    let counts: Option<Vec<usize>> = counts[start..].iter().map(Dim::size).collect();
    let overflow = || Error::argument("the number of windows overflows");
    let windows = counts.map(|counts| product(&counts).ok_or_else(overflow)).transpose()?;
    let mut shape = x.shape[..start].to_vec();
    shape[start - 1] = shape[start - 1].map(|channels| channels.checked_mul(taps).ok_or_else(overflow))?;
    shape.push(windows.map_or(Dim::Unknown, Dim::Size));
    Ok(shape)
}

fn fold(sizes: &[usize], blocks: &Blocks, x: &Type) -> Result<Vec<Dim>> {
    let taps = blocks.check()?;
    entries(blocks.kernel.len(), &[sizes.len()])?;
    let counts: Vec<usize> = sizes.iter().enumerate().map(|(i, &size)| blocks.count(i, size)).collect();
    let windows = product(&counts).unwrap_or(usize::MAX);
    if !matches!(x.rank(), 2 | 3) || windows == 0 || !x.shape[x.rank() - 1].agrees(&Dim::Size(windows)) {
        return Err(Error::argument(format!(
            "the input has shape {}, but [N, C * {taps}, {windows}] or [C * {taps}, {windows}] is expected: an image of \
             {sizes:?} has {windows} windows",
            format_shape(&x.shape)
        )));
    }
    let mut shape = x.shape[..x.rank() - 1].to_vec();
    let channels = shape.last_mut().expect("the rank was checked");
    *channels = channels.map(|size| {
        let wrong = || Error::argument(format!("{size} channels are no multiple of the window's {taps} places"));
        (size % taps == 0).then_some(size / taps).ok_or_else(wrong)
    })?;
    shape.extend(sizes.iter().map(|&size| Dim::Size(size)));
    Ok(shape)
}

fn pad(amounts: &[(isize, isize)], padding: Padding, x: &Type) -> Result<Vec<Dim>> {
    let start = x.rank().checked_sub(amounts.len()).ok_or_else(|| {
        Error::argument(format!(
            "{} dimensions of an input of shape {} are padded",
            amounts.len(),
            format_shape(&x.shape)
        ))
    })?;
    let mut shape = x.shape.clone();
    for (dim, &(before, after)) in shape[start..].iter_mut().zip(amounts) {
        *dim = dim.map(|size| {
            let padded = padded_size(size, before, after, padding);
            padded.ok_or_else(|| {
                let name = format!("{padding:?}");
                let name = name.split('(').next().unwrap_or_default().to_lowercase();
                Error::argument(format!("{name} padding of ({before}, {after}) on a size of {size}"))
            })
        })?;
    }
    Ok(shape)
}

/// The size after padding; `None` where torch refuses, or where it overflows.
fn padded_size(size: usize, before: isize, after: isize, padding: Padding) -> Option<usize> {
    let own = isize::try_from(size).ok()?;
    let cut = own.checked_add(before.min(0))?.checked_add(after.min(0))?;
    let padded = own.checked_add(before)?.checked_add(after)?;
    let allowed = match padding {
        Padding::Constant(_) => cut >= 0,
        Padding::Reflect => before < own && after < own && padded > 0,
        Padding::Replicate => own > 0 && padded > 0,
        Padding::Circular => before <= cut && after <= cut,
    };
    usize::try_from(padded).ok().filter(|_| allowed)
}

fn embedding(weight: &Type, indices: &Type) -> Result<Vec<Dim>> {
    if indices.dtype != DType::I64 {
        return Err(Error::argument(format!("the indices are {}, but integers are expected", indices.dtype.name())));
    }
    let [_, width] = weight.shape.as_slice() else {
        return Err(Error::argument(format!("the table has shape {}, not [rows, width]", format_shape(&weight.shape))));
    };
    Ok(indices.shape.iter().chain([width]).cloned().collect())
}

fn layer_norm(axes: usize, inputs: &[&Type]) -> Result<Vec<Dim>> {
    let x = inputs[0];
    let start = x.rank().checked_sub(axes).filter(|_| axes > 0).ok_or_else(|| {
        Error::argument(format!("the last {axes} dimensions of an input of shape {}", format_shape(&x.shape)))
    })?;
    let mut shape = x.shape.clone();
    for (what, ty) in ["the weight", "the bias"].iter().zip(&inputs[1..]) {
        expect(what, ty, &x.shape[start..])?;
        for (dim, known) in shape[start..].iter_mut().zip(&ty.shape) {
            *dim = merge(dim, known);
        }
    }
    Ok(shape)
}

fn flatten(start: usize, end: usize, x: &Type) -> Result<Vec<Dim>> {
    if x.rank() == 0 {
        return Ok(vec![Dim::Size(1)]);
    }
    axis(end, x)?;
    if start > end {
        return Err(Error::argument(format!("flatten of dimensions {start} to {end}")));
    }
    let joined = match x.shape[start..=end].iter().map(Dim::size).collect::<Option<Vec<_>>>() {
        Some(sizes) if sizes.contains(&0) => Dim::Size(0),
        Some(sizes) => Dim::Size(
            sizes
                .iter()
                .try_fold(1usize, |n, &d| n.checked_mul(d))
                .ok_or_else(|| Error::argument("the flattened size overflows"))?,
        ),
        None => {
            // A symbol stays one beside dimensions of one.
            let mut others = x.shape[start..=end].iter().filter(|dim| dim.size() != Some(1));
            let first = others.next().cloned();
            first.filter(|_| others.next().is_none()).unwrap_or(Dim::Unknown)
        }
    };
    let mut shape = x.shape[..start].to_vec();
    shape.push(joined);
    shape.extend_from_slice(&x.shape[end + 1..]);
    Ok(shape)
}

fn unflatten(dim: usize, sizes: &[Option<usize>], x: &Type) -> Result<Vec<Dim>> {
    axis(dim, x)?;
    let size = &x.shape[dim];
    let wrong = || {
        let parts: Vec<String> =
            sizes.iter().map(|size| size.map_or("-1".to_owned(), |size| size.to_string())).collect();
        Error::argument(format!("dimension {dim} of size {size} cannot be split into ({})", parts.join(", ")))
    };
    let product = sizes.iter().flatten().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(wrong)?;
    let open = sizes.iter().filter(|size| size.is_none()).count();
    let fits = match (size.size(), open) {
        (Some(size), 0) => size == product,
        (Some(size), 1) => product > 0 && size % product == 0,
        (None, 0 | 1) => true,
        _ => false,
    };
    if sizes.is_empty() || !fits {
        return Err(wrong());
    }
    let rest = match size.size() {
        Some(size) => Dim::Size(size / product.max(1)),
        None if product == 1 => size.clone(),
        None => Dim::Unknown,
    };
    let mut shape = x.shape[..dim].to_vec();
    shape.extend(sizes.iter().map(|size| size.map_or(rest.clone(), Dim::Size)));
    shape.extend_from_slice(&x.shape[dim + 1..]);
    Ok(shape)
}

fn permute(dims: &[usize], x: &Type) -> Result<Vec<Dim>> {
    let mut sorted = dims.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..x.rank()) {
        return Err(Error::argument(format!(
            "{dims:?} is no order of the dimensions of an input of shape {}",
            format_shape(&x.shape)
        )));
    }
    Ok(dims.iter().map(|&dim| x.shape[dim].clone()).collect())
}

fn slice(dim: usize, [start, end, step]: [usize; 3], x: &Type) -> Result<Vec<Dim>> {
    axis(dim, x)?;
    positive("step", &[step])?;
    let mut shape = x.shape.clone();
    shape[dim] = shape[dim].map(|size| Ok::<_, Error>(end.min(size).saturating_sub(start).div_ceil(step)))?;
    Ok(shape)
}

fn reduced(op: &Op, dims: &[usize], keepdim: bool, x: &Type) -> Result<Vec<Dim>> {
    for (i, &dim) in dims.iter().enumerate() {
        axis(dim, x)?;
        if dims[..i].contains(&dim) {
            return Err(Error::argument(format!("{} over dimension {dim} twice", op.name())));
        }
        if matches!(op, Op::Mean { .. }) && x.shape[dim] == Dim::Size(0) {
            return Err(Error::argument(format!("the mean over dimension {dim}, which has no elements")));
        }
    }
    let dim = |(d, size): (usize, &Dim)| match (dims.contains(&d), keepdim) {
        (false, _) => Some(size.clone()),
        (true, true) => Some(Dim::Size(1)),
        (true, false) => None,
    };
    Ok(x.shape.iter().enumerate().filter_map(dim).collect())
}

fn cat(dim: usize, inputs: &[&Type]) -> Result<Vec<Dim>> {
    let x = inputs[0];
    axis(dim, x)?;
    let mut shape = x.shape.clone();
    for ty in &inputs[1..] {
        let fits = ty.rank() == x.rank() && (0..x.rank()).all(|d| d == dim || ty.shape[d].agrees(&shape[d]));
        if !fits {
            return Err(Error::argument(format!(
                "cat of shapes {} and {} along dimension {dim}",
                format_shape(&x.shape),
                format_shape(&ty.shape)
            )));
        }
        for (d, (size, other)) in shape.iter_mut().zip(&ty.shape).enumerate() {
            *size = match (d == dim, size.size(), other.size()) {
                (false, ..) => merge(size, other),
                (true, Some(a), Some(b)) => {
                    Dim::Size(a.checked_add(b).ok_or_else(|| Error::argument("the joined size overflows"))?)
                }
                (true, ..) => Dim::Unknown,
            };
        }
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Unary;

    fn sized(shape: &[usize]) -> Type {
        Type::sized(DType::F64, shape)
    }

    #[test]
    fn pools_count_windows_as_torch_does() {
        // torch.nn.functional.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, ceil_mode=..)
        assert_eq!(pooled_size(5, 0, 2, 2, 1, false), Some(2));
        assert_eq!(pooled_size(5, 0, 2, 2, 1, true), Some(3));
        assert_eq!(pooled_size(4, 1, 2, 3, 1, true), Some(2));
        assert_eq!(pooled_size(3, 0, 1, 3, 1, true), Some(1));
        assert_eq!(pooled_size(1, 0, 2, 1, 1, false), None);
        // A window larger than the input: torch.nn.MaxPool2d(2, ceil_mode=True) on one element, and others.
        assert_eq!(pooled_size(1, 0, 2, 2, 1, true), Some(1));
        assert_eq!(pooled_size(2, 0, 3, 2, 1, true), Some(1));
        assert_eq!(pooled_size(2, 0, 2, 2, 2, true), Some(1));
        assert_eq!(pooled_size(2, 0, 3, 1, 1, true), None);
    }

    #[test]
    fn symbolic_sizes_pass_through() {
        let x = Type::new(DType::F64, vec![Dim::symbol("N"), Dim::Size(3), Dim::symbol("H"), Dim::Size(8)]);
        let weight = sized(&[4, 3, 3, 3]);
        let conv = Conv { stride: vec![1, 2], padding: vec![(1, 1); 2], dilation: vec![1, 1], groups: 1 };
        let back = Op::ConvTranspose { conv: conv.clone(), output_padding: vec![0, 1] };
        let y = infer(&Op::Conv(conv), &[&x, &weight]).unwrap().remove(0);
        assert_eq!(y.shape, [Dim::symbol("N"), Dim::Size(4), Dim::Unknown, Dim::Size(4)]);
        let z = infer(&back, &[&y, &weight]).unwrap().remove(0);
        assert_eq!(z.shape, [Dim::symbol("N"), Dim::Size(3), Dim::Unknown, Dim::Size(8)]);
        let flat = infer(&Op::Flatten { start: 1, end: 3 }, &[&y]).unwrap().remove(0);
        assert_eq!(flat.shape, [Dim::symbol("N"), Dim::Unknown]);
        let z = infer(&Op::Linear, &[&flat, &sized(&[10, 128]), &sized(&[10])]).unwrap().remove(0);
        assert_eq!(z.shape, [Dim::symbol("N"), Dim::Size(10)]);
        let one = |op: Op| infer(&op, &[&x]).unwrap().remove(0).shape;
        let [n, h] = ["N", "H"].map(Dim::symbol);
        let [two, three, four] = [2, 3, 4].map(Dim::Size);
        let unflatten = |dim, sizes: &[Option<usize>]| Op::Unflatten { dim, sizes: sizes.to_vec() };
        assert_eq!(one(unflatten(3, &[None, Some(4)])), [&n, &three, &h, &two, &four].map(Dim::clone));
        assert_eq!(
            one(unflatten(2, &[None, Some(4)])),
            [&n, &three, &Dim::Unknown, &four, &Dim::Size(8)].map(Dim::clone)
        );
        assert_eq!(one(Op::Permute { dims: vec![2, 1, 3, 0] }), [&h, &three, &Dim::Size(8), &n].map(Dim::clone));
        let slice = |dim, end| Op::Slice { dim, start: 1, end, step: 2 };
        assert_eq!(one(slice(3, 9)), [&n, &three, &h, &four].map(Dim::clone));
        assert_eq!(one(slice(2, 9)), [&n, &three, &Dim::Unknown, &Dim::Size(8)].map(Dim::clone));
        assert_eq!(one(Op::Sum { dims: vec![2, 0], keepdim: true })[..2], [Dim::Size(1), three.clone()]);
        assert_eq!(one(Op::Mean { dims: vec![2, 3], keepdim: false }), [&n, &three].map(Dim::clone));
        let both = [&n, &three, &two, &Dim::Size(8)].map(Dim::clone);
        assert_eq!(one(Op::AdaptiveMaxPool(vec![Some(2), None])), both);
        let upsample = |target| Op::Upsample(Upsample { mode: Interpolation::Linear, target, align_corners: false });
        assert_eq!(one(upsample(Target::Sizes(vec![2, 8]))), both);
        let factors = Target::Factors { factors: vec![2.5, 0.6], recompute: false };
        assert_eq!(one(upsample(factors)), [&n, &three, &Dim::Unknown, &four].map(Dim::clone));
        let blocks = Blocks { kernel: vec![2, 2], stride: vec![1, 2], dilation: vec![1, 1] };
        assert_eq!(one(Op::Unfold(blocks.clone())), [n.clone(), Dim::Size(12), Dim::Unknown]);
        let columns = Type::new(DType::F64, vec![n.clone(), Dim::Size(12), h]);
        let image = infer(&Op::Fold { sizes: vec![3, 4], blocks }, &[&columns]).unwrap().remove(0);
        assert_eq!(image.shape, [n, three.clone(), three, four]);
    }

    #[test]
    fn contradictions_are_errors() {
        let cases: [(Op, Vec<Type>); 14] = [
            (Op::Linear, vec![sized(&[3]), sized(&[2, 4])]),
            (Op::Linear, vec![sized(&[4]), sized(&[2, 4]), sized(&[3])]),
            (Op::Add, vec![sized(&[4]), sized(&[3])]),
            (Op::Softmax { dim: 1 }, vec![sized(&[4])]),
            (Op::Flatten { start: 2, end: 1 }, vec![sized(&[4, 2, 2])]),
            (Op::Unary(Unary::Relu), vec![]),
            (Op::Unflatten { dim: 0, sizes: vec![Some(3), None] }, vec![sized(&[4])]),
            (Op::Unflatten { dim: 0, sizes: vec![None, None] }, vec![sized(&[4])]),
            (Op::Unflatten { dim: 0, sizes: vec![Some(0), None] }, vec![sized(&[0])]),
            (Op::Unflatten { dim: 0, sizes: vec![Some(usize::MAX), Some(2)] }, vec![sized(&[4])]),
            (Op::Permute { dims: vec![0, 0] }, vec![sized(&[4, 2])]),
            (Op::Slice { dim: 0, start: 0, end: 2, step: 0 }, vec![sized(&[4])]),
            (Op::Sum { dims: vec![0, 0], keepdim: true }, vec![sized(&[4])]),
            (Op::Mean { dims: vec![0], keepdim: true }, vec![sized(&[0])]),
        ];
        for (op, types) in cases {
            assert!(infer(&op, &types.iter().collect::<Vec<_>>()).is_err(), "{op:?}");
        }
    }
}
