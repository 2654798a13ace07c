//! Calls one after another, and what operations in place mean for other tensors of the same memory.

use std::rc::Rc;

use super::{
    table::{Operation, Target, bind, find},
    value::{Context, Item, Operand},
    views::{KEEPS_ORDER, write_back, write_back_piece},
};
use crate::{Error, Result};

/// A tensor that a program has made.
struct Cell {
    operand: Operand,
    view: Option<View>,
    /// The views of it, in the order in which they were made.
    children: Vec<usize>,
}

/// How a tensor is a view of another one.
#[derive(Clone)]
struct View {
    parent: usize,
    operation: &'static Operation,
    /// The arguments of the call that made it; the first is the parent.
    arguments: Vec<Item>,
    /// Which of the call's results it is, where there are several.
    element: Option<usize>,
    name: Rc<str>,
}

/// Whether two are the same tensor.
fn is_same(a: &Operand, b: &Operand) -> bool {
    match (a, b) {
        (Operand::Computed(a), Operand::Computed(b)) => a == b,
        (Operand::Constant(a), Operand::Constant(b)) => {
            a.tensor.is_same_view(&b.tensor) && a.tensor.dtype() == b.tensor.dtype()
        }
        _ => false,
    }
}

/// What tensors were at some time.
pub(super) struct Kept(Vec<Operand>);

/// Runs calls and remembers their tensors as cells.
pub(in crate::load) struct Interpreter {
    pub context: Context,
    cells: Vec<Cell>,
}

impl Interpreter {
    pub fn new() -> Self {
        Self { context: Context::new(), cells: Vec::new() }
    }

    /// A tensor in memory of its own.
    pub fn cell(&mut self, operand: Operand) -> Item {
        self.cells.push(Cell { operand, view: None, children: Vec::new() });
        Item::Cell(self.cells.len() - 1)
    }

    /// The tensor of a cell, as it is now.
    pub fn operand(&self, cell: usize) -> &Operand {
        &self.cells[cell].operand
    }

    /// Calls an operation with arguments by name or, where a name is not one of its parameters', by place. Tensors are
    /// given and returned as cells. `name` is what a known result is called.
    pub fn call(&mut self, target: Target, given: Vec<(&str, Item)>, name: &str) -> Result<Item> {
        let Target { operation, in_place } = target;
        let arguments = bind(operation, given)?;
        let first = match arguments.first() {
            Some(Item::Cell(cell)) => Some(*cell),
            _ => None,
        };
        let name: Rc<str> = name.into();
        let result = self.run(operation, arguments.clone(), &name)?;
        if in_place {
            let cell = first.ok_or_else(|| Error::format("an operation in place on what is no tensor"))?;
            let Item::Tensor(operand) = result else { return Err(Error::internal("an operation in place on several")) };
            self.write(cell, operand)?;
            return Ok(Item::Cell(cell));
        }
        // Of a tensor with gaps, or in another order, this is a copy.
        let copies = |cell: &usize| operation.name == "contiguous" && !self.is_dense(*cell);
        let parent = first.filter(|cell| operation.is_view && !copies(cell));
        Ok(self.keep(result, &mut |element| {
            parent.map(|parent| View { parent, operation, arguments: arguments.clone(), element, name: name.clone() })
        }))
    }

    /// The same tensors without a derivative.
    pub fn detached(&mut self, item: &Item) -> Result<Item> {
        match item {
            Item::Cell(cell) => {
                let target = find("torch.ops.aten.detach.default").ok_or_else(|| Error::internal("detach"))?;
                self.call(target, vec![("self", Item::Cell(*cell))], "detached")
            }
            Item::List(items) => items.iter().map(|item| self.detached(item)).collect::<Result<_>>().map(Item::List),
            other => Ok(other.clone()),
        }
    }

    /// Whether a tensor's elements stand one after another in its memory, as far as its views tell.
    fn is_dense(&self, mut cell: usize) -> bool {
        while let Some(View { parent, operation, arguments, .. }) = &self.cells[cell].view {
            let along = |at: usize| match arguments.get(at) {
                Some(Item::Int(dim)) => Some(*dim),
                _ => None,
            };
            let keeps = match operation.name {
                "select" | "narrow" | "unbind" => along(1) == Some(0),
                "slice" => along(1) == Some(0) && along(4).is_none_or(|step| step == 1),
                "split" | "split_with_sizes" | "chunk" | "tensor_split" => along(2) == Some(0),
                name => KEEPS_ORDER.contains(&name),
            };
            if !keeps {
                return false;
            }
            cell = *parent;
        }
        true
    }

    /// Applies a rule to the tensors as they are now.
    fn run(&mut self, operation: &'static Operation, arguments: Vec<Item>, name: &Rc<str>) -> Result<Item> {
        let arguments = arguments.into_iter().map(|item| self.current(item)).collect();
        operation.run(&mut self.context, arguments, name)
    }

    fn current(&self, item: Item) -> Item {
        match item {
            Item::Cell(cell) => Item::Tensor(self.cells[cell].operand.clone()),
            // A list holds no lists of tensors.
            Item::List(items) => Item::List(
                items
                    .into_iter()
                    .map(|item| match item {
                        Item::Cell(cell) => Item::Tensor(self.cells[cell].operand.clone()),
                        other => other,
                    })
                    .collect(),
            ),
            other => other,
        }
    }

    /// Puts the tensors of a result into cells.
    fn keep(&mut self, result: Item, view: &mut dyn FnMut(Option<usize>) -> Option<View>) -> Item {
        let mut one = |operand: Operand, element: Option<usize>| {
            let view = view(element);
            let at = self.cells.len();
            if let Some(view) = &view {
                self.cells[view.parent].children.push(at);
            }
            self.cells.push(Cell { operand, view, children: Vec::new() });
            Item::Cell(at)
        };
        match result {
            Item::Tensor(operand) => one(operand, None),
            Item::List(items) => Item::List(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(i, item)| match item {
                        Item::Tensor(operand) => one(operand, Some(i)),
                        other => other,
                    })
                    .collect(),
            ),
            other => other,
        }
    }

    /// The tensors as they are now.
    pub(super) fn keep_cells(&self) -> Kept {
        Kept(self.cells.iter().map(|cell| cell.operand.clone()).collect())
    }

    /// Whether a tensor of then is another one now.
    pub(super) fn is_other(&self, kept: &Kept, cell: usize) -> bool {
        kept.0.get(cell).is_some_and(|old| !is_same(&self.cells[cell].operand, old))
    }

    /// The tensors of then that are others now.
    pub(super) fn written_since(&self, kept: &Kept) -> Vec<(usize, Operand)> {
        let changed = |(at, (cell, old)): (usize, (&Cell, &Operand))| {
            // Views follow what they are views of.
            (!is_same(&cell.operand, old) && cell.view.is_none()).then(|| (at, cell.operand.clone()))
        };
        self.cells.iter().zip(&kept.0).enumerate().filter_map(changed).collect()
    }

    /// Takes the tensors back to what they were; newer ones are gone.
    pub(super) fn restore_cells(&mut self, kept: Kept) {
        let count = kept.0.len();
        self.cells.truncate(count);
        for (cell, operand) in self.cells.iter_mut().zip(kept.0) {
            cell.operand = operand;
            cell.children.retain(|&child| child < count);
        }
    }

    /// Gives a tensor other numbers, and with it all that share its memory.
    pub(super) fn write(&mut self, cell: usize, operand: Operand) -> Result<()> {
        // Up to what the tensor is a view of ...
        let mut path = vec![cell];
        self.cells[cell].operand = operand;
        while let Some(View { parent, operation, arguments, element, name }) =
            self.cells[path[path.len() - 1]].view.clone()
        {
            if matches!(operation.name, "reshape" | "flatten" | "ravel") && !self.is_dense(parent) {
                return Err(Error::unsupported(format!(
                    "it writes in place into a {} of a tensor that is not contiguous, which may be a copy or not; write \
                     `x = x.op()` instead of `x.op_()` there",
                    operation.name
                )));
            }
            let new = self.cells[path[path.len() - 1]].operand.clone();
            let old = self.cells[parent].operand.clone();
            self.cells[parent].operand = match element {
                None => write_back(&mut self.context, operation.name, &old, &arguments, &new)?,
                Some(element) => {
                    let Item::List(pieces) = self.run(operation, arguments.clone(), &name)? else {
                        return Err(Error::internal("a view of several tensors"));
                    };
                    write_back_piece(&mut self.context, operation.name, &old, &arguments, (&pieces, element), &new)?
                }
            };
            path.push(parent);
        }
        // ... and down to all other views of it.
        let mut rest: Vec<usize> = path.iter().flat_map(|&at| self.cells[at].children.clone()).collect();
        rest.retain(|at| !path.contains(at));
        while let Some(at) = rest.pop() {
            let Some(View { operation, arguments, element, name, .. }) = self.cells[at].view.clone() else { continue };
            let result = match (self.run(operation, arguments, &name)?, element) {
                (Item::List(mut items), Some(element)) if element < items.len() => items.swap_remove(element),
                (other, _) => other,
            };
            let Item::Tensor(operand) = result else { return Err(Error::internal("a view that is no tensor")) };
            self.cells[at].operand = operand;
            rest.extend(&self.cells[at].children);
        }
        Ok(())
    }
}
