//! What a function of the library says, as a number and in words.
#![allow(unsafe_code, reason = "an exported C function")]

use core::ffi::{CStr, c_char};

use mambabyte_core::adapt::AdapterError;
use mambabyte_core::archive::ArchiveError;
use mambabyte_core::detect::DetectorError;
use mambabyte_core::{BlobError, StateError};

/// Result of a function. Numbers are part of the interface and do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// A pointer is null.
    NullPointer = 1,
    /// A pointer is not aligned as its type or as MAMBABYTE_ALIGN demands.
    Misaligned = 2,
    /// Pointer plus length passes the end of the address space.
    RangeWraps = 3,
    /// Memory that is written overlaps other memory of the call or of the decoder.
    Overlap = 4,
    /// No decoder, adapter or detector was initialised at this address, or it was moved.
    NotInitialised = 5,
    /// The state memory is smaller than the model needs.
    StateTooSmall = 6,
    /// The scratch memory is smaller than the model needs.
    ScratchTooSmall = 7,
    /// The buffer is smaller than a snapshot, or than a saved adapter or detector.
    BufferTooSmall = 8,
    /// There are no bytes.
    Empty = 9,
    /// The memory is smaller than the adapter.
    AdapterTooSmall = 10,
    /// The memory is smaller than the detector.
    DetectorTooSmall = 11,
    /// The blob does not start with the magic of a blob.
    BlobMagic = 20,
    /// A blob version that this library does not read.
    BlobVersion = 21,
    /// A header field of the blob has a value that it may not have.
    BlobHeader = 22,
    /// A dimension of the blob is outside its bounds.
    BlobDimension = 23,
    /// The blob is shorter than its header says.
    BlobTruncated = 24,
    /// There are bytes behind the end of the blob.
    BlobTrailingBytes = 25,
    /// The blob does not start at a multiple of MAMBABYTE_BLOB_ALIGN.
    BlobMisaligned = 26,
    /// A section of the blob leaves a gap or overlaps another.
    BlobSectionOffset = 27,
    /// The padding between sections of the blob is not zero.
    BlobPadding = 28,
    /// Checksum of the blob's header.
    BlobHeaderChecksum = 29,
    /// Checksum of a section of the blob.
    BlobSectionChecksum = 30,
    /// A parameter of a layer is outside its range.
    BlobParameter = 31,
    /// The blob was refused for another reason.
    BlobOther = 39,
    /// The snapshot does not start with the magic of a snapshot.
    SnapshotMagic = 40,
    /// A snapshot version that this library does not read.
    SnapshotVersion = 41,
    /// The snapshot was taken with another model.
    SnapshotForeignModel = 42,
    /// The snapshot is cut off, or something follows it.
    SnapshotLength = 43,
    /// A reserved field of the snapshot is not zero.
    SnapshotReserved = 44,
    /// Checksum of the snapshot.
    SnapshotChecksum = 45,
    /// A section of the snapshot is missing, unknown, not taken here, or of another length or order.
    SnapshotSection = 46,
    /// The snapshot was refused for another reason.
    SnapshotOther = 49,
    /// The saved adapter is of another preset.
    AdapterPreset = 50,
    /// A version of a saved adapter that this library does not read.
    AdapterVersion = 51,
    /// The saved adapter is cut off, or something follows it.
    AdapterLength = 52,
    /// A reserved field of the saved adapter is not zero.
    AdapterReserved = 53,
    /// The saved adapter was refused for another reason.
    AdapterOther = 59,
    /// The file does not start with the magic of a primed adapter.
    PrimedMagic = 60,
    /// A version of a primed adapter that this library does not read.
    PrimedVersion = 61,
    /// The primed adapter is cut off, or something follows it.
    PrimedLength = 62,
    /// Checksum of the primed adapter.
    PrimedChecksum = 63,
    /// The adapter was primed with another model, or with none, or without one and there is a model now.
    PrimedForeignModel = 64,
    /// The primed adapter was refused for another reason.
    PrimedOther = 69,
    /// A version of a saved detector that this library does not read.
    DetectorVersion = 70,
    /// The saved detector is cut off, or something follows it.
    DetectorLength = 71,
    /// The saved detector has a value that no detector has, or was refused for another reason.
    DetectorOther = 79,
}

impl Status {
    /// Every status, for tests and for [`mambabyte_status_message`].
    pub const ALL: [Status; 47] = {
        use Status::*;
        [
            Ok,
            NullPointer,
            Misaligned,
            RangeWraps,
            Overlap,
            NotInitialised,
            StateTooSmall,
            ScratchTooSmall,
            BufferTooSmall,
            Empty,
            AdapterTooSmall,
            DetectorTooSmall,
            BlobMagic,
            BlobVersion,
            BlobHeader,
            BlobDimension,
            BlobTruncated,
            BlobTrailingBytes,
            BlobMisaligned,
            BlobSectionOffset,
            BlobPadding,
            BlobHeaderChecksum,
            BlobSectionChecksum,
            BlobParameter,
            BlobOther,
            SnapshotMagic,
            SnapshotVersion,
            SnapshotForeignModel,
            SnapshotLength,
            SnapshotReserved,
            SnapshotChecksum,
            SnapshotSection,
            SnapshotOther,
            AdapterPreset,
            AdapterVersion,
            AdapterLength,
            AdapterReserved,
            AdapterOther,
            PrimedMagic,
            PrimedVersion,
            PrimedLength,
            PrimedChecksum,
            PrimedForeignModel,
            PrimedOther,
            DetectorVersion,
            DetectorLength,
            DetectorOther,
        ]
    };

    /// One line of English.
    pub const fn message(self) -> &'static CStr {
        match self {
            Status::Ok => c"done",
            Status::NullPointer => c"a pointer is null",
            Status::Misaligned => c"a pointer is misaligned",
            Status::RangeWraps => c"a range passes the end of the address space",
            Status::Overlap => c"memory that is written overlaps other memory in use",
            Status::NotInitialised => c"no decoder, adapter or detector was initialised at this address",
            Status::StateTooSmall => c"the state memory is too small for the model",
            Status::ScratchTooSmall => c"the scratch memory is too small for the model",
            Status::BufferTooSmall => c"the buffer is too small for a snapshot, a saved adapter or a saved detector",
            Status::Empty => c"there are no bytes",
            Status::AdapterTooSmall => c"the memory is too small for the adapter",
            Status::DetectorTooSmall => c"the memory is too small for the detector",
            Status::BlobMagic => c"not a MambaByte blob: wrong first bytes",
            Status::BlobVersion => c"blob version that this library does not read",
            Status::BlobHeader => c"header field of the blob with an unexpected value",
            Status::BlobDimension => c"dimension of the blob outside its bounds",
            Status::BlobTruncated => c"the blob is truncated",
            Status::BlobTrailingBytes => c"bytes behind the end of the blob",
            Status::BlobMisaligned => c"the blob does not start at a multiple of 16",
            Status::BlobSectionOffset => c"gap or overlap between sections of the blob",
            Status::BlobPadding => c"padding in the blob that is not zero",
            Status::BlobHeaderChecksum => c"wrong checksum of the blob's header",
            Status::BlobSectionChecksum => c"wrong checksum of a section of the blob",
            Status::BlobParameter => c"parameter of a layer out of range",
            Status::BlobOther => c"the blob was refused",
            Status::SnapshotMagic => c"not a MambaByte snapshot: wrong first bytes",
            Status::SnapshotVersion => c"snapshot version that this library does not read",
            Status::SnapshotForeignModel => c"snapshot of another model",
            Status::SnapshotLength => c"the snapshot is cut off or followed by something",
            Status::SnapshotReserved => c"reserved field of the snapshot that is not zero",
            Status::SnapshotChecksum => c"wrong checksum of the snapshot",
            Status::SnapshotSection => c"the snapshot has other sections than a state, or a damaged one",
            Status::SnapshotOther => c"the snapshot was refused",
            Status::AdapterPreset => c"saved adapter of another preset",
            Status::AdapterVersion => c"version of a saved adapter that this library does not read",
            Status::AdapterLength => c"the saved adapter is cut off or followed by something",
            Status::AdapterReserved => c"reserved field of the saved adapter that is not zero",
            Status::AdapterOther => c"the saved adapter was refused",
            Status::PrimedMagic => c"not a primed adapter: wrong first bytes",
            Status::PrimedVersion => c"version of a primed adapter that this library does not read",
            Status::PrimedLength => c"the primed adapter is cut off or followed by something",
            Status::PrimedChecksum => c"wrong checksum of the primed adapter",
            Status::PrimedForeignModel => c"the adapter was primed with another model",
            Status::PrimedOther => c"the primed adapter was refused",
            Status::DetectorVersion => c"version of a saved detector that this library does not read",
            Status::DetectorLength => c"the saved detector is cut off or followed by something",
            Status::DetectorOther => c"saved detector with a value that no detector has",
        }
    }
}

impl From<BlobError> for Status {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::BadMagic => Status::BlobMagic,
            BlobError::UnsupportedVersion { .. } => Status::BlobVersion,
            BlobError::BadHeader { .. } => Status::BlobHeader,
            BlobError::Dimension { .. } => Status::BlobDimension,
            BlobError::Truncated { .. } => Status::BlobTruncated,
            BlobError::TrailingBytes { .. } => Status::BlobTrailingBytes,
            BlobError::Misaligned { .. } => Status::BlobMisaligned,
            BlobError::SectionOffset { .. } => Status::BlobSectionOffset,
            BlobError::Padding { .. } => Status::BlobPadding,
            BlobError::HeaderChecksum { .. } => Status::BlobHeaderChecksum,
            BlobError::SectionChecksum { .. } => Status::BlobSectionChecksum,
            BlobError::LayerParam { .. } => Status::BlobParameter,
            _ => Status::BlobOther,
        }
    }
}

impl From<StateError> for Status {
    fn from(error: StateError) -> Self {
        match error {
            StateError::TooSmall { .. } => Status::BufferTooSmall,
            StateError::ForeignModel { .. } => Status::SnapshotForeignModel,
            StateError::BadMagic => Status::SnapshotMagic,
            StateError::UnsupportedVersion { .. } => Status::SnapshotVersion,
            StateError::Length { .. } => Status::SnapshotLength,
            StateError::Reserved { .. } => Status::SnapshotReserved,
            StateError::Checksum { .. } => Status::SnapshotChecksum,
            StateError::UnsupportedSection { .. }
            | StateError::UnwantedSection { .. }
            | StateError::MissingSection { .. }
            | StateError::SectionOrder { .. }
            | StateError::SectionLength { .. }
            | StateError::TrailingBytes { .. } => Status::SnapshotSection,
            _ => Status::SnapshotOther,
        }
    }
}

impl From<AdapterError> for Status {
    fn from(error: AdapterError) -> Self {
        match error {
            AdapterError::Preset { .. } => Status::AdapterPreset,
            AdapterError::Version { .. } => Status::AdapterVersion,
            AdapterError::Length { .. } => Status::AdapterLength,
            AdapterError::Reserved => Status::AdapterReserved,
            _ => Status::AdapterOther,
        }
    }
}

impl From<DetectorError> for Status {
    fn from(error: DetectorError) -> Self {
        match error {
            DetectorError::Version { .. } => Status::DetectorVersion,
            _ => Status::DetectorOther,
        }
    }
}

impl From<ArchiveError> for Status {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::BadMagic => Status::PrimedMagic,
            ArchiveError::UnsupportedVersion { .. } => Status::PrimedVersion,
            ArchiveError::Length { .. } => Status::PrimedLength,
            ArchiveError::Checksum { .. } => Status::PrimedChecksum,
            ArchiveError::Adapter(error) => error.into(),
            _ => Status::PrimedOther,
        }
    }
}

impl From<Result<(), Status>> for Status {
    fn from(result: Result<(), Status>) -> Self {
        match result {
            Ok(()) => Status::Ok,
            Err(status) => status,
        }
    }
}

/// One line of English for a status, without a line end. Never null; any number may be given.
#[unsafe(no_mangle)]
pub extern "C" fn mambabyte_status_message(status: i32) -> *const c_char {
    let known = Status::ALL.into_iter().find(|&s| s as i32 == status);
    known.map_or(c"unknown status", Status::message).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_own_message() {
        for (i, a) in Status::ALL.into_iter().enumerate() {
            assert!(!a.message().is_empty());
            for b in &Status::ALL[i + 1..] {
                assert_ne!(a.message(), b.message());
                assert_ne!(a as i32, *b as i32);
            }
        }
    }
}
