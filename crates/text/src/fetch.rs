//! Having memory fetched before it is asked for.

/// Bytes that a processor fetches at once.
const LINE_BYTES: usize = 64;

/// Has an item fetched while other work goes on. It changes no answer; nothing happens where there is no such item, or no way.
#[inline]
pub(crate) fn ahead<T>(items: &[T], at: usize) {
    if let Some(item) = items.get(at) {
        let start = std::ptr::from_ref(item).cast::<i8>();
        for number in 0..size_of::<T>().div_ceil(LINE_BYTES) {
            line(start.wrapping_add(number * LINE_BYTES));
        }
    }
}

#[inline]
fn line(at: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every such machine has SSE, and a prefetch may be of any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
