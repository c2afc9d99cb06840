//! Bits per byte on a GPU, the windows of a text side by side.

use std::time::Instant;

use rayon::prelude::*;

use super::error::CudaError;
use super::model::{GpuModel, Want};
use crate::bpb::{Score, Tally, surprise_bits};

/// Windows that are read side by side.
const ROWS: usize = 64;
/// Bytes per call: their logits come back.
const TOKENS: usize = 32_768;

/// Scores `text` as [`crate::bpb::evaluate`] does; a model in integers gives the same number as there, to the last bit.
///
/// # Errors
/// Those of [`GpuModel::prefill`].
pub fn evaluate(
    model: &GpuModel,
    text: &[u8],
    window: Option<usize>,
    progress: &dyn Fn(usize),
) -> Result<Score, CudaError> {
    let start = Instant::now();
    let window = window.unwrap_or(text.len()).max(1);
    let windows: Vec<&[u8]> = text.chunks(window).collect();
    let mut score = Score { bytes: text.len(), ..Score::empty() };
    for group in windows.chunks(ROWS) {
        let mut state = model.state(group.len())?;
        let mut tallies = vec![Tally::default(); group.len()];
        let each = TOKENS / group.len();
        let longest = group.iter().map(|w| w.len()).max().unwrap_or(0);
        // A 0x00 byte is read first and the last byte never: every byte of the window is predicted.
        let inputs: Vec<Vec<u8>> = group.iter().map(|w| [&[0], &w[..w.len() - 1]].concat()).collect();
        for from in (0..longest).step_by(each) {
            let range = |w: &[u8]| from.min(w.len())..(from + each).min(w.len());
            let parts: Vec<&[u8]> = inputs.iter().map(|w| &w[range(w)]).collect();
            let logits = model.prefill(&parts, &mut state, Want::All)?.natural_logits();
            let next: Vec<u8> = group.iter().flat_map(|w| &w[range(w)]).copied().collect();
            let bits: Vec<f64> = logits.par_iter().zip(&next).map(|(l, &next)| surprise_bits(l, next)).collect();
            let mut rest = bits.as_slice();
            for (part, tally) in parts.iter().zip(&mut tallies) {
                let (mine, others) = rest.split_at(part.len());
                mine.iter().enumerate().for_each(|(t, &bits)| tally.add(from + t, bits));
                rest = others;
            }
            progress(next.len());
        }
        tallies.iter().for_each(|tally| score.add(tally));
    }
    score.seconds = start.elapsed().as_secs_f64();
    Ok(score)
}
