//! A virtual machine for pickles, protocols 0 to 5 (the reference is CPython's `pickletools`). It builds plain
//! [records](super::records) and never calls, imports or looks up what a file names.

use std::collections::HashMap;

use super::records::{Global, Object, Pickle, Record, RecordId};
use crate::{Error, Result};

/// More records than this are refused; they would take about 1 GB.
const RECORD_LIMIT: usize = 1 << 25;

/// Longer decimal integers are refused, as CPython does.
const DIGIT_LIMIT: usize = 4300;

/// Reads the pickle in `bytes`; `name` is the record of the archive that error messages name.
pub(crate) fn read(bytes: &[u8], name: &str) -> Result<Pickle> {
    let mut machine = Machine::new(bytes);
    match machine.run() {
        Ok(root) => Ok(Pickle { records: machine.records, root, hostile: machine.hostile }),
        Err(error) => {
            let opcode = match bytes.get(machine.opcode_at) {
                Some(&code) => opcode_name(code),
                None => "end of the record".to_owned(),
            };
            Err(error.at(format!("{name}, byte {}, {opcode}", machine.opcode_at)))
        }
    }
}

/// Ids of the records that every pickle starts with, so that one-byte opcodes do not each take a record.
const NONE: RecordId = RecordId(0);
const FALSE: RecordId = RecordId(1);
const TRUE: RecordId = RecordId(2);
const EMPTY_TUPLE: RecordId = RecordId(3);

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    opcode_at: usize,
    records: Vec<Record>,
    stack: Vec<RecordId>,
    /// Heights of the stack at the marks that are open.
    marks: Vec<usize>,
    memo: HashMap<u64, RecordId>,
    hostile: Option<(RecordId, usize)>,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let records = vec![Record::None, Record::Bool(false), Record::Bool(true), Record::Tuple(Box::new([]))];
        Self {
            bytes,
            at: 0,
            opcode_at: 0,
            records,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            hostile: None,
        }
    }

    fn run(&mut self) -> Result<RecordId> {
        loop {
            self.opcode_at = self.at;
            let Some(&opcode) = self.bytes.get(self.at) else {
                return Err(Error::format("the pickle ends without STOP; the file is truncated"));
            };
            self.at += 1;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            // Frames and the protocol's number.
            0x80 => {
                let protocol = self.number(1)?;
                if protocol > 5 {
                    return Err(Error::unsupported(format!("pickle protocol {protocol}; 0 to 5 are known")));
                }
            }
            0x95 => {
                let length = self.number(8)?;
                self.claim(length)?;
            }
            // Constants.
            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b')' => self.stack.push(EMPTY_TUPLE),
            // Numbers.
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Record::Int(value.into()))?;
            }
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            b'I' => self.int_line()?,
            b'L' => self.long_line()?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                let value = f64::from_bits(self.number(8)?.swap_bytes());
                self.push(Record::Float(value))?;
            }
            b'F' => {
                let text = self.text_line()?;
                let value = text.trim().parse().map_err(|_| Error::format(format!("`{}` is no float", short(text))))?;
                self.push(Record::Float(value))?;
            }
            // Text and bytes.
            b'X' => self.unicode(4)?,
            0x8c => self.unicode(1)?,
            0x8d => self.unicode(8)?,
            b'V' => self.unicode_line()?,
            b'T' => self.python2_string(4)?,
            b'U' => self.python2_string(1)?,
            b'S' => self.string_line()?,
            b'B' => self.byte_string(4)?,
            b'C' => self.byte_string(1)?,
            0x8e | 0x96 => self.byte_string(8)?,
            0x97 | 0x98 => {
                return Err(Error::unsupported("out-of-band buffers are not held by a file; save without them"));
            }
            // Containers.
            b']' => self.push(Record::List(Vec::new()))?,
            b'}' => self.push(Record::Dict(Vec::new()))?,
            0x8f => self.push(Record::Set(Vec::new()))?,
            b'l' => {
                let elements = self.pop_mark()?;
                self.push(Record::List(elements))?;
            }
            b't' => {
                let elements = self.pop_mark()?;
                self.push(Record::Tuple(elements.into()))?;
            }
            b'd' => {
                let entries = pairs(&self.pop_mark()?)?;
                self.push(Record::Dict(entries))?;
            }
            0x91 => {
                let elements = self.pop_mark()?;
                self.push(Record::Set(elements))?;
            }
            0x85..=0x87 => self.small_tuple(usize::from(opcode - 0x84))?,
            b'a' => {
                let element = self.pop()?;
                self.append(&[element])?;
            }
            b'e' | 0x90 => {
                let elements = self.pop_mark()?;
                self.append(&elements)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[(key, value)])?;
            }
            b'u' => {
                let entries = pairs(&self.pop_mark()?)?;
                self.set_items(&entries)?;
            }
            // The stack and the memo.
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.pop_or_mark()?,
            b'1' => {
                self.pop_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'p' => {
                let index = self.index_line()?;
                self.put(index)?;
            }
            b'q' => {
                let index = self.number(1)?;
                self.put(index)?;
            }
            b'r' => {
                let index = self.number(4)?;
                self.put(index)?;
            }
            0x94 => self.put(self.memo.len() as u64)?,
            b'g' => {
                let index = self.index_line()?;
                self.get(index)?;
            }
            b'h' => {
                let index = self.number(1)?;
                self.get(index)?;
            }
            b'j' => {
                let index = self.number(4)?;
                self.get(index)?;
            }
            // Names and what would be called.
            b'c' => {
                let global = self.global_lines()?;
                let id = self.global(global)?;
                self.stack.push(id);
            }
            0x93 => self.stack_global()?,
            0x82..=0x84 => {
                return Err(Error::unsupported(
                    "codes of Python's extension registry mean nothing outside its process",
                ));
            }
            b'R' | 0x81 => {
                let args = self.pop()?;
                let callable = self.pop()?;
                self.object(callable, args, None)?;
            }
            0x92 => {
                let keywords = self.pop()?;
                let args = self.pop()?;
                let callable = self.pop()?;
                self.object(callable, args, Some(keywords))?;
            }
            b'i' => {
                let global = self.global_lines()?;
                let args = self.pop_mark()?;
                let callable = self.global(global)?;
                let args = self.add(Record::Tuple(args.into()))?;
                self.object(callable, args, None)?;
            }
            b'o' => {
                let elements = self.pop_mark()?;
                let (&callable, args) =
                    elements.split_first().ok_or_else(|| Error::format("no class stands behind the mark"))?;
                let args = self.add(Record::Tuple(args.into()))?;
                self.object(callable, args, None)?;
            }
            b'b' => self.build()?,
            b'P' => {
                let id = self.text_line()?.into();
                let id = self.add(Record::Str(id))?;
                self.push(Record::Persistent(id))?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Record::Persistent(id))?;
            }
            _ => return Err(Error::format("no pickle has this opcode; the file is damaged")),
        }
        Ok(())
    }

    // Reading.

    /// Checks a length that the file claims against the bytes that remain.
    fn claim(&self, length: u64) -> Result<usize> {
        let remaining = self.bytes.len() - self.at;
        usize::try_from(length).ok().filter(|&n| n <= remaining).ok_or_else(|| {
            Error::format(format!(
                "{length} bytes are claimed, but {remaining} remain; the file is truncated or damaged"
            ))
        })
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = self.claim(length)?;
        let bytes = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(bytes)
    }

    /// A little-endian unsigned number of `size <= 8` bytes.
    fn number(&mut self, size: u64) -> Result<u64> {
        Ok(self.take(size)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn sized(&mut self, size_of_length: u64) -> Result<&'a [u8]> {
        let length = self.number(size_of_length)?;
        self.take(length)
    }

    fn line(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&b| b == b'\n');
        let end = end.ok_or_else(|| Error::format("a line without an end; the file is truncated or damaged"))?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn text_line(&mut self) -> Result<&'a str> {
        let line = self.line()?;
        utf8(line)
    }

    fn index_line(&mut self) -> Result<u64> {
        let line = self.text_line()?;
        line.trim().parse().map_err(|_| Error::format(format!("`{}` is no index of the memo", short(line))))
    }

    fn global_lines(&mut self) -> Result<Box<Global>> {
        let module = self.text_line()?;
        let name = self.text_line()?;
        Ok(global(module, name))
    }

    // The stack.

    fn add(&mut self, record: Record) -> Result<RecordId> {
        if self.records.len() >= RECORD_LIMIT {
            return Err(Error::unsupported(format!("more than {RECORD_LIMIT} records in one pickle")));
        }
        self.records.push(record);
        Ok(RecordId((self.records.len() - 1) as u32))
    }

    fn push(&mut self, record: Record) -> Result<()> {
        let id = self.add(record)?;
        self.stack.push(id);
        Ok(())
    }

    fn top(&self) -> Result<RecordId> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(Error::format("the stack is empty; the file is damaged"));
        }
        Ok(self.stack[self.stack.len() - 1])
    }

    fn pop(&mut self) -> Result<RecordId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<RecordId>> {
        let mark = self.marks.pop().ok_or_else(|| Error::format("there is no mark; the file is damaged"))?;
        Ok(self.stack.split_off(mark))
    }

    /// POP takes a mark away where one is on top.
    fn pop_or_mark(&mut self) -> Result<()> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn put(&mut self, index: u64) -> Result<()> {
        let top = self.top()?;
        // Python memoises a value once; without this, a file of MEMOIZE opcodes would take 30 times its size.
        if self.memo.len() >= self.records.len() {
            return Err(Error::format("the memo has more entries than there are values; the file is damaged"));
        }
        self.memo.insert(index, top);
        Ok(())
    }

    fn get(&mut self, index: u64) -> Result<()> {
        let id = self.memo.get(&index).ok_or_else(|| Error::format(format!("the memo has no entry {index}")))?;
        self.stack.push(*id);
        Ok(())
    }

    // Numbers and text.

    fn integer(&mut self, size: u64) -> Result<()> {
        let value = self.number(size)?;
        self.push(Record::Int(value as i64))
    }

    fn int_line(&mut self) -> Result<()> {
        let line = self.text_line()?;
        match line {
            "00" => self.stack.push(FALSE),
            "01" => self.stack.push(TRUE),
            _ => {
                let record = decimal(line)?;
                self.push(record)?;
            }
        }
        Ok(())
    }

    fn long_line(&mut self) -> Result<()> {
        let line = self.text_line()?;
        let record = decimal(line.strip_suffix('L').unwrap_or(line))?;
        self.push(record)
    }

    fn long(&mut self, size_of_length: u64) -> Result<()> {
        let bytes = self.sized(size_of_length)?;
        self.push(integer(bytes))
    }

    fn unicode(&mut self, size_of_length: u64) -> Result<()> {
        let text = self.sized(size_of_length)?;
        let text = utf8(text)?.into();
        self.push(Record::Str(text))
    }

    fn unicode_line(&mut self) -> Result<()> {
        let line = self.line()?;
        let text = raw_unicode_escape(line)?;
        self.push(Record::Str(text.into()))
    }

    fn byte_string(&mut self, size_of_length: u64) -> Result<()> {
        let bytes = self.sized(size_of_length)?.into();
        self.push(Record::Bytes(bytes))
    }

    /// Python 2 did not tell text from bytes: what is UTF-8 is taken for text.
    fn python2(&mut self, bytes: &[u8]) -> Result<()> {
        self.push(match std::str::from_utf8(bytes) {
            Ok(text) => Record::Str(text.into()),
            Err(_) => Record::Bytes(bytes.into()),
        })
    }

    fn python2_string(&mut self, size_of_length: u64) -> Result<()> {
        let bytes = self.sized(size_of_length)?;
        self.python2(bytes)
    }

    fn string_line(&mut self) -> Result<()> {
        let line = self.line()?.trim_ascii();
        let quoted = match line {
            [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
            _ => return Err(Error::format("a string without quotes")),
        };
        let bytes = string_escape(quoted)?;
        self.python2(&bytes)
    }

    // Containers and objects.

    fn small_tuple(&mut self, length: usize) -> Result<()> {
        let mut elements = vec![NONE; length];
        for element in elements.iter_mut().rev() {
            *element = self.pop()?;
        }
        self.push(Record::Tuple(elements.into()))
    }

    fn append(&mut self, elements: &[RecordId]) -> Result<()> {
        let target = self.top()?;
        match &mut self.records[target.0 as usize] {
            Record::List(list) | Record::Set(list) => list.extend_from_slice(elements),
            Record::Object(object) => object.elements.extend_from_slice(elements),
            _ => return Err(Error::format("nothing can be appended to what is on the stack; the file is damaged")),
        }
        Ok(())
    }

    fn set_items(&mut self, entries: &[(RecordId, RecordId)]) -> Result<()> {
        let target = self.top()?;
        match &mut self.records[target.0 as usize] {
            Record::Dict(dict) => dict.extend_from_slice(entries),
            Record::Object(object) => object.items.extend_from_slice(entries),
            _ => return Err(Error::format("what is on the stack takes no items; the file is damaged")),
        }
        Ok(())
    }

    fn stack_global(&mut self) -> Result<()> {
        let name = self.pop()?;
        let module = self.pop()?;
        let global = match (&self.records[module.0 as usize], &self.records[name.0 as usize]) {
            (Record::Str(module), Record::Str(name)) => global(module, name),
            _ => return Err(Error::format("the name of a class or function must be text; the file is damaged")),
        };
        let id = self.global(global)?;
        self.stack.push(id);
        Ok(())
    }

    fn global(&mut self, global: Box<Global>) -> Result<RecordId> {
        let hostile = is_hostile(&global);
        let id = self.add(Record::Global(global))?;
        if hostile {
            self.hostile.get_or_insert((id, self.opcode_at));
        }
        Ok(id)
    }

    fn object(&mut self, callable: RecordId, args: RecordId, keywords: Option<RecordId>) -> Result<()> {
        if !matches!(self.records[callable.0 as usize], Record::Global(_) | Record::Object(_)) {
            return Err(Error::format("what would be called is no class or function; the file is damaged"));
        }
        if !matches!(self.records[args.0 as usize], Record::Tuple(_)) {
            return Err(Error::format("the arguments are no tuple; the file is damaged"));
        }
        let object = Object {
            callable,
            args,
            keywords,
            states: Vec::new(),
            elements: Vec::new(),
            items: Vec::new(),
            position: self.opcode_at,
        };
        self.push(Record::Object(Box::new(object)))
    }

    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let target = self.top()?;
        match &mut self.records[target.0 as usize] {
            Record::Object(object) => object.states.push(state),
            // The file is refused all the same, with the place of the name.
            Record::Global(global) if is_hostile(global) => {}
            _ => return Err(Error::format("only an object has state; the file is damaged")),
        }
        Ok(())
    }
}

fn pairs(elements: &[RecordId]) -> Result<Vec<(RecordId, RecordId)>> {
    if elements.len() % 2 != 0 {
        return Err(Error::format("a key without a value; the file is damaged"));
    }
    Ok(elements.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|e| {
        Error::format(format!("text that is not UTF-8 (its byte {}); the file is damaged", e.valid_up_to()))
    })
}

/// The beginning of a text from the file, fit for an error message.
fn short(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_default).collect()
}

/// Modules, and functions of `builtins`, that no model needs and attacks on unpicklers use. Nothing is ever called, so
/// this list is not what keeps the reader safe: it tells the user what kind of file this is.
const HOSTILE_MODULES: [&str; 16] = [
    "os",
    "posix",
    "nt",
    "subprocess",
    "pty",
    "commands",
    "runpy",
    "sys",
    "socket",
    "shutil",
    "ctypes",
    "importlib",
    "webbrowser",
    "code",
    "pdb",
    "timeit",
];
const HOSTILE_BUILTINS: [&str; 8] =
    ["eval", "exec", "execfile", "compile", "open", "__import__", "input", "breakpoint"];

fn is_hostile(global: &Global) -> bool {
    let Global { module, name } = global;
    HOSTILE_MODULES.contains(&module.as_str()) || (module == "builtins" && HOSTILE_BUILTINS.contains(&name.as_str()))
}

fn global(module: &str, name: &str) -> Box<Global> {
    let module = match module {
        "__builtin__" => "builtins",
        "copy_reg" => "copyreg",
        other => other,
    };
    Box::new(Global { module: module.to_owned(), name: name.to_owned() })
}

/// The integer of these little-endian two's complement bytes.
fn integer(bytes: &[u8]) -> Record {
    let negative = bytes.last().is_some_and(|&b| b & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    // A long form may hold more bytes than its value needs.
    let needed = bytes.iter().rposition(|&b| b != fill).map_or(0, |i| i + 1);
    let fits = needed < 8 || (needed == 8 && (bytes[7] & 0x80 != 0) == negative);
    if !fits {
        return Record::BigInt(bytes.into());
    }
    let mut value = [fill; 8];
    value[..needed].copy_from_slice(&bytes[..needed]);
    Record::Int(i64::from_le_bytes(value))
}

/// The integer of this decimal text.
fn decimal(text: &str) -> Result<Record> {
    let text = text.trim();
    let wrong = || Error::format(format!("`{}` is no integer", short(text)));
    if let Ok(value) = text.parse() {
        return Ok(Record::Int(value));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || digits.len() > DIGIT_LIMIT || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let mut magnitude: Vec<u8> = Vec::new();
    for digit in digits.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in &mut magnitude {
            carry += u32::from(*byte) * 10;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            magnitude.push(carry as u8);
        }
    }
    magnitude.push(0);
    if negative {
        let mut carry = true;
        for byte in &mut magnitude {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    Ok(integer(&magnitude))
}

/// Protocol 0's text: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
fn raw_unicode_escape(bytes: &[u8]) -> Result<String> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = match (byte, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                text.push(char::from(byte));
                rest = tail;
                continue;
            }
        };
        let code = tail.get(1..=digits).and_then(|d| u32::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
        text.push(code.and_then(char::from_u32).ok_or_else(|| Error::format("an escape that is no character"))?);
        rest = &tail[digits + 1..];
    }
    Ok(text)
}

/// Python 2's string literal without its quotes.
fn string_escape(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let wrong = || Error::format("an escape that Python does not know");
        out.push(match rest.next().ok_or_else(wrong)? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            same @ (b'\\' | b'\'' | b'"') => same,
            b'x' => {
                let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16)).ok_or_else(wrong);
                (digit()? * 16 + digit()?) as u8
            }
            high @ b'0'..=b'3' => {
                let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(8)).ok_or_else(wrong);
                (u32::from(high - b'0') * 64 + digit()? * 8 + digit()?) as u8
            }
            _ => return Err(wrong()),
        });
    }
    Ok(out)
}

fn opcode_name(code: u8) -> String {
    match OPCODES.iter().find(|entry| entry.0 == code) {
        Some((_, name)) => format!("opcode {name}"),
        None => format!("opcode 0x{code:02x}"),
    }
}

const OPCODES: [(u8, &str); 68] = [
    (b'(', "MARK"),
    (b'.', "STOP"),
    (b'0', "POP"),
    (b'1', "POP_MARK"),
    (b'2', "DUP"),
    (b'F', "FLOAT"),
    (b'I', "INT"),
    (b'J', "BININT"),
    (b'K', "BININT1"),
    (b'L', "LONG"),
    (b'M', "BININT2"),
    (b'N', "NONE"),
    (b'P', "PERSID"),
    (b'Q', "BINPERSID"),
    (b'R', "REDUCE"),
    (b'S', "STRING"),
    (b'T', "BINSTRING"),
    (b'U', "SHORT_BINSTRING"),
    (b'V', "UNICODE"),
    (b'X', "BINUNICODE"),
    (b'a', "APPEND"),
    (b'b', "BUILD"),
    (b'c', "GLOBAL"),
    (b'd', "DICT"),
    (b'}', "EMPTY_DICT"),
    (b'e', "APPENDS"),
    (b'g', "GET"),
    (b'h', "BINGET"),
    (b'i', "INST"),
    (b'j', "LONG_BINGET"),
    (b'l', "LIST"),
    (b']', "EMPTY_LIST"),
    (b'o', "OBJ"),
    (b'p', "PUT"),
    (b'q', "BINPUT"),
    (b'r', "LONG_BINPUT"),
    (b's', "SETITEM"),
    (b't', "TUPLE"),
    (b')', "EMPTY_TUPLE"),
    (b'u', "SETITEMS"),
    (b'G', "BINFLOAT"),
    (b'B', "BINBYTES"),
    (b'C', "SHORT_BINBYTES"),
    (0x80, "PROTO"),
    (0x81, "NEWOBJ"),
    (0x82, "EXT1"),
    (0x83, "EXT2"),
    (0x84, "EXT4"),
    (0x85, "TUPLE1"),
    (0x86, "TUPLE2"),
    (0x87, "TUPLE3"),
    (0x88, "NEWTRUE"),
    (0x89, "NEWFALSE"),
    (0x8a, "LONG1"),
    (0x8b, "LONG4"),
    (0x8c, "SHORT_BINUNICODE"),
    (0x8d, "BINUNICODE8"),
    (0x8e, "BINBYTES8"),
    (0x8f, "EMPTY_SET"),
    (0x90, "ADDITEMS"),
    (0x91, "FROZENSET"),
    (0x92, "NEWOBJ_EX"),
    (0x93, "STACK_GLOBAL"),
    (0x94, "MEMOIZE"),
    (0x95, "FRAME"),
    (0x96, "BYTEARRAY8"),
    (0x97, "NEXT_BUFFER"),
    (0x98, "READONLY_BUFFER"),
];
