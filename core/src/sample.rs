//! Choosing the next byte: greedy, temperature, top-k, top-p, with a seeded generator. Integers only, so a seed names
//! one text on every machine.

use crate::cannot::never;
use crate::dims::Logits;
use crate::dims::VOCAB;
use crate::score::{most_probable, weight};
use crate::sort::sort;

/// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, passes BigCrush, one multiplication chain a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rng(u64);

impl Rng {
    /// A generator; equal seeds give equal draws.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// What to pass to [`Rng::new`] to resume here: part of a saved session.
    pub const fn state(&self) -> u64 {
        self.0
    }
}

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SampleOptions {
    /// Temperature in Q16: 65,536 samples from the model's distribution, 0 is greedy.
    pub temperature: u32,
    /// Only the `top_k` most probable bytes, 0 for all.
    pub top_k: u16,
    /// Only the most probable bytes that together reach this share, Q16; 65,536 for all.
    pub top_p: u32,
}

impl SampleOptions {
    /// The most probable byte, always.
    pub const GREEDY: Self = Self { temperature: 0, top_k: 0, top_p: 65_536 };
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self { temperature: 65_536, top_k: 0, top_p: 65_536 }
    }
}

/// Chooses a byte.
///
/// Candidates are ordered by logit, equals by byte value; `top_k` cuts first, then `top_p` of what is left (the first
/// candidate always stays). Probabilities below `2^-24` of the largest are zero.
///
/// # Cost
/// 256 exponentials and a sort of 256 bytes on the stack; one draw of `rng`, none if greedy.
pub fn sample(logits: &Logits, options: &SampleOptions, rng: &mut Rng) -> u8 {
    if options.temperature == 0 {
        return most_probable(logits);
    }
    let mut order = [0u8; VOCAB];
    for (byte, slot) in order.iter_mut().enumerate() {
        *slot = byte as u8;
    }
    sort(&mut order, |a, b| {
        let (of_a, of_b) = (logits[a as usize], logits[b as usize]);
        of_a > of_b || (of_a == of_b && a < b)
    });
    let largest = logits[order[0] as usize];
    let inverse = (1u64 << 32) / options.temperature as u64; // Q16
    let mut weights = [0u32; VOCAB]; // Q24: 256 of them sum below 2^33
    let keep = if options.top_k == 0 { VOCAB } else { (options.top_k as usize).min(VOCAB) };
    let mut total = 0u64;
    for (weight_of, &byte) in weights.iter_mut().zip(&order).take(keep) {
        let distance = largest.abs_diff(logits[byte as usize]) as u64;
        *weight_of = (weight(((distance as u128 * inverse as u128) >> 16).min(1 << 40) as u64) >> 7) as u32;
        total += *weight_of as u64;
    }
    let goal = ((total as u128 * options.top_p.min(65_536) as u128) >> 16) as u64;
    let (mut kept, mut count) = (0u64, 0);
    for &weight in weights.iter().take(keep) {
        if count > 0 && kept >= goal {
            break;
        }
        kept += weight as u64;
        count += 1;
    }
    let draw = ((rng.next_u64() as u128 * kept as u128) >> 64) as u64;
    let mut below = 0u64;
    for (&weight, &byte) in weights.iter().zip(&order).take(count) {
        below += weight as u64;
        if draw < below {
            return byte;
        }
    }
    never("a draw lies below the sum of the weights", order[0])
}
