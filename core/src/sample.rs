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
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// What to pass to [`Rng::new`] to resume here: part of a saved session.
    pub const fn state(&self) -> u64 {
        self.0
    }
}

/// A draw moves a generator by this much.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The draw of a generator that has moved to `state` for it.
const fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `ln 2` in Q40.
const LN_2: u64 = 762_123_384_786;

/// `ln(1 + 2^-k)` in Q40, k = 1, 2, ...
const LN_GROWN: [u64; 18] = [
    445_813_601_022,
    245_348_929_333,
    129_503_817_259,
    66_657_476_617,
    33_833_796_510,
    17_047_033_376,
    8_556_553_905,
    4_286_600_470,
    2_145_389_223,
    1_073_217_877,
    536_739_883,
    268_402_693,
    134_209_537,
    67_106_816,
    33_553_920,
    16_777_088,
    8_388_576,
    4_194_296,
];

/// `-ln u` in Q32, `u` a share of `2^64`: of uniform numbers an exponential variate. Error below `2^-31`.
///
/// `u` is doubled until it is at least one half, then grown by a half, a quarter, an eighth, where it stays below one: the
/// logarithms of the factors add up, and of what is left `-ln u` is `1 - u`.
pub const fn exponential(random: u64) -> u64 {
    let u = random | 1;
    let octaves = u.leading_zeros();
    let (mut u, mut sum, mut k) = (u << octaves, octaves as u64 * LN_2, 0);
    while k < LN_GROWN.len() {
        if let Some(grown) = u.checked_add(u >> (k + 1)) {
            u = grown;
            sum += LN_GROWN[k];
        }
        k += 1;
    }
    (sum + (u.wrapping_neg() >> 24)) >> 8
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

/// The bytes that may be chosen, with their weights: a distribution in integers.
///
/// For the cuts candidates are ordered by logit, equals by byte value; `top_k` cuts first, then `top_p` of what is left (the
/// first candidate always stays). Probabilities below `2^-24` of the largest are zero.
#[derive(Clone, Debug)]
pub struct Candidates {
    order: [u8; VOCAB],
    /// Q24 of the largest; 256 of them sum to `2^32` at most.
    weights: [u32; VOCAB],
    count: usize,
    total: u64,
}

impl Candidates {
    /// The distribution that [`sample`] draws from. Greedy, it is one byte.
    ///
    /// # Cost
    /// 256 exponentials; with `top_k` or `top_p` a sort of 256 bytes.
    #[inline(always)]
    pub fn new(logits: &Logits, options: &SampleOptions) -> Self {
        if options.temperature == 0 {
            return Self::only(most_probable(logits));
        }
        let mut order = [0u8; VOCAB];
        for (byte, slot) in order.iter_mut().enumerate() {
            *slot = byte as u8;
        }
        let keep = if options.top_k == 0 { VOCAB } else { (options.top_k as usize).min(VOCAB) };
        if keep == VOCAB && options.top_p >= 65_536 {
            // Nothing is cut, so the order does not matter; the most probable byte first, and choosing is quick.
            order.swap(0, most_probable(logits) as usize);
        } else {
            sort(&mut order, |a, b| {
                let (of_a, of_b) = (logits[a as usize], logits[b as usize]);
                of_a > of_b || (of_a == of_b && a < b)
            });
        }
        let largest = logits[order[0] as usize];
        let inverse = (1u64 << 32) / options.temperature as u64; // Q16
        let mut weights = [0u32; VOCAB];
        let mut sum = 0u64;
        for (weight_of, &byte) in weights.iter_mut().zip(&order).take(keep) {
            let distance = largest.abs_diff(logits[byte as usize]) as u64;
            *weight_of = (weight(((distance as u128 * inverse as u128) >> 16).min(1 << 40) as u64) >> 7) as u32;
            sum += *weight_of as u64;
        }
        let goal = ((sum as u128 * options.top_p.min(65_536) as u128) >> 16) as u64;
        let (mut total, mut count) = (0u64, 0);
        for &weight in weights.iter().take(keep) {
            if count > 0 && total >= goal {
                break;
            }
            total += weight as u64;
            count += 1;
        }
        Self { order, weights, count, total }
    }

    /// One byte alone.
    pub const fn only(byte: u8) -> Self {
        let (mut order, mut weights) = ([0; VOCAB], [0; VOCAB]);
        (order[0], weights[0]) = (byte, 1);
        Self { order, weights, count: 1, total: 1 }
    }

    /// The sum of all weights, `1..=2^32`.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes and their weights, each at most `2^24`; the most probable byte is first.
    pub fn iter(&self) -> impl Iterator<Item = (u8, u32)> + '_ {
        self.order.iter().copied().zip(self.weights).take(self.count)
    }

    /// The byte that `random` chooses: each has an exponential variate from a number of its own, which `random` and its
    /// value give, and the least beside its weight wins (of equals the larger weight, then the smaller byte).
    ///
    /// So two distributions with one `random` choose the same byte as often as two choices can that do not know of each
    /// other: never less than `(1 - TV) / (1 + TV)`, TV being their distance in total variation (Gumbel's trick; Daliri,
    /// Musco and Suresh, arXiv 2408.07978).
    #[inline(always)]
    pub fn at(&self, random: u64) -> u8 {
        let own = |byte: u8| mix(random.wrapping_add(STEP.wrapping_mul(byte as u64 + 1)));
        let mut all = self.iter();
        let Some((mut best, mut weight)) = all.next() else {
            return never("there is a candidate", self.order[0]);
        };
        let mut least = exponential(own(best));
        for (byte, share) in all.filter(|&(_, share)| share > 0) {
            let random = own(byte);
            // -ln u is at least 1 - u, which costs no logarithm; less than 2^38, and weights are 2^24 at most.
            let bound = (!random >> 32).saturating_sub(1);
            if bound * weight as u64 > least * share as u64 {
                continue;
            }
            let variate = exponential(random);
            let (far, near) = (variate * weight as u64, least * share as u64);
            if far < near || far == near && (share > weight || share == weight && byte < best) {
                (best, weight, least) = (byte, share, variate);
            }
        }
        best
    }
}

/// Chooses a byte: that of [`Candidates::at`] for one draw.
///
/// # Cost
/// That of [`Candidates::new`]; one draw of `rng`, none if greedy. So equal generators before the same byte of a text mean
/// equal random numbers, whoever draws: this is what couples a draft to the text (`mambabyte_host::speculate`).
pub fn sample(logits: &Logits, options: &SampleOptions, rng: &mut Rng) -> u8 {
    if options.temperature == 0 {
        return most_probable(logits);
    }
    Candidates::new(logits, options).at(rng.next_u64())
}
