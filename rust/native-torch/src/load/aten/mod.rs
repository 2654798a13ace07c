//! ATen's operations as operations of the graph: one table, from which every format that holds calls of ATen is read.
//!
//! A call is found by its name and overload, its arguments are put in the order of the operation's parameters, with the
//! defaults of those that are left out, and a rule adds nodes to the graph. What does not depend on the inputs is computed
//! at once, so that masks, indices and positions are known. Operations that write in place become ones that do not.

mod call;
mod constant;
mod convolution;
mod create;
mod elementwise;
mod extremes;
mod flow;
mod formula;
mod interpreter;
mod normalization;
mod places;
mod product;
mod recurrent;
mod reduction;
mod shape;
mod table;
mod value;
mod views;

pub(super) use call::number;
pub(super) use constant::integers;
pub(super) use flow::{Branch, Given, TURNS, numbers as as_numbers};
pub(super) use interpreter::Interpreter;
pub(super) use table::{Operation, Target, find, overloads};
pub(super) use value::{Constant, Item, Operand};
