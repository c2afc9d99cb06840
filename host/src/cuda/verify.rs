//! Drafted bytes that the model has scored and whose state is not committed yet.

use super::error::CudaError;
use super::model::{Answer, GpuModel};
use super::state::GpuState;

/// Drafts with the logits after each of their bytes. Dropping it rejects them: the state has not moved.
///
/// The state is borrowed, so that nothing can be decoded while a draft is open:
///
/// ```compile_fail
/// # use mambabyte_host::cuda::{CudaError, GpuModel, GpuState};
/// # fn f(model: &GpuModel, state: &mut GpuState) -> Result<(), CudaError> {
/// let verified = model.verify(&[b"draft"], state)?;
/// model.step(&[b'!'], state)?;
/// verified.accept(&[5])
/// # }
/// ```
#[must_use = "a verification that is not accepted leaves the state where it was"]
pub struct Verified<'s> {
    model: &'s GpuModel,
    state: &'s mut GpuState,
    drafts: Vec<Vec<u8>>,
    logits: Answer,
}

impl<'s> Verified<'s> {
    pub(super) const fn new(
        model: &'s GpuModel,
        state: &'s mut GpuState,
        drafts: Vec<Vec<u8>>,
        logits: Answer,
    ) -> Self {
        Self { model, state, drafts, logits }
    }

    /// The logits after every drafted byte, row after row.
    pub const fn logits(&self) -> &Answer {
        &self.logits
    }

    /// How many bytes of each row greedy decoding would have written itself. `first` is what each row's state
    /// predicted before the draft: its most probable byte.
    pub fn greedy_matches(&self, first: &[u8]) -> Vec<usize> {
        let best = match &self.logits {
            Answer::Logits(all) => all.iter().map(mambabyte_core::most_probable).collect(),
            Answer::FloatLogits(all) => all.iter().map(most_probable).collect(),
            _ => Vec::new(),
        };
        let mut rest = best.as_slice();
        let rows = self.drafts.iter().zip(first);
        rows.map(|(draft, &first)| {
            let (mine, others) = rest.split_at(draft.len().min(rest.len()));
            rest = others;
            let predicted = std::iter::once(first).chain(mine.iter().copied());
            draft.iter().zip(predicted).take_while(|&(&drafted, predicted)| drafted == predicted).count()
        })
        .collect()
    }

    /// Moves each row's state to just after byte `counts[row]` of its draft.
    ///
    /// # Errors
    /// [`CudaError::Rows`], [`CudaError::TooManyAccepted`]; nothing is then accepted.
    pub fn accept(self, counts: &[usize]) -> Result<(), CudaError> {
        if counts.len() != self.drafts.len() {
            return Err(CudaError::Rows { expected: self.drafts.len(), found: counts.len() });
        }
        for (row, (&asked, draft)) in counts.iter().zip(&self.drafts).enumerate() {
            if asked > draft.len() {
                return Err(CudaError::TooManyAccepted { row, asked, verified: draft.len() });
            }
        }
        self.model.accept(self.state, counts)
    }
}

/// The smallest of the bytes with the largest logit.
fn most_probable(logits: &[f32; mambabyte_core::VOCAB]) -> u8 {
    let mut best = 0;
    for (byte, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = byte;
        }
    }
    best as u8
}
