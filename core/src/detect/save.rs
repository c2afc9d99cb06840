//! A detector as bytes.
//!
//! Version, share, then every field in the order of [`fields`], little-endian. One list both writes and reads, so they
//! cannot differ.

use super::budget::Budget;
use super::classes::CLASSES;
use super::events::{JUDGED, NewKind};
use super::exclusion::{HELD_LONG, MOST};
use super::score::{COLUMNS, Columns, Worst};
use super::tails::{FIRST, LEAST_EXCESS, Pair};
use super::{Detector, LEARNING, Rate, SETTLED};
use crate::lines::{MAX_LINE, PEAK};

/// Version of the saved form.
const VERSION: u8 = 1;
/// Bytes of two tails.
const PAIR: usize = 2 * (4 + 4 + 2 + 1 + 1 + 2);
/// Bytes of a [`Worst`].
const WORST: usize = 2 + 1 + 2;
/// Bytes of a saved [`Detector`].
pub const SAVED: usize = 4
    + (4 + 4)
    + (2 * COLUMNS + 12)
    + (2 + 4 + 4 + 1 + 2 * PEAK + 4 + 4 + 1 + 12 + 1 + 1 + WORST + 4 + WORST)
    + 4 * FIRST
    + PAIR
    + CLASSES * (4 + PAIR)
    + (4 + 2 + 2)
    + (4 + 1)
    + JUDGED * (1 + 8)
    + (16 + 1 + 2 + 2 + 1)
    + (4 + 1)
    + 2
    + 32;

/// Why a saved detector was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DetectorError {
    /// A version that this build does not read.
    Version {
        /// Version found.
        found: u8,
    },
    /// A field has a value that no detector has.
    Value {
        /// What the field holds.
        field: &'static str,
    },
}

impl core::fmt::Display for DetectorError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::Version { found } => write!(f, "detector version {found}, this build reads version {VERSION}"),
            Self::Value { field } => write!(f, "no detector has such a value as {field}"),
        }
    }
}

impl core::error::Error for DetectorError {}

/// What fields pass through: bytes to write or to read.
trait Bytes {
    fn pass<const N: usize>(&mut self, value: &mut [u8; N]);
}

/// To the end of a slice that is long enough; what has no room is dropped.
struct Written<'o>(&'o mut [u8]);

impl Bytes for Written<'_> {
    fn pass<const N: usize>(&mut self, value: &mut [u8; N]) {
        if let Some((to, rest)) = core::mem::take(&mut self.0).split_first_chunk_mut() {
            *to = *value;
            self.0 = rest;
        }
    }
}

/// From a slice; zeros behind its end.
struct Read<'i>(&'i [u8]);

impl Bytes for Read<'_> {
    fn pass<const N: usize>(&mut self, value: &mut [u8; N]) {
        *value = [0; N];
        if let Some((from, rest)) = self.0.split_first_chunk() {
            (*value, self.0) = (*from, rest);
        }
    }
}

/// A field that is saved.
trait Field {
    fn field(&mut self, bytes: &mut impl Bytes);
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Field for $integer {
            #[inline(never)]
            fn field(&mut self, bytes: &mut impl Bytes) {
                let mut value = self.to_le_bytes();
                bytes.pass(&mut value);
                *self = Self::from_le_bytes(value);
            }
        }
    )*};
}
integers!(u8, u16, u32, i32);

/// A byte; what is not 0 is true.
impl Field for bool {
    fn field(&mut self, bytes: &mut impl Bytes) {
        let mut value = *self as u8;
        value.field(bytes);
        *self = value != 0;
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    fn field(&mut self, bytes: &mut impl Bytes) {
        self.iter_mut().for_each(|field| field.field(bytes));
    }
}

/// Saves or loads a list of fields.
macro_rules! pass {
    ($bytes:ident, $($field:expr),* $(,)?) => { $($field.field($bytes);)* };
}

impl Field for Worst {
    fn field(&mut self, bytes: &mut impl Bytes) {
        pass!(bytes, self.at, self.byte, self.bits);
    }
}

impl Field for Pair {
    fn field(&mut self, bytes: &mut impl Bytes) {
        for tail in &mut self.0 {
            pass!(bytes, tail.quantile, tail.excess, tail.seen, tail.learned, tail.rare, tail.steepness);
        }
    }
}

/// Every field behind the version and the share.
fn fields(detector: &mut Detector, bytes: &mut impl Bytes) {
    let Detector { budget, columns, line, start, tails, classes, exclusion, lines, age, .. } = detector;
    pass!(bytes, budget.raise, columns.levels, columns.quantile, columns.excess, columns.position);
    pass!(bytes, line.bytes, line.bits, line.net, line.has_net, line.recent, line.sum, line.peak, line.first);
    pass!(bytes, line.hash, line.kind, line.field, line.open, line.number, line.largest, line.best, line.worst);
    pass!(bytes, start.0, tails);
    for class in &mut classes.0 {
        pass!(bytes, class.key, class.count, class.used, class.tails);
    }
    pass!(bytes, exclusion.sum, exclusion.held, exclusion.share, lines, age);
    let Detector { learning, frozen, unknown, kinds, .. } = detector;
    for (number, scores) in &mut learning.lines {
        pass!(bytes, number, scores);
    }
    pass!(bytes, frozen.last, frozen.next, frozen.run, frozen.longest, frozen.said);
    pass!(bytes, unknown.median, unknown.said, kinds.wait, kinds.said);
}

impl Detector {
    /// Writes everything, [`Rate`] included, so that [`Detector::load`] continues as if never stopped.
    pub fn save(&mut self, out: &mut [u8; SAVED]) {
        let mut bytes = Written(out);
        bytes.pass(&mut [VERSION, 0, 0, 0]);
        bytes.pass(&mut self.rate().share().to_le_bytes());
        fields(self, &mut bytes);
        debug_assert!(bytes.0.is_empty(), "{} bytes are left of the saved form", bytes.0.len());
    }

    /// The detector that [`Detector::save`] wrote.
    ///
    /// # Errors
    /// [`DetectorError`]. Bytes that pass are safe to go on with; protect them with a checksum.
    pub fn load(saved: &[u8; SAVED]) -> Result<Self, DetectorError> {
        let mut bytes = Read(saved);
        let (mut head, mut share) = ([0; 4], [0; 4]);
        bytes.pass(&mut head);
        bytes.pass(&mut share);
        match head {
            [VERSION, 0, 0, 0] => {}
            [VERSION, ..] => return Err(DetectorError::Value { field: "the zeros behind the version" }),
            [found, ..] => return Err(DetectorError::Version { found }),
        }
        let share = u32::from_le_bytes(share);
        let rate = Rate::of_share(share);
        let mut detector = Self::new(rate);
        fields(&mut detector, &mut bytes);
        let right = |field, right: bool| if right { Ok(()) } else { Err(DetectorError::Value { field }) };
        right("the share of false alarms", rate.share() == share)?;
        detector.check(right)?;
        Ok(detector)
    }

    /// Calls `right` with what has to hold for arithmetic to stay in range.
    fn check<E>(&self, right: impl Fn(&'static str, bool) -> Result<(), E>) -> Result<(), E> {
        let Self { budget, columns, line, exclusion, learning, .. } = self;
        right("the raised bar", budget.raise <= Budget::MOST)?;
        right("the level of all fields", (0..1 << 17).contains(&columns.quantile))?;
        right("the excess of all fields", (Columns::LEAST_EXCESS..1 << 17).contains(&columns.excess))?;
        let (bytes, most) = (line.bytes as u32, u16::MAX as u32);
        right("the bytes of a line", bytes < MAX_LINE)?;
        right("the surprise of a line", line.bits <= bytes * most && line.net <= bytes * most)?;
        let sum: u32 = line.recent.iter().map(|&bits| bits as u32).sum();
        right("the last surprises", line.sum == sum && line.peak <= PEAK as u32 * most)?;
        right("the score of a line", (-100_000..1 << 17).contains(&line.best))?;
        let tails = self.classes.0.iter().map(|class| &class.tails).chain([&self.tails]).flat_map(|pair| &pair.0);
        for tail in tails {
            right("a quantile", (-(1 << 24)..=1 << 24).contains(&tail.quantile))?;
            right("an excess", (LEAST_EXCESS..=1 << 25).contains(&tail.excess))?;
        }
        right("the start of a tail", self.tails.0[0].seen == self.tails.0[1].seen || self.tails.started())?;
        right("the age of tails", self.age as u32 <= SETTLED)?;
        right("the sum of odd lines", (0..=MOST).contains(&exclusion.sum) && exclusion.held < HELD_LONG)?;
        right("a line of the learning period", learning.lines.iter().all(|line| line.0 as u32 <= LEARNING))?;
        let scores = learning.lines.iter().flat_map(|line| &line.1);
        right("a score of the learning period", scores.into_iter().all(|s| (-(1 << 20)..1 << 20).contains(s)))?;
        right("the median of the net", (0..1 << 17).contains(&self.unknown.median))?;
        right("the wait for a new kind", self.kinds.wait <= NewKind::ONCE_IN)
    }
}
