//! Bit histories: in the context of the last bytes and the known bits of this one, which bits came, as one of some hundred
//! states; each state has a probability that is learned.
//!
//! A state is two bounded counts and, while they are small, the last bit. It forgets the count of the other bit as it
//! goes: what came lately matters more.

use super::design::Design;
use super::math::{hash, learn};
use super::memory::Parts;
use super::said::Found;
use crate::tables::{HISTORY_COUNTS, HISTORY_NEXT};

/// How fast the states' probabilities learn.
const RATE: u32 = 6;

/// Zeros and ones that a state remembers.
#[inline(always)]
fn counts(state: usize) -> [u8; 2] {
    let state = (state & 127) * 2;
    [HISTORY_COUNTS[state], HISTORY_COUNTS[state + 1]]
}

/// Looks a context up; nothing changes.
#[inline(always)]
pub(crate) fn find(bits: &[u16], context: u32, known: u32) -> Found {
    let mixed = hash(context, known);
    let place = ((mixed as u64 * bits.len() as u64) >> 32) as usize;
    let check = mixed as u8;
    let at = |place: usize| bits.get(place).copied().unwrap_or(0);
    let (first, second) = (at(place), at(place ^ 1));
    let own = |slot: u16| slot & 255 != 0 && (slot >> 8) as u8 == check;
    if own(first) {
        Found { slot: place as u32, check, state: first as u8 }
    } else if own(second) {
        Found { slot: place as u32 ^ 1, check, state: second as u8 }
    } else {
        let seen = |slot: u16| counts(slot as usize).iter().sum::<u8>();
        let weaker = if seen(first) <= seen(second) { place } else { place ^ 1 };
        Found { slot: weaker as u32, check, state: 0 }
    }
}

/// Learns the bit that came.
#[inline(always)]
pub(crate) fn follow(parts: &mut Parts<'_>, order: usize, found: Found, bit: bool) {
    if found.state != 0
        && let Some(p) = parts.bit_confidence.get_mut(order * 128 + (found.state & 127) as usize)
    {
        learn(p, bit, RATE);
    }
    let next = HISTORY_NEXT[(found.state & 127) as usize * 2 + bit as usize];
    if let Some(slot) = parts.bits.get_mut(found.slot as usize) {
        *slot = (found.check as u16) << 8 | next as u16;
    }
}

/// Probabilities before anything was read: by the counts.
pub(crate) fn start(design: &Design, confidence: &mut [u16]) {
    for (index, p) in confidence.iter_mut().enumerate().take(design.histories.len() * 128) {
        let [zeros, ones] = counts(index).map(|n| n as u32 * 10);
        *p = ((65_535 * (ones + 4)) / (zeros + ones + 8).max(1)) as u16;
    }
}
