//! The two scores of a line, gathered byte by byte. Bits are Q8 here.
//!
//! A *field* ends at a byte that is no letter, digit, `.`, `-`, `+`, `_` or above 127; that byte counts with the field.
//! A *column* is a field's number in lines of the same type, and a line's type is its first field that is not empty,
//! digits all alike. For each column a 0.9 quantile follows the largest surprise of its fields.

use super::log::log2;
use crate::cannot::never;
use crate::lines::{MAX_LINE, PEAK};

/// Columns that are told apart; others share a place.
pub(super) const COLUMNS: usize = 128;
/// Of 256 fields so many are above the quantile.
const ABOVE: i32 = 26;
/// Stage from which a column is known: 16 of its fields were seen.
const KNOWN: u16 = 4;
/// The last stage.
const GROWN: u16 = 7;
/// In each stage one in so many fields leads to the next.
const PATIENCE: [u32; GROWN as usize] = [1, 1, 2, 4, 8, 24, 96];
/// The largest quantile of a column: 13 bits hold it.
const MOST: i32 = (1 << 13) - 1;
/// Below any score.
const NONE: i32 = -100_000;

/// The byte of a line that stands out most against its column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Worst {
    /// Its place in the line, from 0.
    pub at: u16,
    /// The byte.
    pub byte: u8,
    /// Its surprise, Q8 bits.
    pub bits: u16,
}

/// What a line has come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scores {
    /// Largest byte less half of its column's level; 8 log2 of the worst 8 bytes' mean. Q8.
    pub(super) of: [i32; 2],
    pub(super) worst: Worst,
    /// The first byte.
    pub(super) first: u8,
    /// A hash of the bytes.
    pub(super) hash: u16,
    /// Mean bits per byte of the net, Q8.
    pub(super) net_mean: Option<i32>,
}

/// The levels of columns, and of all fields together.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// For each column its quantile, times 8, and its stage; 0 if it was never seen.
    pub(super) levels: [u16; COLUMNS],
    /// The 0.9 quantile of all fields.
    pub(super) quantile: i32,
    /// Their mean excess above it.
    pub(super) excess: i32,
    /// Bytes of the stream, modulo 2^32: the die of stages.
    pub(super) position: u32,
}

impl Columns {
    pub(super) const NEW: Self = Self { levels: [0; COLUMNS], quantile: 0, excess: 512, position: 0 };
    /// The least mean excess.
    pub(super) const LEAST_EXCESS: i32 = 32;

    /// Takes the largest surprise of a field in the column `hash`; what it is above half of the column's level.
    fn take(&mut self, hash: u32, largest: i32) -> i32 {
        let Some(level) = self.levels.get_mut(hash as usize % COLUMNS) else {
            return never("a column below their number", NONE);
        };
        let (mut quantile, mut stage) = ((*level >> 3) as i32, *level & 7);
        let reference = if stage >= KNOWN { quantile } else { quantile.max(self.quantile) };
        let above = largest - reference / 2;
        if stage == 0 {
            (quantile, stage) = (largest.min(MOST), 1);
        } else {
            let slow = [0, 0, 0, 0, 1, 1, 2, 3][stage as usize & 7];
            let step = (self.excess >> slow).max(10);
            quantile += if largest > quantile { (step * (256 - ABOVE)) >> 8 } else { -((step * ABOVE) >> 8).max(1) };
            quantile = quantile.clamp(0, MOST);
            let die = self.position.wrapping_mul(2_654_435_761) >> 8;
            if PATIENCE.get(stage as usize).is_some_and(|&patience| die.is_multiple_of(patience)) {
                stage += 1;
            }
        }
        *level = (quantile as u16) << 3 | stage;
        self.take_any(largest);
        above
    }

    /// The level of all fields.
    fn take_any(&mut self, largest: i32) {
        let (above, step) = (largest - self.quantile, (self.excess >> 3).max(1));
        if above > 0 {
            self.quantile += (step * (256 - ABOVE)) >> 8;
            let excess = self.excess + ((above.min(6 * self.excess) - self.excess) >> 4);
            self.excess = excess.max(Self::LEAST_EXCESS);
        } else {
            self.quantile = (self.quantile - ((step * ABOVE) >> 8)).max(0);
        }
    }
}

/// Marks the byte after a line's first digits.
const AFTER_DIGITS: u8 = 0x80;

/// The line that is open.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Bytes so far, below [`MAX_LINE`].
    pub(super) bytes: u16,
    /// Sums of surprises, and of the net's own.
    pub(super) bits: u32,
    pub(super) net: u32,
    /// The net was heard at every byte.
    pub(super) has_net: bool,
    /// The last [`PEAK`] surprises, their sum, and the largest such sum.
    pub(super) recent: [u16; PEAK],
    pub(super) sum: u32,
    pub(super) peak: u32,
    /// What the line begins with: its first byte, or with [`AFTER_DIGITS`] the one after its first digits. Hashes of the line, its type and the field that is open.
    pub(super) first: u8,
    pub(super) hash: u32,
    pub(super) kind: u32,
    pub(super) field: u32,
    /// That field has a byte.
    pub(super) open: bool,
    /// Its number, to 255.
    pub(super) number: u8,
    /// Its largest byte.
    pub(super) largest: Worst,
    /// The best score of a field so far, and its byte.
    pub(super) best: i32,
    pub(super) worst: Worst,
}

impl Line {
    pub(super) const NEW: Self = Self {
        bytes: 0,
        bits: 0,
        net: 0,
        has_net: true,
        recent: [0; PEAK],
        sum: 0,
        peak: 0,
        first: 0,
        hash: 0,
        kind: 0,
        field: 0,
        open: false,
        number: 0,
        largest: Worst { at: 0, byte: 0, bits: 0 },
        best: NONE,
        worst: Worst { at: 0, byte: 0, bits: 0 },
    };

    /// The line has the most bytes that a line is scored with.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes as u32 >= MAX_LINE
    }

    /// Takes a byte, its surprise and the net's, Q16.
    pub(super) fn push(&mut self, byte: u8, bits: u32, net: Option<u32>, columns: &mut Columns) {
        let q8 = |bits: u32| (bits >> 8).min(u16::MAX as u32);
        let (bits, at) = (q8(bits), self.bytes);
        self.bits += bits;
        self.net += net.map_or(0, q8);
        self.has_net &= net.is_some();
        match self.recent.get_mut(at as usize % PEAK) {
            Some(slot) => {
                self.sum = (self.sum + bits).saturating_sub(*slot as u32);
                *slot = bits as u16;
            }
            None => never("a place in the ring", ()),
        }
        self.bytes += 1;
        self.peak = self.peak.max(self.sum);
        if at == 0 {
            self.first = byte;
        } else if self.first.is_ascii_digit() && !byte.is_ascii_digit() {
            // What ends a number says more than its first digit: a date, a time of day, seconds since 1970.
            self.first = byte | AFTER_DIGITS;
        }
        self.hash = self.hash.wrapping_mul(0x0100_0193) ^ byte as u32;
        if bits as u16 >= self.largest.bits {
            self.largest = Worst { at, byte, bits: bits as u16 };
        }
        columns.position = columns.position.wrapping_add(1);
        self.open = true;
        if is_inside(byte) {
            let letter = if byte.is_ascii_digit() { b'0' } else { byte };
            self.field = self.field.wrapping_mul(31).wrapping_add(letter as u32);
        } else {
            self.end_field(columns);
        }
    }
    /// The field that is open ends with the last byte: scores it.
    fn end_field(&mut self, columns: &mut Columns) {
        let mut hash = self.kind.wrapping_mul(0x9e37_79b1) ^ (self.number as u32).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d);
        hash ^= hash >> 13;
        let above = columns.take(hash, self.largest.bits as i32);
        if above > self.best {
            (self.best, self.worst) = (above, self.largest);
        }
        if self.kind == 0 {
            self.kind = self.field;
        }
        self.number = self.number.saturating_add(1);
        (self.field, self.largest) = (0, Worst::default());
        self.open = false;
    }

    /// Ends the line; `None` if it has no byte.
    pub(super) fn finish(&mut self, columns: &mut Columns) -> Option<Scores> {
        let bytes = self.bytes as u32;
        if bytes == 0 {
            return None;
        }
        if self.open {
            self.end_field(columns);
        }
        let stretch = if bytes < PEAK as u32 { self.bits / bytes } else { self.peak / PEAK as u32 };
        let scores = Scores {
            of: [self.best, 8 * log2(stretch.max(8))],
            worst: self.worst,
            first: self.first,
            hash: (self.hash ^ self.hash >> 16) as u16,
            net_mean: self.has_net.then_some((self.net / bytes) as i32),
        };
        *self = Self::NEW;
        Some(scores)
    }
}

/// A byte that does not end a field.
const fn is_inside(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+' | b'_' | 128..)
}
