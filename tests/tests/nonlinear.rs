//! Every integer nonlinearity over its whole input range against f64. The bounds are those of the doc comments.

use mambabyte_core::nonlinear::{decay, exp2_fraction, log2_q16, log2_softplus, rsqrt, sigmoid, silu};
use mambabyte_core::score::{most_probable, probability, surprise, weight};
use mambabyte_core::selective_scan::delta_x;
use mambabyte_core::{Logits, Rng, VOCAB};

/// Largest error seen and where. Printed, so that `--nocapture` shows the measured bounds.
struct Worst {
    what: &'static str,
    error: f64,
    at: i128,
}

impl Worst {
    fn new(what: &'static str) -> Self {
        Self { what, error: 0.0, at: 0 }
    }

    fn see(&mut self, error: f64, at: i128) {
        assert!(!error.is_nan(), "{}: not a number at {at}", self.what);
        if error.abs() > self.error {
            (self.error, self.at) = (error.abs(), at);
        }
    }

    fn at_most(&self, bound: f64) {
        println!("{}: {:.4e} at {} (bound {bound:e})", self.what, self.error, self.at);
        assert!(self.error <= bound, "{}: error {:e} at {} exceeds {bound:e}", self.what, self.error, self.at);
    }
}

#[test]
fn exp2_fraction_everywhere() {
    let mut worst = Worst::new("exp2_fraction, relative");
    let mut last = 0;
    for fraction in 0..=u16::MAX {
        let value = exp2_fraction(fraction);
        assert!((32768..=65535).contains(&value));
        assert!(value >= last, "not monotonic at {fraction}");
        last = value;
        let exact = 32768.0 * (f64::from(fraction) / 65536.0).exp2();
        worst.see(f64::from(value) / exact - 1.0, fraction.into());
    }
    worst.at_most(3.1e-5);
}

#[test]
fn log2_q16_everywhere() {
    assert_eq!(log2_q16(0), 0);
    let mut worst = Worst::new("log2_q16, absolute");
    let mut see = |x: u64| worst.see(f64::from(log2_q16(x)) / 65536.0 - (x as f64).log2(), x.into());
    (1..=1 << 20).for_each(&mut see);
    for exponent in 0..64u32 {
        let power = 1u64 << exponent;
        (power.saturating_sub(300).max(1)..=power.saturating_add(300)).for_each(&mut see);
    }
    see(u64::MAX);
    let mut rng = Rng::new(1);
    for _ in 0..1_000_000 {
        let x = rng.next_u64() >> (rng.next_u64() % 64);
        see(x.max(1));
    }
    worst.at_most(2.5e-5);
}

fn exact_log2_softplus(v: f64) -> f64 {
    // softplus(v) = e^v - e^2v / 2 + ..., so far below 0 its log is v.
    if v < -30.0 { v * std::f64::consts::LOG2_E } else { (v.exp().ln_1p()).log2() }
}

#[test]
fn log2_softplus_everywhere() {
    let mut near = Worst::new("log2_softplus, octaves, v in -32..=1024");
    let mut tail = Worst::new("log2_softplus, octaves, v in -1024..-32");
    let mut last = i32::MIN;
    for v in -(1 << 20)..=1 << 20 {
        let value = log2_softplus(v);
        assert!(value >= last, "not monotonic at {v}");
        last = value;
        let real = f64::from(v) / 1024.0;
        let exact = if real > 700.0 { real.log2() } else { exact_log2_softplus(real) };
        let worst = if v < -32 * 1024 { &mut tail } else { &mut near };
        worst.see(f64::from(value) / 1024.0 - exact, v.into());
    }
    near.at_most(1e-3);
    tail.at_most(8e-3);
    assert!(log2_softplus(-(1 << 20)) < -32767, "the step saturates the far tail");
}

/// Every octave that a blob may ask for, the bounds of the shift included.
#[test]
fn delta_x_everywhere() {
    let mut worst = Worst::new("delta_x, steps beyond 3.1e-5 of the result");
    let xs = [0, 1, -1, 2, -2, 3, 100, -1000, 16_384, 32_767, -32_767];
    for exponent in (-1_100 * 1024..=1_100 * 1024).step_by(173).chain(-40 * 1024..40 * 1024) {
        for x in xs {
            let result = delta_x(x, exponent - 100, 100 - 32 * 7, 7);
            let exact = (f64::from(x) * (f64::from(exponent) / 1024.0).exp2()).clamp(-32767.0, 32767.0);
            if x.abs() == 1 && exponent >= 15 << 10 {
                assert!(result.signum() == x && result.abs() >= 16_384, "{x} at {exponent}: {result}");
            } else {
                let error = (f64::from(result) - exact).abs() - 3.1e-5 * exact.abs();
                worst.see(error.max(0.0), exponent.into());
            }
        }
    }
    worst.at_most(0.5001);
}

/// The rate is exact to half a step of the table (1/256 octave); the decay itself is then rounded to Q15.
#[test]
fn decay_everywhere() {
    let mut worst = Worst::new("decay, Q15 steps beyond 1/256 octave of rate");
    let mut rate_worst = Worst::new("decay, octaves of rate beyond the rounding of the result");
    let exact = |octaves: f64| 32768.0 * (-(octaves.exp2())).exp2();
    let mut last = i16::MAX;
    for l in -40 * 1024..=40 * 1024 {
        let a = decay(l);
        assert!((0..=32767).contains(&a));
        assert!(a <= last, "not monotonic at {l}");
        last = a;
        let octaves = f64::from(l) / 1024.0;
        let (slow, fast) = (exact(octaves - 1.0 / 256.0).min(32767.0), exact(octaves + 1.0 / 256.0).min(32767.0));
        let a = f64::from(a);
        worst.see((a - slow).max(fast - a).max(0.0), l.into());
        // The rate that the result stands for, if half a Q15 step may be added or subtracted.
        let rate = |a: f64| (-(a / 32768.0).log2()).log2();
        if (1.0..=32700.0).contains(&a) {
            let (low, high) = (rate(a + 0.5), rate(a - 0.5));
            rate_worst.see((low - octaves).max(octaves - high).max(0.0), l.into());
        }
    }
    worst.at_most(0.5001);
    rate_worst.at_most(1.0 / 256.0 + 1e-9);
}

#[test]
fn sigmoid_and_silu_everywhere() {
    let mut worst = Worst::new("sigmoid, absolute");
    for frac in 0..=15u8 {
        for x in i16::MIN..=i16::MAX {
            let real = f64::from(x) / f64::from(frac).exp2();
            let value = sigmoid(x, frac);
            assert!((0..=32768).contains(&value));
            worst.see(f64::from(value) / 32768.0 - 1.0 / (1.0 + (-real).exp()), x.into());
        }
    }
    worst.at_most(3.9e-5);
    let mut worst = Worst::new("silu, steps of x beyond |x| * 3.9e-5");
    for frac in 4..=15u8 {
        for x in i16::MIN..=i16::MAX {
            let exact = f64::from(x) / (1.0 + (-f64::from(x) / f64::from(frac).exp2()).exp());
            let error = (f64::from(silu(x, frac)) - exact).abs();
            worst.see((error - f64::from(x).abs() * 3.9e-5).max(0.0), x.into());
        }
        assert_eq!(silu(0, frac), 0);
    }
    worst.at_most(0.5001);
}

#[test]
fn rsqrt_everywhere() {
    let mut worst = Worst::new("rsqrt, relative");
    let mut see = |x: u64| {
        let (r, e) = rsqrt(x);
        assert!((32768..=65535).contains(&r), "{x}: {r}");
        assert!((-7..=24).contains(&e), "{x}: {e}");
        let value = f64::from(r) * (-f64::from(23 + e)).exp2();
        worst.see(value * (x as f64).sqrt() - 1.0, x.into());
    };
    (1..=1 << 20).for_each(&mut see);
    for mantissa in 1 << 15..1u64 << 16 {
        for exponent in 0..=48 {
            see(mantissa << exponent);
            see((mantissa << exponent) | ((1 << exponent) - 1));
        }
    }
    see(u64::MAX);
    let mut rng = Rng::new(2);
    for _ in 0..1_000_000 {
        let x = rng.next_u64() >> (rng.next_u64() % 64);
        see(x.max(1));
    }
    worst.at_most(6e-5);
    assert_eq!(rsqrt(0), rsqrt(1));
}

#[test]
fn weight_everywhere() {
    let mut worst = Worst::new("weight, relative, first octave");
    for distance in 0..65_536u64 {
        let exact = (1u64 << 31) as f64 * (-(distance as f64) / 65536.0).exp2();
        worst.see(weight(distance) as f64 / exact - 1.0, distance.into());
    }
    worst.at_most(3.1e-5);
    assert_eq!(weight(0), 1 << 31);
    assert_eq!(weight(1 << 16), 1 << 30);
    assert_eq!(weight(u64::MAX), 0);
    let mut last = u64::MAX;
    for distance in (0..64 << 16).step_by(7) {
        assert!(weight(distance) <= last, "not monotonic at {distance}");
        last = weight(distance);
    }
}

fn check_scores(logits: &Logits, worst: &mut [Worst; 3]) {
    let largest = f64::from(*logits.iter().max().unwrap()) / 65536.0;
    let sum: f64 = logits.iter().map(|&l| (f64::from(l) / 65536.0 - largest).exp2()).sum();
    let (mut total, mut total_q32) = (0.0, 0u64);
    for byte in 0..=255u8 {
        let exact = sum.log2() + largest - f64::from(logits[byte as usize]) / 65536.0;
        let bits = f64::from(surprise(logits, byte)) / 65536.0;
        worst[0].see(bits - exact.min(65536.0), byte.into());
        total += (-bits).exp2();
        let p = probability(logits, byte);
        total_q32 += u64::from(p);
        worst[1].see(f64::from(p) / 4294967296.0 - (-exact).exp2(), byte.into());
    }
    worst[2].see(total - 1.0, 0);
    // Shares are rounded down, each by less than one.
    assert!(total_q32 <= 1 << 32 && total_q32 + 256 >= 1 << 32, "{total_q32}");
    let best = most_probable(logits) as usize;
    assert!(logits.iter().enumerate().all(|(i, &l)| l < logits[best] || (l == logits[best] && i >= best)));
}

#[test]
fn scores_against_f64() {
    let mut worst =
        [Worst::new("surprise, bits"), Worst::new("probability, absolute"), Worst::new("sum of 2^-surprise minus 1")];
    let mut rng = Rng::new(3);
    for round in 0..4000 {
        let spread = round % 32;
        let logits: Logits = std::array::from_fn(|_| (rng.next_u64() as i32) >> spread);
        check_scores(&logits, &mut worst);
    }
    let extremes = [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX];
    for a in extremes {
        check_scores(&[a; VOCAB], &mut worst);
        for b in extremes {
            let mut logits = [a; VOCAB];
            logits[255] = b;
            check_scores(&logits, &mut worst);
            logits[..128].fill(b);
            check_scores(&logits, &mut worst);
            logits = std::array::from_fn(|_| extremes[rng.next_u64() as usize % extremes.len()]);
            check_scores(&logits, &mut worst);
        }
    }
    worst[0].at_most(2e-4);
    worst[1].at_most(1e-4);
    worst[2].at_most(1e-4);
}
