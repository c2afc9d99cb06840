//! Snapshots: a stream saved as bytes, in sections.
//!
//! A snapshot holds what a stream needs to resume at the next byte as if it had never stopped. The state of the model
//! is always in it, empty if there is no model; a stream that is scored adds its pending byte and its line scorer, one
//! that is adapted to its adapter, a device the number of its records. Each is a *section* with a kind, a version and a length of its own. Little-endian:
//!
//! | offset | type | field |
//! |---|---|---|
//! | 0 | `[u8; 4]` | magic `MBS\x1a` |
//! | 4 | u16 | version, 2 |
//! | 6 | u16 | reserved, zero |
//! | 8 | `[u8; 16]` | fingerprint of the model |
//! | 24 | u64 | position: bytes read since the zero state |
//! | 32 | u32 | bytes of the whole snapshot |
//! | 36 | u32 | CRC-32 of bytes 0..36 and of all bytes from 40 on |
//! | 40 | sections | in ascending order of kind: u16 kind, u16 version, u32 bytes of data, data |
//!
//! [`SectionKind`] lists the kinds. Between sections there is nothing, so a state's elements are not aligned in a file.
//!
//! # Nothing is dropped silently
//!
//! A reader says which [`Sections`] it takes. It gets these, whole and of a version that it reads, or an error that
//! names the section: one that it does not know, one that it does not take, or one that is missing. No section says of
//! itself that a reader may skip it. A stream that resumes without its line scorer or without its adapter looks
//! healthy and gives other numbers; only the caller can decide that this does not matter, and says so by
//! [`Sections::judged_or_not`].
//!
//! # In flash
//!
//! [`flash`](crate::flash) writes the state in pieces between bytes, so the order of bytes there is another one. The
//! sections that come after the state are the same, byte for byte.

mod error;
mod section;

use crate::blob::{CRC32, Fingerprint, array_at};
use crate::cannot::never;
pub use error::{StateError, VERSION};
#[cfg(feature = "flash")]
pub(crate) use section::after_head;
use section::{Found, parse, write};
pub use section::{HEADER, SECTION_HEAD, Section, SectionKind, Sections};

const MAGIC: [u8; 4] = *b"MBS\x1a";
/// Bytes of the header before the checksum.
const SUMMED: usize = HEADER - 4;

/// A snapshot that is whole: every byte of it was checked once.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    fingerprint: Fingerprint,
    position: u64,
    found: Found<'a>,
}

impl<'a> Snapshot<'a> {
    /// Reads a snapshot that has the sections `takes`, no fewer and no others. `bytes` is exactly the snapshot, at any
    /// address.
    ///
    /// # Errors
    /// In this order: [`StateError::BadMagic`], [`StateError::UnsupportedVersion`], [`StateError::Length`] (cut off, or
    /// followed by something), [`StateError::Checksum`], [`StateError::Reserved`], then what is wrong with a section.
    /// Whose model it is and how long its state is are checked by [`State::load`](crate::State::load).
    /// # Cost
    /// The checksum: one pass over the bytes.
    pub fn parse(bytes: &'a [u8], takes: Sections) -> Result<Self, StateError> {
        let too_short = StateError::Length { expected: HEADER, found: bytes.len() };
        // A file of another kind gets that error, even if it is too short.
        match bytes.first_chunk() {
            Some(magic) if *magic == MAGIC => {}
            Some(_) => return Err(StateError::BadMagic),
            None => return Err(too_short),
        }
        if let Some(&version) = bytes.get(4..).and_then(<[u8]>::first_chunk) {
            let found = u16::from_le_bytes(version);
            if found != VERSION {
                return Err(StateError::UnsupportedVersion { found });
            }
        }
        let Some((header, sections)) = bytes.split_first_chunk::<HEADER>() else { return Err(too_short) };
        let expected = u32::from_le_bytes(array_at(header, 32)) as usize;
        if expected != bytes.len() {
            return Err(StateError::Length { expected, found: bytes.len() });
        }
        let (stored, computed) = (u32::from_le_bytes(array_at(header, SUMMED)), checksum(header, sections));
        if stored != computed {
            return Err(StateError::Checksum { stored, computed });
        }
        let reserved = u16::from_le_bytes(array_at(header, 6));
        if reserved != 0 {
            return Err(StateError::Reserved { found: reserved });
        }
        let position = u64::from_le_bytes(array_at(header, 24));
        Ok(Self { fingerprint: array_at(header, 8), position, found: parse(sections, takes)? })
    }

    /// Fingerprint of the model.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Bytes read since the zero state.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The elements of the state, i16 each, little-endian.
    ///
    /// # Errors
    /// [`StateError::MissingSection`] if it was not asked for.
    pub fn state(&self) -> Result<&'a [u8], StateError> {
        self.found.state()
    }

    /// The byte that the state has not read yet.
    ///
    /// # Errors
    /// [`StateError::MissingSection`] if it was not asked for.
    pub fn pending(&self) -> Result<u8, StateError> {
        self.found.pending()
    }

    /// What [`LineScorer::save`](crate::LineScorer::save) wrote.
    ///
    /// # Errors
    /// [`StateError::MissingSection`] if it was not asked for.
    pub fn lines(&self) -> Result<&'a [u8; crate::lines::SAVED], StateError> {
        self.found.lines()
    }

    /// What [`Adapter::save`](crate::adapt::Adapter::save) wrote, of the preset that was asked for.
    ///
    /// # Errors
    /// [`StateError::MissingSection`] if it was not asked for.
    pub fn adapter(&self) -> Result<&'a [u8], StateError> {
        self.found.adapter()
    }

    /// Records that a device has sent.
    ///
    /// # Errors
    /// [`StateError::MissingSection`] if it was not asked for.
    pub fn records(&self) -> Result<u32, StateError> {
        self.found.records()
    }

    /// What [`LineScorer::save`](crate::LineScorer::save) wrote of the net's own surprises.
    ///
    /// # Errors
    /// [`StateError::MissingSection`] if it was not asked for.
    pub fn net_lines(&self) -> Result<&'a [u8; crate::lines::SAVED], StateError> {
        self.found.net_lines()
    }

    /// What [`Detector::save`](crate::detect::Detector::save) wrote.
    ///
    /// # Errors
    /// [`StateError::MissingSection`] if it was not asked for.
    pub fn detector(&self) -> Result<&'a [u8; crate::detect::SAVED], StateError> {
        self.found.detector()
    }
}

/// Writes a snapshot of the state `elements` with the sections `beside` it; returns its length.
pub(crate) fn save(
    out: &mut [u8],
    fingerprint: Fingerprint,
    position: u64,
    elements: &[i16],
    beside: &mut [Section<'_>],
) -> Result<usize, StateError> {
    let mut state = Section::State(elements);
    let need = HEADER + state.bytes() + beside.iter().map(Section::bytes).sum::<usize>();
    let error = StateError::TooSmall { what: "snapshot buffer", need, have: out.len() };
    let out = out.get_mut(..need).ok_or(error)?;
    let (header, sections) = out.split_first_chunk_mut::<HEADER>().ok_or(error)?;
    let (first, rest) = sections.split_at_mut_checked(state.bytes()).ok_or(error)?;
    state.write(first).ok_or(error)?;
    write(rest, state.kind() as u16, beside)?;
    // All fields of the header in order, without the checksum.
    let fields = MAGIC.into_iter().chain(VERSION.to_le_bytes()).chain([0; 2]).chain(fingerprint);
    let fields = fields.chain(position.to_le_bytes()).chain((need as u32).to_le_bytes());
    header.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    let crc = checksum(header, sections).to_le_bytes();
    header.iter_mut().skip(SUMMED).zip(crc).for_each(|(to, from)| *to = from);
    Ok(need)
}

fn checksum(header: &[u8; HEADER], sections: &[u8]) -> u32 {
    let mut digest = CRC32.digest();
    digest.update(header.get(..SUMMED).unwrap_or_else(|| never("the header is longer than its summed part", &[])));
    digest.update(sections);
    digest.finalize()
}
