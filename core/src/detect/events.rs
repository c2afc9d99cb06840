//! What is said of the stream itself, at most once each time it becomes so.

use super::budget::Budget;
use super::tails::Pair;
use super::{LEARNING, SKIPPED, TWO_LOOKS};

/// Something about the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Event {
    /// The learning period is over; [`Verdict::learned`](super::Verdict::learned) names its odd lines.
    Learned = 0,
    /// More lines are odd than before: [`Verdict::odd_share`](super::Verdict::odd_share).
    MoreOdd = 1,
    /// That has lasted for 1,024 lines, or for 4,096 with at most 40 % of them odd: what is usual is learned anew, from the lines to come.
    NewNormal = 2,
    /// Lines of a kind that was not there come regularly; they get a class of their own. Said once of each first byte.
    NewKind = 3,
    /// The last 32 lines, at least, were each one of the eight before it.
    Frozen = 4,
    /// The net does not know this text: the median of its lines' means is above what is usual for texts that it knows,
    /// [`Detector::set_unknown_text`](super::Detector::set_unknown_text).
    UnknownText = 5,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Learned, Self::MoreOdd, Self::NewNormal, Self::NewKind, Self::Frozen, Self::UnknownText];

    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::MoreOdd => "more-odd",
            Self::NewNormal => "new-normal",
            Self::NewKind => "new-kind",
            Self::Frozen => "frozen",
            Self::UnknownText => "unknown-text",
        }
    }
}

/// The events of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Events(u8);

impl Events {
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether this one is among them.
    pub const fn has(self, event: Event) -> bool {
        self.0 >> event as u8 & 1 == 1
    }

    /// Those there are.
    pub fn iter(self) -> impl Iterator<Item = Event> {
        Event::ALL.into_iter().filter(move |&event| self.has(event))
    }

    pub(super) const fn add(&mut self, event: Event) {
        self.0 |= 1 << event as u8;
    }
}

/// Lines of the learning period that [`Event::Learned`] can name.
pub const JUDGED: usize = 6;

/// The oddest lines of the learning period, to be judged at its end.
#[derive(Clone, Debug)]
pub(super) struct Learning {
    /// Number from 1 and both scores; number 0 is none.
    pub(super) lines: [(u8, [i32; 2]); JUDGED],
}

impl Learning {
    pub(super) const NEW: Self = Self { lines: [(0, [0; 2]); JUDGED] };

    /// Takes line number `number`, counted from 1 to [`LEARNING`]; after the last one it judges, and returns the numbers
    /// of the odd ones.
    pub(super) fn take(
        &mut self,
        number: u32,
        scores: [i32; 2],
        tails: &Pair,
        budget: &Budget,
        events: &mut Events,
    ) -> [u8; JUDGED] {
        if number > SKIPPED {
            let least = |(number, scores): &(u8, [i32; 2])| if *number == 0 { i32::MIN } else { scores[0] };
            if let Some(line) = self.lines.iter_mut().min_by_key(|line| least(line))
                && least(line) < scores[0]
            {
                *line = (number as u8, scores);
            }
        }
        if number < LEARNING {
            return [0; JUDGED];
        }
        let mut odd = self.lines.map(|(number, scores)| {
            let [byte, stretch] = tails.rarities(scores);
            let rarity = (byte - TWO_LOOKS[0]).max(stretch - TWO_LOOKS[1]);
            if budget.is_odd(rarity) { number } else { 0 }
        });
        crate::sort::sort(&mut odd, |a, b| a.wrapping_sub(1) < b.wrapping_sub(1));
        events.add(Event::Learned);
        odd
    }
}

/// Whether lines repeat.
#[derive(Clone, Debug)]
pub(super) struct Frozen {
    /// Hashes of the last lines.
    pub(super) last: [u16; 8],
    /// Where the next one goes.
    pub(super) next: u8,
    /// Lines in a row that repeat one of the eight before, to 60,000, and the most of any row before.
    pub(super) run: u16,
    pub(super) longest: u16,
    /// It was said of this row.
    pub(super) said: bool,
}

impl Frozen {
    pub(super) const NEW: Self = Self { last: [0; 8], next: 0, run: 0, longest: 0, said: false };
    /// Lines of a row before anything is said.
    const LEAST: u16 = 32;

    pub(super) fn take(&mut self, hash: u16, settled: bool, events: &mut Events) {
        let repeats = self.last.contains(&hash);
        if let Some(slot) = self.last.get_mut(self.next as usize & 7) {
            *slot = hash;
        }
        self.next = self.next.wrapping_add(1) & 7;
        if !repeats {
            (self.longest, self.run, self.said) = (self.longest.max(self.run), 0, false);
            return;
        }
        self.run = (self.run + 1).min(60_000);
        let long = self.run >= Self::LEAST && self.run as u32 >= 4 * self.longest as u32;
        if settled && long && !self.said {
            self.said = true;
            events.add(Event::Frozen);
        }
    }
}

/// Whether the net knows the text.
#[derive(Clone, Debug)]
pub(super) struct Unknown {
    /// The median of the net's mean bits per byte over lines, Q8.
    pub(super) median: i32,
    pub(super) said: bool,
    /// A text above this is unknown, Q8 bits. It belongs to the net, so it is not saved with the stream.
    pub(super) above: u16,
}

impl Unknown {
    pub(super) const NEW: Self = Self { median: 0, said: false, above: Self::ABOVE };
    /// Of a net that does not say: 4 bits.
    pub(super) const ABOVE: u16 = 4 * 256;
    /// Lines before anything is said.
    const LEAST: u32 = 32;
    /// Lines before a text is unknown that is less than [`CLEARLY`](Self::CLEARLY) above: many begin with some lines of
    /// another kind, a heading or comments.
    const SURE: u32 = 128;
    const CLEARLY: i32 = 256;

    /// Takes a line's mean, and how many lines there were before it.
    pub(super) fn take(&mut self, mean: i32, lines: u32, events: &mut Events) {
        let step = if lines < Self::LEAST { 128 } else { 16 };
        self.median = match lines {
            0 => mean,
            _ if mean > self.median => self.median + step,
            _ => (self.median - step).max(0),
        };
        if lines < Self::LEAST {
            return;
        }
        let above = self.above as i32;
        let bar = if lines < Self::SURE { above + Self::CLEARLY } else { above };
        if self.median > bar && !self.said {
            self.said = true;
            events.add(Event::UnknownText);
        }
        // A quarter below, it is known again.
        self.said &= self.median >= above - above / 4;
    }
}

/// Whether a new kind of line has come.
#[derive(Clone, Debug)]
pub(super) struct NewKind {
    /// Lines until it may be said again.
    pub(super) wait: u16,
    /// The kinds of which it was said, a bit for each first byte.
    pub(super) said: [u8; 32],
}

impl NewKind {
    pub(super) const NEW: Self = Self { wait: 0, said: [0; 32] };
    /// It is said once in so many lines, and of each kind once.
    pub(super) const ONCE_IN: u16 = 256;

    /// Takes a line; `third` is the key of its class, if that is young and has three lines.
    pub(super) fn take(&mut self, third: Option<u8>, settled: bool, events: &mut Events) {
        self.wait = self.wait.saturating_sub(1);
        let Some(key) = third.filter(|_| settled && self.wait == 0) else { return };
        if let Some(said) = self.said.get_mut(key as usize / 8)
            && *said >> (key % 8) & 1 == 0
        {
            *said |= 1 << (key % 8);
            self.wait = Self::ONCE_IN;
            events.add(Event::NewKind);
        }
    }
}
