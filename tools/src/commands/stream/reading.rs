//! From the bytes of an input to lines that are judged and shown.

use std::sync::atomic::Ordering;
use std::time::Instant;

use mambabyte_core::lines::MAX_LINE;
use mambabyte_host::stream::LineScores;
use serde_json::{Value, json};

use super::decode::{Decoded, Notice};
use super::input::shown_label;
use super::service::{LAST, Service};
use super::words;
use crate::error::CliError;
use crate::output::note;
use crate::records::{self, Found};

/// The longest line of --multiplex that is taken whole.
const LONGEST: usize = 1 << 20;
/// Streams of --multiplex.
const STREAMS: usize = 1 << 16;

impl Service<'_> {
    /// Lines of many streams.
    pub(super) fn demultiplex(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (head, tail) = rest.split_at(end + 1);
            rest = tail;
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(head);
            self.labelled(&line)?;
            line.clear();
            line.shrink_to(LONGEST / 16);
            self.line = line;
            if self.late() {
                return Ok(());
            }
        }
        self.line.extend_from_slice(rest);
        if self.line.len() > LONGEST {
            let mut line = std::mem::take(&mut self.line);
            line.push(b'\n');
            self.labelled(&line)?;
        }
        Ok(())
    }

    /// A line that begins with the label of its stream.
    pub(super) fn labelled(&mut self, line: &[u8]) -> Result<(), CliError> {
        let at = line.iter().position(|&byte| byte == b'\t');
        let (label, text) = at.map_or((&[][..], line), |at| (&line[..at], &line[at + 1..]));
        let label = String::from_utf8_lossy(label);
        let index = match self.labels.get(label.as_ref()) {
            Some(&index) => index,
            None if self.watches.len() < STREAMS => self.begin(Some(label.into_owned())),
            None => {
                if !std::mem::replace(&mut self.full, true) {
                    note(format_args!("--multiplex: more than {STREAMS} streams; lines of others are left out"));
                }
                return Ok(());
            }
        };
        self.feed(index, text)
    }

    /// Whether the program should have ended.
    fn late(&mut self) -> bool {
        if !self.way.stop.load(Ordering::Relaxed) {
            return false;
        }
        self.stopped.get_or_insert_with(Instant::now).elapsed() > LAST
    }

    /// The next bytes of a stream.
    pub(super) fn feed(&mut self, index: usize, bytes: &[u8]) -> Result<(), CliError> {
        self.activate(index)?;
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.clear();
        let watch = &mut self.watches[index];
        watch.last = Instant::now();
        watch.decoder.decode(bytes, &mut decoded);
        match watch.decoder.notice() {
            None => {}
            Some(Notice::Utf16) => {
                let words =
                    "encoding: this looks like UTF-16, which no model knows as bytes; --encoding utf-16 reads it";
                self.event(index, "encoding", |record| record["encoding"] = json!("utf-16"), words)?;
            }
            Some(Notice::CrOnly) => {
                let words = "line-ends: a carriage return alone ends lines here";
                self.event(index, "line-ends", |record| record["line_ends"] = json!("cr"), words)?;
            }
        }
        let read = self.read(index, &decoded);
        self.decoded = decoded;
        read
    }

    /// What a decoder holds is let go.
    pub(super) fn release(&mut self, index: usize) -> Result<(), CliError> {
        self.activate(index)?;
        let mut decoded = Decoded::default();
        self.watches[index].decoder.release(&mut decoded);
        self.read(index, &decoded)
    }

    fn read(&mut self, index: usize, decoded: &Decoded) -> Result<(), CliError> {
        let (mut from, mut passed) = (0, 0);
        let (passes, paints) = (self.show.passes(), self.show.paints());
        while from < decoded.view.len() {
            if self.late() {
                return Ok(());
            }
            let watch = &mut self.watches[index];
            let rest = &decoded.view[from..];
            let rest = &rest[..rest.len().min(self.way.piece)];
            let length = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
            let room = MAX_LINE as usize - watch.view.len().min(4095);
            let length = length.min(room);
            if watch.view.is_empty() && self.reader.mixture().marks() {
                self.reader.mark()?;
                watch.marked = true;
            }
            let show = &mut self.show;
            let (costs, mut at, mut done) = (&mut watch.costs, from, None);
            let text = &decoded.text;
            // A byte counts as read when it is passed on: a closed output loses none from the state.
            self.reader.read_all(&rest[..length], |_, cost, scores| {
                if passes {
                    show.pass(&decoded.raw[passed..decoded.ends[at]]).map_err(CliError::stdout)?;
                    passed = decoded.ends[at];
                }
                if paints {
                    costs.push((text[at], cost.asked()));
                }
                at += 1;
                done = scores;
                Ok::<(), CliError>(())
            })?;
            watch.view.extend_from_slice(&decoded.view[from..from + length]);
            watch.text.extend_from_slice(&decoded.text[from..from + length]);
            watch.totals.bytes += length as u64;
            from += length;
            if let Some(scores) = done {
                let last = watch.view.last().copied();
                self.line(index, &scores, last)?;
            }
        }
        if passes {
            self.show.pass(&decoded.raw[passed..]).map_err(CliError::stdout)?;
            self.show.flush().map_err(CliError::stdout)?;
        }
        Ok(())
    }

    /// A line, or a piece of one, is finished; `last` is its last byte, `None` at the end of the stream.
    pub(super) fn line(&mut self, index: usize, scores: &LineScores, last: Option<u8>) -> Result<(), CliError> {
        let Self { way, reader, watches, show, exec, .. } = self;
        let watch = &mut watches[index];
        let scored = watch.count.take(scores, last);
        let mut text = watch.text.as_slice();
        if last == Some(b'\n')
            && let Some((&end, rest)) = text.split_last()
        {
            text = if end == b'\n' { rest.strip_suffix(b"\r").unwrap_or(rest) } else { rest };
        }
        let score = &scores.line;
        let mut found = match &scores.verdict {
            Some(verdict) => words::found(verdict),
            None => {
                let known = |bits: u32| (bits != u32::MAX).then_some(bits);
                let reason = if score.mean() > score.mean_threshold { "mean" } else { "peak" };
                Found {
                    alarm: score.flagged,
                    odd: score.flagged,
                    reason: score.flagged.then_some(reason),
                    thresholds: Some((known(score.mean_threshold), known(score.peak_threshold))),
                    ..Found::default()
                }
            }
        };
        if found.odd {
            found.fine = way.rule.is_fine(text);
            watch.totals.fine += u64::from(found.fine && found.alarm);
            found.alarm &= !found.fine;
        }
        found.seen = watch.repeats.take(text, scored.line, found.odd);
        if let Some(worst) = found.worst.as_mut().filter(|_| found.odd && watch.marked) {
            let before = watch.view.get(..worst.offset as usize).unwrap_or(&[]);
            worst.instead = reader.likeliest(before, worst.byte)?;
            // The model reads another byte where the delimiter does, and the other way round.
            let place = worst.offset as usize;
            worst.byte = watch.text.get(place).copied().unwrap_or(worst.byte);
        }
        let totals = &mut watch.totals;
        totals.lines += u64::from(!scored.goes_on);
        totals.bits += u128::from(score.bits);
        totals.alarms += u64::from(found.alarm);
        totals.odd += u64::from(found.odd);
        let line = records::Line {
            label: watch.label.as_deref(),
            line: Some(scored.line),
            piece: scored.piece,
            start: score.start,
            bytes: score.bytes,
            text: Some(text),
            time: show.now(),
            adapted: (score.mean(), score.peak),
            net: scores.net.as_ref().map(|net| (net.mean(), net.peak)),
            adapt: Some(way.adapt),
            found,
        };
        if let (true, Some(exec)) = (line.found.alarm, exec) {
            exec.alarm(&Value::Object(line.record()));
        }
        show.line(&line, score, scored.goes_on, text, &watch.costs).map_err(CliError::stdout)?;
        watch.clear();
        let now = Instant::now();
        watch.pauses.line(now);
        if let Some(rate) = watch.clock.as_mut().and_then(|clock| clock.line(now)) {
            reader.set_rate(rate);
        }
        let Some(verdict) = &scores.verdict else { return Ok(()) };
        for event in verdict.events.iter() {
            let words = words::sentence(event, scored.line, verdict);
            let start = score.start;
            let put = |record: &mut Value| {
                record["line"] = json!(scored.line);
                record["start"] = json!(start);
                words::add(event, verdict, record);
            };
            self.event(index, event.name(), put, &words)?;
        }
        Ok(())
    }

    /// Something about a stream.
    pub(super) fn event(
        &mut self,
        index: usize,
        name: &'static str,
        put: impl FnOnce(&mut Value),
        words: &str,
    ) -> Result<(), CliError> {
        let watch = self.watches.get_mut(index);
        let label = watch.as_ref().and_then(|watch| watch.label.clone());
        let mut record = records::event(name, label.as_deref(), self.show.now());
        if let Some(watch) = watch {
            record["line"] = json!(watch.count.line);
            *watch.totals.events.entry(name).or_default() += 1;
        }
        put(&mut record);
        let words = label.map_or_else(|| words.to_owned(), |label| format!("{}: {words}", shown_label(&label)));
        self.show.event(&record, &words).map_err(CliError::stdout)
    }
}
