//! One node of a byte's path: what every input says, what is mixed of it, and what is learned.

use super::bits::Found;
use super::math::{hash, learn, stretch};
use super::memory::{Memory, Parts};
use super::mixer::{Chooser, MAX_INPUTS, Mixed};
use super::net::Net;
use super::runs::Says;
use super::stream::{OLD, age};
use super::{bits, matching, mixer, numbers, runs, sse};
use crate::step::Logits;

/// Most run predictors of a preset.
const MAX_RUNS: usize = 8;
/// Most orders of bit histories.
const MAX_ORDERS: usize = 10;
/// The bias, as an input.
const BIAS: i16 = 77;
/// How fast direct probabilities and the confidences of columns and numbers learn.
const FAST: u32 = 5;
/// The same for the match's.
const SLOW: u32 = 6;

/// What is known of the next byte before its first bit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    slots: [u16; MAX_RUNS],
    orders: [u32; MAX_ORDERS],
    matched: Option<u8>,
    match_class: u8,
    above: Option<u8>,
    column: u16,
    number: Option<(u8, u8)>,
}

/// What was said of one bit.
#[derive(Clone, Copy, Default)]
pub(crate) struct Said {
    inputs: [i16; MAX_INPUTS],
    runs: [Option<Says>; MAX_RUNS],
    histories: [Found; MAX_ORDERS],
    mixed: Mixed,
    pub(crate) p: u16,
}

pub(crate) fn net_input(net: &mut Option<Net>, logits: Option<&Logits>, known: u32, bit: u32) -> i32 {
    match (net, logits) {
        (Some(net), Some(logits)) => net.node(logits, known, bit),
        _ => 0,
    }
}

/// What is known before the first bit.
pub(crate) fn look_ahead<M: Memory>(parts: &mut Parts<'_>) -> Ahead {
    let design = M::DESIGN;
    if parts.stream.age & 63 == 0 {
        parts.stream.rate = mixer::rate(parts.stream.age.min(OLD));
    }
    let number = if design.numbers > 0 { numbers::expected(parts) } else { None };
    let mut slots = [0; MAX_RUNS];
    for (slot, &context) in slots.iter_mut().zip(design.runs) {
        let key = runs::key(parts, context);
        *slot = runs::find(parts.slots, key, design.two);
    }
    let mut orders = [0; MAX_ORDERS];
    for (order, &context) in orders.iter_mut().zip(design.histories) {
        *order = hash(runs::key(parts, context), 11);
    }
    let (matched, match_class) = matching::expected(parts);
    let above = parts.held_at(parts.stream.reference);
    let position = parts.stream.at.wrapping_sub(parts.stream.field_start).min(31);
    let place = hash(parts.stream.type_and_field(), position * 2 + parts.stream.equal as u32);
    let column = (place as usize & (design.columns / 2 - 1)) as u16 * 2;
    Ahead { slots, orders, matched, match_class, above, column, number }
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
pub(crate) fn say<M: Memory>(parts: &mut Parts<'_>, ahead: &Ahead, share: i32, known: u32, bit: u32) -> Said {
    let design = M::DESIGN;
    let mut said = Said::default();
    let mut next = 2;
    said.inputs[0] = BIAS;
    said.inputs[1] = share as i16;
    let cells = design.confidences();
    for (index, &slot) in ahead.slots.iter().take(design.runs.len()).enumerate() {
        let slot = slot as usize;
        let second = if design.two { parts.second.get(slot).copied().unwrap_or(0) } else { 0 };
        let says = runs::says(parts.slots.get(slot).copied().unwrap_or(0), second, known, bit, design.two);
        if let Some(Says { byte, cell }) = says {
            said.inputs[next] = side(byte, bit, parts.run_confidence.get(index * cells + cell as usize));
        }
        said.runs[index] = says;
        next += 1;
    }
    for (index, &order) in ahead.orders.iter().take(design.histories.len()).enumerate() {
        let found = bits::find(parts.bits, order, known);
        if found.state != 0 {
            let p = parts.bit_confidence.get(index * 128 + (found.state & 127) as usize);
            said.inputs[next] = p.map_or(0, |&p| stretch(p) as i16);
        }
        said.histories[index] = found;
        next += 1;
    }
    let matched = begins(ahead.matched, known, bit);
    if let Some(byte) = matched {
        said.inputs[next] = side(byte, bit, parts.match_confidence.get(match_cell(ahead, bit)));
    }
    let above = begins(ahead.above, known, bit);
    if let Some(byte) = above {
        said.inputs[next + 1] = side(byte, bit, parts.column_confidence.get(column_cell(ahead, bit)));
    }
    next += 2;
    if design.numbers > 0 {
        if let Some((byte, class)) = ahead.number
            && begins(Some(byte), known, bit).is_some()
        {
            said.inputs[next] = side(byte, bit, parts.number_confidence.get(number_cell(class, bit)));
        }
        next += 1;
    }
    said.inputs[next] = stretch(parts.order0[known as usize & 255]) as i16;
    let chooser = Chooser {
        matching: if matched.is_some() { 1 + (ahead.match_class > 4) as u8 } else { 0 },
        column: if above.is_some() { 1 + parts.stream.equal } else { 0 },
    };
    let rows = mixer::rows(&design, chooser, parts.stream, known, bit);
    said.mixed = mixer::mix(&design, parts.weights, parts.final_weights, &said.inputs[..design.inputs()], rows);
    let p = if design.sse { sse::correct(parts.sse, said.mixed.x, said.mixed.p, bit) } else { said.mixed.p };
    said.p = p.clamp(3, 65_533);
    said
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

/// Learns one bit.
pub(crate) fn hear<M: Memory>(parts: &mut Parts<'_>, ahead: &Ahead, said: &Said, known: u32, bit: u32, one: bool) {
    let design = M::DESIGN;
    let inputs = &said.inputs[..design.inputs()];
    mixer::learn(&design, parts.weights, parts.final_weights, inputs, &said.mixed, parts.stream, one);
    learn(&mut parts.order0[known as usize & 255], one, FAST);
    let right = |byte: u8| (byte >> (7 - bit) & 1 != 0) == one;
    for (index, says) in said.runs.iter().take(design.runs.len()).enumerate() {
        if let &Some(Says { byte, cell }) = says {
            let cell = parts.run_confidence.get_mut(index * design.confidences() + cell as usize);
            runs::learn_confidence(cell, right(byte));
        }
    }
    for (index, &found) in said.histories.iter().take(design.histories.len()).enumerate() {
        bits::follow(parts, index, found, one);
    }
    let expected = [
        (begins(ahead.matched, known, bit), parts.match_confidence.get_mut(match_cell(ahead, bit)), SLOW),
        (begins(ahead.above, known, bit), parts.column_confidence.get_mut(column_cell(ahead, bit)), FAST),
    ];
    for (byte, cell, rate) in expected {
        if let (Some(byte), Some(cell)) = (byte, cell) {
            learn(cell, right(byte), rate);
        }
    }
    if let Some((byte, class)) = ahead.number
        && begins(Some(byte), known, bit).is_some()
        && let Some(cell) = parts.number_confidence.get_mut(number_cell(class, bit))
    {
        learn(cell, right(byte), FAST);
    }
    if design.sse {
        sse::learn(parts.sse, said.mixed.x, bit, one);
    }
}

/// Learns the whole byte.
pub(crate) fn end<M: Memory>(parts: &mut Parts<'_>, ahead: &Ahead, byte: u8) {
    let design = M::DESIGN;
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
