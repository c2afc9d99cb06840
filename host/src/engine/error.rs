//! Why an engine did not do what it was asked: [`EngineError`].

use mambabyte_core::StateError;
use mambabyte_core::oracle::NotFinite;

use super::{MAX_DRAFT, Precision};
use crate::model::LOGIT_LIMIT;

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No rows were asked for.
    #[error("0 rows asked for, at least 1 is needed")]
    NoRows,
    /// There are not as many texts as rows.
    #[error("{found} rows given, there are {expected}")]
    Rows {
        /// Rows there are.
        expected: usize,
        /// Rows given.
        found: usize,
    },
    /// The next bytes of [`Want::Surprise`](super::Want) are not as many as the bytes.
    #[error("as many next bytes are needed as bytes are read, in every row")]
    Next,
    /// A row that is not there.
    #[error("row {row}: there are {rows}")]
    NoSuchRow {
        /// The row asked for.
        row: usize,
        /// How many there are.
        rows: usize,
    },
    /// The rows belong to another engine.
    #[error("the rows belong to another model or precision")]
    ForeignRows,
    /// A draft that is too long.
    #[error("a draft of {found} bytes, the limit is {MAX_DRAFT}")]
    LongDraft {
        /// Its length.
        found: usize,
    },
    /// There is no draft to accept.
    #[error("the rows remember no draft: they have moved since, or there was none")]
    NoDraft,
    /// More bytes accepted than were verified.
    #[error("row {row}: {asked} bytes accepted, {verified} were verified")]
    TooManyAccepted {
        /// The row.
        row: usize,
        /// Bytes asked for.
        asked: usize,
        /// Bytes drafted.
        verified: usize,
    },
    /// Something that only integers have.
    #[error("precision {precision} has no saved states: only a blob in its integers has")]
    NotIntegers {
        /// What the engine computes in.
        precision: Precision,
    },
    /// A precision that the engine does not compute the model in.
    #[error("precision {precision} needs {needs}")]
    Precision {
        /// The precision asked for.
        precision: Precision,
        /// What it needs.
        needs: &'static str,
    },
    /// NaN or infinity in a step in f32.
    #[error(
        "{place}, at byte {position} of row {row}: f32 does not hold this model's values, or its weights are damaged"
    )]
    NotFinite {
        /// The row.
        row: usize,
        /// How many bytes the row had read before.
        position: u64,
        /// Layer and part of the step.
        place: NotFinite,
    },
    /// Logits that are finite and not below [`LOGIT_LIMIT`].
    #[error(
        "a logit of {largest:e}, at byte {position} of row {row}: logits must be below {LOGIT_LIMIT} in magnitude, or \
         scores and samplers cannot hold them"
    )]
    HugeLogit {
        /// The row.
        row: usize,
        /// How many bytes the row had read before.
        position: u64,
        /// Its magnitude.
        largest: f32,
    },
    /// A state or snapshot that does not fit.
    #[error(transparent)]
    State(#[from] StateError),
    /// Threads that cannot be started.
    #[error("threads cannot be started: {0}")]
    Threads(#[from] std::io::Error),
    /// The GPU.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(#[from] crate::cuda::CudaError),
}

impl EngineError {
    /// Says the same of the text that a row was a part of: `text` gives for a row the text and where in it the row began.
    pub(crate) fn of_text(mut self, text: impl Fn(usize) -> (usize, u64)) -> Self {
        match &mut self {
            Self::NotFinite { row, position, .. } | Self::HugeLogit { row, position, .. } => {
                let (number, start) = text(*row);
                (*row, *position) = (number, start + *position);
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(crate::cuda::CudaError::NotFinite { row, from, to }) => {
                let (number, start) = text(*row);
                (*row, *from, *to) = (number, start + *from, start + *to);
            }
            _ => {}
        }
        self
    }
}
