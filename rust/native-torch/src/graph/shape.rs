//! Shape inference: one rule per operation.

use super::{AvgPool, Conv, Dim, MaxPool, Op, Padding, Type, format_shape};
use crate::{Error, Result};

/// The sizes before, along and after a dimension; a scalar counts as a dimension of one.
pub fn split_at_dim(sizes: &[usize], dim: usize) -> (usize, usize, usize) {
    let Some((&length, inner)) = sizes.get(dim..).and_then(<[usize]>::split_first) else { return (1, 1, 1) };
    (sizes[..dim].iter().product(), length, inner.iter().product())
}

/// The types of an operation's results.
pub(super) fn infer(op: &Op, inputs: &[&Type]) -> Result<Vec<Type>> {
    let x = *inputs.first().ok_or_else(|| Error::argument(format!("{} needs an operand", op.name())))?;
    if let Some(ty) = inputs.iter().find(|ty| ty.dtype != x.dtype || !ty.dtype.is_float()) {
        return Err(Error::unsupported(format!(
            "{} of a {} tensor; operands must be floating point",
            op.name(),
            ty.dtype.name()
        )));
    }
    let arity = match op {
        Op::Add | Op::Sub | Op::Mul | Op::Div => 2..=2,
        Op::Linear | Op::Conv(_) => 2..=3,
        Op::LayerNorm { .. } => 1..=3,
        Op::Cat { .. } => 1..=usize::MAX,
        Op::Unary(_)
        | Op::AvgPool(_)
        | Op::MaxPool(_)
        | Op::Pad { .. }
        | Op::Softmax { .. }
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
        Op::Add | Op::Sub | Op::Mul | Op::Div => broadcast(op, inputs)?,
        Op::Linear => linear(inputs)?,
        Op::Conv(conv) => convolution(conv, inputs)?,
        Op::AvgPool(pool) => average_pool(pool, x)?,
        Op::MaxPool(pool) => max_pool(pool, x)?,
        Op::Pad { amounts, padding } => pad(amounts, *padding, x)?,
        Op::LayerNorm { axes, .. } => layer_norm(*axes, inputs)?,
        Op::Softmax { dim } => {
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
    let known = shape.iter().filter_map(Dim::size);
    if known.filter(|&d| d != 0).try_fold(1usize, usize::checked_mul).is_none_or(|n| n > isize::MAX as usize / 8) {
        return Err(Error::unsupported(format!("a result of shape {} is larger than memory", format_shape(&shape))));
    }
    Ok(vec![Type::new(x.dtype, shape)])
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

fn convolution(conv: &Conv, inputs: &[&Type]) -> Result<Vec<Dim>> {
    let (x, weight) = (inputs[0], inputs[1]);
    let spatial = conv.stride.len();
    entries(spatial, &[conv.padding.len(), conv.dilation.len(), weight.rank().saturating_sub(2)])?;
    positive("stride", &conv.stride)?;
    positive("dilation", &conv.dilation)?;
    positive("groups", &[conv.groups])?;
    let start = spatial_start(x, spatial)?;
    let [Some(out), Some(channels)] = [weight.shape[0].size(), weight.shape[1].size()] else {
        return Err(Error::argument("the weight's sizes must be known"));
    };
    if out % conv.groups != 0 {
        return Err(Error::argument(format!("{out} output channels cannot be split into {} groups", conv.groups)));
    }
    let channels = channels.saturating_mul(conv.groups);
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
    for i in 0..spatial {
        let kernel = weight.shape[2 + i].size().unwrap_or(0);
        positive("kernel size", &[kernel])?;
        let (before, after) = conv.padding[i];
        shape[start + i] = x.shape[start + i].map(|size| {
            windows(size, before.saturating_add(after), kernel, conv.stride[i], conv.dilation[i])
                .ok_or_else(|| too_small(x, kernel))
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
    pool(x, [&p.kernel, &p.stride, &p.padding, &vec![1; p.kernel.len()]], p.ceil_mode)
}

fn max_pool(p: &MaxPool, x: &Type) -> Result<Vec<Dim>> {
    pool(x, [&p.kernel, &p.stride, &p.padding, &p.dilation], p.ceil_mode)
}

fn pad(amounts: &[(usize, usize)], padding: Padding, x: &Type) -> Result<Vec<Dim>> {
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
            let allowed = match padding {
                Padding::Constant(_) => true,
                Padding::Reflect => before < size.max(1) && after < size.max(1),
                Padding::Replicate => size > 0 || before + after == 0,
                Padding::Circular => before <= size && after <= size,
            };
            if !allowed {
                return Err(Error::argument(format!("{padding:?} padding of ({before}, {after}) on a size of {size}")));
            }
            size.checked_add(before)
                .and_then(|n| n.checked_add(after))
                .ok_or_else(|| Error::argument("padding overflows"))
        })?;
    }
    Ok(shape)
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
        None if start == end => x.shape[start].clone(),
        None => Dim::Unknown,
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
    let rest = size.size().map_or(Dim::Unknown, |size| Dim::Size(size / product.max(1)));
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
    use crate::{graph::Unary, tensor::DType};

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
        let y = infer(&Op::Conv(conv), &[&x, &weight]).unwrap().remove(0);
        assert_eq!(y.shape, [Dim::symbol("N"), Dim::Size(4), Dim::Unknown, Dim::Size(4)]);
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
        assert_eq!(one(Op::Mean { dims: vec![2, 3], keepdim: false }), [n, three]);
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
