//! Snapshots in flash that survive a power cut at any instant, written between the bytes of a stream.
//!
//! Two slots take turns. A snapshot goes to the one that does not hold the newest; its last write is the commit block,
//! and until that is whole the other slot counts. After a cut [`Slots::restore`] therefore finds the newest complete
//! snapshot, and the caller needs the bytes since its position, no others.
//!
//! # A snapshot of a state that moves on
//!
//! It would be easy to copy the state, or to stop the stream until all of it is written, but both cost too much: a chip
//! has no RAM for a second state, and flash takes 10 to 40 us for a word. Instead the state is written in *pieces*, one
//! after each byte, in the order of its memory: piece 0 as it is at position `p`, piece 1 at `p + 1`, and so on. With
//! each piece goes the byte that the model read just before.
//!
//! That is a complete snapshot, because a step flows through the state in the order of its memory. A layer reads what
//! the layers before it gave; in a layer the scan reads what the convolution gave; an element of `h` reads no other
//! element of `h`. So a piece depends on itself and on earlier pieces only, as long as no piece begins inside a layer's
//! convolution columns. To restore: load piece 0, read byte 1, load piece 1, read byte 2, and so on. What a step does
//! to pieces that are not loaded yet is wrong and is overwritten when they are; what it does to loaded ones is right,
//! bit for bit. After the last byte all of the state is that of one position.
//!
//! ```text
//! position     p    p+1  p+2  ...  p+K
//! piece 0      W    .    .         .       W: written at this position
//! piece 1      -    W    .         .       .: follows from the column before, and from the rows above
//! piece 2      -    -    W         .       -: not needed
//! sections     -    -    -         W       what the stream adds: exactly at position p+K
//! ```
//!
//! What the stream adds are the [sections](crate::snapshot) of a snapshot that come after the state, byte for byte. The
//! first block of a slot says which there are and how long they are, so that a program that takes others refuses the
//! snapshot and names the section.
//!
//! # Cost
//!
//! RAM: [`Slots`] itself, about 100 bytes, no copy of the state. Time: at most one piece ([`Layout::piece_bytes`]), the
//! sections or one erased sector after a byte. Restoring takes one step for each piece.
//!
//! # Why no crate for it
//!
//! `sequential-storage` and `ekv` store an item from one buffer by one call. That needs the copy of the state and the
//! stop of the stream that this module avoids. Both crates are async. The traits of `embedded-storage` are used, so any
//! driver fits.
//!
//! # What it relies on
//!
//! * No word is programmed twice between two erasures: [`NorFlash`] is enough, even for flash with ECC.
//! * A cut leaves any bits in the words that were being programmed and in the sector that was being erased. They are
//!   recognised by CRC-32 and by the commit block, 256 bits of which each must be right. A slot is always erased before
//!   it is written: it is never trusted to be empty.
//! * The bits stay what they are. A word whose programming was cut may, on silicon, read differently from time to time;
//!   if that is the last word of a commit block, one start may see the snapshot and the next may not.
//! * Every record is read back after it was written; if it is not what was written, the snapshot is given up
//!   ([`FlashError::Worn`]) and the older one stays.
//!
//! The layout is in `core/FORMAT.md`. No allocation, no panic.

mod blocks;
mod error;
mod layout;
mod reader;
mod stream;

use core::ops::DerefMut;

use embedded_storage::nor_flash::NorFlash;

use crate::blob::{Blob, Fingerprint};
use crate::cannot::never;
use crate::snapshot::Sections;
use crate::state::{ModelId, State, StateError};
use crate::step::Decoder;
use blocks::{BLOCK, Head, Name, read_record, write_block, write_record};
pub use error::FlashError;
pub use layout::Layout;
use reader::Reader;
pub use stream::{STREAM, load_stream, save_stream};

/// What [`Slots::after_step`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Progress {
    /// Nothing; it is not time yet.
    Idle,
    /// Nothing: a sector has to be erased, and the caller said that this is no moment for it.
    WouldErase,
    /// A sector was erased or a piece was written.
    Working,
    /// The snapshot is complete; a start from now on finds it.
    Complete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// The next sector to erase.
    Erase(u32),
    /// The next piece to write; after the last one of the state come the sections.
    Piece(usize),
}

/// Two slots in a flash, and the snapshot that is being written. With the state go `N` bytes of sections:
/// [`Sections::beside_state`].
#[derive(Debug)]
pub struct Slots<F, const N: usize> {
    flash: F,
    layout: Layout,
    fingerprint: Fingerprint,
    sections: Sections,
    /// Bytes of a slot, whole sectors.
    slot: u32,
    /// Where the next snapshot goes.
    next: u32,
    /// Number of the last snapshot that was seen or begun.
    sequence: u32,
    every: u32,
    waited: u32,
    phase: Phase,
}

impl<F: NorFlash, const N: usize> Slots<F, N> {
    /// As [`Slots::new`], for a stream without a model: the adapter alone reads it. To be followed by
    /// [`Slots::restore_without_model`].
    ///
    /// # Errors
    /// As [`Slots::new`].
    pub fn without_model(flash: F, sections: Sections, every: u32) -> Result<Self, FlashError<F::Error>> {
        Self::of(flash, Layout::NONE, ModelId::NONE.fingerprint(), sections, every)
    }

    /// Two slots at the start of `flash` for snapshots of the model `blob` with `sections`, one each `every` bytes.
    ///
    /// To be followed by [`Slots::restore`], which finds out which slot is free.
    ///
    /// # Errors
    /// [`FlashError::Geometry`] if the flash is too small or has words or sectors of an odd size, if `every` is
    /// shorter than it takes to write a snapshot, or if `N` is not the length of `sections` beside the state.
    pub fn new(flash: F, blob: &Blob<'_>, sections: Sections, every: u32) -> Result<Self, FlashError<F::Error>> {
        Self::of(flash, Layout::new(blob.dims()), blob.fingerprint(), sections, every)
    }

    fn of(
        flash: F,
        layout: Layout,
        fingerprint: Fingerprint,
        sections: Sections,
        every: u32,
    ) -> Result<Self, FlashError<F::Error>> {
        const { assert!(N <= 32 * 65_000, "their length in blocks has to fit 16 bits") };
        let geometry = |what, need, have| Err(FlashError::Geometry { what, need, have });
        for (what, size) in [("bytes of a read", F::READ_SIZE), ("bytes of a word", F::WRITE_SIZE)] {
            if size == 0 || !BLOCK.is_multiple_of(size) {
                return geometry(what, BLOCK, size);
            }
        }
        if F::ERASE_SIZE == 0 || !F::ERASE_SIZE.is_multiple_of(BLOCK) {
            return geometry("bytes of a sector", BLOCK, F::ERASE_SIZE);
        }
        if N != sections.beside_state() {
            return geometry("bytes of the sections", sections.beside_state(), N);
        }
        let sectors = layout.slot_bytes(N).div_ceil(F::ERASE_SIZE);
        let (need, have) = (2 * sectors * F::ERASE_SIZE, flash.capacity());
        if have < need || need > u32::MAX as usize {
            return geometry("bytes of two slots", need, have);
        }
        let steps = sectors + layout.pieces() + 1;
        if (every as usize) < steps {
            return geometry("bytes between snapshots", steps, every as usize);
        }
        let slot = (need / 2) as u32;
        let phase = Phase::Idle;
        Ok(Self { flash, layout, fingerprint, sections, slot, next: 0, sequence: 0, every, waited: 0, phase })
    }

    /// The pieces.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes of flash that one slot takes, in whole sectors.
    pub const fn slot_bytes(&self) -> u32 {
        self.slot
    }

    /// The flash itself.
    pub const fn flash(&self) -> &F {
        &self.flash
    }

    /// Gives the flash back; a snapshot that is being written is given up.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// Sets `decoder` to the newest complete snapshot and `beside` to the sections that were saved with it, and returns
    /// the number of bytes read until then, [`State::position`]. `None`, and the zero state, if there is no complete
    /// snapshot; what is in `beside` then, and after an error, is meaningless.
    ///
    /// A complete snapshot that has been damaged since is skipped, and the other slot's is used.
    ///
    /// # Errors
    /// [`FlashError::State`] if a snapshot belongs to another model, has another format or other sections;
    /// [`FlashError::Driver`] if the flash cannot be read. The decoder is then at the zero state.
    /// # Cost
    /// One step for each piece.
    pub fn restore<M, S>(
        &mut self,
        decoder: &mut Decoder<'_, M, S>,
        beside: &mut [u8; N],
    ) -> Result<Option<u64>, FlashError<F::Error>>
    where
        M: DerefMut<Target = [i16]>,
        S: DerefMut<Target = [i32]>,
    {
        self.restore_into(decoder, beside)
    }

    /// As [`Slots::restore`], for a stream without a model.
    ///
    /// # Errors
    /// As [`Slots::restore`].
    pub fn restore_without_model(&mut self, beside: &mut [u8; N]) -> Result<Option<u64>, FlashError<F::Error>> {
        self.restore_into(&mut State::without_model(), beside)
    }

    fn restore_into(
        &mut self,
        reader: &mut impl Reader,
        beside: &mut [u8; N],
    ) -> Result<Option<u64>, FlashError<F::Error>> {
        reader.reset();
        (self.phase, self.waited, self.next, self.sequence) = (Phase::Idle, 0, 0, 0);
        let (found, expected) = (reader.fingerprint(), self.fingerprint);
        if found != expected {
            return Err(FlashError::State(StateError::ForeignModel { expected, found }));
        }
        let slots = [self.complete(0)?, self.complete(1)?];
        let newer = |a: u32, b: u32| (a.wrapping_sub(b) as i32) > 0;
        let order = match slots {
            [Some(first), Some(second)] if newer(first.sequence(), second.sequence()) => [0, 1],
            [Some(_), None] => [0, 1],
            _ => [1, 0],
        };
        for index in order {
            let Some(name) = (if index == 0 { slots[0] } else { slots[1] }) else { continue };
            if self.sequence == 0 || newer(name.sequence(), self.sequence) {
                self.sequence = name.sequence();
            }
            match self.load(index, &name, reader, beside) {
                Ok(true) => {
                    self.next = 1 - index;
                    return Ok(Some(reader.position()));
                }
                Ok(false) => {}
                Err(error) => {
                    reader.reset();
                    return Err(error);
                }
            }
        }
        reader.reset();
        Ok(None)
    }

    /// Erases both slots, whatever they hold. Takes the time of all their sectors.
    ///
    /// # Errors
    /// [`FlashError::Driver`].
    pub fn clear(&mut self) -> Result<(), FlashError<F::Error>> {
        self.phase = Phase::Idle;
        self.flash.erase(0, 2 * self.slot).map_err(FlashError::Driver)
    }

    /// To be called after each step with the byte that was stepped (not the one that is pending): when it is time, does
    /// the next part of a snapshot. `save` is called when the sections are written; they belong to this position. It
    /// writes them to `beside`, the caller's memory: with an adapter they are too many for the stack of a chip.
    ///
    /// `quiet` says that a sector may be erased now. Where the chip stands still meanwhile, the caller first makes sure
    /// that nothing arrives. Parts that erase nothing ignore it.
    ///
    /// # Errors
    /// Any but [`FlashError::State`]. The snapshot is then given up, the other slot is as it was, and the next attempt
    /// comes when it is time again.
    /// # Cost
    /// One piece ([`Layout::piece_bytes`]), the sections or one erased sector.
    pub fn after_step<M: DerefMut<Target = [i16]>>(
        &mut self,
        state: &State<M>,
        fed: u8,
        quiet: bool,
        beside: &mut [u8; N],
        save: impl FnOnce(&mut [u8; N]),
    ) -> Result<Progress, FlashError<F::Error>> {
        self.waited = self.waited.saturating_add(1);
        if self.phase == Phase::Idle {
            if self.waited < self.every {
                return Ok(Progress::Idle);
            }
            self.waited = 0;
            self.sequence = self.sequence.wrapping_add(1);
            self.phase = Phase::Erase(0);
        }
        let done = match self.phase {
            Phase::Erase(_) if !quiet => return Ok(Progress::WouldErase),
            Phase::Erase(sector) => self.erase(sector),
            Phase::Piece(index) if index < self.layout.pieces() => self.write_piece(index, state, fed),
            _ => self.finish(Head { fed, position: state.position() }, beside, save),
        };
        if done.is_err() {
            self.phase = Phase::Idle;
        }
        done
    }

    fn name(&self) -> Name {
        Name::new(self.sequence, self.fingerprint, self.sections, N)
    }

    fn erase(&mut self, sector: u32) -> Result<Progress, FlashError<F::Error>> {
        let size = F::ERASE_SIZE as u32;
        let at = sector * size;
        let start = self.next * self.slot + at;
        self.flash.erase(start, start + size).map_err(FlashError::Driver)?;
        self.phase = if at + size < self.slot { Phase::Erase(sector + 1) } else { Phase::Piece(0) };
        Ok(Progress::Working)
    }

    #[inline(never)]
    fn write_piece<M: DerefMut<Target = [i16]>>(
        &mut self,
        index: usize,
        state: &State<M>,
        fed: u8,
    ) -> Result<Progress, FlashError<F::Error>> {
        let (name, slot) = (self.name(), self.next * self.slot);
        if index == 0 {
            write_block(&mut self.flash, slot, &name.header())?;
        }
        let elements = state.as_slice().get(self.layout.elements(index));
        let elements = elements.unwrap_or_else(|| never("the pieces tile the state", &[]));
        let head = Head { fed, position: state.position() };
        let at = slot + self.layout.offset(index) as u32;
        write_record(&mut self.flash, at, &name, index as u32, head, bytemuck::cast_slice(elements))?;
        self.phase = Phase::Piece(index + 1);
        Ok(Progress::Working)
    }

    #[inline(never)]
    fn finish(
        &mut self,
        head: Head,
        beside: &mut [u8; N],
        save: impl FnOnce(&mut [u8; N]),
    ) -> Result<Progress, FlashError<F::Error>> {
        save(beside);
        let (name, slot, index) = (self.name(), self.next * self.slot, self.layout.pieces());
        if index == 0 {
            // Without a model nothing was written before.
            write_block(&mut self.flash, slot, &name.header())?;
        }
        let at = slot + self.layout.offset(index) as u32;
        write_record(&mut self.flash, at, &name, index as u32, head, beside)?;
        write_block(&mut self.flash, slot + self.layout.commit(N) as u32, &name.commit())?;
        self.next = 1 - self.next;
        self.phase = Phase::Idle;
        Ok(Progress::Complete)
    }

    /// The name of the snapshot in a slot if its commit block is there.
    fn complete(&mut self, index: u32) -> Result<Option<Name>, FlashError<F::Error>> {
        let slot = index * self.slot;
        let mut block = [0; BLOCK];
        self.flash.read(slot, &mut block).map_err(FlashError::Driver)?;
        let Some(name) = Name::parse(&block) else { return Ok(None) };
        // The place of its commit block is not known if it is of another kind: it is refused, whether complete or not.
        if let Err(error) = name.check(self.fingerprint, self.sections, N) {
            return Err(FlashError::State(error));
        }
        self.flash.read(slot + self.layout.commit(N) as u32, &mut block).map_err(FlashError::Driver)?;
        Ok((block == name.commit()).then_some(name))
    }

    /// Whether the snapshot in a slot is whole; the reader and `beside` then hold it.
    fn load(
        &mut self,
        index: u32,
        name: &Name,
        reader: &mut impl Reader,
        beside: &mut [u8; N],
    ) -> Result<bool, FlashError<F::Error>> {
        let (slot, pieces) = (index * self.slot, self.layout.pieces());
        reader.reset();
        for piece in 0..=pieces {
            let at = slot + self.layout.offset(piece) as u32;
            let head = Head::read(&mut self.flash, at)?;
            if piece > 0 {
                reader.feed(head.fed);
            }
            let data: &mut [u8] = if piece < pieces {
                let elements = reader.elements().get_mut(self.layout.elements(piece));
                bytemuck::cast_slice_mut(elements.unwrap_or_else(|| never("the pieces tile the state", &mut [])))
            } else {
                &mut beside[..]
            };
            let read = read_record(&mut self.flash, at, name, piece as u32, data.len(), data)?;
            if piece == 0 {
                reader.set_position(head.position);
            }
            if read != Some(head) || head.position != reader.position() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
