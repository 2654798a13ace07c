//! The language of objectives and conditions.
//!
//! ```text
//! condition := expr ("<=" | ">=" | "==") expr | "argmax(y)" ("==" | "!=") number
//! expr      := ["-"] product {("+" | "-") product}
//! product   := factor {("*" | "/") factor}          one factor at most is not a number
//! factor    := number | "x[" i "]" | "y[" j "]" | "x0[" i "]" | "(" expr ")" | "-" factor
//!            | "abs(" expr ")" | ("max" | "min") "(" expr {"," expr} ")"
//!            | ("norm1" | "norminf") "(" vector ")"
//! vector    := ["-"] ("x" | "y" | "x0") {("+" | "-") ("x" | "y" | "x0")}
//! ```

use super::expression::{Expr, Part, Symbol};
use crate::{Error, Result};

/// How deep parentheses may be nested.
const DEPTH: usize = 64;

/// What the names in an expression stand for.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub n: usize,
    pub m: usize,
    pub x0: Option<&'a [f64]>,
}

/// A condition as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// The expression is at most 0.
    AtMostZero(Expr),
    /// The expression is 0.
    Zero(Expr),
    /// The output of this index is the largest.
    Largest(usize),
    /// The output of this index is not the largest.
    NotLargest(usize),
}

/// Reads an expression.
pub(super) fn expression(text: &str, names: Names) -> Result<Expr> {
    let mut parser = Parser { text, at: 0, depth: 0, names };
    let expr = parser.expr()?;
    parser.end()?;
    Ok(expr)
}

/// Reads a condition.
pub(super) fn condition(text: &str, names: Names) -> Result<Condition> {
    let mut parser = Parser { text, at: 0, depth: 0, names };
    let condition = parser.condition()?;
    parser.end()?;
    Ok(condition)
}

struct Parser<'a> {
    text: &'a str,
    /// Byte position of what comes next.
    at: usize,
    depth: usize,
    names: Names<'a>,
}

impl Parser<'_> {
    fn error(&self, at: usize, what: impl std::fmt::Display) -> Error {
        let column = self.text[..at].chars().count() + 1;
        Error::argument(format!("`{}`, column {column}: {what}", self.text))
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// What comes next, for messages.
    fn found(&self) -> String {
        let word: String = self.rest().chars().take_while(|c| c.is_alphanumeric()).collect();
        match (word.is_empty(), self.rest().chars().next()) {
            (true, None) => "the end".to_owned(),
            (true, Some(c)) => format!("`{c}`"),
            (false, _) => format!("`{word}`"),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.take(token) {
            return Ok(());
        }
        Err(self.error(self.at, format!("expected `{token}`, found {}", self.found())))
    }

    fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.rest().is_empty() {
            return Ok(());
        }
        Err(self.error(self.at, format!("expected an operator or the end, found {}", self.found())))
    }

    /// A name made of letters and digits, if one comes next.
    fn word(&mut self) -> Option<(usize, String)> {
        self.skip_space();
        let start = self.at;
        if !self.rest().starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        let word: String = self.rest().chars().take_while(char::is_ascii_alphanumeric).collect();
        self.at += word.len();
        Some((start, word))
    }

    fn condition(&mut self) -> Result<Condition> {
        let start = self.at;
        if let Some((_, word)) = self.word()
            && word == "argmax"
        {
            return self.argmax();
        }
        self.at = start;
        let left = self.expr()?;
        let at = self.at;
        for (token, sign) in [("<=", Some(1.0)), (">=", Some(-1.0)), ("==", None)] {
            if self.take(token) {
                let difference = left.sub(self.expr()?).collect();
                let difference = self.finite(at, difference)?;
                return Ok(match sign {
                    Some(sign) => Condition::AtMostZero(difference.scale(sign)),
                    None => Condition::Zero(difference),
                });
            }
        }
        Err(self.error(self.at, format!("expected `<=`, `>=` or `==`, found {}", self.found())))
    }

    fn argmax(&mut self) -> Result<Condition> {
        self.expect("(")?;
        self.expect("y")?;
        self.expect(")")?;
        let equal = self.take("==");
        if !equal && !self.take("!=") {
            return Err(self.error(self.at, format!("expected `==` or `!=`, found {}", self.found())));
        }
        let index = self.index(self.names.m, "outputs")?;
        Ok(if equal { Condition::Largest(index) } else { Condition::NotLargest(index) })
    }

    /// A whole number below `count`.
    fn index(&mut self, count: usize, what: &str) -> Result<usize> {
        self.skip_space();
        let start = self.at;
        let digits: String = self.rest().chars().take_while(char::is_ascii_digit).collect();
        if digits.is_empty() {
            return Err(self.error(start, format!("expected an index, found {}", self.found())));
        }
        self.at += digits.len();
        match digits.parse::<usize>() {
            Ok(index) if index < count => Ok(index),
            _ => Err(self.error(start, format!("index {digits} of {count} {what}, which count from 0"))),
        }
    }

    fn expr(&mut self) -> Result<Expr> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error(self.at, format!("nested deeper than {DEPTH}")));
        }
        let mut sum = self.product()?;
        let mut at = self.at;
        loop {
            self.skip_space();
            // Where the last sum or difference stands.
            if self.rest().starts_with(['+', '-']) {
                at = self.at;
            }
            if self.take("+") {
                sum = sum.add(self.product()?);
            } else if self.take("-") {
                sum = sum.sub(self.product()?);
            } else {
                self.depth -= 1;
                return self.finite(at, sum.collect());
            }
        }
    }

    fn product(&mut self) -> Result<Expr> {
        let mut product = self.factor()?;
        loop {
            self.skip_space();
            let at = self.at;
            if self.take("*") {
                let factor = self.factor()?;
                product = match (product.as_constant(), factor.as_constant()) {
                    (_, Some(c)) => product.scale(c),
                    (Some(c), _) => factor.scale(c),
                    _ => return Err(self.error(at, "a product of two expressions is not linear")),
                };
            } else if self.take("/") {
                product = match self.factor()?.as_constant() {
                    Some(0.0) => return Err(self.error(at, "division by zero")),
                    Some(c) => product.scale(1.0 / c),
                    None => return Err(self.error(at, "only division by a number is linear")),
                };
            } else {
                return Ok(product);
            }
            product = self.finite(at, product)?;
        }
    }

    /// An error where an operation has made a number that is none.
    fn finite(&self, at: usize, result: Expr) -> Result<Expr> {
        let numbers = [result.constant].into_iter().chain(result.terms.iter().map(|term| term.1));
        if numbers.chain(result.parts.iter().map(|part| part.0)).all(f64::is_finite) {
            return Ok(result);
        }
        Err(self.error(at, "the result is too large"))
    }

    fn factor(&mut self) -> Result<Expr> {
        let mut negative = false;
        while self.take("-") {
            negative = !negative;
        }
        let value = self.positive()?;
        Ok(if negative { value.scale(-1.0) } else { value })
    }

    fn positive(&mut self) -> Result<Expr> {
        if self.take("(") {
            let inner = self.expr()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let Some((start, word)) = self.word() else { return self.number() };
        match word.as_str() {
            "x" => Ok(Expr::symbol(Symbol::X(self.bracketed(self.names.n, "inputs")?))),
            "y" => Ok(Expr::symbol(Symbol::Y(self.bracketed(self.names.m, "outputs")?))),
            "x0" => {
                let x0 = self.x0(start)?.to_vec();
                Ok(Expr::constant(x0[self.bracketed(x0.len(), "inputs")?]))
            }
            "abs" => {
                self.expect("(")?;
                let inner = self.expr()?;
                self.expect(")")?;
                Ok(match inner.as_constant() {
                    Some(c) => Expr::constant(c.abs()),
                    None => Expr::part(Part::Abs(Box::new(inner))),
                })
            }
            "max" => Ok(Expr::part(Part::Max(self.list()?))),
            "min" => {
                let negated = self.list()?.into_iter().map(|e| e.scale(-1.0)).collect();
                Ok(Expr::part(Part::Max(negated)).scale(-1.0))
            }
            "norm1" => {
                let magnitudes = self.vector()?.into_iter().map(|e| Expr::part(Part::Abs(Box::new(e))));
                Ok(magnitudes.fold(Expr::default(), Expr::add))
            }
            "norminf" => {
                let both = self.vector()?.into_iter().flat_map(|e| [e.clone(), e.scale(-1.0)]);
                Ok(Expr::part(Part::Max(both.collect())))
            }
            "argmax" => Err(self.error(start, "`argmax(y)` stands alone: argmax(y) == k or argmax(y) != k")),
            _ => Err(self.error(
                start,
                format!("unknown name `{word}`; there are x[i], y[j], x0[i], abs, max, min, norm1, norminf"),
            )),
        }
    }

    fn number(&mut self) -> Result<Expr> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start;
        let digit = |c: u8| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E');
        let sign = |at: usize| at > start && matches!(bytes[at], b'+' | b'-') && matches!(bytes[at - 1], b'e' | b'E');
        while end < bytes.len() && (digit(bytes[end]) || sign(end)) {
            end += 1;
        }
        if end == start {
            return Err(self.error(start, format!("expected a number, a name or `(`, found {}", self.found())));
        }
        self.at = end;
        match self.text[start..end].parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Expr::constant(value)),
            _ => Err(self.error(start, format!("`{}` is not a finite number", &self.text[start..end]))),
        }
    }

    fn bracketed(&mut self, count: usize, what: &str) -> Result<usize> {
        self.expect("[")?;
        let index = self.index(count, what)?;
        self.expect("]")?;
        Ok(index)
    }

    fn list(&mut self) -> Result<Vec<Expr>> {
        self.expect("(")?;
        let mut items = vec![self.expr()?];
        while self.take(",") {
            items.push(self.expr()?);
        }
        self.expect(")")?;
        Ok(items)
    }

    fn x0(&self, at: usize) -> Result<&[f64]> {
        self.names
            .x0
            .ok_or_else(|| self.error(at, "x0 is not given; give --x0 (in the library: Problem::set_x0, before this)"))
    }

    /// `(x - x0)`: sums and differences of whole vectors.
    fn vector(&mut self) -> Result<Vec<Expr>> {
        self.expect("(")?;
        let mut sum: Option<Vec<Expr>> = None;
        let mut sign = if self.take("-") { -1.0 } else { 1.0 };
        loop {
            self.skip_space();
            let at = self.at;
            let word = self.word().map(|(_, word)| word);
            let vector: Vec<Expr> = match word.as_deref() {
                Some("x") => (0..self.names.n).map(|i| Expr::symbol(Symbol::X(i))).collect(),
                Some("y") => (0..self.names.m).map(|j| Expr::symbol(Symbol::Y(j))).collect(),
                Some("x0") => self.x0(at)?.iter().map(|&c| Expr::constant(c)).collect(),
                _ => {
                    return Err(self.error(at, "a norm takes sums and differences of x, x0 and y, as in norm1(x - x0)"));
                }
            };
            let vector = vector.into_iter().map(|e| e.scale(sign));
            sum = Some(match sum {
                None => vector.collect(),
                Some(sum) if sum.len() == vector.len() => {
                    let sums = sum.into_iter().zip(vector).map(|(a, b)| self.finite(at, a.add(b).collect()));
                    sums.collect::<Result<_>>()?
                }
                Some(sum) => {
                    return Err(self.error(at, format!("vectors of {} and {} elements", sum.len(), vector.len())));
                }
            });
            if self.take("+") {
                sign = 1.0;
            } else if self.take("-") {
                sign = -1.0;
            } else {
                self.expect(")")?;
                return Ok(sum.unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::expression::Point, *};

    const X0: [f64; 2] = [0.5, -1.0];
    const NAMES: Names = Names { n: 2, m: 3, x0: Some(&X0) };

    #[test]
    fn expressions_have_the_values_of_arithmetic() {
        let point = Point { x: &[2.0, -3.0], y: &[1.0, 5.0, -4.0] };
        for (text, value) in [
            ("1", 1.0),
            ("-x[0] + 2*y[1] - 3", 5.0),
            (" x[ 0 ]*2/4 ", 1.0),
            ("2*(x[0] - (y[0] - 1)) * 3", 12.0),
            ("--x[0] - -1.5e-1", 2.15),
            ("abs(x[1]) + abs(-2)", 5.0),
            ("max(x[0], y[1], 3) - min(y[2], 1)", 9.0),
            ("norm1(x - x0)", 3.5),
            ("norminf(x - x0) * -2", -4.0),
            ("norminf(-y)", 5.0),
            ("norm1(x + x0 - x)", 1.5),
            ("x0[1] * x[0]", -2.0),
            ("x[0] - x[0]", 0.0),
            ("1e+2 / 2e1", 5.0),
        ] {
            let expr = expression(text, NAMES).unwrap();
            assert!((expr.value(&point) - value).abs() < 1e-12, "{text} is {}", expr.value(&point));
        }
    }

    #[test]
    fn conditions_are_turned_to_zero() {
        let point = Point { x: &[2.0, -3.0], y: &[0.0; 3] };
        let Condition::AtMostZero(e) = condition("x[0] >= 5", NAMES).unwrap() else { panic!() };
        assert_eq!(e.value(&point), 3.0);
        let Condition::Zero(e) = condition("x[0] + x[1] == -1", NAMES).unwrap() else { panic!() };
        assert_eq!(e.value(&point), 0.0);
        assert_eq!(condition("argmax(y) == 2", NAMES).unwrap(), Condition::Largest(2));
        assert_eq!(condition(" argmax ( y )!=0 ", NAMES).unwrap(), Condition::NotLargest(0));
    }

    #[test]
    fn errors_point_at_the_column() {
        for (text, column) in [
            ("", 1),
            ("x[2]", 3),
            ("y[3]", 3),
            ("x[99999999999999999999]", 3),
            ("x", 2),
            ("z[0]", 1),
            ("x[0] * y[0]", 6),
            ("1 / x[0]", 3),
            ("x[0] / 0", 6),
            ("1e999", 1),
            ("1e300 * 1e300", 7),
            ("1e308*y[0] + 1e308*y[0]", 12),
            ("1e308 + 1e308", 7),
            ("x[0] +", 7),
            ("(x[0]", 6),
            ("x[0] x[1]", 6),
            ("max()", 5),
            ("norm1(x - y)", 11),
            ("norm1(x[0])", 8),
            ("argmax(y)", 1),
            ("ä", 1),
            ("1 + ä", 5),
            ("1.2.3", 1),
            ("+", 1),
        ] {
            let message = expression(text, NAMES).unwrap_err().to_string();
            assert!(message.contains(&format!("column {column}:")), "{message}");
        }
        for (text, column) in
            [("x[0] < 1", 6), ("x[0]", 5), ("argmax(y) == 3", 14), ("argmax(x) == 1", 8), ("x[0] <= 1 <= 2", 11)]
        {
            let message = condition(text, NAMES).unwrap_err().to_string();
            assert!(message.contains(&format!("column {column}:")), "{message}");
        }
        assert!(condition("1e308 >= -1e308", NAMES).unwrap_err().to_string().contains("too large"));
        assert!(expression("norminf(x0 + x0)", Names { x0: Some(&[1e308]), n: 1, ..NAMES }).is_err());
        let without = Names { x0: None, ..NAMES };
        assert!(expression("norm1(x - x0)", without).unwrap_err().to_string().contains("give --x0"));
    }

    #[test]
    fn nesting_is_limited() {
        let deep = "(".repeat(100_000) + "1" + &")".repeat(100_000);
        assert!(expression(&deep, NAMES).unwrap_err().to_string().contains("nested deeper"));
        let minuses = "-".repeat(100_000) + "1";
        assert_eq!(expression(&minuses, NAMES).unwrap(), Expr::constant(1.0));
        let abs = "abs(".repeat(60) + "x[0]" + &")".repeat(60);
        expression(&abs, NAMES).unwrap();
    }
}
