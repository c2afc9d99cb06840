//! Random blobs and snapshots that were edited: their checksums made right again.

use mambabyte_core::blob::{HEADER, SECTIONS, Section, TABLE_ROW};

pub use mambabyte_host::random_blob::{BlobSpec, Contents, random_blob};

/// Makes the checksums of `bytes` right again: of every section whose place lies inside, then of the header. Whatever
/// else the bytes say is left alone; nothing happens to a file shorter than its own tables.
pub fn reseal(bytes: &mut [u8]) {
    let table = HEADER + SECTIONS * TABLE_ROW;
    if bytes.len() < table {
        return;
    }
    if let Ok(dims) = mambabyte_core::blob::read_dims(bytes) {
        for section in Section::ALL {
            let row = HEADER + section as usize * TABLE_ROW;
            let start =
                u64::from(u32::from_le_bytes([bytes[row], bytes[row + 1], bytes[row + 2], bytes[row + 3]])) * 16;
            let range = start as usize..(start + section.bytes(&dims)) as usize;
            if let Some(data) = bytes.get(range) {
                let crc = crc32fast::hash(data).to_le_bytes();
                bytes[row + 4..row + 8].copy_from_slice(&crc);
            }
        }
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..HEADER - 4]);
    crc.update(&bytes[HEADER..table]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&crc.finalize().to_le_bytes());
}

/// Makes the checksum and, if `length` is asked for, the length field of a snapshot right again.
pub fn reseal_snapshot(bytes: &mut [u8], length: bool) {
    if bytes.len() < 40 {
        return;
    }
    if length {
        let whole = bytes.len() as u32;
        bytes[32..36].copy_from_slice(&whole.to_le_bytes());
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..36]);
    crc.update(&bytes[40..]);
    bytes[36..40].copy_from_slice(&crc.finalize().to_le_bytes());
}
