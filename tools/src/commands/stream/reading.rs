//! From the bytes of an input to what the model reads: lines of many streams, decoders, blocks.

use std::sync::atomic::Ordering;
use std::time::Instant;

use mambabyte_core::detect::Rate;
use mambabyte_host::stream::{Cost, LineScores};
use serde_json::json;

use super::decode::{Decoded, Notice};
use super::desk::{Desk, Way};
use super::service::{LAST, Service};
use crate::error::CliError;
use crate::output::note;
use crate::watching::{Listener, Page, read};

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
        match self.stream(&label) {
            Some(index) => self.feed(index, text),
            None => Ok(()),
        }
    }

    /// The stream of a label; `None` if there are too many.
    fn stream(&mut self, label: &str) -> Option<usize> {
        match self.labels.get(label) {
            Some(&index) => Some(index),
            None if self.desk.watches.len() < STREAMS => Some(self.begin(Some(label.to_owned()))),
            None => {
                if !std::mem::replace(&mut self.full, true) {
                    note(format_args!("more than {STREAMS} streams; lines of others are left out"));
                }
                None
            }
        }
    }

    /// The next bytes of a message; `last` ends it, and with it a line: an empty message is an empty line.
    pub(super) fn message(&mut self, topic: &str, payload: &[u8], last: bool) -> Result<(), CliError> {
        let Some(index) = self.stream(topic) else { return Ok(()) };
        self.feed(index, payload)?;
        if !last || self.late() {
            return Ok(());
        }
        self.release(index)?;
        let watch = &mut self.desk.watches[index];
        let open = payload.is_empty() || !watch.page.view.is_empty() || watch.page.count.pieces > 0;
        let mut decoded = Decoded::default();
        watch.decoder.end_message(open, &mut decoded);
        self.read(index, &decoded)
    }

    /// Whether the program should have ended.
    fn late(&mut self) -> bool {
        is_late(&self.desk.way, &mut self.stopped)
    }

    /// The next bytes of a stream.
    pub(super) fn feed(&mut self, index: usize, bytes: &[u8]) -> Result<(), CliError> {
        self.activate(index)?;
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.clear();
        let watch = &mut self.desk.watches[index];
        watch.last = Instant::now();
        watch.decoder.decode(bytes, &mut decoded);
        match watch.decoder.notice() {
            None => {}
            Some(Notice::Utf16) => {
                let words =
                    "encoding: this looks like UTF-16, which no model knows as bytes; --encoding utf-16 reads it";
                self.desk.event(index, "encoding", |record| record["encoding"] = json!("utf-16"), words)?;
            }
            Some(Notice::CrOnly) => {
                let words = "line-ends: a carriage return alone ends lines here";
                self.desk.event(index, "line-ends", |record| record["line_ends"] = json!("cr"), words)?;
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
        self.desk.watches[index].decoder.release(&mut decoded);
        self.read(index, &decoded)
    }

    fn read(&mut self, index: usize, decoded: &Decoded) -> Result<(), CliError> {
        let Self { desk, reader, since, stopped, .. } = self;
        let piece = desk.way.piece;
        let mut hears = Hears { desk, stopped, index, decoded, passed: 0 };
        if !read(reader, &mut hears, since, &decoded.view, piece)? {
            return Ok(());
        }
        let passed = hears.passed;
        self.desk.passed(&decoded.raw[passed..])
    }
}

/// Who hears what is read of a decoded block.
struct Hears<'s> {
    desk: &'s mut Desk,
    stopped: &'s mut Option<Instant>,
    index: usize,
    decoded: &'s Decoded,
    /// Bytes of the input that were passed on.
    passed: usize,
}

impl Listener for Hears<'_> {
    type Error = CliError;

    fn page(&mut self) -> &mut Page {
        &mut self.desk.watches[self.index].page
    }

    fn is_late(&mut self) -> bool {
        is_late(&self.desk.way, self.stopped)
    }

    fn byte(&mut self, at: usize, cost: Cost) -> Result<(), CliError> {
        self.desk.byte(self.index, self.decoded, at, &mut self.passed, cost)
    }

    fn line(&mut self, scores: &LineScores, last: Option<u8>, instead: Vec<(u8, u32)>) -> Result<(), CliError> {
        self.desk.line(self.index, scores, last, instead)
    }

    fn rate(&mut self) -> Option<Rate> {
        self.desk.rate.take()
    }
}

/// Whether the program should have ended.
fn is_late(way: &Way, stopped: &mut Option<Instant>) -> bool {
    way.stop.load(Ordering::Relaxed) && stopped.get_or_insert_with(Instant::now).elapsed() > LAST
}
