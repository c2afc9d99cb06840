//! Why a blob was refused.

use super::section::{ALIGN, Section, VERSION};

/// Why a blob was refused. `Copy` and comparable; nothing in it is a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BlobError {
    /// The first eight bytes are not [`MAGIC`](crate::blob::MAGIC).
    BadMagic,
    /// A version that this code does not read.
    UnsupportedVersion {
        /// Version in the file.
        found: u16,
    },
    /// A header field has a value that it may not have; `reserved` (bytes 74..80) and `reserved2` (122..124) must be
    /// zero.
    BadHeader {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// A dimension is outside its bounds.
    Dimension {
        /// Name of the dimension.
        name: &'static str,
        /// Its value.
        found: usize,
        /// Smallest value allowed.
        low: usize,
        /// Largest value allowed.
        high: usize,
    },
    /// Fewer bytes than the header promises.
    Truncated {
        /// Bytes needed.
        need: u64,
        /// Bytes given.
        have: u64,
    },
    /// More bytes than the header promises.
    TrailingBytes {
        /// Bytes of the blob.
        need: u64,
        /// Bytes given.
        have: u64,
    },
    /// The memory does not start at a multiple of [`ALIGN`]; `include_blob!` aligns.
    Misaligned {
        /// Address modulo [`ALIGN`].
        remainder: usize,
    },
    /// A section does not start where the one before it ends: a gap or an overlap.
    SectionOffset {
        /// The section.
        section: Section,
        /// Offset that tiles the file.
        expected: u64,
        /// Offset in the table.
        found: u64,
    },
    /// A non-zero byte in the padding after a section (or after the table, then `LayerParams` is named).
    Padding {
        /// The section before the padding.
        section: Section,
    },
    /// CRC-32 of header and section table.
    HeaderChecksum {
        /// CRC in the file.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
    /// CRC-32 of a section.
    SectionChecksum {
        /// The section.
        section: Section,
        /// CRC in the table.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
    /// A shift or format of a layer outside its range, or a reserved field that is not zero.
    LayerParam {
        /// Index of the layer; `n_layer` stands for the last norm and the head.
        layer: usize,
        /// Name of the parameter.
        name: &'static str,
        /// Its value.
        found: i32,
    },
}

impl core::fmt::Display for BlobError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::BadMagic => {
                write!(f, "not a MambaByte blob: wrong first bytes (a text-mode transfer damages them too)")
            }
            Self::UnsupportedVersion { found } => write!(f, "blob version {found}, this build reads version {VERSION}"),
            Self::BadHeader { field, found } => write!(f, "header field {field} has the unexpected value {found}"),
            Self::Dimension { name, found, low, high } => write!(f, "{name} = {found} is outside {low}..={high}"),
            Self::Truncated { need, have } => write!(f, "truncated: {have} bytes, {need} needed"),
            Self::TrailingBytes { need, have } => {
                write!(f, "{} bytes behind the end of the blob", have.saturating_sub(need))
            }
            Self::Misaligned { remainder } => {
                write!(f, "blob starts {remainder} bytes past a multiple of {ALIGN}; use include_blob!")
            }
            Self::SectionOffset { section, expected, found } => {
                write!(f, "section {} starts at {found}, not at {expected}: gap or overlap", section.name())
            }
            Self::Padding { section } => write!(f, "padding behind section {} is not zero", section.name()),
            Self::HeaderChecksum { stored, computed } => {
                write!(f, "header CRC-32 is {computed:08x}, the file says {stored:08x}")
            }
            Self::SectionChecksum { section, stored, computed } => {
                write!(f, "section {}: CRC-32 is {computed:08x}, the file says {stored:08x}", section.name())
            }
            Self::LayerParam { layer, name, found } => write!(f, "layer {layer}: {name} = {found} is out of range"),
        }
    }
}

impl core::error::Error for BlobError {}
