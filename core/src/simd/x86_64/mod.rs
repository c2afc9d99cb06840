//! x86-64: AVX2, and AVX-512 with VNNI.
#![allow(unsafe_code, reason = "a prefetch")]

use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

#[cfg(mambabyte_avx2)]
pub(super) mod avx2;
#[cfg(mambabyte_avx512)]
pub(super) mod avx512;
mod powers;
#[cfg(mambabyte_avx2)]
mod weights;

/// Starts to fetch 256 bytes from `at` on into this core's second cache. Nothing is read, so any address will do.
///
/// Weights that are in no cache arrive at 12 to 18 GB/s if only the processor's own prediction fetches them, in rows of
/// one or two KiB, and at 20 to 25 with this, even on pages of 4 KiB.
#[inline(always)]
fn fetch(at: *const i8) {
    // SAFETY: every x86-64 has the instruction, and it reads nothing.
    unsafe {
        _mm_prefetch::<_MM_HINT_T1>(at);
        _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(64));
        _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(128));
        _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(192));
    }
}

/// Starts to fetch the line at `at` into this core's second cache.
#[cfg(mambabyte_avx512)]
#[inline(always)]
fn fetch_line_far(at: *const i8) {
    // SAFETY: as above.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at) }
}

/// Starts to fetch the line of `x` into the nearest cache.
#[inline(always)]
fn fetch_line<T>(x: &T) {
    // SAFETY: as above.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(x).cast()) }
}
