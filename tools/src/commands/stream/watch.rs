//! One of the streams that are watched: where it is, and what the host knows of it beside the reader.

use std::time::Instant;

use mambabyte_core::lines::MAX_LINE;
use mambabyte_host::stream::{LineScores, Parked};

use super::decode::{Decoder, How};
use super::input::Place;
use super::keep::Kept;
use super::rate::Clock;
use super::rule::Repeats;
use super::silence::Pauses;
use crate::records;
use crate::totals::Totals;

/// Which line of the stream a score is of, counted by line ends from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) line: u64,
    /// Pieces of it that are scored.
    pub(super) pieces: u32,
}

/// What a score is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored {
    pub(super) line: u64,
    /// Counted from 1, if the line is scored in pieces.
    pub(super) piece: Option<u32>,
    /// The line goes on after this piece.
    pub(super) goes_on: bool,
}

impl Count {
    pub(super) const NEW: Self = Self { line: 1, pieces: 0 };

    /// Takes a score whose last byte is `last`; `None` at the end of the stream.
    pub(super) fn take(&mut self, score: &LineScores, last: Option<u8>) -> Scored {
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

/// One of the streams.
pub(super) struct Watch {
    pub(super) label: Option<String>,
    pub(super) decoder: Decoder,
    pub(super) count: Count,
    /// The open line, or the open piece of it: as the model reads it, as it stands there, and what its bytes cost.
    pub(super) view: Vec<u8>,
    pub(super) text: Vec<u8>,
    pub(super) costs: Vec<(u8, u32)>,
    /// The reader has marked a place from which on it has read this stream only.
    pub(super) marked: bool,
    pub(super) repeats: Repeats,
    pub(super) totals: Totals,
    /// For alarms that are counted by the day.
    pub(super) clock: Option<Clock>,
    pub(super) pauses: Pauses,
    /// When its last bytes came.
    pub(super) last: Instant,
    /// Where a file that is followed is.
    pub(super) place: Option<Place>,
    pub(super) ended: bool,
    /// While the reader reads another one.
    pub(super) parked: Option<Parked>,
}

/// Bytes that a line leaves reserved for the next one.
const RESERVED: usize = 128;

impl Watch {
    pub(super) fn new(label: Option<String>, how: &How, clock: Option<Clock>, parked: Option<Parked>) -> Self {
        let now = Instant::now();
        Self {
            label,
            decoder: Decoder::new(how),
            count: Count::NEW,
            view: Vec::new(),
            text: Vec::new(),
            costs: Vec::new(),
            marked: false,
            repeats: Repeats::default(),
            totals: Totals::default(),
            clock,
            pauses: Pauses::new(now),
            last: now,
            place: None,
            ended: false,
            parked,
        }
    }

    /// The open line is finished.
    pub(super) fn clear(&mut self) {
        self.view.clear();
        self.text.clear();
        self.costs.clear();
    }

    /// Gives back what a long line needed, before another stream is read.
    pub(super) fn shrink(&mut self) {
        self.view.shrink_to(RESERVED);
        self.text.shrink_to(RESERVED);
        self.costs.shrink_to(RESERVED);
    }

    /// What a saved state has of it beside the snapshot.
    pub(super) fn kept(&self) -> Kept {
        let mut kept = Kept::default();
        kept.label.clone_from(&self.label);
        (kept.line, kept.pieces) = (self.count.line, self.count.pieces);
        (kept.view, kept.text) = (records::base64(&self.view), records::base64(&self.text));
        kept.set_place(self.place);
        kept
    }

    /// Goes on with what was saved.
    pub(super) fn go_on(&mut self, kept: &Kept) {
        self.count = Count { line: kept.line.max(1), pieces: kept.pieces };
        let bytes = |text: &str| {
            let mut bytes = records::from_base64(text).unwrap_or_default();
            bytes.truncate(MAX_LINE as usize);
            bytes
        };
        (self.view, self.text) = (bytes(&kept.view), bytes(&kept.text));
        // What those bytes cost is not known any more.
        self.costs = self.text.iter().map(|&byte| (byte, 0)).collect();
        self.place = kept.place();
    }
}
