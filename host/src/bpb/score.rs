//! What texts cost: [`Score`], [`Cost`], and the bits of each byte.

use std::sync::LazyLock;

use mambabyte_core::{Logits, VOCAB};
use rayon::prelude::*;

use crate::engine::Answer;

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

/// `2^-(k / 256)` and `2^-(k / 65,536)`: of every `2^-x` with x in Q16 below one, two factors.
struct Powers([f64; 256], [f64; 256]);

static POWERS: LazyLock<Powers> = LazyLock::new(|| {
    let table = |step: f64| std::array::from_fn(|k| libm::exp2(-(k as f64) * step));
    Powers(table(1.0 / 256.0), table(1.0 / 65_536.0))
});

impl Powers {
    /// `2^-x` of x in Q16, off by less than two units in the last place; 0 of 64 and more, which no sum with a 1 sees.
    fn of(&self, x: u32) -> f64 {
        let whole = u64::from(x >> 16);
        if whole >= 64 {
            return 0.0;
        }
        let power = f64::from_bits((1023 - whole) << 52);
        self.0[(x >> 8 & 255) as usize] * self.1[(x & 255) as usize] * power
    }
}

/// `-log2 p(next)` of logits in the core's units, log2 in Q16, in f64. The bits are the same on every machine.
///
/// # Cost
/// 256 products from two tables, no exponential.
fn surprise_of_units(logits: &Logits, next: u8, powers: &Powers) -> f64 {
    let largest = logits.iter().copied().max().unwrap_or(0);
    let mut sums = [0.0; 4];
    for four in logits.as_chunks::<4>().0 {
        sums.iter_mut().zip(four).for_each(|(sum, &logit)| *sum += powers.of(largest.abs_diff(logit)));
    }
    let sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    libm::log2(sum) + f64::from(largest.abs_diff(logits[usize::from(next)])) / 65_536.0
}

/// Bytes from which on their costs are computed on all cores. What fewer cost is known before threads have heard of it.
const PARALLEL_FROM: usize = 16_384;

/// What each byte of `next` costs under the logits of an answer, in f64 from the logits as computed: finer than Q16.
pub(super) fn costs(answer: &Answer, next: &[u8]) -> Vec<f64> {
    match answer {
        Answer::Logits(all) => {
            let powers = &*POWERS;
            let cost = |(logits, &next): (&Logits, &u8)| surprise_of_units(logits, next, powers);
            if all.len() < PARALLEL_FROM {
                all.iter().zip(next).map(cost).collect()
            } else {
                all.par_iter().zip(next).map(cost).collect()
            }
        }
        Answer::FloatLogits(all) => {
            all.par_iter().zip(next).map(|(l, &next)| surprise_bits(&l.map(f64::from), next)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::natural;

    #[test]
    fn tables_say_what_exponentials_say() {
        let mut seed = 7u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as i32
        };
        for spread in [1, 100, 70_000, 1_000_000, 40_000_000, i32::MAX] {
            let logits: Logits = std::array::from_fn(|_| random() % spread - spread / 2);
            for next in [0, 17, 255] {
                let (found, expected) =
                    (surprise_of_units(&logits, next, &POWERS), surprise_bits(&natural(&logits), next));
                assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{spread}: {found} {expected}");
            }
        }
        // Nothing but one byte, and none more than another.
        let mut one = [i32::MIN; VOCAB];
        one[9] = i32::MAX;
        assert_eq!(surprise_of_units(&one, 9, &POWERS), 0.0);
        assert_eq!(surprise_of_units(&one, 8, &POWERS), f64::from(u32::MAX) / 65_536.0);
        assert_eq!(surprise_of_units(&[5; VOCAB], 8, &POWERS), 8.0);
    }
}
