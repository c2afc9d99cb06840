//! Where a byte is: in which field of which line, and what was there in the last line of the same type.
//!
//! Telemetry is lines of fields. A *field* is a run of letters, digits and `. - + _`; anything else ends it. The *type*
//! of a line is a hash of its first field (`$GPGGA`, a host's name, a key), so that lines of several kinds in turn each
//! have their own predecessor. The *reference* is the place in that predecessor that lies above the next byte: it
//! moves along with the line, and is anchored anew where a field has grown or shrunk.

use super::math::hash;
use super::memory::Parts;
use super::stream::NOWHERE;

/// How far the reference is moved to find a separator again.
const REACH: usize = 40;
/// The same for the first field, whose length may be any.
const FIRST_REACH: usize = 64;

/// Part of a field: letters, digits, `. - + _` and what is not ASCII.
#[inline(always)]
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+' | b'_') || byte >= 128
}

impl Parts<'_> {
    /// The byte at a place that is [held](Self::held).
    #[inline(always)]
    pub(crate) fn ring_at(&self, place: u32) -> u8 {
        let mask = self.ring.len().wrapping_sub(1);
        match self.ring.get(place as usize & mask) {
            Some(&byte) => byte,
            None => 0,
        }
    }

    /// Whether the ring still has the byte at `place`.
    #[inline(always)]
    pub(crate) fn held(&self, place: u32) -> bool {
        let back = self.stream.at.wrapping_sub(place);
        place != NOWHERE && back >= 1 && back < self.ring.len() as u32 && back <= self.stream.age
    }

    /// The byte at a place, if it is held.
    #[inline(always)]
    pub(crate) fn held_at(&self, place: u32) -> Option<u8> {
        if self.held(place) { Some(self.ring_at(place)) } else { None }
    }

    /// The place whose lower 16 bits are `low`, if the ring has it.
    #[inline(always)]
    pub(crate) fn expand(&self, low: u16) -> u32 {
        let back = (self.stream.at as u16).wrapping_sub(low) as u32;
        let place = self.stream.at.wrapping_sub(back);
        if back != 0 && self.held(place) { place } else { NOWHERE }
    }

    /// How many bytes back from the next one; more than any ring if nowhere.
    #[inline(always)]
    fn back(&self, place: u32) -> u32 {
        if place == NOWHERE { NOWHERE } else { self.stream.at.wrapping_sub(place) }
    }

    /// Behind the first `separator` at or after `from`, in the line of `from` and before this one; at most `reach` on.
    #[inline(always)]
    fn behind(&self, from: u32, separator: u8, reach: usize) -> u32 {
        let mut place = from;
        let line = self.back(self.stream.line_start);
        for _ in 0..=reach {
            match self.held_at(place) {
                Some(byte) if self.back(place) > line && byte == separator => return place.wrapping_add(1),
                Some(byte) if self.back(place) > line && byte != b'\n' => place = place.wrapping_add(1),
                _ => return NOWHERE,
            }
        }
        NOWHERE
    }

    /// Reads a byte, which lies in the ring already: the next byte's field, line and reference.
    pub(crate) fn follow(&mut self, byte: u8) {
        if byte == b'\n' {
            self.end_of_line();
        } else if is_word(byte) {
            self.stream.field_hash = hash(self.stream.field_hash.wrapping_add(1), byte as u32);
            if let Some(above) = self.held_at(self.stream.reference) {
                if above != byte {
                    self.stream.equal = 0;
                }
                if is_word(above) {
                    self.stream.reference = self.stream.reference.wrapping_add(1);
                }
            }
        } else {
            self.end_of_field(byte);
        }
    }

    fn end_of_line(&mut self) {
        let slot = self.stream.line_type as usize & 7;
        if self.stream.typed != 0 {
            self.line_at[slot] = self.stream.line_start as u16;
            self.line_type[slot] = self.stream.line_type;
        }
        self.stream.last_types = [self.stream.line_type, self.stream.last_types[0]];
        // Until its type is known, a line's predecessor is the last one.
        self.stream.reference = self.stream.line_start;
        self.stream.line_start = self.stream.at;
        self.stream.line_type = 0;
        self.stream.typed = 0;
        self.stream.field = 0;
        self.begin_field();
    }

    fn begin_field(&mut self) {
        self.stream.field_start = self.stream.at;
        if self.stream.field_hash != 0 {
            self.stream.last_field = self.stream.field_hash;
        }
        self.stream.field_hash = 0;
        self.stream.equal = 1;
        self.pending.runs = 0;
    }

    fn end_of_field(&mut self, separator: u8) {
        if self.stream.typed == 0 && self.stream.field_hash != 0 {
            self.stream.line_type = self.stream.field_hash as u8;
            self.stream.typed = 1;
            let slot = self.stream.line_type as usize & 7;
            let known = self.line_type[slot] == self.stream.line_type;
            let start = if known { self.expand(self.line_at[slot]) } else { NOWHERE };
            self.stream.reference = if start == NOWHERE { NOWHERE } else { self.behind(start, separator, FIRST_REACH) };
        } else {
            self.anchor(separator);
        }
        self.stream.field = if self.stream.field < 200 { self.stream.field + 1 } else { 200 };
        self.begin_field();
    }

    /// Moves the reference behind the separator above; where the fields differ, to where a field of the same type,
    /// number and text ended last, or to the next separator of the same kind.
    fn anchor(&mut self, separator: u8) {
        let reference = self.stream.reference;
        let same = self.stream.equal != 0 && self.held_at(reference) == Some(separator);
        self.stream.reference = if same { reference.wrapping_add(1) } else { self.behind(reference, separator, REACH) };
        let key = hash(hash(self.stream.type_and_field(), self.stream.field_hash), separator as u32);
        let slot = key as usize & self.anchors.len().wrapping_sub(1);
        let before = self.anchors.get(slot).copied().unwrap_or(0);
        let anchored = self.expand(before);
        if !same && anchored != NOWHERE && self.same_field(anchored) {
            self.stream.reference = anchored;
        }
        if let Some(anchor) = self.anchors.get_mut(slot) {
            *anchor = self.stream.at as u16;
        }
    }

    /// Whether what ends before `place` is this field with its separator.
    fn same_field(&self, place: u32) -> bool {
        let length = self.stream.at.wrapping_sub(self.stream.field_start);
        (1..=length).all(|back| {
            let (then, now) = (place.wrapping_sub(back), self.stream.at.wrapping_sub(back));
            self.held_at(then).is_some() && self.held_at(then) == self.held_at(now)
        })
    }
}
