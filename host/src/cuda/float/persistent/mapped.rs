//! Memory of the host that kernels write to: [`Mapped`].

use std::sync::Arc;

use cudarc::driver::{CudaContext, DeviceRepr, ValidAsZeroBits, result, sys};

use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// Values in pages that the GPU writes to over the bus, so that a result is there when its launch is done, without a
/// copy that is one more thing to wait for. They stay readable whatever becomes of the GPU's context.
pub(super) struct Mapped<T> {
    context: Arc<CudaContext>,
    at: *mut T,
    len: usize,
    address: u64,
}

// SAFETY: the pointer is of one allocation that lives as long as `self`; it is only read and written through `self`.
unsafe impl<T: Send> Send for Mapped<T> {}

impl<T: Copy + DeviceRepr + ValidAsZeroBits> Mapped<T> {
    /// `len` zeros, at least one.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn zeros(device: &Device, len: usize) -> Result<Self, CudaError> {
        let (context, len) = (device.context().clone(), len.max(1));
        context.bind_to_thread()?;
        // SAFETY: freed by `drop`, written below before it is read.
        let at = unsafe { result::malloc_host(len * size_of::<T>(), sys::CU_MEMHOSTALLOC_DEVICEMAP) }?.cast::<T>();
        let mut mapped = Self { context, at, len, address: 0 };
        // SAFETY: `len` values just allocated, at a page's beginning, whose type may be all zeros; nobody else has their
        // address yet.
        unsafe {
            at.write_bytes(0, len);
            sys::cuMemHostGetDevicePointer_v2(&raw mut mapped.address, at.cast(), 0).result()?;
        }
        Ok(mapped)
    }

    /// Makes room for `len` values; what was there may be gone.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn reserve(&mut self, device: &Device, len: usize) -> Result<(), CudaError> {
        if len > self.len {
            // Waits for launches that write to the old ones, which are freed then.
            device.synchronize()?;
            *self = Self::zeros(device, len.next_power_of_two())?;
        }
        Ok(())
    }

    /// Where kernels write value `index`.
    pub(super) const fn address(&self, index: usize) -> u64 {
        self.address + (index * size_of::<T>()) as u64
    }

    /// The first `len` values, of those that there are.
    ///
    /// # Safety
    /// No launch that may write them is running.
    pub(super) unsafe fn first(&self, len: usize) -> &[T] {
        // SAFETY: `zeros` has made and written them, and the caller keeps kernels away.
        unsafe { std::slice::from_raw_parts(self.at, len.min(self.len)) }
    }

    /// Takes the first value, and leaves `value` there.
    ///
    /// # Safety
    /// As [`Mapped::first`].
    pub(super) unsafe fn replace(&mut self, value: T) -> T {
        // SAFETY: there is at least one, and the caller keeps kernels away.
        unsafe {
            let old = self.at.read_volatile();
            self.at.write_volatile(value);
            old
        }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: allocated by `zeros`, freed once; the driver waits for work that uses it. A failure leaks pages.
        let _ = unsafe { result::free_host(self.at.cast()) };
    }
}
