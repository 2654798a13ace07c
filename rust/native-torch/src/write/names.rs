//! Names of variables that every reader takes, and the way back.

use std::collections::HashSet;

use crate::lower::{Formulation, VarId};

/// What readers of LP files take at most (CPLEX, GLPK).
const LONGEST: usize = 255;

/// The characters that are written in another way, with what stands for them.
const SWAPPED: [(u8, u8); 3] = [(b' ', b'~'), (b'[', b'('), (b']', b')')];

/// A variable's name as MPS and LP files have it: letters, digits, `.` and `_` as they are, a blank as `~`, brackets as
/// round ones, and all other bytes as in URLs, `%` and two hexadecimal digits. So is an `e` or a digit in front, which LP
/// files take for a number. [`original`] is the inverse.
///
/// ```
/// use native_torch::write::{legal, original};
///
/// assert_eq!(legal("layer fc_1.z[5]"), "layer~fc_1.z(5)");
/// assert_eq!(legal("edge(1)[0]"), "%65dge%281%29(0)");
/// assert_eq!(original("%65dge%281%29(0)"), "edge(1)[0]");
/// ```
pub fn legal(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (at, byte) in name.bytes().enumerate() {
        let swapped = SWAPPED.iter().find(|pair| pair.0 == byte);
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
        let leads = byte.is_ascii_alphabetic() && !byte.eq_ignore_ascii_case(&b'e');
        match swapped {
            Some(&(_, other)) if at > 0 => text.push(other.into()),
            None if plain && (at > 0 || leads) => text.push(byte.into()),
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

/// The name that [`legal`] made this of.
pub fn original(legal: &str) -> String {
    let mut bytes = Vec::with_capacity(legal.len());
    let mut rest = legal.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let code = || u8::from_str_radix(std::str::from_utf8(tail.get(..2)?).ok()?, 16).ok();
        if byte == b'%'
            && let Some(code) = code()
        {
            bytes.push(code);
            rest = &tail[2..];
            continue;
        }
        let swapped = SWAPPED.iter().find(|pair| pair.1 == byte);
        bytes.push(swapped.map_or(byte, |pair| pair.0));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Legal names of all variables, none twice. One that is too long is `v` with its number.
pub(super) fn all(formulation: &Formulation) -> Vec<String> {
    unique(formulation, |name, i| Some(legal(&name)).filter(|name| name.len() <= LONGEST).unwrap_or(format!("v({i})")))
}

/// The names of all variables as they are, none twice.
pub(super) fn plain(formulation: &Formulation) -> Vec<String> {
    unique(formulation, |name, _| name)
}

fn unique(formulation: &Formulation, write: impl Fn(String, usize) -> String) -> Vec<String> {
    let count = formulation.variables().len();
    let mut seen = HashSet::with_capacity(count);
    let mut names = Vec::with_capacity(count);
    for i in 0..count {
        let mut name = write(formulation.name(VarId(i as u32)), i);
        // Blocks of the caller's may share a name.
        while !seen.insert(name.clone()) {
            name += "'";
        }
        names.push(name);
    }
    names
}
