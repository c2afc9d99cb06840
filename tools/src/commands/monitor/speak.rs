//! Records of what a device says, as `stream` writes them.

use std::time::SystemTime;

use mambabyte_core::record::{LineVerdict, Record};
use serde_json::{Map, Value, json};

use super::connection::Event;
use super::seen;
use crate::output::hex;
use crate::records::{self, Found, Line};

/// What is known from one message to the next.
pub(super) struct Speaker {
    port: String,
    /// The device's adapter: `off` after a start until it is said, nothing before.
    adapter: Option<String>,
    /// What was said of the line that comes next.
    verdict: Option<LineVerdict>,
}

impl Speaker {
    pub(super) fn new(port: &str) -> Self {
        Self { port: port.to_owned(), adapter: None, verdict: None }
    }

    /// The records of `event` at time `at`; `left_out` like it were not told.
    pub(super) fn take(&mut self, event: &Event, left_out: u64, at: SystemTime) -> Vec<Value> {
        let port = &self.port;
        let more = match event {
            Event::Line(record) => return self.line(record, at),
            Event::Verdict(verdict) => {
                // The line of the one before was lost.
                let before = self.verdict.replace(*verdict);
                return before.map_or_else(Vec::new, |before| of_stream(&before, None, at));
            }
            Event::Connected => json!({ "port": port }),
            Event::Disconnected(error) => json!({ "port": port, "error": error.to_string() }),
            Event::Failed(error) => json!({ "port": port, "error": error.to_string() }),
            Event::Foreign => json!({ "port": port, "error": seen::FOREIGN }),
            Event::Start(s) => {
                (self.adapter, self.verdict) = (Some("off".to_owned()), None);
                let (model, position) = (hex(&s.fingerprint), s.position);
                json!({ "port": port, "version": s.version, "fingerprint": model, "position": position })
            }
            Event::Adapter(preset) => {
                let preset = seen::preset_name(*preset);
                self.adapter = Some(preset.clone());
                json!({ "port": port, "preset": preset })
            }
            Event::Detector(share) => {
                json!({ "port": port, "false_alarms": seen::percent(*share) / 100.0 })
            }
            Event::Status(s) => json!({
                "stack_used": s.stack_used, "stack_watched": s.stack_watched, "waiting": s.waiting,
                "capacity": s.capacity,
            }),
            Event::Missed(records) => json!({ "records": records }),
            Event::Damaged(frames) => json!({ "frames": frames }),
            Event::Finished => json!({}),
        };
        let mut record = records::event(event.name().unwrap_or_default(), None, Some(at));
        if let (Value::Object(record), Value::Object(more)) = (&mut record, more) {
            record.extend(more);
            if left_out > 0 {
                record.insert("suppressed".to_owned(), json!(left_out));
            }
        }
        vec![record]
    }

    fn line(&mut self, record: &Record, at: SystemTime) -> Vec<Value> {
        let verdict = self.verdict.take();
        let of_it = verdict.filter(|verdict| verdict.sequence == record.sequence);
        let found = match &of_it {
            Some(said) => records::found(&said.verdict),
            None => Found { alarm: record.flagged, odd: record.flagged, ..Found::default() },
        };
        let line = Line {
            line: Some(number(record.sequence)),
            start: record.start,
            bytes: record.bytes,
            time: Some(at),
            adapted: (record.bits, record.peak),
            net: record.net.map(|net| (net, 0)),
            adapt: self.adapter.as_deref(),
            found,
            ..Line::default()
        };
        let mut values: Map<String, Value> = line.record();
        // A device says the mean of its net, not the peak.
        values.insert("peak_net".to_owned(), Value::Null);
        values.insert("lost".to_owned(), json!(record.lost));
        values.insert("overruns".to_owned(), json!(record.overruns));
        let mut all = vec![Value::Object(values)];
        match (&verdict, &of_it) {
            (Some(said), Some(_)) => all.extend(of_stream(said, Some(record.start), at)),
            // It was of a line that was lost.
            (Some(said), None) => all.splice(0..0, of_stream(said, None, at)).for_each(drop),
            (None, _) => {}
        }
        all
    }
}

/// Lines are counted from 1.
fn number(sequence: u32) -> u64 {
    u64::from(sequence) + 1
}

/// What a verdict says of the stream.
fn of_stream(said: &LineVerdict, start: Option<u64>, at: SystemTime) -> Vec<Value> {
    let record = |event| {
        let mut record = records::said(event, &said.verdict, Some(at));
        record["line"] = json!(number(said.sequence));
        if let Some(start) = start {
            record["start"] = json!(start);
        }
        record
    };
    said.verdict.events.iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use mambabyte_core::detect::{Detector, Rate};

    use super::*;

    #[test]
    fn a_verdict_goes_with_its_line_and_is_not_lost_without_it() {
        let mut speaker = Speaker::new("p");
        let mut detector = Detector::new(Rate::ONE_PERCENT);
        let mut last = None;
        for _ in 0..64 {
            detector.push(b'a', 1 << 16, None);
            last = detector.push(b'\n', 1 << 16, None);
        }
        let verdict = Event::Verdict(LineVerdict { sequence: 63, verdict: last.unwrap() });
        let line = |sequence| Event::Line(Record { sequence, start: 5, flagged: true, ..Record::default() });
        let mut take = |event: &Event| speaker.take(event, 0, SystemTime::UNIX_EPOCH);
        assert!(take(&verdict).is_empty());
        let all = take(&line(63));
        assert_eq!(
            (&all[0]["line"], &all[0]["alarm"], all.len()),
            (&64.into(), &false.into(), 2),
            "the verdict's word"
        );
        assert_eq!((&all[1]["event"], &all[1]["line"], &all[1]["start"]), (&"learned".into(), &64.into(), &5.into()));
        // Its line is lost: what it says of the stream is told, of the other line the record's own flag.
        assert!(take(&verdict).is_empty());
        let all = take(&line(70));
        assert_eq!(
            (&all[0]["event"], &all[1]["line"], &all[1]["alarm"]),
            (&"learned".into(), &71.into(), &true.into())
        );
        assert!(take(&verdict).is_empty());
        assert_eq!(take(&verdict)[0]["event"], "learned", "another verdict follows");
    }
}
