//! What a launch reports of a wait that it gave up: one word of the host's memory that the kernel writes to.

use super::mapped::Mapped;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// Polls of a wait until it is given up: they take seconds. What is waited for comes in microseconds, or never.
pub(super) const PATIENCE: u32 = 1 << 23;

/// The word.
pub(super) struct Report(Mapped<u64>);

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
        Ok(Self(Mapped::zeros(device, 1)?))
    }

    /// Where the kernel writes.
    pub(super) const fn address(&self) -> u64 {
        self.0.address(0)
    }

    /// What was given up since the last call; launches have been waited for.
    pub(super) fn take(&mut self) -> Option<GivenUp> {
        // SAFETY: no launch that may write it is running.
        let word = unsafe { self.0.replace(0) };
        (word != 0).then(|| GivenUp::of(word))
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
