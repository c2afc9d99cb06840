//! `models/text/detector.crc32`: what the detector says of a damaged text, the same on every machine.
//!
//! The text is `request-latency.csv`; from its middle on every 977th byte that is no newline has one bit flipped. The
//! adapter 8K reads it alone, the detector may flag one line in a hundred. Of each verdict the checksum has six bytes:
//! rarity (two), odd, alarm, events as a sum of their bits, the low byte of the worst byte's place.

use std::path::Path;

use mambabyte_core::adapt::{Adapter, Adapter8K, Memory};
use mambabyte_core::detect::{Detector, Rate, Verdict};

/// The text.
///
/// # Panics
/// If it cannot be read.
pub fn text(root: &Path) -> Vec<u8> {
    let mut text = std::fs::read(root.join("models/text/request-latency.csv")).expect("the text");
    for at in (text.len() / 2..text.len()).step_by(977) {
        if text[at] != b'\n' {
            text[at] ^= 4;
        }
    }
    text
}

/// The line of the file: lines, alarms, checksum.
pub fn computed(text: &[u8]) -> String {
    let mut adapter = Adapter::new(Box::new(Adapter8K::ZERO), false);
    let mut detector = Detector::new(Rate::ONE_PERCENT);
    let (mut lines, mut alarms, mut crc) = (0, 0, crc32fast::Hasher::new());
    let mut count = |verdict: Verdict| {
        let [low, high] = verdict.rarity.to_le_bytes();
        let events = verdict.events.iter().fold(0, |bits, event| bits | 1 << event as u8);
        crc.update(&[low, high, verdict.odd.into(), verdict.alarm.into(), events, verdict.worst.at as u8]);
        (lines, alarms) = (lines + 1, alarms + u32::from(verdict.alarm));
    };
    for &byte in text {
        let bits = adapter.read(None, byte).surprise();
        detector.push(byte, bits, None).map(&mut count);
    }
    detector.finish().map(&mut count);
    format!("{lines} {alarms} {:08x}", crc.finalize())
}

/// What the file says.
///
/// # Panics
/// If it cannot be read.
pub fn committed(root: &Path) -> String {
    std::fs::read_to_string(root.join("models/text/detector.crc32")).expect("the checksum").trim().to_owned()
}
