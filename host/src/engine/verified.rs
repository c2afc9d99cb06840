//! Drafted bytes that an engine has scored and that no row has read yet: [`Verified`].

use mambabyte_core::most_probable;

use super::{Answer, Engine, EngineError, check_counts};

/// Drafts with the logits after each of their bytes. Dropping it rejects them: the rows have not moved.
///
/// The rows are borrowed, so that they can read nothing while a draft is open:
///
/// ```compile_fail
/// # use mambabyte_host::engine::{Engine, EngineError, Want};
/// # fn f<E: Engine>(engine: &E, rows: &mut E::Rows) -> Result<(), EngineError> {
/// let verified = engine.verify(rows, &[b"draft"])?;
/// engine.read(rows, &[b"!"], Want::Nothing)?;
/// verified.accept(&[5])
/// # }
/// ```
#[must_use = "a verification that is not accepted leaves the rows where they were"]
pub struct Verified<'s, E: Engine> {
    engine: &'s E,
    rows: &'s mut E::Rows,
    /// The drafts, one after the other, and the length of each.
    bytes: Vec<u8>,
    lengths: Vec<usize>,
    answer: Answer,
}

impl<'s, E: Engine> Verified<'s, E> {
    pub(super) fn new(engine: &'s E, rows: &'s mut E::Rows, drafts: &[&[u8]], answer: Answer) -> Self {
        let lengths = drafts.iter().map(|d| d.len()).collect();
        Self { engine, rows, bytes: drafts.concat(), lengths, answer }
    }

    /// The logits after every drafted byte, row after row.
    pub const fn answer(&self) -> &Answer {
        &self.answer
    }

    /// How many bytes of each row's draft greedy decoding would also have written. `first` is the most probable byte of
    /// each row before the draft.
    pub fn greedy_matches(&self, first: &[u8]) -> Vec<usize> {
        let best: Vec<u8> = match &self.answer {
            // As computed: rounded to the core's units, two logits may become equal.
            Answer::FloatLogits(all) => all.iter().map(largest).collect(),
            answer => answer.logits().iter().map(most_probable).collect(),
        };
        let mut at = 0;
        let rows = self.lengths.iter().zip(first);
        rows.map(|(&length, &first)| {
            let range = at..at + length;
            at += length;
            let (draft, best) = (&self.bytes[range.clone()], &best[range]);
            let predicted = std::iter::once(first).chain(best.iter().copied());
            draft.iter().zip(predicted).take_while(|&(&drafted, predicted)| drafted == predicted).count()
        })
        .collect()
    }

    /// Moves each row to just after byte `counts[row]` of its draft.
    ///
    /// # Errors
    /// [`EngineError::Rows`], [`EngineError::TooManyAccepted`]; nothing is accepted then.
    pub fn accept(self, counts: &[usize]) -> Result<(), EngineError> {
        check_counts(self.lengths.iter().copied(), counts)?;
        self.engine.accept(self.rows, counts)
    }
}

/// The smallest of the bytes with the largest logit.
fn largest(logits: &[f32; mambabyte_core::VOCAB]) -> u8 {
    let mut best = 0;
    for (byte, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = byte;
        }
    }
    best as u8
}
