//! What a launch reports of a wait that it gave up: one word of the host's memory that the kernel writes to.

use std::sync::Arc;

use cudarc::driver::{CudaContext, result, sys};

use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// Polls of a wait until it is given up: they take seconds. What is waited for comes in microseconds, or never.
pub(super) const PATIENCE: u32 = 1 << 23;

/// The word. It stays readable whatever becomes of the GPU's context.
pub(super) struct Report {
    context: Arc<CudaContext>,
    at: *mut u64,
    address: u64,
}

// SAFETY: the pointer is of one allocation that lives as long as `self`, read and written as a whole word.
unsafe impl Send for Report {}

/// A wait that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// Columns of the kernel's variant.
    pub(super) width: usize,
    pub(super) block: u64,
    pub(super) waited: &'static str,
}

impl GivenUp {
    /// As `give_up` in `decode_exchange.cuh` packs it.
    const fn of(word: u64) -> Self {
        let waited = match word as u8 {
            1 => "its weights",
            2 => "the sums of the residual stream",
            3 => "an operand",
            4 => "dt, B and C",
            5 => "the logits",
            6 => "weights that were not asked for",
            _ => "what it does not say",
        };
        Self { width: (word >> 8) as u8 as usize, block: word >> 16, waited }
    }
}

impl Report {
    /// # Errors
    /// The driver's.
    pub(super) fn new(device: &Device) -> Result<Self, CudaError> {
        let context = device.context().clone();
        context.bind_to_thread()?;
        // SAFETY: one word, freed by `drop`, written below before it is read.
        let at = unsafe { result::malloc_host(size_of::<u64>(), sys::CU_MEMHOSTALLOC_DEVICEMAP) }?.cast::<u64>();
        let mut report = Self { context, at, address: 0 };
        // SAFETY: the word just allocated; nobody else has its address yet.
        unsafe {
            at.write_volatile(0);
            sys::cuMemHostGetDevicePointer_v2(&raw mut report.address, at.cast(), 0).result()?;
        }
        Ok(report)
    }

    /// Where the kernel writes.
    pub(super) const fn address(&self) -> u64 {
        self.address
    }

    /// What was given up since the last call; launches have been waited for.
    pub(super) fn take(&mut self) -> Option<GivenUp> {
        // SAFETY: the word of `new`; no launch that may write it is running.
        let word = unsafe {
            let word = self.at.read_volatile();
            self.at.write_volatile(0);
            word
        };
        (word != 0).then(|| GivenUp::of(word))
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: allocated by `new`, freed once; the driver waits for work that uses it. A failure leaks a page.
        let _ = unsafe { result::free_host(self.at.cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_the_kernel() {
        let found = GivenUp::of(131 << 16 | 32 << 8 | 3);
        assert_eq!(found, GivenUp { width: 32, block: 131, waited: "an operand" });
        // Every reason of the kernel has a name, and no name is without one.
        let source = include_str!("../../kernels/decode_exchange.cuh");
        let (_, reasons) = source.split_once("enum Waited : uint32_t {").unwrap();
        let (reasons, _) = reasons.split_once('}').unwrap();
        let numbers: Vec<u64> =
            reasons.split(',').map(|r| r.split_once('=').unwrap().1.trim().parse().unwrap()).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        assert!(numbers.iter().all(|&n| GivenUp::of(n).waited != GivenUp::of(7).waited));
    }
}
