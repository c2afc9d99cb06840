//! The tensors of the layers, one after the other.

use super::params::LayerParams;
use crate::dims::Dims;

/// A layer, by its kind. An enum, not a trait object: sizes are constants and a chip has one `match` a layer.
#[derive(Clone, Copy)]
pub enum BlockView<'a> {
    /// A Mamba-1 layer (arXiv 2312.00752), the only kind of format 1.
    Mamba1(LayerView<'a>),
}

impl<'a> BlockView<'a> {
    /// Shifts and formats, which a layer of every kind has.
    pub const fn params(&self) -> &'a LayerParams {
        match self {
            Self::Mamba1(layer) => layer.params,
        }
    }
}

/// All sections of one Mamba-1 layer.
#[derive(Clone, Copy)]
pub struct LayerView<'a> {
    /// Shifts and formats.
    pub params: &'a LayerParams,
    /// `[d_model]`.
    pub norm_weight: &'a [i16],
    /// `[d_model]` or empty.
    pub norm_bias: &'a [i16],
    /// `[2 * d_inner]`.
    pub in_proj_code: &'a [u8],
    /// `[2 * d_inner, d_model]`.
    pub in_proj: &'a [i8],
    /// `[d_inner]`.
    pub conv_code: &'a [u8],
    /// `[d_conv, d_inner]`.
    pub conv: &'a [i8],
    /// `[d_inner]`.
    pub conv_bias: &'a [i16],
    /// `[dt_rank + 2 * d_state]`.
    pub x_proj_code: &'a [u8],
    /// `[dt_rank + 2 * d_state, d_inner]`.
    pub x_proj: &'a [i8],
    /// `[d_inner]`.
    pub dt_proj_code: &'a [u8],
    /// `[d_inner, dt_rank]`.
    pub dt_proj: &'a [i8],
    /// `[d_inner]`.
    pub dt_bias: &'a [i16],
    /// `[a_log_rows, d_inner]`.
    pub a_log: &'a [u8],
    /// `[d_inner]`.
    pub d_skip: &'a [i16],
    /// `[d_inner]`.
    pub state_code: &'a [u8],
    /// `[d_model]`.
    pub out_proj_code: &'a [u8],
    /// `[d_model, d_inner]`.
    pub out_proj: &'a [i8],
    /// The matrices are in tiles: [`tiles`](crate::tiles).
    #[cfg(mambabyte_tiles)]
    pub(crate) tiled: bool,
}

impl LayerView<'_> {
    /// Whether the matrices are in tiles.
    #[inline(always)]
    pub(crate) const fn is_tiled(&self) -> bool {
        #[cfg(mambabyte_tiles)]
        return self.tiled;
        #[cfg(not(mambabyte_tiles))]
        return false;
    }

    /// A layer that is not there.
    pub(super) const EMPTY: Self = LayerView {
        params: &LayerParams::ZERO,
        norm_weight: &[],
        norm_bias: &[],
        in_proj_code: &[],
        in_proj: &[],
        conv_code: &[],
        conv: &[],
        conv_bias: &[],
        x_proj_code: &[],
        x_proj: &[],
        dt_proj_code: &[],
        dt_proj: &[],
        dt_bias: &[],
        a_log: &[],
        d_skip: &[],
        state_code: &[],
        out_proj_code: &[],
        out_proj: &[],
        #[cfg(mambabyte_tiles)]
        tiled: false,
    };
}

/// The layers of a blob: [`Blob::blocks`](super::Blob::blocks).
#[derive(Clone)]
pub struct Blocks<'a> {
    pub(super) dims: Dims,
    pub(super) params: &'a [LayerParams],
    /// What the layers that are left have of each tensor.
    pub(super) rest: LayerView<'a>,
}

/// Takes the first `n` elements off `rest`; none if it is shorter, as it is for a tensor that the model lacks.
#[inline(always)]
fn front<'a, T>(rest: &mut &'a [T], n: usize) -> &'a [T] {
    match rest.split_at_checked(n) {
        Some((front, more)) => {
            *rest = more;
            front
        }
        None => &[],
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = BlockView<'a>;

    fn next(&mut self) -> Option<BlockView<'a>> {
        let (params, more) = self.params.split_first()?;
        self.params = more;
        let (dims, rest) = (&self.dims, &mut self.rest);
        let (d, di, rows) = (dims.d_model, dims.d_inner, dims.x_proj_rows());
        Some(BlockView::Mamba1(LayerView {
            params,
            norm_weight: front(&mut rest.norm_weight, d),
            norm_bias: front(&mut rest.norm_bias, d),
            in_proj_code: front(&mut rest.in_proj_code, 2 * di),
            in_proj: front(&mut rest.in_proj, 2 * di * d),
            conv_code: front(&mut rest.conv_code, di),
            conv: front(&mut rest.conv, dims.d_conv * di),
            conv_bias: front(&mut rest.conv_bias, di),
            x_proj_code: front(&mut rest.x_proj_code, rows),
            x_proj: front(&mut rest.x_proj, rows * di),
            dt_proj_code: front(&mut rest.dt_proj_code, di),
            dt_proj: front(&mut rest.dt_proj, di * dims.dt_rank),
            dt_bias: front(&mut rest.dt_bias, di),
            a_log: front(&mut rest.a_log, dims.a_log_rows() * di),
            d_skip: front(&mut rest.d_skip, di),
            state_code: front(&mut rest.state_code, di),
            out_proj_code: front(&mut rest.out_proj_code, d),
            out_proj: front(&mut rest.out_proj, d * di),
            #[cfg(mambabyte_tiles)]
            tiled: rest.tiled,
        }))
    }
}
