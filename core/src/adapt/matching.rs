//! The match model: where the last five bytes occurred before, and what followed there.
//!
//! The longer a match has held, the more it is believed: one confidence for each class of lengths, for the first bit of
//! a byte and for the others.

use super::math::{hash, scaled};
use super::memory::Parts;
use super::stream::NOWHERE;

/// Bytes that must agree before a place is believed.
pub(crate) const LEAST: u32 = 5;
/// Most bytes that are compared when a place is found.
const COMPARED: u32 = 32;
/// Lengths are counted up to here.
const LONGEST: u16 = 400;

/// The byte that the match expects, and the class of its length: 1 to 15; 0 for none.
pub(crate) fn expected(parts: &mut Parts<'_>) -> (Option<u8>, u8) {
    match parts.held_at(parts.stream.match_at) {
        Some(byte) if parts.stream.match_len > 0 => {
            let length = parts.stream.match_len;
            let class = if length < 16 { length / 2 + 1 } else { (8 + (length - 16) / 8).min(15) };
            (Some(byte), class as u8)
        }
        _ => {
            parts.stream.match_at = NOWHERE;
            parts.stream.match_len = 0;
            (None, 0)
        }
    }
}

/// Reads a byte, which is in the ring and counted: the match goes on, or another is looked for.
pub(crate) fn follow(parts: &mut Parts<'_>, hit: bool) {
    if hit {
        parts.stream.match_len = (parts.stream.match_len + 1).min(LONGEST);
        parts.stream.match_at = parts.stream.match_at.wrapping_add(1);
    } else {
        parts.stream.match_at = NOWHERE;
        parts.stream.match_len = 0;
    }
    if parts.stream.age < LEAST {
        return;
    }
    let key = (1..=LEAST).fold(0, |h, back| hash(h, parts.ring_at(parts.stream.at.wrapping_sub(back)) as u32));
    let slot = scaled(key, parts.matches.len());
    if parts.stream.match_at == NOWHERE {
        let place = parts.matches.get(slot).map_or(NOWHERE, |&low| parts.expand(low));
        if place != NOWHERE {
            let length = common(parts, place);
            if length >= LEAST {
                parts.stream.match_at = place;
                parts.stream.match_len = length as u16;
            }
        }
    }
    if let Some(entry) = parts.matches.get_mut(slot) {
        *entry = parts.stream.at as u16;
    }
}

/// How many bytes before `place` are those before the next byte.
fn common(parts: &Parts<'_>, place: u32) -> u32 {
    let at = parts.stream.at;
    (1..=COMPARED)
        .take_while(|&back| {
            parts.held_at(place.wrapping_sub(back)).is_some_and(|byte| byte == parts.ring_at(at.wrapping_sub(back)))
        })
        .count() as u32
}
