//! One byte on several threads: [`Member`] computes a share of every layer.
//!
//! A step has four phases a layer; after each, members exchange what they computed:
//!
//! ```text
//! input    u = norm(res); x, z = in_proj u; x = silu(conv1d(x))   own channels    -> x, all channels to all
//! select   dt, B, C = x_proj x                                    own rows        -> dt, B, C to all
//! scan     delta, h, y; g = (y + D x) * silu(z)                   own channels    -> g, all channels to all
//! output   res += out_proj g                                      own rows        -> res to all
//! ```
//!
//! The norm is computed by every member for itself: it costs less than handing it over. Rows and channels do not depend
//! on each other within a phase and the shift of the gate is the largest of all, so the bits are those of
//! [`Decoder::step`](crate::Decoder::step). Threads and their meeting points are the business of `mambabyte-host`.

use core::ops::{DerefMut, Range};

use crate::blob::{Blob, LayerView};
use crate::dims::{Dims, VOCAB};
use crate::prefill::{part, words};
use crate::projection::Matrix;
use crate::simd::{Backend, Gate, Kernels, gate_shift, with_kernels};
use crate::state::StateError;

/// What one member of a team computes of every layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Channels, of `d_inner`. This and all other ranges begin at multiples of 64, and end at one or at the last row.
    pub channels: Range<usize>,
    /// Rows of `x_proj`.
    pub select: Range<usize>,
    /// Rows of `out_proj`, of `d_model`.
    pub output: Range<usize>,
    /// Rows of the head, of 256.
    pub head: Range<usize>,
}

impl Share {
    /// The share of member `index` of `members`. Shares tile every range; all but the last end at multiples of 64,
    /// so that vectors and panels of tiles are full. A share of a small model can be empty.
    pub fn of(dims: &Dims, index: usize, members: usize) -> Self {
        let range = |n: usize, step: usize| {
            let blocks = n.div_ceil(step);
            let at = |i: usize| (blocks * i / members.max(1) * step).min(n);
            at(index)..at(index + 1)
        };
        Self {
            channels: range(dims.d_inner, 64),
            select: range(dims.x_proj_rows(), 64),
            output: range(dims.d_model, 64),
            head: range(VOCAB, 16),
        }
    }

    /// i16 elements of the state of one layer: `[d_conv - 1, channels]`, then `[d_state, channels]`.
    pub fn layer_state_len(&self, dims: &Dims) -> usize {
        (dims.d_conv - 1 + dims.d_state) * self.channels.len()
    }

    /// Copies the own channels of one layer's state (see [`State`](crate::State)) out of it.
    pub fn take_state(&self, dims: &Dims, layer: &[i16], own: &mut [i16]) {
        let (width, n) = (dims.d_inner.max(1), self.channels.len().max(1));
        for (all, own) in layer.chunks_exact(width).zip(own.chunks_exact_mut(n)) {
            if let Some(all) = all.get(self.channels.clone()) {
                own.copy_from_slice(all);
            }
        }
    }

    /// The way back of [`Share::take_state`].
    pub fn put_state(&self, dims: &Dims, own: &[i16], layer: &mut [i16]) {
        let (width, n) = (dims.d_inner.max(1), self.channels.len().max(1));
        for (all, own) in layer.chunks_exact_mut(width).zip(own.chunks_exact(n)) {
            if let Some(all) = all.get_mut(self.channels.clone()) {
                all.copy_from_slice(own);
            }
        }
    }

    /// Bytes of [`Share::take_strided`] for one layer.
    pub fn strided_len(&self, dims: &Dims) -> usize {
        (dims.d_conv + dims.a_log_rows()) * self.channels.len()
    }

    /// Copies the own channels of the two tensors in which they do not lie together, convolution weights and `a_log`.
    pub fn take_strided(&self, dims: &Dims, layer: &LayerView<'_>, own: &mut [u8]) {
        let (width, n) = (dims.d_inner.max(1), self.channels.len().max(1));
        let conv: &[u8] = bytemuck::cast_slice(layer.conv);
        let rows = conv.chunks_exact(width).chain(layer.a_log.chunks_exact(width));
        for (all, own) in rows.zip(own.chunks_exact_mut(n)) {
            if let Some(all) = all.get(self.channels.clone()) {
                own.copy_from_slice(all);
            }
        }
    }
}

/// One of the threads that share a step.
pub struct Member<'b, S> {
    blob: Blob<'b>,
    backend: Backend,
    share: Share,
    scratch: S,
}

struct Scratch<'s> {
    residual: &'s mut [i32],
    u: &'s mut [i16],
    /// All channels; own ones until `input` ends.
    x: &'s mut [i16],
    /// `x` in the order of the kernels, then the gated output.
    packed: &'s mut [i16],
    z: &'s mut [i16],
    x_proj: &'s mut [i16],
    log_delta: &'s mut [i16],
    dx: &'s mut [i16],
    powers: &'s mut [i16],
    /// All channels.
    y: &'s mut [i32],
    logits: &'s mut [i32],
}

impl<'s> Scratch<'s> {
    fn split(dims: &Dims, share: &Share, memory: &'s mut [i32]) -> Self {
        let skip = memory.as_ptr().align_offset(64).min(16);
        let mut rest = memory.get_mut(skip..).unwrap_or(&mut []);
        let rest = &mut rest;
        let own = share.channels.len();
        Self {
            residual: part(rest, dims.d_model),
            u: part(rest, dims.d_model),
            x: part(rest, dims.d_inner),
            packed: part(rest, dims.d_inner),
            z: part(rest, own),
            x_proj: part(rest, dims.x_proj_rows()),
            log_delta: part(rest, own),
            dx: part(rest, own),
            powers: part(rest, own),
            y: part(rest, dims.d_inner),
            logits: part(rest, VOCAB),
        }
    }
}

impl Dims {
    /// i32 words of scratch memory of a [`Member`].
    pub const fn member_len(&self) -> usize {
        let wide = words(self.d_inner, 2);
        16 + words(self.d_model, 4)
            + words(self.d_model, 2)
            + 6 * wide
            + words(self.x_proj_rows(), 2)
            + words(self.d_inner, 4)
            + VOCAB
    }
}

impl<'b, S: DerefMut<Target = [i32]>> Member<'b, S> {
    /// A member with `share` of the work.
    ///
    /// * `scratch`: at least [`Dims::member_len`] elements, contents irrelevant.
    ///
    /// # Errors
    /// [`StateError::TooSmall`].
    pub fn new(blob: Blob<'b>, backend: Backend, share: Share, scratch: S) -> Result<Self, StateError> {
        let (need, have) = (blob.dims().member_len(), scratch.len());
        if have < need {
            return Err(StateError::TooSmall { what: "scratch memory of the member", need, have });
        }
        Ok(Self { blob, backend: backend.for_blob(&blob), share, scratch })
    }

    /// What this member computes.
    pub const fn share(&self) -> &Share {
        &self.share
    }

    fn parts(&mut self) -> (Dims, &Share, Scratch<'_>) {
        let dims = *self.blob.dims();
        (dims, &self.share, Scratch::split(&dims, &self.share, &mut self.scratch))
    }

    /// All of `x` `[d_inner]`, to fill in what others computed before [`Member::select`].
    pub fn x(&mut self) -> &mut [i16] {
        self.parts().2.x
    }

    /// All of dt, B, C `[x_proj_rows]`, to fill in what others computed before [`Member::scan`].
    pub fn selected(&mut self) -> &mut [i16] {
        self.parts().2.x_proj
    }

    /// All of the gated output `[d_inner]`, to fill in what others computed before [`Member::output`].
    pub fn gated(&mut self) -> &mut [i32] {
        self.parts().2.y
    }

    /// All of the residual stream `[d_model]`, to fill in what others computed before the next layer or the head.
    pub fn residual(&mut self) -> &mut [i32] {
        self.parts().2.residual
    }

    /// Begins a step.
    pub fn embed(&mut self, byte: u8) {
        let (codes, rows) = self.blob.embedding();
        let (head, backend) = (self.blob.head, self.backend);
        let (dims, _, Scratch { residual, .. }) = self.parts();
        let code = codes.get(byte as usize).copied().unwrap_or(0);
        let row = rows.chunks_exact(dims.d_model.max(1)).nth(byte as usize).unwrap_or(&[]);
        with_kernels!(backend, |k| k.embed(row, code, head.embedding_shift, residual));
    }

    /// Norm, input projection and convolution; the own channels of [`Member::x`] are then done.
    ///
    /// * `state`: the own part of this layer's state; `strided`: see [`Share::take_strided`].
    pub fn input(&mut self, layer: &LayerView<'_>, state: &mut [i16], strided: &[u8]) {
        let (eps, backend) = (self.blob.head.norm_eps, self.backend);
        let (dims, share, Scratch { residual, u, x, z, .. }) = self.parts();
        let (own, p) = (share.channels.clone(), layer.params);
        let Some(x) = x.get_mut(own.clone()) else { return };
        let history = state.get_mut(..(dims.d_conv - 1) * own.len()).unwrap_or(&mut []);
        let conv = bytemuck::cast_slice(strided.get(..dims.d_conv * own.len()).unwrap_or(&[]));
        let code = layer.conv_code.get(own.clone()).unwrap_or(&[]);
        let bias = layer.conv_bias.get(own.clone()).unwrap_or(&[]);
        let (w_x, w_z) = (Matrix::in_proj_x(layer, &dims), Matrix::in_proj_z(layer, &dims));
        with_kernels!(backend, |k| {
            k.norm(residual, layer.norm_weight, layer.norm_bias, p.norm_shift, eps, u);
            k.pack(u);
            w_x.rows(&own, dims.d_model).to_i16(k, p.in_proj_shift, u, x);
            w_z.rows(&own, dims.d_model).to_i16(k, p.in_proj_shift, u, z);
            k.conv1d_silu(x, history, conv, code, bias, p.conv_shift, p.x_frac);
        });
    }

    /// The own rows of [`Member::selected`].
    pub fn select(&mut self, layer: &LayerView<'_>) {
        let backend = self.backend;
        let (dims, share, Scratch { x, packed, x_proj, .. }) = self.parts();
        let own = share.select.clone();
        let x_proj_rows = Matrix::x_proj(layer, &dims).rows(&own, dims.d_inner);
        let Some(out) = x_proj.get_mut(own.clone()) else { return };
        packed.copy_from_slice(x);
        with_kernels!(backend, |k| {
            k.pack(packed);
            x_proj_rows.to_i16(k, layer.params.x_proj_shift, packed, out);
        });
        let limit = dims.c_limit() as i16;
        for (row, c) in own.zip(out) {
            if row >= dims.dt_rank + dims.d_state {
                *c = (*c).clamp(-limit, limit);
            }
        }
    }

    /// Step sizes, scan and gate; the own channels of [`Member::gated`] are then done. Returns the bits of their
    /// magnitudes, or-ed: [`Member::output`] needs that of all members.
    pub fn scan(&mut self, layer: &LayerView<'_>, state: &mut [i16], strided: &[u8]) -> u32 {
        let backend = self.backend;
        let (dims, share, Scratch { x, z, x_proj, log_delta, dx, powers, y, .. }) = self.parts();
        let (own, p) = (share.channels.clone(), layer.params);
        let (Some(x), Some(y)) = (x.get_mut(own.clone()), y.get_mut(own.clone())) else { return 0 };
        let h = state.get_mut((dims.d_conv - 1) * own.len()..).unwrap_or(&mut []);
        let a_log = strided.get(dims.d_conv * own.len()..).unwrap_or(&[]);
        let dt_proj = Matrix::dt_proj(layer, &dims).rows(&own, dims.dt_rank);
        let bias = layer.dt_bias.get(own.clone()).unwrap_or(&[]);
        let state_code = layer.state_code.get(own.clone()).unwrap_or(&[]);
        let Some((dt, bc)) = x_proj.split_at_checked(dims.dt_rank) else { return 0 };
        let Some((b, c)) = bc.split_at_checked(dims.d_state) else { return 0 };
        let gate = Gate {
            d_skip: layer.d_skip.get(own.clone()).unwrap_or(&[]),
            state_code,
            y_shift: p.y_shift,
            d_shift: p.d_shift,
            gate_shift: p.gate_shift,
            z_frac: p.z_frac,
        };
        with_kernels!(backend, |k| {
            dt_proj.log_delta(k, p.dt_proj_shift, dt, bias, log_delta);
            k.delta_x(x, log_delta, p.dx_base, state_code, dx);
            if dims.tied_decays {
                k.first_decay(log_delta, a_log, p.a_base);
                k.scan_tied(h, b, c, log_delta, powers, dx, y);
            } else {
                k.scan_free(h, a_log, p.a_base, b, c, log_delta, dx, y);
            }
            k.gate_wide(&gate, y, x, z)
        })
    }

    /// The own rows of [`Member::residual`]. `largest`: the results of [`Member::scan`] of all members, or-ed.
    pub fn output(&mut self, layer: &LayerView<'_>, largest: u32) {
        let backend = self.backend;
        let (dims, share, Scratch { packed, y, residual, .. }) = self.parts();
        let own = share.output.clone();
        let out_proj = Matrix::out_proj(layer, &dims).rows(&own, dims.d_inner);
        let Some(residual) = residual.get_mut(own) else { return };
        let down = gate_shift(largest);
        with_kernels!(backend, |k| {
            k.gate_narrow(y, down, packed);
            k.pack(packed);
            out_proj.add(k, layer.params.out_proj_shift - down, packed, residual);
        });
    }

    /// The logits of the own rows of the head.
    pub fn head(&mut self) -> &[i32] {
        let (head, backend) = (self.blob.head, self.backend);
        let (weight, bias) = self.blob.norm_f();
        let (codes, matrix) = self.blob.head();
        let (dims, share, Scratch { residual, u, logits, .. }) = self.parts();
        let own = share.head.clone();
        let (w, code) = rows(matrix, codes, &own, dims.d_model);
        let Some(logits) = logits.get_mut(own) else { return &[] };
        with_kernels!(backend, |k| {
            k.norm(residual, weight, bias, head.norm_f_shift, head.norm_eps, u);
            k.pack(u);
            k.matvec_i32(w, code, head.head_shift, u, logits);
        });
        logits
    }
}

/// Rows `range` of a matrix and their codes.
fn rows<'w>(w: &'w [i8], code: &'w [u8], range: &Range<usize>, columns: usize) -> (&'w [i8], &'w [u8]) {
    let w = w.get(range.start * columns..range.end * columns).unwrap_or(&[]);
    (w, code.get(range.clone()).unwrap_or(&[]))
}
