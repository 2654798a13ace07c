//! Modules to graphs.

use super::{
    layers::{Expects, Place},
    module::{CUSTOM_REASON, Custom, Layer, Module},
};
use crate::{
    Error, Result,
    graph::{Builder, Dim, Graph, ValueId},
};

/// A caller's forward of custom layers: adds the layer's operations to the builder and returns its output.
pub type CustomForward<'a> = dyn FnMut(&Module, &Custom, &mut Builder, ValueId) -> Result<ValueId> + 'a;

impl Module {
    /// The graph of the model, with one input `input` and one output `output`. Parameters have their names in the state
    /// dict.
    ///
    /// Without a shape, the input has the one that the first layer asks for, batched: `[N, in_features]` for Linear,
    /// `[N, C, H, W]` for Conv2d, `[N, ..]` for LayerNorm. Where the first layers do not say, the error names the layer
    /// that needs the shape. Layers that are not supported, and custom layers, are errors that name them.
    pub fn graph(&self, input: Option<&[Dim]>) -> Result<Graph> {
        if let Some((module, reason)) = self.unsupported().into_iter().next() {
            return Err(refusal(module, &reason));
        }
        self.graph_with(input, &mut |module, _, _, _| Err(refusal(module, CUSTOM_REASON)))
    }

    /// The same, with a forward for custom layers.
    pub fn graph_with(&self, input: Option<&[Dim]>, custom: &mut CustomForward) -> Result<Graph> {
        let steps = self.steps();
        let shape = match input {
            Some(shape) => shape.to_vec(),
            None => default_input(&steps)?,
        };
        let mut builder = Builder::new();
        let mut x = builder.input("input", shape);
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
            Expects::Given => {
                let message = "it needs to know the input's shape, which no layer before it fixes; give the shape";
                return Err(Error::argument(message).at(step.place()));
            }
        }
    }
    Err(Error::argument("no layer of the model fixes the shape of its input; give the shape"))
}
