//! Python's printed form of the tuples by which torch refers to storages and classes: what protocol 0 keeps of them.

/// A value that was printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    None,
    Bool(bool),
    /// Its decimal digits.
    Int(String),
    Text(String),
    /// `<class 'module.name'>`
    Class(String, String),
    Tuple(Vec<Literal>),
}

/// torch nests its tuples once.
const DEPTH_LIMIT: usize = 4;

/// Reads a printed tuple; `None` if the text is none.
pub(crate) fn read(text: &str) -> Option<Literal> {
    let mut reader = Reader { rest: text };
    let value = reader.value(DEPTH_LIMIT)?;
    (reader.rest.is_empty() && matches!(value, Literal::Tuple(_))).then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn eat(&mut self, expected: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(expected)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Literal> {
        for (word, value) in [("None", Literal::None), ("True", Literal::Bool(true)), ("False", Literal::Bool(false))] {
            if self.eat(word).is_some() {
                return Some(value);
            }
        }
        match self.rest.chars().next()? {
            '(' => self.tuple(depth.checked_sub(1)?),
            '<' => {
                self.eat("<class ")?;
                let name = self.text()?;
                self.eat(">")?;
                let (module, name) = name.rsplit_once('.')?;
                Some(Literal::Class(module.to_owned(), name.to_owned()))
            }
            '\'' | '"' | 'u' => self.text().map(Literal::Text),
            _ => {
                let is_digit = |c: char| c.is_ascii_digit() || c == '-';
                let end = self.rest.find(|c| !is_digit(c)).unwrap_or(self.rest.len());
                let (digits, rest) = self.rest.split_at(end);
                self.rest = rest;
                // Python 2 printed a long with its letter.
                let _ = self.eat("L");
                (!digits.is_empty()).then(|| Literal::Int(digits.to_owned()))
            }
        }
    }

    fn tuple(&mut self, depth: usize) -> Option<Literal> {
        self.eat("(")?;
        let mut elements = Vec::new();
        while self.eat(")").is_none() {
            elements.push(self.value(depth)?);
            match self.eat(",") {
                Some(()) => drop(self.eat(" ")),
                None => {
                    self.eat(")")?;
                    break;
                }
            }
        }
        Some(Literal::Tuple(elements))
    }

    /// A text in either kind of quotes, of either Python.
    fn text(&mut self) -> Option<String> {
        let _ = self.eat("u");
        let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let mut chars = self.rest[1..].chars();
        let mut text = String::new();
        loop {
            match chars.next()? {
                c if c == quote => break,
                '\\' => text.push(match chars.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'x' => code(&mut chars, 2)?,
                    'u' => code(&mut chars, 4)?,
                    'U' => code(&mut chars, 8)?,
                    same @ ('\\' | '\'' | '"') => same,
                    _ => return None,
                }),
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }
}

fn code(chars: &mut std::str::Chars, digits: usize) -> Option<char> {
    let value = (0..digits).try_fold(0, |value, _| Some(value * 16 + chars.next()?.to_digit(16)?))?;
    char::from_u32(value)
}

#[cfg(test)]
mod tests {
    use super::{Literal::*, *};

    #[test]
    fn load_reads_what_python_prints() {
        let text = |text: &str| Text(text.to_owned());
        let int = |digits: &str| Int(digits.to_owned());
        let class = |module: &str, name: &str| Class(module.to_owned(), name.to_owned());
        let cases = [
            (
                "('storage', <class 'torch.FloatStorage'>, '94', 'cpu', 6, None)",
                Tuple(vec![text("storage"), class("torch", "FloatStorage"), text("94"), text("cpu"), int("6"), None]),
            ),
            (
                r#"('module', <class 'a.b.C'>, 'x.py', "it's\n\x41\\")"#,
                Tuple(vec![text("module"), class("a.b", "C"), text("x.py"), text("it's\nA\\")]),
            ),
            (
                "(('7', 2, 3L), True, -1,)",
                Tuple(vec![Tuple(vec![text("7"), int("2"), int("3")]), Bool(true), int("-1")]),
            ),
            ("()", Tuple(vec![])),
        ];
        for (printed, expected) in cases {
            assert_eq!(read(printed).as_ref(), Some(&expected), "{printed}");
        }
        for other in
            ["", "94", "'a'", "('a'", "('a' 'b')", "(1)x", "(((((1,),),),),)", "(<class 'C'>,)", r"('\q',)", "(-"]
        {
            assert_eq!(read(other), Option::None, "{other}");
        }
    }
}
