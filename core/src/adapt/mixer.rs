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
use super::memory::Memory;
use super::said::Set;
use super::stream::Stream;

/// Most inputs: their products with the largest weights add up below 2^31.
const MAX_INPUTS: usize = 32;
/// Most weight sets: [`each_set`] goes that far.
const MAX_SETS: usize = 5;
/// One as a weight.
pub(crate) const ONE: i32 = 4096;
/// The largest weight; the smallest is one less than its negative.
const LARGEST: i32 = 16_383;
/// A set whose error is below this share of 65,536 is not trained: most are not, and what is mixed is better for it.
const QUIET: i32 = 4000;

const _: () = assert!(MAX_INPUTS as i64 * (LARGEST as i64 + 1) * super::math::LIMIT as i64 <= i32::MAX as i64);

/// What contexts choose rows by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chooser {
    /// The match: 0 none, 1 short, 2 long.
    pub(crate) matching: u8,
    /// The column model: 0 none, 1 the field differs from the one above, 2 it is equal so far.
    pub(crate) column: u8,
}

/// Does something for each of at most five sets, with its number as a constant `K`: what chooses its row, and where its
/// rows begin, is then known to the compiler, also where it unrolls no loops.
macro_rules! each_set {
    ($sets:expr, $K:ident, $do:block) => {
        each_set!($sets, $K, $do, 0 1 2 3 4)
    };
    ($sets:expr, $K:ident, $do:block, $($k:literal)*) => {
        $({
            const $K: usize = $k;
            if $sets > $K $do
        })*
    };
}

/// Rows of the sets before the `k`th.
const fn rows_before(design: &Design, k: usize) -> u16 {
    let (mut rows, mut set) = (0, 0);
    while set < k && set < design.sets.len() {
        rows += design.sets[set].rows() as u16;
        set += 1;
    }
    rows
}

/// The row of one set, of its own ones.
#[inline(always)]
fn row(set: RowBy, by: Chooser, stream: &Stream, known: u32, bit: u32) -> u8 {
    match set {
        // Never more: now the compiler knows.
        RowBy::MatchColumn => (by.matching * 4 + by.column).min(RowBy::MatchColumn.rows() as u8 - 1),
        RowBy::BitWho => bit as u8 * 3 + if by.matching > 0 { 1 } else { (by.column > 0) as u8 * 2 },
        RowBy::Field => stream.field & 15,
        RowBy::FieldHalf => (stream.field & 15) * 2 + (bit < 4) as u8,
        RowBy::PreviousClass => class(stream.history[0]) * 2 + stream.equal,
        RowBy::PartialByte if bit < 4 => known as u8,
        RowBy::PartialByte => 16 + (known >> (bit - 4) & 15) as u8,
        RowBy::PreviousByte => stream.history[0],
    }
}

/// Chooses the rows of all sets.
#[inline(always)]
pub(crate) fn choose<M: Memory>(sets: &mut [Set], by: Chooser, stream: &Stream, known: u32, bit: u32) {
    each_set!(M::DESIGN.sets.len(), K, {
        if let (Some(set), Some(&rows)) = (sets.get_mut(K), M::DESIGN.sets.get(K)) {
            set.row = const { rows_before(&M::DESIGN, K) } + row(rows, by, stream, known, bit) as u16;
        }
    });
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

/// Mixes by the rows that were chosen: the mixture, stretched, Q8.
#[inline(always)]
pub(crate) fn mix<M: Memory>(weights: &[i16], final_weights: &[i16], inputs: &[i16], sets: &mut [Set]) -> i32 {
    const { assert!(M::DESIGN.inputs() <= MAX_INPUTS && M::DESIGN.sets.len() <= MAX_SETS) };
    let finals = finals(sets);
    let mut sum = 0;
    each_set!(M::DESIGN.sets.len(), K, {
        if let Some(set) = sets.get_mut(K) {
            let from = set.row as usize * inputs.len();
            let dot = clamp(dot(weights.get(from..from + inputs.len()).unwrap_or_default(), inputs) >> 12);
            #[cfg(feature = "ablation")]
            let dot = if super::ablation::off(super::ablation::Part::Set(K as u8)) { 0 } else { dot };
            set.dot = dot as i16;
            set.p = squash(dot);
            sum += final_weights.get(finals + K).copied().unwrap_or(0) as i32 * dot;
        }
    });
    clamp(sum >> 12)
}

/// Where the last layer's row begins.
#[inline(always)]
fn finals(sets: &[Set]) -> usize {
    sets.first().map_or(0, |set| set.row as usize * sets.len())
}

/// Eight products at a time.
#[inline(always)]
fn dot(weights: &[i16], inputs: &[i16]) -> i32 {
    let ((w8, w), (x8, x)) = (weights.as_chunks::<8>(), inputs.as_chunks::<8>());
    let product = |w: i16, x: i16| w as i32 * x as i32;
    let mut sum = w.iter().zip(x).map(|(&w, &x)| product(w, x)).sum::<i32>();
    for (&[a, b, c, d, e, f, g, h], &[i, j, k, l, m, n, o, p]) in w8.iter().zip(x8) {
        sum += product(a, i) + product(b, j) + product(c, k) + product(d, l);
        sum += product(e, m) + product(f, n) + product(g, o) + product(h, p);
    }
    sum
}

/// The dither: a sequence of period 256, in the upper eight bits, so that it needs no masks.
struct Dither(u32);

impl Dither {
    /// A product, shifted down and so rounded.
    #[inline(always)]
    fn step(&mut self, error: i32, x: i32, shift: u32) -> i32 {
        let rounded = (error * x + (self.0 >> (32 - shift)) as i32) >> shift;
        self.0 = self.0.wrapping_mul(5).wrapping_add(113 << 24);
        rounded
    }
}

/// As a weight: of 15 bits, for which some cores have an instruction.
#[inline(always)]
pub(crate) fn limited(weight: i32) -> i16 {
    weight.clamp(-LARGEST - 1, LARGEST) as i16
}

#[inline(always)]
fn add(weight: &mut i16, step: i32) {
    *weight = limited(*weight as i32 + step);
}

/// Learns the bit that came; `p` is the mixture.
#[inline(always)]
pub(crate) fn learn(
    weights: &mut [i16],
    final_weights: &mut [i16],
    inputs: &[i16],
    sets: &[Set],
    p: u16,
    stream: &mut Stream,
    bit: bool,
) {
    let target = (bit as i32) << 16;
    let mut dither = Dither((stream.dither as u32) << 24);
    for set in sets {
        let error = target - set.p as i32;
        if ((error + QUIET - 1) as u32) < 2 * QUIET as u32 - 1 {
            continue;
        }
        let error = (error * stream.rate as i32) >> 10;
        let from = set.row as usize * inputs.len();
        let row = weights.get_mut(from..from + inputs.len()).unwrap_or_default();
        for (weight, &x) in row.iter_mut().zip(inputs) {
            add(weight, dither.step(error, x as i32, 18));
        }
    }
    let error = (target - p as i32) >> 1;
    let finals = finals(sets);
    let row = final_weights.get_mut(finals..finals + sets.len()).unwrap_or_default();
    for (weight, set) in row.iter_mut().zip(sets) {
        add(weight, dither.step(error, set.dot as i32, 20));
    }
    stream.dither = (dither.0 >> 24) as u8;
}

/// The learning rate at an age: from 0.04 down to 0.004. Asked every 64 bytes.
pub(crate) const fn rate(age: u32) -> u16 {
    // A mask of more than any age: the divisor is not zero, also for the compiler.
    (250 + 2400 * 4000 / (4000 + (age & 0xf_ffff))) as u16
}
