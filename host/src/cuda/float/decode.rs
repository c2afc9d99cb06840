//! Stepping, decoding and drafts of a float model: by the persistent kernel if there is one, else by steps of prefill.

use std::sync::{MutexGuard, PoisonError};

use mambabyte_core::{Rng, SampleOptions, VOCAB};

use super::finite::{check_logits, not_finite};
use super::persistent::Decoder;
use super::{FloatModel, FloatState};
use crate::cuda::error::CudaError;

/// Bytes per row that one launch writes at most, so that a GPU that also draws a screen is not kept from that for long.
const AT_ONCE: usize = 1024;

/// Looks at the logits `[rows, 256]` after bytes `from..to` of each row.
fn check_rows(logits: &[f32], from: usize, to: usize) -> Result<(), CudaError> {
    let mut rows = logits.chunks_exact(VOCAB).enumerate();
    rows.try_for_each(|(row, logits)| check_logits(row, 0, logits).map_err(|_| not_finite(row, from, to)))
}

impl FloatModel {
    fn decoder(&self) -> Option<MutexGuard<'_, Decoder>> {
        self.decoder.as_ref().map(|decoder| decoder.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads one byte per row: logits `[rows, 256]`.
    pub(crate) fn step(&self, bytes: &[u8], state: &mut FloatState) -> Result<Vec<f32>, CudaError> {
        let logits = if let Some(mut decoder) = self.decoder() {
            decoder.step(&state.memory, bytes)?
        } else {
            let graph = self.step_graph(state)?;
            graph.put(&self.device, bytes)?;
            graph.launch(&self.device)?;
            graph.read(&self.device)?
        };
        check_rows(&logits, 0, 1)?;
        Ok(logits)
    }

    /// Writes `count` bytes per row, as [`crate::cuda::GpuModel::decode`] says.
    pub(crate) fn decode(
        &self,
        count: usize,
        last: &mut [u8],
        (rngs, options): (&mut [Rng], &SampleOptions),
        state: &mut FloatState,
    ) -> Result<Vec<Vec<u8>>, CudaError> {
        let mut text = vec![Vec::with_capacity(count); last.len()];
        match self.decoder() {
            Some(mut decoder) => {
                for done in (0..count).step_by(AT_ONCE) {
                    let now = AT_ONCE.min(count - done);
                    let (written, logits) = decoder.decode(&state.memory, last, now, (rngs, options))?;
                    check_rows(&logits, done, done + now)?;
                    text.iter_mut().zip(written).for_each(|(to, from)| to.extend(from));
                    text.iter().zip(&mut *last).for_each(|(text, last)| *last = text.last().copied().unwrap_or(*last));
                }
            }
            None if count == 0 => {}
            None => {
                let draws = self.sampler.begin(&self.device, count, rngs, options)?;
                let graph = self.step_graph(state)?;
                graph.put(&self.device, last)?;
                for _ in 0..count {
                    graph.launch(&self.device)?;
                    // SAFETY: the graph has logits and bytes of as many rows, and lives on.
                    unsafe {
                        self.sampler.draw(&self.device, &draws, graph.logits(&self.device), graph.tokens(&self.device))
                    }?;
                }
                let logits = graph.read(&self.device)?;
                text = self.sampler.finish(&self.device, &draws, rngs)?;
                check_rows(&logits, 0, count)?;
                text.iter().zip(last).for_each(|(text, last)| *last = text.last().copied().unwrap_or(*last));
            }
        }
        Ok(text)
    }

    /// Scores drafts: logits of each byte, row after row.
    pub(crate) fn verify(&self, drafts: &[&[u8]], state: &mut FloatState) -> Result<Vec<f32>, CudaError> {
        let logits = if let Some(mut decoder) = self.decoder() {
            let (draft, logits) = decoder.verify(&state.memory, drafts, state.draft.take())?;
            state.draft = Some(draft);
            logits
        } else {
            self.verify_by_steps(drafts, state)?
        };
        let mut rest = logits.as_slice();
        for (row, draft) in drafts.iter().enumerate() {
            let own = rest.split_off(..draft.len() * VOCAB).unwrap_or(&[]);
            check_logits(row, 0, own)?;
        }
        Ok(logits)
    }

    /// Writes `count` bytes per row and reads them all, as [`crate::engine::Engine::propose`] says: `ahead` moves from where
    /// `state` is. None without the persistent kernel.
    pub(crate) fn propose(
        &self,
        state: &FloatState,
        ahead: &mut FloatState,
        last: &[u8],
        count: usize,
        (rngs, options): (&[Rng], &SampleOptions),
    ) -> Result<Option<Vec<Vec<u8>>>, CudaError> {
        let Some(mut decoder) = self.decoder() else { return Ok(None) };
        ahead.memory.copy_from(&self.device, &state.memory)?;
        let proposal = decoder.propose(&ahead.memory, last, count, (rngs, options), ahead.draft.take())?;
        ahead.draft = Some(proposal.draft);
        check_rows(&proposal.logits, 0, count + 1)?;
        Ok(Some(proposal.text))
    }

    /// Moves the states by the first `counts` of the bytes that `ahead` has read.
    pub(crate) fn follow(&self, state: &FloatState, ahead: &FloatState, counts: &[usize]) -> Result<(), CudaError> {
        match (self.decoder(), &ahead.draft) {
            (Some(decoder), Some(draft)) => decoder.accept(draft, &state.memory, counts),
            _ => Err(CudaError::ForeignState),
        }
    }

    /// Moves the states by the first `counts` bytes of the draft verified last.
    pub(crate) fn accept(&self, counts: &[usize], state: &mut FloatState) -> Result<(), CudaError> {
        match (self.decoder(), &state.draft) {
            (Some(decoder), Some(draft)) => decoder.accept(draft, &state.memory, counts),
            (Some(_), None) => Err(CudaError::ForeignState),
            (None, _) => self.accept_by_steps(counts, state),
        }
    }
}
