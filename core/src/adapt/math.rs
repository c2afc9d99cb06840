//! The arithmetic of the adapter: probabilities, their logarithms, hashes. Integers only, no division.
//!
//! A probability is of the bit being 1, Q16 in 1..=65535. In the *stretch domain* it is
//! `stretch(p) = ln(p / (1 - p))`, Q8, clamped to +-11 ([`LIMIT`]); `squash` is its inverse. There a mixture is a sum.

use crate::tables::{SQUASH, STRETCH};

/// The largest value of the stretch domain: 11 in Q8, less one step.
pub(crate) const LIMIT: i32 = 2815;

/// Limits to the stretch domain.
#[inline(always)]
pub(crate) fn clamp(x: i32) -> i32 {
    x.clamp(-LIMIT, LIMIT)
}

/// `ln(p / (1 - p))` in Q8, from the upper twelve bits of `p`.
#[inline(always)]
pub(crate) fn stretch(p: u16) -> i32 {
    let index = (p >> 4) as usize;
    // The table has the upper half; the function is odd around one half.
    if index >= 2048 { STRETCH[index & 2047] as i32 } else { -(STRETCH[2047 - index] as i32) }
}

/// `65536 / (1 + e^-x)`, `x` in Q8, linear between steps of 1/16.
#[inline(always)]
pub(crate) fn squash(x: i32) -> u16 {
    let x = (clamp(x) + 2832) as usize;
    let (index, low) = (x >> 4, (x & 15) as u32);
    // 0..=353: the table has 356 entries.
    let (here, next) = (SQUASH[index] as u32, SQUASH[index + 1] as u32);
    ((here * (16 - low) + next * low) >> 4) as u16
}

/// Moves a probability towards what came by `2^-rate` of the distance; never to certainty.
#[inline(always)]
pub(crate) fn learn(p: &mut u16, bit: bool, rate: u32) {
    let v = *p as u32;
    let moved = if bit { v + ((65535 - v) >> rate) } else { v - (v >> rate) };
    *p = moved.clamp(16, 65519) as u16;
}

/// One hash of two numbers; to chain, put the hash in front.
#[inline(always)]
pub(crate) fn hash(a: u32, b: u32) -> u32 {
    let mut h = a.wrapping_mul(0x9e37_79b1) ^ b.wrapping_add(0x7f4a_7c15).wrapping_mul(0x85eb_ca6b);
    h ^= h >> 15;
    h = h.wrapping_mul(0x2c1b_3c6d);
    h ^ (h >> 13)
}

/// `h` scaled to `0..n` by its lower 16 bits: no division. In 64 bits only where 32 are too few, and the same on machines
/// whose `usize` has 32.
#[inline(always)]
pub(crate) fn scaled(h: u32, n: usize) -> usize {
    let low = h & 0xffff;
    if n <= 0x1_0000 { ((low * n as u32) >> 16) as usize } else { ((low as u64 * n as u64) >> 16) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretch_and_squash_are_inverse() {
        for p in (16..=65519u16).step_by(7) {
            let back = squash(stretch(p)) as i32;
            // Sixteen of a cell of stretch, a unit of its result, and the chord of squash.
            assert!((back - p as i32).abs() <= 48, "{p} {back}");
        }
        let mut last = 0;
        for x in -3000..3000 {
            let p = squash(x);
            assert!(p >= last && p > 0);
            last = p;
        }
        assert_eq!((stretch(32768), squash(0)), (0, 32768));
    }

    #[test]
    fn learning_stays_inside() {
        for rate in 1..8 {
            let (mut up, mut down) = (32768, 32768);
            for _ in 0..10_000 {
                learn(&mut up, true, rate);
                learn(&mut down, false, rate);
            }
            assert!(up > 60_000 && up <= 65519 && (16..5_000).contains(&down), "{rate}: {up} {down}");
        }
    }

    #[test]
    fn hashes_spread() {
        let mut seen = [0u32; 64];
        for a in 0..64 {
            for b in 0..64 {
                seen[scaled(hash(a, b), 64)] += 1;
            }
        }
        assert!(seen.iter().all(|&n| (30..110).contains(&n)), "{seen:?}");
    }
}
