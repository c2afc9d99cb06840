//! The detector as a whole: what it promises, on any input; what it finds, on streams that are made here.

use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

mod promise;

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
    assert!(hits == faults && wrong <= 17, "{hits} of {faults} found, {wrong} others");
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

/// Feeds lines of text that all cost the same but for the first byte's surprise; the events with their lines.
fn events(lines: impl IntoIterator<Item = String>, net: Option<u32>) -> Vec<(usize, Event)> {
    events_of(Detector::new(Rate::ONE_PERCENT), lines, |_| net)
}

/// The same of a detector, with what the net has of each byte of a line.
fn events_of(
    mut detector: Detector,
    lines: impl IntoIterator<Item = String>,
    net: impl Fn(usize) -> Option<u32>,
) -> Vec<(usize, Event)> {
    let mut rng = Rng::new(6);
    let mut found = Vec::new();
    for (n, text) in lines.into_iter().enumerate() {
        let bits = ((2.0 - uniform(&mut rng).ln()) * 65_536.0) as u32;
        let mut said = Events::NONE;
        for (i, &byte) in text.as_bytes().iter().enumerate() {
            if let Some(verdict) = detector.push(byte, if i == 0 { bits } else { bits / 4 }, net(n)) {
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
    assert_eq!(events(lines(), Some(6 << 16)), [(32, Event::UnknownText)]);
    // What is not far above waits: a text may begin with a heading.
    assert_eq!(events(lines(), Some(9 << 15)), [(128, Event::UnknownText)]);
    assert_eq!(events(lines(), Some(7 << 15)), []);
    assert_eq!(events(lines(), None), []);
    let beginning = |bits| move |n| Some(if n < 40 { bits } else { 2 << 16 });
    assert_eq!(events_of(Detector::new(Rate::ONE_PERCENT), lines(), beginning(9 << 15)), []);
    // A net may say where its own bound is; it does not go with what is saved.
    let mut strict = Detector::new(Rate::ONE_PERCENT);
    strict.set_unknown_text(2 * 256);
    assert_eq!(events_of(strict.clone(), lines(), |_| Some(9 << 15)), [(32, Event::UnknownText)]);
    let mut saved = [0; SAVED];
    strict.save(&mut saved);
    let loaded = Detector::load(&saved).unwrap();
    assert_eq!(events_of(loaded.clone(), lines(), |_| Some(7 << 15)), []);
    strict.set_rate(Rate::LEAST);
    strict.resume(loaded);
    assert_eq!(strict.rate(), Rate::LEAST);
    assert_eq!(events_of(strict, lines(), |_| Some(7 << 15)), [(32, Event::UnknownText)]);
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
        &include_bytes!("../../../../models/text/gnss-sample.nmea")[..],
        include_bytes!("../../../../models/text/request-latency.csv"),
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
    assert_eq!((found.as_slice(), crc.finalize()), (&[(161, 1), (1001, 12)][..], 1_035_382_582));
}
