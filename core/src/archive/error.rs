//! Why an archive or a primed adapter was refused.

use core::fmt;

use crate::adapt::AdapterError;

/// Why an archive or a primed adapter was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ArchiveError {
    /// It begins with something else.
    BadMagic,
    /// A version that this code does not read.
    UnsupportedVersion {
        /// Version found.
        found: u16,
    },
    /// A reserved field is not zero, or a flag is unknown.
    Reserved,
    /// The checksum over a header, or over a block's record and its code.
    Checksum {
        /// CRC stored.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
    /// The model's name is no text, or one of no model.
    Name,
    /// A preset that this code does not have.
    UnknownPreset {
        /// Its number.
        found: u8,
    },
    /// Neither a model nor an adapter predicts.
    Nothing,
    /// A kind of record that this code does not read.
    Kind {
        /// Kind found.
        found: u8,
    },
    /// A block is empty or longer than it may be.
    BlockLength {
        /// Most bytes.
        most: u32,
        /// Bytes found.
        found: u32,
    },
    /// The code of a block has a length that nothing writes.
    CodeLength {
        /// Bytes of the block.
        plain: u32,
        /// Bytes of its code.
        found: u32,
    },
    /// What was decoded is not what was coded.
    Contents {
        /// CRC stored.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
    /// The end does not fit what came before it.
    Total {
        /// Bytes that came.
        came: u64,
        /// Bytes that the end says.
        says: u64,
    },
    /// It ends before its end.
    Truncated,
    /// A primed adapter of another length than it says.
    Length {
        /// Bytes expected.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The adapter in a primed file.
    Adapter(AdapterError),
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadMagic => f.write_str("not what it should be: another kind of file begins like this"),
            Self::UnsupportedVersion { found } => write!(f, "version {found}, this build reads version 1"),
            Self::Reserved => f.write_str("a reserved field is not zero"),
            Self::Checksum { stored, computed } => {
                write!(f, "damaged: CRC-32 is {computed:08x}, the file says {stored:08x}")
            }
            Self::Name => f.write_str("the name of the model is no text"),
            Self::UnknownPreset { found } => {
                write!(f, "preset number {found} of the adapter, which this build has not")
            }
            Self::Nothing => f.write_str("neither a model nor an adapter"),
            Self::Kind { found } => write!(f, "damaged: no block begins with {found}"),
            Self::BlockLength { most, found } => write!(f, "damaged: a block of {found} bytes, 1 to {most} may be"),
            Self::CodeLength { plain, found } => write!(f, "damaged: a block of {plain} bytes has a code of {found}"),
            Self::Contents { stored, computed } => {
                write!(f, "the block decodes to something else: CRC-32 is {computed:08x}, the file says {stored:08x}")
            }
            Self::Total { came, says } => write!(f, "damaged: {came} bytes came, its end says {says}"),
            Self::Truncated => f.write_str("cut off"),
            Self::Length { expected, found } => write!(f, "{found} bytes, there have to be {expected}"),
            Self::Adapter(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for ArchiveError {}
