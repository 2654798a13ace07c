//! Runs a program on inputs of known shapes: what depends on sizes and constants alone is computed, every branch whose
//! condition is known is taken or not, and calls of ATen's operations become the operations of a graph.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use super::{
    super::{
        aten::{Constant, Interpreter, Item, Operand},
        records::{RecordId, printable},
        value::View,
    },
    Script, builtins,
    code::{Call, Callee, Function, Step, Type},
    overload,
    value::{DEPTH, Heap, Value},
};
use crate::{Error, ErrorKind, Result, graph::ValueId, tensor::DType};

/// A program may take this many steps, fewer where a fuzzer waits for them ...
const STEPS: usize = 1 << if cfg!(fuzzing) { 13 } else { 22 };
/// ... with functions that call each other this deep ...
const FRAMES: usize = 256;
/// ... and constants of this many elements in all.
const CONSTANTS: usize = 1 << 27;

/// A program that runs.
pub(super) struct Machine<'a> {
    pub script: &'a Script,
    pub interpreter: Interpreter,
    pub heap: Heap,
    frames: Vec<Frame>,
    stack: Vec<Value>,
    steps: usize,
    /// How many branches that depend on values the program is in.
    pub(super) nesting: usize,
    constants: usize,
    /// Records of the file as values, each made once.
    pub(super) records: HashMap<(Table, RecordId), Value>,
    /// Attributes that the program has set.
    pub(super) attributes: HashMap<(RecordId, Arc<str>), Value>,
    /// Whether the code asks for derivatives of what it computes now.
    pub gradients: bool,
    /// The inputs of the graph.
    pub inputs: Vec<Option<ValueId>>,
    /// The first input of floating-point numbers that the program uses as integers.
    pub integers: Option<usize>,
    /// Operations that the engine does not have, each with the places of its calls.
    unknown: Vec<(String, Vec<String>)>,
}

/// Which pickle of the file a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Table {
    Data,
    Constants,
}

/// A call of a function under way.
pub(super) struct Frame {
    pub function: Arc<Function>,
    pub at: usize,
    pub slots: Vec<Value>,
    /// The height of the stack when it was called.
    base: usize,
    /// The module that it is a method of, or was called by.
    scope: Rc<str>,
}

impl<'a> Machine<'a> {
    pub fn new(script: &'a Script) -> Self {
        Self {
            script,
            interpreter: Interpreter::new(),
            heap: Heap::default(),
            frames: Vec::new(),
            stack: Vec::new(),
            steps: STEPS,
            nesting: 0,
            constants: CONSTANTS,
            records: HashMap::new(),
            attributes: HashMap::new(),
            gradients: true,
            inputs: Vec::new(),
            integers: None,
            unknown: Vec::new(),
        }
    }

    /// Calls a method of a module and runs it to its end. Names all operations that the engine does not have, as far as
    /// the program can be followed without their results.
    pub fn run(&mut self, object: RecordId, method: &str, arguments: Vec<Value>) -> Result<Value> {
        let result =
            self.call_method(&Value::Object(object), method, arguments, Vec::new()).and_then(|()| self.finish());
        match self.unknown.is_empty() {
            true => result,
            false => Err(self.unknown_operations(result.is_err())),
        }
    }

    fn unknown_operations(&self, is_cut_short: bool) -> Error {
        /// More places than these are only counted.
        const PLACES: usize = 3;
        let describe = |(name, places): &(String, Vec<String>)| {
            let mut shown = places[..places.len().min(PLACES)].join(", ");
            if places.len() > PLACES {
                shown += &format!(", {} more", places.len() - PLACES);
            }
            format!("{name} ({shown})")
        };
        let all: Vec<String> = self.unknown.iter().map(describe).collect();
        let s = if all.len() == 1 { "" } else { "s" };
        let rest = if is_cut_short { "; what comes behind depends on their results" } else { "" };
        let all = format!("{} operation{s} that the engine does not have: {}{rest}", all.len(), all.join("; "));
        Error::unsupported(format!("the program calls {all}"))
    }

    /// Steps until the outermost function returns; its result.
    fn finish(&mut self) -> Result<Value> {
        while !self.frames.is_empty() {
            self.advance()?;
        }
        self.pop()
    }

    /// Steps until the current function comes from one of its steps to another.
    pub(super) fn run_part(&mut self, from: usize, stop: usize) -> Result<()> {
        let depth = self.frames.len();
        self.frame()?.at = from;
        while self.frames.len() > depth || self.frame()?.at != stop {
            self.advance()?;
            if self.frames.len() < depth {
                return Err(Error::unsupported("a function returns from a branch that depends on values"));
            }
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<()> {
        if let Some(frame) = self.frames.last_mut() {
            let function = frame.function.clone();
            let Some(step) = function.steps.get(frame.at) else {
                return Err(Error::internal("a function does not return"));
            };
            frame.at += 1;
            self.steps = self.steps.checked_sub(1).ok_or_else(|| {
                Error::unsupported(format!("the program takes more than {STEPS} steps; does a loop of it end?"))
                    .at(self.place())
            })?;
            let done = self.step(step);
            self.heap.check_looks().and(done).map_err(|error| self.located(error))?;
        }
        Ok(())
    }

    /// Where the current step stands: in the model, and in its source.
    pub fn place(&self) -> String {
        let Some(frame) = self.frames.last() else { return "the program".to_owned() };
        let function = &frame.function;
        let (line, byte) = function.places.get(frame.at.saturating_sub(1)).copied().unwrap_or_default();
        let line = match self.script.source(&function.record, byte) {
            Some(source) => source,
            None => format!("{} line {line}", printable(&function.record)),
        };
        format!("{} at {line}", frame.scope)
    }

    /// Errors of the graph's own rules begin with the layer, which the place of the call names, too.
    fn located(&self, error: Error) -> Error {
        let Some(frame) = self.frames.last() else { return error };
        let own = format!("{}: ", frame.scope);
        let message = error.message().strip_prefix(&own).unwrap_or(error.message());
        Error::new(error.kind(), message).at(self.place())
    }

    pub(super) fn pop(&mut self) -> Result<Value> {
        self.stack.pop().ok_or_else(|| Error::internal("the program's stack is empty"))
    }

    /// The height of the stack.
    pub(super) fn height(&self) -> usize {
        self.stack.len()
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>> {
        let at = self.stack.len().checked_sub(count).ok_or_else(|| Error::internal("the program's stack is empty"))?;
        Ok(self.stack.split_off(at))
    }

    pub(super) fn frame(&mut self) -> Result<&mut Frame> {
        self.frames.last_mut().ok_or_else(|| Error::internal("no function is called"))
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Push(literal) => {
                let value = self.heap.literal(literal)?;
                self.stack.push(value);
            }
            Step::Constant(number) => {
                let value = self.constant(*number)?;
                self.stack.push(value);
            }
            Step::Load(slot) => {
                let frame = self.frame()?;
                let value = frame.slots[*slot].clone();
                if matches!(value, Value::Unset) {
                    let name = printable(&frame.function.names[*slot]).into_owned();
                    return Err(Error::format(format!("`{name}` is used before it has a value")));
                }
                self.stack.push(value);
            }
            Step::Store(slot) => {
                let value = self.pop()?;
                self.frame()?.slots[*slot] = value;
            }
            Step::Attribute(name) => {
                let object = self.pop()?;
                let value = self.attribute(&object, name)?;
                self.stack.push(value);
            }
            Step::SetAttribute(name) => {
                let value = self.pop()?;
                match self.pop()? {
                    Value::Object(object) => drop(self.attributes.insert((object, name.clone()), value)),
                    Value::Instance(at) => {
                        self.heap.take(1)?;
                        self.heap.instances[at].set(name, value);
                    }
                    other => return Err(Error::unsupported(format!("an attribute of {} is set", other.kind()))),
                }
            }
            Step::Index => {
                let (index, value) = (self.pop()?, self.pop()?);
                let value = builtins::index(self, &value, &index)?;
                self.stack.push(value);
            }
            Step::List(count) => {
                let elements = self.pop_many(*count)?;
                let value = self.heap.list(elements)?;
                self.stack.push(value);
            }
            Step::Tuple(count) => {
                let elements = self.pop_many(*count)?;
                let value = self.heap.tuple(elements)?;
                self.stack.push(value);
            }
            Step::Dict(count) => {
                let mut elements = self.pop_many(2 * count)?.into_iter();
                let mut entries = Vec::with_capacity(*count);
                while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
                    entries.push((key, value));
                }
                let value = self.heap.dict(entries)?;
                self.stack.push(value);
            }
            Step::Unpack(count) => {
                let value = self.pop()?;
                let elements = match (&value, self.heap.elements(&value)) {
                    (Value::Unknown, _) => vec![Value::Unknown; *count],
                    (_, Some(elements)) if elements.len() == *count => elements.to_vec(),
                    (_, Some(elements)) => {
                        let found = elements.len();
                        return Err(Error::format(format!("{found} values are assigned to {count} names")));
                    }
                    (other, None) => {
                        return Err(Error::format(format!("{} is assigned to {count} names", other.kind())));
                    }
                };
                self.stack.extend(elements);
            }
            Step::Call(call) => self.call(call)?,
            Step::IsInstance(types) => {
                let value = self.pop()?;
                let is = types.iter().any(|ty| self.is_instance(&value, ty, DEPTH));
                self.stack.push(Value::Bool(is));
            }
            Step::Jump(to) => self.frame()?.at = *to,
            Step::Unless(to) => {
                let value = self.pop()?;
                if let Some(condition) = self.computed(&value) {
                    return self.decide(&condition, *to);
                }
                if !self.condition(&value)? {
                    self.frame()?.at = *to;
                }
            }
            Step::Each { count, limit, variable, end } => {
                let frame = self.frame()?;
                let (Value::Int(at), Value::Int(last)) = (&frame.slots[*count], &frame.slots[*limit]) else {
                    let found = frame.slots[*limit].kind();
                    return Err(Error::unsupported(format!("the number of a loop's turns is {found}")));
                };
                let (at, last) = (*at, *last);
                if at < last {
                    frame.slots[*variable] = Value::Int(at);
                    frame.slots[*count] = Value::Int(at + 1);
                } else {
                    frame.at = *end;
                }
            }
            Step::Drop => drop(self.pop()?),
            Step::Return => {
                let value = self.pop()?;
                if let Some(frame) = self.frames.pop() {
                    self.stack.truncate(frame.base);
                }
                self.stack.push(value);
            }
        }
        Ok(())
    }

    /// Whether a branch is taken.
    fn condition(&mut self, value: &Value) -> Result<bool> {
        match value {
            Value::Bool(value) => Ok(*value),
            Value::Int(value) => Ok(*value != 0),
            Value::Unknown => Err(Error::unsupported("a branch depends on an operation that the engine does not have")),
            Value::Tensor(_) => match builtins::item(self, value)?.number() {
                Some(number) => Ok(number != 0.0),
                None => Err(Error::format("a branch depends on what is no number")),
            },
            other => Err(Error::unsupported(format!("a branch depends on {}", other.kind()))),
        }
    }

    fn is_instance(&self, value: &Value, ty: &Type, depth: usize) -> bool {
        let each = |elements: &[Value], ty: &Type| {
            depth > 0 && elements.iter().all(|value| self.is_instance(value, ty, depth - 1))
        };
        match (value, ty.name.as_str(), &ty.arguments[..]) {
            (_, "Any", _) => true,
            (Value::None, "NoneType" | "Optional", _) => true,
            (value, "Optional", [inner]) => self.is_instance(value, inner, depth),
            (value, "Union", inner) => inner.iter().any(|ty| self.is_instance(value, ty, depth)),
            (Value::Bool(_), "bool", _)
            | (Value::Int(_) | Value::Size(_), "int", _)
            | (Value::Float(_), "float", _)
            | (Value::Text(_), "str", _)
            | (Value::Tensor(_) | Value::Unknown, "Tensor", _)
            | (Value::Int(_) | Value::Float(_) | Value::Size(_), "number" | "Scalar", _)
            | (Value::Placement, "Device", _) => true,
            (Value::List(at), "List", [inner]) => each(&self.heap.lists[*at], inner),
            (Value::List(_), "list", _) | (Value::Tuple(_), "tuple", _) | (Value::Dict(_), "Dict", _) => true,
            (Value::Tuple(at), "Tuple", inner) => {
                let elements = &self.heap.tuples[*at].elements;
                let one = |(value, ty): (&Value, &Type)| depth > 0 && self.is_instance(value, ty, depth - 1);
                elements.len() == inner.len() && elements.iter().zip(inner).all(one)
            }
            (Value::Instance(at), name, []) => *self.heap.instances[*at].class == *name,
            (Value::Tuple(at), name, []) => self.heap.tuples[*at].class.as_deref() == Some(name),
            _ => false,
        }
    }

    fn call(&mut self, call: &Call) -> Result<()> {
        let mut arguments = self.pop_many(call.count)?;
        let values = arguments.split_off(arguments.len() - call.keywords.len());
        let keywords: Vec<(Arc<str>, Value)> = call.keywords.iter().cloned().zip(values).collect();
        match &call.callee {
            Callee::Global(name) => self.call_global(name, arguments, keywords),
            Callee::Method(name) => {
                let object = self.pop()?;
                self.call_method(&object, name, arguments, keywords)
            }
            Callee::Value => match self.pop()? {
                Value::Global(name) => self.call_global(&name, arguments, keywords),
                other => Err(Error::format(format!("{} is called", other.kind()))),
            },
        }
    }

    fn call_method(
        &mut self,
        object: &Value,
        name: &str,
        mut arguments: Vec<Value>,
        keywords: Vec<(Arc<str>, Value)>,
    ) -> Result<()> {
        let (class, scope) = match object {
            Value::Object(id) => (self.script.class_of(*id)?, self.script.scope(*id).into()),
            Value::Instance(at) => {
                let name = &self.heap.instances[*at].class;
                let class = self.script.class(name).ok_or_else(|| Error::internal("an object without a class"))?;
                (class, self.frame()?.scope.clone())
            }
            other => return Err(Error::unsupported(format!("the method `{}` of {}", printable(name), other.kind()))),
        };
        let function = class.methods.get(name).cloned().ok_or_else(|| {
            let what = if let Value::Object(id) = object { self.script.scope(*id) } else { object.kind().to_owned() };
            Error::format(format!("the class of {what} has no method `{}`", printable(name)))
        })?;
        arguments.insert(0, object.clone());
        self.enter(function, arguments, keywords, scope)
    }

    fn call_global(&mut self, name: &Arc<str>, arguments: Vec<Value>, keywords: Vec<(Arc<str>, Value)>) -> Result<()> {
        if let Some(function) = self.script.function(name) {
            let scope = self.frame()?.scope.clone();
            return self.enter(function, arguments, keywords, scope);
        }
        if let Some(class) = name.strip_suffix(".__new__").filter(|class| self.script.class(class).is_some()) {
            let value = self.heap.instance(class.into())?;
            self.stack.push(value);
            return Ok(());
        }
        if let Some(class) = self.script.class(name) {
            if class.base != "NamedTuple" {
                return Err(Error::unsupported(format!("an object of the class {} is made", printable(name))));
            }
            if arguments.len() != class.fields.len() || !keywords.is_empty() {
                let (given, fields) = (arguments.len() + keywords.len(), class.fields.len());
                return Err(Error::format(format!("{} has {fields} fields, but {given} are given", printable(name))));
            }
            let value = self.heap.named_tuple(arguments, Some(name.clone()))?;
            self.stack.push(value);
            return Ok(());
        }
        if name.starts_with("__torch__.") {
            return Err(Error::format(format!("the file has no code of `{}`", printable(name))));
        }
        let value = match builtins::call(self, name, &arguments, &keywords)? {
            Some(value) => value,
            None => self.operation(name, arguments, keywords)?,
        };
        self.stack.push(value);
        Ok(())
    }

    /// Begins a call.
    fn enter(
        &mut self,
        function: Arc<Function>,
        arguments: Vec<Value>,
        keywords: Vec<(Arc<str>, Value)>,
        scope: Rc<str>,
    ) -> Result<()> {
        if self.frames.len() == FRAMES {
            return Err(Error::unsupported(format!(
                "functions call each other deeper than {FRAMES}; does one call itself without end?"
            )));
        }
        let (given, parameters) = (arguments.len(), &function.parameters);
        if given > parameters.len() {
            let count = parameters.len();
            return Err(Error::format(format!("the function takes {count} arguments, but {given} are given")));
        }
        let mut slots = arguments;
        for parameter in &parameters[given..] {
            let named = keywords.iter().find(|keyword| *keyword.0 == *parameter.name).map(|keyword| keyword.1.clone());
            let value = match (named, &parameter.default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.heap.literal(default)?,
                (None, None) => {
                    return Err(Error::format(format!("argument `{}` is missing", printable(&parameter.name))));
                }
            };
            slots.push(value);
        }
        let known = |name: &str| parameters[given..].iter().any(|parameter| parameter.name == name);
        if let Some((name, _)) = keywords.iter().find(|keyword| !known(&keyword.0)) {
            return Err(Error::format(format!("argument `{}` is none of the function's", printable(name))));
        }
        // Variables live until the function returns, so that they count as steps.
        self.steps = self.steps.saturating_sub(function.slots / 8);
        slots.resize(function.slots, Value::Unset);
        self.frames.push(Frame { function, at: 0, slots, base: self.stack.len(), scope });
        Ok(())
    }

    /// Calls an operation of ATen.
    fn operation(&mut self, name: &str, arguments: Vec<Value>, keywords: Vec<(Arc<str>, Value)>) -> Result<Value> {
        let unknown = |value: &Value| matches!(value, Value::Unknown);
        let mut depends = false;
        for value in arguments.iter().chain(keywords.iter().map(|keyword| &keyword.1)) {
            depends |= self.heap.any(value, unknown)?;
        }
        let plain = name.strip_prefix("torch.").or_else(|| name.strip_prefix("ops.aten."));
        let Some((plain, arguments)) = plain.map(|plain| builtins::renamed(self, plain, arguments)) else {
            return Ok(self.lacks(name, None));
        };
        let given: Vec<(&str, &Value)> = keywords.iter().map(|(name, value)| (&**name, value)).collect();
        if depends {
            if super::super::aten::overloads(plain).is_empty() {
                self.lacks(plain, None);
            }
            return Ok(Value::Unknown);
        }
        let Some(target) = overload::choose(plain, &self.heap, &arguments, &given) else {
            let kinds: Vec<&str> = arguments.iter().map(Value::kind).collect();
            let known = !super::super::aten::overloads(plain).is_empty();
            return Ok(self.lacks(plain, known.then(|| kinds.join(", "))));
        };
        let mut places = arguments.iter();
        let mut items = Vec::new();
        for (parameter, _) in target.operation.parameters() {
            let named = given.iter().find(|keyword| keyword.0 == parameter).map(|keyword| keyword.1);
            let value = match named.or_else(|| places.next()) {
                Some(value) => value,
                None => continue,
            };
            items.push((parameter, self.item(parameter, value, DEPTH)?));
        }
        self.note_integers(plain, &items)?;
        let scope = self.frame()?.scope.to_string();
        self.interpreter.context.builder.set_scope(scope);
        let result = self.interpreter.call(target, items, plain).map_err(|error| match error.kind() {
            // A form that the engine has of an operation, with arguments that it does not take.
            ErrorKind::Unsupported | ErrorKind::Format | ErrorKind::Argument => {
                let own = self.frames.last().map(|frame| format!("{}: ", frame.scope)).unwrap_or_default();
                let message = error.message().strip_prefix(&own).unwrap_or(error.message()).to_owned();
                Error::new(error.kind(), message).at(format!("aten.{plain}"))
            }
            _ => error,
        })?;
        let result = if self.gradients || target.in_place { result } else { self.interpreter.detached(&result)? };
        self.value_of(result)
    }

    /// Ends the run where an input is used as indices, which are integers.
    fn note_integers(&mut self, name: &str, items: &[(&str, Item)]) -> Result<()> {
        let indices =
            items.iter().filter(|item| matches!((name, item.0), ("embedding" | "index", "indices") | (_, "index")));
        for (_, item) in indices {
            let several = if let Item::List(items) = item { &items[..] } else { std::slice::from_ref(item) };
            for item in several {
                let Item::Cell(cell) = item else { continue };
                let operand = self.interpreter.operand(*cell);
                let Operand::Computed(value) = operand else { continue };
                let is_float = self.interpreter.context.dtype(operand).is_float();
                if let Some(input) = self.inputs.iter().position(|input| *input == Some(*value)).filter(|_| is_float) {
                    self.integers = Some(input);
                    return Err(Error::unsupported("an input of integers"));
                }
            }
        }
        Ok(())
    }

    /// Notes an operation that the engine does not have.
    fn lacks(&mut self, name: &str, arguments: Option<String>) -> Value {
        let name = match arguments {
            Some(arguments) => format!("aten.{} of ({arguments})", printable(name)),
            None if name.contains('.') => printable(name).into_owned(),
            None => format!("aten.{}", printable(name)),
        };
        let place = self.place();
        match self.unknown.iter_mut().find(|entry| entry.0 == name) {
            Some(entry) if entry.1.contains(&place) => {}
            Some(entry) => entry.1.push(place),
            None => self.unknown.push((name, vec![place])),
        }
        Value::Unknown
    }

    /// A value as an argument of this name.
    pub fn item(&self, parameter: &str, value: &Value, depth: usize) -> Result<Item> {
        Ok(match value {
            Value::None | Value::Uninitialized => Item::None,
            Value::Bool(value) => Item::Bool(*value),
            Value::Int(code) if parameter == "dtype" => Item::DType(dtype(*code)?),
            Value::Int(value) => Item::Int(*value),
            Value::Size(dim) => Item::Size(dim.clone()),
            Value::Float(value) => Item::Float(*value),
            Value::Text(text) => Item::Text((&**text).into()),
            Value::Placement => Item::Placement,
            Value::Tensor(cell) => Item::Cell(*cell),
            Value::List(_) | Value::Tuple(_) => {
                let depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| Error::unsupported(format!("lists nested deeper than {DEPTH} levels")))?;
                let elements = self.heap.elements(value).unwrap_or_default().iter();
                Item::List(elements.map(|value| self.item(parameter, value, depth)).collect::<Result<_>>()?)
            }
            other => return Err(Error::unsupported(format!("argument `{parameter}` is {}", other.kind()))),
        })
    }

    /// The value of a result.
    pub fn value_of(&mut self, item: Item) -> Result<Value> {
        Ok(match item {
            Item::None => Value::None,
            Item::Bool(value) => Value::Bool(value),
            Item::Int(value) => Value::Int(value),
            Item::Size(dim) => Value::Size(dim),
            Item::Float(value) => Value::Float(value),
            Item::Text(text) => Value::text(&*text),
            Item::DType(dtype) => Value::Int(code(dtype)),
            Item::Placement => Value::Placement,
            Item::Tensor(operand) => {
                let cell = self.interpreter.cell(operand);
                self.value_of(cell)?
            }
            Item::Cell(cell) => {
                if let Some(constant) = self.interpreter.operand(cell).constant() {
                    let count = constant.tensor.numel();
                    self.constants = self.constants.checked_sub(count).ok_or_else(|| {
                        Error::unsupported(format!("constants of more than {CONSTANTS} elements in all are computed"))
                    })?;
                }
                Value::Tensor(cell)
            }
            Item::List(items) => {
                // The operations give lists of tensors or of numbers, but no lists of lists.
                let elements = items.into_iter().map(|item| self.value_of(item)).collect::<Result<_>>()?;
                self.heap.list(elements)?
            }
        })
    }

    /// A tensor that is known, as a value.
    pub fn known(&mut self, tensor: crate::tensor::Tensor, name: &str) -> Result<Value> {
        let operand = Operand::Constant(Constant { name: name.into(), tensor });
        self.value_of(Item::Tensor(operand))
    }

    fn constant(&mut self, number: usize) -> Result<Value> {
        let missing = || Error::format(format!("the file has no constant c{number}"));
        let records = self.script.constants.as_deref().ok_or_else(missing)?;
        let id = match records.view(records.root()) {
            View::Tuple(elements) | View::List(elements) => elements.get(number).copied(),
            _ => None,
        };
        self.record(Table::Constants, id.ok_or_else(missing)?, &format!("CONSTANTS.c{number}"), DEPTH)
    }

    /// An attribute of a value.
    fn attribute(&mut self, value: &Value, name: &Arc<str>) -> Result<Value> {
        let missing = |what: &str| Error::format(format!("{what} has no attribute `{}`", printable(name)));
        match value {
            Value::Unknown => Ok(Value::Unknown),
            Value::Object(id) => {
                if let Some(value) = self.attributes.get(&(*id, name.clone())) {
                    return Ok(value.clone());
                }
                // A model is evaluated, whatever mode it was saved in.
                if &**name == "training" {
                    return Ok(Value::Bool(false));
                }
                let script = self.script;
                if let Some(record) = script.attribute(*id, name) {
                    let path = script.path_of(*id, name);
                    return self.record(Table::Data, record, &path, DEPTH);
                }
                match script.class_of(*id)?.constants.get(&**name) {
                    Some(literal) => self.heap.literal(literal),
                    None => Err(missing(&script.scope(*id))),
                }
            }
            Value::Instance(at) => {
                let instance = &self.heap.instances[*at];
                let constant = || self.script.class(&instance.class)?.constants.get(&**name);
                match (instance.get(name), constant()) {
                    (Some(value), _) => Ok(value.clone()),
                    (None, Some(literal)) => self.heap.literal(literal),
                    (None, None) => Err(missing("an object")),
                }
            }
            Value::Tuple(at) => {
                let tuple = &self.heap.tuples[*at];
                let class = tuple.class.as_deref().and_then(|class| self.script.class(class));
                let at = class.and_then(|class| class.fields.iter().position(|field| **field == **name));
                at.and_then(|at| tuple.elements.get(at)).cloned().ok_or_else(|| missing("a tuple"))
            }
            other => Err(missing(other.kind())),
        }
    }

    /// A record of the file as a value; `path` is what a tensor is called.
    fn record(&mut self, table: Table, id: RecordId, path: &str, depth: usize) -> Result<Value> {
        if let Some(value) = self.records.get(&(table, id)) {
            return Ok(value.clone());
        }
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| Error::unsupported(format!("`{path}` nests deeper than {DEPTH} levels")))?;
        let script = self.script;
        let records = match table {
            Table::Data => &script.records,
            Table::Constants => script.constants.as_ref().unwrap_or(&script.records),
        };
        let mut all = |elements: &[RecordId]| {
            let each = elements.iter().enumerate();
            each.map(|(i, &id)| self.record(table, id, &format!("{path}.{i}"), depth)).collect::<Result<Vec<_>>>()
        };
        let value = match records.view(id) {
            View::None => Value::None,
            View::Bool(value) => Value::Bool(value),
            View::Int(value) => Value::Int(value),
            View::Float(value) => Value::Float(value),
            View::Str(text) => Value::text(text),
            View::List(elements) => {
                let elements = all(elements)?;
                self.heap.list(elements)?
            }
            View::Tuple(elements) => {
                let elements = all(elements)?;
                self.heap.tuple(elements)?
            }
            View::Dict(entries) => {
                let (keys, values): (Vec<_>, Vec<_>) = entries.iter().copied().unzip();
                let entries = all(&keys)?.into_iter().zip(all(&values)?).collect();
                self.heap.dict(entries)?
            }
            View::Tensor(Ok(tensor)) => {
                // Parameters are not computed, so that they do not count.
                let operand = Operand::Constant(Constant { name: path.into(), tensor: tensor.clone() });
                match self.interpreter.cell(operand) {
                    Item::Cell(cell) => Value::Tensor(cell),
                    _ => return Err(Error::internal("a cell")),
                }
            }
            View::Tensor(Err(error)) => return Err(error.clone().at(format!("tensor `{path}`"))),
            View::Object(object) => match records.class(object) {
                Some(class) if class.module == "torch.jit._pickle" => {
                    let list = records.pickle.tuple(object.args).and_then(|args| args.first()).copied();
                    let list = list.ok_or_else(|| Error::format(format!("`{path}` is a list without elements")))?;
                    self.record(table, list, path, depth)?
                }
                Some(class) if class.module == "torch" && class.name == "device" => Value::Placement,
                _ if table == Table::Data => Value::Object(id),
                _ => return Err(Error::unsupported(format!("`{path}` is {}", records.kind(id)))),
            },
            _ => return Err(Error::unsupported(format!("`{path}` is {}", records.kind(id)))),
        };
        self.records.insert((table, id), value.clone());
        Ok(value)
    }
}

fn dtype(code: i64) -> Result<DType> {
    DType::from_number(code).ok_or_else(|| Error::unsupported(format!("the dtype of number {code}")))
}

/// The number of an element type. All that is computed in floating point counts as float32, torch's default, whatever
/// precision the caller computes in.
pub(super) fn code(dtype: DType) -> i64 {
    let dtype = if dtype.is_float() { DType::F32 } else { dtype };
    dtype.number()
}
