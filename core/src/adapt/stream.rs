//! What an adapter knows of the stream, beside its tables: where it is, and the number that is being read.

use super::math::hash;

/// No place in the ring.
pub(crate) const NOWHERE: u32 = u32::MAX;
/// What an adapter knows of the stream, beside its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Bytes read, modulo 2^32: the place of the next one.
    pub(crate) at: u32,
    /// Bytes read, at most a million: for the learning rate, and for what the ring holds.
    pub(crate) age: u32,
    pub(crate) line_start: u32,
    pub(crate) field_start: u32,
    /// The place above the next byte.
    pub(crate) reference: u32,
    /// The place that the match model expects to be repeated.
    pub(crate) match_at: u32,
    pub(crate) field_hash: u32,
    /// That of the field before.
    pub(crate) last_field: u32,
    pub(crate) match_len: u16,
    pub(crate) rate: u16,
    /// The field's number in its line, at most 200.
    pub(crate) field: u8,
    pub(crate) line_type: u8,
    /// Types of the last line and of the one before it.
    pub(crate) last_types: [u8; 2],
    /// The field has been equal to the one above so far.
    pub(crate) equal: u8,
    /// The line's first field is over.
    pub(crate) typed: u8,
    /// For rounding: a sequence of period 256.
    pub(crate) dither: u8,
    /// The last bytes, newest first.
    pub(crate) history: [u8; 8],
}

/// Most that [`Stream::age`] counts.
pub(crate) const OLD: u32 = 1_000_000;

impl Stream {
    /// All zero: for `static` memory.
    pub(crate) const ZERO: Self = Self { reference: 0, match_at: 0, ..Self::START };

    /// Before the first byte.
    pub(crate) const START: Self = Self {
        at: 0,
        age: 0,
        line_start: 0,
        field_start: 0,
        reference: NOWHERE,
        match_at: NOWHERE,
        field_hash: 0,
        last_field: 0,
        match_len: 0,
        rate: 0,
        field: 0,
        line_type: 0,
        last_types: [0; 2],
        equal: 0,
        typed: 0,
        dither: 0,
        history: [0; 8],
    };

    /// Type and field in one number.
    #[inline(always)]
    pub(crate) fn type_and_field(&self) -> u32 {
        self.line_type as u32 * 256 + self.field as u32
    }

    /// The last `n` bytes as a hash that begins with `seed`.
    #[inline(always)]
    pub(crate) fn order(&self, seed: u32, n: u8) -> u32 {
        self.history.iter().take(n as usize).fold(seed, |h, &byte| hash(h, byte as u32 + 1))
    }
}

/// Counts a byte.
#[inline(always)]
pub(crate) fn age(stream: &mut Stream, byte: u8) {
    stream.at = stream.at.wrapping_add(1);
    stream.age = if stream.age < OLD { stream.age + 1 } else { OLD };
    stream.history = (u64::from_le_bytes(stream.history) << 8 | byte as u64).to_le_bytes();
}

/// No digit before the point.
pub(crate) const NO_POINT: u8 = 15;

/// What is remembered of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// Its digits, without the point, modulo 10^9.
    pub(crate) value: u32,
    /// Last difference.
    pub(crate) difference: i16,
    /// Digits 4 bits, digits before the point 4 bits.
    pub(crate) shape: u8,
    /// How often the difference came in a row 2 bits, check 6 bits.
    pub(crate) mark: u8,
}

impl Number {
    /// Nothing is remembered.
    pub(crate) const NONE: Self = Self { value: 0, difference: 0, shape: 0, mark: 0 };

    pub(crate) const fn width(self) -> u8 {
        self.shape >> 4
    }

    pub(crate) const fn point(self) -> u8 {
        self.shape & 15
    }

    pub(crate) const fn streak(self) -> u8 {
        self.mark >> 6
    }

    pub(crate) const fn check(self) -> u8 {
        self.mark & 63
    }
}

/// The number that is being read, and what it is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) value: u32,
    /// Digits read.
    pub(crate) width: u8,
    /// Digits read before the point.
    pub(crate) before_point: u8,
    /// Numbers that ended in this field.
    pub(crate) runs: u8,
    /// 0 outside of a number, 1 in it, 2 behind its point.
    pub(crate) phase: u8,
    /// What has been read agrees with what is expected.
    pub(crate) agrees: u8,
    /// Digits that are expected.
    pub(crate) expected: u8,
    /// Digits expected before the point; 255 for no point, 254 once it was read.
    pub(crate) expected_point: u8,
    pub(crate) slot: u16,
    /// The last nine of the expected digits or ten, most significant first.
    pub(crate) digits: [u8; 10],
}

impl Pending {
    /// Outside of a number.
    pub(crate) const NONE: Self = Self {
        value: 0,
        width: 0,
        before_point: 0,
        runs: 0,
        phase: 0,
        agrees: 0,
        expected: 0,
        expected_point: 0,
        slot: 0,
        digits: [0; 10],
    };

    /// Leading digits that are not kept.
    pub(crate) const fn skipped(&self) -> u8 {
        self.expected.saturating_sub(9)
    }

    pub(crate) fn digit(&self) -> Option<u8> {
        let index = self.width.checked_sub(self.skipped())?;
        if self.width < self.expected { self.digits.get(index as usize).copied() } else { None }
    }
}
