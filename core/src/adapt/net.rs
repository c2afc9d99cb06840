//! What the net says of one bit: the share of its distribution that has this bit set, among the bytes that begin with the
//! bits that are known.

use super::math::clamp;
use crate::dims::VOCAB;
use crate::nonlinear::log2_q16;
use crate::score::weight;
use crate::step::Logits;

/// No nibble.
const NONE: u8 = 255;

/// The distribution, summed as far as a byte's path needs it: 272 exponentials in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Net {
    largest: i32,
    /// Sums over the 16 bytes of each high nibble, Q24.
    high: [u32; 16],
    /// The bytes of one high nibble.
    low: [u32; 16],
    nibble: u8,
}

impl Net {
    pub(crate) fn new(logits: &Logits) -> Self {
        let largest = logits.iter().fold(i32::MIN, |m, &l| if l > m { l } else { m });
        let mut net = Self { largest, high: [0; 16], low: [0; 16], nibble: NONE };
        for (sum, bytes) in net.high.iter_mut().zip(logits.as_chunks::<16>().0) {
            *sum = bytes.iter().map(|&logit| net_weight(largest, logit)).sum();
        }
        net
    }

    /// `ln(p / (1 - p))` in Q8 of the next bit being 1; `known` has a one and then `bit` known bits.
    pub(crate) fn node(&mut self, logits: &Logits, known: u32, bit: u32) -> i32 {
        let (sums, known, bit) = if bit < 4 {
            (&self.high, known, bit)
        } else {
            let nibble = (known >> (bit - 4) & 15) as u8;
            if self.nibble != nibble {
                self.nibble = nibble;
                let bytes = logits.as_chunks::<16>().0;
                for (w, &logit) in self.low.iter_mut().zip(bytes.get(nibble as usize).into_iter().flatten()) {
                    *w = net_weight(self.largest, logit);
                }
            }
            (&self.low, known, bit - 4)
        };
        let half = 8 >> bit;
        let start = (known as usize) << (4 - bit) & 15;
        let share = |from: usize| sums.iter().skip(from).take(half).sum::<u32>();
        ratio(share(start), share(start + half))
    }
}

const _: () = assert!(VOCAB == 16 * 16);

/// Q24: half of all weights together are below 2^32.
#[inline(always)]
fn net_weight(largest: i32, logit: i32) -> u32 {
    (weight(largest.abs_diff(logit) as u64) >> 7) as u32
}

/// `ln(ones / zeros)` in Q8, clamped.
#[inline(always)]
fn ratio(zeros: u32, ones: u32) -> i32 {
    let octaves = log2_q16(ones as u64 + 1) as i32 - log2_q16(zeros as u64 + 1) as i32;
    // ln 2 in Q8 is 177.45.
    clamp((octaves * 355) >> 17)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn nodes_are_shares_of_the_distribution() {
        let mut logits = [0; VOCAB];
        let mut seed = 1u32;
        for logit in &mut logits {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *logit = (seed >> 13) as i32;
        }
        let mut net = Net::new(&logits);
        let p: Vec<f64> = logits.iter().map(|&l| (f64::from(l) / 65_536.0).exp2()).collect();
        for byte in [0u32, 5, 97, 200, 255] {
            for bit in 0..8 {
                let known = (byte | 256) >> (8 - bit);
                let half = 128usize >> bit;
                let start = (known as usize) << (8 - bit) & 255;
                let sum = |from: usize| p[from..from + half].iter().sum::<f64>();
                let want = (sum(start + half) / sum(start)).ln() * 256.0;
                let found = f64::from(net.node(&logits, known, bit as u32));
                assert!((found - want).abs() < 1.5, "{byte} {bit}: {found} {want}");
            }
        }
    }
}
