//! Names: identifiers of variables, and paths of weights in a state dict.

use std::collections::HashSet;

/// What cannot be the name of a variable: keywords of Python and words with a meaning of their own in TorchScript.
const RESERVED: [&str; 59] = [
    "False",
    "None",
    "True",
    "and",
    "as",
    "assert",
    "async",
    "await",
    "break",
    "class",
    "continue",
    "def",
    "del",
    "elif",
    "else",
    "except",
    "finally",
    "for",
    "from",
    "global",
    "if",
    "import",
    "in",
    "is",
    "lambda",
    "nonlocal",
    "not",
    "or",
    "pass",
    "raise",
    "return",
    "try",
    "while",
    "with",
    "yield",
    "self",
    "torch",
    "ops",
    "CONSTANTS",
    "__torch__",
    "inf",
    "nan",
    "getattr",
    "hasattr",
    "isinstance",
    "annotate",
    "unchecked_cast",
    "uninitialized",
    "fork",
    "awaitable",
    "int",
    "float",
    "bool",
    "str",
    "Tensor",
    "Final",
    "range",
    "len",
    "print",
];

/// What no weight or module can be called, since the modules of `torch.jit` and `torch.fx` have it already.
const ATTRIBUTES: [&str; 52] = [
    "add_module",
    "add_submodule",
    "apply",
    "bfloat16",
    "buffers",
    "call_super_init",
    "children",
    "code",
    "compile",
    "cpu",
    "cuda",
    "delete_all_unused_submodules",
    "delete_submodule",
    "double",
    "dump_patches",
    "eval",
    "extra_repr",
    "float",
    "forward",
    "get_buffer",
    "get_extra_state",
    "get_parameter",
    "get_submodule",
    "graph",
    "half",
    "ipu",
    "load_state_dict",
    "modules",
    "mtia",
    "named_buffers",
    "named_children",
    "named_modules",
    "named_parameters",
    "parameters",
    "print_readable",
    "recompile",
    "register_buffer",
    "register_module",
    "register_parameter",
    "requires_grad_",
    "set_extra_state",
    "set_submodule",
    "share_memory",
    "state_dict",
    "to",
    "to_empty",
    "to_folder",
    "train",
    "training",
    "type",
    "xpu",
    "zero_grad",
];

/// Whether Python takes a text as the name of a variable.
pub(in crate::save) fn identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !RESERVED.contains(&text)
}

/// The names that are taken.
#[derive(Debug, Default)]
pub(in crate::save) struct Names(HashSet<String>);

impl Names {
    /// An identifier as near as may be to the wanted name.
    pub fn variable(&mut self, wanted: &str) -> String {
        let word: String = wanted.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let word = if identifier(&word) { word } else { format!("_{word}") };
        self.unique(word)
    }

    /// A name for what a call computes. All of them end in a number: some words are functions in Python.
    pub fn result(&mut self, operation: &str, number: usize) -> String {
        self.variable(&format!("{}_{number}", operation.trim_start_matches('_')))
    }

    /// A path in a state dict: no word of it is empty or taken by modules, and no path leads through another one.
    pub fn path(&mut self, wanted: &str) -> String {
        let word = |word: &str| {
            let taken = word.is_empty() || ATTRIBUTES.contains(&word);
            if taken { format!("{word}_") } else { word.to_owned() }
        };
        let mut path = wanted.split('.').map(word).collect::<Vec<_>>().join(".");
        let inside = |path: &str| path.match_indices('.').any(|(at, _)| self.0.contains(&path[..at]));
        let around =
            |path: &str| self.0.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')));
        if inside(&path) || around(&path) {
            path = path.replace('.', "_");
            while around(&path) {
                path.push('_');
            }
        }
        self.unique(path)
    }

    fn unique(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        let mut number = 0;
        while !self.0.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers_and_differ() {
        let mut names = Names::default();
        assert_eq!(names.variable("x"), "x");
        assert_eq!(names.variable("x"), "x_1");
        assert_eq!(names.variable("x.0"), "x_0");
        assert_eq!(names.variable("lambda"), "_lambda");
        assert_eq!(names.variable("0"), "_0");
        assert_eq!(names.variable(""), "_");
        assert_eq!(names.result("_upsample", 3), "upsample_3");
    }

    #[test]
    fn paths_lead_to_one_weight_each() {
        let mut names = Names::default();
        for (wanted, path) in [
            ("0.weight", "0.weight"),
            ("0.weight", "0.weight_1"),
            ("0", "0_"),
            ("a", "a"),
            ("a.b", "a_b"),
            ("a..forward", "a___forward_"),
            ("c.forward", "c.forward_"),
            ("", "_"),
        ] {
            assert_eq!(names.path(wanted), path);
        }
    }
}
