//! The detector as a whole: what it promises, on any input; what it finds, on streams that are made here.

use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::adapt::{Adapter, Adapter4K, Memory};
use crate::sample::Rng;

/// A number in (0, 1].
fn uniform(rng: &mut Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// One line of two bytes whose score is `bits`.
fn line(detector: &mut Detector, bits: f64) -> Verdict {
    assert_eq!(detector.push(b'a', (bits * 65_536.0) as u32, None), None);
    detector.push(b'\n', 0, None).expect("a line ends")
}

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
        for _ in 0..20_000 {
            let random = rng.next_u64();
            let byte = if random % 16 < round % 16 { b'\n' } else { (random >> 8) as u8 };
            let bits = (random >> 32) as u32 >> (rng.next_u64() % 33).min(31);
            let net = (round % 3 != 0).then_some(bits.rotate_left(7));
            if let Some(verdict) = detector.push(byte, bits, net) {
                assert!(i32::from(verdict.rarity) <= RAREST);
            }
        }
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
fn quiet_scores_alarm_as_often_as_promised() {
    laws(100_000, &[(Rate::ONE_PERCENT, 0.3, 2.0), (Rate::ONE_IN_A_THOUSAND, 0.3, 2.0)]);
}

/// A million lines of each law: `cargo test --release -p mambabyte-core detect -- --ignored --nocapture`.
#[test]
#[ignore = "takes a while"]
fn a_million_quiet_scores_alarm_as_often_as_promised() {
    laws(1_000_000, &[(Rate::ONE_PERCENT, 0.3, 2.0), (Rate::ONE_IN_A_THOUSAND, 0.3, 2.0)]);
}

/// A stream of readings with the surprise that a small adapter has of each byte, some lines damaged.
fn readings(lines: u32, damaged: impl Fn(u32) -> bool) -> Vec<(u8, u32)> {
    let mut rng = Rng::new(5);
    let mut text = String::new();
    for n in 0..lines {
        let value = 2000 + n * 37 % 90 + (rng.next_u64() % 8) as u32;
        let line = format!("{n:06},ok,{value},{:.1}\n", f64::from(n % 12) / 2.0);
        let at = (rng.next_u64() % (line.len() as u64 - 1)) as usize;
        let line: String = match damaged(n) {
            true => line.chars().enumerate().map(|(i, c)| if i == at { '~' } else { c }).collect(),
            false => line,
        };
        text.push_str(&line);
    }
    surprises(text.as_bytes())
}

fn surprises(text: &[u8]) -> Vec<(u8, u32)> {
    let mut adapter = Adapter::new(Box::new(Adapter4K::ZERO), false);
    text.iter().map(|&byte| (byte, adapter.read(None, byte).surprise())).collect()
}

fn verdicts(detector: &mut Detector, stream: &[(u8, u32)]) -> Vec<Verdict> {
    stream.iter().filter_map(|&(byte, bits)| detector.push(byte, bits, Some(bits))).collect()
}

#[test]
fn damaged_lines_are_found_and_named_others_are_not() {
    let damaged = |n: u32| n == 30 || n >= 200 && n % 61 == 7;
    let all = verdicts(&mut Detector::new(Rate::ONE_PERCENT), &readings(1500, damaged));
    let (mut hits, mut faults, mut wrong) = (0, 0, 0);
    for (n, verdict) in (0..).zip(&all) {
        assert_eq!(verdict.odd, verdict.reason.is_some());
        assert!(n >= LEARNING || !verdict.odd);
        match damaged(n) && n >= 200 {
            true => {
                (faults, hits) = (faults + 1, hits + u32::from(verdict.alarm));
                assert!(!verdict.alarm || verdict.reason != Some(Reason::Byte) || verdict.worst.bits > 3 * 256);
            }
            false => wrong += u32::from(verdict.alarm),
        }
    }
    assert!(hits * 10 >= faults * 8 && wrong <= 15, "{hits} of {faults} found, {wrong} others");
    let learned = &all[LEARNING as usize - 1];
    assert!(learned.events.has(Event::Learned) && learned.learned.contains(&31), "{:?}", learned.learned);
    assert_eq!(all.iter().filter(|v| v.events.has(Event::Learned)).count(), 1);
}

#[test]
fn saved_and_loaded_anywhere_it_goes_on_as_if_never_stopped() {
    let stream = readings(400, |n| n % 23 == 5);
    let mut unbroken = Detector::new(Rate::ONE_IN_A_THOUSAND);
    let mut broken = unbroken.clone();
    let (mut rng, mut saved) = (Rng::new(1), [0xaa; SAVED]);
    for (at, &(byte, bits)) in stream.iter().enumerate() {
        // At the start, at every end of a line, and anywhere within.
        if at == 0 || stream[at - 1].0 == b'\n' || rng.next_u64() % 5 == 0 {
            broken.save(&mut saved);
            broken = Detector::load(&saved).unwrap();
        }
        assert_eq!(broken.push(byte, bits, Some(bits)), unbroken.push(byte, bits, Some(bits)), "byte {at}");
    }
    let (mut a, mut b) = ([0; SAVED], [1; SAVED]);
    broken.save(&mut a);
    unbroken.save(&mut b);
    assert_eq!(a, b);
    assert_eq!((SAVED, broken.rate()), (820, Rate::ONE_IN_A_THOUSAND));
}

#[test]
fn what_no_detector_has_is_refused_and_what_is_taken_goes_on() {
    let mut detector = Detector::new(Rate::ONE_PERCENT);
    verdicts(&mut detector, &readings(300, |n| n % 40 == 3));
    let mut good = [0; SAVED];
    detector.save(&mut good);
    let with = |at: usize, value: u8| {
        let mut bad = good;
        bad[at] = value;
        Detector::load(&bad).map(|_| ())
    };
    assert_eq!(with(0, 2), Err(DetectorError::Version { found: 2 }));
    assert_eq!(with(3, 1), Err(DetectorError::Value { field: "the zeros behind the version" }));
    assert_eq!(with(7, 0xff), Err(DetectorError::Value { field: "the share of false alarms" }));
    assert_eq!(with(11, 0xff), Err(DetectorError::Value { field: "the raised bar" }));
    let (mut rng, mut refused) = (Rng::new(2), 0);
    for _ in 0..3000 {
        let mut bytes = good;
        for _ in 0..1 + rng.next_u64() % 6 {
            bytes[8 + rng.next_u64() as usize % (SAVED - 8)] = rng.next_u64() as u8;
        }
        match Detector::load(&bytes) {
            Err(_) => refused += 1,
            Ok(mut detector) => (0..400).for_each(|n| {
                let byte = if n % 9 == 8 { b'\n' } else { rng.next_u64() as u8 };
                detector.push(byte, rng.next_u64() as u32 >> (n % 32), Some(n));
            }),
        }
    }
    assert!((1000..2900).contains(&refused), "{refused} of 3000");
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

/// Feeds lines of text that all cost the same but for the first byte's surprise; the events with their lines.
fn events(lines: impl IntoIterator<Item = String>, net: Option<u32>) -> Vec<(usize, Event)> {
    let (mut detector, mut rng) = (Detector::new(Rate::ONE_PERCENT), Rng::new(6));
    let mut found = Vec::new();
    for (n, text) in lines.into_iter().enumerate() {
        let bits = ((2.0 - uniform(&mut rng).ln()) * 65_536.0) as u32;
        let mut said = Events::NONE;
        for (i, &byte) in text.as_bytes().iter().enumerate() {
            if let Some(verdict) = detector.push(byte, if i == 0 { bits } else { bits / 4 }, net) {
                said = verdict.events;
            }
        }
        found.extend(said.iter().filter(|&event| event != Event::Learned).map(|event| (n, event)));
    }
    found
}

#[test]
fn a_frozen_stream_is_said_after_32_lines_once() {
    let frozen = |n: u32| if (600..720).contains(&n) { 595 + n % 5 } else { n };
    let lines = || (0..1000).map(|n| format!("reading {}\n", frozen(n)));
    assert_eq!(events(lines(), None), [(631, Event::Frozen)]);
    // One that repeats itself anyway says nothing, and before line 200 none does.
    assert_eq!(events((0..1000).map(|n| format!("ok {}\n", n / 30)), None), []);
    assert_eq!(events((0..190).map(|n| format!("ok {}\n", n / 100)), None), []);
}

#[test]
fn a_new_kind_of_line_is_said_at_its_third_line() {
    let line = |n: u32| if n >= 500 && n.is_multiple_of(8) { format!("{{{n}}}\n") } else { format!("a {n}\n") };
    assert_eq!(events((0..1500).map(line), None), [(520, Event::NewKind)]);
    // A pasted line now and then is none.
    let line = |n: u32| if n.is_multiple_of(300) { format!("{{{n}}}\n") } else { format!("a {n}\n") };
    assert_eq!(events((1..2000).map(line), None), []);
}

#[test]
fn a_text_that_the_net_does_not_know_is_said_once() {
    let lines = || (0..400).map(|n| format!("line {n}\n"));
    assert_eq!(events(lines(), Some(5 << 16)), [(32, Event::UnknownText)]);
    assert_eq!(events(lines(), Some(3 << 16)), []);
    assert_eq!(events(lines(), None), []);
}

#[test]
fn more_odd_lines_are_said_and_accepted_when_they_stay() {
    for (share, patience) in [(0.8, 1024), (0.2, 4096)] {
        let (mut rng, mut detector) = (Rng::new(11), Detector::new(Rate::ONE_PERCENT));
        let mut said = Vec::new();
        for n in 0..6000_u32 {
            let damage = if n >= 500 && uniform(&mut rng) < share { 20.0 } else { 0.0 };
            let verdict = line(&mut detector, 3.0 + damage - uniform(&mut rng).ln());
            if verdict.events.has(Event::MoreOdd) {
                assert!(verdict.odd_share > 4000, "{}", verdict.odd_share);
            }
            // The lines are all alike, which is not what is asked here.
            let others = verdict.events.iter().filter(|event| !matches!(event, Event::Learned | Event::Frozen));
            said.extend(others.map(|event| (n, event)));
        }
        let [(start @ 500..600, Event::MoreOdd), (end, Event::NewNormal)] = said[..] else { panic!("{said:?}") };
        assert_eq!(end - start, patience - 1);
    }
}

/// What is decided of the texts that come with the models, some lines damaged: every rarity, mark and event.
#[test]
fn decisions_on_shipped_texts_have_not_changed() {
    let mut crc = crate::blob::CRC32.digest();
    let texts = [
        &include_bytes!("../../../models/text/gnss-sample.nmea")[..],
        include_bytes!("../../../models/text/request-latency.csv"),
    ];
    let mut found = Vec::new();
    for text in texts {
        let mut text = text.to_vec();
        let count = text.len();
        (count / 2..count).step_by(977).for_each(|at| {
            if text[at] != b'\n' {
                text[at] ^= 4
            }
        });
        let mut detector = Detector::new(Rate::ONE_PERCENT);
        let mut all = verdicts(&mut detector, &surprises(&text));
        all.extend(detector.finish());
        for verdict in &all {
            let [a, b] = verdict.rarity.to_le_bytes();
            let events = Event::ALL.iter().fold(0, |bits, &e| bits << 1 | u8::from(verdict.events.has(e)));
            crc.update(&[a, b, verdict.odd as u8, verdict.alarm as u8, events, verdict.worst.at as u8]);
        }
        found.push((all.len(), all.iter().filter(|v| v.alarm).count()));
    }
    assert_eq!((found.as_slice(), crc.finalize()), (&[(161, 1), (1001, 12)][..], 1_819_799_342));
}
