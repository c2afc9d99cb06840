//! Where a step stopped being finite: [`NotFinite`].
//!
//! A step looks at the residual stream after each layer and at the logits, and nowhere else. That is enough:
//!
//! * Every product takes in all of its input, and neither NaN nor infinity times anything is finite, zero included. So
//!   what is not finite inside a layer is not finite in the layer's output, in the same step.
//! * What goes into the state also goes into the output of the step that puts it there: the newest sample has a tap of
//!   its own, and h is read after its update. So no state is spoilt unseen.
//! * Three functions make something finite of infinity: the exponentials of SiLU, of softplus and of the decays. What
//!   they give is what the real functions tend to, and no error.
//! * A norm would make zeros of values whose squares overflow, and silence the layer. It makes NaN of them instead.
//!
//! Only a step that fails looks at what the layer has left in its memory, to say which part of it was the first.

use core::fmt;

use crate::stage::Stage;

/// A value of the step that is NaN or infinite: the first, in the order of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite {
    /// The layer, from 0; `None` for the embedding, the last norm and the head.
    pub layer: Option<usize>,
    /// The part of the step whose output it is.
    pub stage: Stage,
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.layer, self.stage) {
            (Some(layer), stage) => write!(f, "layer {layer}: what {} gives is not finite", stage.name()),
            (None, Stage::Embed) => f.write_str("the embedding is not finite"),
            (None, Stage::Norm) => f.write_str("what the last norm gives is not finite"),
            (None, _) => f.write_str("the head's logits are not finite"),
        }
    }
}

impl core::error::Error for NotFinite {}

/// Whether all values are finite. One comparison at the end, so that it becomes vectors.
#[inline]
pub(super) fn all_finite(values: &[f32]) -> bool {
    values.iter().fold(0, |most, v| most.max(v.to_bits() & 0x7fff_ffff)) < f32::INFINITY.to_bits()
}

/// What a layer has left in its memory.
pub(super) struct Left<'a> {
    /// The first layer's input: a row of the embedding.
    pub(super) embedding: Option<&'a [f32]>,
    pub(super) u: &'a [f32],
    /// The newest sample of the convolution: the `x` half of `in_proj`'s output.
    pub(super) newest: &'a [f32],
    pub(super) z: &'a [f32],
    /// After SiLU.
    pub(super) x: &'a [f32],
    pub(super) dtbc: &'a [f32],
    /// After softplus.
    pub(super) delta: &'a [f32],
    pub(super) dx: &'a [f32],
    pub(super) h: &'a [f32],
    pub(super) c: &'a [f32],
    /// After the gate.
    pub(super) y: &'a [f32],
}

impl Left<'_> {
    /// The first part of layer `layer` whose output is not finite.
    #[cold]
    pub(super) fn first(&self, layer: usize) -> NotFinite {
        if self.embedding.is_some_and(|row| !all_finite(row)) {
            return NotFinite { layer: None, stage: Stage::Embed };
        }
        let read = |h: &[f32]| h.iter().zip(self.c).map(|(h, c)| h * c).sum::<f32>();
        let scanned = all_finite(self.h) && self.h.chunks_exact(self.c.len()).all(|h| read(h).is_finite());
        let parts = [
            (Stage::Norm, all_finite(self.u)),
            (Stage::InProj, all_finite(self.newest) && all_finite(self.z)),
            (Stage::Conv, all_finite(self.x)),
            (Stage::XProj, all_finite(self.dtbc)),
            (Stage::DtProj, all_finite(self.delta)),
            (Stage::Scan, all_finite(self.dx) && scanned),
            (Stage::Gate, all_finite(self.y)),
        ];
        let stage = parts.into_iter().find(|(_, finite)| !finite).map_or(Stage::OutProj, |(stage, _)| stage);
        NotFinite { layer: Some(layer), stage }
    }
}
