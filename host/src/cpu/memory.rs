//! Weights in memory: where they lie and how they are checked.
//!
//! Models are used where they are mapped, so that a load costs no more than reading the checksums' bytes: kernels fetch
//! ahead of use what is beyond the caches, and are as fast on a file's pages of 4 KB as on huge ones.
//!
//! Checksums are computed by all threads with the processor's CRC instructions.

use std::sync::Arc;

use mambabyte_core::blob::Section;
use mambabyte_core::{Blob, BlobError};
use rayon::prelude::*;

/// Bytes that one thread sums at a time.
const CHUNK: usize = 1 << 20;

/// A checked blob in memory that any number of threads read. A clone shares the memory.
#[derive(Clone)]
pub struct Weights {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
}

impl Weights {
    /// Checks the blob in `bytes`, checksums and all.
    ///
    /// # Errors
    /// Every [`BlobError`].
    pub fn new(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Result<Self, BlobError> {
        check_sums(&Blob::parse_unsummed((*bytes).as_ref())?)?;
        Ok(Self { bytes })
    }

    /// The blob.
    ///
    /// # Panics
    /// If the bytes have changed since they were checked: whoever maps a file owes that nobody writes to it.
    pub fn blob(&self) -> Blob<'_> {
        match Blob::parse_unsummed((*self.bytes).as_ref()) {
            Ok(blob) => blob,
            Err(error) => panic!("the weights changed while they were in use: {error}"),
        }
    }
}

/// Compares the checksums of all sections, on all threads of the pool.
fn check_sums(blob: &Blob<'_>) -> Result<(), BlobError> {
    let chunks: Vec<(Section, &[u8])> =
        Section::ALL.into_iter().flat_map(|s| blob.section(s).chunks(CHUNK).map(move |c| (s, c))).collect();
    let hash = |&(_, bytes): &(Section, &[u8])| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(bytes);
        hasher
    };
    // A small blob is summed sooner than a pool of threads starts.
    let hashes: Vec<crc32fast::Hasher> = if blob.as_bytes().len() < 4 * CHUNK {
        chunks.iter().map(hash).collect()
    } else {
        chunks.par_iter().map(hash).collect()
    };
    for section in Section::ALL {
        let mut whole = crc32fast::Hasher::new();
        let parts = chunks.iter().zip(&hashes).filter(|((s, _), _)| *s == section);
        parts.for_each(|(_, part)| whole.combine(part));
        blob.check_sum(section, whole.finalize())?;
    }
    Ok(())
}
