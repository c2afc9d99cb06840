//! The arithmetic coder: binary, without carries, 32 bits (as in lpaq), probabilities of 16 bits.
//!
//! The numbers from `low` to `high` are what the bits so far leave. A bit takes its share of them: a one those up to the
//! split, a zero those above. Leading bytes that are equal are final, and leave.
//!
//! ```text
//! split = low + ((high - low) * p >> 16)          p: of a one, Q16
//! one:    high = split                            zero:  low = split + 1
//! while low and high agree in the first byte:     out, low = low << 8, high = high << 8 | 255
//! at the end:                                     nothing if low is 0, else the byte (low >> 24) + 1
//! ```
//!
//! What is not there reads as zeros, so the last byte is enough to be between `low` and `high`.

use crate::adapt::Path;

/// Where the numbers from `low` to `high` are split: below `high`, as `p` is below 2^16.
#[inline(always)]
const fn split(low: u32, high: u32, p: u16) -> u32 {
    low + (((high - low) as u64 * p as u64) >> 16) as u32
}

/// Codes bits into memory of the caller.
#[derive(Debug)]
pub struct Encoder<'o> {
    low: u32,
    high: u32,
    out: &'o mut [u8],
    length: usize,
}

impl<'o> Encoder<'o> {
    /// Codes into `out`, which is as long as the code may become.
    pub const fn new(out: &'o mut [u8]) -> Self {
        Self { low: 0, high: u32::MAX, out, length: 0 }
    }

    /// Codes a bit that is one with the probability `p`, Q16.
    ///
    /// # Cost
    /// One multiplication.
    #[inline]
    pub fn bit(&mut self, p: u16, one: bool) {
        let split = split(self.low, self.high, p);
        if one {
            self.high = split;
        } else {
            self.low = split + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.put((self.low >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 255;
        }
    }

    /// Codes the eight bits of a byte.
    pub fn path(&mut self, path: &Path) {
        for (index, &p) in path.nodes.iter().enumerate() {
            self.bit(p, path.byte >> (7 - index) & 1 != 0);
        }
    }

    /// Ends the code; its length, or `None` if it is longer than the memory.
    pub fn finish(mut self) -> Option<usize> {
        if self.low > 0 {
            // The first bytes differ, so this is at most the one of `high`.
            self.put((self.low >> 24) as u8 + 1);
        }
        (self.length <= self.out.len()).then_some(self.length)
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.out.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }
}

/// Decodes bits from what an [`Encoder`] wrote. From anything else it decodes something else, without harm.
#[derive(Clone, Debug)]
pub struct Decoder<'i> {
    low: u32,
    high: u32,
    value: u32,
    input: &'i [u8],
}

impl<'i> Decoder<'i> {
    /// Decodes `input`, exactly the code.
    pub fn new(input: &'i [u8]) -> Self {
        let mut decoder = Self { low: 0, high: u32::MAX, value: 0, input };
        for _ in 0..4 {
            decoder.value = decoder.value << 8 | decoder.next();
        }
        decoder
    }

    fn next(&mut self) -> u32 {
        let Some((&first, rest)) = self.input.split_first() else { return 0 };
        self.input = rest;
        first as u32
    }

    /// The next bit, with the probability that it was coded with.
    ///
    /// # Cost
    /// One multiplication.
    #[inline]
    pub fn bit(&mut self, p: u16) -> bool {
        let split = split(self.low, self.high, p);
        let one = self.value <= split;
        if one {
            self.high = split;
        } else {
            self.low = split + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 255;
            self.value = self.value << 8 | self.next();
        }
        one
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn random(seed: &mut u32) -> u32 {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *seed >> 8
    }

    /// Bits that are one with `p`, coded with `said`.
    fn coded(bits: &[(u16, bool)]) -> Vec<u8> {
        let mut out = vec![0; bits.len() * 2 + 8];
        let mut encoder = Encoder::new(&mut out);
        for &(p, one) in bits {
            encoder.bit(p, one);
        }
        let length = encoder.finish().unwrap();
        out.truncate(length);
        out
    }

    #[test]
    fn every_probability_comes_back_and_costs_what_it_is_worth() {
        let mut seed = 1;
        for p in [1, 3, 20, 655, 9_000, 32_768, 60_000, 65_533, 65_535] {
            let bits: Vec<(u16, bool)> = (0..200_000).map(|_| (p, (random(&mut seed) & 0xffff) < p as u32)).collect();
            let code = coded(&bits);
            let mut decoder = Decoder::new(&code);
            assert!(bits.iter().all(|&(p, one)| decoder.bit(p) == one), "{p}");
            let share = |one: bool| f64::from(if one { p as u32 } else { 65_536 - p as u32 }) / 65_536.0;
            let ideal: f64 = bits.iter().map(|&(_, one)| -share(one).log2()).sum::<f64>() / 8.0;
            assert!((code.len() as f64) < ideal * 1.0005 + 3.0, "{p}: {} {ideal}", code.len());
        }
    }

    #[test]
    fn the_least_probable_bits_and_mixtures_come_back() {
        let mut seed = 7;
        for length in 0..300 {
            let bits: Vec<(u16, bool)> = (0..length)
                .map(|_| {
                    let p = [3, 65_533, 32_768, random(&mut seed) as u16 | 1][random(&mut seed) as usize % 4];
                    (p, random(&mut seed).is_multiple_of(2))
                })
                .collect();
            let code = coded(&bits);
            let mut decoder = Decoder::new(&code);
            for &(p, one) in &bits {
                assert_eq!(decoder.bit(p), one);
            }
        }
    }

    #[test]
    fn memory_that_is_too_short_is_said() {
        let mut out = [0; 3];
        let mut encoder = Encoder::new(&mut out);
        (0..80).for_each(|_| encoder.bit(3, true));
        assert_eq!(encoder.finish(), None);
        assert_eq!(Encoder::new(&mut []).finish(), Some(0));
    }
}
