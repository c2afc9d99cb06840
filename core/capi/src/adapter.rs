//! The adapter: learns the stream in memory of the caller.
//!
//! A preset is code of its own, behind the function that starts it: a program that starts 8K only has no other one, if
//! its linker drops what nobody calls (`--gc-sections`). The other functions find the preset in the memory.
#![allow(unsafe_code, reason = "exported C functions")]

use core::ffi::c_void;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use mambabyte_core::adapt::{
    Adapter, Adapter1M, Adapter4K, Adapter8K, Adapter16K, Adapter32K, Adapter64K, AdapterError, Memory, Path,
};
use mambabyte_core::archive::Primed;
use mambabyte_core::{Logits, ModelId};

use crate::decoder::{MAMBABYTE_ALIGN, MAMBABYTE_VOCAB, MambabyteDecoder, fingerprint};
use crate::logits::logits_at;
use crate::memory::{Span, disjoint, put, slice, slice_mut, span};
use crate::status::Status;

/// Bytes of memory of the adapter 4K: its tables, and what finds them.
pub const MAMBABYTE_ADAPTER_4K_BYTES: usize = 5120;
/// Bytes of memory of the adapter 8K.
pub const MAMBABYTE_ADAPTER_8K_BYTES: usize = 9216;
/// Bytes of memory of the adapter 16K.
pub const MAMBABYTE_ADAPTER_16K_BYTES: usize = 17408;
/// Bytes of memory of the adapter 32K.
pub const MAMBABYTE_ADAPTER_32K_BYTES: usize = 33792;
/// Bytes of memory of the adapter 64K.
pub const MAMBABYTE_ADAPTER_64K_BYTES: usize = 66560;
/// Bytes of memory of the adapter 1M.
pub const MAMBABYTE_ADAPTER_1M_BYTES: usize = 1050112;
/// Probabilities of a byte: one for each bit, the most significant first.
pub const MAMBABYTE_NODES: usize = 8;

/// What every adapter begins with.
#[repr(C)]
struct Head {
    magic: u64,
    /// Where it was started: a moved one is refused.
    address: usize,
    /// Bytes of all of it.
    bytes: usize,
    /// Finds the adapter behind the head.
    open: unsafe fn(*mut Head) -> *mut dyn Reads,
}

/// An adapter with its tables in memory of the caller.
#[repr(C)]
struct Whole<M: Memory> {
    head: Head,
    adapter: Adapter<Tables<M>>,
    tables: M,
}

/// Tables that lie behind their adapter.
struct Tables<M>(NonNull<M>);

impl<M> Deref for Tables<M> {
    type Target = M;
    fn deref(&self) -> &M {
        // SAFETY: `start` wrote them, beside the adapter that holds this, and nothing else refers to them.
        unsafe { self.0.as_ref() }
    }
}

impl<M> DerefMut for Tables<M> {
    fn deref_mut(&mut self) -> &mut M {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { self.0.as_mut() }
    }
}

/// An adapter of whatever preset.
trait Reads {
    fn read(&mut self, logits: Option<&Logits>, byte: u8) -> Path;
    fn node(&mut self, logits: Option<&Logits>, known: u8) -> u16;
    fn distribution(&mut self, logits: Option<&Logits>, mixed: &mut Logits);
    fn saved_bytes(&self) -> usize;
    fn save(&mut self, out: &mut [u8]) -> Result<(), AdapterError>;
    fn load(&mut self, saved: &[u8]) -> Result<(), AdapterError>;
}

impl<M: Memory> Reads for Adapter<Tables<M>> {
    fn read(&mut self, logits: Option<&Logits>, byte: u8) -> Path {
        Self::read(self, logits, byte)
    }

    fn node(&mut self, logits: Option<&Logits>, known: u8) -> u16 {
        Self::node(self, logits, known)
    }

    fn distribution(&mut self, logits: Option<&Logits>, mixed: &mut Logits) {
        Self::distribution(self, logits, mixed);
    }

    fn saved_bytes(&self) -> usize {
        M::DESIGN.saved_bytes()
    }

    fn save(&mut self, out: &mut [u8]) -> Result<(), AdapterError> {
        Self::save(self, out)
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), AdapterError> {
        Self::load(self, saved)
    }
}

const MAGIC: u64 = u64::from_le_bytes(*b"MBadapt\x01");

const _: () = {
    assert!(size_of::<Whole<Adapter4K>>() <= MAMBABYTE_ADAPTER_4K_BYTES);
    assert!(size_of::<Whole<Adapter8K>>() <= MAMBABYTE_ADAPTER_8K_BYTES);
    assert!(size_of::<Whole<Adapter16K>>() <= MAMBABYTE_ADAPTER_16K_BYTES);
    assert!(size_of::<Whole<Adapter32K>>() <= MAMBABYTE_ADAPTER_32K_BYTES);
    assert!(size_of::<Whole<Adapter64K>>() <= MAMBABYTE_ADAPTER_64K_BYTES);
    assert!(size_of::<Whole<Adapter1M>>() <= MAMBABYTE_ADAPTER_1M_BYTES);
    assert!(align_of::<Whole<Adapter1M>>() <= MAMBABYTE_ALIGN);
};

/// The adapter of a preset behind its head.
///
/// # Safety
/// `head` is the beginning of a `Whole<M>`.
unsafe fn open<M: Memory + 'static>(head: *mut Head) -> *mut dyn Reads {
    // SAFETY: as the caller promises: inside one object.
    unsafe { &raw mut (*head.cast::<Whole<M>>()).adapter }
}

/// Starts an adapter at `memory`.
///
/// # Errors
/// A null or misaligned pointer; [`Status::AdapterTooSmall`].
/// # Safety
/// If the pointer passes the checks: `bytes` bytes may be written there.
unsafe fn start<M: Memory + 'static>(memory: *mut c_void, bytes: usize, net: u8) -> Result<(), Status> {
    span(memory.cast::<u8>(), bytes, MAMBABYTE_ALIGN)?;
    if bytes < size_of::<Whole<M>>() {
        return Err(Status::AdapterTooSmall);
    }
    let whole = memory.cast::<Whole<M>>();
    // SAFETY: aligned and long enough as just checked, writable as the caller promises. The tables are written before
    // there is a reference to them.
    unsafe {
        let tables = &raw mut (*whole).tables;
        tables.write(M::ZERO);
        let adapter = Adapter::new(Tables(NonNull::new(tables).ok_or(Status::NullPointer)?), net != 0);
        (&raw mut (*whole).adapter).write(adapter);
        let head = Head { magic: MAGIC, address: memory as usize, bytes: size_of::<Whole<M>>(), open: open::<M> };
        (&raw mut (*whole).head).write(head);
    }
    Ok(())
}

/// The adapter that was started at this address, and its addresses.
///
/// # Errors
/// A null or misaligned pointer; [`Status::NotInitialised`].
/// # Safety
/// If the pointer passes the checks: as `start` left it, or at least 16 initialised bytes; no other thread uses it.
unsafe fn adapter<'a>(memory: *mut c_void) -> Result<(&'a mut dyn Reads, Span), Status> {
    let head = memory.cast::<Head>();
    span(head, 1, MAMBABYTE_ALIGN)?;
    // SAFETY: aligned and readable; any bits are a valid integer.
    let (magic, address) = unsafe { ((&raw const (*head).magic).read(), (&raw const (*head).address).read()) };
    if magic != MAGIC || address != memory as usize {
        return Err(Status::NotInitialised);
    }
    // SAFETY: `start` wrote a whole head, and behind it the adapter that `open` finds.
    unsafe {
        let (open, bytes) = ((*head).open, (*head).bytes);
        Ok((&mut *open(head), span(memory.cast::<u8>(), bytes, 1)?))
    }
}

/// The logits of a call, which may have none.
///
/// # Errors
/// A misaligned pointer; logits in the adapter's memory.
/// # Safety
/// If the pointer passes the checks: null, or 256 numbers that nobody writes during `'a`.
unsafe fn optional<'a>(logits: *const i32, own: Span) -> Result<Option<&'a Logits>, Status> {
    if logits.is_null() {
        return Ok(None);
    }
    disjoint(&[span(logits, MAMBABYTE_VOCAB, 1)?, own])?;
    // SAFETY: the caller's promise.
    unsafe { logits_at(logits) }.map(Some)
}

/// Starts the adapter 4K.
///
/// * memory: at a multiple of MAMBABYTE_ALIGN, at least MAMBABYTE_ADAPTER_4K_BYTES. Any contents.
/// * net: 0 if no logits will be given, else 1: the first weights differ.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused; then nothing was written.
///
/// # Safety
/// memory points to bytes that may be written. It stays where it is, and nobody else writes it, until the adapter is
/// used no more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_init_4k(memory: *mut c_void, bytes: usize, net: u8) -> Status {
    // SAFETY: the contract of this function.
    unsafe { start::<Adapter4K>(memory, bytes, net) }.into()
}

/// Starts the adapter 8K: as mambabyte_adapter_init_4k.
///
/// # Safety
/// As mambabyte_adapter_init_4k.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_init_8k(memory: *mut c_void, bytes: usize, net: u8) -> Status {
    // SAFETY: the contract of this function.
    unsafe { start::<Adapter8K>(memory, bytes, net) }.into()
}

/// Starts the adapter 16K: as mambabyte_adapter_init_4k.
///
/// # Safety
/// As mambabyte_adapter_init_4k.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_init_16k(memory: *mut c_void, bytes: usize, net: u8) -> Status {
    // SAFETY: the contract of this function.
    unsafe { start::<Adapter16K>(memory, bytes, net) }.into()
}

/// Starts the adapter 32K: as mambabyte_adapter_init_4k.
///
/// # Safety
/// As mambabyte_adapter_init_4k.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_init_32k(memory: *mut c_void, bytes: usize, net: u8) -> Status {
    // SAFETY: the contract of this function.
    unsafe { start::<Adapter32K>(memory, bytes, net) }.into()
}

/// Starts the adapter 64K: as mambabyte_adapter_init_4k.
///
/// # Safety
/// As mambabyte_adapter_init_4k.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_init_64k(memory: *mut c_void, bytes: usize, net: u8) -> Status {
    // SAFETY: the contract of this function.
    unsafe { start::<Adapter64K>(memory, bytes, net) }.into()
}

/// Starts the adapter 1M: as mambabyte_adapter_init_4k.
///
/// # Safety
/// As mambabyte_adapter_init_4k.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_init_1m(memory: *mut c_void, bytes: usize, net: u8) -> Status {
    // SAFETY: the contract of this function.
    unsafe { start::<Adapter1M>(memory, bytes, net) }.into()
}

/// Reads a byte and learns it.
///
/// * logits: MAMBABYTE_VOCAB logits of the model for this byte, after those before it; null without a model.
/// * nodes: receives MAMBABYTE_NODES probabilities, of each bit being 1 after those before it, the most significant bit
///   first, 16 fractional bits. May be null.
/// * bits: receives the surprise of the byte, -log2 of its probability, 16 fractional bits. May be null.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused; then nothing was learned.
///
/// # Safety
/// memory as mambabyte_adapter_init_4k or its like left it; no other thread uses it. Logits can be read; nodes and bits
/// may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_read(
    memory: *mut c_void,
    logits: *const i32,
    byte: u8,
    nodes: *mut u16,
    bits: *mut u32,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (adapter, own) = unsafe { adapter(memory) }?;
        // SAFETY: the contract of this function.
        let logits = unsafe { optional(logits, own) }?;
        if !nodes.is_null() {
            disjoint(&[span(nodes, MAMBABYTE_NODES, 1)?, own])?;
        }
        if !bits.is_null() {
            disjoint(&[span(bits, 1, 1)?, own])?;
        }
        if !nodes.is_null() && !bits.is_null() {
            disjoint(&[span(nodes, MAMBABYTE_NODES, 1)?, span(bits, 1, 1)?])?;
        }
        let path = adapter.read(logits, byte);
        if !nodes.is_null() {
            // SAFETY: checked above; writable as the contract says.
            unsafe { put(nodes.cast(), path.nodes) }?;
        }
        if !bits.is_null() {
            // SAFETY: checked above; writable as the contract says.
            unsafe { put(bits, path.surprise()) }?;
        }
        Ok(())
    };
    go().into()
}

/// The probability that a bit of the next byte is 1, 16 fractional bits, from 3 to 65533. Nothing is learned: a decoder asks
/// for each bit, and then lets mambabyte_adapter_read learn the byte.
///
/// * logits: as for mambabyte_adapter_read.
/// * known: 1 and then the bits of the byte that are known, the most significant first; 1 for the first bit.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused.
///
/// # Safety
/// As mambabyte_adapter_read; p may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_node(
    memory: *mut c_void,
    logits: *const i32,
    known: u8,
    p: *mut u16,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (adapter, own) = unsafe { adapter(memory) }?;
        disjoint(&[span(p, 1, 1)?, own])?;
        // SAFETY: the contract of this function; `p` is written when the logits are not needed any more.
        unsafe { put(p, adapter.node(optional(logits, own)?, known)) }
    };
    go().into()
}

/// The distribution of the next byte as logits, log2 units with 16 fractional bits: to sample from with mambabyte_sample, as
/// from a model's. Takes some thirty times as long as mambabyte_adapter_read. Nothing is learned.
///
/// * logits: as for mambabyte_adapter_read.
/// * mixed: receives MAMBABYTE_VOCAB numbers.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused.
///
/// # Safety
/// As mambabyte_adapter_read; mixed may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_distribution(
    memory: *mut c_void,
    logits: *const i32,
    mixed: *mut i32,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (adapter, own) = unsafe { adapter(memory) }?;
        let out = span(mixed, MAMBABYTE_VOCAB, 1)?;
        disjoint(&[out, own])?;
        if !logits.is_null() {
            disjoint(&[out, span(logits, MAMBABYTE_VOCAB, 1)?])?;
        }
        // SAFETY: checked above; writable as the contract says. C may leave it uninitialised, so it is zeroed before it
        // becomes a slice.
        unsafe {
            mixed.write_bytes(0, MAMBABYTE_VOCAB);
            let mixed = slice_mut(mixed, MAMBABYTE_VOCAB)?.first_chunk_mut().ok_or(Status::Empty)?;
            adapter.distribution(optional(logits, own)?, mixed);
        }
        Ok(())
    };
    go().into()
}

/// Bytes that mambabyte_adapter_save writes.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused.
///
/// # Safety
/// As mambabyte_adapter_read; bytes may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_saved_bytes(memory: *mut c_void, bytes: *mut usize) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (adapter, own) = unsafe { adapter(memory) }?;
        disjoint(&[span(bytes, 1, 1)?, own])?;
        // SAFETY: checked just now; writable as the contract says.
        unsafe { put(bytes, adapter.saved_bytes()) }
    };
    go().into()
}

/// Writes all that it has learned, the same bytes on every machine. There is no checksum.
///
/// * out, len: at least what mambabyte_adapter_saved_bytes says.
/// * written: receives the bytes written. May be null.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused.
///
/// # Safety
/// As mambabyte_adapter_read; out points to len bytes that may be written, written is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_save(
    memory: *mut c_void,
    out: *mut u8,
    len: usize,
    written: *mut usize,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (adapter, own) = unsafe { adapter(memory) }?;
        let buffer = span(out, len, 1)?;
        disjoint(&[buffer, own])?;
        if !written.is_null() {
            disjoint(&[span(written, 1, 1)?, buffer, own])?;
        }
        let need = adapter.saved_bytes();
        if len < need {
            return Err(Status::BufferTooSmall);
        }
        // SAFETY: checked above; zeroed before it becomes a slice.
        let buffer = unsafe {
            out.write_bytes(0, need);
            slice_mut(out, need)?
        };
        adapter.save(buffer)?;
        if !written.is_null() {
            // SAFETY: checked above; writable as the contract says.
            unsafe { put(written, need) }?;
        }
        Ok(())
    };
    go().into()
}

/// Goes on where mambabyte_adapter_save stopped: the next byte has the same probabilities.
///
/// * saved, len: exactly what mambabyte_adapter_save wrote for an adapter of this preset, at any address.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused; the adapter is then as it was before. What is damaged otherwise
/// is safe, but makes an adapter that has learned something else.
///
/// # Safety
/// As mambabyte_adapter_read; saved points to len readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_load(memory: *mut c_void, saved: *const u8, len: usize) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (adapter, own) = unsafe { adapter(memory) }?;
        disjoint(&[span(saved, len, 1)?, own])?;
        // SAFETY: the contract of this function; nothing of it is written.
        Ok(adapter.load(unsafe { slice(saved, len) }?)?)
    };
    go().into()
}

/// Begins with what `mambabyte prime` wrote: an adapter that has read a text.
///
/// * decoder: the model that gives the logits; null without a model. The adapter was primed with the same.
/// * primed, len: the whole file, at any address. All of it is checked.
///
/// Returns MAMBABYTE_STATUS_OK, or what was refused; the adapter is then as it was before.
///
/// # Safety
/// As mambabyte_adapter_read; decoder is null or as for mambabyte_step; primed points to len readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mambabyte_adapter_prime(
    memory: *mut c_void,
    decoder: *mut MambabyteDecoder,
    primed: *const u8,
    len: usize,
) -> Status {
    let go = || -> Result<(), Status> {
        // SAFETY: the contract of this function.
        let (adapter, own) = unsafe { adapter(memory) }?;
        disjoint(&[span(primed, len, 1)?, own])?;
        let model = if decoder.is_null() {
            ModelId::NONE.fingerprint()
        } else {
            // SAFETY: the contract of this function.
            unsafe { fingerprint(decoder) }?
        };
        // SAFETY: the contract of this function; nothing of it is written.
        let primed = Primed::parse(unsafe { slice(primed, len) }?)?;
        if primed.model().fingerprint() != model {
            return Err(Status::PrimedForeignModel);
        }
        Ok(adapter.load(primed.adapter())?)
    };
    go().into()
}
