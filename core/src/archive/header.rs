//! The header of an archive.

use super::{ArchiveError, MAGIC, ModelName, PrimedId};
use crate::adapt::{Design, preset};
use crate::blob::{CRC32, array_at};
use crate::cannot::never;

/// Bytes of a [`Header`].
pub const HEADER: usize = 68;
/// Most bytes of a block, before coding: what bounds a decoder's memory, whatever a file says.
pub const MAX_BLOCK: u32 = 1 << 22;
/// Version of the format. The arithmetic of model and adapter is part of it.
const VERSION: u16 = 1;
/// Bytes before the checksum.
const SUMMED: usize = HEADER - 4;

/// What an archive needs to be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// The model, [`ModelName::NONE`] for the adapter alone.
    pub model: ModelName,
    /// Number of the adapter's preset, [`Design::id`]; 0 for the model alone.
    pub preset: u8,
    /// The adapter that it began with, if that had read something.
    pub primed: Option<PrimedId>,
    /// No block is longer, before coding: 1..=[`MAX_BLOCK`].
    pub block: u32,
}

impl Header {
    /// The adapter's preset, `None` for the model alone.
    pub fn design(&self) -> Option<&'static Design> {
        preset(self.preset)
    }

    /// As it is in a file.
    pub fn to_bytes(&self) -> [u8; HEADER] {
        let primed = self.primed.unwrap_or_default();
        let front = MAGIC.into_iter().chain(VERSION.to_le_bytes());
        let front = front.chain([self.preset, self.primed.is_some() as u8]).chain(self.model.bytes());
        let fields = front.chain(self.block.to_le_bytes()).chain(primed.crc.to_le_bytes());
        let mut bytes = [0; HEADER];
        bytes.iter_mut().zip(fields.chain(primed.bytes.to_le_bytes())).for_each(|(to, from)| *to = from);
        let crc = checksum(&bytes).to_le_bytes();
        bytes.iter_mut().skip(SUMMED).zip(crc).for_each(|(to, from)| *to = from);
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// In this order: [`ArchiveError::BadMagic`], [`ArchiveError::UnsupportedVersion`], [`ArchiveError::Checksum`], then
    /// what is wrong with a field.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self, ArchiveError> {
        if array_at(bytes, 0) != MAGIC {
            return Err(ArchiveError::BadMagic);
        }
        let found = u16::from_le_bytes(array_at(bytes, 4));
        if found != VERSION {
            return Err(ArchiveError::UnsupportedVersion { found });
        }
        let (stored, computed) = (u32::from_le_bytes(array_at(bytes, SUMMED)), checksum(bytes));
        if stored != computed {
            return Err(ArchiveError::Checksum { stored, computed });
        }
        let [number, flags] = array_at(bytes, 6);
        let model = ModelName::parse(&array_at(bytes, 8))?;
        if number != 0 && preset(number).is_none() {
            return Err(ArchiveError::UnknownPreset { found: number });
        }
        if number == 0 && model.is_none() {
            return Err(ArchiveError::Nothing);
        }
        let block = u32::from_le_bytes(array_at(bytes, 48));
        if !(1..=MAX_BLOCK).contains(&block) {
            return Err(ArchiveError::BlockLength { most: MAX_BLOCK, found: block });
        }
        let id =
            PrimedId { crc: u32::from_le_bytes(array_at(bytes, 52)), bytes: u64::from_le_bytes(array_at(bytes, 56)) };
        let primed = match flags {
            0 if id == PrimedId::default() => None,
            1 if number != 0 => Some(id),
            _ => return Err(ArchiveError::Reserved),
        };
        Ok(Self { model, preset: number, primed, block })
    }

    /// The checksum at its end, which the first block continues.
    pub fn check(&self) -> u32 {
        checksum(&self.to_bytes())
    }
}

fn checksum(bytes: &[u8; HEADER]) -> u32 {
    CRC32.checksum(bytes.get(..SUMMED).unwrap_or_else(|| never("the header is longer than its summed part", &[])))
}
