//! One of the streams that are watched: where it is, and what the host knows of it beside the reader.

use std::time::Instant;

use mambabyte_core::lines::MAX_LINE;
use mambabyte_host::stream::Parked;

use super::decode::{Decoder, How};
use super::input::Place;
use super::keep::Kept;
use super::silence::Pauses;
use crate::records;
use crate::watching::{Clock, Count, Page};

/// One of the streams.
pub(super) struct Watch {
    pub(super) label: Option<String>,
    pub(super) decoder: Decoder,
    pub(super) page: Page,
    /// What the bytes of the open line cost.
    pub(super) costs: Vec<(u8, u32)>,
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

/// Costs that a line leaves reserved for the next one.
const RESERVED: usize = 128;

impl Watch {
    pub(super) fn new(label: Option<String>, how: &How, clock: Option<Clock>, parked: Option<Parked>) -> Self {
        let now = Instant::now();
        Self {
            label,
            decoder: Decoder::new(how),
            page: Page::default(),
            costs: Vec::new(),
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
        self.page.clear();
        self.costs.clear();
    }

    /// Gives back what a long line needed, before another stream is read.
    pub(super) fn shrink(&mut self) {
        self.page.shrink();
        self.costs.shrink_to(RESERVED);
    }

    /// What a saved state has of it beside the snapshot.
    pub(super) fn kept(&self) -> Kept {
        let mut kept = Kept::default();
        kept.label.clone_from(&self.label);
        (kept.line, kept.pieces) = (self.page.count.line, self.page.count.pieces);
        (kept.view, kept.text) = (records::base64(&self.page.view), records::base64(&self.page.text));
        kept.set_place(self.place);
        kept
    }

    /// Goes on with what was saved.
    pub(super) fn go_on(&mut self, kept: &Kept) {
        self.page.count = Count { line: kept.line.max(1), pieces: kept.pieces };
        let bytes = |text: &str| {
            let mut bytes = records::from_base64(text).unwrap_or_default();
            bytes.truncate(MAX_LINE as usize);
            bytes
        };
        (self.page.view, self.page.text) = (bytes(&kept.view), bytes(&kept.text));
        // What those bytes cost is not known any more.
        self.costs = self.page.text.iter().map(|&byte| (byte, 0)).collect();
        self.place = kept.place();
    }
}
