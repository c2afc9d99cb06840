//! Bits per byte, for f32 models and blobs alike.

use std::time::Instant;

use mambabyte_core::{Decoder, LOGIT_SCALE, Logits, VOCAB, Want};
use rayon::prelude::*;

use crate::cpu::Stream;
use crate::model::Session;

/// Something that reads bytes and predicts the next one.
pub trait ByteModel {
    /// Back to the zero state.
    fn reset(&mut self);
    /// Reads a byte, then calls `see` with the natural logits of the next one.
    fn read(&mut self, byte: u8, see: &mut dyn FnMut(&[f64; VOCAB]));
    /// Reads a byte; bits that `next` costs under the prediction made then.
    fn read_scored(&mut self, byte: u8, next: u8) -> f64 {
        let mut bits = 0.0;
        self.read(byte, &mut |logits| bits = surprise_bits(logits, next));
        bits
    }
    /// Reads a 0x00 byte and `text` but its last byte; `see` is told the bits that each byte of `text` cost, in order.
    fn score(&mut self, text: &[u8], see: &mut (dyn FnMut(f64) + Send)) {
        let mut last = 0;
        for &byte in text {
            see(self.read_scored(last, byte));
            last = byte;
        }
    }
}

/// `-log2 p(next)` by log-sum-exp in f64.
pub fn surprise_bits(logits: &[f64; VOCAB], next: u8) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|l| (l - largest).exp()).sum();
    (sum.ln() + largest - logits[next as usize]) / std::f64::consts::LN_2
}

impl ByteModel for Session<'_> {
    fn reset(&mut self) {
        Session::reset(self);
    }

    fn read(&mut self, byte: u8, see: &mut dyn FnMut(&[f64; VOCAB])) {
        let logits = self.step(byte).map(f64::from);
        see(&logits);
    }
}

/// An integer decoder that owns its memory.
pub type IntSession<'b> = Decoder<'b, Vec<i16>, Vec<i32>>;

impl ByteModel for IntSession<'_> {
    fn reset(&mut self) {
        self.state_mut().reset();
    }

    fn read(&mut self, byte: u8, see: &mut dyn FnMut(&[f64; VOCAB])) {
        let logits = self.step(byte).map(|l| f64::from(l) * LOGIT_SCALE);
        see(&logits);
    }
}

impl ByteModel for Stream<'_> {
    fn reset(&mut self) {
        self.state_mut().reset();
    }

    fn read(&mut self, byte: u8, see: &mut dyn FnMut(&[f64; VOCAB])) {
        let logits = self.step(byte).map(|l| f64::from(l) * LOGIT_SCALE);
        see(&logits);
    }

    fn score(&mut self, text: &[u8], see: &mut (dyn FnMut(f64) + Send)) {
        let Some((_, head)) = text.split_last() else { return };
        let input: Vec<u8> = std::iter::once(0).chain(head.iter().copied()).collect();
        let bits = |first: usize, logits: &[Logits]| -> Vec<f64> {
            let next = text.get(first..).unwrap_or(&[]);
            let pairs = logits.iter().zip(next);
            pairs.map(|(l, &next)| surprise_bits(&l.map(|l| f64::from(l) * LOGIT_SCALE), next)).collect()
        };
        self.prefill(&input, Want::All, bits, |bits| bits.into_iter().for_each(&mut *see));
    }
}

/// Where in its window a prediction was made, and what it cost.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct PositionBin {
    /// First position.
    pub start: usize,
    /// One behind the last position.
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
    pub(crate) fn add(&mut self, window: &Tally) {
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
pub(crate) struct Tally {
    bits: f64,
    bins: Vec<PositionBin>,
}

impl Tally {
    /// What the byte at `position` cost.
    pub(crate) fn add(&mut self, position: usize, bits: f64) {
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

/// Edges of the position bins: 16 to each doubling are too many, one is enough.
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

/// Scores `text` in windows of `window` bytes (`None`: one unbroken stream), each from the zero state with one 0x00
/// byte read first, so that every byte of the text is predicted. Windows run in parallel; sums have a fixed order.
///
/// `progress` is told bytes as they are read.
pub fn evaluate<M: ByteModel>(
    make: impl Fn() -> M + Sync,
    text: &[u8],
    window: Option<usize>,
    progress: &(dyn Fn(usize) + Sync),
) -> Score {
    let start = Instant::now();
    let window = window.unwrap_or(text.len()).max(1);
    let windows: Vec<Tally> = text
        .par_chunks(window)
        .map_init(&make, |model, bytes| {
            model.reset();
            let mut tally = Tally::default();
            let mut position = 0;
            model.score(bytes, &mut |bits| {
                tally.add(position, bits);
                position += 1;
                if position % 256 == 0 {
                    progress(256);
                }
            });
            progress(bytes.len() % 256);
            tally
        })
        .collect();
    let mut score = Score { bytes: text.len(), ..Score::empty() };
    windows.iter().for_each(|window| score.add(window));
    score.seconds = start.elapsed().as_secs_f64();
    score
}
