//! The element types that torch stores, and their conversion.

use half::{bf16, f16};

use crate::{Error, Result};

/// An element type, named as torch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    F8E4M3FN,
    F8E4M3FNUZ,
    F8E5M2,
    F8E5M2FNUZ,
    F8E8M0FNU,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    C32,
    C64,
    C128,
}

/// Every dtype with torch's name, its size in bytes and the number that torch's C++ gives it.
const TABLE: [(DType, &str, usize, i64); 21] = [
    (DType::F64, "float64", 8, 7),
    (DType::F32, "float32", 4, 6),
    (DType::F16, "float16", 2, 5),
    (DType::BF16, "bfloat16", 2, 15),
    (DType::F8E4M3FN, "float8_e4m3fn", 1, 24),
    (DType::F8E4M3FNUZ, "float8_e4m3fnuz", 1, 26),
    (DType::F8E5M2, "float8_e5m2", 1, 23),
    (DType::F8E5M2FNUZ, "float8_e5m2fnuz", 1, 25),
    (DType::F8E8M0FNU, "float8_e8m0fnu", 1, 44),
    (DType::I64, "int64", 8, 4),
    (DType::I32, "int32", 4, 3),
    (DType::I16, "int16", 2, 2),
    (DType::I8, "int8", 1, 1),
    (DType::U64, "uint64", 8, 29),
    (DType::U32, "uint32", 4, 28),
    (DType::U16, "uint16", 2, 27),
    (DType::U8, "uint8", 1, 0),
    (DType::Bool, "bool", 1, 11),
    (DType::C32, "complex32", 4, 8),
    (DType::C64, "complex64", 8, 9),
    (DType::C128, "complex128", 16, 10),
];

impl DType {
    fn entry(self) -> (DType, &'static str, usize, i64) {
        TABLE[self as usize]
    }

    /// torch's name, without the `torch.` in front.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The dtype of torch's name.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }

    /// The number by which TorchScript names it.
    pub(crate) fn number(self) -> i64 {
        self.entry().3
    }

    /// The dtype of such a number.
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        TABLE.iter().find(|entry| entry.3 == number).map(|entry| entry.0)
    }

    /// The size of one element in bytes.
    pub fn size(self) -> usize {
        self.entry().2
    }

    /// Whether it is a real floating-point type.
    pub fn is_float(self) -> bool {
        self.name().contains("float")
    }

    /// Whether it is a complex type.
    pub fn is_complex(self) -> bool {
        self.part().is_some()
    }

    /// The dtype of a complex type's real and imaginary part, which lie side by side.
    pub fn part(self) -> Option<Self> {
        match self {
            DType::C32 => Some(DType::F16),
            DType::C64 => Some(DType::F32),
            DType::C128 => Some(DType::F64),
            _ => None,
        }
    }

    /// Appends the elements in `bytes` to `out`, converted.
    pub(super) fn read<T: Element>(self, bytes: &[u8], big_endian: bool, out: &mut Vec<T>) -> Result<()> {
        macro_rules! numbers {
            ($type:ty, $convert:expr) => {
                out.extend(bytes.chunks_exact(size_of::<$type>()).map(|chunk| {
                    let chunk = chunk.try_into().expect("chunks have the element's size");
                    let value = if big_endian { <$type>::from_be_bytes(chunk) } else { <$type>::from_le_bytes(chunk) };
                    $convert(value)
                }))
            };
        }
        match self {
            DType::F64 => numbers!(f64, |v: f64| T::from_f64(v)),
            DType::F32 => numbers!(f32, |v: f32| T::from_f32(v)),
            DType::F16 => numbers!(f16, |v: f16| T::from_f64(v.to_f64())),
            DType::BF16 => numbers!(bf16, |v: bf16| T::from_f64(v.to_f64())),
            DType::F8E4M3FN => numbers!(u8, |v| T::from_f64(float8(v, 3, 7, Float8::FiniteNan))),
            DType::F8E4M3FNUZ => numbers!(u8, |v| T::from_f64(float8(v, 3, 8, Float8::UnsignedZero))),
            DType::F8E5M2 => numbers!(u8, |v| T::from_f64(float8(v, 2, 15, Float8::Ieee))),
            DType::F8E5M2FNUZ => numbers!(u8, |v| T::from_f64(float8(v, 2, 16, Float8::UnsignedZero))),
            DType::F8E8M0FNU => numbers!(u8, |v| T::from_f64(power_of_two(v))),
            DType::I64 => numbers!(i64, |v| T::from_i128(i128::from(v))),
            DType::I32 => numbers!(i32, |v| T::from_i128(i128::from(v))),
            DType::I16 => numbers!(i16, |v| T::from_i128(i128::from(v))),
            DType::I8 => numbers!(i8, |v| T::from_i128(i128::from(v))),
            DType::U64 => numbers!(u64, |v| T::from_i128(i128::from(v))),
            DType::U32 => numbers!(u32, |v| T::from_i128(i128::from(v))),
            DType::U16 => numbers!(u16, |v| T::from_i128(i128::from(v))),
            DType::U8 => numbers!(u8, |v| T::from_i128(i128::from(v))),
            DType::Bool => numbers!(u8, |v| T::from_i128(i128::from(v != 0))),
            DType::C32 | DType::C64 | DType::C128 => {
                return Err(Error::unsupported(format!(
                    "a {} tensor was read as real numbers; read it as complex, or store its parts apart",
                    self.name()
                )));
            }
        }
        Ok(())
    }

    /// Appends the elements in `bytes` to `out` as real and imaginary part; that of a real number is zero.
    pub(super) fn read_complex<T: Element>(self, bytes: &[u8], big_endian: bool, out: &mut Vec<[T; 2]>) -> Result<()> {
        let mut parts: Vec<T> = Vec::with_capacity(2 * bytes.len() / self.size());
        self.part().unwrap_or(self).read(bytes, big_endian, &mut parts)?;
        if self.is_complex() {
            out.extend(parts.chunks_exact(2).map(|pair| [pair[0], pair[1]]));
        } else {
            out.extend(parts.into_iter().map(|real| [real, T::from_f64(0.0)]));
        }
        Ok(())
    }
}

/// The value of an exponent without sign and mantissa (OCP Microscaling Formats, 2023, E8M0).
fn power_of_two(code: u8) -> f64 {
    if code == 0xff { f64::NAN } else { libm::ldexp(1.0, i32::from(code) - 127) }
}

/// How an 8-bit float spends its top codes.
#[derive(PartialEq)]
enum Float8 {
    /// Infinities and NaNs as in IEEE 754.
    Ieee,
    /// No infinities; all ones is NaN.
    FiniteNan,
    /// No infinities, no negative zero; the code of negative zero is NaN.
    UnsignedZero,
}

/// The value of an 8-bit float with `mantissa` bits and the given exponent bias (OCP 8-bit floating point, 2023).
fn float8(code: u8, mantissa: u32, bias: i32, kind: Float8) -> f64 {
    let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
    let fraction = u32::from(code) & ((1 << mantissa) - 1);
    let exponent = u32::from(code & 0x7f) >> mantissa;
    let top = 0x7f >> mantissa;
    match kind {
        Float8::UnsignedZero if code == 0x80 => return f64::NAN,
        Float8::FiniteNan if code & 0x7f == 0x7f => return f64::NAN,
        Float8::Ieee if exponent == top => return if fraction == 0 { sign * f64::INFINITY } else { f64::NAN },
        _ => {}
    }
    let unit = 1u32 << mantissa;
    let (significand, exponent) =
        if exponent == 0 { (fraction, 1 - bias) } else { (fraction + unit, exponent as i32 - bias) };
    sign * libm::ldexp(f64::from(significand) / f64::from(unit), exponent)
}

/// A Rust type that tensors are read into.
pub trait Element: Copy + Send + Sync + 'static {
    /// The dtype of a tensor made from such elements.
    const DTYPE: DType;
    /// The nearest value.
    fn from_f64(value: f64) -> Self;
    /// The nearest value, NaN payloads kept.
    fn from_f32(value: f32) -> Self;
    /// The nearest value; integers saturate.
    fn from_i128(value: i128) -> Self;
    /// The value with the other sign; the least integer stays.
    fn negated(self) -> Self;
    /// Writes the bytes in little-endian order to a place of their number.
    fn write(self, place: &mut [u8]);
}

macro_rules! element {
    ($type:ty, $dtype:ident, $from_i128:expr, $negated:expr) => {
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
            #[inline]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            fn from_f32(value: f32) -> Self {
                value as $type
            }
            fn from_i128(value: i128) -> Self {
                $from_i128(value)
            }
            fn negated(self) -> Self {
                $negated(self)
            }
            fn write(self, place: &mut [u8]) {
                place.copy_from_slice(&self.to_le_bytes());
            }
        }
    };
}

element!(f64, F64, |v| v as f64, |v: f64| -v);
element!(f32, F32, |v| v as f32, |v: f32| -v);
element!(i64, I64, |v: i128| v.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64, i64::wrapping_neg);
element!(u64, U64, |v: i128| v.clamp(0, i128::from(u64::MAX)) as u64, u64::wrapping_neg);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (i, (dtype, name, ..)) in TABLE.iter().enumerate() {
            assert_eq!(*dtype as usize, i);
            assert_eq!(DType::from_name(name), Some(*dtype));
        }
        assert!(DType::BF16.is_float() && DType::F8E5M2.is_float() && !DType::C64.is_float());
    }

    #[test]
    fn eight_bit_floats_have_the_values_of_their_specification() {
        let read = |dtype: DType, code: u8| {
            let mut out: Vec<f64> = Vec::new();
            dtype.read(&[code], false, &mut out).unwrap();
            out[0]
        };
        assert_eq!(read(DType::F8E4M3FN, 0x7e), 448.0);
        assert_eq!(read(DType::F8E4M3FN, 0x01), (-9f64).exp2());
        assert!(read(DType::F8E4M3FN, 0xff).is_nan());
        assert_eq!(read(DType::F8E5M2, 0x7b), 57344.0);
        assert_eq!(read(DType::F8E5M2, 0xfc), f64::NEG_INFINITY);
        assert_eq!(read(DType::F8E4M3FNUZ, 0x7f), 240.0);
        assert!(read(DType::F8E4M3FNUZ, 0x80).is_nan());
        assert_eq!(read(DType::F8E5M2FNUZ, 0x7f), 57344.0);
        assert_eq!(read(DType::F8E8M0FNU, 0), (-127f64).exp2());
        assert_eq!(read(DType::F8E8M0FNU, 0xfe), 127f64.exp2());
        assert!(read(DType::F8E8M0FNU, 0xff).is_nan());
    }

    #[test]
    fn integers_and_byte_orders_are_read() {
        let mut out: Vec<f64> = Vec::new();
        DType::I16.read(&[0xff, 0xfe], true, &mut out).unwrap();
        DType::U64.read(&u64::MAX.to_le_bytes(), false, &mut out).unwrap();
        DType::Bool.read(&[2], false, &mut out).unwrap();
        DType::BF16.read(&[0x80, 0x3f], false, &mut out).unwrap();
        assert_eq!(out, [-2.0, 18446744073709551615.0, 1.0, 1.0]);
        assert!(DType::C64.read(&[0; 8], false, &mut out).is_err());
        let mut out: Vec<u64> = Vec::new();
        DType::U64.read(&u64::MAX.to_le_bytes(), false, &mut out).unwrap();
        assert_eq!(out, [u64::MAX]);
    }

    #[test]
    fn complex_numbers_are_pairs_in_either_byte_order() {
        let mut out: Vec<[f64; 2]> = Vec::new();
        DType::C32.read_complex(&[0x00, 0x3c, 0x00, 0xc0], false, &mut out).unwrap();
        DType::C32.read_complex(&[0x3c, 0x00, 0xc0, 0x00], true, &mut out).unwrap();
        DType::I8.read_complex(&[5], false, &mut out).unwrap();
        assert_eq!(out, [[1.0, -2.0], [1.0, -2.0], [5.0, 0.0]]);
    }
}
