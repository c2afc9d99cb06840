//! The detector of odd lines: judges a stream of (byte, surprise) in memory of the caller.
#![allow(unsafe_code, reason = "exported C functions")]

use core::ffi::c_void;

use mambabyte_core::detect::{Detector, Event, JUDGED, Rate, Reason, SAVED, Verdict};

use crate::decoder::{MAMBABYTE_ALIGN, MambabyteDecoder, unknown_text};
use crate::memory::{Span, disjoint, put, slice, slice_mut, span};
use crate::status::Status;

/// Bytes of memory of a detector.
pub const MAMBABYTE_DETECTOR_BYTES: usize = 1088;
/// Bytes that mambabyte_detector_save writes.
pub const MAMBABYTE_DETECTOR_SAVED: usize = 820;
/// A share of lines of 1 %: 32 fractional bits.
pub const MAMBABYTE_ONE_PERCENT: u32 = 42949672;
/// Lines of the learning period that a verdict can name.
pub const MAMBABYTE_LEARNED: usize = 6;
/// Reason of an odd line: one byte is far more surprising than its place in the line usually is.
pub const MAMBABYTE_REASON_BYTE: u8 = 1;
/// Reason of an odd line: eight bytes in a row are more surprising than any usually are.
pub const MAMBABYTE_REASON_STRETCH: u8 = 2;
/// The learning period is over; the verdict names its odd lines.
pub const MAMBABYTE_EVENT_LEARNED: u8 = 1;
/// More lines are odd than before.
pub const MAMBABYTE_EVENT_MORE_ODD: u8 = 2;
/// That has lasted: what is usual is learned anew.
pub const MAMBABYTE_EVENT_NEW_NORMAL: u8 = 4;
/// Lines of a kind that was not there come regularly.
pub const MAMBABYTE_EVENT_NEW_KIND: u8 = 8;
/// The last 32 lines, at least, were each one of the eight before it.
pub const MAMBABYTE_EVENT_FROZEN: u8 = 16;
/// The model does not know this text.
pub const MAMBABYTE_EVENT_UNKNOWN_TEXT: u8 = 32;

/// What is said of a finished line.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct MambabyteVerdict {
    /// 2^-rarity of the quiet lines are at least as odd: bits with 8 fractional bits, at most 24 bits.
    pub rarity: u16,
    /// Place in the line, from 0, of the byte that stands out most.
    pub worst_at: u16,
    /// Its surprise: bits with 8 fractional bits.
    pub worst_bits: u16,
    /// The share of the last some 64 lines that are rarer than 5 bits, 16 fractional bits; usual is a 32nd.
    pub odd_share: u16,
    /// 1 if the line is rarer than the share of lines that may be false alarms, else 0.
    pub odd: u8,
    /// 1 if it is odd and the budget allows to say so, else 0.
    pub alarm: u8,
    /// MAMBABYTE_REASON_BYTE or MAMBABYTE_REASON_STRETCH if it is odd, else 0.
    pub reason: u8,
    /// The byte that stands out most.
    pub worst_byte: u8,
    /// What is said of the stream at this line: a sum of MAMBABYTE_EVENT_LEARNED and its like.
    pub events: u8,
    /// With MAMBABYTE_EVENT_LEARNED: numbers, from 1, of lines of the learning period that look odd now. Zeros are none.
    pub learned: [u8; MAMBABYTE_LEARNED],
}

impl From<Verdict> for MambabyteVerdict {
    fn from(verdict: Verdict) -> Self {
        let events = verdict.events.iter().fold(0, |bits, event| bits | 1 << event as u8);
        let reason = match verdict.reason {
            None => 0,
            Some(Reason::Byte) => MAMBABYTE_REASON_BYTE,
            Some(Reason::Stretch) => MAMBABYTE_REASON_STRETCH,
        };
        Self {
            rarity: verdict.rarity,
            worst_at: verdict.worst.at,
            worst_bits: verdict.worst.bits,
            odd_share: verdict.odd_share,
            odd: verdict.odd as u8,
            alarm: verdict.alarm as u8,
            reason,
            worst_byte: verdict.worst.byte,
            events,
            learned: verdict.learned,
        }
    }
}

/// A detector where it was started.
#[repr(C)]
struct Whole {
    magic: u64,
    /// A moved one is refused.
    address: usize,
    detector: Detector,
}

const MAGIC: u64 = u64::from_le_bytes(*b"MBdetec\x01");

const _: () = {
    assert!(size_of::<Whole>() <= MAMBABYTE_DETECTOR_BYTES && align_of::<Whole>() <= MAMBABYTE_ALIGN);
    assert!(SAVED == MAMBABYTE_DETECTOR_SAVED && JUDGED == MAMBABYTE_LEARNED);
    assert!(Rate::ONE_PERCENT.share() == MAMBABYTE_ONE_PERCENT);
    assert!(
        MAMBABYTE_EVENT_LEARNED == 1 << Event::Learned as u8 && MAMBABYTE_EVENT_MORE_ODD == 1 << Event::MoreOdd as u8
    );
    assert!(MAMBABYTE_EVENT_NEW_NORMAL == 1 << Event::NewNormal as u8);
    assert!(
        MAMBABYTE_EVENT_NEW_KIND == 1 << Event::NewKind as u8 && MAMBABYTE_EVENT_FROZEN == 1 << Event::Frozen as u8
    );
    assert!(MAMBABYTE_EVENT_UNKNOWN_TEXT == 1 << Event::UnknownText as u8);
};

/// The detector that was started at this address, and its addresses.
///
/// # Errors
/// A null or misaligned pointer; [`Status::NotInitialised`].
/// # Safety
/// If the pointer passes the checks: as `mambabyte_detector_init` left it, or at least 16 initialised bytes; no other
/// thread uses it.
unsafe fn detector<'a>(memory: *mut c_void) -> Result<(&'a mut Detector, Span), Status> {
    let whole = memory.cast::<Whole>();
    let own = span(whole, 1, MAMBABYTE_ALIGN)?;
    // SAFETY: aligned and readable; any bits are a valid integer.
    let (magic, address) = unsafe { ((&raw const (*whole).magic).read(), (&raw const (*whole).address).read()) };
    if magic != MAGIC || address != memory as usize {
        return Err(Status::NotInitialised);
    }
    // SAFETY: `mambabyte_detector_init` wrote a whole one.
    Ok((unsafe { &mut (*whole).detector }, own))
}

/// Starts a detector at the beginning of a stream.
///
/// * memory: at a multiple of MAMBABYTE_ALIGN, at least MAMBABYTE_DETECTOR_BYTES. Any contents.
/// * share: of quiet lines that may be false alarms, 32 fractional bits: MAMBABYTE_ONE_PERCENT. Below a millionth and
///   above a tenth it is the nearest of these.
/// * decoder: the model that reads the stream, which says what texts it does not know; null without a model.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused; then nothing was written.
///
/// # Safety
/// memory points to bytes that may be written. It stays where it is, and nobody else writes it, until the detector is
/// used no more. decoder is null or as for mambabyte_step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_detector_init(
    memory: *mut c_void,
    bytes: usize,
    share: u32,
    decoder: *mut MambabyteDecoder,
) -> Status {
    let go = || -> Result<(), Status> {
        span(memory.cast::<u8>(), bytes, MAMBABYTE_ALIGN)?;
        if bytes < size_of::<Whole>() {
            return Err(Status::DetectorTooSmall);
        }
        let mut detector = Detector::new(Rate::of_share(share));
        if !decoder.is_null() {
            // SAFETY: the contract of this function.
            detector.set_unknown_text(unsafe { unknown_text(decoder) }?);
        }
        // SAFETY: aligned and long enough as just checked, writable as the contract says.
        unsafe { memory.cast::<Whole>().write(Whole { magic: MAGIC, address: memory as usize, detector }) };
        Ok(())
    };
    go().into()
}

/// Changes the share of quiet lines that may be false alarms, for the lines to come.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused.
///
/// # Safety
/// memory as mambabyte_detector_init left it; no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_detector_set_share(memory: *mut c_void, share: u32) -> Status {
    // SAFETY: the contract of this function.
    unsafe { detector(memory) }.map(|(detector, _)| detector.set_rate(Rate::of_share(share))).into()
}

/// Takes a byte of the stream. A newline ends a line, and so does the 4096th byte.
///
/// * bits: surprise of the byte, 16 fractional bits: of mambabyte_adapter_read or, without an adapter, of
///   mambabyte_surprise.
/// * net: surprise of the byte under the model alone; null without a model.
/// * ended: receives 1 if the byte ends a line, else 0.
/// * verdict: receives what is said of that line; only written if one ends.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused; then the byte was not taken.
///
/// # Safety
/// As mambabyte_detector_set_share; net is null or can be read; ended and verdict may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_detector_push(
    memory: *mut c_void,
    byte: u8,
    bits: u32,
    net: *const u32,
    ended: *mut u8,
    verdict: *mut MambabyteVerdict,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (detector, own) = unsafe { detector(memory) }?;
        disjoint(&[span(ended, 1, 1)?, span(verdict, 1, 1)?, own])?;
        let net = if net.is_null() {
            None
        } else {
            disjoint(&[span(net, 1, 1)?, own])?;
            // SAFETY: the contract of this function.
            unsafe { slice(net, 1) }?.first().copied()
        };
        let said = detector.push(byte, bits, net);
        // SAFETY: checked above; writable as the contract says.
        unsafe { tell(said, ended, verdict) }
    };
    go().into()
}

/// Ends the line that is open, as at the end of the stream: as mambabyte_detector_push.
///
/// # Safety
/// As mambabyte_detector_push.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_detector_finish(
    memory: *mut c_void,
    ended: *mut u8,
    verdict: *mut MambabyteVerdict,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (detector, own) = unsafe { detector(memory) }?;
        disjoint(&[span(ended, 1, 1)?, span(verdict, 1, 1)?, own])?;
        let said = detector.finish();
        // SAFETY: checked above; writable as the contract says.
        unsafe { tell(said, ended, verdict) }
    };
    go().into()
}

/// Writes what is said of a line, if one has ended.
///
/// # Errors
/// A null or misaligned pointer.
/// # Safety
/// If the pointers pass the checks: they may be written.
unsafe fn tell(said: Option<Verdict>, ended: *mut u8, verdict: *mut MambabyteVerdict) -> Result<(), Status> {
    if let Some(said) = said {
        // SAFETY: the caller's promise.
        unsafe { put(verdict, said.into()) }?;
    }
    // SAFETY: the caller's promise.
    unsafe { put(ended, said.is_some() as u8) }
}

/// Writes all of it, the share included: the same bytes on every machine. There is no checksum.
///
/// * out, len: at least MAMBABYTE_DETECTOR_SAVED bytes, of which so many are written.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused.
///
/// # Safety
/// As mambabyte_detector_set_share; out points to len bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_detector_save(memory: *mut c_void, out: *mut u8, len: usize) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (detector, own) = unsafe { detector(memory) }?;
        disjoint(&[span(out, len, 1)?, own])?;
        if len < SAVED {
            return Err(Status::BufferTooSmall);
        }
        // SAFETY: checked above; zeroed before it becomes a slice.
        let out = unsafe {
            out.write_bytes(0, SAVED);
            slice_mut(out, SAVED)?
        };
        detector.save(out.first_chunk_mut().ok_or(Status::BufferTooSmall)?);
        Ok(())
    };
    go().into()
}

/// Goes on where mambabyte_detector_save stopped, with the share of now.
///
/// * saved, len: exactly what mambabyte_detector_save wrote, at any address.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused; the detector is then as it was before.
///
/// # Safety
/// As mambabyte_detector_set_share; saved points to len readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_detector_load(memory: *mut c_void, saved: *const u8, len: usize) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (detector, own) = unsafe { detector(memory) }?;
        disjoint(&[span(saved, len, 1)?, own])?;
        // SAFETY: the contract of this function; nothing of it is written.
        let saved = unsafe { slice(saved, len) }?;
        detector.resume(Detector::load(saved.try_into().map_err(|_| Status::DetectorLength)?)?);
        Ok(())
    };
    go().into()
}
