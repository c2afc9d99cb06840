//! The model in f64, written down plainly: what gradients are measured against.

use mambabyte_core::Dims;
use mambabyte_core::dims::Norm;

use super::Batch;
use crate::Checkpoint;

/// All tensors in f64, in the order of [`Checkpoint::tensors_mut`].
#[derive(Clone)]
pub(super) struct Plain {
    dims: Dims,
    eps: f64,
    tensors: Vec<Vec<f64>>,
}

impl Plain {
    pub(super) fn new(c: &Checkpoint) -> Self {
        let (dims, eps) = (c.dims, f64::from(c.norm_eps));
        let wide = |values: &mut Vec<f32>| values.iter().map(|&v| f64::from(v)).collect();
        let tensors = c.clone().tensors_mut().into_iter().map(|(.., values)| wide(values)).collect();
        Self { dims, eps, tensors }
    }

    /// Another one, of which one tensor is moved.
    pub(super) fn moved(&self, index: usize, direction: &[f64], by: f64) -> Self {
        let mut moved = self.clone();
        moved.tensors[index].iter_mut().zip(direction).for_each(|(x, d)| *x += by * d);
        moved
    }

    fn norm(&self, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let n = x.len() as f64;
        let mean = if self.dims.norm == Norm::Layer { x.iter().sum::<f64>() / n } else { 0.0 };
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let scaled = x.iter().zip(weight).map(|(x, w)| (x - mean) / (variance + self.eps).sqrt() * w);
        scaled.enumerate().map(|(i, y)| y + bias.get(i).copied().unwrap_or(0.0)).collect()
    }

    /// Reads a symbol; `-ln p` of every symbol as the next one. `state` as [`super::Carry`] has it.
    fn step(&self, symbol: usize, state: &mut [f64]) -> Vec<f64> {
        let dims = &self.dims;
        let (d, di, n, taps) = (dims.d_model, dims.d_inner, dims.d_state, dims.d_conv);
        let top = &self.tensors[11 * dims.n_layer..];
        let mut res = top[0][symbol * d..][..d].to_vec();
        for (layer, state) in state.chunks_exact_mut(dims.layer_state_len()).enumerate() {
            let [norm, norm_bias, in_proj, conv1d, conv_bias, x_proj, dt_proj, dt_bias, a_log, skip, out_proj] =
                std::array::from_fn(|i| &self.tensors[11 * layer + i]);
            let (history, h) = state.split_at_mut(dims.conv_state_len());
            let xz = product(in_proj, &self.norm(&res, norm, norm_bias));
            let mut x = vec![0.0; di];
            for (c, x) in x.iter_mut().enumerate() {
                let old: f64 = (0..taps - 1).map(|k| conv1d[c * taps + k] * history[k * di + c]).sum();
                *x = silu(conv_bias[c] + old + conv1d[c * taps + taps - 1] * xz[c]);
            }
            history.rotate_left(di);
            history[(taps - 2) * di..].copy_from_slice(&xz[..di]);
            let dtbc = product(x_proj, &x);
            let (dt, bc) = dtbc.split_at(dims.dt_rank);
            let (b, c) = bc.split_at(n);
            let pre = product(dt_proj, dt);
            let mut gated = vec![0.0; di];
            for channel in 0..di {
                let delta = (pre[channel] + dt_bias[channel]).exp().ln_1p();
                let mut y = skip[channel] * x[channel];
                for i in 0..n {
                    let a = match dims.tied_decays {
                        true => -a_log[channel * n].exp() * (i + 1) as f64,
                        false => -a_log[channel * n + i].exp(),
                    };
                    let h = &mut h[channel * n + i];
                    *h = (delta * a).exp() * *h + delta * x[channel] * b[i];
                    y += c[i] * *h;
                }
                gated[channel] = y * silu(xz[di + channel]);
            }
            res.iter_mut().zip(product(out_proj, &gated)).for_each(|(r, o)| *r += o);
        }
        let logits = product(top.get(3).unwrap_or(&top[0]), &self.norm(&res, &top[1], &top[2]));
        let log = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
        logits.iter().map(|x| log - x).collect()
    }
}

fn product(w: &[f64], x: &[f64]) -> Vec<f64> {
    w.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

impl Batch {
    /// The loss of a row in f64.
    pub(super) fn loss64(&self, plain: &Plain, row: usize) -> f64 {
        let mut state: Vec<f64> = self.before[row].as_slice().iter().map(|&v| f64::from(v)).collect();
        let mut nats = 0.0;
        for (t, pair) in self.texts[row].windows(2).enumerate() {
            if self.starts[row].contains(&(t as u32)) {
                state.fill(0.0);
            }
            nats += plain.step(pair[0].into(), &mut state)[usize::from(pair[1])];
        }
        nats
    }
}
