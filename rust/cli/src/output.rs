//! What the command prints: JSON whose numbers read back exactly, arrays, and tables.

use std::io::Write;

use native_torch::{Error, Result};
use serde_json::Value;

/// A number for JSON; those that are not finite are strings.
pub fn number(value: f64) -> Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

/// A flat list of numbers for JSON.
pub fn numbers(values: &[f64]) -> Value {
    values.iter().map(|&v| number(v)).collect()
}

/// Writes a line of text; an error that the reader has gone away is none of ours.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|e| Error::io("standard output", &e)),
    }
}

/// An array as nested lists, the innermost ones a line each.
pub fn array(shape: &[usize], data: &[f64]) -> String {
    let Some((&width, outer)) = shape.split_last() else {
        return data.first().map(f64::to_string).unwrap_or_default();
    };
    if data.is_empty() {
        return "[]".to_owned();
    }
    let mut text = String::new();
    for (i, row) in data.chunks_exact(width).enumerate() {
        // How many lists end, and begin, before this row.
        let boundary = |mut i: usize| {
            let complete = |size: &&usize| {
                let whole = i.is_multiple_of(**size);
                i /= **size;
                whole
            };
            outer.iter().rev().take_while(complete).count()
        };
        let opened = if i == 0 { outer.len() } else { boundary(i) };
        if i > 0 {
            text += &"]".repeat(opened);
            text += ",\n";
        }
        text += &" ".repeat(outer.len() - opened);
        text += &"[".repeat(opened + 1);
        let row: Vec<String> = row.iter().map(f64::to_string).collect();
        text += &row.join(", ");
        text += "]";
    }
    text + &"]".repeat(outer.len())
}

/// Columns under their headings.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..headings.len())
        .map(|c| rows.iter().map(|row| row[c].chars().count()).chain([headings[c].len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: Vec<&str>| {
        let cells: Vec<String> = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let heading = line(headings.to_vec());
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    [heading].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_show_their_nesting() {
        assert_eq!(array(&[], &[1.5]), "1.5");
        assert_eq!(array(&[2], &[1.0, 2.0]), "[1, 2]");
        assert_eq!(array(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), "[[1, 2],\n [3, 4]]");
        assert_eq!(array(&[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]), "[[[1, 2]],\n [[3, 4]]]");
        assert_eq!(array(&[0, 3], &[]), "[]");
    }

    #[test]
    fn numbers_read_back() {
        let values = [0.1 + 0.2, -0.0, 5e-324, f64::MAX, 1.0 / 3.0];
        let text = numbers(&values).to_string();
        let back: Vec<f64> = serde_json::from_str(&text).unwrap();
        assert_eq!(back.map_bits(), values.to_vec().map_bits());
        assert_eq!(
            numbers(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]).to_string(),
            r#"["NaN","Infinity","-Infinity"]"#
        );
    }

    trait Bits {
        fn map_bits(self) -> Vec<u64>;
    }

    impl Bits for Vec<f64> {
        fn map_bits(self) -> Vec<u64> {
            self.into_iter().map(f64::to_bits).collect()
        }
    }
}
