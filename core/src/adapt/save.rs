//! An adapter as bytes: everything that it learned, in one order, little-endian.
//!
//! | offset | type | field |
//! |---|---|---|
//! | 0 | u8 | number of the preset ([`Design::id`]) |
//! | 1 | u8 | version of this layout, 1 |
//! | 2 | u16 | reserved, zero |
//! | 4 | | the tables in the order of [`Parts::visit`], then the stream and the pending number |
//!
//! There is no checksum: a snapshot around it has one. Any bytes that pass the checks of the head can be read: what is
//! out of range is brought into range, so no saved adapter makes arithmetic overflow.

use core::fmt;

use super::bytes::{Load, Move, Save};
use super::design::Design;
use super::math::LEARNED;
use super::memory::{Adapter1M, Adapter4K, Adapter8K, Adapter16K, Adapter32K, Adapter64K, Memory, Parts};
use super::mixer;
use super::stream::{Number, OLD, Pending, Stream};

/// Version of the layout.
const VERSION: u8 = 1;
/// Bytes of the head.
const HEAD: usize = 4;
/// Bytes of a [`Stream`].
const STREAM: usize = 8 * 4 + 2 * 2 + 5 + 2 + 8;
/// Bytes of a [`Pending`].
const PENDING: usize = 4 + 7 + 2 + 10;
/// Bytes of a [`Number`].
const NUMBER: usize = 4 + 2 + 2;

/// Why a saved adapter was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AdapterError {
    /// The bytes are not as many as this preset has.
    Length {
        /// Bytes of the preset.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// It is of another preset.
    Preset {
        /// Number of this one.
        expected: u8,
        /// Number in the bytes.
        found: u8,
    },
    /// It is of another version.
    Version {
        /// The version in the bytes.
        found: u8,
    },
    /// Reserved bytes are not zero.
    Reserved,
}

/// All presets, the smallest first.
pub static DESIGNS: [Design; 6] = [
    Adapter4K::DESIGN,
    Adapter8K::DESIGN,
    Adapter16K::DESIGN,
    Adapter32K::DESIGN,
    Adapter64K::DESIGN,
    Adapter1M::DESIGN,
];

/// The preset with a number of files.
pub fn preset(id: u8) -> Option<&'static Design> {
    DESIGNS.iter().find(|design| design.id == id)
}

/// A preset by its number, for people.
struct Named(u8);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match preset(self.0) {
            Some(design) => f.write_str(design.name),
            None => write!(f, "an unknown preset (number {})", self.0),
        }
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => {
                write!(f, "the saved adapter has {found} bytes, this preset {expected}")
            }
            Self::Preset { expected, found } => {
                write!(f, "the saved adapter is {}, {} is read", Named(*found), Named(*expected))
            }
            Self::Version { found } => write!(f, "the saved adapter is of version {found}, {VERSION} is read"),
            Self::Reserved => f.write_str("reserved bytes of the saved adapter are not zero"),
        }
    }
}

impl core::error::Error for AdapterError {}

impl Design {
    /// Bytes of a saved adapter.
    pub const fn saved_bytes(&self) -> usize {
        let words = self.matches
            + self.slots
            + self.runs.len() * self.confidences()
            + 32
            + self.columns
            + self.anchors
            + 8
            + self.rows() * self.inputs()
            + 12 * self.sets.len()
            + 256
            + self.sse.points()
            + self.bits
            + self.histories.len() * 128
            + self.number_confidences();
        let second = if self.two { self.slots } else { 0 };
        HEAD + self.ring + 2 * words + second + 8 + NUMBER * self.numbers + STREAM + PENDING
    }
}

impl Parts<'_> {
    /// Moves all of it, in the order of the format.
    fn visit(&mut self, to: &mut impl Move) {
        to.bytes(self.ring);
        to.words(self.matches);
        to.words(self.slots);
        to.bytes(self.second);
        to.words(self.run_confidence);
        to.words(self.match_confidence);
        to.words(self.column_confidence);
        to.words(self.anchors);
        to.words(self.line_at);
        to.bytes(self.line_type);
        to.signed(self.weights);
        to.signed(self.final_weights);
        to.words(self.order0);
        to.words(self.sse);
        to.words(self.bits);
        to.words(self.bit_confidence);
        for Number { value, difference, shape, mark } in self.numbers.iter_mut() {
            to.long(value);
            to.signed(core::slice::from_mut(difference));
            to.byte(shape);
            to.byte(mark);
        }
        to.words(self.number_confidence);
        visit_stream(self.stream, to);
        visit_pending(self.pending, to);
    }
}

fn visit_stream(stream: &mut Stream, to: &mut impl Move) {
    for long in [
        &mut stream.at,
        &mut stream.age,
        &mut stream.line_start,
        &mut stream.field_start,
        &mut stream.reference,
        &mut stream.match_at,
    ] {
        to.long(long);
    }
    to.long(&mut stream.field_hash);
    to.long(&mut stream.last_field);
    to.words(core::slice::from_mut(&mut stream.match_len));
    to.words(core::slice::from_mut(&mut stream.rate));
    for byte in [&mut stream.field, &mut stream.line_type, &mut stream.equal, &mut stream.typed, &mut stream.dither] {
        to.byte(byte);
    }
    to.bytes(&mut stream.last_types);
    to.bytes(&mut stream.history);
}

fn visit_pending(pending: &mut Pending, to: &mut impl Move) {
    to.long(&mut pending.value);
    for byte in [
        &mut pending.width,
        &mut pending.before_point,
        &mut pending.runs,
        &mut pending.phase,
        &mut pending.agrees,
        &mut pending.expected,
        &mut pending.expected_point,
    ] {
        to.byte(byte);
    }
    to.words(core::slice::from_mut(&mut pending.slot));
    to.bytes(&mut pending.digits);
}

/// Writes everything to `out`.
pub(super) fn save<M: Memory>(memory: &mut M, out: &mut [u8]) -> Result<(), AdapterError> {
    let (expected, found) = (M::DESIGN.saved_bytes(), out.len());
    if expected != found {
        return Err(AdapterError::Length { expected, found });
    }
    let mut save = Save(out);
    save.bytes(&mut [M::DESIGN.id, VERSION, 0, 0]);
    memory.parts().visit(&mut save);
    Ok(())
}

/// Brings into range what something else than this code may have written.
fn bound(parts: &mut Parts<'_>) {
    // Sums of products with larger ones would not fit.
    for weights in [&mut *parts.weights, parts.final_weights] {
        weights.iter_mut().for_each(|weight| *weight = mixer::limited(*weight as i32));
    }
    let stream = &mut *parts.stream;
    stream.age = stream.age.min(OLD);
    stream.rate = stream.rate.min(mixer::rate(0));
    stream.equal = stream.equal.min(1);
    stream.field = stream.field.min(200);
    stream.match_len = stream.match_len.min(400);
    for probabilities in [
        &mut *parts.run_confidence,
        parts.match_confidence,
        parts.column_confidence,
        parts.order0,
        parts.bit_confidence,
        parts.number_confidence,
    ] {
        probabilities.iter_mut().for_each(|p| *p = (*p).clamp(LEARNED.0, LEARNED.1));
    }
}

/// The tables of a saved adapter of the preset number `expected`, which has `bytes`.
pub(crate) fn check(expected: u8, bytes: usize, saved: &[u8]) -> Result<&[u8], AdapterError> {
    let length = AdapterError::Length { expected: bytes, found: saved.len() };
    let Some((&[found, version, reserved @ ..], tables)) = saved.split_first_chunk::<HEAD>() else {
        return Err(length);
    };
    if version != VERSION {
        return Err(AdapterError::Version { found: version });
    }
    if found != expected {
        return Err(AdapterError::Preset { expected, found });
    }
    if reserved != [0; 2] {
        return Err(AdapterError::Reserved);
    }
    if bytes == saved.len() { Ok(tables) } else { Err(length) }
}

/// Sets everything to what `saved` says; nothing changes if it is refused.
pub(super) fn load<M: Memory>(memory: &mut M, saved: &[u8]) -> Result<(), AdapterError> {
    let tables = check(M::DESIGN.id, M::DESIGN.saved_bytes(), saved)?;
    let mut parts = memory.parts();
    parts.visit(&mut Load(tables));
    bound(&mut parts);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;

    use super::super::{Adapter1M, Adapter4K, Adapter8K, Adapter16K, Adapter32K, Adapter64K};
    use super::*;

    struct Count(usize);

    impl Move for Count {
        fn bytes(&mut self, bytes: &mut [u8]) {
            self.0 += bytes.len();
        }
    }

    #[test]
    fn the_length_is_that_of_all_fields() {
        fn run<M: Memory>() {
            let mut count = Count(HEAD);
            let mut memory = Box::new(M::ZERO);
            memory.parts().visit(&mut count);
            assert_eq!(count.0, M::DESIGN.saved_bytes(), "{}", M::DESIGN.name);
            assert!(count.0 <= size_of::<M>() + HEAD, "{}", M::DESIGN.name);
        }
        run::<Adapter4K>();
        run::<Adapter8K>();
        run::<Adapter16K>();
        run::<Adapter32K>();
        run::<Adapter64K>();
        run::<Adapter1M>();
    }
}
