//! Weights in memory: where they lie and how they are checked.
//!
//! A small model is used where it is mapped. A model beyond the caches is read once into anonymous memory on huge pages:
//! reading 400 MB from memory with one thread runs at 28 GB/s with pages of 2 MB and at 19 with those of 4 KB, which a
//! mapped file has. The file's pages stay in the system's cache and are no part of the process.
//!
//! Checksums are computed by all threads with the processor's CRC instructions.

use std::fs::File;
use std::io;
use std::sync::Arc;

use mambabyte_core::blob::Section;
use mambabyte_core::{Blob, BlobError};
use memmap2::{MmapMut, MmapOptions};
use rayon::prelude::*;

/// Bytes of a file from which on its weights are copied to huge pages: above what caches hold.
pub const HUGE_FROM: u64 = 24 << 20;

const HUGE_PAGE: usize = 2 << 20;
/// Bytes that one thread reads or sums at a time.
const CHUNK: usize = 1 << 20;

/// A copy of a file on pages of 2 MB, as far as the system has some to give.
#[derive(Debug)]
pub struct HugeBytes {
    map: MmapMut,
    start: usize,
    len: usize,
}

impl HugeBytes {
    /// Reads `file`, all of it.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::UnexpectedEof`] if the file shrinks meanwhile.
    pub fn read(file: &File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut map = MmapOptions::new().len(len + HUGE_PAGE).map_anon()?;
        let start = map.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
        // Whole pages only: half of the last one would be memory for nothing. A system without huge pages says no, and
        // the copy is as good as the file then.
        #[cfg(target_os = "linux")]
        let _ = map.advise_range(memmap2::Advice::HugePage, start, len / HUGE_PAGE * HUGE_PAGE);
        let target = map.get_mut(start..start + len).ok_or(io::ErrorKind::OutOfMemory)?;
        let chunks = target.par_chunks_mut(HUGE_PAGE).enumerate();
        chunks.try_for_each(|(index, chunk)| read_at(file, chunk, (index * HUGE_PAGE) as u64))?;
        Ok(Self { map, start, len })
    }
}

#[cfg(unix)]
fn read_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut out: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                out = &mut out[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

impl AsRef<[u8]> for HugeBytes {
    fn as_ref(&self) -> &[u8] {
        self.map.get(self.start..self.start + self.len).unwrap_or(&[])
    }
}

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
