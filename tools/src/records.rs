//! Records of scored lines and of what happens to a stream, as JSON: `stream` and `monitor` speak the same. Their schema
//! is `docs/stream.schema.json`.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mambabyte_core::detect::{Event, Reason, Verdict};
use serde_json::{Map, Value, json};

/// A number of bits with three decimals.
pub fn rounded(bits: f64) -> f64 {
    (bits * 1000.0).round() / 1000.0
}

/// Q16 bits with three decimals.
pub fn q16(bits: u32) -> f64 {
    rounded(f64::from(bits) / 65_536.0)
}

/// Q8 bits with three decimals.
pub fn q8(bits: u16) -> f64 {
    rounded(f64::from(bits) / 256.0)
}

/// The time as RFC 3339 has it, in UTC, with milliseconds.
pub fn time(at: SystemTime) -> Value {
    json!(humantime::format_rfc3339_millis(at).to_string())
}

/// Bytes that are no text.
pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The bytes that [`base64()`] was given; `None` if it is nothing of the kind.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// A line that was scored, or a piece of it. What is `None` or empty is not known where the record is made.
#[derive(Clone, Debug, Default)]
pub struct Line<'a> {
    /// Of several streams, which one.
    pub label: Option<&'a str>,
    /// Its number, from 1.
    pub line: Option<u64>,
    /// Which piece of it, from 1, if it is scored in pieces.
    pub piece: Option<u32>,
    /// Position of its first byte in the stream.
    pub start: u64,
    /// Bytes, the line end included.
    pub bytes: u32,
    /// Its bytes without the line end.
    pub text: Option<&'a [u8]>,
    /// When it ended.
    pub time: Option<SystemTime>,
    /// Mean and peak in Q16 bits: adapted, of model and adapter together.
    pub adapted: (u32, u32),
    /// Those of the model alone, where an adapter hears it.
    pub net: Option<(u32, u32)>,
    /// The preset of the adapter.
    pub adapt: Option<&'a str>,
    /// What is found in it.
    pub found: Found,
}

/// What is found in a line.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Someone should look.
    pub alarm: bool,
    /// Rarer than the share of lines that may be false alarms.
    pub odd: bool,
    /// Rarity in Q8 bits.
    pub rarity: Option<u16>,
    /// Why it is odd.
    pub reason: Option<&'static str>,
    /// Thresholds of mean and peak in Q16 bits, where there are such.
    pub thresholds: Option<(Option<u32>, Option<u32>)>,
    /// The byte that stands out most.
    pub worst: Option<Worst>,
    /// How often a line like it was odd, if more than once.
    pub seen: Option<u32>,
    /// It would have alarmed, but such lines were said to be fine.
    pub fine: bool,
    /// It stands here for its neighbour's sake.
    pub context: bool,
}

/// The byte that stands out most in a line.
#[derive(Clone, Debug)]
pub struct Worst {
    /// Its place in the line, from 0.
    pub offset: u32,
    /// The byte.
    pub byte: u8,
    /// Its surprise, Q8 bits.
    pub bits: u16,
    /// What was likelier there, and what it would have cost, Q16 bits.
    pub instead: Vec<(u8, u32)>,
}

impl Line<'_> {
    /// The record.
    pub fn record(&self) -> Map<String, Value> {
        let mut record = Map::new();
        let mut put = |key: &str, value: Value| _ = record.insert(key.to_owned(), value);
        if let Some(label) = self.label {
            put("label", json!(label));
        }
        if let Some(line) = self.line {
            put("line", json!(line));
        }
        put("piece", json!(self.piece));
        put("start", json!(self.start));
        put("bytes", json!(self.bytes));
        match self.text.map(|text| (text, std::str::from_utf8(text))) {
            Some((_, Ok(text))) => put("text", json!(text)),
            Some((raw, Err(_))) => put("raw", json!(base64(raw))),
            None => {}
        }
        if let Some(at) = self.time {
            put("time", time(at));
        }
        put("bits_per_byte", json!(q16(self.adapted.0)));
        put("peak", json!(q16(self.adapted.1)));
        put("bits_per_byte_net", json!(self.net.map(|net| q16(net.0))));
        put("peak_net", json!(self.net.map(|net| q16(net.1))));
        if let Some(adapt) = self.adapt {
            put("adapt", json!(adapt));
        }
        self.found.put(&mut put);
        record
    }
}

impl Found {
    fn put(&self, put: &mut impl FnMut(&str, Value)) {
        put("alarm", json!(self.alarm));
        put("flagged", json!(self.alarm));
        put("odd", json!(self.odd));
        put("reason", json!(self.reason));
        if let Some(rarity) = self.rarity {
            put("rarity", json!(q8(rarity)));
        }
        if let Some((mean, peak)) = self.thresholds {
            put("threshold", json!(mean.map(q16)));
            put("threshold_peak", json!(peak.map(q16)));
        }
        if let Some(worst) = &self.worst {
            let instead: Vec<Value> =
                worst.instead.iter().map(|&(byte, bits)| json!({ "byte": byte, "bits": q16(bits) })).collect();
            let mut value = json!({ "offset": worst.offset, "byte": worst.byte, "bits": q8(worst.bits) });
            if !instead.is_empty() {
                value["instead"] = json!(instead);
            }
            put("worst", value);
        }
        if let Some(seen) = self.seen {
            put("seen", json!(seen));
        }
        if self.fine {
            put("fine", json!(true));
        }
        if self.context {
            put("context", json!(true));
        }
    }
}

/// Something that happens to a stream.
pub fn event(name: &str, label: Option<&str>, at: Option<SystemTime>) -> Value {
    let mut record = json!({ "event": name });
    if let Some(label) = label {
        record["label"] = json!(label);
    }
    if let Some(at) = at {
        record["time"] = time(at);
    }
    record
}

/// What the detector found in a line.
pub fn found(verdict: &Verdict) -> Found {
    let worst = &verdict.worst;
    Found {
        alarm: verdict.alarm,
        odd: verdict.odd,
        rarity: Some(verdict.rarity),
        reason: verdict.reason.map(Reason::name),
        worst: Some(Worst { offset: worst.at.into(), byte: worst.byte, bits: worst.bits, instead: Vec::new() }),
        ..Found::default()
    }
}

/// Lines of the learning period that look odd, counted from 1.
pub fn learned(verdict: &Verdict) -> Vec<u8> {
    verdict.learned.into_iter().filter(|&line| line > 0).collect()
}

/// The share of lines that are rarer than one in 32 should be.
pub fn share(verdict: &Verdict) -> f64 {
    f64::from(verdict.odd_share) / 65_536.0
}

/// What the detector says of the stream at a line.
pub fn said(said: Event, verdict: &Verdict, at: Option<SystemTime>) -> Value {
    let mut record = event(said.name(), None, at);
    add(said, verdict, &mut record);
    record
}

/// Adds what the record of one of the detector's events has more.
pub fn add(event: Event, verdict: &Verdict, record: &mut Value) {
    match event {
        Event::Learned => record["odd_lines"] = json!(learned(verdict)),
        Event::MoreOdd => record["share"] = json!(rounded(share(verdict))),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_decimals_and_bytes_come_back() {
        assert_eq!((q16(65_536 / 3), q8(1000)), (0.333, 3.906));
        assert_eq!(from_base64(&base64(b"\xff\x00x")).unwrap(), b"\xff\x00x");
        assert_eq!(time(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        let line = Line { text: Some(b"a\xff"), ..Line::default() }.record();
        assert_eq!((&line["raw"], line.get("text")), (&json!("Yf8="), None));
    }
}
