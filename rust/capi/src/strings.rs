//! Lists of strings as two flat arrays.

use std::ffi::c_char;

/// A list of strings: the `i`-th begins at `text + offsets[i]` and ends with NUL, UTF-8. A NUL in a name that a file
/// holds reads as `\0`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtStrings {
    /// All strings, one after another.
    pub text: *const c_char,
    /// Where each begins, in bytes, and the end of the last: one entry more than there are strings.
    pub offsets: *const usize,
}

/// What [`NtStrings`] points into.
#[derive(Debug)]
pub struct Strings {
    text: Vec<u8>,
    offsets: Vec<usize>,
}

impl Strings {
    /// Pointers that are valid as long as this value.
    pub fn as_c(&self) -> NtStrings {
        NtStrings { text: self.text.as_ptr().cast(), offsets: self.offsets.as_ptr() }
    }
}

impl<S: AsRef<str>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let (mut text, mut offsets) = (Vec::new(), vec![0]);
        for string in strings {
            text.extend_from_slice(string.as_ref().replace('\0', "\\0").as_bytes());
            text.push(0);
            offsets.push(text.len());
        }
        Self { text, offsets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_with_nul_and_hold_none() {
        let strings: Strings = ["ab", "", "c\0d"].into_iter().collect();
        assert_eq!(strings.text, b"ab\0\0c\\0d\0");
        assert_eq!(strings.offsets, [0, 3, 4, 9]);
    }
}
