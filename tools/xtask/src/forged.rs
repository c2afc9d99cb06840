//! The hostile blobs of the tests as one file, for programs that run elsewhere.
//!
//! For each seed: the blob, a text of `forge::BYTES` bytes, CRC-32 of the logits after every byte of it by the scalar code,
//! u32. The header of a blob says how long it is.

use std::path::Path;

use anyhow::{Context, Result};
use mambabyte_tests::forge::{Forged, SEEDS};

/// Blobs in the file.
pub(crate) const BLOBS: usize = (SEEDS.end - SEEDS.start) as usize;

/// Writes them.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(path: &Path) -> Result<()> {
    let records: Vec<u8> = SEEDS.flat_map(|seed| Forged::new(seed).record()).collect();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, records).with_context(|| path.display().to_string())
}
