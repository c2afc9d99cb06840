//! Logits and costs that come back from the GPU are looked at once, on the host: NaN, infinity and what the core's units
//! do not hold are [`CudaError::NotFinite`].
//!
//! Nothing is looked at on the GPU. What is not finite in a layer is not finite in its output either (the module
//! `oracle` of the core says why), and what is not finite in a state stays there: the decays multiply it. So a call that
//! gives back no logits, or only the last ones, needs no more: a spoilt state shows in the logits of the bytes after it.
//! A norm whose squares overflow gives NaN too (`norm.cu`, `decode.cu`).

use mambabyte_core::VOCAB;

use crate::cuda::error::CudaError;
use crate::model::unfit;

/// More bits than this are no cost of a byte under logits that fit: twice [`crate::model::LOGIT_LIMIT`], and 8 more.
const MOST_BITS: f32 = 65_546.0;

/// Bytes `from..to` of `row` in this call have logits that do not fit.
pub(super) const fn not_finite(row: usize, from: usize, to: usize) -> CudaError {
    CudaError::NotFinite { row, from: from as u64, to: to as u64 }
}

/// Looks at the logits of consecutive bytes of `row`, of which the first is byte `from` of the call.
///
/// # Errors
/// [`CudaError::NotFinite`] names the first byte whose logits do not fit.
pub(super) fn check_logits(row: usize, from: usize, logits: &[f32]) -> Result<(), CudaError> {
    match logits.chunks_exact(VOCAB).position(|l| unfit(l).is_some()) {
        Some(at) => Err(not_finite(row, from + at, from + at + 1)),
        None => Ok(()),
    }
}

/// As [`check_logits`] for what bytes cost, in bits.
///
/// # Errors
/// [`CudaError::NotFinite`].
pub(super) fn check_costs(row: usize, from: usize, bits: &[f32]) -> Result<(), CudaError> {
    match bits.iter().position(|b| b.is_nan() || b.abs() > MOST_BITS) {
        Some(at) => Err(not_finite(row, from + at, from + at + 1)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_does_not_fit_is_named() {
        let mut logits = vec![1.0f32; 3 * VOCAB];
        assert!(check_logits(0, 0, &logits).is_ok());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -3e4] {
            logits[2 * VOCAB - 1] = bad;
            let found = check_logits(4, 10, &logits);
            assert!(matches!(found, Err(CudaError::NotFinite { row: 4, from: 11, to: 12 })), "{bad}");
            let found = check_costs(4, 10, &[0.0, 65_540.0, bad * 3.0]);
            assert!(matches!(found, Err(CudaError::NotFinite { row: 4, from: 12, to: 13 })), "{bad}");
        }
    }
}
