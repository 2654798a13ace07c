//! Modules to graphs.

use super::{
    layers::{Expects, Pair, Place},
    module::{CUSTOM_REASON, Custom, Layer, Module},
};
use crate::{
    Error, Result,
    graph::{Builder, Dim, Graph, Named, ValueId},
    tensor::DType,
};

/// An input of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleInput {
    /// Its name in torch's forward: `input`, or those of a layer of two inputs.
    pub name: String,
    /// [`DType::F64`] for one that derivatives are taken by, [`DType::I64`] for integers.
    pub dtype: DType,
    /// Its shape, batched, where the first layers fix it.
    pub shape: Option<Vec<Dim>>,
}

impl ModuleInput {
    /// The inputs of a graph.
    pub fn of(graph: &Graph) -> Vec<Self> {
        let input = |input: &Named| {
            let ty = graph.ty(input.value);
            Self { name: input.name.clone(), dtype: ty.dtype, shape: Some(ty.shape.clone()) }
        };
        graph.inputs().iter().map(input).collect()
    }
}

/// A caller's forward of custom layers: adds the layer's operations to the builder and returns its output.
pub type CustomForward<'a> = dyn FnMut(&Module, &Custom, &mut Builder, ValueId) -> Result<ValueId> + 'a;

impl Module {
    /// The graph of the model, with one input `input` and one output `output`. Parameters have their names in the state
    /// dict.
    ///
    /// Without a shape, the input has the one that the first layer asks for, batched: `[N, in_features]` for Linear,
    /// `[N, C, H, W]` for Conv2d, `[N, ..]` for LayerNorm. Where the first layers do not say, the error names the layer
    /// that needs the shape. A model that begins with Embedding takes integers, which are given to the graph with
    /// [`Graph::with_integers`]; one of two inputs needs [`Module::graph_of`]. Layers that are not supported, and
    /// custom layers, are errors that name them.
    pub fn graph(&self, input: Option<&[Dim]>) -> Result<Graph> {
        if let Some((module, reason)) = self.unsupported().into_iter().next() {
            return Err(refusal(module, &reason));
        }
        self.graph_with(input, &mut |module, _, _, _| Err(refusal(module, CUSTOM_REASON)))
    }

    /// The graph of the model for inputs of these shapes, one for each input of torch's forward and under its name: two
    /// for the layers Bilinear (`input1`, `input2`), CosineSimilarity and PairwiseDistance (`x1`, `x2`), which must be
    /// the whole model; one, `input`, for all others. Otherwise as [`Module::graph`].
    pub fn graph_of(&self, inputs: &[Vec<Dim>]) -> Result<Graph> {
        if let Some((module, reason)) = self.unsupported().into_iter().next() {
            return Err(refusal(module, &reason));
        }
        let steps = self.steps();
        match (self.pair(&steps), inputs) {
            (Some((step, pair)), [a, b]) => graph_of_pair(step, pair, [a.clone(), b.clone()]),
            (None, [one]) => self.graph(Some(one)),
            (pair, shapes) => {
                let (count, s) = if pair.is_some() { (2, "s") } else { (1, "") };
                let given = shapes.len();
                Err(Error::argument(format!("the model has {count} input{s}, but {given} were given")))
            }
        }
    }

    /// The graph of [`Module::graph`] without a shape, with one example in the batch. Where the first layers leave other
    /// sizes open, the error names what needs them.
    pub fn example(&self) -> Result<Graph> {
        let graph = self.graph(None)?;
        let shapes: Option<Vec<Vec<usize>>> =
            graph.inputs().iter().map(|input| one_example(&graph.ty(input.value).shape)).collect();
        match shapes {
            Some(shapes) => graph.specialize(&shapes),
            None => {
                let first = graph.nodes().first().map(|node| node.scope.clone()).unwrap_or_default();
                graph.check_concrete().map_err(|error| error.at(first)).map(|()| graph)
            }
        }
    }

    /// What the model takes, in the order of its shapes, whether or not its layers are supported.
    pub fn inputs(&self) -> Vec<ModuleInput> {
        let steps = self.steps();
        if let Some((_, pair)) = self.pair(&steps) {
            let shapes = pair.shapes().map_or([None, None], |shapes| shapes.map(Some));
            let inputs = pair.names().into_iter().zip(shapes);
            return inputs
                .map(|(name, shape)| ModuleInput { name: name.to_owned(), dtype: DType::F64, shape })
                .collect();
        }
        let dtype = if takes_integers(&steps) { DType::I64 } else { DType::F64 };
        vec![ModuleInput { name: "input".to_owned(), dtype, shape: default_input(&steps).ok() }]
    }

    /// The only layer, if it has two inputs.
    fn pair<'a>(&self, steps: &[&'a Module]) -> Option<(&'a Module, &'a dyn Pair)> {
        let [step] = steps else { return None };
        match step.layer() {
            Layer::Standard(layer) => layer.pair().map(|pair| (*step, pair)),
            _ => None,
        }
    }

    /// The same as [`Module::graph`], with a forward for custom layers.
    pub fn graph_with(&self, input: Option<&[Dim]>, custom: &mut CustomForward) -> Result<Graph> {
        let steps = self.steps();
        if let Some((step, pair)) = self.pair(&steps) {
            return match (input, pair.shapes()) {
                (None, Some(shapes)) => graph_of_pair(step, pair, shapes),
                _ => Err(Error::argument("it has two inputs; give a shape for each").at(step.place())),
            };
        }
        let shape = match input {
            Some(shape) => shape.to_vec(),
            None => default_input(&steps)?,
        };
        let mut builder = Builder::new();
        let mut x =
            if takes_integers(&steps) { builder.integers("input", shape) } else { builder.input("input", shape) };
        for step in steps {
            let scope = step.place();
            builder.set_scope(&*scope);
            x = match step.layer() {
                Layer::Standard(layer) => {
                    layer.apply(x, &mut Place { builder: &mut builder, path: step.path(), scope: &scope })?
                }
                Layer::Custom(record) => custom(step, record, &mut builder, x)?,
                Layer::Unsupported { reason } => return Err(refusal(step, reason)),
                Layer::Sequential => x,
            };
        }
        builder.finish(&[("output", x)])
    }

    /// The layers that are called one after another.
    fn steps(&self) -> Vec<&Module> {
        let mut steps = Vec::new();
        let mut stack = vec![self];
        while let Some(module) = stack.pop() {
            match module.layer() {
                Layer::Sequential => stack.extend(module.children().iter().rev()),
                _ => steps.push(module),
            }
        }
        steps
    }
}

fn graph_of_pair(step: &Module, pair: &dyn Pair, shapes: [Vec<Dim>; 2]) -> Result<Graph> {
    let mut builder = Builder::new();
    let [first, second] = pair.names();
    let [a, b] = shapes;
    let inputs = [builder.input(first, a), builder.input(second, b)];
    let scope = step.place();
    builder.set_scope(&*scope);
    let y = pair.apply(inputs, &mut Place { builder: &mut builder, path: step.path(), scope: &scope })?;
    builder.finish(&[("output", y)])
}

/// Whether the first layer that is not indifferent to its input takes integers.
fn takes_integers(steps: &[&Module]) -> bool {
    let expects = |step: &&Module| match step.layer() {
        Layer::Standard(layer) => layer.expects(),
        _ => Expects::Given,
    };
    let first = steps.iter().map(expects).find(|expects| !matches!(expects, Expects::Any));
    matches!(first, Some(Expects::Integers))
}

/// The sizes with 1 for the batch, which is a symbol in front; `None` if others are not known.
fn one_example(shape: &[Dim]) -> Option<Vec<usize>> {
    let size = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Symbol(_) if axis == 0 && shape.len() > 1 => Some(1),
        dim => dim.size(),
    };
    shape.iter().enumerate().map(size).collect()
}

fn refusal(module: &Module, reason: &str) -> Error {
    Error::unsupported(reason).at(module.place())
}

/// The input that the first layer with a say in it asks for.
fn default_input(steps: &[&Module]) -> Result<Vec<Dim>> {
    for step in steps {
        let expects = match step.layer() {
            Layer::Standard(layer) => layer.expects(),
            _ => Expects::Given,
        };
        match expects {
            Expects::Any => {}
            Expects::Shape(shape) => return Ok(shape),
            Expects::Given | Expects::Integers => {
                let message = "it needs to know the input's shape, which no layer before it fixes; give the shape";
                return Err(Error::argument(message).at(step.place()));
            }
        }
    }
    Err(Error::argument("no layer of the model fixes the shape of its input; give the shape"))
}
