//! Where everything lies in a blob: the sections, their lengths for a shape, the parameters of a layer.

use crate::blob::{ALIGN, BlobError, HEADER, TABLE_ROW};
use crate::dims::{Dims, Norm, VOCAB};
use bytemuck::{Pod, Zeroable};

/// A section of the blob, in file order. `L` = n_layer, `di` = d_inner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Section {
    /// [`LayerParams`] `[L]`.
    LayerParams,
    /// u8 `[256]`: row codes of the embedding.
    EmbeddingCode,
    /// i8 `[256, d_model]`.
    Embedding,
    /// i16 `[L + 1, d_model]`: norm weights, the last row for `norm_f`.
    NormWeight,
    /// i16 `[L + 1, d_model]`: norm biases; LayerNorm only.
    NormBias,
    /// u8 `[L, 2 * di]`.
    InProjCode,
    /// i8 `[L, 2 * di, d_model]`.
    InProj,
    /// u8 `[L, di]`.
    ConvCode,
    /// i8 `[L, d_conv, di]`: tap-major, oldest tap first.
    Conv,
    /// i16 `[L, di]`.
    ConvBias,
    /// u8 `[L, dt_rank + 2 * d_state]`.
    XProjCode,
    /// i8 `[L, dt_rank + 2 * d_state, di]`: rows of dt, B, C.
    XProj,
    /// u8 `[L, di]`.
    DtProjCode,
    /// i8 `[L, di, dt_rank]`.
    DtProj,
    /// i16 `[L, di]`, Q10.
    DtBias,
    /// u8 `[L, d_state, di]`, or `[L, 1, di]` if the decays are tied: log2 of the decay rate in 1/32 octaves.
    ALog,
    /// i16 `[L, di]`: the skip `D`.
    DSkip,
    /// u8 `[L, di]`: scale of the scan state of each channel.
    StateCode,
    /// u8 `[L, d_model]`.
    OutProjCode,
    /// i8 `[L, d_model, di]`.
    OutProj,
    /// u8 `[256]`; untied head only.
    HeadCode,
    /// i8 `[256, d_model]`; untied head only.
    Head,
}

/// Number of sections.
pub const SECTIONS: usize = Section::ALL.len();

impl Section {
    /// All sections, in file order.
    pub const ALL: [Section; 22] = {
        use Section::*;
        [
            LayerParams,
            EmbeddingCode,
            Embedding,
            NormWeight,
            NormBias,
            InProjCode,
            InProj,
            ConvCode,
            Conv,
            ConvBias,
            XProjCode,
            XProj,
            DtProjCode,
            DtProj,
            DtBias,
            ALog,
            DSkip,
            StateCode,
            OutProjCode,
            OutProj,
            HeadCode,
            Head,
        ]
    };

    /// Name of the tensor.
    pub const fn name(self) -> &'static str {
        match self {
            Section::LayerParams => "layer_params",
            Section::EmbeddingCode => "embedding.code",
            Section::Embedding => "embedding",
            Section::NormWeight => "norm.weight",
            Section::NormBias => "norm.bias",
            Section::InProjCode => "in_proj.code",
            Section::InProj => "in_proj",
            Section::ConvCode => "conv1d.code",
            Section::Conv => "conv1d",
            Section::ConvBias => "conv1d.bias",
            Section::XProjCode => "x_proj.code",
            Section::XProj => "x_proj",
            Section::DtProjCode => "dt_proj.code",
            Section::DtProj => "dt_proj",
            Section::DtBias => "dt_proj.bias",
            Section::ALog => "a_log",
            Section::DSkip => "d_skip",
            Section::StateCode => "state.code",
            Section::OutProjCode => "out_proj.code",
            Section::OutProj => "out_proj",
            Section::HeadCode => "head.code",
            Section::Head => "head",
        }
    }

    /// Bytes of one element.
    pub const fn element_size(self) -> usize {
        match self {
            Section::LayerParams => size_of::<LayerParams>(),
            Section::NormWeight | Section::NormBias | Section::ConvBias | Section::DtBias | Section::DSkip => 2,
            _ => 1,
        }
    }

    /// Elements of this section for each layer (for the whole model where it is not per layer).
    pub const fn len_per_layer(self, dims: &Dims) -> u64 {
        let (d, di, k) = (dims.d_model as u64, dims.d_inner as u64, dims.d_conv as u64);
        let (r, rows) = (dims.dt_rank as u64, dims.x_proj_rows() as u64);
        let vocab = VOCAB as u64;
        match self {
            Section::LayerParams => 1,
            Section::EmbeddingCode => vocab,
            Section::Embedding => vocab * d,
            Section::NormWeight => d,
            Section::NormBias => match dims.norm {
                Norm::Rms => 0,
                Norm::Layer => d,
            },
            Section::InProjCode => 2 * di,
            Section::InProj => 2 * di * d,
            Section::ConvCode | Section::ConvBias | Section::DtProjCode | Section::DtBias => di,
            Section::Conv => k * di,
            Section::XProjCode => rows,
            Section::XProj => rows * di,
            Section::DtProj => di * r,
            Section::ALog => dims.a_log_rows() as u64 * di,
            Section::DSkip | Section::StateCode => di,
            Section::OutProjCode => d,
            Section::OutProj => d * di,
            Section::HeadCode => {
                if dims.tied_head {
                    0
                } else {
                    vocab
                }
            }
            Section::Head => {
                if dims.tied_head {
                    0
                } else {
                    vocab * d
                }
            }
        }
    }

    /// How often [`Section::len_per_layer`] elements are repeated.
    pub const fn repeats(self, dims: &Dims) -> u64 {
        match self {
            Section::EmbeddingCode | Section::Embedding | Section::HeadCode | Section::Head => 1,
            Section::NormWeight | Section::NormBias => dims.n_layer as u64 + 1,
            _ => dims.n_layer as u64,
        }
    }

    /// Bytes of this section, without the padding behind it.
    pub const fn bytes(self, dims: &Dims) -> u64 {
        self.len_per_layer(dims) * self.repeats(dims) * self.element_size() as u64
    }
}

/// Bytes before the first section.
pub const fn payload_offset() -> u64 {
    align_up((HEADER + SECTIONS * TABLE_ROW) as u64)
}

/// Bytes of a whole blob of shape `dims`: what it takes in flash.
pub const fn blob_bytes(dims: &Dims) -> u64 {
    let mut total = payload_offset();
    let mut i = 0;
    while i < SECTIONS {
        total += align_up(Section::ALL[i].bytes(dims));
        i += 1;
    }
    total
}

/// Rounds up to the next section boundary.
pub const fn align_up(n: u64) -> u64 {
    n.div_ceil(ALIGN as u64) * ALIGN as u64
}

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
