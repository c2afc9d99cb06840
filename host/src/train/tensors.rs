//! A checkpoint as a list of tensors: what sums, updates and files go through.

use crate::{Checkpoint, Layer};

/// A checkpoint of `like`'s shapes, all zeros: where gradients are summed up.
pub fn zeros_like(like: &Checkpoint) -> Checkpoint {
    let mut zeros = like.clone();
    for (_, _, values) in zeros.tensors_mut() {
        values.fill(0.0);
    }
    zeros
}

impl Checkpoint {
    /// Every tensor as `(layer, name, values)`; `layer` is `n_layer` for what belongs to none. The order is fixed.
    pub fn tensors_mut(&mut self) -> Vec<(usize, &'static str, &mut Vec<f32>)> {
        let top = self.layers.len();
        let mut all: Vec<(usize, &'static str, &mut Vec<f32>)> = Vec::new();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let Layer {
                norm,
                norm_bias,
                in_proj,
                conv1d,
                conv_bias,
                x_proj,
                dt_proj,
                dt_bias,
                a_log,
                d_skip,
                out_proj,
            } = layer;
            all.extend([
                (index, "norm", norm),
                (index, "norm_bias", norm_bias),
                (index, "in_proj", in_proj),
                (index, "conv1d", conv1d),
                (index, "conv_bias", conv_bias),
                (index, "x_proj", x_proj),
                (index, "dt_proj", dt_proj),
                (index, "dt_bias", dt_bias),
                (index, "a_log", a_log),
                (index, "d_skip", d_skip),
                (index, "out_proj", out_proj),
            ]);
        }
        all.extend([
            (top, "embedding", &mut self.embedding),
            (top, "norm_f", &mut self.norm_f),
            (top, "norm_f_bias", &mut self.norm_f_bias),
        ]);
        all.extend(self.head.as_mut().map(|head| (top, "lm_head", head)));
        all
    }

    /// Symbols that the model reads, 256 for bytes: rows of the embedding.
    pub fn vocabulary(&self) -> usize {
        self.embedding.len() / self.dims.d_model.max(1)
    }

    /// Where decays are tied, sets those of all states from that of the first, `A_log[d, n] = A_log[d, 0] + ln(n + 1)`:
    /// what an update does that moves the first alone, as [`gradient`](super::gradient) asks for.
    pub fn tie_decays(&mut self) {
        if !self.dims.tied_decays {
            return;
        }
        for layer in &mut self.layers {
            for channel in layer.a_log.chunks_exact_mut(self.dims.d_state) {
                // Rounded once, as the readers of checkpoints do it.
                let first = f64::from(channel[0]);
                for (n, a_log) in channel.iter_mut().enumerate() {
                    *a_log = (first + ((n + 1) as f64).ln()) as f32;
                }
            }
        }
    }
}
