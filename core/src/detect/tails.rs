//! Exponential tails: from a score to a rarity.
//!
//! Above the 0.9 quantile `u` of what was learned, scores are taken to fall off as `exp(-(s - u) / m)`; `u` and the mean
//! excess `m` follow the stream. So a score `s` above `u` has the rarity `log2(1 / 0.1) + log2(e) * k * (s - u) / m`
//! bits. `k` is 1 at first; over thousands of lines it learns how much shorter or longer than exponential the tail is,
//! from how many scores are far out.

use super::RAREST;
use crate::cannot::never;
use crate::sort::sort;

/// Scores that start a tail.
pub(super) const FIRST: usize = 32;
/// Of 256 scores so many are above `u`.
const ABOVE: i64 = 26;
/// log2(256 / 26), Q8: the rarity of `u`.
const AT_QUANTILE: i32 = 845;
/// log2(e), Q8: bits of rarity above `u` for each `m`.
const STEEP: i64 = 369;
/// The same below `u`, where it decides nothing.
const FLAT: i64 = 64;
/// 9 bits: of rarer scores only one in [`KEPT`] is learned.
const EXCLUDED: i32 = 2300;
const KEPT: u8 = 8;
/// 7.64 bits: one quiet score in 200 is rarer. If more are, the tail is longer than an exponential one.
const FAR: i32 = 1957;
/// What such a score takes off the steepness; every third score adds 1.
const LONGER: i32 = 64;
/// The steepness: 1 is an exponential tail, Q15.
const STEEPNESS: core::ops::RangeInclusive<i32> = 20_000..=49_152;
/// Scores before the steepness is learned.
const SHAPED: u16 = 256;
/// Scores are counted to here, then these last three again and again.
const COUNTED: u16 = 60_000;
/// Scores that are all learned, whatever their rarity.
const ALL_LEARNED: u16 = 96;
/// The least mean excess, Q16: 1/16 bit.
pub(super) const LEAST_EXCESS: i32 = 16 << 8;
/// The least mean excess to start with, Q16: 1/4 bit.
const FIRST_EXCESS: i32 = 64 << 8;
/// Scores are clipped to this many bits on both sides, Q8.
const MOST: i32 = 1 << 16;

/// The tail of one score. Bits are Q16.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// The 0.9 quantile.
    pub(super) quantile: i32,
    /// Mean excess above it.
    pub(super) excess: i32,
    /// Scores seen, to [`COUNTED`].
    pub(super) seen: u16,
    /// Excesses learned, to 255.
    pub(super) learned: u8,
    /// Rare scores seen, modulo 256.
    pub(super) rare: u8,
    /// Bits of rarity for each mean excess, against an exponential tail's: Q15.
    pub(super) steepness: u16,
}

impl Tail {
    const NEW: Self = Self { quantile: 0, excess: LEAST_EXCESS, seen: 0, learned: 0, rare: 0, steepness: 1 << 15 };

    /// The tail of a kind that is new: as this one, quick to learn.
    pub(super) fn young(self) -> Self {
        Self { seen: self.seen.min(FIRST as u16), learned: 0, ..self }
    }

    fn above(&self, score: i32) -> i64 {
        (score.clamp(-MOST, MOST) as i64 * 256) - self.quantile as i64
    }

    /// Of a score in Q8 bits: Q8 bits, 0 to [`RAREST`].
    pub(super) fn rarity(&self, score: i32) -> i32 {
        let above = self.above(score);
        let steep = if above > 0 { (STEEP * self.steepness as i64) >> 15 } else { FLAT };
        let bits = above * steep / self.excess.max(LEAST_EXCESS) as i64;
        (AT_QUANTILE as i64 + bits).clamp(0, RAREST as i64) as i32
    }

    /// Learns a score, `2^slow` times slower than usual.
    fn learn(&mut self, score: i32, slow: u32) {
        let rarity = self.rarity(score);
        if slow == 0 && self.seen > SHAPED {
            let moved = if rarity > FAR { -LONGER } else { self.seen.is_multiple_of(3) as i32 };
            self.steepness = (self.steepness as i32 + moved).clamp(*STEEPNESS.start(), *STEEPNESS.end()) as u16;
        }
        self.seen = if self.seen < COUNTED { self.seen + 1 } else { COUNTED - 2 };
        if rarity > EXCLUDED && self.seen > ALL_LEARNED {
            self.rare = self.rare.wrapping_add(1);
            if !self.rare.is_multiple_of(KEPT) {
                return;
            }
        }
        let above = self.above(score);
        let step = match self.seen {
            0..128 => self.excess >> (2 + slow),
            128..512 => self.excess >> (3 + slow),
            _ => self.excess >> (4 + slow),
        } as i64;
        let moved = if above > 0 { (step * (256 - ABOVE)) >> 8 } else { -((step * ABOVE) >> 8) };
        self.quantile = (self.quantile as i64 + moved).clamp(-(MOST as i64 * 256), MOST as i64 * 256) as i32;
        if above > 0 {
            self.learned = self.learned.saturating_add(1);
            let excess = self.excess as i64;
            let less = (above.min(6 * excess) - excess) >> ((2 + self.learned as u32 / 8).min(6) + slow);
            self.excess = (excess + less).clamp(LEAST_EXCESS as i64, MOST as i64 * 512) as i32;
        }
    }
}

/// The tails of both scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair(pub(super) [Tail; 2]);

impl Pair {
    pub(super) const NEW: Self = Self([Tail::NEW; 2]);

    /// The first scores were enough.
    pub(super) const fn started(&self) -> bool {
        self.0[0].seen as usize >= FIRST
    }

    pub(super) fn rarities(&self, scores: [i32; 2]) -> [i32; 2] {
        [self.0[0].rarity(scores[0]), self.0[1].rarity(scores[1])]
    }

    pub(super) fn learn(&mut self, scores: [i32; 2], slow: u32) {
        self.0.iter_mut().zip(scores).for_each(|(tail, score)| tail.learn(score, slow));
    }

    pub(super) fn young(self) -> Self {
        Self(self.0.map(Tail::young))
    }
}

/// The first scores of a stream, of which tails are made.
#[derive(Clone, Debug)]
pub(super) struct Start(pub(super) [[u16; FIRST]; 2]);

impl Start {
    pub(super) const NEW: Self = Self([[0; FIRST]; 2]);
    /// Added to a score, which may be negative.
    const OFFSET: i32 = 8192;

    /// Keeps the scores of a line; with the last one the tails start.
    pub(super) fn take(&mut self, scores: [i32; 2], tails: &mut Pair) {
        for ((first, score), tail) in self.0.iter_mut().zip(scores).zip(&mut tails.0) {
            match first.get_mut(tail.seen as usize) {
                Some(slot) => *slot = (score.clamp(-MOST, MOST) + Self::OFFSET).clamp(0, u16::MAX as i32) as u16,
                None => never("a tail that started is not started again", ()),
            }
            tail.seen = (tail.seen + 1).min(FIRST as u16);
            if tail.seen as usize == FIRST {
                sort(first, |a, b| a < b);
                let at = |i: usize| first.get(i).map_or(0, |&score| score as i32);
                // Means over an upper part whose top is left out: three damaged lines do not move them.
                tail.quantile = (at(28) - Self::OFFSET) * 256;
                tail.excess = ((20..28).map(|i| at(i) - at(16)).sum::<i32>() * (256 / 8)).max(FIRST_EXCESS);
            }
        }
    }
}
