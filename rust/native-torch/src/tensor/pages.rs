//! Large pages for large vectors: the system brings them in 2 MB at a time instead of 4 KB, and finds addresses faster.

/// Vectors of fewer bytes are left alone.
const LARGE: usize = 4 << 20;

/// An empty vector with room for so many values.
pub(crate) fn vec<T>(count: usize) -> Vec<T> {
    let mut room = Vec::with_capacity(count);
    if count.saturating_mul(size_of::<T>()) >= LARGE {
        advise(room.spare_capacity_mut());
    }
    room
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn advise<T>(room: &mut [std::mem::MaybeUninit<T>]) {
    /// The size of a large page; what begins or ends within one keeps small pages there.
    const PAGE: usize = 2 << 20;
    let start = room.as_mut_ptr().cast::<u8>();
    let before = start.align_offset(PAGE);
    let Some(length) = size_of_val(room).checked_sub(before).map(|length| length / PAGE * PAGE) else { return };
    // SAFETY: the range lies within the room. The call says how to bring in pages and changes no byte; where the system
    // has no large pages it fails, and nothing is lost.
    unsafe { libc::madvise(start.add(before).cast(), length, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise<T>(_: &mut [std::mem::MaybeUninit<T>]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_room_whatever_their_size() {
        for count in [0, 1, LARGE - 1, LARGE, LARGE + 4097, 5 * LARGE] {
            let mut room: Vec<u8> = vec(count);
            assert!(room.is_empty() && room.capacity() >= count);
            room.resize(count, 7);
            assert!(room.iter().all(|&byte| byte == 7));
        }
        assert!(vec::<[f64; 0]>(usize::MAX).is_empty());
    }
}
