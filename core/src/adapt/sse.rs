//! The last correction: for each bit of a byte, a curve from what was mixed to what came of it.
//!
//! Twenty-three points a bit, one for each unit of the stretch domain; between two of them linear. Half of the answer is
//! the curve's, half the mixture's own.

use super::math::squash;

/// Points of a curve.
const POINTS: usize = 23;
/// How fast a point learns.
const RATE: u32 = 6;

/// The point below `x` of the curve of `bit`, and how far `x` is beyond it, of 256.
#[inline(always)]
fn place(x: i32, bit: u32) -> (usize, u32) {
    let x = (x + 2816) as u32;
    (bit as usize * POINTS + (x >> 8) as usize, x & 255)
}

/// Every curve is the identity.
pub(crate) fn start(sse: &mut [u16]) {
    for curve in sse.chunks_mut(POINTS) {
        for (point, p) in curve.iter_mut().enumerate() {
            *p = squash((point as i32 - 11) * 256);
        }
    }
}

/// The corrected probability of a mixture `p`, whose stretched value is `x`.
#[inline(always)]
pub(crate) fn correct(sse: &[u16], x: i32, p: u16, bit: u32) -> u16 {
    let (at, beyond) = place(x, bit);
    let point = |at: usize| sse.get(at).copied().unwrap_or(32_768) as u32;
    let curve = (point(at) * (256 - beyond) + point(at + 1) * beyond) >> 8;
    ((p as u32 + curve) >> 1) as u16
}

/// Moves the nearer point towards what came.
#[inline(always)]
pub(crate) fn learn(sse: &mut [u16], x: i32, bit: u32, one: bool) {
    let (at, beyond) = place(x, bit);
    if let Some(p) = sse.get_mut(at + (beyond >> 7) as usize) {
        let v = *p as u32;
        *p = if one { v + ((65_535 - v) >> RATE) } else { v - (v >> RATE) } as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_as_the_identity_and_learns_a_bias() {
        let mut sse = [0; 8 * POINTS];
        start(&mut sse);
        for x in (-2815..=2815).step_by(5) {
            let (p, corrected) = (squash(x) as i32, correct(&sse, x, squash(x), 3) as i32);
            // Between points a line is not the curve.
            assert!((p - corrected).abs() < 1000, "{x}");
        }
        // What is said to be even is always one.
        for _ in 0..500 {
            learn(&mut sse, 0, 3, true);
        }
        assert!(correct(&sse, 0, 32_768, 3) > 48_000 && correct(&sse, 0, 32_768, 4) < 33_000);
    }
}
