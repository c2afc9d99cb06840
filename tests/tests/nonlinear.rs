//! Every integer nonlinearity over its whole input range against f64, with the bound that its documentation states.

use mambabyte_core::nonlinear::{decay, exp2_fraction, log2_q16, log2_softplus, rsqrt, sigmoid, silu};
use mambabyte_core::score::weight;
use mambabyte_core::{Logits, Rng, probability, surprise};

#[test]
fn exp2_of_every_fraction() {
    for f in 0..=u16::MAX {
        let exact = 32768.0 * (f64::from(f) / 65536.0).exp2();
        let error = (f64::from(exp2_fraction(f)) - exact).abs() / exact;
        assert!(error <= 4e-5, "{f}: {error}");
    }
}

#[test]
fn log2_of_small_numbers_powers_and_random_ones() {
    let mut rng = Rng::new(1);
    let powers = (0..64).flat_map(|k| [(1u64 << k) - u64::from(k > 0), 1 << k, (1 << k) + u64::from(k > 0)]);
    let random = (0..1_000_000).map(|k| rng.next_u64() >> (k % 64));
    for x in (1..=1u64 << 20).chain(powers).chain(random).filter(|&x| x > 0) {
        let error = (f64::from(log2_q16(x)) / 65536.0 - (x as f64).log2()).abs();
        assert!(error <= 4e-5, "{x}: {error}");
    }
    assert_eq!(log2_q16(0), 0);
}

#[test]
fn log2_softplus_of_every_argument() {
    for v in -(1 << 20)..=1 << 20 {
        let real = f64::from(v) / 1024.0;
        // ln(1 + e^v) of very negative v is e^v.
        let exact = if real < -30.0 { real * std::f64::consts::LOG2_E } else { real.exp().ln_1p().log2() };
        let exact = if real > 700.0 { real.log2() } else { exact };
        let error = (f64::from(log2_softplus(v)) / 1024.0 - exact).abs();
        assert!(error <= 1.6e-3 + 1e-5 * real.abs(), "{v}: {error}");
    }
}

#[test]
fn decay_keeps_the_rate() {
    for l in -40 * 1024..=40 * 1024 {
        let a = f64::from(decay(l));
        // Half a step of the result, the clamp at 32767, and 1/256 octave of the rate (plus its own rounding).
        let exact = |l: f64| 32768.0 * (-(l / 1024.0).exp2()).exp2();
        let (low, high) = (exact(f64::from(l) + 4.5), exact(f64::from(l) - 4.5));
        assert!(a >= low - 1.01 && a <= high + 0.51, "{l}: {a} not in {low}..{high}");
    }
    assert_eq!((decay(i32::from(i16::MIN) * 3), decay(1 << 20)), (32767, 0));
}

#[test]
fn sigmoid_and_silu_of_every_activation_in_every_format() {
    for frac in 4..=15u8 {
        let step = f64::from(frac).exp2().recip();
        for x in i16::MIN..=i16::MAX {
            let real = f64::from(x) * step;
            let exact = 1.0 / (1.0 + (-real).exp());
            let error = (f64::from(sigmoid(x, frac)) / 32768.0 - exact).abs();
            assert!(error <= 4e-5, "{x} {frac}: {error}");
            let error = (f64::from(silu(x, frac)) - f64::from(x) * exact).abs();
            assert!(error <= 0.51 + 4e-5 * f64::from(x).abs(), "{x} {frac}: {error}");
        }
    }
}

#[test]
fn rsqrt_of_every_mantissa_and_exponent() {
    for mantissa in 1 << 14..=u16::MAX {
        for shift in [0, 2, 8, 30, 46] {
            let x = u64::from(mantissa) << shift;
            let (r, e) = rsqrt(x);
            let exact = (x as f64).sqrt().recip();
            let error = (f64::from(r) * f64::from(-(23 + e)).exp2() / exact - 1.0).abs();
            assert!(error <= 8e-5, "{x}: {error}");
        }
    }
    let mut rng = Rng::new(2);
    for k in 0..1_000_000 {
        let x = (rng.next_u64() >> (k % 64)).max(1);
        let (r, e) = rsqrt(x);
        let error = (f64::from(r) * f64::from(-(23 + e)).exp2() * (x as f64).sqrt() - 1.0).abs();
        assert!(error <= 8e-5, "{x}: {error}");
    }
}

#[test]
fn weights_are_powers_of_two() {
    for distance in (0..1 << 20).chain((0..64).map(|k| k * 65_537 * 3)) {
        let exact = 2f64.powi(31) * (-(distance as f64) / 65536.0).exp2();
        assert!((weight(distance) as f64 - exact).abs() <= exact * 4e-5 + 1.0, "{distance}");
    }
}

#[test]
fn surprise_and_probability_agree_with_f64() {
    let mut rng = Rng::new(3);
    for round in 0..400 {
        let logits: Logits = std::array::from_fn(|_| (rng.next_u64() as i32) >> (round % 20));
        let largest = f64::from(*logits.iter().max().unwrap());
        let sum: f64 = logits.iter().map(|&l| ((f64::from(l) - largest) / 65536.0).exp2()).sum();
        let mut total = 0.0;
        for byte in 0..=255u8 {
            let p = ((f64::from(logits[byte as usize]) - largest) / 65536.0).exp2() / sum;
            let s = f64::from(surprise(&logits, byte)) / 65536.0;
            assert!((s - -p.log2()).abs() <= 2e-4 || p < 1e-300 || s > 60_000.0, "{s} {}", -p.log2());
            assert!((f64::from(probability(&logits, byte)) / 2f64.powi(32) - p).abs() <= 1e-4);
            total += (-s).exp2();
        }
        assert!((total - 1.0).abs() <= 2e-4, "{total}");
    }
    let mut extreme: Logits = [i32::MIN; 256];
    extreme[7] = i32::MAX;
    assert_eq!((surprise(&extreme, 7), probability(&extreme, 8)), (0, 0));
    assert_eq!(surprise(&[i32::MIN; 256], 0), 8 << 16);
}
