//! The words of serialized code, with the indentation of its lines.

use std::sync::Arc;

use super::super::records::printable;
use crate::{Error, Result};

/// A word of the code.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(Arc<str>),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// Punctuation: one of `( ) [ ] { } , : . = - ->` and what else stands alone.
    Mark(&'static str),
    Newline,
    Indent,
    Dedent,
    End,
}

impl Token {
    /// As an error message quotes it.
    pub fn describe(&self) -> String {
        match self {
            Token::Name(name) => format!("`{}`", printable(name)),
            Token::Int(value) => format!("`{value}`"),
            Token::Float(value) => format!("`{value:?}`"),
            Token::Text(_) => "a string".to_owned(),
            Token::Mark(mark) => format!("`{mark}`"),
            Token::Newline => "the end of the line".to_owned(),
            Token::Indent => "an indented line".to_owned(),
            Token::Dedent => "the end of the block".to_owned(),
            Token::End => "the end of the code".to_owned(),
        }
    }
}

/// A word with the line and the byte where it stands.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub token: Token,
    pub line: u32,
    pub byte: u32,
}

const MARKS: [&str; 12] = ["->", "(", ")", "[", "]", "{", "}", ",", ":", ".", "=", "-"];

/// The words of a text.
pub(super) fn words(text: &str) -> Result<Vec<Word>> {
    let mut words: Vec<Word> = Vec::new();
    let mut indents = vec![0];
    let (mut open, mut at, mut line) = (0usize, 0, 1);
    let mut start_of_line = true;
    let wrong = |line: u32, message: String| Err(Error::format(message).at(format!("line {line}")));
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.as_bytes()[0];
        if start_of_line {
            let indent = rest.len() - rest.trim_start_matches(' ').len();
            let behind = rest.as_bytes().get(indent);
            if !matches!(behind, None | Some(b'\n' | b'#' | b'\r')) {
                let mut push = |token| words.push(Word { token, line, byte: at as u32 });
                if indent > *indents.last().unwrap_or(&0) {
                    indents.push(indent);
                    push(Token::Indent);
                }
                while indent < *indents.last().unwrap_or(&0) {
                    indents.pop();
                    push(Token::Dedent);
                }
                if indent != *indents.last().unwrap_or(&0) {
                    return wrong(line, "its indentation is that of no block".to_owned());
                }
            }
            at += indent;
            start_of_line = false;
            continue;
        }
        let length = match first {
            b'\n' => {
                if open == 0 && !matches!(words.last(), None | Some(Word { token: Token::Newline, .. })) {
                    words.push(Word { token: Token::Newline, line, byte: at as u32 });
                }
                start_of_line = open == 0;
                line += 1;
                at += 1;
                continue;
            }
            b' ' | b'\t' | b'\r' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            b'"' | b'\'' => {
                let (value, length) = string(rest).map_err(|e| e.at(format!("line {line}")))?;
                words.push(Word { token: Token::Text(value.into()), line, byte: at as u32 });
                line += rest[..length].matches('\n').count() as u32;
                length
            }
            b'0'..=b'9' => {
                let (token, length) = number(rest).map_err(|e| e.at(format!("line {line}")))?;
                words.push(Word { token, line, byte: at as u32 });
                length
            }
            _ => {
                let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                let token = if length > 0 {
                    Token::Name(rest[..length].into())
                } else {
                    let mark = MARKS.iter().find(|mark| rest.starts_with(**mark));
                    let Some(&mark) = mark else {
                        let c = rest.chars().next().unwrap_or(' ');
                        return wrong(line, format!("`{}` is no part of serialized code", c.escape_default()));
                    };
                    match mark {
                        "(" | "[" | "{" => open += 1,
                        ")" | "]" | "}" => open = open.saturating_sub(1),
                        _ => {}
                    }
                    Token::Mark(mark)
                };
                let length = if let Token::Mark(mark) = token { mark.len() } else { length };
                words.push(Word { token, line, byte: at as u32 });
                length
            }
        };
        at += length;
    }
    let byte = text.len() as u32;
    if !matches!(words.last(), None | Some(Word { token: Token::Newline, .. })) {
        words.push(Word { token: Token::Newline, line, byte });
    }
    words.extend(indents.iter().skip(1).map(|_| Word { token: Token::Dedent, line, byte }));
    words.push(Word { token: Token::End, line, byte });
    Ok(words)
}

/// A string in quotes with its length in bytes.
fn string(text: &str) -> Result<(String, usize)> {
    let quote = text.as_bytes()[0] as char;
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((value, at + 1)),
            '\\' => {
                let Some((_, c)) = chars.next() else { break };
                let mut digits = |radix: u32, most: usize, first: Option<u32>| {
                    let mut code = first;
                    let mut count = usize::from(first.is_some());
                    while let Some(digit) = chars.peek().and_then(|(_, c)| c.to_digit(radix)).filter(|_| count < most) {
                        code = Some(code.unwrap_or(0) * radix + digit);
                        count += 1;
                        chars.next();
                    }
                    code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
                };
                value.push(match c {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'v' => '\x0b',
                    'x' => digits(16, 2, None),
                    '0'..='7' => digits(8, 3, c.to_digit(8)),
                    other => other,
                });
            }
            other => value.push(other),
        }
    }
    Err(Error::format("a string does not end"))
}

/// A number with its length in bytes.
fn number(text: &str) -> Result<(Token, usize)> {
    let bytes = text.as_bytes();
    let mut length = 0;
    let mut is_float = false;
    while let Some(&byte) = bytes.get(length) {
        match byte {
            b'0'..=b'9' => {}
            b'.' => is_float = true,
            b'e' | b'E' => {
                is_float = true;
                length += usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
            }
            _ => break,
        }
        length += 1;
    }
    let word = &text[..length];
    let wrong = || Error::format(format!("the number {word} cannot be read"));
    let token = match is_float {
        true => Token::Float(word.parse().map_err(|_| wrong())?),
        // The least integer has no positive counterpart.
        false if word == "9223372036854775808" => Token::Int(i64::MIN),
        false => Token::Int(word.parse().map_err(|_| wrong())?),
    };
    Ok((token, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        words(text).unwrap().into_iter().map(|word| word.token).collect()
    }

    #[test]
    fn load_reads_words_with_indentation() {
        let found = tokens("if a:\n  b = -1.5e-05\nc[0, \n 2]\n");
        let name = |name: &str| Token::Name(name.into());
        let mark = Token::Mark;
        assert_eq!(
            found,
            [
                name("if"),
                name("a"),
                mark(":"),
                Token::Newline,
                Token::Indent,
                name("b"),
                mark("="),
                mark("-"),
                Token::Float(1.5e-5),
                Token::Newline,
                Token::Dedent,
                name("c"),
                mark("["),
                Token::Int(0),
                mark(","),
                Token::Int(2),
                mark("]"),
                Token::Newline,
                Token::End
            ]
        );
        assert_eq!(tokens("\"a\\n\\x41\\101\\\"\"")[0], Token::Text("a\nAA\"".into()));
        assert!(words("a = b + c").unwrap_err().message().contains("line 1: `+`"));
        assert!(words("a\n  b\n c").unwrap_err().message().contains("line 3"));
        assert!(words("\n\"abc").unwrap_err().message().contains("line 2: a string"));
    }
}
