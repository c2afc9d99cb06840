//! What follows the header of an archive: blocks, and the end.

use super::ArchiveError;
use crate::blob::{CRC32, array_at};
use crate::cannot::never;

/// Bytes of a record before the code of a block.
pub const RECORD: usize = 20;
/// Bytes before the checksum.
const SUMMED: usize = RECORD - 4;

const CODED: u8 = 1;
const STORED: u8 = 2;
const END: u8 = 3;

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Block {
    /// Whether it is stored as it is.
    pub stored: bool,
    /// Bytes that it decodes to.
    pub plain: u32,
    /// Bytes that follow the record.
    pub coded: u32,
    /// CRC-32 of what it decodes to.
    pub crc: u32,
}

/// A record without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Record {
    /// A block; its code follows.
    Block(Block),
    /// The end.
    End {
        /// Bytes that all blocks decode to.
        total: u64,
        /// Number of blocks.
        blocks: u32,
    },
}

impl Record {
    /// As it is in a file; `code` follows it. `check` is the checksum of the record before, at first
    /// [`Header::check`](super::Header::check), and becomes the one of this record.
    pub fn to_bytes(&self, code: &[u8], check: &mut u32) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let kind = match self {
            Self::Block(block) if block.stored => STORED,
            Self::Block(_) => CODED,
            Self::End { .. } => END,
        };
        let numbers = match *self {
            Self::Block(Block { plain, coded, crc, .. }) => [plain, coded, crc],
            Self::End { total, blocks } => [total as u32, (total >> 32) as u32, blocks],
        };
        let fields = [kind, 0, 0, 0].into_iter().chain(numbers.into_iter().flat_map(u32::to_le_bytes));
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        *check = checksum(*check, &bytes, code);
        bytes.iter_mut().skip(SUMMED).zip(check.to_le_bytes()).for_each(|(to, from)| *to = from);
        bytes
    }

    /// Reads a record of an archive whose blocks have at most `most` bytes. What it says is not checked yet:
    /// [`Record::check`] does that when its code is there, which has at most `most` bytes too.
    ///
    /// # Errors
    /// [`ArchiveError::Kind`], [`ArchiveError::Reserved`], [`ArchiveError::BlockLength`], [`ArchiveError::CodeLength`].
    pub fn parse(bytes: &[u8; RECORD], most: u32) -> Result<Self, ArchiveError> {
        let [kind, reserved @ ..]: [u8; 4] = array_at(bytes, 0);
        if !(CODED..=END).contains(&kind) {
            return Err(ArchiveError::Kind { found: kind });
        }
        if reserved != [0; 3] {
            return Err(ArchiveError::Reserved);
        }
        let at = |offset| u32::from_le_bytes(array_at(bytes, offset));
        let (plain, coded, crc) = (at(4), at(8), at(12));
        if kind == END {
            return Ok(Self::End { total: (coded as u64) << 32 | plain as u64, blocks: crc });
        }
        if !(1..=most).contains(&plain) {
            return Err(ArchiveError::BlockLength { most, found: plain });
        }
        let stored = kind == STORED;
        if if stored { coded != plain } else { coded >= plain } {
            return Err(ArchiveError::CodeLength { plain, found: coded });
        }
        Ok(Self::Block(Block { stored, plain, coded, crc }))
    }

    /// Whether a record and its code are what was written after the record with the checksum `check`, which becomes the
    /// one of this record.
    ///
    /// # Errors
    /// [`ArchiveError::Checksum`].
    /// # Cost
    /// One pass over the code.
    pub fn check(bytes: &[u8; RECORD], code: &[u8], check: &mut u32) -> Result<(), ArchiveError> {
        let (stored, computed) = (u32::from_le_bytes(array_at(bytes, SUMMED)), checksum(*check, bytes, code));
        if stored != computed {
            return Err(ArchiveError::Checksum { stored, computed });
        }
        *check = computed;
        Ok(())
    }
}

impl Block {
    /// A block of the text `plain`, whose code has `coded` bytes; `None` if it is not shorter and the text is stored.
    pub fn of(plain: &[u8], coded: Option<usize>) -> Self {
        let stored = coded.is_none();
        let length = plain.len() as u32;
        let coded = coded.map_or(length, |coded| coded as u32);
        Self { stored, plain: length, coded, crc: CRC32.checksum(plain) }
    }

    /// Whether `plain` is what it should decode to.
    ///
    /// # Errors
    /// [`ArchiveError::Contents`].
    pub fn check(&self, plain: &[u8]) -> Result<(), ArchiveError> {
        let computed = CRC32.checksum(plain);
        if computed == self.crc { Ok(()) } else { Err(ArchiveError::Contents { stored: self.crc, computed }) }
    }
}

fn checksum(before: u32, bytes: &[u8; RECORD], code: &[u8]) -> u32 {
    let mut digest = CRC32.digest();
    digest.update(&before.to_le_bytes());
    digest.update(bytes.get(..SUMMED).unwrap_or_else(|| never("a record is longer than its summed part", &[])));
    digest.update(code);
    digest.finalize()
}
