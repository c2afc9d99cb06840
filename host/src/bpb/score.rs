//! What texts cost: [`Score`], [`Cost`], and the bits of each byte.

use mambabyte_core::VOCAB;
use rayon::prelude::*;

use crate::engine::{Answer, natural};

/// `-log2 p(next)` by log-sum-exp in f64.
pub fn surprise_bits(logits: &[f64; VOCAB], next: u8) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|l| (l - largest).exp()).sum();
    (sum.ln() + largest - logits[next as usize]) / std::f64::consts::LN_2
}

/// Where in its window a prediction was made, and what it cost.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct PositionBin {
    /// First position.
    pub start: usize,
    /// One after the last position.
    pub end: usize,
    /// Bits spent.
    pub bits: f64,
    /// Bytes predicted.
    pub bytes: usize,
}

impl PositionBin {
    /// Bits per byte.
    pub fn bits_per_byte(&self) -> f64 {
        self.bits / self.bytes.max(1) as f64
    }
}

/// What a text cost.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Score {
    /// Bits spent.
    pub bits: f64,
    /// Bytes predicted: all of the text.
    pub bytes: usize,
    /// Wall time of the evaluation.
    pub seconds: f64,
    /// By position in the window, empty bins left out.
    pub by_position: Vec<PositionBin>,
}

impl Score {
    /// Bits per byte.
    pub fn bits_per_byte(&self) -> f64 {
        self.bits / self.bytes.max(1) as f64
    }

    /// Adds another text's score.
    pub fn merge(&mut self, other: &Score) {
        self.bits += other.bits;
        self.bytes += other.bytes;
        self.seconds += other.seconds;
        merge_bins(&mut self.by_position, &other.by_position);
    }

    /// Adds a window's bits; the bytes are the caller's to count.
    pub(super) fn add(&mut self, window: &Tally) {
        self.bits += window.bits;
        merge_bins(&mut self.by_position, &window.bins);
    }

    /// Nothing read yet.
    pub fn empty() -> Self {
        Self { bits: 0.0, bytes: 0, seconds: 0.0, by_position: Vec::new() }
    }
}

/// The bits of one window, byte after byte.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) bits: f64,
    bins: Vec<PositionBin>,
}

impl Tally {
    /// What the byte at `position` cost.
    pub(super) fn add(&mut self, position: usize, bits: f64) {
        self.bits += bits;
        let (low, high) = bin_of(position);
        match self.bins.last_mut() {
            Some(bin) if bin.start == low => {
                bin.bits += bits;
                bin.bytes += 1;
            }
            _ => self.bins.push(PositionBin { start: low, end: high, bits, bytes: 1 }),
        }
    }
}

/// Edges of the bin that holds `position`: the first 64 positions, then one bin for each doubling.
fn bin_of(position: usize) -> (usize, usize) {
    if position < 64 { (0, 64) } else { (1 << position.ilog2(), 2 << position.ilog2()) }
}

fn merge_bins(into: &mut Vec<PositionBin>, from: &[PositionBin]) {
    for bin in from {
        match into.iter_mut().find(|b| b.start == bin.start) {
            Some(b) => {
                b.bits += bin.bits;
                b.bytes += bin.bytes;
            }
            None => into.push(*bin),
        }
    }
    into.sort_by_key(|b| b.start);
}

/// What a text cost, in bits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Under the net, if there is one.
    pub net: Option<f64>,
    /// Under the adapter, which hears the net if there is one; `None` without an adapter.
    pub mixed: Option<f64>,
}

/// What each byte of `next` costs under the logits of an answer, in f64 from the logits as computed: finer than Q16.
pub(super) fn costs(answer: &Answer, next: &[u8]) -> Vec<f64> {
    match answer {
        Answer::Logits(all) => all.par_iter().zip(next).map(|(l, &next)| surprise_bits(&natural(l), next)).collect(),
        Answer::FloatLogits(all) => {
            all.par_iter().zip(next).map(|(l, &next)| surprise_bits(&l.map(f64::from), next)).collect()
        }
        _ => Vec::new(),
    }
}
