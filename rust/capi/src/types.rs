//! Borrowed arrays and strings, and the checks that every argument passes.
//!
//! Their layout is spelled for C in `cbindgen.toml`.

use std::mem::MaybeUninit;

use engine::{Error, Result};
use safer_ffi::{
    prelude::{c_slice, char_p},
    slice::slice_raw,
};

/// Numbers that the callee reads.
pub type NtSlice<'a> = Option<c_slice::Ref<'a, f64>>;
/// Numbers that the callee writes.
pub type NtSliceMut<'a> = Option<c_slice::Mut<'a, f64>>;
/// Sizes of dimensions.
pub type NtShape<'a> = Option<c_slice::Ref<'a, usize>>;
/// Integers that the callee reads.
pub type NtIntegers<'a> = Option<c_slice::Ref<'a, i64>>;
/// Integers that the callee writes.
pub type NtIntegersMut<'a> = Option<c_slice::Mut<'a, i64>>;
/// Bytes that the callee reads.
pub type NtBytes<'a> = Option<c_slice::Ref<'a, u8>>;
/// Handles that the callee borrows.
pub type NtModels<'a> = Option<c_slice::Ref<'a, Option<&'a crate::model::NtModel>>>;
/// Text that ends with NUL.
pub type NtStr<'a> = Option<char_p::Ref<'a>>;

/// What stands behind a pointer that must not be NULL.
pub fn required<T>(argument: Option<T>, name: &str) -> Result<T> {
    argument.ok_or_else(|| Error::argument(format!("{name} is NULL")))
}

/// The elements of an array to read. NULL is an error unless each point has `per_point == 0` elements of it.
pub fn read<'a>(slice: NtSlice<'a>, name: &str, per_point: usize) -> Result<&'a [f64]> {
    match slice {
        None if per_point == 0 => Ok(&[]),
        None => Err(Error::argument(format!("{name} is NULL"))),
        Some(slice) => elements(slice, name),
    }
}

/// The elements of an array to write, which must not overlap those that are read.
pub fn write<'a>(slice: NtSliceMut<'a>, name: &str, per_point: usize, reads: &[NtSlice]) -> Result<&'a mut [f64]> {
    let Some(slice) = slice else {
        return if per_point == 0 { Ok(&mut []) } else { Err(Error::argument(format!("{name} is NULL"))) };
    };
    let own = check(slice.as_ref(), name)?;
    for read in reads.iter().flatten() {
        let other = check(*read, "an argument")?;
        if own.start < other.end && other.start < own.end {
            return Err(Error::argument(format!("{name} overlaps an array that is read; give it memory of its own")));
        }
    }
    Ok(slice.as_slice())
}

/// The elements of an array of integers to write.
pub fn integers<'a>(slice: NtIntegersMut<'a>, name: &str, count: usize) -> Result<&'a mut [i64]> {
    let Some(slice) = slice else {
        return if count == 0 { Ok(&mut []) } else { Err(Error::argument(format!("{name} is NULL"))) };
    };
    check(slice.as_ref(), name)?;
    Ok(slice.as_slice())
}

/// Bytes to read.
pub fn bytes<'a>(slice: NtBytes<'a>, name: &str) -> Result<&'a [u8]> {
    elements(required(slice, name)?, name)
}

/// The sizes, or none for NULL.
pub fn shape(slice: NtShape<'_>) -> Result<Option<&[usize]>> {
    slice.map(|slice| elements(slice, "the shape")).transpose()
}

/// The elements of any array; NULL is an error.
pub fn list<'a, T>(slice: Option<c_slice::Ref<'a, T>>, name: &str) -> Result<&'a [T]> {
    elements(required(slice, name)?, name)
}

/// A text.
pub fn text<'a>(text: NtStr<'a>, name: &str) -> Result<&'a str> {
    let bytes = required(text, name)?.to_bytes();
    std::str::from_utf8(bytes).map_err(|_| Error::argument(format!("{name} is not UTF-8")))
}

/// A text, or none for NULL.
pub fn optional_text<'a>(text: NtStr<'a>, name: &str) -> Result<Option<&'a str>> {
    text.is_some().then(|| self::text(text, name)).transpose()
}

fn elements<'a, T>(slice: c_slice::Ref<'a, T>, name: &str) -> Result<&'a [T]> {
    check(slice, name)?;
    Ok(slice.as_slice())
}

/// The addresses of an array, if it can be one: aligned, and not larger than memory.
fn check<T>(slice: c_slice::Ref<'_, T>, name: &str) -> Result<std::ops::Range<usize>> {
    let raw = slice_raw::from(slice);
    let start = raw.ptr.as_ptr() as usize;
    if !start.is_multiple_of(align_of::<T>()) {
        return Err(Error::argument(format!("{name} is not aligned to {} bytes", align_of::<T>())));
    }
    let end = raw.len.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize);
    let end = end.and_then(|bytes| start.checked_add(bytes));
    match end {
        Some(end) => Ok(start..end),
        None => Err(Error::argument(format!("{name} has length {}, which is larger than memory", raw.len))),
    }
}

/// Writes a result.
pub fn give<T>(out: Option<&mut MaybeUninit<T>>, value: T) -> Result<()> {
    required(out, "out")?.write(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::mem::transmute;

    use super::*;

    /// What C passes.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Slice<T> {
        data: *const T,
        len: usize,
    }

    #[test]
    fn slices_have_the_layout_of_a_pointer_and_a_length() {
        assert_eq!(size_of::<NtSlice>(), size_of::<Slice<f64>>());
        assert_eq!(size_of::<NtSliceMut>(), size_of::<Slice<f64>>());
        assert_eq!(size_of::<NtShape>(), size_of::<Slice<usize>>());
        assert_eq!(align_of::<NtSlice>(), align_of::<Slice<f64>>());
        assert_eq!(align_of::<NtSliceMut>(), align_of::<Slice<f64>>());
        assert_eq!(align_of::<NtShape>(), align_of::<Slice<usize>>());
        assert_eq!(size_of::<NtStr>(), size_of::<*const u8>());
        assert_eq!(size_of::<Option<&mut MaybeUninit<Option<Box<u64>>>>>(), size_of::<*mut *mut u64>());
    }

    #[test]
    fn null_with_any_length_reads_as_none() {
        for len in [0, 1, 7, usize::MAX] {
            let null = Slice::<f64> { data: std::ptr::null(), len };
            // SAFETY: the layouts are the same (above), and NULL is the value that `None` is represented by; that is
            // what this test is about.
            let (r, m) = unsafe { (transmute::<Slice<f64>, NtSlice>(null), transmute::<Slice<f64>, NtSliceMut>(null)) };
            assert!(r.is_none() && m.is_none());
            let null = Slice::<usize> { data: std::ptr::null(), len };
            // SAFETY: as above.
            assert!(unsafe { transmute::<Slice<usize>, NtShape>(null) }.is_none());
        }
        // SAFETY: as above, for one pointer.
        assert!(unsafe { transmute::<*const u8, NtStr>(std::ptr::null()) }.is_none());
    }

    #[test]
    fn what_c_passes_is_what_rust_reads() {
        let numbers = [1.0, 2.0, 3.0];
        let c = Slice { data: numbers.as_ptr(), len: 3 };
        // SAFETY: the layouts are the same (above), and the pointer is that of three numbers that live on.
        let slice = unsafe { transmute::<Slice<f64>, NtSlice>(c) };
        assert_eq!(read(slice, "x", 1).unwrap(), numbers);
    }

    #[test]
    fn arrays_that_cannot_be_are_refused() {
        let mut numbers = [0.0f64; 4];
        let data = numbers.as_mut_ptr();
        for (data, len, part) in [(data.wrapping_byte_add(1), 2, "aligned"), (data, usize::MAX / 8, "memory")] {
            // SAFETY: the layouts are the same (above); nothing is read before the checks.
            let slice = unsafe { transmute::<Slice<f64>, NtSlice>(Slice { data: data.cast_const(), len }) };
            assert!(read(slice, "x", 1).unwrap_err().message().contains(part));
        }
        // SAFETY: as above; the overlap is found before anything is read or written.
        let (x, y) = unsafe {
            (
                transmute::<Slice<f64>, NtSlice>(Slice { data: data.cast_const(), len: 3 }),
                transmute::<Slice<f64>, NtSliceMut>(Slice { data: data.wrapping_add(2), len: 2 }),
            )
        };
        assert!(write(y, "y", 1, &[x]).unwrap_err().message().contains("overlaps"));
    }
}
