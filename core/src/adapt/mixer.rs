//! The mixer: a weighted sum in the stretch domain, by weights that contexts choose, learned as it goes.
//!
//! ```text
//! d_k = clamp(sum_i w_k[i] x_i)         each set k has the row of weights that its context chooses; Q12 weights, Q8 inputs
//! p_k = squash(d_k)
//! p   = squash(sum_k f[k] d_k)          f chosen by match x column
//! w_k[i] += rate * (bit - p_k) * x_i    each set learns from its own error, if that is above 6 %
//! f[k]   += rate' * (bit - p) * d_k     always
//! ```
//!
//! It is the gated linear mixing of the PAQ family, in two layers. Products are rounded by a dither of period 256, so
//! that small errors count on average.

use super::design::{Design, RowBy};
use super::math::{clamp, squash};
use super::stream::Stream;

/// Most inputs: their products with the largest weights add up below 2^31.
pub(crate) const MAX_INPUTS: usize = 32;
/// Most weight sets.
pub(crate) const MAX_SETS: usize = 5;
/// One as a weight.
pub(crate) const ONE: i32 = 4096;
/// The largest weight.
const LARGEST: i32 = 16_383;
/// A set whose error is below this share of 65,536 is not trained: nine in ten, and what is mixed is better for it.
const QUIET: i32 = 4000;

const _: () = assert!(MAX_INPUTS as i64 * LARGEST as i64 * super::math::LIMIT as i64 <= i32::MAX as i64);

/// What contexts choose rows by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chooser {
    /// The match: 0 none, 1 short, 2 long.
    pub(crate) matching: u8,
    /// The column model: 0 none, 1 the field differs from the one above, 2 it is equal so far.
    pub(crate) column: u8,
}

/// The rows of all sets, counted through.
#[inline(always)]
pub(crate) fn rows(design: &Design, by: Chooser, stream: &Stream, known: u32, bit: u32) -> [u16; MAX_SETS] {
    let (mut rows, mut before) = ([0; MAX_SETS], 0);
    for (row, set) in rows.iter_mut().zip(design.sets) {
        let own = match set {
            RowBy::MatchColumn => by.matching * 4 + by.column,
            RowBy::BitWho => bit as u8 * 3 + if by.matching > 0 { 1 } else { (by.column > 0) as u8 * 2 },
            RowBy::Field => stream.field & 15,
            RowBy::FieldHalf => (stream.field & 15) * 2 + (bit < 4) as u8,
            RowBy::PreviousClass => class(stream.history[0]) * 2 + stream.equal,
            RowBy::PartialByte if bit < 4 => known as u8,
            RowBy::PartialByte => 16 + (known >> (bit - 4) & 15) as u8,
            RowBy::PreviousByte => stream.history[0],
        };
        *row = before + own as u16;
        before += set.rows() as u16;
    }
    rows
}

/// Class of a byte.
fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 0,
        b'.' => 1,
        b'-' | b'+' => 2,
        b'A'..=b'Z' => 3,
        b'a'..=b'z' => 4,
        b'\n' => 5,
        b' ' => 6,
        _ => 7,
    }
}

/// What was mixed of a bit: to learn from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mixed {
    pub(crate) rows: [u16; MAX_SETS],
    dots: [i16; MAX_SETS],
    of_sets: [u16; MAX_SETS],
    /// Stretched, Q8.
    pub(crate) x: i32,
    /// The mixture.
    pub(crate) p: u16,
}

/// Mixes.
#[inline(always)]
pub(crate) fn mix(
    design: &Design,
    weights: &[i16],
    final_weights: &[i16],
    inputs: &[i16],
    rows: [u16; MAX_SETS],
) -> Mixed {
    let mut mixed = Mixed { rows, ..Mixed::default() };
    let sets = design.sets.len();
    let mut sum = 0;
    for set in 0..sets {
        let row = weights.get(rows[set] as usize * inputs.len()..).unwrap_or_default();
        let dot: i32 = row.iter().zip(inputs).map(|(&w, &x)| w as i32 * x as i32).sum();
        let dot = clamp(dot >> 12);
        mixed.dots[set] = dot as i16;
        mixed.of_sets[set] = squash(dot);
        let weight = final_weights.get(rows[0] as usize * sets + set).copied().unwrap_or(0);
        sum += weight as i32 * dot;
    }
    mixed.x = clamp(sum >> 12);
    mixed.p = squash(mixed.x);
    mixed
}

/// A product, rounded by the dither.
#[inline(always)]
fn step(error: i32, x: i32, shift: u32, dither: &mut u8, spread: u32) -> i32 {
    let rounded = (error * x + ((*dither as i32) << spread)) >> shift;
    *dither = dither.wrapping_mul(5).wrapping_add(113);
    rounded
}

#[inline(always)]
fn add(weight: &mut i16, step: i32) {
    *weight = (*weight as i32 + step).clamp(-LARGEST, LARGEST) as i16;
}

/// Learns the bit that came.
#[inline(always)]
pub(crate) fn learn(
    design: &Design,
    weights: &mut [i16],
    final_weights: &mut [i16],
    inputs: &[i16],
    mixed: &Mixed,
    stream: &mut Stream,
    bit: bool,
) {
    let target = (bit as i32) << 16;
    let sets = design.sets.len();
    for set in 0..sets {
        let error = target - mixed.of_sets[set] as i32;
        if error.abs() < QUIET {
            continue;
        }
        let error = (error * stream.rate as i32) >> 10;
        let row = weights.get_mut(mixed.rows[set] as usize * inputs.len()..).unwrap_or_default();
        for (weight, &x) in row.iter_mut().zip(inputs) {
            add(weight, step(error, x as i32, 18, &mut stream.dither, 10));
        }
    }
    let error = (target - mixed.p as i32) >> 1;
    for set in 0..sets {
        let weight = final_weights.get_mut(mixed.rows[0] as usize * sets + set);
        if let Some(weight) = weight {
            add(weight, step(error, mixed.dots[set] as i32, 20, &mut stream.dither, 12));
        }
    }
}

/// The learning rate at an age: from 0.04 down to 0.004. Asked every 64 bytes.
pub(crate) const fn rate(age: u32) -> u16 {
    (250 + 2400 * 4000 / (4000 + age)) as u16
}
