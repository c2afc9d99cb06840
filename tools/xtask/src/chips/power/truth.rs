//! What an uninterrupted stream carries at each position, as this machine computes it.

use mambabyte_core::flash::{STREAM, save_stream};
use mambabyte_core::{Blob, Decoder, LineScorer, Threshold, surprise};

/// What this machine has at each position: everything carried, and the surprise of the byte before.
pub(super) struct Truth {
    carried: Vec<u32>,
    surprises: Vec<u32>,
}

impl Truth {
    /// Of `bytes` bytes of `text`, which is repeated.
    pub(super) fn new(blob: Blob<'_>, text: &[u8], bytes: u64) -> Self {
        let (mut decoder, mut scorer) = (Decoder::owned(blob), LineScorer::new(Threshold::Learned, 0));
        let (mut pending, mut records) = (0, 0);
        let mut truth = Self { carried: Vec::new(), surprises: Vec::new() };
        for &byte in text.iter().cycle().take(bytes as usize + 1) {
            let mut saved = [0; STREAM];
            save_stream(&mut saved, pending, records, &scorer, None, None);
            let state = decoder.state().as_slice().iter().flat_map(|e| e.to_le_bytes());
            truth.carried.push(crc32(state.chain(saved)));
            let bits = surprise(decoder.step(pending), byte);
            truth.surprises.push(bits);
            pending = byte;
            records += u32::from(scorer.push(byte, bits).is_some());
        }
        truth
    }

    /// The checksum of all that is carried at a position.
    pub(super) fn carried(&self, position: u64) -> Option<u32> {
        self.carried.get(position as usize).copied()
    }

    /// The checksum of the surprises between two positions.
    pub(super) fn heard(&self, from: u64, to: u64) -> u32 {
        let surprises = self.surprises.get(from as usize..to as usize).unwrap_or_default();
        crc32(surprises.iter().flat_map(|s| s.to_le_bytes()))
    }
}

fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    crc32fast::hash(&bytes.collect::<Vec<_>>())
}
