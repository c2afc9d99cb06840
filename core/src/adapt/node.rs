//! One node of a byte's path: what every input says, what is mixed of it, and what is learned.

use super::math::{hash, learn, squash, stretch};
use super::memory::{Memory, SaidOf};
use super::mixer::Chooser;
use super::net::Net;
use super::runs::Says;
use super::stream::{OLD, age};
use super::{bits, matching, mixer, numbers, runs, sse};
use crate::dims::Logits;

/// Most run predictors of a preset.
const MAX_RUNS: usize = 8;
/// Most orders of bit histories.
const MAX_ORDERS: usize = 7;
/// The bias, as an input.
const BIAS: i16 = 77;
/// How fast direct probabilities and the confidences of columns and numbers learn.
const FAST: u32 = 5;
/// The same for the match's.
const SLOW: u32 = 6;

/// What is known of the next byte before its first bit.
#[derive(Clone, Debug)]
pub(crate) struct Ahead {
    /// Where the run predictors' slots are, what is in them, and the second bytes.
    slots: [u16; MAX_RUNS],
    runs: [u16; MAX_RUNS],
    second: [u8; MAX_RUNS],
    orders: [u32; MAX_ORDERS],
    matched: Option<u8>,
    match_class: u8,
    above: Option<u8>,
    column: u16,
    number: Option<(u8, u8)>,
}

impl Ahead {
    /// Before anything was looked at.
    pub(crate) const NONE: Self = Self {
        slots: [0; MAX_RUNS],
        runs: [0; MAX_RUNS],
        second: [0; MAX_RUNS],
        orders: [0; MAX_ORDERS],
        matched: None,
        match_class: 0,
        above: None,
        column: 0,
        number: None,
    };
}

pub(crate) fn net_input(net: &mut Net, logits: Option<&Logits>, known: u32, bit: u32) -> i32 {
    match logits {
        Some(logits) => net.node(logits, known, bit),
        None => 0,
    }
}

/// What is known before the first bit.
pub(crate) fn look_ahead<M: Memory>(memory: &mut M, ahead: &mut Ahead) {
    const { assert!(M::DESIGN.runs.len() <= MAX_RUNS && M::DESIGN.histories.len() <= MAX_ORDERS) };
    let (design, parts) = (M::DESIGN, &mut memory.parts());
    if parts.stream.age & 63 == 0 {
        parts.stream.rate = mixer::rate(parts.stream.age.min(OLD));
    }
    ahead.number = if design.numbers > 0 { numbers::expected(parts) } else { None };
    for (slot, &context) in ahead.slots.iter_mut().zip(design.runs) {
        *slot = runs::find(parts.slots, runs::key(parts, context), design.two);
    }
    // Only now: a context may have taken over the slot of one before it.
    for (index, &slot) in ahead.slots.iter().enumerate().take(design.runs.len()) {
        ahead.runs[index] = parts.slots.get(slot as usize).copied().unwrap_or(0);
        if design.two {
            ahead.second[index] = parts.second.get(slot as usize).copied().unwrap_or(0);
        }
    }
    for (order, &context) in ahead.orders.iter_mut().zip(design.histories) {
        *order = hash(runs::key(parts, context), 11);
    }
    (ahead.matched, ahead.match_class) = matching::expected(parts);
    ahead.above = parts.held_at(parts.stream.reference);
    let position = parts.stream.at.wrapping_sub(parts.stream.field_start).min(31);
    let place = hash(parts.stream.type_and_field(), position * 2 + parts.stream.equal as u32);
    ahead.column = (place as usize & (design.columns / 2 - 1)) as u16 * 2;
}

/// Whether `byte` begins with the known bits.
#[inline(always)]
fn begins(byte: Option<u8>, known: u32, bit: u32) -> Option<u8> {
    byte.filter(|&byte| (byte as u32 | 256) >> (8 - bit) == known)
}

/// An input: `p` that the bit is that of `byte`.
#[inline(always)]
fn side(byte: u8, bit: u32, p: Option<&u16>) -> i16 {
    let x = match p {
        Some(&p) => stretch(p) as i16,
        None => 0,
    };
    if byte >> (7 - bit) & 1 != 0 { x } else { -x }
}

/// One node: collects the inputs and mixes them.
#[inline(never)]
pub(crate) fn say<M: Memory>(memory: &mut M, ahead: &Ahead, share: i32, known: u32, bit: u32, said: &mut SaidOf<M>) {
    let (design, parts) = (M::DESIGN, &mut memory.parts());
    let inputs = said.inputs.as_mut();
    inputs[0] = BIAS;
    inputs[1] = share as i16;
    let (mut next, cells) = (2, design.confidences());
    for index in 0..design.runs.len() {
        inputs[next + index] = match runs::says(ahead.runs[index], ahead.second[index], known, bit, design.two) {
            Some(Says { byte, cell }) => side(byte, bit, parts.run_confidence.get(index * cells + cell as usize)),
            None => 0,
        };
    }
    next += design.runs.len();
    let histories = said.histories.as_mut();
    for index in 0..design.histories.len() {
        let found = bits::find(parts.bits, ahead.orders[index], known);
        histories[index] = found;
        let at = next + 2 * index;
        [inputs[at], inputs[at + 1]] = match parts.bit_confidence.get(index * 128 + (found.state & 127) as usize) {
            Some(&p) if found.state != 0 => [stretch(p) as i16, ((p as i32 - 32_768) >> 6) as i16],
            _ => [0; 2],
        };
    }
    next += 2 * design.histories.len();
    let matched = begins(ahead.matched, known, bit);
    inputs[next] = matched.map_or(0, |byte| side(byte, bit, parts.match_confidence.get(match_cell(ahead, bit))));
    let above = begins(ahead.above, known, bit);
    inputs[next + 1] = above.map_or(0, |byte| side(byte, bit, parts.column_confidence.get(column_cell(ahead, bit))));
    next += 2;
    if design.numbers > 0 {
        inputs[next] = match ahead.number {
            Some((byte, class)) if begins(Some(byte), known, bit).is_some() => {
                side(byte, bit, parts.number_confidence.get(number_cell(class, bit)))
            }
            _ => 0,
        };
        next += 1;
    }
    inputs[next] = stretch(parts.order0[known as usize & 255]) as i16;
    let chooser = Chooser {
        matching: if matched.is_some() { 1 + (ahead.match_class > 4) as u8 } else { 0 },
        column: if above.is_some() { 1 + parts.stream.equal } else { 0 },
    };
    let sets = said.sets.as_mut();
    mixer::choose::<M>(sets, chooser, parts.stream, known, bit);
    #[cfg(feature = "ablation")]
    super::ablation::silence(&design, inputs);
    let x = mixer::mix::<M>(parts.weights, parts.final_weights, inputs, sets);
    said.x = x as i16;
    said.mixed = squash(x);
    let p = sse::correct(parts.sse, design.sse, x, said.mixed, known, bit);
    #[cfg(feature = "ablation")]
    let p = if super::ablation::off(super::ablation::Part::Correction) { said.mixed } else { p };
    said.p = p.clamp(3, 65_533);
}

fn match_cell(ahead: &Ahead, bit: u32) -> usize {
    ahead.match_class as usize * 2 + (bit != 0) as usize
}

fn column_cell(ahead: &Ahead, bit: u32) -> usize {
    ahead.column as usize + (bit > 3) as usize
}

fn number_cell(class: u8, bit: u32) -> usize {
    class as usize * 2 + (bit > 3) as usize
}

/// Learns the bits of `byte`, of which `said` was said.
#[inline(never)]
pub(crate) fn hear<M: Memory>(memory: &mut M, ahead: &Ahead, said: &[SaidOf<M>; 8], byte: u8) {
    let (design, parts) = (M::DESIGN, &mut memory.parts());
    let whole = byte as u32 | 256;
    for (bit, said) in (0..).zip(said) {
        let (known, one) = (whole >> (8 - bit), byte >> (7 - bit) & 1 != 0);
        let (inputs, sets) = (said.inputs.as_ref(), said.sets.as_ref());
        mixer::learn(parts.weights, parts.final_weights, inputs, sets, said.mixed, parts.stream, one);
        learn(&mut parts.order0[known as usize & 255], one, FAST);
        for (index, &found) in said.histories.as_ref().iter().enumerate() {
            bits::follow(parts, index, found, one);
        }
        sse::learn(parts.sse, design.sse, said.x as i32, known, bit, one);
    }
    for index in 0..design.runs.len() {
        let (run, second, cells) = (ahead.runs[index], ahead.second[index], design.confidences());
        let cells = parts.run_confidence.get_mut(index * cells..(index + 1) * cells).unwrap_or_default();
        if !design.two {
            if let Some((expected, n)) = runs::expected(run) {
                hear_of(expected, byte, cells, |bit| runs::cell(n, bit) as usize, runs::RATE);
            }
            continue;
        }
        for bit in 0..8 {
            // Who is silent is so to the byte's end.
            let says = runs::says(run, second, whole >> (8 - bit), bit, true);
            let Some(Says { byte: expected, cell }) = says else { break };
            if let Some(cell) = cells.get_mut(cell as usize) {
                learn(cell, (expected ^ byte) >> (7 - bit) & 1 == 0, runs::RATE);
            }
        }
    }
    if let Some(expected) = ahead.matched {
        hear_of(expected, byte, parts.match_confidence, |bit| match_cell(ahead, bit), SLOW);
    }
    if let Some(expected) = ahead.above {
        hear_of(expected, byte, parts.column_confidence, |bit| column_cell(ahead, bit), FAST);
    }
    if let Some((expected, class)) = ahead.number {
        hear_of(expected, byte, parts.number_confidence, |bit| number_cell(class, bit), FAST);
    }
}

/// Learns the confidences of one expected byte: of the bits up to the first that is another.
#[inline(always)]
fn hear_of(expected: u8, byte: u8, cells: &mut [u16], cell: impl Fn(u32) -> usize, rate: u32) {
    for bit in 0..8 {
        let right = (expected ^ byte) >> (7 - bit) & 1 == 0;
        if let Some(cell) = cells.get_mut(cell(bit)) {
            learn(cell, right, rate);
        }
        if !right {
            break;
        }
    }
}

/// Learns the whole byte.
pub(crate) fn end<M: Memory>(memory: &mut M, ahead: &Ahead, byte: u8) {
    let (design, parts) = (M::DESIGN, &mut memory.parts());
    for &slot in ahead.slots.iter().take(design.runs.len()) {
        if let Some(run) = parts.slots.get_mut(slot as usize) {
            runs::follow(run, if design.two { parts.second.get_mut(slot as usize) } else { None }, byte);
        }
    }
    let mask = parts.ring.len() - 1;
    if let Some(place) = parts.ring.get_mut(parts.stream.at as usize & mask) {
        *place = byte;
    }
    age(parts.stream, byte);
    matching::follow(parts, ahead.matched == Some(byte));
    if design.numbers > 0 {
        numbers::follow(parts, byte);
    }
    parts.follow(byte);
}
