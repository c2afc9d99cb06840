//! Weights in memory: where they lie and how they are checked.
//!
//! A blob is used where it is mapped, so that a load costs no more than reading it once for the checksums. For a
//! backend that is made for tiles there can be a copy in that order: [`Weights::for_backend`].
//!
//! Checksums are computed by all threads with the processor's CRC instructions.

use std::sync::Arc;

use mambabyte_core::blob::Section;
use mambabyte_core::{Backend, Blob, BlobError};
use rayon::prelude::*;

use super::source::Source;
use super::tiled::TiledCopy;

/// Bytes that one thread sums at a time.
const CHUNK: usize = 1 << 20;

/// A checked blob in memory that any number of threads read. A clone shares the memory.
#[derive(Clone)]
pub struct Weights {
    source: Arc<dyn Source>,
    tiled: Option<Arc<TiledCopy>>,
    note: Option<Arc<str>>,
}

impl Weights {
    /// Checks the blob in `source`, checksums and all.
    ///
    /// # Errors
    /// Every [`BlobError`].
    pub fn new(source: Arc<dyn Source>) -> Result<Self, BlobError> {
        check_sums(&Blob::parse_unsummed((*source).as_ref())?)?;
        Ok(Self { source, tiled: None, note: None })
    }

    /// The same model with a copy in tiles, if `backend` is made for them. The source is released, since the copy is
    /// read instead.
    ///
    /// Where the system has no memory for a copy or cannot read the source again, there is no copy, which is slower:
    /// [`Weights::note`] says why.
    ///
    /// # Cost
    /// Every byte is read and written once, by all threads of rayon's pool (by the caller's thread below 4 MiB): 0.1 to
    /// 0.5 s for 350 MB. The copy is private memory of the size of the blob, which processes do not share.
    pub fn for_backend(self, backend: Backend) -> Self {
        if self.tiled.is_some() || !backend.reads_tiles() {
            return self;
        }
        let copy = TiledCopy::new(&*self.source, &self.blob()).map_err(|error| error.to_string()).and_then(|copy| {
            // The source was read a second time.
            match Blob::parse_tiled(copy.bytes()) {
                Ok(_) => Ok(copy),
                Err(error) => Err(error.to_string()),
            }
        });
        match copy {
            Ok(copy) => Self { tiled: Some(Arc::new(copy)), ..self },
            Err(reason) => {
                let name = backend.name();
                let note =
                    format!("weights in the order of the file, which {name} reads slower: no copy in tiles: {reason}");
                Self { note: Some(note.into()), ..self }
            }
        }
    }

    /// Why there is no copy in the order that the backend of [`Weights::for_backend`] reads best, if there could be
    /// one: a line for people.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The blob as it was given.
    ///
    /// # Panics
    /// If the bytes have changed since they were checked: whoever maps a file must make sure that nobody writes to it.
    pub fn blob(&self) -> Blob<'_> {
        unchanged(Blob::parse_unsummed((*self.source).as_ref()))
    }

    /// The blob that `backend` runs fastest: the copy in tiles, if there is one and the backend is made for it.
    ///
    /// # Panics
    /// As [`Weights::blob`].
    pub fn blob_for(&self, backend: Backend) -> Blob<'_> {
        match &self.tiled {
            Some(tiled) if backend.reads_tiles() => unchanged(Blob::parse_tiled(tiled.bytes())),
            _ => self.blob(),
        }
    }
}

/// The blob in bytes that were parsed before.
fn unchanged(blob: Result<Blob<'_>, BlobError>) -> Blob<'_> {
    match blob {
        Ok(blob) => blob,
        Err(error) => panic!("the weights changed while they were in use: {error}"),
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
    // A small blob is summed before a pool of threads would have started.
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
