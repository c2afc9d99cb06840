//! The line that is open, and what is known of the lines before it: [`Page`].

use mambabyte_core::lines::MAX_LINE;
use mambabyte_host::stream::LineScores;

use super::rule::{Repeats, Rule};
use crate::records::{self, Found, Line};
use crate::totals::Totals;

/// Which line of the stream a score is of, counted by line ends from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The line that is open.
    pub line: u64,
    /// Pieces of it that are scored.
    pub pieces: u32,
}

/// What a score is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scored {
    /// The line.
    pub line: u64,
    /// Counted from 1, if the line is scored in pieces.
    pub piece: Option<u32>,
    /// The line goes on after this piece.
    pub goes_on: bool,
}

impl Count {
    /// At the beginning of a stream.
    pub const NEW: Self = Self { line: 1, pieces: 0 };

    /// Takes a score whose last byte is `last`; `None` at the end of the stream.
    pub fn take(&mut self, score: &LineScores, last: Option<u8>) -> Scored {
        let score = &score.line;
        let goes_on = last.is_some_and(|last| last != b'\n') && score.bytes >= MAX_LINE;
        let piece = (goes_on || self.pieces > 0).then_some(self.pieces.saturating_add(1));
        let scored = Scored { line: self.line, piece, goes_on };
        *self = match goes_on {
            true => Self { pieces: self.pieces.saturating_add(1), ..*self },
            false => Self { line: self.line.saturating_add(1), pieces: 0 },
        };
        scored
    }
}

/// The line that is open, or the open piece of it, and what is known of the lines before it.
#[derive(Clone, Debug)]
pub struct Page {
    /// Which line it is.
    pub count: Count,
    /// Its bytes as the model reads them.
    pub view: Vec<u8>,
    /// Its bytes as they stand there, as many.
    pub text: Vec<u8>,
    /// The reader has marked a place from which on it has read this stream only.
    pub marked: bool,
    /// Lines that were odd.
    pub repeats: Repeats,
    /// What was counted.
    pub totals: Totals,
}

/// Bytes that a line leaves reserved for the next one.
const RESERVED: usize = 128;

impl Default for Page {
    fn default() -> Self {
        Self {
            count: Count::NEW,
            view: Vec::new(),
            text: Vec::new(),
            marked: false,
            repeats: Repeats::default(),
            totals: Totals::default(),
        }
    }
}

impl Page {
    /// The next byte: as the model has read it, and as it stands there.
    pub fn push(&mut self, view: u8, text: u8) {
        self.view.push(view);
        self.text.push(text);
        self.totals.bytes += 1;
    }

    /// The open line is finished, and was shown.
    pub fn clear(&mut self) {
        self.view.clear();
        self.text.clear();
    }

    /// Gives back what a long line needed.
    pub fn shrink(&mut self) {
        self.view.shrink_to(RESERVED);
        self.text.shrink_to(RESERVED);
    }

    /// The record of the open line, or of a piece of it, which `scores` finish; all but its label, its time and the preset.
    /// `last` is its last byte, `None` at the end of the stream; `instead` is what was likely in the place of the worst one.
    /// The line is counted, and stays open until [`Page::clear`].
    pub fn judge(
        &mut self,
        scores: &LineScores,
        last: Option<u8>,
        instead: Vec<(u8, u32)>,
        rule: &Rule,
    ) -> (Line<'_>, Scored) {
        let scored = self.count.take(scores, last);
        let mut text = self.text.as_slice();
        if last == Some(b'\n')
            && let Some((&end, rest)) = text.split_last()
        {
            text = if end == b'\n' { rest.strip_suffix(b"\r").unwrap_or(rest) } else { rest };
        }
        let score = &scores.line;
        let mut found = match &scores.verdict {
            Some(verdict) => records::found(verdict),
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
        let totals = &mut self.totals;
        if found.odd {
            found.fine = rule.is_fine(text);
            totals.fine += u64::from(found.fine && found.alarm);
            found.alarm &= !found.fine;
        }
        found.seen = self.repeats.take(text, scored.line, found.odd);
        if let Some(worst) = &mut found.worst {
            worst.instead = instead;
            // The model reads another byte where the delimiter does, and the other way round.
            let place = worst.offset as usize;
            worst.byte = self.text.get(place).copied().unwrap_or(worst.byte);
        }
        totals.lines += u64::from(!scored.goes_on);
        totals.bits += u128::from(score.bits);
        totals.alarms += u64::from(found.alarm);
        totals.odd += u64::from(found.odd);
        let line = Line {
            line: Some(scored.line),
            piece: scored.piece,
            start: score.start,
            bytes: score.bytes,
            text: Some(text),
            adapted: (score.mean(), score.peak),
            net: scores.net.as_ref().map(|net| (net.mean(), net.peak)),
            found,
            ..Line::default()
        };
        (line, scored)
    }
}
