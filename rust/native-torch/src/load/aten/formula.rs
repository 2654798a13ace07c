//! Operations that are made of others: the value of a formula of the table, such as `sqrt(add.Tensor(square(x), 1))`.

use super::{
    call::Call,
    table::{self, literal},
    value::Item,
};
use crate::{Error, Result};

/// Evaluates the formula of an operation. Its names are the operation's parameters, its calls those of other operations;
/// `[0]` behind a call is the first of several results.
pub(super) fn evaluate(call: &mut Call, formula: &'static str) -> Result<Item> {
    let mut reader = Reader { rest: formula };
    let value = reader.expression(call)?;
    if reader.rest.trim().is_empty() { Ok(value) } else { Err(reader.wrong()) }
}

struct Reader {
    rest: &'static str,
}

impl Reader {
    fn wrong(&self) -> Error {
        Error::internal(format!("a formula of the table at `{}`", self.rest))
    }

    /// Passes over a character, if it is the next one.
    fn takes(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(wanted);
        rest.inspect(|rest| self.rest = rest);
        rest.is_some()
    }

    /// The next characters that belong together.
    fn word(&mut self) -> &'static str {
        self.rest = self.rest.trim_start();
        let (word, rest) = match self.rest.strip_prefix('\'') {
            Some(text) => self.rest.split_at(text.find('\'').map_or(self.rest.len(), |end| end + 2)),
            None => {
                let end = self.rest.find(|c: char| !(c.is_alphanumeric() || "_.-+".contains(c)));
                self.rest.split_at(end.unwrap_or(self.rest.len()))
            }
        };
        self.rest = rest;
        word
    }

    fn list(&mut self, call: &mut Call, end: char) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        while !self.takes(end) {
            items.push(self.expression(call)?);
            if !self.takes(',') && !self.rest.trim_start().starts_with(end) {
                return Err(self.wrong());
            }
        }
        Ok(items)
    }

    fn expression(&mut self, call: &mut Call) -> Result<Item> {
        if self.takes('[') {
            return self.list(call, ']').map(Item::List);
        }
        let word = self.word();
        if !self.takes('(') {
            return match call.parameters.iter().position(|&parameter| parameter == word) {
                Some(at) => call.arguments.get(at).cloned().ok_or_else(|| self.wrong()),
                None => Ok(literal(word)),
            };
        }
        let arguments = self.list(call, ')')?;
        let value = call.apply(word, arguments)?;
        if !self.takes('[') {
            return Ok(value);
        }
        let at: usize = self.word().parse().map_err(|_| self.wrong())?;
        match value {
            Item::List(mut items) if at < items.len() && self.takes(']') => Ok(items.swap_remove(at)),
            _ => Err(self.wrong()),
        }
    }
}

impl Call<'_> {
    /// What another operation makes of these arguments; the others have their defaults. It is named as `mul.Tensor`, or
    /// without an overload where that is `default`.
    pub fn apply(&mut self, name: &str, arguments: Vec<Item>) -> Result<Item> {
        let full = if name.contains('.') { name.to_owned() } else { format!("{name}.default") };
        let target = table::find(&format!("torch.ops.aten.{full}"));
        let operation = target.ok_or_else(|| Error::internal(format!("no operation `{full}`")))?.operation;
        let given = arguments.into_iter().map(|item| ("", item)).collect();
        let arguments = table::bind(operation, given)?;
        operation.run(self.context, arguments, &self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::{Context, Operand};
    use super::*;
    use crate::{graph::Dim, load::aten::constant::Array, tensor::DType};

    /// Every formula is one that can be read, whatever its arguments are.
    #[test]
    fn load_reads_every_formula_of_the_table() {
        for (operation, formula) in table::formulas() {
            let mut context = Context::new();
            let x = Operand::Computed(context.builder.input("x", vec![Dim::Size(2), Dim::Size(2)]));
            let arguments = operation.parameters().map(|_| Item::Tensor(x.clone())).collect();
            let parameters: Vec<&'static str> = operation.parameters().map(|(name, _)| name).collect();
            let name = "x".into();
            let mut call =
                Call { context: &mut context, operation: operation.name, parameters: &parameters, arguments, name };
            if let Err(error) = evaluate(&mut call, formula) {
                assert_ne!(error.kind(), crate::ErrorKind::Internal, "{}: {error}", operation.name);
            }
        }
    }

    #[test]
    fn load_evaluates_nested_calls_lists_and_results() {
        let mut context = Context::new();
        let x = Array::new(&[2], vec![3.0, 4.0], DType::F64).into_operand(&"x".into());
        let mut call = Call {
            context: &mut context,
            operation: "test",
            parameters: &["self"],
            arguments: vec![Item::Tensor(x)],
            name: "x".into(),
        };
        let Item::Tensor(y) = evaluate(&mut call, "mul.Tensor(chunk(cat([self, neg(self)], -1), 2)[1], -0.5)").unwrap()
        else {
            panic!("no tensor")
        };
        assert_eq!(Array::of(y.constant().unwrap()).unwrap().data, [1.5, 2.0]);
    }
}
