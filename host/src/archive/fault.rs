//! What can go wrong with an archive: [`ArchiveFault`].

use std::io;

use mambabyte_core::archive::ArchiveError;

use crate::engine::EngineError;

fn right_before(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!("; the {bytes} bytes that were decoded before it are right") }
}

/// Why an archive was not written or not read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveFault {
    /// The source could not be read.
    #[error("reading")]
    Read(#[source] io::Error),
    /// The result could not be written.
    #[error("writing")]
    Write(#[source] io::Error),
    /// The model.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Neither a model nor an adapter: nothing predicts.
    #[error("neither a model nor an adapter: nothing predicts")]
    Nothing,
    /// The archive is damaged, or is none.
    #[error("at byte {at}: {error}{}", right_before(*kept))]
    Archive {
        /// Where the header or the block begins that is wrong.
        at: u64,
        /// Bytes that were decoded before it, and written.
        kept: u64,
        /// What is wrong.
        error: ArchiveError,
    },
    /// The archive needs something else than there is.
    #[error("{0}")]
    Needs(String),
}
