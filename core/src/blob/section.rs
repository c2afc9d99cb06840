//! Where everything lies in a blob: the header, the sections, their lengths for a shape.

use crate::dims::{Dims, Norm, VOCAB};

/// First bytes of every blob; damaged by text-mode transfers on purpose.
pub const MAGIC: [u8; 8] = *b"\x89MBB\r\n\x1a\n";
/// Version of the format.
pub const VERSION: u16 = 1;
/// Bytes of the fixed header.
pub const HEADER: usize = 128;
/// Bytes of a row of the section table.
pub const TABLE_ROW: usize = 8;
/// Sections start at multiples of this; so must the memory that holds a blob.
pub const ALIGN: usize = 16;
/// Bytes of a layer's parameters.
pub(super) const LAYER_PARAMS: usize = 32;

/// A section of the blob, in file order. `L` = n_layer, `di` = d_inner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Section {
    /// [`LayerParams`](super::LayerParams) `[L]`.
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
            Section::LayerParams => LAYER_PARAMS,
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

    /// Bytes of this section, without the padding after it.
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
