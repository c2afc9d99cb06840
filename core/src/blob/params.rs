//! The parameters of a layer, and the ranges that they must be in.

use bytemuck::{Pod, Zeroable};

use super::error::BlobError;
use super::section::LAYER_PARAMS;

const _: () = assert!(size_of::<LayerParams>() == LAYER_PARAMS);

/// Shifts and formats of one layer: what turns exact accumulators into activations.
///
/// `*_shift` are the `base` of [`row_multiplier`](crate::fixed::row_multiplier) or of
/// [`round_shift`](crate::fixed::round_shift), `1..=54`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LayerParams {
    /// Norm weights: `u = (n * weight) >> norm_shift`, `n` in Q24.
    pub norm_shift: u8,
    /// Row multipliers of `in_proj`.
    pub in_proj_shift: u8,
    /// Row multipliers of the convolution.
    pub conv_shift: u8,
    /// Row multipliers of `x_proj`.
    pub x_proj_shift: u8,
    /// Row multipliers of `dt_proj`.
    pub dt_proj_shift: u8,
    /// Row multipliers of `out_proj`, `18..=54`: up to 17 are taken off when the step shifts its input down.
    pub out_proj_shift: u8,
    /// Channel multipliers of `sum_n C[n] * h[n]`.
    pub y_shift: u8,
    /// `D * x >> d_shift`.
    pub d_shift: u8,
    /// `y * silu(z) >> gate_shift`.
    pub gate_shift: u8,
    /// Fractional bits of the convolution's output and of `x`, `4..=15`.
    pub x_frac: u8,
    /// Fractional bits of the gate `z`, `4..=15`.
    pub z_frac: u8,
    /// Zero; anything else is refused.
    pub reserved: u8,
    /// log2 of the rate of `a_log` code 0, plus `log2(log2(e))`, in Q10 octaves.
    pub a_base: i16,
    /// Zero; anything else is refused.
    pub reserved2: i16,
    /// `log2(delta) + dx_base + 32 * state_code` (Q10) is log2 of the factor from `x` to `delta * x`.
    pub dx_base: i32,
    /// For people: log2 of the scales of `u, dt, B, C, y, gated` in Q8. The step does not read them.
    pub scale_log2: [i16; 6],
}

impl LayerParams {
    /// All zero; valid in no blob.
    pub const ZERO: Self = Self {
        norm_shift: 0,
        in_proj_shift: 0,
        conv_shift: 0,
        x_proj_shift: 0,
        dt_proj_shift: 0,
        out_proj_shift: 0,
        y_shift: 0,
        d_shift: 0,
        gate_shift: 0,
        x_frac: 0,
        z_frac: 0,
        reserved: 0,
        a_base: 0,
        reserved2: 0,
        dx_base: 0,
        scale_log2: [0; 6],
    };

    /// Every shift and format in its range, reserved fields zero.
    pub(super) fn check(&self, layer: usize) -> Result<(), BlobError> {
        in_range(layer, "norm_shift", self.norm_shift, 1, 54)?;
        in_range(layer, "in_proj_shift", self.in_proj_shift, 1, 54)?;
        in_range(layer, "conv_shift", self.conv_shift, 1, 54)?;
        in_range(layer, "x_proj_shift", self.x_proj_shift, 1, 54)?;
        in_range(layer, "dt_proj_shift", self.dt_proj_shift, 1, 54)?;
        in_range(layer, "out_proj_shift", self.out_proj_shift, 18, 54)?;
        in_range(layer, "y_shift", self.y_shift, 1, 54)?;
        in_range(layer, "d_shift", self.d_shift, 1, 54)?;
        in_range(layer, "gate_shift", self.gate_shift, 1, 54)?;
        in_range(layer, "x_frac", self.x_frac, 4, 15)?;
        in_range(layer, "z_frac", self.z_frac, 4, 15)?;
        in_range(layer, "reserved", self.reserved, 0, 0)?;
        let wide = [("reserved2", self.reserved2 as i32, 0), ("dx_base", self.dx_base, 1 << 20)];
        match wide.into_iter().find(|&(_, found, limit)| found.unsigned_abs() > limit) {
            Some((name, found, _)) => Err(BlobError::LayerParam { layer, name, found }),
            None => Ok(()),
        }
    }
}

/// `low <= found <= high`, or the error that names the parameter.
pub(super) fn in_range(layer: usize, name: &'static str, found: u8, low: u8, high: u8) -> Result<(), BlobError> {
    if found >= low && found <= high { Ok(()) } else { Err(BlobError::LayerParam { layer, name, found: found.into() }) }
}
