//! The f32 step: the oracle that the integer path is compared with, and the source of its calibration.
//!
//! The equations of the paper's reference code, one byte at a time, in caller-owned memory:
//!
//! ```text
//! u        = norm(res)                                     RMSNorm or LayerNorm
//! x, z     = split(in_proj u)
//! x        = silu(conv1d(x) + conv_bias)                   the last tap multiplies the newest sample
//! dt, B, C = split(x_proj x)
//! delta    = softplus(dt_proj dt + dt_bias)                softplus(v) = v above 20
//! h        = exp(delta A) h + (delta x) B                  h[d, n], A = -exp(A_log)
//! y        = sum_n C[n] h[d, n] + D x
//! res      = res + out_proj (y * silu(z))
//! logits   = head norm_f(res)
//! ```

mod not_finite;

pub use not_finite::NotFinite;

use not_finite::{Left, all_finite};

use crate::dims::{Dims, Norm, VOCAB};
use crate::stage::Stage;

/// Float functions: the platform's with `std`, else `libm`'s.
mod math {
    #[cfg(feature = "std")]
    pub(super) fn exp(x: f32) -> f32 {
        x.exp()
    }
    #[cfg(feature = "std")]
    pub(super) fn ln_1p(x: f32) -> f32 {
        x.ln_1p()
    }
    #[cfg(feature = "std")]
    pub(super) fn sqrt(x: f32) -> f32 {
        x.sqrt()
    }
    #[cfg(not(feature = "std"))]
    pub(super) use libm::{expf as exp, log1pf as ln_1p, sqrtf as sqrt};
}

/// A point in the step whose values a [`Probe`] sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// `[d_model]`, input of `in_proj`.
    NormOut,
    /// `[d_inner]`, the `x` half of `in_proj`'s output.
    ConvIn,
    /// `[d_inner]`, the `z` half.
    Gate,
    /// `[d_inner]`, before SiLU.
    ConvOut,
    /// `[d_inner]`, input of `x_proj`.
    X,
    /// `[dt_rank]`.
    Dt,
    /// `[d_state]`.
    B,
    /// `[d_state]`.
    C,
    /// `[d_inner]`, argument of softplus.
    DtPre,
    /// `[d_inner]`, `delta * x`.
    DeltaX,
    /// `[d_inner, d_state]`, after the update.
    H,
    /// `[d_inner]`, before the gate.
    Y,
    /// `[d_inner]`, input of `out_proj`.
    Gated,
    /// `[d_model]`, after the layer's addition.
    Residual,
    /// `[d_model]`, input of the head; its layer is `n_layer`.
    HeadIn,
}

/// Sees activations as they are made. `()` sees nothing and costs nothing.
pub trait Probe {
    /// `values` of `site` in `layer`.
    fn record(&mut self, layer: usize, site: Site, values: &[f32]);
}

impl Probe for () {
    #[inline(always)]
    fn record(&mut self, _: usize, _: Site, _: &[f32]) {}
}

/// Tensors of one layer, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct LayerF32<'a> {
    /// `[d_model]`.
    pub norm: &'a [f32],
    /// `[d_model]`; empty for RMSNorm.
    pub norm_bias: &'a [f32],
    /// `[2 * d_inner, d_model]`.
    pub in_proj: &'a [f32],
    /// `[d_inner, d_conv]`.
    pub conv1d: &'a [f32],
    /// `[d_inner]`.
    pub conv_bias: &'a [f32],
    /// `[dt_rank + 2 * d_state, d_inner]`.
    pub x_proj: &'a [f32],
    /// `[d_inner, dt_rank]`.
    pub dt_proj: &'a [f32],
    /// `[d_inner]`.
    pub dt_bias: &'a [f32],
    /// `[d_inner, d_state]`, `A = -exp(A_log)`, negative.
    pub a: &'a [f32],
    /// `[d_inner]`.
    pub d_skip: &'a [f32],
    /// `[d_model, d_inner]`.
    pub out_proj: &'a [f32],
}

/// A model in f32, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct ModelF32<'a> {
    /// The shape.
    pub dims: Dims,
    /// Epsilon of the norms.
    pub norm_eps: f32,
    /// `[256, d_model]`.
    pub embedding: &'a [f32],
    /// The layers.
    pub layers: &'a [LayerF32<'a>],
    /// `[d_model]`.
    pub norm_f: &'a [f32],
    /// `[d_model]`; empty for RMSNorm.
    pub norm_f_bias: &'a [f32],
    /// `[256, d_model]`; the embedding if tied.
    pub head: &'a [f32],
}

/// A slice has another length than the shape says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ShapeError {
    /// Layer, `n_layer` for what belongs to none.
    pub layer: usize,
    /// Name of the slice.
    pub tensor: &'static str,
    /// Elements needed.
    pub need: usize,
    /// Elements given.
    pub have: usize,
}

impl core::fmt::Display for ShapeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "layer {}, {}: {} elements needed, {} given", self.layer, self.tensor, self.need, self.have)
    }
}

impl core::error::Error for ShapeError {}

/// f32 elements of the state: per layer `[d_conv - 1, d_inner]` convolution input and `[d_inner, d_state]` h.
pub const fn state_len(dims: &Dims) -> usize {
    dims.state_len()
}

/// f32 elements of scratch memory.
pub const fn scratch_len(dims: &Dims) -> usize {
    2 * dims.d_model + 5 * dims.d_inner + dims.x_proj_rows()
}

/// The f32 step over borrowed weights, state and scratch.
pub struct StepF32<'a, 'm> {
    model: ModelF32<'a>,
    state: &'m mut [f32],
    scratch: &'m mut [f32],
}

impl<'a, 'm> StepF32<'a, 'm> {
    /// Checks every length once. The state is taken as it is: zeros before the first byte.
    ///
    /// # Errors
    /// [`ShapeError`] names the first slice of a wrong length.
    pub fn new(model: ModelF32<'a>, state: &'m mut [f32], scratch: &'m mut [f32]) -> Result<Self, ShapeError> {
        let dims = &model.dims;
        let (d, di, n_layer) = (dims.d_model, dims.d_inner, dims.n_layer);
        let check = |layer, tensor, need, have| {
            if need == have { Ok(()) } else { Err(ShapeError { layer, tensor, need, have }) }
        };
        let bias = if dims.norm == Norm::Layer { d } else { 0 };
        check(n_layer, "layers", n_layer, model.layers.len())?;
        check(n_layer, "embedding", VOCAB * d, model.embedding.len())?;
        check(n_layer, "head", VOCAB * d, model.head.len())?;
        check(n_layer, "norm_f", d, model.norm_f.len())?;
        check(n_layer, "norm_f_bias", bias, model.norm_f_bias.len())?;
        check(n_layer, "state", state_len(dims), state.len())?;
        check(n_layer, "scratch", scratch_len(dims), scratch.len())?;
        for (index, l) in model.layers.iter().enumerate() {
            check(index, "norm", d, l.norm.len())?;
            check(index, "norm_bias", bias, l.norm_bias.len())?;
            check(index, "in_proj", 2 * di * d, l.in_proj.len())?;
            check(index, "conv1d", di * dims.d_conv, l.conv1d.len())?;
            check(index, "conv_bias", di, l.conv_bias.len())?;
            check(index, "x_proj", dims.x_proj_rows() * di, l.x_proj.len())?;
            check(index, "dt_proj", di * dims.dt_rank, l.dt_proj.len())?;
            check(index, "dt_bias", di, l.dt_bias.len())?;
            check(index, "a", di * dims.d_state, l.a.len())?;
            check(index, "d_skip", di, l.d_skip.len())?;
            check(index, "out_proj", d * di, l.out_proj.len())?;
        }
        Ok(Self { model, state, scratch })
    }

    /// Reads one byte; `logits` are those of the next one.
    ///
    /// # Errors
    /// [`NotFinite`] names the first part of the step whose output is NaN or infinite. The state is lost then, and the
    /// logits are no logits.
    pub fn step(&mut self, byte: u8, logits: &mut [f32; VOCAB]) -> Result<(), NotFinite> {
        self.step_probed(byte, logits, &mut ())
    }

    /// As [`StepF32::step`], showing activations to `probe`.
    ///
    /// # Errors
    /// As [`StepF32::step`]; the probe has seen what is not finite.
    pub fn step_probed(
        &mut self,
        byte: u8,
        logits: &mut [f32; VOCAB],
        probe: &mut impl Probe,
    ) -> Result<(), NotFinite> {
        let ModelF32 { dims, norm_eps, embedding, layers, norm_f, norm_f_bias, head } = self.model;
        let (d, di) = (dims.d_model, dims.d_inner);
        let (res, rest) = self.scratch.split_at_mut(d);
        let (u, rest) = rest.split_at_mut(d);
        let (xz, rest) = rest.split_at_mut(2 * di);
        let (delta, rest) = rest.split_at_mut(di);
        let (dx, rest) = rest.split_at_mut(di);
        let (y, dtbc) = rest.split_at_mut(di);
        let row = &embedding[byte as usize * d..][..d];
        res.copy_from_slice(row);
        for (index, (l, state)) in layers.iter().zip(self.state.chunks_exact_mut(dims.layer_state_len())).enumerate() {
            norm(res, l.norm, l.norm_bias, norm_eps, u);
            probe.record(index, Site::NormOut, u);
            matvec(l.in_proj, u, xz);
            let (x, z) = xz.split_at_mut(di);
            probe.record(index, Site::ConvIn, x);
            probe.record(index, Site::Gate, z);
            let (history, h) = state.split_at_mut(dims.conv_state_len());
            conv1d(x, history, l.conv1d, l.conv_bias, dims.d_conv);
            probe.record(index, Site::ConvOut, x);
            x.iter_mut().for_each(|x| *x = silu(*x));
            probe.record(index, Site::X, x);
            matvec(l.x_proj, x, dtbc);
            let (dt, bc) = dtbc.split_at(dims.dt_rank);
            let (b, c) = bc.split_at(dims.d_state);
            probe.record(index, Site::Dt, dt);
            probe.record(index, Site::B, b);
            probe.record(index, Site::C, c);
            matvec(l.dt_proj, dt, delta);
            delta.iter_mut().zip(l.dt_bias).for_each(|(v, b)| *v += b);
            probe.record(index, Site::DtPre, delta);
            for ((delta, dx), &x) in delta.iter_mut().zip(dx.iter_mut()).zip(&*x) {
                *delta = softplus(*delta);
                *dx = *delta * x;
            }
            probe.record(index, Site::DeltaX, dx);
            let n = dims.d_state;
            let channels = h.chunks_exact_mut(n).zip(l.a.chunks_exact(n)).zip(delta.iter().zip(&*dx));
            for (((h, a), (&delta, &dx)), y) in channels.zip(y.iter_mut()) {
                let mut sum = 0.0;
                for (((h, &a), &b), &c) in h.iter_mut().zip(a).zip(b).zip(c) {
                    *h = math::exp(delta * a) * *h + dx * b;
                    sum += c * *h;
                }
                *y = sum;
            }
            probe.record(index, Site::H, h);
            y.iter_mut().zip(l.d_skip.iter().zip(&*x)).for_each(|(y, (d, x))| *y += d * x);
            probe.record(index, Site::Y, y);
            y.iter_mut().zip(&*z).for_each(|(y, &z)| *y *= silu(z));
            probe.record(index, Site::Gated, y);
            for (res, row) in res.iter_mut().zip(l.out_proj.chunks_exact(di)) {
                *res += dot(row, y);
            }
            probe.record(index, Site::Residual, res);
            if !all_finite(res) {
                let (embedding, newest) = ((index == 0).then_some(row), &history[(dims.d_conv - 2) * di..]);
                let left = Left { embedding, u, newest, z, x, dtbc, delta, dx, h, c, y };
                return Err(left.first(index));
            }
        }
        norm(res, norm_f, norm_f_bias, norm_eps, u);
        probe.record(dims.n_layer, Site::HeadIn, u);
        matvec(head, u, logits);
        if all_finite(logits) {
            return Ok(());
        }
        Err(NotFinite { layer: None, stage: if all_finite(u) { Stage::Head } else { Stage::Norm } })
    }
}

/// `sum_j a[j] * b[j]` in sixteen lanes, which LLVM turns into vectors.
#[inline]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + tail
}

fn matvec(w: &[f32], x: &[f32], y: &mut [f32]) {
    for (y, row) in y.iter_mut().zip(w.chunks_exact(x.len())) {
        *y = dot(row, x);
    }
}

/// NaN where squares overflow: see [`not_finite`].
fn norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = if bias.is_empty() { 0.0 } else { x.iter().sum::<f32>() / n };
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n;
    let scale = if variance.is_finite() { 1.0 / math::sqrt(variance + eps) } else { f32::NAN };
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = (x - mean) * scale * w;
    }
    out.iter_mut().zip(bias).for_each(|(out, b)| *out += b);
}

fn conv1d(x: &mut [f32], history: &mut [f32], w: &[f32], bias: &[f32], d_conv: usize) {
    let di = x.len();
    for (d, (x, (w, bias))) in x.iter_mut().zip(w.chunks_exact(d_conv).zip(bias)).enumerate() {
        let newest = *x;
        let mut sum = bias + w[d_conv - 1] * newest;
        for k in 0..d_conv - 1 {
            sum += w[k] * history[k * di + d];
        }
        for k in 1..d_conv - 1 {
            history[(k - 1) * di + d] = history[k * di + d];
        }
        history[(d_conv - 2) * di + d] = newest;
        *x = sum;
    }
}

fn silu(x: f32) -> f32 {
    x / (1.0 + math::exp(-x))
}

fn softplus(v: f32) -> f32 {
    if v > 20.0 { v } else { math::ln_1p(math::exp(v)) }
}
