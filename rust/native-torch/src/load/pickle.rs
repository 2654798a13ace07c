//! A virtual machine for pickles, protocols 0 to 5 (the reference is CPython's `pickletools`). It builds plain
//! [records](super::records) and never calls, imports or looks up what a file names.

use std::collections::HashMap;

use super::{
    input::Input,
    records::{Global, Object, Pickle, Record, RecordId},
    repr,
};
use crate::{Error, Result};

/// More records than this are refused; with what is in them they may take some 250 MB.
const RECORD_LIMIT: usize = 1 << 22;

/// Longer decimal integers are refused, as CPython does.
const DIGIT_LIMIT: usize = 4300;

/// Reads the pickle that begins where `input` stands, and leaves `input` behind it. `name` is what error messages call
/// it: the record of the archive.
pub(crate) fn read(input: &mut Input, name: &str) -> Result<Pickle> {
    let mut machine = Machine::new(input);
    match machine.run() {
        Ok(root) => Ok(Pickle { records: machine.records, root, hostile: machine.hostile, name: name.to_owned() }),
        Err(error) => {
            let opcode = machine.opcode.map_or_else(|| "end of the record".to_owned(), opcode_name);
            Err(error.at(format!("{name}, byte {}, {opcode}", machine.opcode_at)))
        }
    }
}

/// Ids of the records that every pickle starts with, so that one-byte opcodes do not each take a record.
const NONE: RecordId = RecordId(0);
const FALSE: RecordId = RecordId(1);
const TRUE: RecordId = RecordId(2);
const EMPTY_TUPLE: RecordId = RecordId(3);

struct Machine<'a, 'b> {
    input: &'a mut Input<'b>,
    opcode: Option<u8>,
    opcode_at: usize,
    records: Vec<Record>,
    stack: Vec<RecordId>,
    /// Heights of the stack at the marks that are open.
    marks: Vec<usize>,
    memo: HashMap<u64, RecordId>,
    hostile: Option<(RecordId, usize)>,
}

impl<'a, 'b> Machine<'a, 'b> {
    fn new(input: &'a mut Input<'b>) -> Self {
        let records = vec![Record::None, Record::Bool(false), Record::Bool(true), Record::Tuple(Box::new([]))];
        Self {
            input,
            opcode: None,
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
            self.opcode_at = self.input.position();
            self.opcode = self.input.byte()?;
            let Some(opcode) = self.opcode else {
                return Err(Error::format("the pickle ends without STOP; the file is truncated"));
            };
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
                self.input.claim(length)?;
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
            b'P' => self.persistent_line()?,
            b'Q' => {
                let id = self.pop()?;
                self.persistent(id)?;
            }
            _ => return Err(Error::format("no pickle has this opcode; the file is damaged")),
        }
        Ok(())
    }

    // Reading.

    /// A little-endian unsigned number of `size <= 8` bytes.
    fn number(&mut self, size: u64) -> Result<u64> {
        self.input.number(size)
    }

    fn sized(&mut self, size_of_length: u64) -> Result<&[u8]> {
        let length = self.number(size_of_length)?;
        self.input.take(length)
    }

    fn text_line(&mut self) -> Result<&str> {
        utf8(self.input.line()?)
    }

    fn index_line(&mut self) -> Result<u64> {
        let line = self.text_line()?;
        line.trim().parse().map_err(|_| Error::format(format!("`{}` is no index of the memo", short(line))))
    }

    fn global_lines(&mut self) -> Result<Box<Global>> {
        let module = self.text_line()?.to_owned();
        Ok(global(&module, self.text_line()?))
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
        match &*self.text_line()?.to_owned() {
            "00" => self.stack.push(FALSE),
            "01" => self.stack.push(TRUE),
            line => {
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
        let record = integer(self.sized(size_of_length)?);
        self.push(record)
    }

    fn unicode(&mut self, size_of_length: u64) -> Result<()> {
        let text = utf8(self.sized(size_of_length)?)?.into();
        self.push(Record::Str(text))
    }

    fn unicode_line(&mut self) -> Result<()> {
        let text = raw_unicode_escape(self.input.line()?)?;
        self.push(Record::Str(text.into()))
    }

    fn byte_string(&mut self, size_of_length: u64) -> Result<()> {
        let bytes = self.sized(size_of_length)?.into();
        self.push(Record::Bytes(bytes))
    }

    /// Python 2 did not tell text from bytes: what is UTF-8 is taken for text.
    fn python2(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.push(match String::from_utf8(bytes) {
            Ok(text) => Record::Str(text.into()),
            Err(error) => Record::Bytes(error.into_bytes().into()),
        })
    }

    fn python2_string(&mut self, size_of_length: u64) -> Result<()> {
        let bytes = self.sized(size_of_length)?.to_vec();
        self.python2(bytes)
    }

    fn string_line(&mut self) -> Result<()> {
        let line = self.input.line()?.trim_ascii();
        let quoted = match line {
            [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
            _ => return Err(Error::format("a string without quotes")),
        };
        let bytes = string_escape(quoted)?;
        self.python2(bytes)
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

    /// A reference to something outside the pickle. Where torch wrote a module's class with its source text, in place of
    /// the class, it is the class.
    fn persistent(&mut self, id: RecordId) -> Result<()> {
        if let Record::Tuple(parts) = &self.records[id.0 as usize] {
            let is_tag = |id: RecordId| matches!(&self.records[id.0 as usize], Record::Str(tag) if **tag == *"module");
            let class = match **parts {
                // torch 0.1.10 to 1.5
                [tag, class, _, _] if is_tag(tag) => Some(class),
                // before
                [class, _, _] => Some(class),
                _ => None,
            };
            if let Some(class) = class.filter(|class| matches!(self.records[class.0 as usize], Record::Global(_))) {
                self.stack.push(class);
                return Ok(());
            }
        }
        self.push(Record::Persistent(id))
    }

    /// Protocol 0 holds a reference as Python prints it.
    fn persistent_line(&mut self) -> Result<()> {
        let text = self.text_line()?.to_owned();
        let id = match repr::read(&text) {
            Some(value) => self.literal(value)?,
            None => self.add(Record::Str(text.into()))?,
        };
        self.persistent(id)
    }

    /// The record of a value that was printed. What it holds is as deep as `repr` allows.
    fn literal(&mut self, value: repr::Literal) -> Result<RecordId> {
        let record = match value {
            repr::Literal::None => return Ok(NONE),
            repr::Literal::Bool(value) => return Ok(if value { TRUE } else { FALSE }),
            repr::Literal::Int(text) => decimal(&text)?,
            repr::Literal::Text(text) => Record::Str(text.into()),
            repr::Literal::Class(module, name) => return self.global(global(&module, &name)),
            repr::Literal::Tuple(elements) => {
                let elements: Result<Vec<_>> = elements.into_iter().map(|element| self.literal(element)).collect();
                Record::Tuple(elements?.into())
            }
        };
        self.add(record)
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
    if !elements.len().is_multiple_of(2) {
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
        let sign = needed == 0 || (bytes[needed - 1] & 0x80 != 0) != negative;
        return Record::BigInt(bytes[..needed + usize::from(sign)].into());
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

#[cfg(test)]
mod tests {
    use super::{
        super::{
            testing::{self, message, root},
            value::View,
        },
        *,
    };

    /// `{"a": [1, -2, 300, 70000, -3000000000, 2**70, -2**63], "b": (True, False, None, 1.5), "c": (), "d": (1,),
    /// "e": {"k": (1, 2, 3)}, "u": "h\u00e4\u20ac\n", "y": b"\x00\xff", "s": {3}, "l": [[]]}` by CPython's
    /// `pickle.dumps(.., protocol)`, protocols 0 to 5.
    const PROTOCOLS: [&[u8]; 6] = [
        b"(dp0\x0aVa\x0ap1\x0a(lp2\x0aI1\x0aaI-2\x0aaI300\x0aaI70000\x0aaL-3000000000L\x0aaL1180591620717411303424L\x0aaL-9223372036854775808L\x0aasVb\x0ap3\x0a(I01\x0aI00\x0aNF1.5\x0atp4\x0asVc\x0ap5\x0a(tsVd\x0ap6\x0a(I1\x0atp7\x0asVe\x0ap8\x0a(dp9\x0aVk\x0ap10\x0a(I1\x0aI2\x0aI3\x0atp11\x0assVu\x0ap12\x0aVh\xe4\x5cu20ac\x5cu000a\x0ap13\x0asVy\x0ap14\x0ac_codecs\x0aencode\x0ap15\x0a(V\x5cu0000\xff\x0ap16\x0aVlatin1\x0ap17\x0atp18\x0aRp19\x0asVs\x0ap20\x0ac__builtin__\x0aset\x0ap21\x0a((lp22\x0aI3\x0aatp23\x0aRp24\x0asVl\x0ap25\x0a(lp26\x0a(lp27\x0aas.",
        b"}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00L-3000000000L\x0aL1180591620717411303424L\x0aL-9223372036854775808L\x0aeX\x01\x00\x00\x00bq\x03(I01\x0aI00\x0aNG?\xf8\x00\x00\x00\x00\x00\x00tq\x04X\x01\x00\x00\x00cq\x05)X\x01\x00\x00\x00dq\x06(K\x01tq\x07X\x01\x00\x00\x00eq\x08}q\x09X\x01\x00\x00\x00kq\x0a(K\x01K\x02K\x03tq\x0bsX\x01\x00\x00\x00uq\x0cX\x07\x00\x00\x00h\xc3\xa4\xe2\x82\xac\x0aq\x0dX\x01\x00\x00\x00yq\x0ec_codecs\x0aencode\x0aq\x0f(X\x03\x00\x00\x00\x00\xc3\xbfq\x10X\x06\x00\x00\x00latin1q\x11tq\x12Rq\x13X\x01\x00\x00\x00sq\x14c__builtin__\x0aset\x0aq\x15(]q\x16K\x03atq\x17Rq\x18X\x01\x00\x00\x00lq\x19]q\x1a]q\x1bau.",
        b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x05\x00\xa2/M\xff\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00@\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80eX\x01\x00\x00\x00bq\x03(\x88\x89NG?\xf8\x00\x00\x00\x00\x00\x00tq\x04X\x01\x00\x00\x00cq\x05)X\x01\x00\x00\x00dq\x06K\x01\x85q\x07X\x01\x00\x00\x00eq\x08}q\x09X\x01\x00\x00\x00kq\x0aK\x01K\x02K\x03\x87q\x0bsX\x01\x00\x00\x00uq\x0cX\x07\x00\x00\x00h\xc3\xa4\xe2\x82\xac\x0aq\x0dX\x01\x00\x00\x00yq\x0ec_codecs\x0aencode\x0aq\x0fX\x03\x00\x00\x00\x00\xc3\xbfq\x10X\x06\x00\x00\x00latin1q\x11\x86q\x12Rq\x13X\x01\x00\x00\x00sq\x14c__builtin__\x0aset\x0aq\x15]q\x16K\x03a\x85q\x17Rq\x18X\x01\x00\x00\x00lq\x19]q\x1a]q\x1bau.",
        b"\x80\x03}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x05\x00\xa2/M\xff\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00@\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80eX\x01\x00\x00\x00bq\x03(\x88\x89NG?\xf8\x00\x00\x00\x00\x00\x00tq\x04X\x01\x00\x00\x00cq\x05)X\x01\x00\x00\x00dq\x06K\x01\x85q\x07X\x01\x00\x00\x00eq\x08}q\x09X\x01\x00\x00\x00kq\x0aK\x01K\x02K\x03\x87q\x0bsX\x01\x00\x00\x00uq\x0cX\x07\x00\x00\x00h\xc3\xa4\xe2\x82\xac\x0aq\x0dX\x01\x00\x00\x00yq\x0eC\x02\x00\xffq\x0fX\x01\x00\x00\x00sq\x10cbuiltins\x0aset\x0aq\x11]q\x12K\x03a\x85q\x13Rq\x14X\x01\x00\x00\x00lq\x15]q\x16]q\x17au.",
        b"\x80\x04\x95\x95\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x05\x00\xa2/M\xff\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00@\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80e\x8c\x01b\x94(\x88\x89NG?\xf8\x00\x00\x00\x00\x00\x00t\x94\x8c\x01c\x94)\x8c\x01d\x94K\x01\x85\x94\x8c\x01e\x94}\x94\x8c\x01k\x94K\x01K\x02K\x03\x87\x94s\x8c\x01u\x94\x8c\x07h\xc3\xa4\xe2\x82\xac\x0a\x94\x8c\x01y\x94C\x02\x00\xff\x94\x8c\x01s\x94\x8f\x94(K\x03\x90\x8c\x01l\x94]\x94]\x94au.",
        b"\x80\x05\x95\x95\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x05\x00\xa2/M\xff\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00@\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80e\x8c\x01b\x94(\x88\x89NG?\xf8\x00\x00\x00\x00\x00\x00t\x94\x8c\x01c\x94)\x8c\x01d\x94K\x01\x85\x94\x8c\x01e\x94}\x94\x8c\x01k\x94K\x01K\x02K\x03\x87\x94s\x8c\x01u\x94\x8c\x07h\xc3\xa4\xe2\x82\xac\x0a\x94\x8c\x01y\x94C\x02\x00\xff\x94\x8c\x01s\x94\x8f\x94(K\x03\x90\x8c\x01l\x94]\x94]\x94au.",
    ];

    #[test]
    fn load_reads_every_protocol_alike() {
        for (protocol, bytes) in PROTOCOLS.iter().enumerate() {
            let pickle = testing::read(bytes).unwrap();
            let records = super::super::testing::plain(pickle);
            let expected = "{'a': [1, -2, 300, 70000, -3000000000, an int of 9 bytes, -9223372036854775808], 'b': (True, False, \
                            None, 1.5), 'c': (), ...}";
            let printed = records.printed(records.root());
            assert_eq!(printed, expected, "protocol {protocol}");
            let View::Dict(entries) = records.view(records.root()) else { panic!() };
            let rest: Vec<String> = entries[3..].iter().map(|entry| records.printed(entry.1)).collect();
            assert_eq!(
                rest,
                ["(1,)", "{'k': (1, 2, 3)}", "'hä€\\n'", "bytes of length 2", "{3}", "[[]]"],
                "protocol {protocol}"
            );
        }
    }

    #[test]
    fn load_reads_every_opcode() {
        let cases: [(&[u8], &str); 36] = [
            (b"I01\n.", "Bool(true)"),
            (b"I-7\n.", "Int(-7)"),
            (b"L12L\n.", "Int(12)"),
            (b"L9223372036854775808L\n.", "BigInt([0, 0, 0, 0, 0, 0, 0, 128, 0])"),
            (b"L-9223372036854775809L\n.", "BigInt([255, 255, 255, 255, 255, 255, 255, 127, 255])"),
            (b"L-9223372036854775808\n.", "Int(-9223372036854775808)"),
            (b"\x8a\x00.", "Int(0)"),
            (b"\x8a\x01\xff.", "Int(-1)"),
            (b"\x8a\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00.", "Int(1)"),
            (b"\x8b\x02\x00\x00\x00\x00\x80.", "Int(-32768)"),
            (b"M\x01\x02.", "Int(513)"),
            (b"J\xff\xff\xff\xff.", "Int(-1)"),
            (b"F-1.5e3\n.", "Float(-1500.0)"),
            (b"G\x7f\xf0\x00\x00\x00\x00\x00\x00.", "Float(inf)"),
            (b"S'a\\n\\x41\\101'\n.", "Str(\"a\\nAA\")"),
            (b"S\"\\xff\"\n.", "Bytes([255])"),
            (b"Va\\u20ac\\U0001f600\xe4\n.", "Str(\"a€😀ä\")"),
            (b"U\x01a.", "Str(\"a\")"),
            (b"T\x01\x00\x00\x00\xff.", "Bytes([255])"),
            (b"\x8c\x02\xc3\xa4.", "Str(\"ä\")"),
            (b"\x8d\x01\x00\x00\x00\x00\x00\x00\x00b.", "Str(\"b\")"),
            (b"C\x01\x07.", "Bytes([7])"),
            (b"\x96\x01\x00\x00\x00\x00\x00\x00\x00\x07.", "Bytes([7])"),
            (b"(K\x01K\x02l.", "List([RecordId(4), RecordId(5)])"),
            (b"(K\x01K\x02d.", "Dict([(RecordId(4), RecordId(5))])"),
            (b"(K\x01K\x02t.", "Tuple([RecordId(4), RecordId(5)])"),
            (b"]2a.", "List([RecordId(4)])"),
            (b"](N2e.", "List([RecordId(0), RecordId(0)])"),
            (b"}N\x88s.", "Dict([(RecordId(0), RecordId(2))])"),
            (b"(N\x91.", "Set([RecordId(0)])"),
            (b"\x8f(N\x90.", "Set([RecordId(0)])"),
            (b"N(N10N.", "None"),
            (b"K\x05p7\n0g7\n.", "Int(5)"),
            (b"K\x05r\xff\xff\xff\xff0j\xff\xff\xff\xff.", "Int(5)"),
            (b"\x95\x03\x00\x00\x00\x00\x00\x00\x00K\x01.", "Int(1)"),
            (b"Pid\n.", "Persistent(RecordId(4))"),
        ];
        for (bytes, expected) in cases {
            let found = root(bytes).map(|record| format!("{record:?}")).unwrap_or_else(|error| error.to_string());
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn load_keeps_what_would_be_called() {
        let same = "Global(Global { module: \"m\", name: \"C\" })";
        for bytes in [&b"cm\nC\n."[..], b"\x8c\x01m\x8c\x01C\x93."] {
            assert_eq!(format!("{:?}", root(bytes).unwrap()), same);
        }
        let calls: [&[u8]; 5] = [b"cm\nC\n)R.", b"cm\nC\n)\x81.", b"cm\nC\n)}\x92.", b"(im\nC\n.", b"(cm\nC\no."];
        for bytes in calls {
            let Record::Object(object) = root(bytes).unwrap() else { panic!("{}", bytes.escape_ascii()) };
            assert!(object.states.is_empty() && object.keywords.is_some() == bytes.contains(&b'}'));
        }
        let Record::Object(object) = root(b"cm\nC\n)RNb(NNuNa.").unwrap() else { panic!() };
        assert_eq!((object.states.len(), object.items.len(), object.elements.len()), (1, 1, 1));
    }

    #[test]
    fn load_says_where_a_pickle_is_wrong() {
        let cases: [(&[u8], &str); 14] = [
            (b"", "data.pkl, byte 0, end of the record"),
            (b"N", "data.pkl, byte 1, end of the record"),
            (b"N(.", "byte 2, opcode STOP: the stack is empty"),
            (b"\x80\x06N.", "byte 0, opcode PROTO: pickle protocol 6"),
            (b"\xffN.", "byte 0, opcode 0xff"),
            (b"X\xff\xff\xff\xffabc.", "byte 0, opcode BINUNICODE: 4294967295 bytes are claimed, but 4 remain"),
            (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "opcode BINBYTES8"),
            (b"Iabc\n.", "`abc` is no integer"),
            (b"N\x97.", "opcode NEXT_BUFFER: out-of-band buffers"),
            (b"\x82\x01.", "opcode EXT1: codes of Python's extension registry"),
            (b"NNb.", "opcode BUILD"),
            (b"K\x01)R.", "opcode REDUCE: what would be called is no class or function"),
            (b"cm\nC\nNR.", "opcode REDUCE: the arguments are no tuple"),
            (b"N\x94\x94\x94\x94\x94\x94.", "more entries than there are values"),
        ];
        for (bytes, expected) in cases {
            let message = message(root(bytes));
            assert!(message.contains(expected), "{}: {message}", bytes.escape_ascii());
        }
    }

    #[test]
    fn load_knows_a_name_for_every_opcode() {
        let known = |code: u8| !opcode_name(code).contains("0x");
        for code in 0..=255 {
            let refused = root(&[code]).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(known(code), !refused.contains("no pickle has this opcode"), "{code:#x}");
        }
    }
}
