//! Arrays that the user gives: JSON text, files of JSON or NumPy's format, standard input.

use std::{io::Read, path::Path};

use native_torch::{Error, Result, graph::Dim};
use npyz::{DType, NpyFile, TypeChar};
use serde_json::Value;

/// How help texts describe an array argument.
pub const ARRAY: &str =
    "a file that exists (JSON or .npy), `-` for standard input, or JSON text: a nested or flat list";

/// Numbers with their shape, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The sizes of the dimensions.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Vec<f64>,
}

impl Array {
    /// The same elements in another shape.
    pub fn reshape(self, shape: Vec<usize>) -> Result<Self> {
        let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if count != Some(self.data.len()) {
            return Err(Error::argument(format!("{} elements do not fill the shape {shape:?}", self.data.len())));
        }
        Ok(Self { shape, data: self.data })
    }
}

/// Larger ones have no number of their own in double precision.
const LARGEST_INTEGER: f64 = (1u64 << 53) as f64;

impl Array {
    /// The elements as integers; an error names the first that is none.
    pub fn integers(&self) -> Result<Vec<i64>> {
        let integer = |(at, &v): (usize, &f64)| {
            let exact = v.trunc() == v && v.abs() <= LARGEST_INTEGER;
            exact
                .then_some(v as i64)
                .ok_or_else(|| Error::argument(format!("element {at} is {v}, but the input holds integers")))
        };
        self.data.iter().enumerate().map(integer).collect()
    }

    /// The shape as a graph takes it.
    pub fn dims(&self) -> Vec<Dim> {
        self.shape.iter().map(|&size| Dim::Size(size)).collect()
    }
}

/// Reads an array argument; see [`ARRAY`].
pub fn read(argument: &str) -> Result<Array> {
    if argument == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|e| Error::io("standard input", &e))?;
        return parse(&bytes).map_err(|e| e.at("standard input"));
    }
    let path = Path::new(argument);
    if path.exists() {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path.display(), &e))?;
        return parse(&bytes).map_err(|e| e.at(path.display()));
    }
    let looks_like_json = argument.trim_start().starts_with(['[', '-', '"']) || argument.trim().parse::<f64>().is_ok();
    if !looks_like_json {
        return Err(Error::argument(format!("`{argument}` is neither a file that exists nor JSON text")));
    }
    parse(argument.as_bytes()).map_err(|e| e.at("the JSON text"))
}

fn parse(bytes: &[u8]) -> Result<Array> {
    if bytes.starts_with(b"\x93NUMPY") {
        return numpy(bytes);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(Error::unsupported("a zip archive (.npz?), not one array; save the array with numpy.save"));
    }
    // Some editors put a byte order mark in front of a text.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    value(&serde_json::from_slice(bytes).map_err(|e| Error::format(format!("not valid JSON: {e}")))?)
}

/// The array that a JSON value is: a number, or a nested list.
pub fn value(value: &Value) -> Result<Array> {
    let mut array = Array { shape: Vec::new(), data: Vec::new() };
    let mut level = value;
    while let Value::Array(elements) = level {
        array.shape.push(elements.len());
        match elements.first() {
            Some(first) => level = first,
            None => break,
        }
    }
    collect(value, &array.shape, &mut array.data)?;
    Ok(array)
}

/// Appends the numbers of a nested list whose every level has the given length. Its depth is that of the JSON, which
/// the parser limits to 128.
fn collect(value: &Value, shape: &[usize], data: &mut Vec<f64>) -> Result<()> {
    let kind = |value: &Value| match value {
        Value::Array(elements) => format!("a list of {}", elements.len()),
        other => other.to_string(),
    };
    match (value, shape) {
        (Value::Array(elements), [length, inner @ ..]) if elements.len() == *length => {
            elements.iter().try_for_each(|element| collect(element, inner, data))
        }
        (_, [length, ..]) => Err(Error::format(format!("{} stands where a list of {length} is expected", kind(value)))),
        (_, []) => {
            data.push(
                number(value)
                    .ok_or_else(|| Error::format(format!("{} stands where a number is expected", kind(value))))?,
            );
            Ok(())
        }
    }
}

/// A number, or the name of one that is not finite.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(name) => match name.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Reads NumPy's format.
fn numpy(bytes: &[u8]) -> Result<Array> {
    let malformed = |e: std::io::Error| Error::format(format!("not a valid .npy file: {e}"));
    let file = NpyFile::new(bytes).map_err(malformed)?;
    let shape: Vec<usize> = file.shape().iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let dtype = file.dtype();
    let DType::Plain(kind) = &dtype else {
        return Err(Error::unsupported("a structured .npy array; save a plain array of numbers"));
    };
    if count.and_then(|n| n.checked_mul(kind.size_field() as usize)).is_none_or(|size| size > bytes.len()) {
        return Err(Error::format(format!("the .npy file is shorter than its shape {shape:?} says")));
    }
    let fortran = file.order() == npyz::Order::Fortran;
    macro_rules! elements {
        ($type:ty) => {
            file.into_vec::<$type>().map_err(malformed)?.into_iter().map(|v| v as f64).collect()
        };
    }
    let data: Vec<f64> = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 8) => elements!(f64),
        (TypeChar::Float, 4) => elements!(f32),
        (TypeChar::Int, 8) => elements!(i64),
        (TypeChar::Int, 4) => elements!(i32),
        (TypeChar::Int, 2) => elements!(i16),
        (TypeChar::Int, 1) => elements!(i8),
        (TypeChar::Uint, 8) => elements!(u64),
        (TypeChar::Uint, 4) => elements!(u32),
        (TypeChar::Uint, 2) => elements!(u16),
        (TypeChar::Uint, 1) => elements!(u8),
        (TypeChar::Bool, _) => {
            file.into_vec::<bool>().map_err(malformed)?.into_iter().map(|v| f64::from(u8::from(v))).collect()
        }
        _ => {
            return Err(Error::unsupported(format!("a .npy array of type {}; save it as float64 or float32", kind)));
        }
    };
    Ok(Array { data: if fortran { row_major(&shape, &data) } else { data }, shape })
}

/// The elements of a column-major array in row-major order.
fn row_major(shape: &[usize], data: &[f64]) -> Vec<f64> {
    let mut rows = Vec::with_capacity(data.len());
    native_torch::graph::for_each_index(shape, |index| {
        let place = index.iter().zip(shape).rev().fold(0, |place, (i, d)| place * d + i);
        rows.push(data[place]);
    });
    rows
}

/// A shape argument: `1,3,8,8`.
pub fn shape(argument: &str) -> Result<Vec<usize>> {
    let sizes = argument.split(',').map(|size| size.trim().parse().ok());
    sizes.collect::<Option<_>>().ok_or_else(|| {
        Error::argument(format!("`{argument}` is not a shape; sizes separated by commas are expected: 1,3,8,8"))
    })
}

/// A shape argument in which a name stands for a size that is left open: `N,3,8,8`.
pub fn dims(argument: &str) -> Result<Vec<Dim>> {
    let dim = |size: &str| match size.trim() {
        size if size.starts_with(|c: char| c.is_alphabetic()) && size.chars().all(char::is_alphanumeric) => {
            Ok(Dim::symbol(size))
        }
        size => Ok(Dim::Size(shape(size)?[0])),
    };
    argument.split(',').map(dim).collect::<Result<_>>().map_err(|_: Error| {
        Error::argument(format!(
            "`{argument}` is not a shape; sizes and names of sizes separated by commas are expected: N,3,8,8"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], data: &[f64]) -> Array {
        Array { shape: shape.to_vec(), data: data.to_vec() }
    }

    #[test]
    fn json_is_read_with_its_shape() {
        assert_eq!(read("[1, 2.5]").unwrap(), array(&[2], &[1.0, 2.5]));
        assert_eq!(read("[[1,2],[3,4],[5,6]]").unwrap(), array(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(read("-3").unwrap(), array(&[], &[-3.0]));
        assert_eq!(read("[\"-Infinity\"]").unwrap(), array(&[1], &[f64::NEG_INFINITY]));
        assert_eq!(read("[]").unwrap(), array(&[0], &[]));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (argument, words) in [
            ("[[1,2],[3]]", "a list of 1 stands where a list of 2"),
            ("[[1,2],3]", "3 stands where a list of 2"),
            ("[1,[2]]", "a list of 1 stands where a number"),
            ("[1,", "not valid JSON"),
            ("[true]", "true stands where a number"),
            ("no/such/file.json", "neither a file that exists"),
        ] {
            let error = read(argument).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(shape("1,a").is_err() && shape("").is_err());
        assert_eq!(dims("N, 3").unwrap(), [Dim::symbol("N"), Dim::Size(3)]);
        assert!(dims("1,-2").is_err() && dims("").is_err() && dims("N+1").is_err());
        assert!(array(&[4], &[0.0; 4]).reshape(vec![3]).is_err());
    }

    #[test]
    fn numpy_files_are_read() {
        let file = |header: &str, data: &[u8]| {
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            let header = format!("{header:<117}\n");
            bytes.extend((header.len() as u16).to_le_bytes());
            bytes.extend(header.as_bytes());
            bytes.extend(data);
            bytes
        };
        let data: Vec<u8> = [1i16, 2, 3, 4, 5, 6].iter().flat_map(|v| v.to_be_bytes()).collect();
        let fortran = file("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }", &data);
        assert_eq!(parse(&fortran).unwrap(), array(&[2, 3], &[1.0, 3.0, 5.0, 2.0, 4.0, 6.0]));
        let data: Vec<u8> = [0.5f32, -1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let c = file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &data);
        assert_eq!(parse(&c).unwrap(), array(&[2], &[0.5, -1.0]));
        assert!(parse(&c[..c.len() - 1]).is_err());
        let lying = file("{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000000000000,), }", &[]);
        assert!(parse(&lying).unwrap_err().to_string().contains("shorter"));
        let complex = file("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", &[0; 8]);
        assert!(parse(&complex).unwrap_err().to_string().contains("save it as"));
    }
}
