//! Functions of a serialized program as steps of a stack machine.

use std::{collections::HashMap, sync::Arc};

/// A file of code: its classes and functions.
#[derive(Debug, Default)]
pub(super) struct Unit {
    pub classes: HashMap<String, Class>,
    pub functions: HashMap<String, Arc<Function>>,
}

/// A class: a module's, or a tuple with names.
#[derive(Debug, Default)]
pub(super) struct Class {
    /// What it extends: `Module`, `NamedTuple`.
    pub base: String,
    pub methods: HashMap<String, Arc<Function>>,
    /// The names in the class's list of parameters.
    pub parameters: Vec<String>,
    /// The names that its body declares, in order.
    pub fields: Vec<String>,
    /// Their types.
    pub types: Vec<Type>,
    /// Attributes that are constants of the class.
    pub constants: HashMap<String, Literal>,
}

/// A function or a method.
#[derive(Debug)]
pub(super) struct Function {
    /// The record that holds it.
    pub record: Arc<str>,
    pub parameters: Vec<Parameter>,
    pub steps: Vec<Step>,
    /// For each step, the line of the record and the byte at which its expression begins.
    pub places: Vec<(u32, u32)>,
    /// The number of its variables; the parameters are the first.
    pub slots: usize,
    /// The names of the variables.
    pub names: Vec<String>,
}

/// A parameter of a function.
#[derive(Debug)]
pub(super) struct Parameter {
    pub name: String,
    pub ty: Option<Type>,
    pub default: Option<Literal>,
}

/// A type as it is annotated: `Tuple[Tensor, int]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Type {
    pub name: String,
    pub arguments: Vec<Type>,
}

/// A value that stands in the code.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// A function or class by its qualified name.
    Global(Arc<str>),
    List(Vec<Literal>),
    Tuple(Vec<Literal>),
    /// What stands in a variable that no taken branch sets.
    Uninitialized,
}

/// A step of the machine. What it takes is on the top of the stack, the last on top.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Push(Literal),
    /// The constant of this number in the file's table.
    Constant(usize),
    Load(usize),
    Store(usize),
    Attribute(Arc<str>),
    /// Takes the object and the value.
    SetAttribute(Arc<str>),
    Index,
    List(usize),
    Tuple(usize),
    /// Takes keys and values in turn.
    Dict(usize),
    Unpack(usize),
    Call(Call),
    /// Whether a value is of one of these types.
    IsInstance(Vec<Type>),
    Jump(usize),
    /// Goes on elsewhere if the value is false.
    Unless(usize),
    /// Compares the variable `count` with `limit`; gives the count to `variable`, or goes on at `end`.
    Each {
        count: usize,
        limit: usize,
        variable: usize,
        end: usize,
    },
    Drop,
    Return,
}

/// A call with its arguments on the stack, those by keyword last.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub callee: Callee,
    /// The number of all arguments.
    pub count: usize,
    /// The names of the last ones.
    pub keywords: Vec<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(super) enum Callee {
    /// `torch.add`, `__torch__.f`, `int`.
    Global(Arc<str>),
    /// A method of the object below the arguments.
    Method(Arc<str>),
    /// The function below the arguments.
    Value,
}
