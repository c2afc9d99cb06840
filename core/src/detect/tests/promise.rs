//! What a detector promises: on any input, and on quiet streams.

use std::boxed::Box;
use std::format;
use std::vec::Vec;

use super::{Detector, LEARNING, RAREST, Rate, Rng, line, uniform};

/// The most by which alarms exceed `4 alpha N` in any `N` lines.
struct Excess {
    refund: f64,
    now: f64,
    least: f64,
    most: f64,
}

impl Excess {
    fn new(rate: Rate) -> Self {
        let refund = 4.0 * f64::from(rate.share()) / 4_294_967_296.0;
        Self { refund, now: 0.0, least: 0.0, most: 0.0 }
    }

    fn line(&mut self, alarm: bool) {
        self.now += if alarm { 1.0 } else { 0.0 } - self.refund;
        self.most = self.most.max(self.now - self.least);
        self.least = self.least.min(self.now);
    }
}

#[test]
fn in_any_lines_there_are_at_most_four_alpha_of_them_and_19_alarms() {
    let rates = [Rate::MOST, Rate::ONE_PERCENT, Rate::ONE_IN_A_THOUSAND, Rate::LEAST];
    for (round, rate) in (0..24).flat_map(|round| rates.map(|rate| (round, rate))) {
        let (mut rng, mut detector) = (Rng::new(round), Detector::new(rate));
        let (mut excess, mut last) = (Excess::new(rate), 0);
        for n in 0..4000_u32 {
            let bits = match round % 8 {
                0 => uniform(&mut rng) * 30.0,
                1 => 1.0 / uniform(&mut rng),
                2 => f64::from(n % 2) * 20.0,
                // Whoever wants alarms: quiet until the bar is low again, then as odd as can be.
                3 => {
                    if (n / 97) % 3 == 0 {
                        255.0
                    } else {
                        uniform(&mut rng)
                    }
                }
                4 => {
                    if detector.budget.raise == 0 {
                        255.0
                    } else {
                        0.5
                    }
                }
                // Just above the bar as it is, each time.
                5 => {
                    if last < rate.bar() + 64 {
                        8.0 + f64::from(n % 40)
                    } else {
                        1.0
                    }
                }
                // Always more than before.
                6 => f64::from(n) / 16.0,
                _ => {
                    if n < 300 {
                        1.0 + uniform(&mut rng)
                    } else {
                        200.0 * uniform(&mut rng)
                    }
                }
            };
            let verdict = line(&mut detector, bits);
            last = i32::from(verdict.rarity);
            assert!(!verdict.alarm || verdict.odd && n >= LEARNING);
            excess.line(verdict.alarm);
        }
        assert!(excess.most <= 19.0, "round {round}, {rate:?}: {}", excess.most);
        if round == 3 && rate == Rate::ONE_PERCENT {
            assert!(excess.most > 4.0, "the promise was put to a test: {}", excess.most);
        }
    }
}

#[test]
fn any_bytes_and_surprises_are_taken() {
    for round in 0..40 {
        let (mut rng, mut detector) = (Rng::new(round), Detector::new(Rate::ONE_PERCENT));
        let mut excess = Excess::new(Rate::ONE_PERCENT);
        for _ in 0..20_000 {
            let random = rng.next_u64();
            let byte = if random % 16 < round % 16 { b'\n' } else { (random >> 8) as u8 };
            let bits = (random >> 32) as u32 >> (rng.next_u64() % 33).min(31);
            let net = (round % 3 != 0).then_some(bits.rotate_left(7));
            if let Some(verdict) = detector.push(byte, bits, net) {
                assert!(i32::from(verdict.rarity) <= RAREST);
                excess.line(verdict.alarm);
            }
        }
        assert!(excess.most <= 19.0, "round {round}: {}", excess.most);
    }
}

/// Shares of odd lines and of alarms against what was promised, from line 256 on.
fn calibration(rate: Rate, lines: u32, mut law: impl FnMut(&mut Rng) -> f64) -> [f64; 2] {
    let (mut rng, mut detector) = (Rng::new(9), Detector::new(rate));
    let (mut odd, mut alarms) = (0, 0);
    for n in 0..lines + 256 {
        let verdict = line(&mut detector, law(&mut rng));
        if n >= 256 {
            (odd, alarms) = (odd + u32::from(verdict.odd), alarms + u32::from(verdict.alarm));
        }
    }
    let promised = f64::from(lines) * f64::from(rate.share()) / 4_294_967_296.0;
    [odd, alarms].map(|found| f64::from(found) / promised)
}

/// Realised against promised for some laws, printed.
fn laws(lines: u32, rates: &[(Rate, f64, f64)]) {
    let exponential = |rng: &mut Rng| 2.0 - 1.5 * uniform(rng).ln();
    let gaussian = |rng: &mut Rng| {
        let (radius, angle) = ((-2.0 * uniform(rng).ln()).sqrt(), uniform(rng) * core::f64::consts::TAU);
        6.0 + radius * angle.cos()
    };
    let pareto = |rng: &mut Rng| 2.0 * uniform(rng).powf(-0.25);
    let discrete = |rng: &mut Rng| 1.0 + (-2.0 * uniform(rng).log2()).floor();
    type Law = Box<dyn Fn(&mut Rng) -> f64>;
    let all: [(&str, Law); 4] = [
        ("exponential", Box::new(exponential)),
        ("Gaussian", Box::new(gaussian)),
        ("Pareto, shape 4", Box::new(pareto)),
        ("discrete", Box::new(discrete)),
    ];
    let mut wrong = Vec::new();
    for (name, law) in &all {
        for &(rate, least, most) in rates {
            let [odd, alarms] = calibration(rate, lines, law);
            let line = format!(
                "{name}, 1 in {:.0}: odd {odd:.2}, alarms {alarms:.2}",
                2f64.powi(32) / f64::from(rate.share())
            );
            std::println!("{line}");
            if !(least..=most).contains(&alarms) {
                wrong.push(line);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_million_quiet_lines_alarm_as_often_as_promised() {
    laws(1_000_000, &[(Rate::ONE_PERCENT, 0.3, 2.0), (Rate::ONE_IN_A_THOUSAND, 0.3, 2.0)]);
}

#[test]
fn after_any_step_of_the_score_it_is_quiet_again() {
    for step in [-6.0, 1.0, 3.0, 10.0, 60.0] {
        for rate in [Rate::ONE_PERCENT, Rate::ONE_IN_A_THOUSAND] {
            let (mut rng, mut detector) = (Rng::new(4), Detector::new(rate));
            let mut alarms = 0;
            for n in 0..600 + 1024 + 256 + 4000_u32 {
                let moved = if n < 600 { 0.0 } else { step };
                let verdict = line(&mut detector, 8.0 + moved - 1.5 * uniform(&mut rng).ln());
                alarms += u32::from(verdict.alarm && n >= 600 + 1024 + 256);
            }
            let most = 4.0 * 4000.0 * f64::from(rate.share()) / 4_294_967_296.0;
            assert!(f64::from(alarms) <= most, "{step}: {alarms} of 4000 lines");
        }
    }
}

#[test]
fn a_worse_score_is_never_less_rare() {
    let mut rng = Rng::new(8);
    let mut detector = Detector::new(Rate::ONE_PERCENT);
    for n in 0..2000 {
        line(&mut detector, 3.0 - 2.0 * uniform(&mut rng).ln());
        if n > 100 && n % 50 == 0 {
            let rarities = (0..400).map(|i| line(&mut detector.clone(), f64::from(i) / 4.0).rarity);
            assert!(rarities.is_sorted());
        }
    }
}
