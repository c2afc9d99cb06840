//! All parameters of a model in one array on the GPU, and where each lies there.
//!
//! Tensor by tensor, each with all its layers one after the other: what the optimiser does to a tensor of every layer is
//! then one launch. First the projections, then embedding and head, which decay too, then the rest. Ranks and states are
//! padded to 8 with zeros, which stay zero: their gradients are.

use std::collections::HashMap;

use mambabyte_core::{Dims, VOCAB};

use crate::Checkpoint;

/// The projections, which Muon updates.
pub(super) const MATRICES: [&str; 4] = ["in_proj", "x_proj", "dt_proj", "out_proj"];
/// What else decays.
pub(super) const DECAYING: [&str; 2] = ["embedding", "lm_head"];
const REST: [&str; 9] =
    ["norm", "norm_bias", "conv1d", "conv_bias", "dt_bias", "a_log", "d_skip", "norm_f", "norm_f_bias"];
/// Parts of the array begin at multiples of so many elements.
const ALIGN: usize = 64;

/// One tensor of all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of the first layer.
    pub(super) at: usize,
    /// Elements from layer to layer: those of one.
    pub(super) size: usize,
    /// 1 for what belongs to no layer.
    pub(super) layers: usize,
    /// Columns of a matrix.
    pub(super) columns: usize,
}

impl Place {
    /// Rows of a matrix.
    pub(super) const fn rows(&self) -> usize {
        self.size / self.columns
    }

    /// Where layer `layer` begins.
    pub(super) const fn of(&self, layer: usize) -> usize {
        self.at + layer * self.size
    }
}

/// Where everything lies.
#[derive(Clone, Debug)]
pub(super) struct Params {
    pub(super) dims: Dims,
    /// Symbols.
    pub(super) vocabulary: usize,
    places: HashMap<&'static str, Place>,
    /// Elements of the projections.
    pub(super) matrices: usize,
    /// Elements of all that decays.
    pub(super) decaying: usize,
    /// All elements.
    pub(super) len: usize,
}

impl Params {
    /// Of models like this one.
    pub(super) fn new(model: &Checkpoint) -> Self {
        let (dims, vocabulary) = (&model.dims, model.vocabulary());
        let mut this = Self { dims: *dims, vocabulary, places: HashMap::new(), matrices: 0, decaying: 0, len: 0 };
        let (d, di, layers) = (dims.d_model, dims.d_inner, dims.n_layer);
        let bias = if model.norm_f_bias.is_empty() { 0 } else { d };
        for tensor in MATRICES.into_iter().chain(DECAYING).chain(REST) {
            let (size, columns, layers) = match tensor {
                "in_proj" => (2 * di * d, d, layers),
                "x_proj" => (this.x_proj_rows() * di, di, layers),
                "dt_proj" => (di * this.rank(), this.rank(), layers),
                "out_proj" => (d * di, di, layers),
                "embedding" => (vocabulary * d, d, 1),
                "lm_head" => (if model.head.is_some() { vocabulary * d } else { 0 }, d, 1),
                "norm" => (d, d, layers),
                "norm_bias" => (bias, d, layers),
                "conv1d" => (dims.d_conv * di, di, layers),
                "a_log" => (if dims.tied_decays { di } else { di * dims.d_state }, dims.d_state, layers),
                "norm_f" => (d, d, 1),
                "norm_f_bias" => (bias, d, 1),
                _ => (di, di, layers),
            };
            this.places.insert(tensor, Place { at: this.len, size, layers, columns });
            this.len = (this.len + size * layers).next_multiple_of(ALIGN);
            if tensor == "out_proj" {
                this.matrices = this.len;
            }
            if tensor == "lm_head" {
                this.decaying = this.len;
            }
        }
        this
    }

    /// `dt_rank`, padded.
    pub(super) const fn rank(&self) -> usize {
        self.dims.dt_rank.next_multiple_of(8)
    }

    /// `d_state`, padded.
    pub(super) const fn states(&self) -> usize {
        self.dims.d_state.next_multiple_of(8)
    }

    /// Rows of x_proj: rank, B, C.
    pub(super) const fn x_proj_rows(&self) -> usize {
        self.rank() + 2 * self.states()
    }

    pub(super) fn place(&self, tensor: &'static str) -> Place {
        self.places[tensor]
    }

    /// Whether the symbols are bytes, which have kernels of their own.
    pub(super) const fn of_bytes(&self) -> bool {
        self.vocabulary == VOCAB
    }

    /// Columns of the logits in memory.
    pub(super) const fn columns(&self) -> usize {
        self.vocabulary.next_multiple_of(8)
    }

    /// Rows of the head's products at a time, so that no [symbols, vocabulary] of a long batch is in memory at once: as many as
    /// have 2^24 logits.
    pub(super) const fn head_rows(&self) -> usize {
        let rows = (1 << 24) / self.columns();
        if rows < 64 { 64 } else { rows }
    }

    /// The head's matrix: its own, or the embedding.
    pub(super) fn head(&self) -> Place {
        let head = self.place("lm_head");
        if head.size > 0 { head } else { self.place("embedding") }
    }

    /// Where element `index` of a layer's tensor lies in the layer's part; `None` for decays that follow from the first.
    fn element(&self, tensor: &str, index: usize) -> Option<usize> {
        let Dims { d_inner, d_state, d_conv, dt_rank, tied_decays, .. } = self.dims;
        Some(match tensor {
            "conv1d" => index % d_conv * d_inner + index / d_conv,
            "x_proj" => {
                let (row, column) = (index / d_inner, index % d_inner);
                let row = match row.checked_sub(dt_rank) {
                    None => row,
                    Some(state) if state < d_state => self.rank() + state,
                    Some(state) => self.rank() + self.states() + state - d_state,
                };
                row * d_inner + column
            }
            "dt_proj" => index / dt_rank * self.rank() + index % dt_rank,
            "a_log" if tied_decays => return index.is_multiple_of(d_state).then_some(index / d_state),
            _ => index,
        })
    }

    /// Shows every parameter of `checkpoint` with its place.
    pub(super) fn each(&self, checkpoint: &mut Checkpoint, mut show: impl FnMut(&mut f32, usize)) {
        for (layer, tensor, values) in checkpoint.tensors_mut() {
            let place = self.place(tensor);
            let base = place.of(if place.layers > 1 { layer } else { 0 });
            for (index, value) in values.iter_mut().enumerate() {
                if let Some(at) = self.element(tensor, index) {
                    show(value, base + at);
                }
            }
        }
    }

    /// The array of a checkpoint, or of anything that is like one.
    pub(super) fn pack(&self, checkpoint: &Checkpoint) -> Vec<f32> {
        let mut all = vec![0.0; self.len];
        self.each(&mut checkpoint.clone(), |value, at| all[at] = *value);
        all
    }

    /// Back again; decays that follow from the first are left alone.
    pub(super) fn unpack(&self, all: &[f32], checkpoint: &mut Checkpoint) {
        self.each(checkpoint, |value, at| *value = all[at]);
    }
}

#[cfg(test)]
mod tests {
    use mambabyte_core::Norm;

    use super::*;
    use crate::train::initial;

    fn dims(tied_decays: bool, norm: Norm) -> Dims {
        let tied_head = tied_decays;
        Dims { d_model: 16, n_layer: 3, d_inner: 24, d_state: 5, d_conv: 3, dt_rank: 2, norm, tied_head, tied_decays }
    }

    #[test]
    fn what_is_packed_comes_back() {
        for (tied, norm) in [(true, Norm::Rms), (false, Norm::Layer)] {
            let vocabulary = if tied { 256 } else { 300 };
            let checkpoint = initial::with_vocabulary(&dims(tied, norm), vocabulary, 4);
            let params = Params::new(&checkpoint);
            let all = params.pack(&checkpoint);
            let mut back = initial::with_vocabulary(&checkpoint.dims, vocabulary, 9);
            params.unpack(&all, &mut back);
            back.tie_decays();
            assert!(back == checkpoint);
            // No two parameters share a place.
            let mut seen = vec![false; params.len];
            params.each(&mut back, |_, at| assert!(!std::mem::replace(&mut seen[at], true)));
            assert!(MATRICES.iter().all(|t| params.place(t).at + 3 * params.place(t).size <= params.matrices));
        }
    }
}
