//! A trained model in plain f32, whatever file it came from.
//!
//! `tools` reads foreign formats and fills a [`Checkpoint`]; everything in this crate starts from one. All matrices are
//! row-major with the shapes of the paper's reference code.

use mambabyte_core::Dims;

/// Weights of one layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// `[d_model]`, scale of the norm before the layer.
    pub norm: Vec<f32>,
    /// `[d_model]`, LayerNorm only; else empty.
    pub norm_bias: Vec<f32>,
    /// `[2 * d_inner, d_model]`: rows of `x`, then rows of the gate `z`.
    pub in_proj: Vec<f32>,
    /// `[d_inner, d_conv]`; the last tap multiplies the newest sample.
    pub conv1d: Vec<f32>,
    /// `[d_inner]`; zeros where the checkpoint has no bias.
    pub conv_bias: Vec<f32>,
    /// `[dt_rank + 2 * d_state, d_inner]`: rows of `dt`, `B`, `C`.
    pub x_proj: Vec<f32>,
    /// `[d_inner, dt_rank]`.
    pub dt_proj: Vec<f32>,
    /// `[d_inner]`, added before softplus.
    pub dt_bias: Vec<f32>,
    /// `[d_inner, d_state]`, `A = -exp(A_log)`.
    pub a_log: Vec<f32>,
    /// `[d_inner]`, the skip `D`.
    pub d_skip: Vec<f32>,
    /// `[d_model, d_inner]`.
    pub out_proj: Vec<f32>,
}

/// A whole model in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The shape, taken from the tensors.
    pub dims: Dims,
    /// Epsilon of the norms, 1e-5 for every published Mamba.
    pub norm_eps: f32,
    /// `[256, d_model]`.
    pub embedding: Vec<f32>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// `[d_model]`, scale of the last norm.
    pub norm_f: Vec<f32>,
    /// `[d_model]`, LayerNorm only; else empty.
    pub norm_f_bias: Vec<f32>,
    /// `[256, d_model]` if the head is not the embedding.
    pub head: Option<Vec<f32>>,
}

impl Checkpoint {
    /// Number of trained parameters; tied decays count one `A` per channel, a tied head counts once.
    pub fn parameters(&self) -> usize {
        let dims = &self.dims;
        let a_log = if dims.tied_decays { dims.d_inner } else { dims.d_inner * dims.d_state };
        let conv_and_vectors = dims.d_inner * (dims.d_conv + 3);
        let matrices =
            dims.d_inner * (2 * dims.d_model + (dims.dt_rank + 2 * dims.d_state) + dims.dt_rank + dims.d_model);
        let norm = self.norm_f.len() + self.norm_f_bias.len();
        let embedding = self.embedding.len() + self.head.as_ref().map_or(0, Vec::len);
        dims.n_layer * (matrices + conv_and_vectors + a_log + norm) + norm + embedding
    }
}
