//! One layer over a window of bytes, forward and back. Names as in the oracle step of `mambabyte-core`.

use mambabyte_core::Dims;

use super::matrix;
use super::norm::NormPass;
use crate::Layer;

/// Activations of one layer over a window; `[bytes, width]` each.
pub(super) struct BlockPass {
    norm: NormPass,
    /// `[_, 2 * d_inner]`.
    xz: Vec<f32>,
    /// `[_, d_inner]`, before SiLU.
    conv: Vec<f32>,
    /// `[_, d_inner]`.
    x: Vec<f32>,
    /// `[_, dt_rank + 2 * d_state]`.
    dtbc: Vec<f32>,
    /// `[_, dt_rank]`, its first columns.
    dt: Vec<f32>,
    /// `[_, d_inner]`, before softplus, and after.
    pre: Vec<f32>,
    delta: Vec<f32>,
    /// `[_, d_inner, d_state]`, `exp(delta A)`, and h after the update.
    decay: Vec<f32>,
    h: Vec<f32>,
    /// `[_, d_inner]`, with the skip, before the gate, and after.
    y: Vec<f32>,
    gated: Vec<f32>,
    /// The state before the first byte, as [`super::Carry`] holds it.
    before: Vec<f32>,
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Derivative of `silu`.
fn silu_slope(x: f32) -> f32 {
    let s = sigmoid(x);
    s * (1.0 + x * (1.0 - s))
}

fn softplus(v: f32) -> f32 {
    if v > 20.0 { v } else { v.exp().ln_1p() }
}

impl BlockPass {
    /// Adds the layer's output to `residual` `[bytes, d_model]`, of which there is at least one row. `state` is that
    /// before the first byte, then that after the last one.
    pub(super) fn forward(
        dims: &Dims,
        l: &Layer,
        a: &[f32],
        eps: f32,
        residual: &mut [f32],
        state: &mut [f32],
    ) -> Self {
        let before = state.to_vec();
        let (history, last) = state.split_at_mut(dims.conv_state_len());
        let (di, n, taps) = (dims.d_inner, dims.d_state, dims.d_conv);
        let norm = NormPass::forward(residual, &l.norm, &l.norm_bias, eps);
        let xz = matrix::forward(&l.in_proj, &norm.out, dims.d_model);
        let bytes = xz.len() / (2 * di);
        let mut conv = Vec::with_capacity(bytes * di);
        for t in 0..bytes {
            for d in 0..di {
                let mut sum = l.conv_bias[d];
                for k in 0..taps {
                    let sample = match (t + k + 1).checked_sub(taps) {
                        Some(source) => xz[source * 2 * di + d],
                        None => history[(t + k) * di + d],
                    };
                    sum += l.conv1d[d * taps + k] * sample;
                }
                conv.push(sum);
            }
        }
        let x: Vec<f32> = conv.iter().map(|&v| v * sigmoid(v)).collect();
        let dtbc = matrix::forward(&l.x_proj, &x, di);
        let width = dims.x_proj_rows();
        let dt: Vec<f32> = dtbc.chunks_exact(width).flat_map(|row| &row[..dims.dt_rank]).copied().collect();
        let mut pre = matrix::forward(&l.dt_proj, &dt, dims.dt_rank);
        for row in pre.chunks_exact_mut(di) {
            row.iter_mut().zip(&l.dt_bias).for_each(|(v, b)| *v += b);
        }
        let delta: Vec<f32> = pre.iter().map(|&v| softplus(v)).collect();
        let mut decay = vec![0.0; bytes * di * n];
        let mut h = vec![0.0; bytes * di * n];
        let mut y = vec![0.0; bytes * di];
        for t in 0..bytes {
            let (b, c) = dtbc[t * width + dims.dt_rank..(t + 1) * width].split_at(n);
            for d in 0..di {
                let (delta, x) = (delta[t * di + d], x[t * di + d]);
                let at = (t * di + d) * n;
                let mut sum = l.d_skip[d] * x;
                for i in 0..n {
                    let keep = (delta * a[d * n + i]).exp();
                    let new = keep * last[d * n + i] + delta * x * b[i];
                    decay[at + i] = keep;
                    h[at + i] = new;
                    last[d * n + i] = new;
                    sum += c[i] * new;
                }
                y[t * di + d] = sum;
            }
        }
        let mut gated = y.clone();
        for (gated, xz) in gated.chunks_exact_mut(di).zip(xz.chunks_exact(2 * di)) {
            gated.iter_mut().zip(&xz[di..]).for_each(|(g, &z)| *g *= z * sigmoid(z));
        }
        let out = matrix::forward(&l.out_proj, &gated, di);
        residual.iter_mut().zip(out).for_each(|(r, o)| *r += o);
        // The last columns: of the window, and of the history before it where the window is shorter.
        for k in 0..taps - 1 {
            for d in 0..di {
                history[k * di + d] = match (bytes + k + 1).checked_sub(taps) {
                    Some(source) => xz[source * 2 * di + d],
                    None => history[(bytes + k) * di + d],
                };
            }
        }
        Self { norm, xz, conv, x, dtbc, dt, pre, delta, decay, h, y, gated, before }
    }

    /// Turns `dres`, the gradient of the residual after the layer, into that before it; adds to `grad`.
    pub(super) fn backward(&self, dims: &Dims, l: &Layer, a: &[f32], dres: &mut [f32], grad: &mut Layer) {
        let (di, n, taps, width) = (dims.d_inner, dims.d_state, dims.d_conv, dims.x_proj_rows());
        let bytes = self.y.len() / di;
        let dgated = matrix::to_input(&l.out_proj, dres, di);
        matrix::to_weight(&mut grad.out_proj, dres, &self.gated, di);

        // The gate; dxz takes the gradient of z now and of x below.
        let mut dxz = vec![0.0; bytes * 2 * di];
        let mut dy = dgated;
        for t in 0..bytes {
            for d in 0..di {
                let (at, z) = (t * di + d, self.xz[t * 2 * di + di + d]);
                dxz[t * 2 * di + di + d] = dy[at] * self.y[at] * silu_slope(z);
                dy[at] *= z * sigmoid(z);
            }
        }

        // The scan, backwards in time.
        let mut dx = vec![0.0; bytes * di];
        let mut dpre = vec![0.0; bytes * di];
        let mut dtbc = vec![0.0; bytes * width];
        let mut carry = vec![0.0; di * n];
        let (history, zeroth) = self.before.split_at(dims.conv_state_len());
        for t in (0..bytes).rev() {
            let (b, c) = self.dtbc[t * width + dims.dt_rank..(t + 1) * width].split_at(n);
            let (db, dc) = dtbc[t * width + dims.dt_rank..(t + 1) * width].split_at_mut(n);
            let before = if t == 0 { zeroth } else { &self.h[(t - 1) * di * n..t * di * n] };
            for d in 0..di {
                let at = t * di + d;
                let (delta, x, dy) = (self.delta[at], self.x[at], dy[at]);
                let (mut ddelta, mut via_b) = (0.0, 0.0);
                for i in 0..n {
                    let keep = self.decay[at * n + i];
                    dc[i] += dy * self.h[at * n + i];
                    let dh = dy * c[i] + carry[d * n + i];
                    carry[d * n + i] = dh * keep;
                    let through = dh * before[d * n + i] * keep;
                    ddelta += through * a[d * n + i];
                    // A = -exp(A_log), so that dA/dA_log = A.
                    grad.a_log[d * n + i] += through * delta * a[d * n + i];
                    via_b += dh * b[i];
                    db[i] += dh * delta * x;
                }
                ddelta += via_b * x;
                dx[at] = via_b * delta + dy * l.d_skip[d];
                grad.d_skip[d] += dy * x;
                let slope = if self.pre[at] > 20.0 { 1.0 } else { sigmoid(self.pre[at]) };
                dpre[at] = ddelta * slope;
                grad.dt_bias[d] += dpre[at];
            }
        }
        let ddt = matrix::to_input(&l.dt_proj, &dpre, dims.dt_rank);
        matrix::to_weight(&mut grad.dt_proj, &dpre, &self.dt, dims.dt_rank);
        for (row, ddt) in dtbc.chunks_exact_mut(width).zip(ddt.chunks_exact(dims.dt_rank)) {
            row[..dims.dt_rank].copy_from_slice(ddt);
        }
        let via_x_proj = matrix::to_input(&l.x_proj, &dtbc, di);
        matrix::to_weight(&mut grad.x_proj, &dtbc, &self.x, di);

        // SiLU and the convolution.
        for t in 0..bytes {
            for d in 0..di {
                let at = t * di + d;
                let dconv = (dx[at] + via_x_proj[at]) * silu_slope(self.conv[at]);
                grad.conv_bias[d] += dconv;
                for k in 0..taps {
                    let Some(source) = (t + k + 1).checked_sub(taps) else {
                        grad.conv1d[d * taps + k] += dconv * history[(t + k) * di + d];
                        continue;
                    };
                    grad.conv1d[d * taps + k] += dconv * self.xz[source * 2 * di + d];
                    dxz[source * 2 * di + d] += dconv * l.conv1d[d * taps + k];
                }
            }
        }
        let du = matrix::to_input(&l.in_proj, &dxz, dims.d_model);
        matrix::to_weight(&mut grad.in_proj, &dxz, &self.norm.out, dims.d_model);
        self.norm.backward(&du, &l.norm, dres, &mut grad.norm, &mut grad.norm_bias);
    }
}
