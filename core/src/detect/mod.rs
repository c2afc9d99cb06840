//! A detector of odd lines that keeps a promise: about as many false alarms as were asked for, never many more.
//!
//! [`lines`](crate::lines) compares a line's mean surprise with the last 64 lines'. It has no knob for how often it may
//! be wrong, a second kind of line blinds it, and a stream that is damaged often teaches it that damage is normal. This
//! detector gives each line its *rarity* in bits instead: `2^-rarity` of the quiet lines are at least as odd. Whoever
//! listens names a share of lines ([`Rate`]); a line is *odd* if it is rarer than that, and an *alarm* if a budget
//! ([`Rate::refund`] a line) allows it, too.
//!
//! ```
//! use mambabyte_core::adapt::{Adapter, Adapter4K, Memory};
//! use mambabyte_core::detect::{Detector, Rate};
//!
//! let (mut memory, mut detector) = (Adapter4K::ZERO, Detector::new(Rate::ONE_PERCENT));
//! let mut adapter = Adapter::new(&mut memory, false);
//! let mut read = |line: &[u8]| {
//!     let mut score = |&byte| detector.push(byte, adapter.read(None, byte).surprise(), None);
//!     line.iter().filter_map(&mut score).last().unwrap()
//! };
//! for n in 0..300_u32 {
//!     read(format!("{n:05} ok {}.{} V\n", 3 + n % 2, n * 7 % 10).as_bytes());
//! }
//! let verdict = read(b"00300 o\xeb 4.0 V\n");
//! assert!(verdict.alarm && verdict.rarity > 8 * 256);
//! assert_eq!((verdict.worst.at, verdict.worst.byte), (7, 0xeb));
//! # extern crate std; use std::format;
//! ```
//!
//! # One line's way
//!
//! | step | what it does | file |
//! |---|---|---|
//! | score | the largest single byte, less half of what its *column* usually has; the worst 8 bytes as a second score | `score.rs` |
//! | tail | an exponential law above the 0.9 quantile of each score makes it a rarity | `tails.rs` |
//! | class | lines that begin with another kind of byte have tails of their own | `classes.rs` |
//! | exclusion | tails learn of 1 in 8 of the very rare lines, and slowly while too many lines are odd | `exclusion.rs` |
//! | budget | an alarm raises the bar by a bit, each line lowers it by `4 alpha` bits | `budget.rs` |
//! | events | what is said of the stream, not of a line | `events.rs` |
//!
//! # Why these
//!
//! The surprise of one damaged byte hides in the mean of a line and, in a column of digits, among digits that always
//! are surprising: the largest byte less its column's own level finds most. A tail that learns from everything is
//! masked by the very faults that it should find, one that learns from nothing odd locks up when the stream changes: so
//! it learns little, and a change that lasts is accepted, with an event that says so.
//!
//! # What is promised
//!
//! * Always, on any input: **in any `N` lines at most `4 alpha N + 19` alarms**. Rarity ends at 24 bits, so the bar does.
//! * On a quiet stream that stays as it is, from line 256 on: about `alpha N`.
//! * The first [`LEARNING`] lines raise no alarm. Then [`Event::Learned`] names those of them that look odd by what was
//!   learned since.
//!
//! # Cost
//!
//! At most 1 KB of memory, no allocation, integers only: the same verdicts on every machine. A byte costs a maximum, a
//! sum and a hash step; a field (what ends at a byte that is no letter, digit, `.`, `-`, `+` or `_`) two moving
//! quantiles; a line eight divisions of i64 and two logarithms.

mod budget;
mod classes;
mod events;
mod exclusion;
mod log;
mod save;
mod score;
mod tails;
#[cfg(test)]
mod tests;

pub use budget::Rate;
pub use events::{Event, Events, JUDGED};
pub use save::{DetectorError, SAVED};
pub use score::Worst;

use budget::Budget;
use classes::{Classes, Counted};
use events::{Frozen, Learning, NewKind, Unknown};
use exclusion::Exclusion;
use score::{Columns, Line, Scores};
use tails::{Pair, Start};

/// Lines that raise no alarm: the detector learns what is usual.
pub const LEARNING: u32 = 64;
/// The largest rarity, Q8 bits.
pub const RAREST: i32 = 24 * 256;
/// Lines that begin a stream and say nothing of it: whatever reads it is new to it.
const SKIPPED: u32 = 8;
/// Lines after which a stream is known well enough to say that it has changed.
const SETTLED: u32 = 200;
/// What two looks at a line cost: rarities of the first score lose log2(4 / 3), of the second log2(4). Q8 bits.
const TWO_LOOKS: [i32; 2] = [106, 512];

/// Which of the two scores made a line odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Reason {
    /// One byte is far more surprising than its place in the line usually is: [`Verdict::worst`].
    Byte,
    /// Eight bytes in a row are more surprising than any usually are.
    Stretch,
}

impl Reason {
    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Byte => "byte",
            Self::Stretch => "stretch",
        }
    }
}

/// What is said of a finished line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Verdict {
    /// `2^-rarity` of the quiet lines are at least as odd: Q8 bits, 0 to [`RAREST`]. 0 while nothing is known yet, of
    /// the first 40 lines.
    pub rarity: u16,
    /// Rarer than the share of lines that may be false alarms. Never in the first [`LEARNING`] lines.
    pub odd: bool,
    /// Odd, and the budget allows to say so.
    pub alarm: bool,
    /// What makes the line odd, if it is.
    pub reason: Option<Reason>,
    /// The byte that stands out most.
    pub worst: Worst,
    /// What is said of the stream at this line.
    pub events: Events,
    /// The share of the last some 64 lines that are rarer than 5 bits, of which a quiet stream has a 32nd: Q16.
    pub odd_share: u16,
    /// With [`Event::Learned`]: the numbers, counted from 1, of lines of the learning period that look odd by what was
    /// learned since, in ascending order; the oddest, if there are more. Zeros are none.
    pub learned: [u8; JUDGED],
}

/// Watches a stream of (byte, surprise). At most 1 KB.
#[derive(Clone, Debug)]
pub struct Detector {
    budget: Budget,
    columns: Columns,
    line: Line,
    start: Start,
    tails: Pair,
    classes: Classes,
    exclusion: Exclusion,
    /// Lines so far; does not return to 0.
    lines: u32,
    /// Lines since tails were started, to [`SETTLED`].
    age: u8,
    learning: Learning,
    frozen: Frozen,
    unknown: Unknown,
    kinds: NewKind,
}

const _: () = assert!(size_of::<Detector>() <= 1024);

impl Detector {
    /// A detector at the beginning of a stream.
    pub const fn new(rate: Rate) -> Self {
        Self {
            budget: Budget::new(rate),
            columns: Columns::NEW,
            line: Line::NEW,
            start: Start::NEW,
            tails: Pair::NEW,
            classes: Classes::NEW,
            exclusion: Exclusion::NEW,
            lines: 0,
            age: 0,
            learning: Learning::NEW,
            frozen: Frozen::NEW,
            unknown: Unknown::NEW,
            kinds: NewKind::NEW,
        }
    }

    /// The share of quiet lines that may be false alarms.
    pub const fn rate(&self) -> Rate {
        self.budget.rate()
    }

    /// Changes that share, for the lines to come. What was learned does not depend on it.
    pub const fn set_rate(&mut self, rate: Rate) {
        self.budget.set_rate(rate);
    }

    /// Says from how many bits per byte on, Q8, the net does not know a text: what
    /// [`Blob::unknown_text`](crate::Blob::unknown_text) of the net says, where 0 is 4 bits. To be said again after
    /// [`Detector::load`].
    pub const fn set_unknown_text(&mut self, above: u16) {
        self.unknown.above = if above == 0 { Unknown::ABOVE } else { above };
    }

    /// Goes on where `saved` was, with the share of false alarms and the bound of unknown texts that this one has.
    pub fn resume(&mut self, saved: Self) {
        let (rate, above) = (self.rate(), self.unknown.above);
        *self = saved;
        self.set_rate(rate);
        self.set_unknown_text(above);
    }

    /// Lines that are finished.
    pub const fn lines(&self) -> u32 {
        self.lines
    }

    /// Takes one byte and its surprise (Q16 bits): mixed, of a net and an adapter, or of whichever there is. `net` is the
    /// net's own, where there is one and it should be said that it does not know the text. Returns the verdict of the
    /// line that the byte ends, if it ends one: a newline does, and the 4,096th byte.
    pub fn push(&mut self, byte: u8, bits: u32, net: Option<u32>) -> Option<Verdict> {
        self.line.push(byte, bits, net, &mut self.columns);
        if byte == b'\n' || self.line.is_full() { self.finish() } else { None }
    }

    /// Ends the current line early, as at the end of the stream; `None` if no byte is pending.
    pub fn finish(&mut self) -> Option<Verdict> {
        let scores = self.line.finish(&mut self.columns)?;
        let mut events = Events::NONE;
        let settled = self.lines >= SETTLED;
        let (rarity, reason, counts) = self.rarity(&scores, settled, &mut events);
        let ready = self.lines >= LEARNING;
        let odd = ready && self.budget.is_odd(rarity);
        let alarm = ready && self.budget.take(rarity);
        if settled {
            if counts {
                self.exclusion.count(rarity);
            }
            if self.exclusion.verdict(&mut events) {
                (self.start, self.tails, self.classes, self.age) = (Start::NEW, Pair::NEW, Classes::NEW, 0);
            }
        }
        self.frozen.take(scores.hash, settled, &mut events);
        if let Some(mean) = scores.net_mean {
            self.unknown.take(mean, self.lines, &mut events);
        }
        self.age = (self.age + 1).min(SETTLED as u8);
        // Counting on from the middle: the lines of a stream never become its first ones again.
        self.lines = self.lines.checked_add(1).unwrap_or(1 << 31);
        let learned = match self.lines <= LEARNING {
            true => self.learning.take(self.lines, scores.of, &self.tails, &self.budget, &mut events),
            false => [0; JUDGED],
        };
        let (rarity, reason, odd_share) = (rarity as u16, reason.filter(|_| odd), self.exclusion.share());
        Some(Verdict { rarity, odd, alarm, reason, worst: scores.worst, events, odd_share, learned })
    }

    /// The rarity of a line, which score made it, and whether it counts as a line of a known kind; all tails learn.
    fn rarity(&mut self, scores: &Scores, settled: bool, events: &mut Events) -> (i32, Option<Reason>, bool) {
        if self.lines < SKIPPED {
            return (0, None, true);
        }
        if !self.tails.started() {
            self.start.take(scores.of, &mut self.tails);
            return (0, None, true);
        }
        let slow = if settled { self.exclusion.slowness() } else { 0 };
        let early = (self.age as u32) < SETTLED;
        let line = Counted { first: scores.first, number: self.lines, early };
        let known = self.classes.judge(line, scores.of, &self.tails, slow);
        self.kinds.take(known.third, settled, events);
        self.tails.learn(scores.of, slow);
        let [byte, stretch] = [known.rarities[0] - TWO_LOOKS[0], known.rarities[1] - TWO_LOOKS[1]];
        let reason = if byte >= stretch { Reason::Byte } else { Reason::Stretch };
        (byte.max(stretch).max(0), Some(reason), !known.young)
    }
}
