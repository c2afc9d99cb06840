//! From the bytes of an input to what the model reads: lines of many streams, decoders, blocks.

use std::sync::atomic::Ordering;
use std::time::Instant;

use mambabyte_host::engine::EngineError;
use mambabyte_host::stream::LineScores;
use serde_json::json;

use super::decode::{Decoded, Notice};
use super::service::{LAST, Service};
use crate::error::CliError;
use crate::output::note;

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
        let open = payload.is_empty() || !watch.view.is_empty() || watch.count.pieces > 0;
        let mut decoded = Decoded::default();
        watch.decoder.end_message(open, &mut decoded);
        self.read(index, &decoded)
    }

    /// Whether the program should have ended.
    fn late(&mut self) -> bool {
        if !self.desk.way.stop.load(Ordering::Relaxed) {
            return false;
        }
        self.stopped.get_or_insert_with(Instant::now).elapsed() > LAST
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
        let (mut from, mut passed) = (0, 0);
        while from < decoded.view.len() {
            if self.late() {
                return Ok(());
            }
            let Self { desk, reader, since, .. } = self;
            let mut block = block(&decoded.view[from..], desk.way.piece);
            let watch = &mut desk.watches[index];
            // A line that was open where the reader came to this stream: the next one is marked again.
            if !watch.marked
                && !watch.view.is_empty()
                && let Some(end) = block.iter().position(|&byte| byte == b'\n')
            {
                block = &block[..=end];
            }
            if watch.view.is_empty() && reader.mixture().marks() {
                reader.mark()?;
                since.clear();
                watch.marked = true;
            }
            let mut at = from;
            // A byte counts as read when it is passed on: a closed output loses none from the state.
            let outcome = reader.read_all(block, |byte, cost, scores| {
                desk.byte(index, decoded, at, &mut passed, cost)?;
                at += 1;
                match scores {
                    None => Ok(()),
                    // What was likely there is read once more, beside the stream, which waits here for it.
                    Some(scores) if scores.verdict.is_some_and(|verdict| verdict.odd) => {
                        Err(Halt::Odd(Box::new(scores)))
                    }
                    Some(scores) => Ok(desk.line(index, &scores, Some(byte), Vec::new())?),
                }
            });
            since.extend_from_slice(&decoded.view[from..at]);
            from = at;
            match outcome {
                Ok(()) => {}
                Err(Halt::Error(error)) => return Err(error),
                Err(Halt::Odd(scores)) => {
                    let worst = scores.verdict.map(|verdict| verdict.worst).unwrap_or_default();
                    let watch = &desk.watches[index];
                    let begin = since.len().saturating_sub(watch.view.len());
                    let instead = match since.get(..begin + usize::from(worst.at)) {
                        Some(before) if watch.marked => reader.likeliest(before, worst.byte)?,
                        _ => Vec::new(),
                    };
                    desk.line(index, &scores, decoded.view.get(at - 1).copied(), instead)?;
                }
            }
            if let Some(rate) = desk.rate.take() {
                reader.set_rate(rate);
            }
        }
        self.desk.passed(&decoded.raw[passed..])
    }
}

/// The next block, of about `piece` bytes. It ends with a line where it can: the next one begins where a line does, which
/// is marked.
fn block(rest: &[u8], piece: usize) -> &[u8] {
    let (near, far) = rest.split_at(rest.len().min(piece));
    let end = |byte: &u8| *byte == b'\n';
    let length = match near.iter().rposition(end) {
        Some(at) => at + 1,
        None => near.len() + far.iter().take(piece).position(end).map_or(0, |at| at + 1),
    };
    &rest[..length]
}

/// Why a block is not read to its end.
enum Halt {
    /// A line is odd.
    Odd(Box<LineScores>),
    Error(CliError),
}

impl From<CliError> for Halt {
    fn from(error: CliError) -> Self {
        Self::Error(error)
    }
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Self {
        Self::Error(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_with_lines_where_they_can() {
        for (text, length) in [
            (&b"one\ntwo\nthree"[..], 8),
            (b"0123456789\n", 11),
            (b"01234567890123456789\n", 10),
            (b"012", 3),
            (b"\n\n", 2),
        ] {
            assert_eq!(block(text, 10).len(), length, "{text:?}");
        }
    }
}
