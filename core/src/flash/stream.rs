//! What a program that scores a stream adds to the state: the pending byte, its records, its line scorer.

use crate::lines::{LineScorer, SAVED};

/// Bytes of it.
pub const STREAM: usize = 8 + SAVED;

/// Writes u32 records, u8 pending byte, 3 zeros, then the scorer as [`LineScorer::save`] has it.
pub fn save_stream(out: &mut [u8; STREAM], pending: u8, records: u32, scorer: &LineScorer) {
    let Some((front, back)) = out.split_first_chunk_mut::<8>() else { return };
    let [a, b, c, d] = records.to_le_bytes();
    *front = [a, b, c, d, pending, 0, 0, 0];
    if let Some(saved) = back.first_chunk_mut::<SAVED>() {
        scorer.save(saved);
    }
}

/// Sets `scorer` to the one that [`save_stream`] wrote; returns the pending byte and the records.
pub fn load_stream(saved: &[u8; STREAM], scorer: &mut LineScorer) -> (u8, u32) {
    if let Some(saved) = saved.last_chunk::<SAVED>() {
        scorer.restore(saved);
    }
    let [a, b, c, d, pending, ..] = *saved;
    (pending, u32::from_le_bytes([a, b, c, d]))
}
