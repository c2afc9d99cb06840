//! What an adapter believes before it has read anything.

use super::memory::{Memory, Parts};
use super::{bits, mixer, runs, sse};

/// First weights and confidences.
pub(super) fn start<M: Memory>(parts: &mut Parts<'_>, net: bool) {
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
