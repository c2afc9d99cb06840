//! What the net says of one bit: the share of its distribution that has this bit set, among the bytes that begin with the
//! bits that are known.

use super::math::clamp;
use crate::dims::VOCAB;
use crate::nonlinear::log2_q16_of_u32;
use crate::score::weight_q24;
use crate::step::Logits;

/// No nibble yet.
const NONE: u32 = 16;
/// No weights yet.
const EMPTY: u32 = 17;

/// Sums of weights over half a byte, Q24, as a tree: those below node `n` are `2 n` and `2 n + 1`, the leaves are from 16
/// on. Half of all weights together are below 2^32.
type Tree = [u32; 32];

/// The distribution, summed as far as a byte's path needs it: 272 exponentials in all.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    largest: i32,
    /// The nibble that `low` is of.
    nibble: u32,
    /// A leaf is the 16 bytes of a high nibble.
    high: Tree,
    /// A leaf is a byte of one high nibble.
    low: Tree,
}

impl Net {
    /// It takes the logits when it is first asked.
    pub(crate) const EMPTY: Self = Self { largest: 0, nibble: EMPTY, high: [0; 32], low: [0; 32] };

    fn begin(&mut self, logits: &Logits) {
        self.weigh(logits);
        self.nibble = NONE;
        add_up(&mut self.high);
    }

    /// All 256 weights, which any coder of the distribution needs.
    fn weigh(&mut self, logits: &Logits) {
        self.largest = logits.iter().fold(i32::MIN, |m, &l| if l > m { l } else { m });
        for (sum, bytes) in self.high[16..].iter_mut().zip(logits.as_chunks::<16>().0) {
            *sum = bytes.iter().map(|&logit| net_weight(self.largest, logit)).sum();
        }
    }

    /// `ln(p / (1 - p))` in Q8 of the next bit being 1; `known` has a one and then `bit` known bits. The
    /// logits are those of the first call.
    #[inline(always)]
    pub(crate) fn node(&mut self, logits: &Logits, known: u32, bit: u32) -> i32 {
        if self.nibble == EMPTY {
            self.begin(logits);
        }
        if bit < 4 {
            return ratio(&self.high, known);
        }
        let of_low = bit - 4;
        let nibble = known >> of_low & 15;
        if self.nibble != nibble {
            self.nibble = nibble;
            self.open(logits);
        }
        ratio(&self.low, known ^ ((16 | nibble) << of_low) ^ (1 << of_low))
    }

    /// The bytes of a high nibble.
    fn open(&mut self, logits: &Logits) {
        if let Some(bytes) = logits.as_chunks::<16>().0.get(self.nibble as usize) {
            for (leaf, &logit) in self.low[16..].iter_mut().zip(bytes) {
                *leaf = net_weight(self.largest, logit);
            }
        }
        add_up(&mut self.low);
    }
}

const _: () = assert!(VOCAB == 16 * 16);

#[inline(always)]
fn net_weight(largest: i32, logit: i32) -> u32 {
    weight_q24(largest.wrapping_sub(logit) as u32)
}

/// From the leaves to the root, which is not asked for.
#[inline(always)]
fn add_up(tree: &mut Tree) {
    for node in (2..16).rev() {
        tree[node] = tree[2 * node] + tree[2 * node + 1];
    }
}

/// `ln(ones / zeros)` in Q8 below a node, clamped.
#[inline(always)]
fn ratio(tree: &Tree, node: u32) -> i32 {
    let at = (node * 2) as usize & 30;
    let octaves = log2_q16_of_u32(tree[at + 1] + 1) as i32 - log2_q16_of_u32(tree[at] + 1) as i32;
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
        let mut net = Net::EMPTY;
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
