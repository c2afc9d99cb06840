//! Run predictors: in each context, the byte that came last, how often in a row, and how far that is to be believed.
//!
//! A slot is 16 bits: the byte, a state of 3 bits, a check of 5. States 1 to 4 count repetitions that never failed, 5 to
//! 7 those after a failure. With two bytes a slot, the state is a count up to 7 and the second byte is what came instead.
//! All contexts share one table; a context has two places in it, and takes over the weaker one.

use super::design::{Context, Design};
use super::math::{hash, scaled};
use super::memory::Parts;

/// How fast confidences learn.
pub(crate) const RATE: u32 = 6;

/// The context's hash.
pub(crate) fn key(parts: &Parts<'_>, context: Context) -> u32 {
    let stream = &*parts.stream;
    let above = |place: u32| parts.held_at(place).map_or(0, |byte| byte as u32 + 1);
    match context {
        Context::Last(n) => stream.order(n as u32 * 7, n),
        Context::Pair => hash(hash(781, stream.last_field), stream.field_hash),
        Context::Column => {
            let position = stream.at.wrapping_sub(stream.line_start).min(250);
            hash(hash(783, position), above(stream.reference) << 8 | stream.history[0] as u32)
        }
        Context::Word => hash(776, stream.field_hash),
        Context::Field if stream.field == 0 => {
            let [last, before] = stream.last_types;
            hash(hash(777, before as u32 * 256 + last as u32), stream.field_hash)
        }
        Context::Field => hash(hash(778, stream.type_and_field()), stream.field_hash),
        Context::Above => {
            let here = above(stream.reference);
            let next = if here == 0 { 0 } else { above(stream.reference.wrapping_add(1)) };
            hash(hash(779, here * 512 + next), stream.equal as u32 * 256 + stream.history[0] as u32)
        }
        Context::Place => {
            let position = stream.at.wrapping_sub(stream.field_start).min(31);
            let place = hash(hash(780, stream.type_and_field()), position * 2 + stream.equal as u32);
            hash(place, above(stream.reference))
        }
    }
}

/// State of a slot: 0 is empty.
#[inline(always)]
fn state(slot: u16) -> u16 {
    slot >> 5 & 7
}

/// What a slot is worth when its place is wanted.
#[inline(always)]
fn rank(slot: u16, two: bool) -> u16 {
    match state(slot) {
        n @ 5.. if !two => n - 4,
        n => n,
    }
}

/// The slot of a context: its own, or the weaker of two places, taken over and empty.
#[inline(always)]
pub(crate) fn find(slots: &mut [u16], key: u32, two: bool) -> u16 {
    let mixed = hash(key, 5);
    let place = scaled(mixed, slots.len() / 2) * 2 + (mixed >> 31) as usize;
    let check = (mixed >> 24 & 31) as u16;
    let at = |place: usize| slots.get(place).copied().unwrap_or(0);
    let (first, second) = (at(place), at(place ^ 1));
    let own = |slot: u16| state(slot) != 0 && slot & 31 == check;
    let found = if own(first) {
        place
    } else if own(second) {
        place ^ 1
    } else {
        let weaker = if rank(first, two) <= rank(second, two) { place } else { place ^ 1 };
        if let Some(slot) = slots.get_mut(weaker) {
            *slot = check;
        }
        weaker
    };
    found as u16
}

/// What a slot says of the next bit, given those of the byte that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Says {
    /// The byte that it expects.
    pub(crate) byte: u8,
    /// Its confidence's cell.
    pub(crate) cell: u8,
}

/// The byte that a slot expects first, and its state; `None` of an empty one.
#[inline(always)]
pub(crate) fn expected(slot: u16) -> Option<(u8, u8)> {
    let n = state(slot) as u8;
    if n == 0 { None } else { Some(((slot >> 8) as u8, n)) }
}

/// The confidence's cell: by state, and for the first three bits and the others.
#[inline(always)]
pub(crate) fn cell(n: u8, bit: u32) -> u8 {
    n * 2 + (bit > 2) as u8
}

/// `known` has a one and then the bits that are known, `bit` of them; `None` if no byte of the slot begins so.
#[inline(always)]
pub(crate) fn says(slot: u16, second: u8, known: u32, bit: u32, two: bool) -> Option<Says> {
    let (first, n) = expected(slot)?;
    let begins = |byte: u8| (byte as u32 | 256) >> (8 - bit) == known;
    if !two {
        return if begins(first) { Some(Says { byte: first, cell: cell(n, bit) }) } else { None };
    }
    let other = first != second && begins(second);
    if begins(first) {
        // Alone; with another of the same next bit; with another of the other.
        let kind = if first == second {
            0
        } else if other && (first ^ second) >> (7 - bit) & 1 != 0 {
            2
        } else {
            1
        };
        return Some(Says { byte: first, cell: cell(kind * 8 + n, bit) });
    }
    if other { Some(Says { byte: second, cell: cell(24 + n, bit) }) } else { None }
}

/// Learns what came in a slot's context.
#[inline(always)]
pub(crate) fn follow(slot: &mut u16, second: Option<&mut u8>, byte: u8) {
    let (n, first) = (state(*slot), (*slot >> 8) as u8);
    let (kept, n) = match second {
        None if n == 0 => (byte, 1),
        None if first == byte => (byte, if n == 4 || n == 7 { n } else { n + 1 }),
        None if n == 4 || n == 7 => (first, 6),
        None if n == 3 => (first, 5),
        None => (byte, 5),
        Some(second) if n == 0 => {
            *second = byte;
            (byte, 1)
        }
        Some(_) if first == byte => (byte, if n < 7 { n + 1 } else { 7 }),
        Some(second) if *second == byte && n > 4 => (first, 4),
        Some(second) if *second == byte => {
            *second = first;
            (byte, 3)
        }
        Some(second) if n > 2 => {
            *second = byte;
            (first, n - 2)
        }
        Some(second) => {
            *second = first;
            (byte, 1)
        }
    };
    *slot = (kept as u16) << 8 | n << 5 | (*slot & 31);
}

/// Confidences before anything was read: by repetitions, less after a failure.
pub(crate) fn start(design: &Design, run_confidence: &mut [u16]) {
    for (index, cell) in run_confidence.iter_mut().enumerate() {
        let index = (index % design.confidences()) as u32;
        let (n, kind) = ((index / 2) & 7, index / 16);
        *cell = match kind {
            3 => 40_960,
            2 => 65_535 - (65_536 / (2 + n)).min(65_535),
            _ => (65_535 - 65_536 / (2 + 3 * n)).min(65_519),
        } as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_believed_and_a_failure_remembered() {
        for two in [false, true] {
            let (mut slot, mut second) = (7, 0);
            let mut read = |byte| {
                follow(&mut slot, if two { Some(&mut second) } else { None }, byte);
                (slot, second)
            };
            for _ in 0..3 {
                read(b'a');
            }
            let (slot, second) = read(b'b');
            let says = says(slot, second, 1, 0, two).unwrap();
            assert_eq!((says.byte, slot & 31), (b'a', 7), "one failure does not change what is expected");
            let (slot, second) = (0..9).map(|_| read(b'b')).last().unwrap();
            assert_eq!(super::says(slot, second, 1, 0, two).unwrap().byte, b'b');
        }
    }

    #[test]
    fn bits_that_are_known_silence_a_slot() {
        let slot = (b'a' as u16) << 8 | 2 << 5;
        assert!(says(slot, b'a', 1, 0, false).is_some());
        assert!(says(slot, b'a', 0b10, 1, false).is_some() && says(slot, b'a', 0b11, 1, false).is_none());
        // The second byte speaks where the first one cannot any more.
        let known = (b'q' as u32 | 256) >> 3;
        assert_eq!(says(slot, b'q', known, 5, true).unwrap().byte, b'q');
        assert!(says(0, b'q', 1, 0, true).is_none());
    }

    #[test]
    fn a_context_keeps_its_slot_and_strong_ones_stay() {
        let mut slots = [0; 64];
        for key in 0..16 {
            let at = find(&mut slots, key, false);
            for _ in 0..4 {
                follow(&mut slots[at as usize], None, b'x');
            }
        }
        let kept = (0..16).filter(|&key| {
            let at = find(&mut slots.clone(), key, false) as usize;
            state(slots[at]) != 0
        });
        assert!(kept.count() >= 12);
    }
}
