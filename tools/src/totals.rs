//! What was counted of streams: the last record of `stream` and `monitor`, and `--metrics`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use crate::output::thousands;
use crate::records::rounded;

/// What was counted of a stream.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Lines that are finished.
    pub lines: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Lines that alarmed.
    pub alarms: u64,
    /// Lines rarer than the share that was asked for.
    pub odd: u64,
    /// Alarms that lines would have been that were said to be fine.
    pub fine: u64,
    /// Bits, Q16.
    pub bits: u128,
    /// How often each event was said.
    pub events: BTreeMap<&'static str, u64>,
}

impl Totals {
    /// Adds those of another stream.
    pub fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.alarms += other.alarms;
        self.odd += other.odd;
        self.fine += other.fine;
        self.bits += other.bits;
        other.events.iter().for_each(|(event, count)| *self.events.entry(event).or_default() += count);
    }

    /// Bits per byte.
    pub fn mean(&self) -> f64 {
        self.bits as f64 / 65_536.0 / self.bytes.max(1) as f64
    }

    /// What the last record has more.
    pub fn put(&self, record: &mut Value, since: Option<Instant>) {
        record["lines"] = json!(self.lines);
        record["bytes"] = json!(self.bytes);
        record["alarms"] = json!(self.alarms);
        record["odd"] = json!(self.odd);
        record["fine"] = json!(self.fine);
        record["events"] = json!(self.events);
        record["bits_per_byte"] = json!(rounded(self.mean()));
        if let Some(since) = since {
            record["seconds"] = json!(rounded(since.elapsed().as_secs_f64()));
        }
    }

    /// The same in words.
    pub fn words(&self) -> String {
        let alarms = match self.alarms {
            1 => "1 alarm".to_owned(),
            n => format!("{} alarms", thousands(n)),
        };
        format!("{} lines, {alarms}, {:.3} bits/byte", thousands(self.lines), self.mean())
    }
}

/// Counters in Prometheus' text format.
pub fn metrics<'t>(all: impl Iterator<Item = (Option<&'t str>, &'t Totals)> + Clone) -> String {
    let mut out = String::new();
    type Count = fn(&Totals) -> f64;
    let counters: [(&str, &str, Count); 6] = [
        ("lines", "Lines that were scored.", |t| t.lines as f64),
        ("bytes", "Bytes that were read.", |t| t.bytes as f64),
        ("alarms", "Lines that alarmed.", |t| t.alarms as f64),
        ("odd_lines", "Lines rarer than the share that was asked for.", |t| t.odd as f64),
        ("fine_lines", "Lines that did not alarm because they were said to be fine.", |t| t.fine as f64),
        ("surprise_bits", "Bits that all bytes cost.", |t| (t.bits as f64 / 65_536.0).round()),
    ];
    for (name, help, count) in counters {
        let _ = writeln!(out, "# HELP mambabyte_{name}_total {help}\n# TYPE mambabyte_{name}_total counter");
        for (label, totals) in all.clone() {
            let _ = writeln!(out, "mambabyte_{name}_total{} {}", labels(label, None), count(totals));
        }
    }
    out.push_str("# HELP mambabyte_events_total What happened to the stream.\n# TYPE mambabyte_events_total counter\n");
    for (label, totals) in all {
        for (event, count) in &totals.events {
            let _ = writeln!(out, "mambabyte_events_total{} {count}", labels(label, Some(event)));
        }
    }
    out
}

/// `{stream="...",event="..."}`.
fn labels(label: Option<&str>, event: Option<&str>) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = [("stream", label), ("event", event)]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}=\"{}\"", escaped(value?))))
        .collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}
