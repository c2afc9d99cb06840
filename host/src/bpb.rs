//! Bits per byte of a text, under any engine.

mod compare;

use std::time::Instant;

use mambabyte_core::VOCAB;
use rayon::prelude::*;

use crate::adapt::Preset;
use crate::engine::{Answer, Engine, EngineError, natural};
use crate::stream::{block, part, read_ahead};
pub use compare::{Compared, compare};

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
    fn add(&mut self, window: &Tally) {
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
struct Tally {
    bits: f64,
    bins: Vec<PositionBin>,
}

impl Tally {
    /// What the byte at `position` cost.
    fn add(&mut self, position: usize, bits: f64) {
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

/// Scores `text` in windows of `window` bytes (`None`: one unbroken stream), each from the zero state with one 0x00
/// byte read first, so that every byte of the text is predicted. Windows are read side by side; sums have a fixed
/// order, so an engine in integers gives the same number everywhere, to the last bit.
///
/// `progress` is told bytes as they are read.
///
/// # Errors
/// Those of [`Engine::read_into`]; positions in them are of the byte of the text that was to be predicted.
pub fn evaluate<E: Engine>(
    engine: &E,
    text: &[u8],
    window: Option<usize>,
    progress: &dyn Fn(usize),
) -> Result<Score, EngineError> {
    let size = window.unwrap_or(text.len()).max(1);
    let windows: Vec<&[u8]> = text.chunks(size).collect();
    evaluate_all(engine, &windows, progress).map_err(|e| e.of_text(|window| (0, (window * size) as u64)))
}

/// [`evaluate`] of several texts, each as one unbroken stream, side by side; their scores together.
///
/// # Errors
/// As [`evaluate`]; rows in them are the numbers of the texts.
pub fn evaluate_all<E: Engine>(engine: &E, texts: &[&[u8]], progress: &dyn Fn(usize)) -> Result<Score, EngineError> {
    let start = Instant::now();
    let mut score = Score { bytes: texts.iter().map(|t| t.len()).sum(), ..Score::empty() };
    each_text(engine, texts, progress, &mut |_, tally| score.add(tally))?;
    score.seconds = start.elapsed().as_secs_f64();
    Ok(score)
}

/// What a text cost, in bits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Under the net, if there is one.
    pub net: Option<f64>,
    /// Under the adapter, which hears the net if there is one; `None` without an adapter.
    pub mixed: Option<f64>,
}

/// What each of `texts` cost, each by itself: as one unbroken stream from the zero state, under a net, under an adapter of
/// `preset` that begins anew in each, or under both. Texts are read side by side, those of like lengths together, and their
/// rows share the weights. With neither, nothing is said.
///
/// `progress` is told bytes as they are read.
///
/// # Errors
/// As [`evaluate`]; rows in them are the numbers of the texts.
pub fn each<E: Engine>(
    engine: Option<&E>,
    preset: Option<Preset>,
    texts: &[&[u8]],
    progress: &dyn Fn(usize),
) -> Result<Vec<Cost>, EngineError> {
    let mut costs = vec![Cost::default(); texts.len()];
    // Rows end together where texts of like lengths are side by side; the results do not depend on it.
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&number| std::cmp::Reverse(texts[number].len()));
    let sorted: Vec<&[u8]> = order.iter().map(|&number| texts[number]).collect();
    let mut put = |place: usize, cost: Cost| costs[order[place]] = cost;
    let read = match (engine, preset) {
        (engine, Some(preset)) => compare::each_mixed(engine, preset, &sorted, progress, &mut put),
        (Some(engine), None) => each_text(engine, &sorted, progress, &mut |place, tally| {
            put(place, Cost { net: Some(tally.bits), mixed: None });
        }),
        (None, None) => Ok(()),
    };
    read.map_err(|e| e.of_text(|place| (order.get(place).copied().unwrap_or(place), 0)))?;
    Ok(costs)
}

/// Reads each of `texts` from the zero state; `take_text` gets what each has cost, in their order.
fn each_text<E: Engine>(
    engine: &E,
    texts: &[&[u8]],
    progress: &dyn Fn(usize),
    take_text: &mut dyn FnMut(usize, &Tally),
) -> Result<(), EngineError> {
    let at_once = engine.full_load().rows.max(1);
    for (number, group) in texts.chunks(at_once).enumerate() {
        let mut tallies = vec![Tally::default(); group.len()];
        let each = block(engine, group.len());
        let take = |from: usize, answer: &Answer| {
            let next: Vec<u8> = group.iter().flat_map(|text| &text[part(text, from, each)]).copied().collect();
            let bits = costs(answer, &next);
            let mut rest = bits.as_slice();
            for (text, tally) in group.iter().zip(&mut tallies) {
                let (mine, others) = rest.split_at(part(text, from, each).len());
                mine.iter().enumerate().for_each(|(t, &bits)| tally.add(from + t, bits));
                rest = others;
            }
        };
        read_ahead(engine, group, progress, take).map_err(|e| e.of_text(|row| (number * at_once + row, 0)))?;
        tallies.iter().enumerate().for_each(|(row, tally)| take_text(number * at_once + row, tally));
    }
    Ok(())
}

/// What each byte of `next` costs under the logits of an answer, in f64 from the logits as computed: finer than Q16.
fn costs(answer: &Answer, next: &[u8]) -> Vec<f64> {
    match answer {
        Answer::Logits(all) => all.par_iter().zip(next).map(|(l, &next)| surprise_bits(&natural(l), next)).collect(),
        Answer::FloatLogits(all) => {
            all.par_iter().zip(next).map(|(l, &next)| surprise_bits(&l.map(f64::from), next)).collect()
        }
        _ => Vec::new(),
    }
}
