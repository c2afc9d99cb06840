//! What logits say: the most probable byte, the surprise of a byte, a sample.
#![allow(unsafe_code, reason = "exported C functions")]

use mambabyte_core::{Logits, Rng, SampleOptions, most_probable, probability, sample, surprise};

use crate::decoder::MAMBABYTE_VOCAB;
use crate::memory::{put, slice, span};
use crate::status::Status;

/// How to sample. All numbers are integers, so that a seed names one text on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MambabyteSampling {
    /// Temperature, 16 fractional bits: 65536 samples from the model's distribution, 0 takes the most probable byte.
    pub temperature: u32,
    /// Only the most probable bytes that together reach this share, 16 fractional bits; 65536 for all.
    pub top_p: u32,
    /// Only the top_k most probable bytes; 0 for all.
    pub top_k: u16,
}

/// The 256 logits at an address.
///
/// # Errors
/// A null or misaligned pointer.
/// # Safety
/// If the pointer passes the checks: 256 initialised numbers are there, and nobody writes them during `'a`.
pub(crate) unsafe fn logits_at<'a>(logits: *const i32) -> Result<&'a Logits, Status> {
    // SAFETY: the caller's promise.
    unsafe { slice(logits, MAMBABYTE_VOCAB) }?.first_chunk().ok_or(Status::Empty)
}

/// The most probable byte, the smallest one of equals.
///
/// Returns MAMBABYTE_STATUS_OK, or which pointer was refused.
///
/// # Safety
/// logits points to MAMBABYTE_VOCAB numbers; byte may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_most_probable(logits: *const i32, byte: *mut u8) -> Status {
    // SAFETY: the contract of this function.
    let go = || unsafe { put(byte, most_probable(logits_at(logits)?)) };
    go().into()
}

/// The surprise of a byte, -log2 of its probability, in bits with 16 fractional bits: 65536 is one bit.
///
/// * logits: those of the step before this byte was read.
///
/// Returns MAMBABYTE_STATUS_OK, or which pointer was refused.
///
/// # Safety
/// logits points to MAMBABYTE_VOCAB numbers; bits may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_surprise(logits: *const i32, byte: u8, bits: *mut u32) -> Status {
    // SAFETY: the contract of this function.
    let go = || unsafe { put(bits, surprise(logits_at(logits)?, byte)) };
    go().into()
}

/// The probability of a byte with 32 fractional bits, at most 2^32 - 1.
///
/// Returns MAMBABYTE_STATUS_OK, or which pointer was refused.
///
/// # Safety
/// logits points to MAMBABYTE_VOCAB numbers; share may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_probability(logits: *const i32, byte: u8, share: *mut u32) -> Status {
    // SAFETY: the contract of this function.
    let go = || unsafe { put(share, probability(logits_at(logits)?, byte)) };
    go().into()
}

/// Chooses the next byte at random.
///
/// * random: state of the generator; set it to a seed once, it is changed by each call. Equal seeds give equal bytes.
///
/// Returns MAMBABYTE_STATUS_OK, or which pointer was refused; random is then unchanged.
/// Its tables take 1,280 bytes of stack.
///
/// # Safety
/// logits points to MAMBABYTE_VOCAB numbers, sampling to a mambabyte_sampling; random and byte may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_sample(
    logits: *const i32,
    sampling: *const MambabyteSampling,
    random: *mut u64,
    byte: *mut u8,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let logits = unsafe { logits_at(logits) }?;
        span(sampling, 1, 1)?;
        span(random, 1, 1)?;
        span(byte, 1, 1)?;
        // SAFETY: not null and aligned as just checked, readable as the contract says.
        let (how, seed) = unsafe { (sampling.read(), random.read()) };
        let options = SampleOptions { temperature: how.temperature, top_k: how.top_k, top_p: how.top_p };
        let mut rng = Rng::new(seed);
        let chosen = sample(logits, &options, &mut rng);
        // SAFETY: checked above; writable as the contract says.
        unsafe { put(random, rng.state()).and_then(|()| put(byte, chosen)) }
    };
    go().into()
}
