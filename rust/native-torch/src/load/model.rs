//! What a file holds that can become a graph, whatever its form.

use std::sync::Arc;

use super::{Module, ModuleInput, NamedTensor, Program, Script};
use crate::{
    Error, Result,
    graph::{Dim, Graph},
};

/// A model: a module whose layers are known, or a program of operations.
#[derive(Debug)]
pub enum Model {
    /// What `torch.save(model)` wrote.
    Module(Module),
    /// What `torch.export.save` wrote.
    Program(Arc<Program>),
    /// What `torch.jit.save` wrote.
    Script(Arc<Script>),
}

impl Model {
    /// The module, if it is one.
    pub fn module(&self) -> Option<&Module> {
        match self {
            Model::Module(module) => Some(module),
            Model::Program(_) | Model::Script(_) => None,
        }
    }

    /// The operations of a program, of torch.export or TorchScript, with the number of calls of each; `None` for a module.
    pub fn operations(&self) -> Option<Vec<(String, usize)>> {
        match self {
            Model::Module(_) => None,
            Model::Program(program) => {
                Some(program.operations().into_iter().map(|(name, calls)| (name.to_owned(), calls)).collect())
            }
            Model::Script(script) => Some(script.operations()),
        }
    }

    /// What the model takes, in the order of its shapes.
    pub fn inputs(&self) -> Vec<ModuleInput> {
        match self {
            Model::Module(module) => module.inputs(),
            Model::Program(program) => program.inputs(),
            Model::Script(script) => script.inputs(),
        }
    }

    /// The graph for an input of this shape; without one, that of the shapes which the model asks for by itself, with
    /// symbols for sizes that it leaves open. See [`Module::graph`] and [`Program::graph`].
    pub fn graph(&self, input: Option<&[Dim]>) -> Result<Graph> {
        match (self, input) {
            (Model::Module(module), input) => module.graph(input),
            (Model::Program(program), None) => program.graph(),
            (Model::Program(program), Some(shape)) => program.graph_of(&[shape.to_vec()]),
            (Model::Script(script), None) => script.example(),
            (Model::Script(script), Some(shape)) => script.graph_of(&[shape.to_vec()]),
        }
    }

    /// The graph for inputs of these shapes, one for each of [`Model::inputs`].
    pub fn graph_of(&self, inputs: &[Vec<Dim>]) -> Result<Graph> {
        match self {
            Model::Module(module) => module.graph_of(inputs),
            Model::Program(program) => program.graph_of(inputs),
            Model::Script(script) => script.graph_of(inputs),
        }
    }

    /// The same with the integers of the inputs that hold such, one input after another; the graph has the other inputs.
    /// Without shapes, those that the model asks for by itself. See [`Graph::with_integers`] and [`Program::graph_given`].
    pub fn graph_given(&self, inputs: Option<&[Vec<Dim>]>, integers: &[i64]) -> Result<Graph> {
        match (self, inputs) {
            (Model::Program(program), Some(shapes)) => program.graph_given(shapes, integers),
            (Model::Program(program), None) => program.graph_given(&program.least(), integers),
            (Model::Script(script), Some(shapes)) => script.graph_given(shapes, integers),
            (Model::Script(script), None) => script.graph_given(&script.shapes()?, integers),
            (Model::Module(module), Some(shapes)) => module.graph_of(shapes)?.with_integers(integers),
            (Model::Module(module), None) => module.example()?.with_integers(integers),
        }
    }

    /// The graph of the shapes that the model asks for by itself, all known: see [`Module::example`] and
    /// [`Program::example`].
    pub fn example(&self) -> Result<Graph> {
        match self {
            Model::Module(module) => module.example(),
            Model::Program(program) => program.example(),
            Model::Script(script) => script.example(),
        }
    }

    /// Everything that keeps the model from becoming a graph: where it is or what it is called, and why.
    pub fn unsupported(&self) -> Vec<(String, String)> {
        match self {
            Model::Module(module) => {
                module.unsupported().into_iter().map(|(module, reason)| (module.place(), reason)).collect()
            }
            // What of its code runs is known when the inputs' shapes are.
            Model::Script(_) => Vec::new(),
            Model::Program(program) => program
                .unsupported()
                .iter()
                .map(|(name, places)| {
                    (name.clone(), format!("the engine does not have this operation, called by {places}"))
                })
                .collect(),
        }
    }

    /// The number of elements of all parameters, those that are shared counted once.
    pub fn parameter_count(&self) -> usize {
        match self {
            Model::Module(module) => module.total_parameter_count(),
            Model::Program(program) => program.parameter_count(),
            Model::Script(script) => script.parameter_count(),
        }
    }

    /// The class of the module, or of the one that the program was made of.
    pub fn class(&self) -> String {
        match self {
            Model::Module(module) => module.class().to_owned(),
            Model::Program(program) => program.class().to_owned(),
            Model::Script(script) => script.class_path(),
        }
    }

    /// The tensors of a program, under their names in the module; none of a module, whose layers hold them.
    pub fn program_tensors(&self) -> Vec<NamedTensor> {
        match self {
            Model::Module(_) => Vec::new(),
            Model::Program(program) => program.tensors().cloned().collect(),
            Model::Script(script) => script.tensors().cloned().collect(),
        }
    }

    /// The short name of its class, of a module with its attributes.
    pub fn describe(&self) -> String {
        match self {
            Model::Module(module) => module.describe(),
            program => program.class().rsplit('.').next().unwrap_or_default().to_owned(),
        }
    }

    /// The module; an error for a program, of which `what` is not had.
    pub fn expect_module(&self, what: &str) -> Result<&Module> {
        self.module().ok_or_else(|| {
            Error::unsupported(format!(
                "the file holds a program of torch.export.save or torch.jit.save, which has no {what}; save the module with torch.save(model, path)"
            ))
        })
    }
}
