//! Serialized code to functions: a regular subset of Python without operators, comprehensions and lambdas.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::records::printable,
    code::{Call, Callee, Class, Function, Literal, Parameter, Step, Type, Unit},
    lexer::{self, Token, Word},
};
use crate::{Error, Result};

/// Expressions, types and blocks may be nested this deep.
const DEPTH: usize = 100;

/// Words that begin the name of something outside of the function.
const OUTSIDE: [&str; 4] = ["torch", "ops", "__torch__", "CONSTANTS"];

/// Reads a file of code; `record` is what error messages call it.
pub(super) fn read(record: &str, text: &str) -> Result<Unit> {
    let place = |e: Error| e.at(format!("record `{}`", printable(record)));
    let words = lexer::words(text).map_err(place)?;
    let mut parser = Parser { record: record.into(), words, at: 0, depth: 0 };
    parser.unit().map_err(|e| place(e.at(format!("line {}", parser.word().line))))
}

struct Parser {
    record: Arc<str>,
    words: Vec<Word>,
    at: usize,
    depth: usize,
}

/// A function under construction.
#[derive(Default)]
struct Body {
    steps: Vec<Step>,
    places: Vec<(u32, u32)>,
    slots: HashMap<String, usize>,
    names: Vec<String>,
}

impl Body {
    fn slot(&mut self, name: &str) -> usize {
        let next = self.names.len();
        let slot = *self.slots.entry(name.to_owned()).or_insert(next);
        if slot == next {
            self.names.push(name.to_owned());
        }
        slot
    }

    /// A variable that the code cannot name.
    fn hidden(&mut self) -> usize {
        self.names.push(String::new());
        self.names.len() - 1
    }

    fn push(&mut self, step: Step, word: &Word) {
        self.steps.push(step);
        self.places.push((word.line, word.byte));
    }

    /// Sets the end of a jump to what comes next.
    fn land(&mut self, jump: usize) {
        let here = self.steps.len();
        match &mut self.steps[jump] {
            Step::Jump(to) | Step::Unless(to) | Step::Each { end: to, .. } => *to = here,
            _ => {}
        }
    }
}

/// What stands left of an assignment.
enum Place {
    Variable(String),
    /// The attribute of an object, which is on the stack.
    Attribute(Arc<str>),
}

impl Parser {
    fn word(&self) -> &Word {
        // The last word is the end, which nothing goes beyond.
        &self.words[self.at.min(self.words.len() - 1)]
    }

    fn token(&self) -> &Token {
        &self.word().token
    }

    fn next(&mut self) -> Token {
        let token = self.token().clone();
        self.at += usize::from(token != Token::End);
        token
    }

    fn is(&self, mark: &str) -> bool {
        matches!(self.token(), Token::Mark(found) if *found == mark)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.token(), Token::Name(found) if &**found == name)
    }

    fn take(&mut self, mark: &str) -> bool {
        let found = self.is(mark);
        self.at += usize::from(found);
        found
    }

    fn take_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    fn unexpected(&self, expected: &str) -> Error {
        Error::format(format!("{} stands where {expected} is expected", self.token().describe()))
    }

    fn expect(&mut self, mark: &str) -> Result<()> {
        if self.take(mark) { Ok(()) } else { Err(self.unexpected(&format!("`{mark}`"))) }
    }

    fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.token() == token {
            self.at += usize::from(*token != Token::End);
            return Ok(());
        }
        Err(self.unexpected(&token.describe()))
    }

    fn name(&mut self) -> Result<Arc<str>> {
        match self.token().clone() {
            Token::Name(name) => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// Runs a rule one level deeper.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEPTH {
            return Err(Error::format(format!("the code is nested deeper than {DEPTH} levels")));
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    fn unit(&mut self) -> Result<Unit> {
        let mut unit = Unit::default();
        while *self.token() != Token::End {
            if self.is_name("class") {
                let (name, class) = self.class()?;
                unit.classes.insert(name, class);
            } else if self.is_name("def") {
                let (name, function) = self.function()?;
                unit.functions.insert(name, Arc::new(function));
            } else if self.is_name("import") || self.is_name("op_version_set") {
                // What old versions of torch wrote in front of the code.
                while !matches!(self.token(), Token::Newline | Token::End) {
                    self.next();
                }
                self.expect_token(&Token::Newline)?;
            } else {
                return Err(self.unexpected("`class` or `def`"));
            }
        }
        Ok(unit)
    }

    fn class(&mut self) -> Result<(String, Class)> {
        self.next();
        let name = self.name()?.to_string();
        let mut class = Class::default();
        if self.take("(") {
            class.base = self.dotted()?;
            self.expect(")")?;
        }
        self.expect(":")?;
        self.expect_token(&Token::Newline)?;
        self.expect_token(&Token::Indent)?;
        while *self.token() != Token::Dedent {
            if self.is_name("def") {
                let (name, function) = self.function()?;
                class.methods.insert(name, Arc::new(function));
                continue;
            }
            self.field(&mut class)?;
            self.expect_token(&Token::Newline)?;
        }
        self.expect_token(&Token::Dedent)?;
        Ok((name, class))
    }

    /// A line of a class: an attribute with its type, or a list of names.
    fn field(&mut self, class: &mut Class) -> Result<()> {
        if self.take_name("pass") {
            return Ok(());
        }
        let mut name = self.name()?.to_string();
        if name == "__annotations__" && self.take("[") {
            let Token::Text(text) = self.next() else { return Err(self.unexpected("a name in quotes")) };
            name = text.to_string();
            self.expect("]")?;
            self.expect("=")?;
            class.types.push(self.annotation()?);
            class.fields.push(name);
            return Ok(());
        }
        if self.take(":") {
            class.types.push(self.annotation()?);
            class.fields.push(name.clone());
            if self.take("=") {
                let value = self.literal()?;
                class.constants.insert(name, value);
            }
            return Ok(());
        }
        self.expect("=")?;
        let value = self.literal()?;
        if let (true, Literal::List(names)) = (name == "__parameters__", &value) {
            let names = names.iter().filter_map(|name| match name {
                Literal::Text(text) => Some(text.to_string()),
                _ => None,
            });
            class.parameters = names.collect();
        }
        Ok(())
    }

    fn function(&mut self) -> Result<(String, Function)> {
        self.next();
        let name = self.name()?.to_string();
        self.expect("(")?;
        let mut body = Body::default();
        let mut parameters = Vec::new();
        while !self.take(")") {
            // Parameters behind a star are given by keyword only, which the caller writes so.
            let name = self.name()?.to_string();
            let ty = if self.take(":") { Some(self.annotation()?) } else { None };
            let default = if self.take("=") { Some(self.literal()?) } else { None };
            if body.slot(&name) != parameters.len() {
                return Err(Error::format(format!("the parameter `{}` is there twice", printable(&name))));
            }
            parameters.push(Parameter { name, ty, default });
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        if self.take("->") {
            self.annotation()?;
        }
        self.expect(":")?;
        self.block(&mut body)?;
        let word = self.word().clone();
        body.push(Step::Push(Literal::None), &word);
        body.push(Step::Return, &word);
        let Body { steps, places, names, .. } = body;
        let record = self.record.clone();
        Ok((name, Function { record, parameters, steps, places, slots: names.len(), names }))
    }

    fn dotted(&mut self) -> Result<String> {
        let mut name = self.name()?.to_string();
        while self.take(".") {
            name = format!("{name}.{}", self.name()?);
        }
        Ok(name)
    }

    fn annotation(&mut self) -> Result<Type> {
        self.nested(|parser| {
            // The type of an empty tuple is written with empty parentheses.
            if parser.take("(") {
                parser.expect(")")?;
                return Ok(Type { name: "()".to_owned(), arguments: Vec::new() });
            }
            if let Token::Int(value) = parser.token().clone() {
                parser.at += 1;
                return Ok(Type { name: value.to_string(), arguments: Vec::new() });
            }
            let name = parser.dotted()?;
            let mut arguments = Vec::new();
            if parser.take("[") {
                while !parser.take("]") {
                    arguments.push(parser.annotation()?);
                    if !parser.take(",") {
                        parser.expect("]")?;
                        break;
                    }
                }
            }
            Ok(Type { name, arguments })
        })
    }

    /// A value without calls: a default, a constant of a class.
    fn literal(&mut self) -> Result<Literal> {
        self.nested(|parser| {
            let negative = parser.take("-");
            let value = match parser.next() {
                Token::Int(value) => Literal::Int(if negative { value.wrapping_neg() } else { value }),
                Token::Float(value) => Literal::Float(if negative { -value } else { value }),
                Token::Text(text) => Literal::Text(text),
                Token::Name(name) => match &*name {
                    "None" => Literal::None,
                    "True" => Literal::Bool(true),
                    "False" => Literal::Bool(false),
                    "inf" => Literal::Float(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
                    "nan" => Literal::Float(f64::NAN),
                    _ => {
                        let mut name = name.to_string();
                        while parser.take(".") {
                            name = format!("{name}.{}", parser.name()?);
                        }
                        if name == "annotate" {
                            parser.expect("(")?;
                            parser.annotation()?;
                            parser.expect(",")?;
                            let value = parser.literal()?;
                            parser.expect(")")?;
                            return Ok(value);
                        }
                        if name == "torch.device" && parser.take("(") {
                            parser.literal()?;
                            parser.expect(")")?;
                        }
                        Literal::Global(name.into())
                    }
                },
                Token::Mark("[") => Literal::List(parser.literals("]")?.0),
                Token::Mark("(") => match parser.literals(")")? {
                    (mut one, false) if one.len() == 1 => one.remove(0),
                    (several, _) => Literal::Tuple(several),
                },
                other => {
                    parser.at -= usize::from(other != Token::End);
                    return Err(parser.unexpected("a constant"));
                }
            };
            Ok(value)
        })
    }

    /// Literals up to a bracket, and whether there was a comma.
    fn literals(&mut self, close: &str) -> Result<(Vec<Literal>, bool)> {
        let (mut all, mut comma) = (Vec::new(), false);
        while !self.take(close) {
            all.push(self.literal()?);
            if !self.take(",") {
                self.expect(close)?;
                break;
            }
            comma = true;
        }
        Ok((all, comma))
    }

    fn block(&mut self, body: &mut Body) -> Result<()> {
        self.expect_token(&Token::Newline)?;
        self.expect_token(&Token::Indent)?;
        self.nested(|parser| {
            while *parser.token() != Token::Dedent {
                parser.statement(body)?;
            }
            Ok(())
        })?;
        self.expect_token(&Token::Dedent)
    }

    fn statement(&mut self, body: &mut Body) -> Result<()> {
        let word = self.word().clone();
        if self.take_name("pass") {
            return self.expect_token(&Token::Newline);
        }
        if self.take_name("return") {
            if *self.token() == Token::Newline {
                body.push(Step::Push(Literal::None), &word);
            } else {
                self.expressions(body)?;
            }
            body.push(Step::Return, &word);
            return self.expect_token(&Token::Newline);
        }
        if self.take_name("if") {
            self.expression(body)?;
            let unless = body.steps.len();
            body.push(Step::Unless(0), &word);
            self.expect(":")?;
            self.block(body)?;
            if self.take_name("else") {
                let jump = body.steps.len();
                body.push(Step::Jump(0), &word);
                body.land(unless);
                self.expect(":")?;
                self.block(body)?;
                body.land(jump);
            } else {
                body.land(unless);
            }
            return Ok(());
        }
        if self.take_name("while") {
            let start = body.steps.len();
            self.expression(body)?;
            let unless = body.steps.len();
            body.push(Step::Unless(0), &word);
            self.expect(":")?;
            self.block(body)?;
            body.push(Step::Jump(start), &word);
            body.land(unless);
            return Ok(());
        }
        if self.take_name("for") {
            return self.each(body, &word);
        }
        if self.take_name("with") {
            return self.managed(body, &word);
        }
        for refused in ["del", "assert", "raise", "import", "try", "break", "continue", "def", "class"] {
            if self.is_name(refused) {
                return Err(Error::unsupported(format!("`{refused}` in a function is not read")));
            }
        }
        self.assignment(body, &word)
    }

    /// `with x:`, as calls of the object's methods before and behind the block.
    fn managed(&mut self, body: &mut Body, word: &Word) -> Result<()> {
        let method = |name: &str, count: usize| {
            Step::Call(Call { callee: Callee::Method(name.into()), count, keywords: Vec::new() })
        };
        self.expression(body)?;
        let object = body.hidden();
        body.push(Step::Store(object), word);
        body.push(Step::Load(object), word);
        body.push(method("__enter__", 0), word);
        if self.take_name("as") {
            let slot = self.name()?;
            let slot = body.slot(&slot);
            body.push(Step::Store(slot), word);
        } else {
            body.push(Step::Drop, word);
        }
        self.expect(":")?;
        self.block(body)?;
        body.push(Step::Load(object), word);
        (0..3).for_each(|_| body.push(Step::Push(Literal::None), word));
        body.push(method("__exit__", 3), word);
        body.push(Step::Drop, word);
        Ok(())
    }

    /// `for i in range(n):`
    fn each(&mut self, body: &mut Body, word: &Word) -> Result<()> {
        let name = self.name()?;
        if !self.take_name("in") {
            return Err(self.unexpected("`in`"));
        }
        if !self.take_name("range") {
            return Err(self.unexpected("`range`"));
        }
        self.expect("(")?;
        self.expression(body)?;
        self.take(",");
        self.expect(")")?;
        let (limit, count) = (body.hidden(), body.hidden());
        body.push(Step::Store(limit), word);
        body.push(Step::Push(Literal::Int(0)), word);
        body.push(Step::Store(count), word);
        let start = body.steps.len();
        let variable = body.slot(&name);
        body.push(Step::Each { count, limit, variable, end: 0 }, word);
        self.expect(":")?;
        self.block(body)?;
        body.push(Step::Jump(start), word);
        body.land(start);
        Ok(())
    }

    /// `a, b, = f(x)`, `a, b = x, y`, `(self).a = x`, or a call alone.
    fn assignment(&mut self, body: &mut Body, word: &Word) -> Result<()> {
        let start = self.at;
        let Some(places) = self.targets(body)? else {
            self.at = start;
            self.expression(body)?;
            body.push(Step::Drop, word);
            return self.expect_token(&Token::Newline);
        };
        let values = self.expressions_apart(body)?;
        match (values, &places[..]) {
            (1, [(Place::Attribute(name), _)]) => body.push(Step::SetAttribute(name.clone()), word),
            (1, [(Place::Variable(name), false)]) => {
                let slot = body.slot(name);
                body.push(Step::Store(slot), word);
            }
            (values, places) => {
                if values == 1 {
                    body.push(Step::Unpack(places.len()), word);
                } else if values != places.len() {
                    let message = format!("{values} values are assigned to {} names", places.len());
                    return Err(Error::format(message));
                }
                for (place, _) in places.iter().rev() {
                    let Place::Variable(name) = place else {
                        return Err(Error::unsupported("several attributes are assigned at once"));
                    };
                    let slot = body.slot(name);
                    body.push(Step::Store(slot), word);
                }
            }
        }
        self.expect_token(&Token::Newline)
    }

    /// What stands left of `=`, each with whether a comma follows; `None` if there is no assignment.
    fn targets(&mut self, body: &mut Body) -> Result<Option<Vec<(Place, bool)>>> {
        let line = &self.words[self.at..];
        let end = line.iter().position(|word| matches!(word.token, Token::Newline | Token::End)).unwrap_or(0);
        let mut depth = 0i32;
        let equals = line[..end].iter().position(|word| {
            depth += i32::from(matches!(word.token, Token::Mark("(" | "[" | "{")));
            depth -= i32::from(matches!(word.token, Token::Mark(")" | "]" | "}")));
            depth == 0 && word.token == Token::Mark("=")
        });
        let Some(equals) = equals else { return Ok(None) };
        let equals = self.at + equals;
        // The attribute of an object: the object's expression in front of the last point.
        if self.words[..equals].len() >= 2
            && let (Token::Mark("."), Token::Name(name)) =
                (&self.words[equals - 2].token, &self.words[equals - 1].token)
        {
            let name = name.clone();
            let (dot, mark) = (equals - 2, Word { token: Token::Newline, ..self.words[equals - 2].clone() });
            // The expression ends at the point.
            let point = std::mem::replace(&mut self.words[dot], mark);
            let object = self.expression(body);
            self.words[dot] = point;
            object?;
            if self.at != dot {
                return Err(self.unexpected("`.`"));
            }
            self.at = equals + 1;
            return Ok(Some(vec![(Place::Attribute(name), false)]));
        }
        let mut places = Vec::new();
        loop {
            let name = self.name()?.to_string();
            if self.take(":") {
                self.annotation()?;
            }
            let comma = self.take(",");
            places.push((Place::Variable(name), comma));
            if self.take("=") {
                return Ok(Some(places));
            }
            if !comma {
                return Err(self.unexpected("`=`"));
            }
        }
    }

    /// One expression, or several as a tuple.
    fn expressions(&mut self, body: &mut Body) -> Result<()> {
        let word = self.word().clone();
        let count = self.expressions_apart(body)?;
        if count > 1 {
            body.push(Step::Tuple(count), &word);
        }
        Ok(())
    }

    /// Expressions with commas between them; their number.
    fn expressions_apart(&mut self, body: &mut Body) -> Result<usize> {
        let mut count = 0;
        loop {
            self.expression(body)?;
            count += 1;
            if !self.take(",") || *self.token() == Token::Newline {
                return Ok(count);
            }
        }
    }

    fn expression(&mut self, body: &mut Body) -> Result<()> {
        self.nested(|parser| {
            let word = parser.word().clone();
            parser.primary(body)?;
            loop {
                if parser.take("[") {
                    parser.expression(body)?;
                    parser.expect("]")?;
                    body.push(Step::Index, &word);
                } else if parser.take(".") {
                    let name = parser.name()?;
                    if parser.take("(") {
                        let call = parser.arguments(body, Callee::Method(name))?;
                        body.push(Step::Call(call), &word);
                    } else {
                        body.push(Step::Attribute(name), &word);
                    }
                } else if parser.take("(") {
                    let call = parser.arguments(body, Callee::Value)?;
                    body.push(Step::Call(call), &word);
                } else {
                    return Ok(());
                }
            }
        })
    }

    fn arguments(&mut self, body: &mut Body, callee: Callee) -> Result<Call> {
        let (mut count, mut keywords) = (0, Vec::new());
        while !self.take(")") {
            let is_keyword = matches!(self.token(), Token::Name(_))
                && self.words.get(self.at + 1).is_some_and(|word| word.token == Token::Mark("="));
            if is_keyword {
                keywords.push(self.name()?);
                self.expect("=")?;
            } else if !keywords.is_empty() {
                return Err(Error::format("an argument by place stands behind one by name"));
            }
            self.expression(body)?;
            count += 1;
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(Call { callee, count, keywords })
    }

    /// Expressions up to a bracket; their number, and whether there was a comma.
    fn elements(&mut self, body: &mut Body, close: &str) -> Result<(usize, bool)> {
        let (mut count, mut comma) = (0, false);
        while !self.take(close) {
            self.expression(body)?;
            count += 1;
            if !self.take(",") {
                self.expect(close)?;
                break;
            }
            comma = true;
        }
        Ok((count, comma))
    }

    fn primary(&mut self, body: &mut Body) -> Result<()> {
        let word = self.word().clone();
        match word.token.clone() {
            Token::Mark("(") => {
                self.at += 1;
                let (count, comma) = self.elements(body, ")")?;
                if comma || count != 1 {
                    body.push(Step::Tuple(count), &word);
                }
            }
            Token::Mark("[") => {
                self.at += 1;
                let (count, _) = self.elements(body, "]")?;
                body.push(Step::List(count), &word);
            }
            Token::Mark("{") => {
                self.at += 1;
                let mut count = 0;
                while !self.take("}") {
                    self.expression(body)?;
                    self.expect(":")?;
                    self.expression(body)?;
                    count += 1;
                    if !self.take(",") {
                        self.expect("}")?;
                        break;
                    }
                }
                body.push(Step::Dict(count), &word);
            }
            Token::Name(name) => self.named(body, &word, &name)?,
            Token::Int(_) | Token::Float(_) | Token::Text(_) | Token::Mark("-") => {
                let literal = self.literal()?;
                body.push(Step::Push(literal), &word);
            }
            _ => return Err(self.unexpected("an expression")),
        }
        Ok(())
    }

    /// An expression that begins with a name.
    fn named(&mut self, body: &mut Body, word: &Word, name: &Arc<str>) -> Result<()> {
        if let Some(&slot) = body.slots.get(&**name) {
            self.at += 1;
            body.push(Step::Load(slot), word);
            return Ok(());
        }
        match &**name {
            "None" | "True" | "False" | "inf" | "nan" => {
                let literal = self.literal()?;
                body.push(Step::Push(literal), word);
                return Ok(());
            }
            _ => {}
        }
        if OUTSIDE.contains(&&**name) {
            let name = self.dotted()?;
            return self.outside(body, word, &name);
        }
        self.at += 1;
        if !self.take("(") {
            return Err(Error::format(format!("the name `{}` is not defined", printable(name))));
        }
        match &**name {
            "annotate" | "unchecked_cast" => {
                self.annotation()?;
                self.expect(",")?;
                self.expression(body)?;
            }
            "uninitialized" => {
                self.annotation()?;
                body.push(Step::Push(Literal::Uninitialized), word);
            }
            "getattr" => {
                self.expression(body)?;
                self.expect(",")?;
                let Token::Text(name) = self.next() else { return Err(self.unexpected("a name in quotes")) };
                body.push(Step::Attribute(name), word);
            }
            "isinstance" => {
                self.expression(body)?;
                self.expect(",")?;
                let mut types = Vec::new();
                let several = self.take("[") || self.take("(");
                loop {
                    types.push(self.annotation()?);
                    if !several || !self.take(",") || self.is("]") || self.is(")") {
                        break;
                    }
                }
                let _ = several && (self.take("]") || self.take(")"));
                body.push(Step::IsInstance(types), word);
            }
            _ => {
                let call = self.arguments(body, Callee::Global(name.clone()))?;
                body.push(Step::Call(call), word);
                return Ok(());
            }
        }
        self.take(",");
        self.expect(")")
    }

    /// A name of something outside of the function.
    fn outside(&mut self, body: &mut Body, word: &Word, name: &str) -> Result<()> {
        if let Some(constant) = name.strip_prefix("CONSTANTS.") {
            let number = constant.strip_prefix('c').and_then(|number| number.parse().ok());
            let number =
                number.ok_or_else(|| Error::format(format!("the constant `{}` has no number", printable(constant))))?;
            body.push(Step::Constant(number), word);
            return Ok(());
        }
        if self.take("(") {
            let call = self.arguments(body, Callee::Global(name.into()))?;
            body.push(Step::Call(call), word);
        } else {
            body.push(Step::Push(Literal::Global(name.into())), word);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        read("code/__torch__.py", text).unwrap_err().message().to_owned()
    }

    #[test]
    fn load_reads_classes_and_functions() {
        let text = "class M(Module):\n  __parameters__ = [\"w\", ]\n  w : Tensor\n  eps : Final[float] = 1.0e-05\n  \
                    __annotations__[\"0\"] = __torch__.N\n  def forward(self: __torch__.M,\n    x: Tensor,\n    \
                    k: Tuple[int, Optional[Tensor]]=(1, None)) -> Tensor:\n    if torch.gt(1, 2):\n      pass\n    \
                    else:\n      y = x\n    a, = torch.chunk(x, 1)\n    return a\ndef f() -> NoneType:\n  return None\n";
        let unit = read("code/__torch__.py", text).unwrap();
        let class = &unit.classes["M"];
        assert_eq!(
            (&class.parameters[..], &class.fields[..]),
            (&["w".to_owned()][..], &["w".into(), "eps".into(), "0".into()][..])
        );
        assert_eq!(class.constants["eps"], Literal::Float(1e-5));
        let forward = &class.methods["forward"];
        assert_eq!(forward.parameters[2].default, Some(Literal::Tuple(vec![Literal::Int(1), Literal::None])));
        assert!(forward.steps.iter().any(|step| matches!(step, Step::Unpack(1))));
        assert!(unit.functions.contains_key("f"));
    }

    #[test]
    fn load_says_where_code_does_not_parse() {
        let body = |line: &str| format!("def f(x: Tensor) -> Tensor:\n  {line}\n");
        assert!(
            error(&body("return y")).starts_with("record `code/__torch__.py`: line 2: the name `y` is not defined")
        );
        assert!(error(&body("return [x")).contains("line 3"));
        assert!(error(&body("1 = x")).contains("line 2: `1` stands where a name is expected"));
        assert!(error(&body("del x")).contains("`del` in a function"));
        assert!(error(&body("lambda x")).contains("the name `lambda` is not defined"));
        assert!(error(&body(&format!("return {}x", "(".repeat(10_000)))).contains("nested deeper"));
        assert!(error("def f(x, x):\n  pass\n").contains("`x` is there twice"));
        assert!(error("x = 1\n").contains("`class` or `def` is expected"));
    }
}
