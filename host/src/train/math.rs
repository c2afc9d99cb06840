//! Float functions as plain arithmetic, which the compiler turns into vectors, and the choice of these.
//!
//! Nothing here is fused (no multiply-add), so that these functions have the same bits on every processor; only the
//! matrix products depend on it. NaN goes through every one of them.

use pulp::Arch;

/// Runs `work`, compiled a second time for AVX2 where the processor has it. What it calls must be inlined.
#[inline(always)]
pub(crate) fn vectors<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// `e^x`; arguments beyond `-87.3..=88.3` count as these. Relative error at most 2.5e-7.
///
/// `x = n ln 2 + r`, `|r| <= ln 2 / 2`, `e^r` by its Taylor polynomial of degree 7, whose rest is below 6e-9.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding `1.5 * 2^23` rounds to an integer, which is then in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts: the first has nine trailing zero bits, so that its products with `n` are exact.
    const LN_2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.3 { 88.3 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let tail = 1.0 / 5040.0;
    let tail = 1.0 / 720.0 + r * tail;
    let tail = 1.0 / 120.0 + r * tail;
    let tail = 1.0 / 24.0 + r * tail;
    let tail = 1.0 / 6.0 + r * tail;
    let tail = 0.5 + r * tail;
    let power = 1.0 + (r + r * r * tail);
    // The exponent's bits are those above bit 23: what ROUND has there falls out.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    power * scale
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `ln(1 + e^v)` and its derivative, the sigmoid, both with a relative error of at most 1e-6.
///
/// With `u = e^-|v|` and `s = u / (2 + u)`: `ln(1 + u) = 2 (s + s^3 / 3 + s^5 / 5 + ...)`, `s <= 1 / 3`.
#[inline(always)]
pub(super) fn softplus(v: f32) -> (f32, f32) {
    let u = exp(if v > 0.0 { -v } else { v });
    let s = u / (2.0 + u);
    let q = s * s;
    let tail = 1.0 / 11.0 + q * (1.0 / 13.0 + q * (1.0 / 15.0));
    let tail = 1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * tail));
    let log = 2.0 * (s + s * q * (1.0 / 3.0 + q * tail));
    let share = 1.0 / (1.0 + u);
    if v > 0.0 { (v + log, share) } else { (log, u * share) }
}

/// Lanes of a sum. One order of additions for every processor.
const LANES: usize = 16;

/// `sum f(a[i], b[i])` over both slices, in lanes.
#[inline(always)]
pub(super) fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_parts, b_parts) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_parts.remainder(), b_parts.remainder());
    for (a, b) in a_parts.zip(b_parts) {
        for l in 0..LANES {
            lanes[l] += f(a[l], b[l]);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += f(a, b);
    }
    total(lanes)
}

/// `sum f(a[i])`, in lanes.
#[inline(always)]
pub(super) fn sum(a: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    sum2(a, a, |a, _| f(a))
}

/// The sum of all lanes, by halves.
#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
    }
    lanes[0]
}

/// `sum += add`.
#[inline(always)]
pub(super) fn add(sum: &mut [f32], add: &[f32]) {
    sum.iter_mut().zip(add).for_each(|(sum, add)| *sum += add);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative error of `f` against `truth`.
    fn error(values: impl Iterator<Item = f32>, f: impl Fn(f32) -> f32, truth: impl Fn(f64) -> f64) -> f64 {
        values.map(|x| (f64::from(f(x)) / truth(f64::from(x)) - 1.0).abs()).fold(0.0, f64::max)
    }

    /// Steps of `2^-12` and odd ones between them.
    fn grid(low: i32, high: i32) -> impl Iterator<Item = f32> {
        (low * 4096..=high * 4096).flat_map(|i| [i as f32 / 4096.0, (i as f32 + 0.37) / 4096.0])
    }

    #[test]
    fn functions_keep_their_bounds() {
        assert!(error(grid(-87, 88), exp, f64::exp) < 2.5e-7);
        assert!(error(grid(-80, 80), |v| softplus(v).0, |v| v.max(0.0) + (-v.abs()).exp().ln_1p()) < 1e-6);
        assert!(error(grid(-80, 80), |v| softplus(v).1, |v| 1.0 / (1.0 + (-v).exp())) < 1e-6);
        assert!(error(grid(-80, 80), sigmoid, |v| 1.0 / (1.0 + (-v).exp())) < 1e-6);
        // What training starts with where nothing decays.
        assert!(exp(0.0) == 1.0 && exp(-1e30) < 2e-38 && exp(f32::INFINITY) > 2e38);
    }

    #[test]
    fn nan_goes_through() {
        let all = [exp(f32::NAN), sigmoid(f32::NAN), softplus(f32::NAN).0, softplus(f32::NAN).1];
        assert!(all.iter().all(|v| v.is_nan()));
        assert!(sum(&[1.0, f32::NAN, 2.0], |x| x).is_nan());
    }

    #[test]
    fn vectors_and_plain_code_have_the_same_bits() {
        let x: Vec<f32> = grid(-90, 90).step_by(97).collect();
        let mut fast = vec![0.0; x.len()];
        vectors(|| fast.iter_mut().zip(&x).for_each(|(y, &x)| *y = sigmoid(x) + softplus(x).0));
        for (x, y) in x.iter().zip(fast) {
            assert_eq!(y.to_bits(), (sigmoid(*x) + softplus(*x).0).to_bits(), "{x}");
        }
    }
}
