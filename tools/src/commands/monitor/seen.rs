//! What a monitor knows of a device.

use std::collections::VecDeque;
use std::time::{Instant, SystemTime};

use mambabyte_core::detect::Event as Said;
use mambabyte_core::record::{LineVerdict, Record, Start, Status};
use mambabyte_host::adapt::Preset;
use serde_json::Value;

use super::connection::Event;
use crate::output::hex;
use crate::records;
use crate::totals::Totals;

/// Records kept for the view.
const KEPT: usize = 1000;
/// Of a device that is none of ours.
pub(super) const FOREIGN: &str = "this does not speak our protocol: what comes are no messages of mambabyte's firmware. \
    `mambabyte stream MODEL PORT` scores the text of a plain serial device; else --baud may not be the device's";

/// All that was seen at a port.
pub(super) struct Seen {
    /// The port's name.
    pub(super) port: String,
    /// The connection, for people.
    pub(super) connection: String,
    /// It is open.
    pub(super) open: bool,
    /// The device's start, if it was seen.
    pub(super) start: Option<Start>,
    /// The preset of its adapter.
    pub(super) adapter: Option<String>,
    /// What was said last of its stream: the detector's events, and of which record.
    pub(super) said: Option<String>,
    /// The device's last report of itself.
    pub(super) status: Option<Status>,
    /// The last records, oldest first.
    pub(super) records: VecDeque<Record>,
    /// Records in all.
    pub(super) lines: u64,
    /// Surprising ones.
    pub(super) flagged: u64,
    /// Records that were lost on the way here.
    pub(super) missed: u64,
    /// Damaged frames of earlier connections and of this one.
    pub(super) damaged: (u64, u64),
    /// All of the input is scored.
    pub(super) finished: bool,
    /// What the last record says.
    pub(super) totals: Totals,
    /// What was said of the line that comes next.
    verdict: Option<LineVerdict>,
}

impl Seen {
    pub(super) fn new(port: &str) -> Self {
        Self {
            port: port.to_owned(),
            connection: "waiting".to_owned(),
            open: false,
            start: None,
            adapter: None,
            said: None,
            status: None,
            records: VecDeque::new(),
            lines: 0,
            flagged: 0,
            missed: 0,
            damaged: (0, 0),
            finished: false,
            totals: Totals::default(),
            verdict: None,
        }
    }

    /// Whether as many records have come as were asked for, or all there are.
    pub(super) fn enough(&self, lines: Option<u64>) -> bool {
        self.finished || lines.is_some_and(|n| self.lines >= n)
    }

    /// Takes note.
    pub(super) fn take(&mut self, event: &Event) {
        if matches!(event, Event::Start(_) | Event::Line(_)) && self.connection == FOREIGN {
            "connected".clone_into(&mut self.connection);
        }
        self.count(event);
        match event {
            Event::Connected => {
                (self.connection, self.open) = ("connected".to_owned(), true);
                self.damaged = (self.damaged.0.saturating_add(self.damaged.1), 0);
            }
            Event::Disconnected(error) => {
                (self.connection, self.open) = (format!("{error}; trying again"), false);
            }
            Event::Foreign => self.connection = FOREIGN.to_owned(),
            Event::Failed(error) => (self.connection, self.open) = (error.to_string(), false),
            Event::Start(start) => {
                (self.start, self.adapter, self.said) = (Some(*start), None, None);
                self.records.clear();
            }
            Event::Line(record) => {
                if let Some(last) = self.records.back() {
                    // A smaller number: the device has started anew and that was not seen.
                    let next = last.sequence.wrapping_add(1);
                    let missed = record.sequence.checked_sub(next).unwrap_or(record.sequence);
                    self.missed = self.missed.saturating_add(missed.into());
                }
                self.lines += 1;
                self.flagged += u64::from(record.flagged);
                if self.records.len() == KEPT {
                    self.records.pop_front();
                }
                self.records.push_back(*record);
            }
            Event::Adapter(preset) => self.adapter = Some(preset_name(*preset)),
            Event::Verdict(verdict) => self.said = events(verdict).or(self.said.take()),
            Event::Detector(_) | Event::Missed(_) => {}
            Event::Status(status) => self.status = Some(*status),
            Event::Damaged(frames) => self.damaged.1 = *frames,
            Event::Finished => self.finished = true,
        }
    }
}

impl Seen {
    fn count(&mut self, event: &Event) {
        let totals = &mut self.totals;
        let mut said = |name| *totals.events.entry(name).or_default() += 1;
        event.name().into_iter().for_each(&mut said);
        match event {
            Event::Start(_) => self.verdict = None,
            Event::Verdict(verdict) => {
                verdict.verdict.events.iter().map(Said::name).for_each(said);
                self.verdict = Some(*verdict);
            }
            Event::Line(record) => {
                let verdict = self.verdict.take().filter(|said| said.sequence == record.sequence);
                let (alarm, odd) = match verdict {
                    Some(said) => (said.verdict.alarm, said.verdict.odd),
                    None => (record.flagged, record.flagged),
                };
                totals.lines += 1;
                totals.bytes += u64::from(record.bytes);
                totals.alarms += u64::from(alarm);
                totals.odd += u64::from(odd);
                // A device says the mean of a line.
                totals.bits += u128::from(record.bits) * u128::from(record.bytes);
            }
            _ => {}
        }
    }

    /// The last record, and the same in words.
    pub(super) fn end(&self, begun: Instant, at: SystemTime) -> (Value, String) {
        let mut record = records::event("end", None, Some(at));
        self.totals.put(&mut record, Some(begun));
        (record, format!("end: {}", self.totals.words()))
    }
}

/// The model of a device, for people.
pub(super) fn model(start: &Start) -> String {
    if start.fingerprint == [0; 16] { "no model".to_owned() } else { format!("model {}", hex(&start.fingerprint)) }
}

/// The name of a preset by its number; one that this program does not know has a number alone.
pub(super) fn preset_name(id: u8) -> String {
    Preset::of_id(id).map_or_else(|| format!("preset number {id}"), |preset| preset.name().to_owned())
}

/// What a verdict says of the stream, if it says anything.
pub(super) fn events(verdict: &LineVerdict) -> Option<String> {
    let names: Vec<&str> = verdict.verdict.events.iter().map(Said::name).collect();
    (!names.is_empty()).then(|| format!("record {}: {}", verdict.sequence, names.join(", ")))
}

/// A share of lines in percent.
pub(super) fn percent(q32: u32) -> f64 {
    100.0 * f64::from(q32) / 4_294_967_296.0
}

/// What standard error says of an event.
pub(super) fn news(event: &Event, port: &str) -> Option<String> {
    match event {
        Event::Connected => Some(format!("{port}: connected")),
        Event::Disconnected(error) => Some(format!("{port}: {error}; trying again")),
        Event::Start(start) => Some(format!("{port}: the device has started, {}", model(start))),
        Event::Adapter(preset) => Some(format!("{port}: with an adapter of {}", preset_name(*preset))),
        Event::Detector(share) => Some(format!("{port}: about {:.2} % of quiet lines alarm", percent(*share))),
        Event::Verdict(verdict) => events(verdict).map(|said| format!("{port}: {said}")),
        Event::Damaged(frames) => Some(format!("{port}: {frames} damaged frames")),
        Event::Foreign => Some(format!("{port}: {FOREIGN}")),
        Event::Missed(records) => Some(format!("{port}: {records} records were lost on the way")),
        Event::Failed(_) | Event::Line(_) | Event::Status(_) | Event::Finished => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sequence: u32) -> Event {
        Event::Line(Record { sequence, ..Record::default() })
    }

    #[test]
    fn gaps_are_counted_and_a_new_start_is_none() {
        let mut seen = Seen::new("p");
        for event in [line(7), line(8), line(11)] {
            seen.take(&event);
        }
        assert_eq!((seen.missed, seen.lines), (2, 3));
        seen.take(&Event::Start(Start { version: 1, fingerprint: [0; 16], position: 0, credit: 0 }));
        seen.take(&line(0));
        assert_eq!(seen.missed, 2);
        // A start that was not seen: two records of the new count are missing.
        seen.take(&line(5));
        seen.take(&line(2));
        assert_eq!(seen.missed, 2 + 4 + 2);
    }

    #[test]
    fn a_device_that_is_none_of_ours_is_told_until_it_speaks() {
        let mut seen = Seen::new("p");
        seen.take(&Event::Connected);
        seen.take(&Event::Foreign);
        assert!(seen.connection.contains("mambabyte stream"));
        seen.take(&line(0));
        assert_eq!(seen.connection, "connected");
    }

    #[test]
    fn what_a_device_reads_with_is_told() {
        let start = Start { version: 2, fingerprint: [0; 16], position: 0, credit: 0 };
        assert_eq!(news(&Event::Start(start), "p").unwrap(), "p: the device has started, no model");
        assert_eq!(news(&Event::Adapter(2), "p").unwrap(), "p: with an adapter of 8K");
        assert_eq!(news(&Event::Adapter(99), "p").unwrap(), "p: with an adapter of preset number 99");
    }

    #[test]
    fn what_a_detector_says_is_told() {
        use mambabyte_core::detect::{Detector, Rate};

        assert_eq!(
            news(&Event::Detector(Rate::ONE_PERCENT.share()), "p").unwrap(),
            "p: about 1.00 % of quiet lines alarm"
        );
        let (mut detector, mut seen) = (Detector::new(Rate::ONE_PERCENT), Seen::new("p"));
        let mut said = Vec::new();
        for sequence in 0..100 {
            detector.push(b'a', 1 << 16, None);
            let verdict = detector.push(b'\n', 1 << 16, None).unwrap();
            let event = Event::Verdict(LineVerdict { sequence, verdict });
            seen.take(&event);
            said.extend(news(&event, "p"));
        }
        assert_eq!(said, ["p: record 63: learned"]);
        assert_eq!(seen.said.as_deref(), Some("record 63: learned"));
        assert_eq!(seen.totals.events["learned"], 1);
    }

    #[test]
    fn totals_have_the_verdicts_word_where_there_is_one() {
        use mambabyte_core::detect::{Detector, Rate};

        let (mut detector, mut seen) = (Detector::new(Rate::ONE_PERCENT), Seen::new("p"));
        for sequence in 0..100 {
            detector.push(b'a', if sequence == 90 { 60 << 16 } else { (sequence % 3) << 14 }, None);
            let verdict = detector.push(b'\n', 1 << 16, None).unwrap();
            // The verdict of the last line was lost.
            if sequence < 99 {
                seen.take(&Event::Verdict(LineVerdict { sequence, verdict }));
            }
            let bits = if sequence < 50 { 1 << 16 } else { 3 << 16 };
            seen.take(&Event::Line(Record { sequence, bytes: 2, bits, flagged: sequence >= 98, ..Record::default() }));
        }
        let (record, words) = seen.end(Instant::now(), SystemTime::UNIX_EPOCH);
        assert_eq!((&record["lines"], &record["bytes"], &record["alarms"]), (&100.into(), &200.into(), &2.into()));
        assert_eq!((&record["bits_per_byte"], &record["events"]["learned"]), (&2.0.into(), &1.into()));
        assert_eq!(words, "end: 100 lines, 2 alarms, 2.000 bits/byte");
    }

    #[test]
    fn damage_adds_up_over_connections() {
        let mut seen = Seen::new("p");
        for event in [Event::Connected, Event::Damaged(2), Event::Connected, Event::Damaged(3), Event::Damaged(4)] {
            seen.take(&event);
        }
        assert_eq!(seen.damaged, (2, 4));
    }
}
