//! A graph as a list of calls of ATen's operations: what both formats print, each in its own words.

mod call;
mod flow;
mod images;
mod names;
mod nodes;
mod unary;
mod writer;

pub(super) use call::{Argument, Block, Call, Flow, Kind, Program, Size, Var, Variable, Weight};
pub(super) use names::{Names, identifier};
pub(super) use writer::program;
