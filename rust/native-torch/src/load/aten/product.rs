//! Matrix products, and what is made of them: linear layers, attention, Einstein sums.

use super::{
    call::Call,
    constant::{Array, broadcast},
    elementwise,
    normalization::softmax_of,
    shape::{expand, known, permute, reshape, squeeze, transpose, unsqueeze},
    value::{Item, Marks, Operand},
};
use crate::{
    Error, Result,
    graph::{Dim, Op, format_shape},
    tensor::DType,
};

pub(super) fn linear(call: &mut Call) -> Result<Item> {
    let (x, weight) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    linear_of(call, &x, &weight, bias.as_ref()).map(Item::Tensor)
}

/// `x W' + b`.
pub(super) fn linear_of(call: &mut Call, x: &Operand, weight: &Operand, bias: Option<&Operand>) -> Result<Operand> {
    let known = |operand: &Operand| operand.constant().is_some();
    let rank = call.context.rank(weight);
    if known(weight) && rank == 2 && bias.is_none_or(known) {
        let operands: Vec<&Operand> = [x, weight].into_iter().chain(bias).collect();
        return call.node(Op::Linear, &operands);
    }
    let turned = if rank < 2 { weight.clone() } else { transpose(call.context, weight, rank - 2, rank - 1)? };
    let y = product(call, x, &turned)?;
    match bias {
        Some(bias) => elementwise::sum(call, &y, bias),
        None => Ok(y),
    }
}

/// A known matrix, also where it is one that is only repeated along leading dimensions.
fn matrix(call: &mut Call, x: &Operand) -> Result<Option<Operand>> {
    let Some(constant) = x.constant() else { return Ok(None) };
    let tensor = &constant.tensor;
    let leading = tensor.shape().len().saturating_sub(2);
    if tensor.shape().len() < 2
        || tensor.strides()[..leading].iter().zip(tensor.shape()).any(|(&s, &n)| s != 0 && n != 1)
    {
        return Ok(None);
    }
    let mut y = x.clone();
    for _ in 0..leading {
        y = super::shape::select(call.context, &y, 0, 0)?;
    }
    Ok(Some(y))
}

/// The product of the last two dimensions, those in front repeated to each other, as `torch.matmul` has it.
pub(super) fn product(call: &mut Call, a: &Operand, b: &Operand) -> Result<Operand> {
    let (ranks, shapes) = ([a, b].map(|x| call.context.rank(x)), [a, b].map(|x| call.context.shape(x)));
    let wrong =
        || Error::format(format!("a product of shapes {} and {}", format_shape(&shapes[0]), format_shape(&shapes[1])));
    if ranks.contains(&0) {
        return Err(wrong());
    }
    // Vectors are rows on the left and columns on the right.
    if ranks[0] == 1 || ranks[1] == 1 {
        let left = if ranks[0] == 1 { unsqueeze(call.context, a, 0)? } else { a.clone() };
        let right = if ranks[1] == 1 { unsqueeze(call.context, b, 1)? } else { b.clone() };
        let y = product(call, &left, &right)?;
        let rank = call.context.rank(&y);
        let mut gone = Vec::new();
        gone.extend((ranks[1] == 1).then(|| rank - 1));
        gone.extend((ranks[0] == 1).then(|| rank - 2));
        return squeeze(call.context, &y, &gone);
    }
    if !shapes[0][ranks[0] - 1].agrees(&shapes[1][ranks[1] - 2]) {
        return Err(wrong());
    }
    if let Some(weight) = matrix(call, b)? {
        let y = {
            let turned = transpose(call.context, &weight, 0, 1)?;
            call.node(Op::Linear, &[a, &turned])?
        };
        // Dimensions of one that only the matrix had.
        let missing = ranks[1].saturating_sub(ranks[0]);
        let y = (0..missing).try_fold(y, |y, _| unsqueeze(call.context, &y, 0))?;
        let own = call.context.shape(&y);
        let leading = ranks[1] - 2;
        let start = own.len() - 2 - leading;
        let mut target: Vec<_> = own.iter().cloned().map(Some).collect();
        for i in 0..leading {
            if own[start + i].size() == Some(1) {
                target[start + i] = Some(shapes[1][i].clone());
            }
        }
        return expand(call.context, &y, &target);
    }
    if let Some(weight) = matrix(call, a)?
        && ranks[0] == 2
    {
        let turned = transpose(call.context, b, ranks[1] - 2, ranks[1] - 1)?;
        let y = call.node(Op::Linear, &[&turned, &weight])?;
        return transpose(call.context, &y, ranks[1] - 2, ranks[1] - 1);
    }
    let sizes = [call.context.sizes(a, "a matrix product")?, call.context.sizes(b, "a matrix product")?];
    let leading = broadcast(&sizes[0][..ranks[0] - 2], &sizes[1][..ranks[1] - 2])?;
    let rank = leading.len() + 2;
    // All pairs of rows and columns, multiplied element by element.
    let turned = transpose(call.context, b, ranks[1] - 2, ranks[1] - 1)?;
    let rows = unsqueeze(call.context, a, ranks[0] - 1)?;
    let columns = unsqueeze(call.context, &turned, ranks[1] - 2)?;
    let products = elementwise::product(call, &rows, &columns)?;
    call.node(Op::Sum { dims: vec![rank], keepdim: false }, &[&products])
}

pub(super) fn matmul(call: &mut Call) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor(call.parameters[1])?);
    product(call, &a, &b).map(Item::Tensor)
}

/// `beta self + alpha a b`: `addmm`, `baddbmm`, `addmv`.
pub(super) fn added(call: &mut Call) -> Result<Item> {
    let c = call.tensor("self")?;
    let (a, b) = (call.tensor(call.parameters[1])?, call.tensor(call.parameters[2])?);
    let (alpha, beta) = (call.scalar("alpha")?, call.scalar("beta")?);
    // A linear layer, as core ATen writes it.
    if alpha == 1.0
        && beta == 1.0
        && call.context.rank(&c) == 1
        && call.context.rank(&a) == 2
        && c.constant().is_some()
        && let Some(weight) = matrix(call, &b)?
        && call.context.shape(&c)[0] == call.context.shape(&weight)[1]
    {
        let weight = transpose(call.context, &weight, 0, 1)?;
        return call.node(Op::Linear, &[&a, &weight, &c]).map(Item::Tensor);
    }
    let y = product(call, &a, &b)?;
    let y = elementwise::times(call, &y, alpha)?;
    if beta == 0.0 {
        return Ok(Item::Tensor(y));
    }
    let c = elementwise::times(call, &c, beta)?;
    elementwise::sum(call, &c, &y).map(Item::Tensor)
}

/// `softmax(q k' scale + mask) v` (Vaswani et al., 2017).
pub(super) fn attention(call: &mut Call) -> Result<Item> {
    let (q, k, v) = (call.tensor("query")?, call.tensor("key")?, call.tensor("value")?);
    if call.float("dropout_p")? != 0.0 {
        return Err(Error::unsupported(
            "attention with dropout, which gives other numbers in each call; call model.eval() before exporting",
        ));
    }
    let (rank, key_rank) = (call.context.rank(&q), call.context.rank(&k));
    if rank < 2 || key_rank < 2 {
        return Err(Error::format("attention of less than matrices"));
    }
    let (mut k, mut v) = (k, v);
    let (sizes, key_sizes) = (call.context.sizes(&q, "attention")?, call.context.sizes(&k, "attention")?);
    let width = sizes[rank - 1];
    if call.has("enable_gqa") && call.bool("enable_gqa")? && rank >= 3 && key_rank >= 3 {
        // Several heads of the queries share one of the keys and values.
        let times = sizes[rank - 3] / key_sizes[key_rank - 3].max(1);
        [k, v] = [repeat_heads(call, &k, times)?, repeat_heads(call, &v, times)?];
    }
    let scale = call.optional_float("scale")?.unwrap_or(1.0 / (width as f64).sqrt());
    let turned = transpose(call.context, &k, key_rank - 2, key_rank - 1)?;
    let scores = product(call, &q, &turned)?;
    let mut scores = elementwise::times(call, &scores, scale)?;
    let mut masked = None;
    if let Some(mask) = call.optional_tensor("attn_mask")? {
        let mask = match mask.constant() {
            Some(constant) if constant.tensor.dtype() == DType::Bool => {
                let array = Array::of(constant)?;
                call.constant(array.map(DType::F64, |v| if v != 0.0 { 0.0 } else { f64::NEG_INFINITY }))
            }
            _ => mask,
        };
        masked = Some(mask);
    }
    if call.bool("is_causal")? {
        let (rows, columns) = (sizes[rank - 2], key_sizes[key_rank - 2]);
        let place = |e: usize| if e % columns > e / columns { f64::NEG_INFINITY } else { 0.0 };
        let triangle = Array::new(&[rows, columns], (0..rows * columns).map(place).collect(), DType::F64);
        masked = Some(call.constant(triangle));
    }
    if let Some(mask) = &masked {
        scores = elementwise::sum(call, &scores, mask)?;
    }
    let last = call.context.rank(&scores) - 1;
    let mut weights = softmax_of(call, &scores, last)?;
    // Queries to which all is masked get nothing.
    if let Some(Marks { places, .. }) = call.context.marks(&weights).cloned() {
        let open = call.constant(places.map(DType::F64, |place| 1.0 - place));
        let values = [call.context.raw(&weights), call.context.raw(&open)];
        weights = Operand::Computed(call.context.builder.node(Op::Mul, &values)?);
    }
    product(call, &weights, &v).map(Item::Tensor)
}

/// The same, of which the second result is only of use in training.
pub(super) fn attention_with_sums(call: &mut Call) -> Result<Item> {
    Ok(Item::List(vec![attention(call)?, Item::None]))
}

fn repeat_heads(call: &mut Call, x: &Operand, times: usize) -> Result<Operand> {
    let sizes = call.context.sizes(x, "attention")?;
    let heads = sizes.len() - 3;
    let indices: Vec<usize> = (0..sizes[heads]).flat_map(|head| std::iter::repeat_n(head, times)).collect();
    super::shape::gather(call.context, x, heads, &indices, &[indices.len()])
}

/// A sum of products over indices that letters name.
pub(super) fn einsum(call: &mut Call) -> Result<Item> {
    let equation = call.text("equation")?;
    let operands = call.tensors("tensors")?;
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let refusal = || Error::unsupported(format!("the Einstein sum `{}`", equation.escape_debug()));
    let equation = spelled(call, &equation, &operands).ok_or_else(refusal)?;
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, right.to_owned()),
        None => {
            let mut letters: Vec<char> = equation.chars().filter(|c| *c != ',').collect();
            letters.sort_unstable();
            let once = letters.chunk_by(|a, b| a == b).filter(|run| run.len() == 1).map(|run| run[0]);
            (equation.as_str(), once.collect())
        }
    };
    let terms: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
    let result: Vec<char> = right.chars().collect();
    if terms.len() != operands.len() {
        return Err(refusal());
    }
    let mut pairs = Vec::new();
    for (mut letters, mut x) in terms.into_iter().zip(operands) {
        let rank = call.context.rank(&x);
        if letters.len() != rank {
            return Err(Error::format(format!(
                "`{equation}` names {} dimensions of a tensor of {rank}",
                letters.len()
            )));
        }
        // A letter that a term has twice is its diagonal.
        while let Some((a, b)) = twice(&letters) {
            let dims = [Item::Int(0), Item::Int(a as i64), Item::Int(b as i64)];
            let Item::Tensor(diagonal) = call.apply("diagonal", [Item::Tensor(x)].into_iter().chain(dims).collect())?
            else {
                return Err(Error::internal("a diagonal"));
            };
            x = diagonal;
            letters.remove(b);
            let letter = letters.remove(a);
            letters.push(letter);
        }
        pairs.push((letters, x));
    }
    // Sizes of 1 are repeated to those of other terms.
    let mut longest: Vec<(char, usize)> = Vec::new();
    for (letters, x) in &pairs {
        for (&letter, size) in letters.iter().zip(call.context.sizes(x, "an Einstein sum")?) {
            match longest.iter_mut().find(|entry| entry.0 == letter) {
                Some(entry) => entry.1 = entry.1.max(size),
                None => longest.push((letter, size)),
            }
        }
    }
    for (letters, x) in &mut pairs {
        let size = |letter: &char| longest.iter().find(|entry| entry.0 == *letter).map_or(1, |entry| entry.1);
        let wanted: Vec<usize> = letters.iter().map(size).collect();
        *x = expand(call.context, x, &known(&wanted))?;
    }
    let mut pairs = pairs.into_iter();
    let (mut letters, mut y) = pairs.next().ok_or_else(refusal)?;
    let rest: Vec<(Vec<char>, Operand)> = pairs.collect();
    for (i, (other_letters, other)) in rest.iter().enumerate() {
        // What neither a later operand nor the result needs is summed in the product.
        let needed = |letter: &char| {
            result.contains(letter) || rest[i + 1..].iter().any(|(letters, _)| letters.contains(letter))
        };
        (letters, y) = contract(call, (&letters, &y), (other_letters, other), &needed)
            .map_err(|e| e.at(format!("`{equation}`")))?;
    }
    // Letters that only the last operand has and the result lacks.
    let gone: Vec<usize> = (0..letters.len()).filter(|&i| !result.contains(&letters[i])).collect();
    if !gone.is_empty() {
        y = call.node(Op::Sum { dims: gone.clone(), keepdim: false }, &[&y])?;
        letters.retain(|letter| result.contains(letter));
    }
    let order: Option<Vec<usize>> = result.iter().map(|letter| letters.iter().position(|l| l == letter)).collect();
    let order = order.filter(|order| order.len() == letters.len()).ok_or_else(refusal)?;
    permute(call.context, &y, &order).map(Item::Tensor)
}

/// The places of a letter that stands twice.
fn twice(letters: &[char]) -> Option<(usize, usize)> {
    (0..letters.len()).find_map(|b| Some((letters[..b].iter().position(|letter| *letter == letters[b])?, b)))
}

/// The equation with letters for the dimensions that `...` stands for, counted from the last; these come first in a
/// result that is not written.
fn spelled(call: &Call, equation: &str, operands: &[Operand]) -> Option<String> {
    if !equation.contains("...") {
        return (!equation.contains('.')).then(|| equation.to_owned());
    }
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation, None),
    };
    let free: Vec<char> = ('\u{e000}'..='\u{e0ff}').collect();
    let hidden = |term: &str, x: &Operand| call.context.rank(x).checked_sub(term.replace("...", "").chars().count());
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != operands.len() {
        return None;
    }
    let counts: Vec<usize> = terms.iter().zip(operands).map(|(term, x)| hidden(term, x)).collect::<Option<_>>()?;
    let most = terms.iter().zip(&counts).filter(|(term, _)| term.contains("...")).map(|(_, &count)| count).max()?;
    let letters = |count: usize| -> Option<String> { Some(free.get(..most)?[most - count..].iter().collect()) };
    let spell = |(term, count): (&&str, &usize)| match term.contains("...") {
        true => Some(term.replacen("...", &letters(*count)?, 1)),
        false => Some((*term).to_owned()),
    };
    let left = terms.iter().zip(&counts).map(spell).collect::<Option<Vec<_>>>()?.join(",");
    let right = match right {
        Some(right) => right.replacen("...", &letters(most)?, 1),
        None => {
            let mut own: Vec<char> = terms.concat().chars().filter(|c| *c != '.').collect();
            own.sort_unstable();
            let once = own.chunk_by(|a, b| a == b).filter(|run| run.len() == 1).map(|run| run[0]);
            letters(most)?.chars().chain(once).collect()
        }
    };
    Some(format!("{left}->{right}"))
}

type Term<'a> = (&'a [char], &'a Operand);

/// The product of two terms as one of matrices: shared letters that stay count batches, those that do not are summed.
fn contract(
    call: &mut Call,
    (a_letters, a): Term,
    (b_letters, b): Term,
    needed: &dyn Fn(&char) -> bool,
) -> Result<(Vec<char>, Operand)> {
    let mut sizes: Vec<(char, usize)> = Vec::new();
    for (letters, x) in [(a_letters, a), (b_letters, b)] {
        let own = call.context.sizes(x, "an Einstein sum")?;
        let repeated = letters.iter().enumerate().any(|(i, letter)| letters[..i].contains(letter));
        if own.len() != letters.len() || repeated {
            return Err(Error::unsupported("a term that names an index twice, or not all"));
        }
        sizes.extend(letters.iter().copied().zip(own));
    }
    let size = |letter: &char| sizes.iter().find(|entry| entry.0 == *letter).map_or(1, |entry| entry.1);
    let pick = |test: &dyn Fn(&char) -> bool, from: &[char]| -> Vec<char> {
        from.iter().copied().filter(|l| test(l)).collect()
    };
    let batch = pick(&|l| b_letters.contains(l) && needed(l), a_letters);
    let summed = pick(&|l| b_letters.contains(l) && !needed(l), a_letters);
    let rows = pick(&|l| !b_letters.contains(l), a_letters);
    let columns = pick(&|l| !a_letters.contains(l), b_letters);
    let count = |letters: &[char]| letters.iter().map(size).product::<usize>();
    let arranged = |call: &mut Call, letters: &[char], x: &Operand, groups: [&[char]; 3]| -> Result<Operand> {
        let place = |letter: &char| letters.iter().position(|l| l == letter).expect("of this term");
        let order: Vec<usize> = groups.concat().iter().map(place).collect();
        let turned = permute(call.context, x, &order)?;
        reshape(call.context, &turned, &known(&groups.map(count)))
    };
    let left = arranged(call, a_letters, a, [&batch, &rows, &summed])?;
    let right = arranged(call, b_letters, b, [&batch, &summed, &columns])?;
    let y = product(call, &left, &right)?;
    let letters = [&batch[..], &rows, &columns].concat();
    let shape: Vec<usize> = letters.iter().map(size).collect();
    Ok((letters, reshape(call.context, &y, &known(&shape))?))
}

/// `input1' weight[o] input2 + bias[o]` for each output.
pub(super) fn bilinear(call: &mut Call) -> Result<Item> {
    let (a, b, weight) = (call.tensor("input1")?, call.tensor("input2")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    let [out, first, second] = call.context.sizes(&weight, "a bilinear layer")?[..] else {
        return Err(Error::format("the weight of a bilinear layer has three dimensions"));
    };
    let rows = reshape(call.context, &weight, &known(&[out * first, second]))?;
    let products = call.node(Op::Linear, &[&b, &rows])?;
    let mut shape: Vec<Option<Dim>> = call.context.shape(&b).into_iter().map(Some).collect();
    shape.pop();
    shape.extend(known(&[out, first]));
    let products = reshape(call.context, &products, &shape)?;
    let rank = call.context.rank(&a);
    let a = unsqueeze(call.context, &a, rank.saturating_sub(1))?;
    let terms = elementwise::product(call, &a, &products)?;
    let sums = call.node(Op::Sum { dims: vec![rank], keepdim: false }, &[&terms])?;
    match bias {
        Some(bias) => elementwise::sum(call, &sums, &bias).map(Item::Tensor),
        None => Ok(Item::Tensor(sums)),
    }
}

/// The product of three tensors, each with some dimensions of one added, summed over dimensions.
pub(super) fn trilinear(call: &mut Call) -> Result<Item> {
    let mut factors = Vec::new();
    for (name, expanded) in [("i1", "expand1"), ("i2", "expand2"), ("i3", "expand3")] {
        let mut x = call.tensor(name)?;
        for dim in call.sizes(expanded)? {
            x = unsqueeze(call.context, &x, dim)?;
        }
        factors.push(x);
    }
    // Two that are known are multiplied first, if there are any.
    let outer = elementwise::product(call, &factors[0], &factors[2])?;
    let all = elementwise::product(call, &outer, &factors[1])?;
    let dims = call.sizes("sumdim")?;
    call.node(Op::Sum { dims, keepdim: false }, &[&all]).map(Item::Tensor)
}
