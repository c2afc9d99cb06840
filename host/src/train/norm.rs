//! RMSNorm and LayerNorm over rows, forward and back.

use super::math::{add, sum, sum2, vectors};

/// Normalises each row of `x` `[_, d_model]`: `normed = (x - mean) * inverse`, `inverse = 1 / sqrt(var + eps)`; the
/// mean counts as zero without `centred`, which is RMSNorm.
pub(super) fn forward(x: &[f32], centred: bool, eps: f32, normed: &mut [f32], inverse: &mut [f32]) {
    let n = x.len() / inverse.len();
    vectors(
        #[inline(always)]
        || {
            for ((x, normed), inverse) in x.chunks_exact(n).zip(normed.chunks_exact_mut(n)).zip(inverse) {
                let mean = if centred { sum(x, |x| x) / n as f32 } else { 0.0 };
                let variance = sum(x, |x| (x - mean) * (x - mean)) / n as f32;
                *inverse = 1.0 / (variance + eps).sqrt();
                normed.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * *inverse);
            }
        },
    );
}

/// `out = normed * weight + bias`; an empty bias is none.
pub(super) fn scale(normed: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    let n = weight.len();
    vectors(
        #[inline(always)]
        || {
            for (normed, out) in normed.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
                for ((out, x), w) in out.iter_mut().zip(normed).zip(weight) {
                    *out = x * w;
                }
                add(out, bias);
            }
        },
    );
}

/// What a norm remembers of its rows, and its weight.
#[derive(Clone, Copy)]
pub(super) struct Normed<'a> {
    /// `[_, d_model]`.
    pub(super) normed: &'a [f32],
    /// One for each row.
    pub(super) inverse: &'a [f32],
    /// `[d_model]`.
    pub(super) weight: &'a [f32],
    pub(super) centred: bool,
}

/// Adds the gradient of the input to `dx` and those of weight and bias to theirs; `dout` is that of `out`.
pub(super) fn backward(norm: Normed<'_>, dout: &[f32], dx: &mut [f32], dweight: &mut [f32], dbias: &mut [f32]) {
    let Normed { normed, inverse, weight, centred } = norm;
    let n = weight.len();
    vectors(
        #[inline(always)]
        || {
            let rows = dout.chunks_exact(n).zip(normed.chunks_exact(n)).zip(inverse).zip(dx.chunks_exact_mut(n));
            for (((dout, normed), inverse), dx) in rows {
                for ((dweight, dout), normed) in dweight.iter_mut().zip(dout).zip(normed) {
                    *dweight += dout * normed;
                }
                add(dbias, dout);
                let mean = if centred { sum2(dout, weight, |d, w| d * w) / n as f32 } else { 0.0 };
                // A sum over three slices, in lanes.
                let mut along = [0.0f32; 16];
                let parts = dout.chunks(16).zip(weight.chunks(16)).zip(normed.chunks(16));
                for ((dout, weight), normed) in parts {
                    for (((lane, d), w), x) in along.iter_mut().zip(dout).zip(weight).zip(normed) {
                        *lane += d * w * x;
                    }
                }
                let along = sum(&along, |x| x) / n as f32;
                for (((dx, d), w), x) in dx.iter_mut().zip(dout).zip(weight).zip(normed) {
                    *dx += inverse * (d * w - mean - x * along);
                }
            }
        },
    );
}
