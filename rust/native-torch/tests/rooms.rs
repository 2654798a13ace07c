//! A room uses only the rooms below it.

use std::{fs, path::Path};

/// From the ground up; the order of `docs/design.md`.
const ROOMS: [&str; 11] =
    ["tensor", "graph", "load", "save", "diff", "eval", "bounds", "lower", "write", "solve", "tighten"];

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// The first words of all paths that start at the crate, also those in braces: `crate::{graph::.., tensor::..}`.
fn used(source: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in source.split("crate::").skip(1) {
        let mut depth = 0;
        let mut word = String::new();
        let mut first = true;
        for c in part.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ if c.is_alphanumeric() || c == '_' => {
                    if first {
                        word.push(c);
                    }
                    continue;
                }
                _ => {}
            }
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
                first = false;
            }
            if depth == 0 {
                break;
            }
            // In braces, a new path starts after a comma of the outermost level.
            first |= depth == 1 && (c == ',' || c == '{');
        }
    }
    words
}

#[test]
fn every_arrow_points_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (height, room) in ROOMS.iter().enumerate() {
        let mut found = Vec::new();
        sources(&root.join(room), &mut found);
        assert!(!found.is_empty());
        for source in found {
            // Examples in comments and the tests of a room may use what they like.
            let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let code = code.join("\n");
            let code = code.split("#[cfg(test)]").next().unwrap_or_default();
            for word in used(code) {
                if let Some(other) = ROOMS.iter().position(|r| *r == word) {
                    assert!(other <= height, "room `{room}` uses room `{word}`, which stands above it");
                }
            }
        }
    }
}

#[test]
fn paths_are_found() {
    assert_eq!(used("use crate::{graph::{Op, Dim}, tensor::Real}; crate::eval::f()"), ["graph", "tensor", "eval"]);
}
