//! Where the pieces of a state begin, in the state and in a slot.

use core::ops::Range;

use super::blocks::{BLOCK, record_bytes};
use crate::dims::Dims;

/// The least elements of a piece, so that small models have few pieces.
const LEAST: usize = 256;

/// How a state is cut into pieces.
///
/// All layers are cut alike. No piece begins inside the convolution columns of a layer, which would depend on each
/// other across pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Elements of a layer.
    layer: usize,
    layers: usize,
    /// Elements of a piece; the last one of a layer may have fewer.
    piece: usize,
    /// Pieces of a layer.
    per_layer: usize,
}

impl Layout {
    /// The pieces of a model's state.
    pub const fn new(dims: &Dims) -> Self {
        let (layer, columns) = (dims.layer_state_len(), dims.conv_state_len());
        let least = if columns > LEAST { columns } else { LEAST };
        // Pieces as equal in size as the columns allow.
        let equal = layer.div_ceil(at_least_one(layer.div_ceil(least)));
        let piece = at_least_one(if columns > equal { columns } else { equal });
        Self { layer, layers: dims.n_layer, piece, per_layer: layer.div_ceil(piece) }
    }

    /// No pieces: where there is no model there is no state.
    pub const NONE: Self = Self { layer: 0, layers: 0, piece: 0, per_layer: 1 };

    /// Number of pieces.
    pub const fn pieces(&self) -> usize {
        self.layers * self.per_layer
    }

    /// Bytes of the largest piece: what is written to flash after one byte of the stream, without the head of a record.
    pub const fn piece_bytes(&self) -> usize {
        2 * self.piece
    }

    /// Bytes of a slot with `beside` bytes of sections beside the state, without the rest of its last sector.
    pub const fn slot_bytes(&self, beside: usize) -> usize {
        self.commit(beside) + BLOCK
    }

    /// The elements of the state that are piece `index`; empty after the last one.
    pub fn elements(&self, index: usize) -> Range<usize> {
        let per_layer = at_least_one(self.per_layer);
        let (layer, part) = (index / per_layer, index % per_layer);
        let start = part * self.piece;
        let end = self.layer.min(start + self.piece);
        layer * self.layer + start..layer * self.layer + end
    }

    /// Where the record of piece `index` begins in a slot.
    pub(super) const fn offset(&self, index: usize) -> usize {
        BLOCK + index * record_bytes(self.piece_bytes())
    }

    /// Where the commit block is.
    pub(super) const fn commit(&self, beside: usize) -> usize {
        self.offset(self.pieces()) + record_bytes(beside)
    }
}

/// A divisor. Those here are never 0, as no model's layers are empty; the compiler does not know it.
const fn at_least_one(n: usize) -> usize {
    debug_assert!(n > 0, "a layer has elements");
    if n == 0 { 1 } else { n }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Norm;

    #[test]
    fn pieces_tile_the_state_and_keep_the_columns_whole() {
        for (n_layer, d_inner, d_state, d_conv) in [
            (1, 16, 2, 2),
            (3, 64, 8, 4),
            (4, 128, 8, 4),
            (6, 256, 8, 4),
            (8, 512, 16, 4),
            (2, 64, 1, 16),
            (5, 32, 16, 1),
        ] {
            let (norm, d_model) = (Norm::Rms, d_inner / 2);
            let dims = Dims {
                d_model,
                n_layer,
                d_inner,
                d_state,
                d_conv,
                dt_rank: 1,
                norm,
                tied_head: true,
                tied_decays: true,
            };
            let layout = Layout::new(&dims);
            let mut next = 0;
            for index in 0..layout.pieces() {
                let range = layout.elements(index);
                assert_eq!(range.start, next, "{dims:?}");
                assert!(!range.is_empty() && 2 * range.len() <= layout.piece_bytes());
                let inside = range.start % dims.layer_state_len();
                assert!(inside == 0 || inside >= dims.conv_state_len(), "{dims:?}: a piece begins in the columns");
                next = range.end;
            }
            assert_eq!(next, dims.state_len());
            assert!(layout.piece_bytes() <= 512.max(2 * dims.conv_state_len()).max(2 * dims.layer_state_len()));
        }
    }
}
