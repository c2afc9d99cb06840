//! What the net says of one bit: the share of its distribution that has this bit set, among the bytes that begin with the
//! bits that are known.

use super::math::clamp;
use crate::dims::Logits;
use crate::dims::VOCAB;
use crate::nonlinear::log2_q16_of_u32;
use crate::score::{Sum, largest, surprise_in, weight_q24, weights};

/// The tree is empty.
const EMPTY: u8 = 0;
/// The tree is of high nibbles.
const HIGH: u8 = 1;
/// The tree is of the bytes of high nibble 0.
const LOW: u8 = 2;

/// The distribution, summed as far as a byte's path needs it: 272 exponentials in all.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    largest: i32,
    /// What the tree is of: [`EMPTY`], [`HIGH`], or from [`LOW`] on the bytes of a high nibble.
    of: u8,
    /// Sums of weights, Q24; half of all weights together are below 2^32. Below node `n` are `2 n` and `2 n + 1`; the 16
    /// leaves, from 16 on, are the bytes of each high nibble, later those of one nibble.
    tree: [u32; 32],
}

impl Net {
    /// It takes the logits when it is first asked.
    pub(crate) const EMPTY: Self = Self { largest: 0, of: EMPTY, tree: [0; 32] };

    /// For the logits of another byte.
    pub(crate) fn forget(&mut self) {
        self.of = EMPTY;
    }

    /// What the net alone says of a byte: [`surprise`](crate::surprise), to the bit, from the pass over the logits that the
    /// nodes need. To be called before [`Self::node`].
    pub(crate) fn surprise(&mut self, logits: &Logits, byte: u8) -> u32 {
        let sum = self.weigh::<true>(logits);
        self.add_up(HIGH);
        surprise_in(self.largest, sum.total(), logits[byte as usize])
    }

    /// `ln(p / (1 - p))` in Q8 of the next bit being 1; `known` has a one and then `bit` known bits. The logits are those
    /// of the first call since [`Self::forget`].
    ///
    /// # Cost
    /// 256 exponentials for the first bit, 16 for the fifth.
    #[inline(always)]
    pub(crate) fn node(&mut self, logits: &Logits, known: u32, bit: u32) -> i32 {
        if bit < 4 {
            if self.of != HIGH {
                self.weigh::<false>(logits);
                self.add_up(HIGH);
            }
            return self.ratio(known);
        }
        let low = bit - 4;
        let nibble = (known >> low & 15) as u8;
        if self.of != LOW + nibble {
            if self.of == EMPTY {
                self.weigh::<false>(logits);
            }
            self.open(logits, nibble);
            self.add_up(LOW + nibble);
        }
        let one = 1 << low;
        self.ratio(one | known & (one - 1))
    }

    /// All 256 weights, which any coder of the distribution needs, and if asked for the sum of the finer ones.
    fn weigh<const TOTAL: bool>(&mut self, logits: &Logits) -> Sum {
        #[cfg(mambabyte_avx2)]
        if let Some(avx2) = crate::simd::Avx2::detect() {
            self.largest = avx2.run(|| largest(logits));
            let (sums, total) = avx2.weigh(logits, self.largest);
            self.tree[16..].copy_from_slice(&sums);
            return total;
        }
        let largest = largest(logits);
        self.largest = largest;
        let mut total = Sum::default();
        for (sum, bytes) in self.tree[16..].iter_mut().zip(logits.as_chunks::<16>().0) {
            let coarse = |&logit| {
                if !TOTAL {
                    return net_weight(largest, logit);
                }
                let [coarse, fine] = weights(largest.wrapping_sub(logit) as u32);
                total.add(fine);
                coarse
            };
            *sum = bytes.iter().map(coarse).sum();
        }
        total
    }

    /// The bytes of a high nibble.
    fn open(&mut self, logits: &Logits, nibble: u8) {
        if let Some(bytes) = logits.as_chunks::<16>().0.get(nibble as usize) {
            for (leaf, &logit) in self.tree[16..].iter_mut().zip(bytes) {
                *leaf = net_weight(self.largest, logit);
            }
        }
    }

    /// From the leaves to the root, which is not asked for.
    fn add_up(&mut self, of: u8) {
        self.of = of;
        macro_rules! sums {
            ($($node:literal)*) => { $(self.tree[$node] = self.tree[2 * $node] + self.tree[2 * $node + 1];)* };
        }
        sums!(15 14 13 12 11 10 9 8 7 6 5 4 3 2);
    }

    /// `ln(ones / zeros)` in Q8 below a node, clamped.
    #[inline(always)]
    fn ratio(&self, node: u32) -> i32 {
        let at = (node * 2) as usize & 30;
        let octaves = log2_q16_of_u32(self.tree[at + 1] + 1) as i32 - log2_q16_of_u32(self.tree[at] + 1) as i32;
        // ln 2 in Q8 is 177.45.
        clamp((octaves * 355) >> 17)
    }
}

const _: () = assert!(VOCAB == 16 * 16);

#[inline(always)]
fn net_weight(largest: i32, logit: i32) -> u32 {
    weight_q24(largest.wrapping_sub(logit) as u32)
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
            net.forget();
            assert_eq!(net.surprise(&logits, byte as u8), crate::surprise(&logits, byte as u8));
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
