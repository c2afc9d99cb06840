//! The last correction: for each bit of a byte, a curve from what was mixed to what came of it; at 1M also one for each
//! node.
//!
//! Twenty-three points a curve, one for each unit of the stretch domain; between two of them linear. Half of the answer
//! is the curve's, or the mean of both, half the mixture's own.

use super::design::{Correction, POINTS};
use super::math::squash;

/// How fast a point learns.
const RATE: u32 = 6;

/// The first of the curves for nodes; before it are those for bits.
const NODES: u32 = 8;

/// The point below `x` of a curve, and how far `x` is beyond it, of 256.
#[inline(always)]
fn place(x: i32, curve: u32) -> (usize, u32) {
    let x = (x + 2816) as u32;
    (curve as usize * POINTS + (x >> 8) as usize, x & 255)
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
pub(crate) fn correct(sse: &[u16], by: Correction, x: i32, p: u16, known: u32, bit: u32) -> u16 {
    match by {
        Correction::None => p,
        Correction::ByBit => on_curve(sse, x, p, bit),
        Correction::ByNode => {
            ((on_curve(sse, x, p, bit) as u32 + on_curve(sse, x, p, NODES + known) as u32) >> 1) as u16
        }
    }
}

#[inline(always)]
fn on_curve(sse: &[u16], x: i32, p: u16, curve: u32) -> u16 {
    let (at, beyond) = place(x, curve);
    let point = |at: usize| sse.get(at).copied().unwrap_or(32_768) as u32;
    let curve = (point(at) * (256 - beyond) + point(at + 1) * beyond) >> 8;
    ((p as u32 + curve) >> 1) as u16
}

/// Moves the nearer point of each curve towards what came.
#[inline(always)]
pub(crate) fn learn(sse: &mut [u16], by: Correction, x: i32, known: u32, bit: u32, one: bool) {
    if by != Correction::None {
        move_point(sse, x, bit, one);
    }
    if by == Correction::ByNode {
        move_point(sse, x, NODES + known, one);
    }
}

#[inline(always)]
fn move_point(sse: &mut [u16], x: i32, curve: u32, one: bool) {
    let (at, beyond) = place(x, curve);
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
            let (p, corrected) = (squash(x) as i32, on_curve(&sse, x, squash(x), 3) as i32);
            // Between points a line is not the curve.
            assert!((p - corrected).abs() < 1000, "{x}");
        }
        // What is said to be even is always one.
        for _ in 0..500 {
            learn(&mut sse, Correction::ByBit, 0, 1, 3, true);
        }
        assert!(on_curve(&sse, 0, 32_768, 3) > 48_000 && on_curve(&sse, 0, 32_768, 4) < 33_000);
    }
}
