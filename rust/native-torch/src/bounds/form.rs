//! What the elements of a result are made of: sums with fixed coefficients, maxima of windows, copies, groups.
//!
//! Bounds and lowerings are the same loops over different numbers; the loops over layers' geometry are here.

use crate::{
    Error, Result,
    graph::{Broadcast, Graph, Map, Node, Op, Source, Windows, split_at_dim},
};

/// One summand: `coefficient` times an element of an operand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    /// The position among the node's operands.
    pub operand: usize,
    /// The element, flat and row-major.
    pub element: usize,
    /// The factor.
    pub coefficient: f64,
}

/// Where an element is copied from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// An element of an operand.
    Element {
        /// The position among the node's operands.
        operand: usize,
        /// The element, flat and row-major.
        element: usize,
    },
    /// A number.
    Constant(f64),
}

/// The stored numbers of an operand; an error if the model computes it, or if one is not finite.
pub(crate) fn stored(graph: &Graph, node: &Node, operand: usize, what: &str) -> Result<Vec<f64>> {
    let mut value = node.inputs[operand];
    // A parameter in another shape has the same numbers.
    while let Source::Node { node, .. } = graph.values()[value.index()].source
        && matches!(graph.nodes()[node].op, Op::Flatten { .. } | Op::Unflatten { .. })
    {
        value = graph.nodes()[node].inputs[0];
    }
    let Source::Parameter(index) = graph.values()[value.index()].source else {
        return Err(Error::unsupported(format!(
            "{}: the {what} is computed by the model; bounds and formulations need a stored one",
            node.scope
        )));
    };
    numbers(graph, index).map_err(|e| e.at(&node.scope))
}

/// The numbers of a parameter, all finite.
pub(crate) fn numbers(graph: &Graph, parameter: usize) -> Result<Vec<f64>> {
    let parameter = &graph.parameters()[parameter];
    let values = parameter.tensor.to_vec::<f64>().map_err(|e| e.at(format!("parameter `{}`", parameter.name)))?;
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Error::argument(format!(
            "parameter `{}` holds {} at {i}; bounds and formulations need finite numbers",
            parameter.name, values[i]
        ))),
        None => Ok(values),
    }
}

/// A linear layer, row by row.
pub(crate) fn linear(
    graph: &Graph,
    node: &Node,
    mut emit: impl FnMut(usize, &[Term], f64) -> Result<()>,
) -> Result<()> {
    let weight = stored(graph, node, 1, "weight")?;
    let bias = if node.inputs.len() > 2 { stored(graph, node, 2, "bias")? } else { Vec::new() };
    let sizes = graph.sizes(node.inputs[1]);
    let (out, features) = (sizes[0], sizes[1]);
    let batch = graph.numel(node.outputs[0]) / out.max(1);
    let mut terms = Vec::with_capacity(features);
    for n in 0..batch {
        for o in 0..out {
            terms.clear();
            let row = &weight[o * features..(o + 1) * features];
            terms.extend(row.iter().enumerate().map(|(i, &coefficient)| Term {
                operand: 0,
                element: n * features + i,
                coefficient,
            }));
            emit(n * out + o, &terms, bias.get(o).copied().unwrap_or(0.0))?;
        }
    }
    Ok(())
}

/// The sum of two operands with these factors.
pub(crate) fn sum(
    graph: &Graph,
    node: &Node,
    factors: [f64; 2],
    mut emit: impl FnMut(usize, &[Term], f64) -> Result<()>,
) -> Result<()> {
    let places: [Broadcast; 2] = broadcasts(graph, node);
    for element in 0..graph.numel(node.outputs[0]) {
        let term =
            |operand: usize| Term { operand, element: places[operand].at(element), coefficient: factors[operand] };
        emit(element, &[term(0), term(1)], 0.0)?;
    }
    Ok(())
}

/// Which elements of the operands stand behind each element of the result.
pub(crate) fn broadcasts<const N: usize>(graph: &Graph, node: &Node) -> [Broadcast; N] {
    let result = graph.sizes(node.outputs[0]);
    std::array::from_fn(|operand| Broadcast::new(&graph.sizes(node.inputs[operand]), &result))
}

/// A convolution or a transposed one, row by row.
pub(crate) fn convolution(
    graph: &Graph,
    node: &Node,
    mut emit: impl FnMut(usize, &[Term], f64) -> Result<()>,
) -> Result<()> {
    let weight = stored(graph, node, 1, "weight")?;
    let bias = if node.inputs.len() > 2 { stored(graph, node, 2, "bias")? } else { Vec::new() };
    let sizes = graph.sizes(node.inputs[1]);
    let kernel = &sizes[2..];
    let taps: usize = kernel.iter().product();
    let image = Image::new(graph, node, kernel.len());
    let (windows, groups, transposed) = match &node.op {
        Op::Conv(conv) => (Windows::convolution(conv, kernel, &image.sizes, &image.result), conv.groups, false),
        Op::ConvTranspose { conv, .. } => {
            (Windows::transposed_convolution(conv, kernel, &image.sizes, &image.result), conv.groups, true)
        }
        _ => unreachable!("a convolution"),
    };
    let channels = image.channels / groups;
    let out = if transposed { sizes[1] } else { sizes[0] / groups };
    // The filter from a channel of the operand to one of the result, both counted in their group.
    let filter = |group: usize, c: usize, o: usize| {
        let (row, column) = if transposed { (group * channels + c, o) } else { (group * out + o, c) };
        &weight[(row * sizes[1] + column) * taps..][..taps]
    };
    let mut terms = Vec::new();
    for plane in 0..image.batch * groups * out {
        let (n, group, o) = (plane / out / groups, plane / out % groups, plane % out);
        let mut done = Ok(());
        windows.for_each(|place, reads| {
            if done.is_err() {
                return;
            }
            terms.clear();
            for c in 0..channels {
                let start = (n * image.channels + group * channels + c) * image.plane;
                let filter = filter(group, c, o);
                terms.extend(reads.iter().map(|read| Term {
                    operand: 0,
                    element: start + read.place,
                    coefficient: filter[read.tap],
                }));
            }
            done = emit(plane * windows.len() + place, &terms, bias.get(group * out + o).copied().unwrap_or(0.0));
        });
        done?;
    }
    Ok(())
}

/// The linear map of a node that is one.
pub(crate) fn map_of(graph: &Graph, node: &Node) -> Map {
    Map::of(&node.op, &graph.sizes(node.inputs[0])).expect("the operation is a linear map")
}

/// A linear map, row by row.
pub(crate) fn map(map: &Map, mut emit: impl FnMut(usize, &[Term], f64) -> Result<()>) -> Result<()> {
    let mut terms = Vec::new();
    let mut done = Ok(());
    map.for_each(|row, reads| {
        if done.is_err() {
            return;
        }
        terms.clear();
        terms.extend(reads.map(|(element, coefficient)| Term { operand: 0, element, coefficient }));
        done = emit(row, &terms, if terms.is_empty() { map.constant } else { 0.0 });
    });
    done
}

/// A linear map that copies: where each element comes from.
pub(crate) fn copies(map: &Map) -> Vec<Place> {
    let mut places = Vec::with_capacity(map.len());
    map.for_each(|_, reads| {
        places.push(match reads.next() {
            Some((element, _)) => Place::Element { operand: 0, element },
            None => Place::Constant(map.constant),
        });
    });
    places
}

/// A maximum pool: the elements of each window that lie inside the input.
pub(crate) fn max_pool(graph: &Graph, node: &Node, mut emit: impl FnMut(usize, &[usize]) -> Result<()>) -> Result<()> {
    let map = Map::of_maximum(&node.op, &graph.sizes(node.inputs[0])).expect("the operation is a maximum pool");
    let mut candidates = Vec::new();
    let mut done = Ok(());
    map.for_each(|row, reads| {
        candidates.clear();
        candidates.extend(reads.map(|(element, _)| element));
        if done.is_ok() && candidates.is_empty() {
            done = Err(Error::unsupported(format!(
                "{}: a window lies wholly in the padding, where the maximum is -inf",
                node.scope
            )));
        }
        if done.is_ok() {
            done = emit(row, &candidates);
        }
    });
    done
}

/// Rows of a table at stored indices.
pub(crate) fn embedding(graph: &Graph, node: &Node) -> Result<Vec<Place>> {
    let sizes = graph.sizes(node.inputs[0]);
    let mut places = Vec::new();
    for row in graph.embedding_rows(node)? {
        places.extend((row * sizes[1]..(row + 1) * sizes[1]).map(|element| Place::Element { operand: 0, element }));
    }
    Ok(places)
}

/// Operands one after another along a dimension.
pub(crate) fn cat(graph: &Graph, node: &Node, dim: usize) -> Vec<Place> {
    let rows: Vec<usize> = node.inputs.iter().map(|&v| graph.sizes(v)[dim..].iter().product()).collect();
    let outer: usize = graph.sizes(node.outputs[0])[..dim].iter().product();
    let mut places = Vec::with_capacity(graph.numel(node.outputs[0]));
    for o in 0..outer {
        for (operand, &row) in rows.iter().enumerate() {
            places.extend((o * row..(o + 1) * row).map(|element| Place::Element { operand, element }));
        }
    }
    places
}

/// The elements that a softmax over `dim` makes sum to one, group by group.
pub(crate) fn softmax_groups(graph: &Graph, node: &Node, dim: usize) -> Vec<Vec<usize>> {
    let (outer, size, inner) = split_at_dim(&graph.sizes(node.inputs[0]), dim);
    let group = |o: usize, i: usize| (0..size).map(|k| (o * size + k) * inner + i).collect();
    (0..outer).flat_map(|o| (0..inner).map(move |i| group(o, i))).collect()
}

/// The dimensions of a batched or single image and of what is computed from it.
struct Image {
    batch: usize,
    channels: usize,
    /// Spatial sizes of the operand and of the result.
    sizes: Vec<usize>,
    result: Vec<usize>,
    /// Elements of one channel of the operand.
    plane: usize,
}

impl Image {
    fn new(graph: &Graph, node: &Node, spatial: usize) -> Self {
        let (sizes, result) = (graph.sizes(node.inputs[0]), graph.sizes(node.outputs[0]));
        let start = sizes.len() - spatial;
        Self {
            batch: if start == 2 { sizes[0] } else { 1 },
            channels: sizes[start - 1],
            plane: sizes[start..].iter().product(),
            sizes: sizes[start..].to_vec(),
            result: result[start..].to_vec(),
        }
    }
}
