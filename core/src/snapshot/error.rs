//! Why memory or a snapshot was refused.

use crate::adapt::AdapterError;
use crate::blob::Fingerprint;
use crate::detect::DetectorError;

/// Version of the format.
pub const VERSION: u16 = 2;

/// The name of a kind by its number, even of a kind that is not read here.
pub(crate) const fn section_name(kind: u16) -> &'static str {
    match kind {
        1 => "state",
        2 => "pending byte",
        3 => "line scorer",
        4 => "adapter",
        5 => "records of a device",
        6 => "line scorer of the net alone",
        7 => "detector",
        _ => "unknown to this build",
    }
}

/// Why memory or a snapshot was refused. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StateError {
    /// The memory is smaller than the model needs.
    TooSmall {
        /// What the memory is for.
        what: &'static str,
        /// Elements or bytes needed.
        need: usize,
        /// Elements or bytes given.
        have: usize,
    },
    /// The state belongs to another model.
    ForeignModel {
        /// Fingerprint expected.
        expected: Fingerprint,
        /// Fingerprint found.
        found: Fingerprint,
    },
    /// Not a snapshot.
    BadMagic,
    /// A snapshot version that this code does not read.
    UnsupportedVersion {
        /// Version found.
        found: u16,
    },
    /// Memory or a snapshot has another length than it has to have.
    Length {
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A reserved field is not zero.
    Reserved {
        /// Its value.
        found: u16,
    },
    /// CRC-32 of the snapshot.
    Checksum {
        /// CRC stored.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
    /// A section of a kind or version that this code does not read.
    UnsupportedSection {
        /// Its kind.
        kind: u16,
        /// Its version.
        version: u16,
    },
    /// A section that the reader does not take; without it the stream would not resume as it was.
    UnwantedSection {
        /// Its kind.
        kind: u16,
    },
    /// A section that the reader needs.
    MissingSection {
        /// Its kind.
        kind: u16,
    },
    /// A section that is there twice, or after one of a larger kind.
    SectionOrder {
        /// Its kind.
        kind: u16,
    },
    /// A section of another length than it has to have.
    SectionLength {
        /// Its kind.
        kind: u16,
        /// Bytes of data expected.
        expected: usize,
        /// Bytes of data found.
        found: usize,
    },
    /// An adapter of another preset or version.
    Adapter(AdapterError),
    /// A detector of another version, or one that cannot be.
    Detector(DetectorError),
    /// Bytes after the last section that are too few for another one.
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
}

impl core::fmt::Display for StateError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::TooSmall { what, need, have } => write!(f, "{what}: {need} needed, {have} given"),
            Self::ForeignModel { expected, found } => {
                write!(f, "state of another model: fingerprint ")?;
                found.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
                write!(f, ", this model is ")?;
                expected.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
            Self::BadMagic => write!(f, "not a MambaByte snapshot"),
            Self::UnsupportedVersion { found } => {
                write!(f, "snapshot version {found}, this build reads version {}", VERSION)
            }
            Self::Length { expected, found } => write!(f, "{found} bytes or elements, there have to be {expected}"),
            Self::Reserved { found } => write!(f, "reserved field of the snapshot is {found:#x}, not zero"),
            Self::Checksum { stored, computed } => {
                write!(f, "snapshot CRC-32 is {computed:08x}, the file says {stored:08x}")
            }
            Self::UnsupportedSection { kind, version } => {
                let name = section_name(kind);
                write!(f, "section {kind} of the snapshot ({name}), version {version}: this build does not read it")
            }
            Self::UnwantedSection { kind } => {
                write!(f, "the snapshot has a section {kind} ({}) that is not taken here", section_name(kind))
            }
            Self::MissingSection { kind } => {
                write!(f, "the snapshot has no section {kind} ({}), which is needed here", section_name(kind))
            }
            Self::SectionOrder { kind } => {
                write!(f, "section {kind} of the snapshot ({}) is there twice or out of order", section_name(kind))
            }
            Self::SectionLength { kind, expected, found } => {
                let name = section_name(kind);
                write!(f, "section {kind} of the snapshot ({name}) has {found} bytes, there have to be {expected}")
            }
            Self::Adapter(error) => write!(f, "section 4 of the snapshot (adapter): {error}"),
            Self::Detector(error) => write!(f, "section 7 of the snapshot (detector): {error}"),
            Self::TrailingBytes { bytes } => write!(f, "{bytes} bytes after the last section of the snapshot"),
        }
    }
}

impl core::error::Error for StateError {}
