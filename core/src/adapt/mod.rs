//! The adapter: learns the stream that a frozen model reads, in 4 KB to 1 MB of integers, with the same bits everywhere.
//!
//! A model knows the kinds of text that it was trained on. An adapter learns what this stream repeats: its fields, its
//! lines, its numbers. It takes the model's logits, or none, and mixes them with what it has seen. It is of the family
//! of context mixing (PAQ, lpaq), joined with a net and cut down to a chip.
//!
//! ```
//! use mambabyte_core::adapt::{Adapter, Adapter8K, Memory};
//!
//! // Without a model: the adapter alone. A chip has `static_cell::StaticCell` instead.
//! let mut memory = Adapter8K::ZERO;
//! let mut adapter = Adapter::new(&mut memory, false);
//! let line = b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n";
//! let bits = |adapter: &mut Adapter<_>| line.iter().map(|&byte| adapter.read(None, byte).surprise()).sum::<u32>() >> 16;
//! let (first, second) = (bits(&mut adapter), bits(&mut adapter));
//! assert!(second * 5 < first);
//! ```
//!
//! # One byte's way
//!
//! A byte is eight decisions, the most significant bit first: a path through a tree of 255 nodes. Each node's
//! probability is mixed from inputs in the stretch domain, `ln(p / (1 - p))` (`math.rs`):
//!
//! | input | what it knows | file |
//! |---|---|---|
//! | net | the model's share of this bit, of the bytes that begin with the known ones | `net.rs` |
//! | runs | in each of several contexts, the byte that came last and how reliably | `runs.rs` |
//! | bit histories (64K, 1M) | in the context of the last one or two bytes, which bits came | `bits.rs` |
//! | match | what followed where the last five bytes occurred before | `matching.rs` |
//! | column | the byte above: in the same field of the last line of the same type | `line.rs` |
//! | number (from 32K on) | the last value in this place and the last difference | `numbers.rs` |
//! | order 0 | this bit after these known bits, whatever came before | here |
//!
//! The eight nodes of a path are worked out with what was learned up to the byte before, so the path's product is the
//! byte's share of [`Adapter::distribution`], exactly; then all eight are learned from.
//!
//! Weights are chosen by what predicts, the field and what came before, and learned on the way (`mixer.rs`); at last a
//! table corrects what is systematically wrong (`sse.rs`, from 16K on).
//!
//! # Cost
//!
//! A byte's path costs 272 exponentials for the net's shares and, at 8K, some 300 multiplications. All memory is the
//! caller's; nothing is allocated, no float is computed, nothing panics.

mod bits;
mod line;
mod matching;
pub(crate) mod math;
mod memory;
mod mixer;
mod net;
mod numbers;
mod reading;
mod runs;
mod save;
mod sse;
#[cfg(test)]
mod tests;

use core::ops::DerefMut;

pub use memory::{Adapter1M, Adapter4K, Adapter8K, Adapter16K, Adapter32K, Adapter64K, Context, Design, Memory, RowBy};

use crate::nonlinear::log2_q16;
use crate::step::Logits;
use bits::Found;
use math::{learn, stretch};
use memory::Parts;
use mixer::{Chooser, MAX_INPUTS, Mixed};
use net::Net;
pub use reading::Reading;
use runs::Says;
pub use save::AdapterError;

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

/// The probabilities of a byte's eight nodes, of the bit being 1 in Q16, 3..=65533, and the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// In the order of the path: most significant bit first.
    pub nodes: [u16; 8],
    /// The byte that was read.
    pub byte: u8,
}

impl Path {
    /// `-log2 p(byte)` in Q16: the sum over its bits.
    pub fn surprise(&self) -> u32 {
        let bit = |(index, &p): (usize, &u16)| {
            let share = if self.byte >> (7 - index) & 1 != 0 { p as u32 } else { 65_536 - p as u32 };
            (16 << 16) - log2_q16(share as u64).min(16 << 16)
        };
        self.nodes.iter().enumerate().map(bit).sum()
    }
}

/// What is known of the next byte before its first bit.
#[derive(Clone, Copy, Debug)]
struct Ahead {
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
struct Said {
    inputs: [i16; MAX_INPUTS],
    runs: [Option<Says>; MAX_RUNS],
    histories: [Found; MAX_ORDERS],
    mixed: Mixed,
    p: u16,
}

/// An adapter over a preset's memory `M`, which it owns or borrows.
#[derive(Debug)]
pub struct Adapter<S> {
    memory: S,
    ahead: Option<Ahead>,
}

impl<M: Memory, S: DerefMut<Target = M>> Adapter<S> {
    /// Starts in `memory`, whatever it held. `net` says whether there will be logits: the first weights differ.
    pub fn new(mut memory: S, net: bool) -> Self {
        *memory = M::ZERO;
        start::<M>(&mut memory.parts(), net);
        Self { memory, ahead: None }
    }

    /// The preset.
    pub fn design(&self) -> Design {
        M::DESIGN
    }

    /// Writes everything that was learned to `out`, which has [`Design::saved_bytes`].
    ///
    /// # Errors
    /// [`AdapterError::Length`].
    pub fn save(&mut self, out: &mut [u8]) -> Result<(), AdapterError> {
        save::save(&mut *self.memory, out)
    }

    /// Goes on where [`Self::save`] stopped: the next byte has the same probabilities.
    ///
    /// # Errors
    /// [`AdapterError`] if `saved` is of another preset, version or length; nothing has changed then.
    pub fn load(&mut self, saved: &[u8]) -> Result<(), AdapterError> {
        self.ahead = None;
        save::load(&mut *self.memory, saved)
    }

    /// Reads a byte: what its path was worth before, and learns. `logits` are the model's for this byte, after those
    /// before it; `None` without a model.
    pub fn read(&mut self, logits: Option<&Logits>, byte: u8) -> Path {
        let mut reading = self.begin(logits);
        for bit in (0..8).rev() {
            reading.node();
            reading.take(byte >> bit & 1 != 0);
        }
        reading.finish()
    }

    /// Begins to read a byte whose bits are not known yet: a decoder's way.
    pub fn begin<'a>(&'a mut self, logits: Option<&'a Logits>) -> Reading<'a, M>
    where
        M: 'a,
    {
        let ahead = self.ahead();
        self.ahead = None;
        Reading::new(self.memory.parts(), ahead, logits)
    }

    /// The probability of one node of the next byte, Q16: of a 1 after the known bits. `known` is 1 and then those bits,
    /// 1..=255. Nothing is learned.
    pub fn node(&mut self, logits: Option<&Logits>, known: u8) -> u16 {
        let mut net = logits.map(Net::new);
        self.node_of(&mut net, logits, known)
    }

    fn node_of(&mut self, net: &mut Option<Net>, logits: Option<&Logits>, known: u8) -> u16 {
        let known = if known == 0 { 1 } else { known as u32 };
        let bit = 31 - known.leading_zeros();
        let ahead = self.ahead();
        let share = net_input(net, logits, known, bit);
        say::<M>(&mut self.memory.parts(), &ahead, share, known, bit).p
    }

    /// The whole distribution of the next byte as logits, `log2 p` in Q16: to sample from, as from a model's.
    ///
    /// # Cost
    /// All 255 nodes, some thirty times [`Self::read`].
    pub fn distribution(&mut self, logits: Option<&Logits>, mixed: &mut Logits) {
        let mut net = logits.map(Net::new);
        // A node's children lie at twice its place: 1 is the root, byte b the leaf 256 + b.
        mixed[0] = 0;
        for bit in 0..8u32 {
            let (nodes, width) = (1usize << bit, 256usize >> bit);
            for node in 0..nodes {
                let p = self.node_of(&mut net, logits, (nodes + node) as u8) as u64;
                let above = mixed[node * width];
                let log = |share: u64| log2_q16(share) as i32 - (16 << 16);
                mixed[node * width + width / 2] = above + log(p);
                mixed[node * width] = above + log(65_536 - p);
            }
        }
    }

    /// What is known of the next byte before its first bit, worked out once.
    fn ahead(&mut self) -> Ahead {
        match self.ahead {
            Some(ahead) => ahead,
            None => *self.ahead.insert(look_ahead::<M>(&mut self.memory.parts())),
        }
    }
}

fn net_input(net: &mut Option<Net>, logits: Option<&Logits>, known: u32, bit: u32) -> i32 {
    match (net, logits) {
        (Some(net), Some(logits)) => net.node(logits, known, bit),
        _ => 0,
    }
}

/// First weights and confidences.
fn start<M: Memory>(parts: &mut Parts<'_>, net: bool) {
    let design = M::DESIGN;
    runs::start(&design, parts.run_confidence);
    bits::start(&design, parts.bit_confidence);
    for (class, p) in parts.match_confidence.iter_mut().enumerate() {
        *p = (65_535 - 65_536 / (3 + class)) as u16;
    }
    parts.column_confidence.fill(52_429);
    for (class, p) in parts.number_confidence.iter_mut().enumerate() {
        *p = (65_535 - 65_536 / (3 + (class >> 4) * 3)) as u16;
    }
    parts.order0.fill(32_768);
    for row in parts.weights.chunks_mut(design.inputs()) {
        row.fill((mixer::ONE / 5) as i16);
        row[0] = 0;
        row[1] = if net { (mixer::ONE * 4 / 5) as i16 } else { 0 };
    }
    parts.final_weights.fill((mixer::ONE / design.sets.len() as i32) as i16);
    sse::start(parts.sse);
}

fn look_ahead<M: Memory>(parts: &mut Parts<'_>) -> Ahead {
    let design = M::DESIGN;
    if parts.stream.age & 63 == 0 {
        parts.stream.rate = mixer::rate(parts.stream.age);
    }
    let number = if design.numbers > 0 { numbers::expected(parts) } else { None };
    let mut slots = [0; MAX_RUNS];
    for (slot, &context) in slots.iter_mut().zip(design.runs) {
        let key = runs::key(parts, context);
        *slot = runs::find(parts.slots, key, design.two);
    }
    let mut orders = [0; MAX_ORDERS];
    for (order, &context) in orders.iter_mut().zip(design.histories) {
        *order = math::hash(runs::key(parts, context), 11);
    }
    let (matched, match_class) = matching::expected(parts);
    let above = parts.held_at(parts.stream.reference);
    let position = parts.stream.at.wrapping_sub(parts.stream.field_start).min(31);
    let place = math::hash(parts.stream.type_and_field(), position * 2 + parts.stream.equal as u32);
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
fn say<M: Memory>(parts: &mut Parts<'_>, ahead: &Ahead, share: i32, known: u32, bit: u32) -> Said {
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
fn hear<M: Memory>(parts: &mut Parts<'_>, ahead: &Ahead, said: &Said, known: u32, bit: u32, one: bool) {
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
fn end<M: Memory>(parts: &mut Parts<'_>, ahead: &Ahead, byte: u8) {
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
    line::age(parts.stream, byte);
    matching::follow(parts, ahead.matched == Some(byte));
    if design.numbers > 0 {
        numbers::follow(parts, byte);
    }
    parts.follow(byte);
}
