//! Whether the decays of a channel are powers of one number, as Mamba's initialisation makes them and training may keep
//! them: `A[d, n] = (n + 1) * A[d, 0]`, so `A_log[d, n] = A_log[d, 0] + ln(n + 1)`.
//!
//! A file in half precision has each logarithm rounded by itself. The channel is tied if one first logarithm exists
//! that rounds to every one that is stored.

use super::tensor::Dtype;

/// How far a logarithm may be from where it should be, beside the rounding of its type.
const TOLERANCE: f64 = 1e-5;

/// Half the distance to the next number of the type.
fn half_unit(value: f64, dtype: Dtype) -> f64 {
    let bits = match dtype {
        Dtype::F32 | Dtype::F64 => return 0.0,
        Dtype::F16 => 11,
        Dtype::Bf16 => 8,
    };
    // The least exponent of a normal f16; bf16's is far below any logarithm of interest.
    let exponent = if value == 0.0 { -14 } else { (value.abs().log2().floor() as i32).max(-14) };
    2_f64.powi(exponent - bits)
}

/// The first logarithms of all channels of `a_log`, `[d_inner, d_state]`, if every channel is tied; stored in `dtype`.
pub(super) fn tied(a_log: &[f32], d_state: usize, dtype: Dtype) -> Option<Vec<f64>> {
    let steps: Vec<f64> = (1..=d_state).map(|n| (n as f64).ln()).collect();
    let channel = |channel: &[f32]| {
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        for (&a, step) in channel.iter().zip(&steps) {
            let reach = half_unit(f64::from(a), dtype) + TOLERANCE;
            low = low.max(f64::from(a) - step - reach);
            high = high.min(f64::from(a) - step + reach);
        }
        // Of those that fit, the one nearest to what is stored.
        (low <= high).then(|| channel.first().map_or(0.0, |&a| f64::from(a)).clamp(low, high))
    };
    a_log.chunks_exact(d_state).map(channel).collect()
}

/// Writes what the rounding took: every logarithm from the first.
pub(super) fn spread(first: &[f64], a_log: &mut [f32], d_state: usize) {
    for (channel, first) in a_log.chunks_exact_mut(d_state).zip(first) {
        for (n, a) in channel.iter_mut().enumerate() {
            *a = (first + ((n + 1) as f64).ln()) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    fn logs(first: f32, d_state: usize) -> Vec<f32> {
        (1..=d_state).map(|n| first + (n as f32).ln()).collect()
    }

    #[test]
    fn rounded_decays_are_tied_and_come_back() {
        for first in [0.0, 0.7, -0.3, 1.9, -2.2, 0.0004] {
            let exact = logs(first, 16);
            let f16s: Vec<f32> = exact.iter().map(|&a| f16::from_f32(a).to_f32()).collect();
            let bf16s: Vec<f32> = exact.iter().map(|&a| bf16::from_f32(a).to_f32()).collect();
            for (stored, dtype, near) in
                [(&exact, Dtype::F32, 2e-5), (&f16s, Dtype::F16, 1.1e-3), (&bf16s, Dtype::Bf16, 9e-3)]
            {
                let found = tied(stored, 16, dtype).unwrap_or_else(|| panic!("{first} {dtype:?}"));
                let mut spread_out = stored.clone();
                spread(&found, &mut spread_out, 16);
                assert!(spread_out.iter().zip(&exact).all(|(a, b)| (a - b).abs() < near), "{first} {dtype:?}");
            }
            // In f32 the same numbers are not tied: nothing says that they were rounded.
            assert_eq!(tied(&bf16s, 16, Dtype::F32), None);
        }
    }

    #[test]
    fn free_decays_are_not_tied() {
        let mut free = logs(0.5, 8);
        free[5] += 0.02;
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            assert_eq!(tied(&free, 8, dtype), None, "{dtype:?}");
            assert_eq!(tied(&[logs(0.5, 8), free.clone()].concat(), 8, dtype), None);
        }
    }
}
