//! Messages there and back, and what damage costs.

use super::*;
use crate::detect::{Detector, JUDGED, Rate, Reason, Worst};
use crate::sample::Rng;
use std::string::ToString;
use std::vec::Vec;

fn record(sequence: u32, rng: &mut Rng) -> Record {
    let r = |rng: &mut Rng| (rng.next_u64() >> (rng.next_u64() % 33)) as u32;
    let start = rng.next_u64() >> (rng.next_u64() % 64);
    let (bytes, bits, peak) = (r(rng), r(rng), r(rng));
    let flagged = rng.next_u64() & 1 == 1;
    let net = (rng.next_u64() & 1 == 1).then(|| r(rng));
    Record { sequence, start, bytes, bits, peak, flagged, lost: r(rng), overruns: r(rng), net }
}

/// A verdict of which every number is long.
fn longest_verdict() -> Message<'static> {
    let mut detector = Detector::new(Rate::MOST);
    let mut verdict = detector.push(b'\n', u32::MAX, None).unwrap();
    (verdict.rarity, verdict.odd_share, verdict.reason) = (u16::MAX, u16::MAX, Some(Reason::Stretch));
    (verdict.odd, verdict.alarm, verdict.learned) = (true, true, [255; JUDGED]);
    verdict.worst = Worst { at: u16::MAX, byte: 255, bits: u16::MAX };
    Message::Verdict(LineVerdict { sequence: u32::MAX, verdict })
}

fn frames_of(stream: &[u8]) -> (Vec<Record>, u64) {
    let mut frames = Frames::new();
    let mut records = Vec::new();
    for &byte in stream {
        if let Some(Message::Line(record)) = frames.push(byte) {
            records.push(record);
        }
    }
    (records, frames.bad())
}

#[test]
fn every_message_comes_back_and_fits() {
    let longest = [Message::Text(u64::MAX, &[0; TEXT]), Message::Text(u64::MAX, &[255; TEXT])];
    let all = u32::MAX;
    let most = Record { sequence: all, start: u64::MAX, bytes: all, bits: all, peak: all, ..Record::default() };
    let most = Message::Line(Record { flagged: true, lost: all, overruns: all, net: Some(all), ..most });
    let start = Start { version: VERSION, fingerprint: [255; 16], position: u64::MAX, credit: u64::MAX };
    let status = Status { stack_used: all, stack_watched: all, waiting: all, capacity: all };
    let others = [Message::Credit(0), Message::Start(start), Message::Status(status), Message::Adapter(6), most];
    let others = others.into_iter().chain([Message::Detector(all), longest_verdict()]);
    for message in longest.into_iter().chain(others) {
        let mut memory = [0; FRAME];
        let frame = encode(&message, &mut memory).unwrap();
        assert_eq!(frame.iter().position(|&b| b == 0), Some(frame.len() - 1), "one zero, at the end");
        let mut frames = Frames::new();
        let (&zero, body) = frame.split_last().unwrap();
        assert!(body.iter().all(|&byte| frames.push(byte).is_none()));
        assert_eq!(frames.push(zero), Some(message));
        let mut small = std::vec![0; frame.len() - 1];
        assert_eq!(encode(&message, &mut small), Err(FrameTooSmall));
    }
}

#[test]
fn a_record_is_short() {
    let record = Record { sequence: 9, start: 4000, bytes: 70, bits: 40_000, peak: 90_000, ..Record::default() };
    let mut memory = [0; FRAME];
    // Variant, 1 + 2 + 1 + 3 + 3 bytes, flag, two counts, no net, CRC, COBS, zero.
    assert_eq!(encode(&Message::Line(record), &mut memory).unwrap().len(), 1 + 10 + 1 + 2 + 1 + 4 + 2);
    let both = Message::Line(Record { net: Some(50_000), ..record });
    assert_eq!(encode(&both, &mut memory).unwrap().len(), 1 + 10 + 1 + 2 + 4 + 4 + 2);
}

#[test]
fn a_record_of_version_1_is_read() {
    // As a device of version 1 sent it: sequence 9, start 4000, 70 bytes, 40,000 and 90,000 as bits, flagged, 3, 1.
    let body = [1, 9, 0xa0, 0x1f, 70, 0xc0, 0xb8, 0x02, 0x90, 0xbf, 0x05, 1, 3, 1];
    let crc = CRC32.checksum(&body).to_le_bytes();
    let mut sent = std::vec![0];
    let mut stuffed = [0; FRAME];
    let length = cobs::encode(&[&body[..], &crc].concat(), &mut stuffed);
    sent.extend(&stuffed[..length]);
    sent.push(0);
    let (sequence, flagged, lost, overruns) = (9, true, 3, 1);
    let record =
        Record { sequence, start: 4000, bytes: 70, bits: 40_000, peak: 90_000, flagged, lost, overruns, net: None };
    assert_eq!(frames_of(&sent), (std::vec![record], 0));
}

#[test]
fn the_text_for_people_rounds_and_is_free_of_flow_control() {
    let record = Record { start: 123, bits: 65_536 * 2 + 32_768, flagged: true, lost: 2, ..Record::default() };
    assert_eq!(record.to_string(), "123 2.500 ! 2");
    assert_eq!(Record { net: Some(65_536 * 3), ..record }.to_string(), "123 2.500 ! 2 net 3.000");
    assert_eq!(Record { bits: 65_535, overruns: 1, ..Record::default() }.to_string(), "0 1.000 - 1");
    assert_eq!(Record { bits: u32::MAX, ..Record::default() }.to_string(), "0 65536.000 - 0");
}

#[test]
fn damage_costs_what_it_touches_and_is_counted() {
    let mut rng = Rng::new(5);
    for round in 0..2000 {
        let mut stream = std::vec![0u8];
        let (mut records, mut ends) = (Vec::new(), Vec::new());
        for sequence in 0..20 {
            let record = record(sequence, &mut rng);
            let mut memory = [0; FRAME];
            stream.extend(encode(&Message::Line(record), &mut memory).unwrap());
            records.push(record);
            ends.push(stream.len());
        }
        assert_eq!(frames_of(&stream), (records.clone(), 0));
        let at = 1 + rng.next_u64() as usize % (stream.len() - 1);
        let kind = round % 3;
        match kind {
            0 => stream[at] ^= 1 << (rng.next_u64() % 8),
            1 => drop(stream.remove(at)),
            _ => stream.insert(at, rng.next_u64() as u8),
        }
        let (got, bad) = frames_of(&stream);
        let hit = ends.iter().position(|&end| at < end).unwrap();
        // Every record that the damage does not touch is there; a hit zero joins two frames, a new one splits one.
        assert!(got.iter().all(|r| records[r.sequence as usize] == *r), "{got:?}");
        let untouched = |i: usize| i != hit && i != hit + 1;
        assert!((0..20).filter(|&i| untouched(i)).all(|i| got.contains(&records[i])), "round {round}");
        assert!(bad <= 2 && (bad > 0 || got.len() >= 19), "round {round}: {bad} bad, {} records", got.len());
    }
}

#[test]
fn noise_is_never_a_message_and_a_late_start_is_no_damage() {
    let mut rng = Rng::new(6);
    let noise: Vec<u8> = (0..200_000).map(|_| rng.next_u64() as u8).collect();
    let (records, bad) = frames_of(&noise);
    assert!(records.is_empty() && bad > 500, "{bad}");
    let mut memory = [0; FRAME];
    let whole = record(3, &mut rng);
    let frame = encode(&Message::Line(whole), &mut memory).unwrap();
    let late = [&frame[3..], frame].concat();
    assert_eq!(frames_of(&late), (std::vec![whole], 0));
    assert_eq!(frames_of(&[&[1; 500][..], &[0], frame].concat()), (std::vec![whole], 0));
    assert_eq!(frames_of(&[&[0][..], &[1; 500], &[0], frame].concat()), (std::vec![whole], 1));
}

#[test]
fn a_verdict_is_in_words_behind_its_record() {
    let Message::Verdict(mut said) = longest_verdict() else { unreachable!("a verdict") };
    (said.verdict.rarity, said.verdict.worst) = (2624, Worst { at: 12, byte: 0xeb, bits: 9 });
    assert_eq!(said.to_string(), " rarity 10.25 odd, byte 12 is 0xeb");
    said.verdict.odd = false;
    assert_eq!(said.to_string(), " rarity 10.25");
}
