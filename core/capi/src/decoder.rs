//! The decoder: its sizes, its start in memory of the caller, its steps and its snapshots.
#![allow(unsafe_code, reason = "exported C functions")]

use core::mem::MaybeUninit;

use mambabyte_core::blob::{blob_bytes, read_dims};
use mambabyte_core::{Blob, Decoder, Fingerprint};

use crate::memory::{Lent, Span, disjoint, put, slice, slice_mut, span};
use crate::status::Status;

/// Memory for state, scratch and decoder starts at a multiple of this; an array of uint64_t does.
pub const MAMBABYTE_ALIGN: usize = 8;
/// A blob starts at a multiple of this.
pub const MAMBABYTE_BLOB_ALIGN: usize = 16;
/// Elements of an array of logits.
pub const MAMBABYTE_VOCAB: usize = 256;
/// Bytes of a model's fingerprint.
pub const MAMBABYTE_FINGERPRINT: usize = 16;
/// Words of a mambabyte_decoder.
#[cfg(target_pointer_width = "64")]
pub const MAMBABYTE_DECODER_WORDS: usize = 80;
/// Words of a mambabyte_decoder.
#[cfg(target_pointer_width = "32")]
pub const MAMBABYTE_DECODER_WORDS: usize = 48;

/// A decoder in memory of the caller. Make it with mambabyte_init; do not move, copy or change it. It needs no end: stop
/// using it, and the memory is free.
#[repr(C)]
pub struct MambabyteDecoder {
    /// Private.
    pub opaque: [MaybeUninit<u64>; MAMBABYTE_DECODER_WORDS],
}

/// What a model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MambabyteSizes {
    /// Bytes of the whole blob, as its header says.
    pub blob_bytes: u64,
    /// Bytes of state memory.
    pub state_bytes: usize,
    /// Bytes of scratch memory.
    pub scratch_bytes: usize,
    /// Bytes of a snapshot.
    pub snapshot_bytes: usize,
}

/// What lies in a [`MambabyteDecoder`].
#[repr(C)]
struct Inner {
    magic: u64,
    /// Where it was initialised: a moved decoder is refused, for its copy would use the same memory.
    address: usize,
    blob: Span,
    state: Span,
    scratch: Span,
    decoder: Decoder<'static, Lent<i16>, Lent<i32>>,
}

const MAGIC: u64 = u64::from_le_bytes(*b"MBdecod\x01");

const _: () = assert!(size_of::<Inner>() <= size_of::<MambabyteDecoder>(), "raise MAMBABYTE_DECODER_WORDS");
const _: () = assert!(align_of::<Inner>() <= align_of::<MambabyteDecoder>());
const _: () = assert!(align_of::<MambabyteDecoder>() <= MAMBABYTE_ALIGN);
const _: () = assert!(MAMBABYTE_BLOB_ALIGN == mambabyte_core::blob::ALIGN && MAMBABYTE_VOCAB == mambabyte_core::VOCAB);

/// The addresses of the decoder itself.
fn own_span(decoder: *const MambabyteDecoder) -> Result<Span, Status> {
    span(decoder, 1, MAMBABYTE_ALIGN)
}

/// The decoder that was initialised at this address.
///
/// # Errors
/// A null or misaligned pointer; [`Status::NotInitialised`].
/// # Safety
/// If the pointer passes the checks: a whole `MambabyteDecoder` can be read and written there, its first 16 bytes are
/// initialised, and no other thread uses it during `'a`.
unsafe fn inner<'a>(decoder: *mut MambabyteDecoder) -> Result<&'a mut Inner, Status> {
    own_span(decoder)?;
    let inner = decoder.cast::<Inner>();
    // SAFETY: aligned and readable; any bits are a valid integer.
    let (magic, address) = unsafe { ((&raw const (*inner).magic).read(), (&raw const (*inner).address).read()) };
    if magic != MAGIC || address != decoder as usize {
        return Err(Status::NotInitialised);
    }
    // SAFETY: `mambabyte_init` wrote a whole `Inner` here: nothing else writes these two words.
    Ok(unsafe { &mut *inner })
}

/// The fingerprint of a decoder's model.
///
/// # Errors
/// As [`inner`].
/// # Safety
/// As [`inner`].
pub(crate) unsafe fn fingerprint(decoder: *mut MambabyteDecoder) -> Result<Fingerprint, Status> {
    // SAFETY: the caller's promise.
    Ok(unsafe { inner(decoder) }?.decoder.blob().fingerprint())
}

/// What a decoder's model says of texts that it does not know.
///
/// # Errors
/// As [`inner`].
/// # Safety
/// As [`inner`].
pub(crate) unsafe fn unknown_text(decoder: *mut MambabyteDecoder) -> Result<u16, Status> {
    // SAFETY: the caller's promise.
    Ok(unsafe { inner(decoder) }?.decoder.blob().unknown_text())
}

/// Reads the header of a blob and says what memory the model needs. Checks the header only, not the checksums;
/// mambabyte_init checks everything.
///
/// * blob: at least its first 128 bytes, at any address.
///
/// Returns MAMBABYTE_STATUS_OK, or why the pointers or the header were refused.
///
/// # Safety
/// blob points to blob_len readable bytes; sizes may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_sizes(blob: *const u8, blob_len: usize, sizes: *mut MambabyteSizes) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let bytes = unsafe { slice(blob, blob_len) }?;
        let dims = read_dims(bytes)?;
        let found = MambabyteSizes {
            blob_bytes: blob_bytes(&dims),
            state_bytes: dims.state_bytes(),
            scratch_bytes: dims.scratch_bytes(),
            snapshot_bytes: dims.snapshot_bytes(),
        };
        // SAFETY: the contract of this function.
        unsafe { put(sizes, found) }
    };
    go().into()
}

/// Checks a blob and starts a decoder at the zero state.
///
/// * decoder: where to start it; what was there before is irrelevant.
/// * blob: at a multiple of MAMBABYTE_BLOB_ALIGN, blob_len exactly its length. It is used in place, from flash or RAM.
/// * state, scratch: at multiples of MAMBABYTE_ALIGN, at least as long as mambabyte_sizes says. Any contents; more is
///   not used. Scratch may be used for other things between calls, if the logits are not needed any more.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused. All pointers are checked first, overlaps too: if one is refused,
/// nothing was written, and a decoder that was there before goes on. If the model or the size of the memory is refused,
/// there is no decoder any more. Takes one pass over the blob.
///
/// # Safety
/// All ranges are there, decoder, state and scratch writable. Blob, state and scratch stay where they are, and nobody
/// else writes blob and state, until the decoder is used no more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_init(
    decoder: *mut MambabyteDecoder,
    blob: *const u8,
    blob_len: usize,
    state: *mut core::ffi::c_void,
    state_bytes: usize,
    scratch: *mut core::ffi::c_void,
    scratch_bytes: usize,
) -> Status {
    let go = || -> Result<(), Status> {
        let (state, scratch) = (state.cast::<u8>(), scratch.cast::<u8>());
        let own = own_span(decoder)?;
        let model = span(blob, blob_len, 1)?;
        let all_state = span(state, state_bytes, MAMBABYTE_ALIGN)?;
        let all_scratch = span(scratch, scratch_bytes, MAMBABYTE_ALIGN)?;
        disjoint(&[own, model, all_state, all_scratch])?;
        // SAFETY: writable as the contract says, and no part of the blob. A decoder that is started again is not valid
        // until this is done.
        unsafe { (&raw mut (*decoder.cast::<Inner>()).magic).write(0) };
        // SAFETY: the contract of this function; nothing that is written overlaps it.
        let parsed = Blob::parse(unsafe { slice::<u8>(blob, blob_len) }?)?;
        let dims = *parsed.dims();
        if state_bytes < dims.state_bytes() {
            return Err(Status::StateTooSmall);
        }
        if scratch_bytes < dims.scratch_bytes() {
            return Err(Status::ScratchTooSmall);
        }
        // SAFETY: long enough, writable and no part of anything else; bytes of zero are numbers.
        let (state, scratch) = unsafe {
            state.write_bytes(0, dims.state_bytes());
            scratch.write_bytes(0, dims.scratch_bytes());
            (Lent::new(state.cast(), dims.state_len())?, Lent::new(scratch.cast(), dims.scratch_len())?)
        };
        let (state_span, scratch_span) = (state.span(), scratch.span());
        let ready = Inner {
            magic: MAGIC,
            address: decoder as usize,
            blob: model,
            state: state_span,
            scratch: scratch_span,
            decoder: Decoder::new(parsed, state, scratch)?,
        };
        // SAFETY: `Inner` fits in size and alignment (asserted above).
        unsafe { decoder.cast::<Inner>().write(ready) };
        Ok(())
    };
    go().into()
}

/// Reads one byte of the stream.
///
/// * logits: receives a pointer to MAMBABYTE_VOCAB logits of the next byte, log2 units with 16 fractional bits. They lie in
///   the scratch memory and are valid until the next call with this decoder. May be null.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused; then the byte was not read.
///
/// # Safety
/// decoder as mambabyte_init left it; no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_step(decoder: *mut MambabyteDecoder, byte: u8, logits: *mut *const i32) -> Status {
    // SAFETY: the contract of this function.
    unsafe { read(decoder, &[byte], logits) }.into()
}

/// Reads many bytes: as mambabyte_step for each, but the logits are computed after the last one only.
///
/// * bytes, len: at least one byte; not in the memory of the decoder.
/// * logits: as for mambabyte_step.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused; then no byte was read.
///
/// # Safety
/// As mambabyte_step; bytes points to len readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_prefill(
    decoder: *mut MambabyteDecoder,
    bytes: *const u8,
    len: usize,
    logits: *mut *const i32,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let this = unsafe { inner(decoder) }?;
        disjoint(&[span(bytes, len, 1)?, own_span(decoder)?, this.state, this.scratch])?;
        // SAFETY: the contract of this function; the step writes none of it.
        unsafe { read(decoder, slice(bytes, len)?, logits) }
    };
    go().into()
}

/// The common part of step and prefill. Everything is checked before a byte is read.
///
/// # Errors
/// See the two.
/// # Safety
/// As [`mambabyte_prefill`].
unsafe fn read(decoder: *mut MambabyteDecoder, bytes: &[u8], logits: *mut *const i32) -> Result<(), Status> {
    // SAFETY: the caller's promise.
    let this = unsafe { inner(decoder) }?;
    if !logits.is_null() {
        disjoint(&[span(logits, 1, 1)?, own_span(decoder)?, this.state, this.scratch, this.blob])?;
    }
    let found = this.decoder.prefill(bytes).ok_or(Status::Empty)?;
    if !logits.is_null() {
        // SAFETY: checked above; writable as the caller promises.
        unsafe { put(logits, found.as_ptr()) }?;
    }
    Ok(())
}

/// Back to the state before the first byte.
///
/// Returns MAMBABYTE_STATUS_OK, or why the decoder was refused.
///
/// # Safety
/// As mambabyte_step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_reset(decoder: *mut MambabyteDecoder) -> Status {
    // SAFETY: the contract of this function.
    let found = unsafe { inner(decoder) };
    found.map(|this| this.decoder.state_mut().reset()).into()
}

/// Bytes read since the zero state, through snapshots too.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused.
///
/// # Safety
/// As mambabyte_step; position may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_position(decoder: *mut MambabyteDecoder, position: *mut u64) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let this = unsafe { inner(decoder) }?;
        disjoint(&[span(position, 1, 1)?, own_span(decoder)?, this.state, this.scratch, this.blob])?;
        // SAFETY: checked just now; writable as the contract says.
        unsafe { put(position, this.decoder.state().position()) }
    };
    go().into()
}

/// Copies the model's fingerprint: 128 bits that name it.
///
/// * fingerprint: MAMBABYTE_FINGERPRINT bytes.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused.
///
/// # Safety
/// As mambabyte_step; fingerprint may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_fingerprint(decoder: *mut MambabyteDecoder, fingerprint: *mut u8) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let this = unsafe { inner(decoder) }?;
        let out = span(fingerprint, MAMBABYTE_FINGERPRINT, 1)?;
        disjoint(&[out, own_span(decoder)?, this.state, this.scratch, this.blob])?;
        // SAFETY: checked just now; writable as the contract says.
        unsafe { put(fingerprint.cast(), this.decoder.blob().fingerprint()) }
    };
    go().into()
}

/// Writes a snapshot of the state: with position, fingerprint and checksum, the same bytes on every machine.
///
/// * out, len: at least snapshot_bytes of mambabyte_sizes; not in the memory of the decoder.
/// * written: receives the bytes written. May be null.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused.
///
/// # Safety
/// As mambabyte_step; out points to len bytes that may be written, written is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_snapshot_save(
    decoder: *mut MambabyteDecoder,
    out: *mut u8,
    len: usize,
    written: *mut usize,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let this = unsafe { inner(decoder) }?;
        let buffer = span(out, len, 1)?;
        disjoint(&[buffer, own_span(decoder)?, this.state, this.scratch, this.blob])?;
        if !written.is_null() {
            disjoint(&[span(written, 1, 1)?, buffer, own_span(decoder)?, this.state, this.scratch, this.blob])?;
        }
        let need = this.decoder.blob().dims().snapshot_bytes();
        if len < need {
            return Err(Status::BufferTooSmall);
        }
        // SAFETY: the contract of this function. Only the part that is written is borrowed; C may leave it
        // uninitialised, so it is zeroed before it becomes a slice.
        let buffer = unsafe {
            out.write_bytes(0, need);
            slice_mut(out, need)?
        };
        let bytes = this.decoder.state().snapshot(buffer)?;
        if !written.is_null() {
            // SAFETY: checked above; writable as the contract says.
            unsafe { put(written, bytes) }?;
        }
        Ok(())
    };
    go().into()
}

/// Continues from a snapshot, bit for bit as if never stopped.
///
/// * snapshot, len: exactly what mambabyte_snapshot_save wrote, at any address; not in the memory of the decoder.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused: a snapshot of another model, a damaged one, one that was cut off,
/// one with sections beside the state, such as `mambabyte stream --save-state` writes. The state is then as it was before.
///
/// # Safety
/// As mambabyte_step; snapshot points to len readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_snapshot_load(
    decoder: *mut MambabyteDecoder,
    snapshot: *const u8,
    len: usize,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let this = unsafe { inner(decoder) }?;
        disjoint(&[span(snapshot, len, 1)?, own_span(decoder)?, this.state, this.scratch])?;
        // SAFETY: the contract of this function; `restore` writes none of it.
        let bytes = unsafe { slice(snapshot, len) }?;
        Ok(this.decoder.state_mut().restore(bytes)?)
    };
    go().into()
}
