//! The nodes of a byte from a model's logits alone, for archives without an adapter.

use crate::adapt::Path;
use crate::dims::Logits;
use crate::dims::VOCAB;
use crate::score::{largest, weight};

/// Least and largest probability of a node, those of an adapter.
const NODES: (u64, u64) = (3, 65_533);

/// What a model alone says of the bits of a byte: the share of its distribution that has a bit set, among the bytes
/// that begin with the bits that are known. An integer, so a decoder has the same on every machine.
///
/// ```
/// use mambabyte_core::archive::Shares;
/// let mut logits = [0; 256];
/// assert_eq!(Shares::new(&logits).node(1), 32_768);
/// logits[b'A' as usize] = 20 << 16; // 2^20 times as probable as any other
/// let path = Shares::new(&logits).path(b'A');
/// assert!(path.surprise() < 100); // of 65,536
/// ```
#[derive(Clone, Debug)]
pub struct Shares<'l> {
    logits: &'l Logits,
    largest: i32,
    /// Sums over the 16 bytes of each high nibble, Q31.
    high: [u64; 16],
    /// The bytes of one high nibble.
    low: [u64; 16],
    nibble: Option<u8>,
}

impl<'l> Shares<'l> {
    /// The shares of the byte that `logits` predict.
    ///
    /// # Cost
    /// 256 exponentials.
    pub fn new(logits: &'l Logits) -> Self {
        let largest = largest(logits);
        let mut shares = Self { logits, largest, high: [0; 16], low: [0; 16], nibble: None };
        for (sum, bytes) in shares.high.iter_mut().zip(logits.as_chunks::<16>().0) {
            *sum = bytes.iter().map(|&logit| weight(largest.abs_diff(logit) as u64)).sum();
        }
        shares
    }

    /// The probability of a 1 after the known bits, Q16 in 3..=65533. `known` is 1 and then those bits, 1..=255.
    ///
    /// # Cost
    /// One division; the fifth bit also 16 exponentials.
    pub fn node(&mut self, known: u8) -> u16 {
        let known = if known == 0 { 1 } else { known };
        let bit = 7 - known.leading_zeros();
        let (sums, bit) = if bit < 4 {
            (&self.high, bit)
        } else {
            let nibble = known >> (bit - 4) & 15;
            if self.nibble != Some(nibble) {
                self.nibble = Some(nibble);
                let bytes = self.logits.as_chunks::<16>().0.get(nibble as usize);
                for (w, &logit) in self.low.iter_mut().zip(bytes.into_iter().flatten()) {
                    *w = weight(self.largest.abs_diff(logit) as u64);
                }
            }
            (&self.low, bit - 4)
        };
        let (half, start) = (8usize >> bit, ((known as usize) << (4 - bit)) & 15);
        let sum = |from: usize| sums.iter().skip(from).take(half).sum::<u64>();
        let (zeros, ones) = (sum(start), sum(start + half));
        // At most 256 weights of 2^31: 2^55 after the shift.
        let p = (ones << 16).checked_div(zeros + ones).unwrap_or(32_768);
        p.clamp(NODES.0, NODES.1) as u16
    }

    /// All eight nodes of `byte`.
    pub fn path(&mut self, byte: u8) -> Path {
        let mut nodes = [0; 8];
        for (bit, node) in nodes.iter_mut().enumerate() {
            *node = self.node(((byte as u16 | 256) >> (8 - bit)) as u8);
        }
        Path { nodes, byte }
    }
}

const _: () = assert!(VOCAB == 16 * 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::surprise;

    #[test]
    fn a_path_costs_what_the_byte_is_worth() {
        let mut logits = [0; VOCAB];
        let mut seed = 1u32;
        for logit in &mut logits {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *logit = (seed >> 13) as i32;
        }
        for byte in 0..=255 {
            let (path, whole) = (Shares::new(&logits).path(byte).surprise(), surprise(&logits, byte));
            assert!(path.abs_diff(whole) < whole / 200 + 200, "{byte}: {path} {whole}");
        }
    }

    #[test]
    fn what_has_no_weight_is_still_possible() {
        let mut logits = [i32::MIN; VOCAB];
        logits[7] = i32::MAX;
        for byte in [0, 7, 8, 255] {
            let path = Shares::new(&logits).path(byte);
            assert!(path.nodes.iter().all(|node| (3..=65_533).contains(node)), "{path:?}");
        }
        assert!(Shares::new(&logits).path(7).surprise() < 100);
        assert_eq!(Shares::new(&logits).node(0), Shares::new(&logits).node(1));
    }
}
