//! Networks that together use every operation, and reproducible random numbers.
#![allow(dead_code)]

use std::sync::Arc;

use native_torch::{
    graph::{
        AvgPool, Blocks, Builder, Comparison, Conv, Dim, Graph, Interpolation, MaxPool, Op, Padding, Subgraph, Target,
        Unary, Upsample, ValueId,
    },
    tensor::Tensor,
};

/// A small generator (xorshift) of numbers in [-1, 1).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub fn vector(&mut self, length: usize) -> Vec<f64> {
        (0..length).map(|_| self.next()).collect()
    }

    pub fn tensor(&mut self, shape: &[usize]) -> Tensor {
        Tensor::from_slice(shape, &self.vector(shape.iter().product()))
    }
}

pub struct Case {
    pub name: String,
    pub graph: Graph,
}

fn sizes(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&d| Dim::Size(d)).collect()
}

/// A graph of one input of the given shape.
pub fn graph(shape: &[usize], build: impl FnOnce(&mut Builder, &mut Random, ValueId) -> ValueId) -> Graph {
    let mut b = Builder::new();
    let x = b.input("x", sizes(shape));
    let y = build(&mut b, &mut Random(7), x);
    b.finish(&[("y", y)]).unwrap()
}

/// A linear layer with random weights.
pub fn linear(b: &mut Builder, random: &mut Random, x: ValueId, output: usize, bias: bool) -> ValueId {
    let input = b.ty(x).shape.last().unwrap().size().unwrap();
    let weight = b.parameter("weight", random.tensor(&[output, input]));
    let bias = bias.then(|| b.parameter("bias", random.tensor(&[output])));
    b.linear(x, weight, bias).unwrap()
}

/// A network of linear layers with `unary` between.
pub fn mlp(widths: &[usize], unary: Unary) -> Graph {
    graph(&widths[..1], |b, random, x| {
        let mut h = x;
        for (i, &width) in widths[1..].iter().enumerate() {
            if i > 0 {
                h = b.unary(unary, h).unwrap();
            }
            h = linear(b, random, h, width, i % 2 == 0);
        }
        h
    })
}

/// Networks that together use every operation.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, graph: Graph| cases.push(Case { name: name.to_owned(), graph });
    // What is detached has no derivative that differences could show.
    for unary in Unary::examples().into_iter().filter(|unary| *unary != Unary::Detach) {
        let name = format!("{unary:?}");
        if unary.has_pole() || unary.domain().0.is_finite() || matches!(unary, Unary::Exp | Unary::Expm1) {
            case(
                &name,
                graph(&[4], |b, random, x| {
                    // Away from poles, and from where the function explodes.
                    let z = b.unary(Unary::Sigmoid, x).unwrap();
                    let y = b.unary(unary, z).unwrap();
                    linear(b, random, y, 3, true)
                }),
            );
        } else {
            case(&name, mlp(&[5, 9, 6, 3], unary));
        }
    }
    case("wide", mlp(&[3, 4, 7, 30], Unary::Tanh));
    case("narrow", mlp(&[30, 9, 7, 2], Unary::Tanh));
    case("linear alone", mlp(&[4, 3], Unary::Tanh));
    case("element-wise alone", graph(&[6], |b, _, x| b.unary(Unary::Tanh, x).unwrap()));
    case(
        "batch",
        graph(&[3, 4], |b, random, x| {
            let h = linear(b, random, x, 5, true);
            let h = b.unary(Unary::Sigmoid, h).unwrap();
            linear(b, random, h, 2, false)
        }),
    );
    for (dim, shape) in [(0, vec![4]), (1, vec![2, 3, 2]), (0, vec![3, 2]), (0, vec![])] {
        case(
            &format!("softmax {dim}"),
            graph(&shape, |b, random, x| {
                let h = b.node(Op::Softmax { dim }, &[x]).unwrap();
                let w = b.parameter("w", random.tensor(&shape));
                b.node(Op::Mul, &[h, w]).unwrap()
            }),
        );
    }
    for (dim, shape) in [(0, vec![4]), (1, vec![2, 3, 2]), (0, vec![])] {
        case(
            &format!("log_softmax {dim}"),
            graph(&shape, |b, random, x| {
                let h = b.node(Op::LogSoftmax { dim }, &[x]).unwrap();
                let w = b.parameter("w", random.tensor(&shape));
                b.node(Op::Mul, &[h, w]).unwrap()
            }),
        );
    }
    for (axes, affine, eps) in [(1, 1, Some(1e-2)), (2, 0, None)] {
        case(
            &format!("rms_norm {axes}"),
            graph(&[2, 2, 4], |b, random, x| {
                let mut inputs = vec![x];
                inputs.extend((0..affine).map(|_| b.parameter("weight", random.tensor(&[2, 2, 4][3 - axes..]))));
                let h = b.node(Op::RmsNorm { axes, eps }, &inputs).unwrap();
                b.unary(Unary::Tanh, h).unwrap()
            }),
        );
    }
    for weights in [vec![1], vec![3, 1]] {
        case(
            "prelu",
            graph(&[2, 3, 2], |b, random, x| {
                let weight = b.parameter("weight", random.tensor(&weights));
                let h = b.node(Op::Prelu, &[x, weight]).unwrap();
                b.unary(Unary::Sigmoid, h).unwrap()
            }),
        );
    }
    case("prelu of two inputs", {
        let mut b = Builder::new();
        let [x, w] = [("x", &[2, 3][..]), ("w", &[3])].map(|(name, shape)| b.input(name, sizes(shape)));
        let y = b.node(Op::Prelu, &[x, w]).unwrap();
        b.finish(&[("y", y)]).unwrap()
    });
    for (axes, affine) in [(1, 2), (2, 1), (1, 0)] {
        case(
            &format!("layer_norm {axes}"),
            graph(&[2, 2, 4], |b, random, x| {
                let shape = &[2, 2, 4][3 - axes..];
                let mut inputs = vec![x];
                inputs.extend((0..affine).map(|_| b.parameter("affine", random.tensor(shape))));
                let h = b.node(Op::LayerNorm { axes, eps: 1e-2 }, &inputs).unwrap();
                b.unary(Unary::Tanh, h).unwrap()
            }),
        );
    }
    let conv = |stride: usize, padding: (usize, usize), dilation: usize, groups: usize| Conv {
        stride: vec![stride, 1],
        padding: vec![padding, (0, 1)],
        dilation: vec![1, dilation],
        groups,
    };
    for (name, conv, shape, weight) in [
        ("conv", conv(1, (0, 0), 1, 1), vec![2, 5, 4], vec![3, 2, 2, 3]),
        ("conv strided", conv(2, (1, 0), 2, 1), vec![2, 2, 5, 4], vec![3, 2, 3, 2]),
        ("conv grouped", conv(1, (1, 1), 1, 2), vec![1, 4, 3, 3], vec![4, 2, 2, 2]),
        ("conv depthwise", conv(2, (2, 1), 1, 3), vec![3, 4, 4], vec![6, 1, 3, 2]),
    ] {
        case(
            name,
            graph(&shape, |b, random, x| {
                let w = b.parameter("weight", random.tensor(&weight));
                let bias = b.parameter("bias", random.tensor(&weight[..1]));
                let h = b.node(Op::Conv(conv), &[x, w, bias]).unwrap();
                let h = b.unary(Unary::Tanh, h).unwrap();
                let rank = b.ty(h).rank();
                let h = b.node(Op::Flatten { start: rank - 3, end: rank - 1 }, &[h]).unwrap();
                linear(b, random, h, 2, true)
            }),
        );
    }
    case(
        "conv 3d",
        graph(&[1, 2, 3, 3], |b, random, x| {
            let conv = Conv { stride: vec![1; 3], padding: vec![(1, 0); 3], dilation: vec![1; 3], groups: 1 };
            let w = b.parameter("weight", random.tensor(&[2, 1, 2, 2, 2]));
            b.node(Op::Conv(conv), &[x, w]).unwrap()
        }),
    );
    for (name, stride, padding, dilation, output_padding, groups, shape, weight) in [
        ("plain", [1, 1], [(0, 0); 2], [1, 1], [0, 0], 1, vec![2, 2, 3], vec![2, 3, 2, 2]),
        ("strided", [2, 3], [(1, 1), (0, 0)], [1, 2], [1, 2], 1, vec![2, 1, 3, 2], vec![1, 2, 3, 2]),
        ("grouped", [1, 2], [(0, 0), (1, 1)], [2, 1], [1, 0], 2, vec![1, 4, 2, 2], vec![4, 1, 2, 3]),
        ("gaps", [3, 3], [(0, 0); 2], [1, 1], [2, 0], 1, vec![1, 2, 2], vec![1, 1, 1, 2]),
    ] {
        let conv = Conv { stride: stride.to_vec(), padding: padding.to_vec(), dilation: dilation.to_vec(), groups };
        case(
            &format!("conv_transpose {name}"),
            graph(&shape, |b, random, x| {
                let op = Op::ConvTranspose { conv, output_padding: output_padding.to_vec() };
                let w = b.parameter("weight", random.tensor(&weight));
                let bias = b.parameter("bias", random.tensor(&[weight[1] * groups]));
                let h = b.unary(Unary::Sigmoid, x).unwrap();
                let h = b.node(op, &[h, w, bias]).unwrap();
                b.unary(Unary::Tanh, h).unwrap()
            }),
        );
    }
    for (ceil_mode, count_include_pad, divisor) in [(false, true, None), (true, false, None), (true, true, Some(-3))] {
        let pool = AvgPool {
            kernel: vec![2, 3],
            stride: vec![2, 2],
            padding: vec![1, 1],
            ceil_mode,
            count_include_pad,
            divisor,
        };
        case(
            "avg_pool",
            graph(&[2, 4, 5], |b, _, x| {
                let h = b.node(Op::AvgPool(pool), &[x]).unwrap();
                b.unary(Unary::Tanh, h).unwrap()
            }),
        );
    }
    let pool =
        MaxPool { kernel: vec![2, 2], stride: vec![1, 2], padding: vec![1, 0], dilation: vec![1, 2], ceil_mode: true };
    case(
        "max_pool",
        graph(&[2, 4, 5], |b, _, x| {
            let h = b.unary(Unary::Tanh, x).unwrap();
            b.node(Op::MaxPool(pool), &[h]).unwrap()
        }),
    );
    for op in [
        Op::AdaptiveMaxPool(vec![Some(2), None]),
        Op::AdaptiveMaxPool(vec![Some(3), Some(7)]),
        Op::AdaptiveAvgPool(vec![Some(2), Some(3)]),
        Op::AdaptiveAvgPool(vec![None, Some(7)]),
        Op::Unfold(Blocks { kernel: vec![2, 2], stride: vec![1, 2], dilation: vec![2, 1] }),
    ] {
        case(
            op.name(),
            graph(&[2, 4, 5], |b, _, x| {
                let h = b.node(op, &[x]).unwrap();
                b.unary(Unary::Tanh, h).unwrap()
            }),
        );
    }
    // Lines that are long enough for indices that read alike.
    for (stride, padding) in [(1, Padding::Circular), (2, Padding::Constant(0.5))] {
        let pool = AvgPool {
            kernel: vec![2, 3],
            stride: vec![1, stride],
            padding: vec![1, 1],
            ceil_mode: true,
            count_include_pad: false,
            divisor: None,
        };
        case(
            "long lines",
            graph(&[1, 2, 22], |b, _, x| {
                let h = b.node(Op::Pad { amounts: vec![(1, 0), (2, -1)], padding }, &[x]).unwrap();
                let h = b.node(Op::AvgPool(pool), &[h]).unwrap();
                let h = b.unary(Unary::Tanh, h).unwrap();
                b.node(Op::Permute { dims: vec![2, 0, 1] }, &[h]).unwrap()
            }),
        );
    }
    let blocks = Blocks { kernel: vec![2, 2], stride: vec![1, 2], dilation: vec![2, 1] };
    case(
        "fold",
        graph(&[2, 8, 4], |b, _, x| {
            let h = b.unary(Unary::Tanh, x).unwrap();
            b.node(Op::Fold { sizes: vec![4, 5], blocks }, &[h]).unwrap()
        }),
    );
    for (mode, align_corners) in [
        (Interpolation::Nearest, false),
        (Interpolation::NearestExact, false),
        (Interpolation::Linear, false),
        (Interpolation::Linear, true),
        (Interpolation::Cubic, true),
    ] {
        let target = if align_corners {
            Target::Sizes(vec![5, 2])
        } else {
            Target::Factors { factors: vec![0.7, 2.3], recompute: false }
        };
        case(
            "upsample",
            graph(&[1, 2, 4, 3], |b, _, x| {
                let h = b.node(Op::Upsample(Upsample { mode, target, align_corners }), &[x]).unwrap();
                b.unary(Unary::Sigmoid, h).unwrap()
            }),
        );
    }
    case(
        "volumes",
        graph(&[1, 3, 2, 3], |b, _, x| {
            let pool = AvgPool {
                kernel: vec![2; 3],
                stride: vec![1; 3],
                padding: vec![1, 0, 1],
                ceil_mode: false,
                count_include_pad: true,
                divisor: None,
            };
            let h = b.node(Op::AvgPool(pool), &[x]).unwrap();
            let h = b.unary(Unary::Tanh, h).unwrap();
            b.node(Op::AdaptiveMaxPool(vec![Some(3), Some(1), Some(2)]), &[h]).unwrap()
        }),
    );
    for (amounts, padding) in [
        ([(1, 2), (2, 0)], Padding::Constant(0.5)),
        ([(1, 2), (2, 0)], Padding::Reflect),
        ([(1, 2), (2, 0)], Padding::Replicate),
        ([(1, 2), (2, 0)], Padding::Circular),
        ([(-1, 2), (2, -3)], Padding::Constant(-0.5)),
        ([(2, -1), (0, -2)], Padding::Reflect),
        ([(-1, 2), (1, -1)], Padding::Circular),
    ] {
        case(
            "pad",
            graph(&[2, 3, 3], |b, _, x| {
                let h = b.node(Op::Pad { amounts: amounts.to_vec(), padding }, &[x]).unwrap();
                b.unary(Unary::Sigmoid, h).unwrap()
            }),
        );
    }
    for op in [
        Op::Permute { dims: vec![2, 0, 1, 3] },
        Op::Permute { dims: vec![0, 2, 1, 3] },
        Op::Permute { dims: vec![0, 1, 2, 3] },
        Op::Slice { dim: 1, start: 1, end: 9, step: 1 },
        Op::Slice { dim: 3, start: 0, end: 3, step: 2 },
        Op::Sum { dims: vec![1], keepdim: false },
        Op::Sum { dims: vec![3, 1], keepdim: true },
        Op::Mean { dims: vec![2, 3], keepdim: false },
        Op::Mean { dims: vec![0, 1, 2, 3], keepdim: false },
        Op::Unflatten { dim: 2, sizes: vec![None, Some(2), Some(1)] },
    ] {
        case(
            op.name(),
            graph(&[2, 3, 4, 3], |b, _, x| {
                let h = b.unary(Unary::Tanh, x).unwrap();
                let y = b.node(op, &[h]).unwrap();
                b.node(Op::Mul, &[y, y]).unwrap()
            }),
        );
    }
    for (name, op, shapes) in [
        ("add broadcast", Op::Add, [&[2, 1, 3][..], &[4, 1]]),
        ("sub broadcast", Op::Sub, [&[3], &[2, 3]]),
        ("mul broadcast", Op::Mul, [&[2, 3], &[]]),
        ("div", Op::Div, [&[2, 3], &[2, 3]]),
        ("div broadcast", Op::Div, [&[1, 3], &[2, 1]]),
    ] {
        case(name, {
            let mut b = Builder::new();
            let [x, z] = ["x", "z"].map(|name| b.input(name, sizes(shapes[usize::from(name == "z")])));
            // Away from 0, where a quotient has a pole.
            let z = b.unary(Unary::Softplus { beta: 1.0, threshold: 20.0 }, z).unwrap();
            let y = b.node(op, &[x, z]).unwrap();
            let c = b.parameter("c", Random(5).tensor(shapes[1]));
            let y = b.node(Op::Mul, &[y, c]).unwrap();
            b.finish(&[("y", y)]).unwrap()
        });
    }
    for comparison in Comparison::ALL {
        case(&format!("choice by {comparison:?}"), {
            let mut b = Builder::new();
            let [x, z] = [("x", &[2, 3][..]), ("z", &[3])].map(|(name, shape)| b.input(name, sizes(shape)));
            let h = linear(&mut b, &mut Random(3), x, 3, true);
            let mask = b.node(Op::Compare(comparison), &[h, z]).unwrap();
            let zero = b.parameter("zero", Tensor::from_slice(&[], &[0.0]));
            let other = b.node(Op::Compare(Comparison::Less), &[x, zero]).unwrap();
            let both = b.node(Op::Where, &[mask, other, mask]).unwrap();
            let square = b.unary(Unary::Square, x).unwrap();
            let y = b.node(Op::Where, &[both, square, z]).unwrap();
            let c = b.parameter("c", Random(5).tensor(&[3, 1, 1]));
            let y = b.node(Op::Where, &[other, y, c]).unwrap();
            let turned = b.node(Op::Permute { dims: vec![0, 2, 1] }, &[y]).unwrap();
            b.finish(&[("y", turned)]).unwrap()
        });
    }
    for (name, a, c) in [
        ("matrix product", vec![2, 1, 3], vec![1, 4, 3]),
        ("matrix product in batches", vec![2, 3, 1, 2], vec![2, 1, 2, 2]),
        ("matrix product, the right one repeated", vec![2, 2, 2, 1, 3], vec![2, 1, 1, 2, 3]),
        ("matrix product, the left one repeated", vec![2, 1, 2], vec![3, 1, 1, 2]),
    ] {
        case(name, matrix_product(&a, &c, false));
    }
    case("graph", branches());
    case("identity", graph(&[3], |_, _, x| x));
    cases
}

/// A flow of control between layers that bend: `flow` is given four numbers and a mask of one element.
fn flow(flow: impl FnOnce(&mut Builder, ValueId, ValueId) -> ValueId) -> Graph {
    graph(&[4], |b, random, x| {
        let h = linear(b, random, x, 4, true);
        let h = b.unary(Unary::Tanh, h).unwrap();
        let total = b.node(Op::Sum { dims: vec![0], keepdim: true }, &[h]).unwrap();
        let zero = b.parameter("zero", Tensor::from_slice(&[], &[0.0]));
        let mask = b.node(Op::Compare(Comparison::Greater), &[total, zero]).unwrap();
        let y = flow(b, h, mask);
        let y = b.unary(Unary::Sigmoid, y).unwrap();
        linear(b, random, y, 3, false)
    })
}

/// Networks in which values decide what is computed: a branch, and a loop, which has no bounds.
pub fn flows() -> [Case; 2] {
    let branches = flow(|b, x, mask| {
        let then = graph(&[2, 2], |b, random, x| {
            let h = linear(b, random, x, 2, true);
            let y = b.unary(Unary::Tanh, h).unwrap();
            b.node(Op::Mul, &[y, y]).unwrap()
        });
        let other = graph(&[2, 2], |b, _, x| b.unary(Unary::Relu, x).unwrap());
        b.node(Op::If([then, other].map(|graph| Subgraph(Arc::new(graph)))), &[mask, x]).unwrap()
    });
    [("a branch", branches), ("a loop", turns())].map(|(name, graph)| Case { name: name.to_owned(), graph })
}

/// A loop whose turns depend on its values: three numbers are carried, the fourth stays.
fn turns() -> Graph {
    flow(|b, x, _| {
        let step = |condition: bool| {
            let mut b = Builder::new();
            let [x, c] = [("x", 3), ("c", 1)].map(|(name, size)| b.input(name, sizes(&[size])));
            let y = if condition {
                let size = b.unary(Unary::Square, x).unwrap();
                let total = b.node(Op::Sum { dims: vec![0], keepdim: false }, &[size]).unwrap();
                let limit = b.parameter("limit", Tensor::from_slice(&[], &[1.5]));
                b.node(Op::Compare(Comparison::Less), &[total, limit]).unwrap()
            } else {
                let h = linear(&mut b, &mut Random(4), x, 3, true);
                let h = b.unary(Unary::Sigmoid, h).unwrap();
                let h = b.node(Op::Mul, &[h, c]).unwrap();
                let h = b.add(x, h).unwrap();
                let more = b.parameter("more", Tensor::from_slice(&[], &[0.25]));
                b.add(h, more).unwrap()
            };
            Subgraph(Arc::new(b.finish(&[("y", y)]).unwrap()))
        };
        b.node(Op::While { condition: step(true), body: step(false) }, &[x]).unwrap()
    })
}

/// The matrices of two inputs multiplied, as a sum of element-wise products, which may be an output, too.
pub fn matrix_product(a: &[usize], c: &[usize], shows_terms: bool) -> Graph {
    let mut b = Builder::new();
    let [x, z] = [("x", a), ("z", c)].map(|(name, shape)| b.input(name, sizes(shape)));
    let left = b.unary(Unary::Tanh, x).unwrap();
    let terms = b.node(Op::Mul, &[left, z]).unwrap();
    let last = b.ty(terms).rank() - 1;
    let product = b.node(Op::Sum { dims: vec![last], keepdim: false }, &[terms]).unwrap();
    let y = b.unary(Unary::Sigmoid, product).unwrap();
    let outputs = [("y", y), ("terms", terms)];
    b.finish(&outputs[..if shows_terms { 2 } else { 1 }]).unwrap()
}

/// Two inputs, two outputs, a residual, a product, a concatenation, a constant branch, and an output used again.
pub fn branches() -> Graph {
    let mut b = Builder::new();
    let mut random = Random(11);
    let x = b.input("x", sizes(&[4]));
    let z = b.input("z", sizes(&[2]));
    let h = linear(&mut b, &mut random, x, 4, true);
    let h = b.unary(Unary::Tanh, h).unwrap();
    let residual = b.add(x, h).unwrap();
    let w = linear(&mut b, &mut random, residual, 2, true);
    let product = b.node(Op::Mul, &[w, z]).unwrap();
    let difference = b.node(Op::Sub, &[product, z]).unwrap();
    let constant = b.parameter("c", random.tensor(&[2]));
    let constant = b.unary(Unary::Sigmoid, constant).unwrap();
    let joined = b.node(Op::Cat { dim: 0 }, &[difference, constant, residual]).unwrap();
    let y = b.unary(Unary::Sigmoid, joined).unwrap();
    let squares = b.node(Op::Mul, &[joined, joined]).unwrap();
    let unused = b.unary(Unary::Relu, y).unwrap();
    assert_eq!(b.ty(unused).rank(), 1);
    b.finish(&[("y", y), ("joined", joined), ("squares", squares), ("constant", constant), ("z", z)]).unwrap()
}
