//! What an adapter believes before it has read anything.
//!
//! Weights and confidences are what they were, on average, after the first 16 KiB of ten kinds of text, without a net and
//! with the logits of the first sensor-nano. Archives rely on them, so they stay when that model is trained anew.
//! `cargo run --release -p mambabyte-tests --bin adapter_start` learns them from the texts of `tools/data/calibration`, from
//! the values of [`plain`] on, and writes `start/PRESET.bin`.

use super::bytes::{Load, Move, Save};
use super::design::{Design, POINTS};
use super::memory::{Memory, Parts};
use super::stream::Stream;
use super::{bits, mixer, runs, sse};

impl Design {
    /// Signed words of the start values: the weights.
    #[doc(hidden)]
    pub const fn start_weights(&self) -> usize {
        self.rows() * self.inputs() + 12 * self.sets.len()
    }

    /// Points of the curves that are learned: those for bits.
    const fn start_curves(&self) -> usize {
        if self.sse.points() > 0 { 8 * POINTS } else { 0 }
    }

    /// All words of the start values.
    #[doc(hidden)]
    pub const fn start_words(&self) -> usize {
        let confidences = self.runs.len() * self.confidences() + 32 + 1 + 256;
        let sse = self.start_curves();
        self.start_weights() + confidences + sse + self.histories.len() * 128 + self.number_confidences()
    }
}

/// First weights and confidences: learned ones.
pub(super) fn start<M: Memory>(parts: &mut Parts<'_>, net: bool) {
    plain::<M>(parts, net);
    let words = 2 * M::DESIGN.start_words();
    let learned = if net { M::LEARNED.get(words..) } else { M::LEARNED.get(..words) };
    if let Some(learned) = learned.filter(|learned| learned.len() == words) {
        visit(&M::DESIGN, parts, &mut Load(learned));
    }
}

/// What was learned, as words for [`start`]; `out` has [`Design::start_words`] of two bytes. The adapter's columns are
/// then all alike.
pub(super) fn learned(design: &Design, parts: &mut Parts<'_>, out: &mut [u8]) {
    visit(design, parts, &mut Save(out));
}

fn visit(design: &Design, parts: &mut Parts<'_>, to: &mut impl Move) {
    to.signed(parts.weights);
    to.signed(parts.final_weights);
    to.words(parts.run_confidence);
    to.words(parts.match_confidence);
    // Which cell is which place's depends on a hash: one number for all.
    let sum: u32 = parts.column_confidence.iter().map(|&p| p as u32).sum();
    let mut mean = (sum / (parts.column_confidence.len() as u32).max(1)) as u16;
    to.words(core::slice::from_mut(&mut mean));
    parts.column_confidence.fill(mean);
    to.words(parts.order0);
    let curves = design.start_curves();
    to.words(parts.sse.get_mut(..curves).unwrap_or_default());
    to.words(parts.bit_confidence);
    to.words(parts.number_confidence);
}

/// Weights and confidences that nothing was learned for.
pub(super) fn plain<M: Memory>(parts: &mut Parts<'_>, net: bool) {
    let design = M::DESIGN;
    *parts.stream = Stream::START;
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
        if let [bias, of_net, ..] = row {
            (*bias, *of_net) = (0, if net { (mixer::ONE * 4 / 5) as i16 } else { 0 });
        }
        // The second input of each bit history.
        let histories = row.iter_mut().skip(2 + design.runs.len()).take(2 * design.histories.len());
        histories.skip(1).step_by(2).for_each(|weight| *weight = 0);
    }
    parts.final_weights.fill((mixer::ONE / design.sets.len() as i32) as i16);
    sse::start(parts.sse);
}
