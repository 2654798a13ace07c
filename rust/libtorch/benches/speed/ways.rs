//! The ways in which a program on `tch` can have f, J and H of a net: as tensors, by autograd.

use native_torch::graph::{Graph, Op, Source, Unary, ValueId};
use native_torch_bench::{Call, nets::numbers};
use tch::{CModule, Kind, Tensor, no_grad};

/// f of the rows of a batch.
type Forward = Box<dyn Fn(&Tensor) -> Tensor>;

/// A call made of f, at a point.
type Rule = dyn Fn(&Forward, &Tensor) -> Tensor;

/// A call at the point of this number, of two, whose result is a tensor.
pub struct Way {
    pub name: String,
    pub call: Box<dyn Fn(usize) -> Tensor>,
}

fn parameter(graph: &Graph, value: ValueId) -> Tensor {
    let Source::Parameter(index) = graph.values()[value.index()].source else { panic!("the value is no parameter") };
    let tensor = &graph.parameters()[index].tensor;
    let sizes: Vec<i64> = tensor.shape().iter().map(|&size| size as i64).collect();
    Tensor::from_slice(&tensor.to_vec::<f64>().expect("the parameter holds numbers")).reshape(sizes)
}

/// The calls of ATen that a programmer writes for a chain of these operations.
fn eager(graph: &Graph) -> Forward {
    let steps: Vec<Forward> = graph
        .nodes()
        .iter()
        .map(|node| {
            let weights: Vec<Tensor> = node.inputs[1..].iter().map(|&value| parameter(graph, value)).collect();
            let step: Forward = match &node.op {
                Op::Linear => Box::new(move |x| x.linear(&weights[0], Some(&weights[1]))),
                Op::Unary(Unary::Tanh) => Box::new(Tensor::tanh),
                Op::Conv(conv) => {
                    let [stride, padding] = [conv.stride[0], conv.padding[0].0].map(|size| [size as i64; 2]);
                    Box::new(move |x| x.conv2d(&weights[0], Some(&weights[1]), stride, padding, [1, 1], 1))
                }
                Op::MaxPool(pool) => {
                    let [kernel, stride] = [pool.kernel[0], pool.stride[0]].map(|size| [size as i64; 2]);
                    Box::new(move |x| x.max_pool2d(kernel, stride, [0, 0], [1, 1], false))
                }
                Op::Flatten { .. } => Box::new(|x| x.flatten(1, -1)),
                other => panic!("no call of tch is known for {other:?}"),
            };
            step
        })
        .collect();
    Box::new(move |x| steps.iter().fold(x.shallow_clone(), |x, step| step(&x)))
}

/// The same as a module of TorchScript, that tch records itself.
fn traced(graph: &Graph, point: &Tensor) -> Forward {
    let forward = eager(graph);
    let record = &mut |inputs: &[Tensor]| vec![forward(&inputs[0])];
    let module = CModule::create_by_tracing("net", "forward", &[point.shallow_clone()], record);
    let module = module.expect("the net can be traced");
    Box::new(move |x| module.forward_ts(&[x]).expect("the module runs"))
}

fn requiring(x: &Tensor) -> Tensor {
    x.detach().copy().set_requires_grad(true)
}

fn gradient(y: &Tensor, x: &Tensor, keep: bool, differentiable: bool) -> Tensor {
    Tensor::run_backward(&[y], &[x], keep, differentiable).remove(0)
}

/// The derivatives of each of `count` elements of the vector y, one after another.
fn rows(y: &Tensor, x: &Tensor, count: i64) -> Tensor {
    if count == 1 {
        return gradient(&y.sum(None), x, false, false).reshape([1, -1]);
    }
    let row = |i| gradient(&y.get(i), x, true, false).reshape([-1]);
    Tensor::stack(&(0..count).map(row).collect::<Vec<_>>(), 0)
}

/// The point so many times, as rows of a batch.
fn repeated(x: &Tensor, count: i64) -> Tensor {
    let mut sizes = vec![count];
    sizes.extend(&x.size()[x.dim() - rank(x)..]);
    x.expand(&sizes, false).contiguous().set_requires_grad(true)
}

/// The dimensions of one point: of an image three, of a vector one.
fn rank(x: &Tensor) -> usize {
    if x.dim() == 4 { 3 } else { 1 }
}

fn jacobian_by_rows(f: &Forward, x: &Tensor, m: i64) -> Tensor {
    let x = requiring(x);
    rows(&f(&x).reshape([-1]), &x, m)
}

/// Row i of the batch is differentiated by its element i alone, so that one pass gives all rows.
fn jacobian_by_batch(f: &Forward, x: &Tensor, m: i64) -> Tensor {
    let x = repeated(x, m);
    gradient(&f(&x).trace(), &x, false, false).reshape([m, -1])
}

fn hessian_by_rows(f: &Forward, x: &Tensor, mu: &Tensor, n: i64) -> Tensor {
    let x = requiring(x);
    let g = gradient(&f(&x).reshape([-1]).dot(mu), &x, true, true).reshape([-1]);
    rows(&g, &x, n)
}

/// As [`jacobian_by_batch`] of the gradient, so many rows at once.
fn hessian_by_batch(f: &Forward, x: &Tensor, mu: &Tensor, n: i64, together: i64) -> Tensor {
    let part = |start: i64| {
        let count = together.min(n - start);
        let x = repeated(x, count);
        let g = gradient(&f(&x).mv(mu).sum(None), &x, true, true).reshape([count, n]);
        gradient(&g.narrow(1, start, count).trace(), &x, false, false).reshape([count, n])
    };
    Tensor::cat(&(0..n).step_by(together as usize).map(part).collect::<Vec<_>>(), 0)
}

/// Numbers as they lie, from which a tensor is made.
fn bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// All ways to a call at the points that [`native_torch_bench::caller`] uses.
pub fn ways(graph: &Graph, call: Call) -> Vec<Way> {
    let sizes: Vec<i64> = graph.sizes(graph.inputs()[0].value).iter().map(|&size| size as i64).collect();
    let n: i64 = sizes.iter().product();
    let m = graph.numel(graph.outputs()[0].value) as i64;
    let mu = Tensor::from_slice(&numbers(m as usize, 1.0));
    let points = [1.0, 0.5].map(|scale| bytes(&numbers(n as usize, scale)));
    // A vector is taken as it is, or as a batch of one row.
    let batch = if sizes.len() == 1 { vec![1, n] } else { sizes.clone() };
    let mut shapes = vec![("", batch)];
    if sizes.len() == 1 {
        shapes.push((" of a vector", sizes));
    }
    let mut ways = Vec::new();
    for (shape, sizes) in shapes {
        for kind in ["eager", "TorchScript"] {
            let forward = || match kind {
                "eager" => eager(graph),
                _ => traced(graph, &Tensor::from_data_size(&points[0], &sizes, Kind::Double)),
            };
            let mut add = |name: &str, call: Box<Rule>| {
                let (forward, points, sizes) = (forward(), points.clone(), sizes.clone());
                let point = move |i: usize| Tensor::from_data_size(&points[i % 2], &sizes, Kind::Double);
                let call = Box::new(move |i: usize| call(&forward, &point(i)));
                ways.push(Way { name: format!("{kind}{shape}{name}"), call });
            };
            let mu = || mu.shallow_clone();
            let is_batch = shape.is_empty();
            match call {
                Call::Value => add("", Box::new(|f, x| no_grad(|| f(x)))),
                Call::Jacobian => {
                    add(", by rows", Box::new(move |f, x| jacobian_by_rows(f, x, m)));
                    if is_batch {
                        add(", by a batch", Box::new(move |f, x| jacobian_by_batch(f, x, m)));
                    }
                }
                Call::Hessian => {
                    let mu_of_rows = mu();
                    add(", by rows", Box::new(move |f, x| hessian_by_rows(f, x, &mu_of_rows, n)));
                    for parts in [1, 8].into_iter().filter(|&parts| is_batch && n > 100 * (parts - 1)) {
                        let (mu, together) = (mu(), (n + parts - 1) / parts);
                        let name =
                            if parts == 1 { ", by a batch".to_owned() } else { format!(", by batches of {together}") };
                        add(&name, Box::new(move |f, x| hessian_by_batch(f, x, &mu, n, together)));
                    }
                }
            }
        }
    }
    ways
}
