//! An adapter that has read a text, in a file: to begin a stream, an archive, a chip with.
//!
//! | offset | type | field |
//! |---|---|---|
//! | 0 | `[u8; 4]` | magic `MBP\x1a` |
//! | 4 | u16 | version, 1 |
//! | 6 | u16 | reserved, zero |
//! | 8 | `[u8; 16]` | fingerprint of the model, zeros for none |
//! | 24 | `[u8; 24]` | name of the model, UTF-8, zero-padded |
//! | 48 | u64 | bytes that it has read |
//! | 56 | u32 | bytes of the whole file |
//! | 60 | u32 | CRC-32 of bytes 0..60 and of all bytes from 64 on |
//! | 64 | | the adapter, as [`Adapter::save`](crate::adapt::Adapter::save) writes it; its first byte is the preset |
//!
//! A program for a chip that has it inside parses `include_bytes!("my.mbp")`, then
//! [`Adapter::load`](crate::adapt::Adapter::load); the firmware's `stream` has it checked when it is built (`FW_PRIME`).

use super::{ArchiveError, ModelName, PRIMED_MAGIC};
use crate::adapt::{self, Design, preset};
use crate::blob::{CRC32, array_at};
use crate::cannot::never;

/// Bytes before the adapter.
pub const PRIMED_HEAD: usize = 64;
const VERSION: u16 = 1;
/// Bytes before the checksum.
const SUMMED: usize = PRIMED_HEAD - 4;

/// Which primed adapter: what an archive says of the one that it began with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PrimedId {
    /// The checksum of its file.
    pub crc: u32,
    /// Bytes that it has read.
    pub bytes: u64,
}

/// A primed adapter that is whole: every byte of its file was checked once.
#[derive(Clone, Copy, Debug)]
pub struct Primed<'a> {
    model: ModelName,
    id: PrimedId,
    design: &'static Design,
    adapter: &'a [u8],
}

impl<'a> Primed<'a> {
    /// Reads a file, at any address.
    ///
    /// # Errors
    /// [`ArchiveError::BadMagic`], [`ArchiveError::UnsupportedVersion`], [`ArchiveError::Length`],
    /// [`ArchiveError::Checksum`], then what is wrong with a field.
    /// # Cost
    /// The checksum: one pass over the bytes.
    pub fn parse(file: &'a [u8]) -> Result<Self, ArchiveError> {
        if file.first_chunk() != Some(&PRIMED_MAGIC) {
            return Err(ArchiveError::BadMagic);
        }
        let length = |expected| ArchiveError::Length { expected, found: file.len() as u64 };
        let (head, adapter) = file.split_first_chunk::<PRIMED_HEAD>().ok_or(length(PRIMED_HEAD as u64))?;
        let found = u16::from_le_bytes(array_at(head, 4));
        if found != VERSION {
            return Err(ArchiveError::UnsupportedVersion { found });
        }
        let bytes = u32::from_le_bytes(array_at(head, 56));
        if bytes as usize != file.len() {
            return Err(length(bytes as u64));
        }
        let (stored, computed) = (u32::from_le_bytes(array_at(head, SUMMED)), checksum(head, adapter));
        if stored != computed {
            return Err(ArchiveError::Checksum { stored, computed });
        }
        if array_at(head, 6) != [0; 2] {
            return Err(ArchiveError::Reserved);
        }
        let model = ModelName::parse(&array_at(head, 8))?;
        let number = adapter.first().copied().unwrap_or(0);
        let design = preset(number).ok_or(ArchiveError::UnknownPreset { found: number })?;
        adapt::check(design.id, design.saved_bytes(), adapter).map_err(ArchiveError::Adapter)?;
        Ok(Self { model, id: PrimedId { crc: stored, bytes: u64::from_le_bytes(array_at(head, 48)) }, design, adapter })
    }

    /// The model that it has read with.
    pub const fn model(&self) -> ModelName {
        self.model
    }

    /// Which one it is.
    pub const fn id(&self) -> PrimedId {
        self.id
    }

    /// The preset.
    pub const fn design(&self) -> &'static Design {
        self.design
    }

    /// What [`Adapter::load`](crate::adapt::Adapter::load) takes.
    pub const fn adapter(&self) -> &'a [u8] {
        self.adapter
    }

    /// What is in a file before `adapter`, which has read `bytes` with `model`.
    pub fn head(model: &ModelName, bytes: u64, adapter: &[u8]) -> [u8; PRIMED_HEAD] {
        let mut head = [0; PRIMED_HEAD];
        let front = PRIMED_MAGIC.into_iter().chain(VERSION.to_le_bytes()).chain([0; 2]).chain(model.bytes());
        let length = (PRIMED_HEAD + adapter.len()) as u32;
        let fields = front.chain(bytes.to_le_bytes()).chain(length.to_le_bytes());
        head.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        let crc = checksum(&head, adapter).to_le_bytes();
        head.iter_mut().skip(SUMMED).zip(crc).for_each(|(to, from)| *to = from);
        head
    }
}

fn checksum(head: &[u8; PRIMED_HEAD], adapter: &[u8]) -> u32 {
    let mut digest = CRC32.digest();
    digest.update(head.get(..SUMMED).unwrap_or_else(|| never("the head is longer than its summed part", &[])));
    digest.update(adapter);
    digest.finalize()
}
