//! The kernels of a WebAssembly module against the scalar code, for its tests. No part of the interface.
#![allow(unsafe_code, reason = "an exported C function")]

use mambabyte_core::simd::check;

use crate::memory::slice;

/// Compares every kernel of every backend with the scalar code. Returns the cases of the backend of this name that were
/// compared; 0 if there is none, or if any kernel of any backend differs.
///
/// # Safety
/// `name` points to `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mambabyte_check_kernels(name: *const u8, len: usize) -> usize {
    // SAFETY: as the caller promises.
    let Ok(name) = (unsafe { slice(name, len) }) else { return 0 };
    let mut cases = 0;
    match check::all(|backend, _, n| cases += if backend.as_bytes() == name { n } else { 0 }) {
        Ok(()) => cases,
        Err(_) => 0,
    }
}
