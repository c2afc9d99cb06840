//! From pointers of C to slices of Rust: the checks that can be made, and the one place that trusts the rest.
#![allow(unsafe_code, reason = "C hands over pointers")]

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use bytemuck::Pod;

use crate::status::Status;

/// Addresses from `start` up to `end`.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

/// The addresses of `len` elements at `pointer`.
///
/// # Errors
/// A null or misaligned pointer, or a range that wraps or is longer than any object can be.
pub(crate) fn span<T>(pointer: *const T, len: usize, align: usize) -> Result<Span, Status> {
    if pointer.is_null() {
        return Err(Status::NullPointer);
    }
    let start = pointer as usize;
    if start & (align.max(align_of::<T>()) - 1) != 0 {
        return Err(Status::Misaligned);
    }
    let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize);
    let end = bytes.and_then(|bytes| start.checked_add(bytes)).ok_or(Status::RangeWraps)?;
    Ok(Span { start, end })
}

/// Refuses two ranges that share a byte.
///
/// # Errors
/// [`Status::Overlap`].
pub(crate) fn disjoint(spans: &[Span]) -> Result<(), Status> {
    let mut rest = spans;
    while let Some((a, others)) = rest.split_first() {
        if others.iter().any(|b| a.start < b.end && b.start < a.end) {
            return Err(Status::Overlap);
        }
        rest = others;
    }
    Ok(())
}

/// Borrows what C promises to be there.
///
/// # Errors
/// As [`span`].
/// # Safety
/// If the pointer passes the checks: `len` elements are there, initialised, and nobody writes them during `'a`.
pub(crate) unsafe fn slice<'a, T: Pod>(pointer: *const T, len: usize) -> Result<&'a [T], Status> {
    span(pointer, len, 1)?;
    // SAFETY: not null, aligned and of a possible length as just checked; the rest is what the caller promises. `Pod`
    // has no invalid bit pattern.
    Ok(unsafe { core::slice::from_raw_parts(pointer, len) })
}

/// Borrows for writing.
///
/// # Errors
/// As [`span`].
/// # Safety
/// As [`slice`], and nobody else reads them during `'a`.
pub(crate) unsafe fn slice_mut<'a, T: Pod>(pointer: *mut T, len: usize) -> Result<&'a mut [T], Status> {
    span(pointer, len, 1)?;
    // SAFETY: as in `slice`; exclusive as the caller promises.
    Ok(unsafe { core::slice::from_raw_parts_mut(pointer, len) })
}

/// Writes a result.
///
/// # Errors
/// As [`span`].
/// # Safety
/// If the pointer passes the checks: it may be written.
pub(crate) unsafe fn put<T>(pointer: *mut T, value: T) -> Result<(), Status> {
    span(pointer, 1, 1)?;
    // SAFETY: not null and aligned as just checked, writable as the caller promises. The old value is not dropped: it
    // may be uninitialised.
    unsafe { pointer.write(value) };
    Ok(())
}

/// Memory of the caller that a decoder keeps between calls. A reference to it exists only during a call.
pub(crate) struct Lent<T> {
    pointer: NonNull<T>,
    len: usize,
}

impl<T: Pod> Lent<T> {
    /// Keeps `len` elements at `pointer`; [`span`] has checked them.
    ///
    /// # Errors
    /// [`Status::NullPointer`].
    /// # Safety
    /// The memory stays, initialised, for as long as this value is used, and is used through this value only (a reader
    /// between two calls excepted).
    pub(crate) unsafe fn new(pointer: *mut T, len: usize) -> Result<Self, Status> {
        Ok(Self { pointer: NonNull::new(pointer).ok_or(Status::NullPointer)?, len })
    }
}

impl<T> Lent<T> {
    /// Its addresses.
    pub(crate) fn span(&self) -> Span {
        let start = self.pointer.as_ptr() as usize;
        Span { start, end: start.wrapping_add(self.len.wrapping_mul(size_of::<T>())) }
    }
}

impl<T> Deref for Lent<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `new`'s caller promised that the memory is there and is ours.
        unsafe { core::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { core::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}
