//! The memory of a pass through the layers, and what all layers share.

use crate::dims::Dims;

/// Consecutive positions of a block that belong to one stream.
pub struct Run<'m> {
    /// The stream's state of one layer, `Dims::layer_state_len` elements; those of its channels for a shard.
    pub state: &'m mut [i16],
    /// How many positions.
    pub positions: usize,
    /// Takes what [`Prefill::replay`](crate::Prefill::replay) needs of these positions: [`Dims::kept_len`] elements.
    /// Empty: nothing is kept. A single position on its own and a shard keep nothing.
    pub keep: &'m mut [i16],
}

/// The memory of a pass through the layers. The first index is the position; `own` are the channels of a shard, or all.
pub(crate) struct Buffers<'s> {
    /// The residual stream, `[positions, d_model]`.
    pub(crate) residual: &'s mut [i32],
    /// The normed stream, `[positions, d_model]`.
    pub(crate) u: &'s mut [i16],
    /// `[positions, d_inner]`: x, and the gated output at the end of a layer; then `[positions, own]`: the gate z.
    pub(crate) xz: &'s mut [i16],
    /// dt, B and C, `[positions, x_proj_rows]`.
    pub(crate) x_proj: &'s mut [i16],
    /// Logarithms of step sizes, then first decays if these are tied, `[positions, own]`.
    pub(crate) log_delta: &'s mut [i16],
    /// `delta * x`, `[positions, own]`.
    pub(crate) dx: &'s mut [i16],
    /// The powers of tied decays, `[own]`.
    pub(crate) powers: &'s mut [i16],
    /// The shift of the gated output, `[positions]`; not used if there is one position.
    pub(crate) down: &'s mut [u8],
    /// The sums of the scan, `[positions, d_inner]`.
    pub(crate) y: &'s mut [i32],
}

/// What all layers of a model share.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'d> {
    /// The model's shape.
    pub(crate) dims: &'d Dims,
    /// The norm's epsilon, scaled as the blob has it.
    pub(crate) eps: u64,
}
