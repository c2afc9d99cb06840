//! One layer over a chunk of positions, forward and back. Names as in the oracle step of `mambabyte-core`.

use mambabyte_core::Dims;
use mambabyte_core::dims::Norm;

use super::chunk::Starts;
use super::conv::{self, Conv};
use super::math::{add, sigmoid, softplus, vectors};
use super::matrix::{self, Rows};
use super::norm::{self, Normed};
use super::scan::{self, Decays, Inputs};
use crate::Layer;

/// Activations of one layer over a chunk that the way back needs; `[_, width]` each.
#[derive(Default)]
pub(super) struct Kept {
    /// `[_, d_model]`: the residual stream, normalised, before the weight.
    normed: Vec<f32>,
    /// `[_]`: by what it was multiplied for that.
    inverse: Vec<f32>,
    /// `[_, 2 * d_inner]`.
    xz: Vec<f32>,
    /// `[_, d_inner]`, before SiLU.
    conv: Vec<f32>,
    /// `[_, dt_rank + 2 * d_state]`.
    dtbc: Vec<f32>,
    /// `[_, d_inner]`, and the derivative of softplus there.
    delta: Vec<f32>,
    slope: Vec<f32>,
    /// `[_, d_inner]`, with the skip, before the gate.
    y: Vec<f32>,
}

impl Kept {
    /// Floats per position.
    pub(super) const fn floats(dims: &Dims) -> usize {
        dims.d_model + 1 + 6 * dims.d_inner + dims.x_proj_rows()
    }

    fn resize(&mut self, dims: &Dims, len: usize) {
        let di = dims.d_inner;
        self.normed.resize(len * dims.d_model, 0.0);
        self.inverse.resize(len, 0.0);
        self.xz.resize(len * 2 * di, 0.0);
        self.dtbc.resize(len * dims.x_proj_rows(), 0.0);
        for values in [&mut self.conv, &mut self.delta, &mut self.slope, &mut self.y] {
            values.resize(len * di, 0.0);
        }
    }
}

/// Memory for what a layer needs for a moment; `[_, width]` each.
#[derive(Default)]
pub(super) struct Moment {
    /// `[_, d_model]`: the norm's output, and the gradient there.
    pub(super) u: Vec<f32>,
    pub(super) du: Vec<f32>,
    /// `[_, d_inner]`.
    x: Vec<f32>,
    gated: Vec<f32>,
    dx: Vec<f32>,
    dy: Vec<f32>,
    ddelta: Vec<f32>,
    /// `[_, 2 * d_inner]`.
    dxz: Vec<f32>,
    /// `[_, dt_rank + 2 * d_state]`.
    ddtbc: Vec<f32>,
    /// `[d_conv, d_inner]`.
    dconv1d: Vec<f32>,
    scan: scan::Scratch,
}

impl Moment {
    pub(super) fn resize(&mut self, dims: &Dims, len: usize) {
        let di = dims.d_inner;
        for values in [&mut self.u, &mut self.du] {
            values.resize(len * dims.d_model, 0.0);
        }
        for values in [&mut self.x, &mut self.gated, &mut self.dx, &mut self.dy, &mut self.ddelta] {
            values.resize(len * di, 0.0);
        }
        self.dxz.resize(len * 2 * di, 0.0);
        self.ddtbc.resize(len * dims.x_proj_rows(), 0.0);
    }
}

/// One layer's weights as they are computed with.
pub(super) struct LayerPass<'a> {
    dims: &'a Dims,
    l: &'a Layer,
    /// `[d_inner, d_state]`, negative.
    a: &'a [f32],
    /// `[d_conv, d_inner]`.
    conv1d: Vec<f32>,
    eps: f32,
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| values.iter().skip(c).step_by(columns).copied()).collect()
}

impl<'a> LayerPass<'a> {
    pub(super) fn new(dims: &'a Dims, l: &'a Layer, a: &'a [f32], eps: f32) -> Self {
        Self { dims, l, a, conv1d: transposed(&l.conv1d, dims.d_conv), eps }
    }

    fn conv(&self) -> Conv<'_> {
        Conv { w: &self.conv1d, bias: &self.l.conv_bias }
    }

    fn decays(&self) -> Decays<'_> {
        Decays { a: self.a, d_state: self.dims.d_state, tied: self.dims.tied_decays }
    }

    fn centred(&self) -> bool {
        self.dims.norm == Norm::Layer
    }

    /// Adds the layer's output to `res` `[_, d_model]`. `state` is that before the chunk, then that after it.
    pub(super) fn forward(
        &self,
        starts: Starts<'_>,
        res: &mut [f32],
        state: &mut [f32],
        kept: &mut Kept,
        moment: &mut Moment,
    ) {
        let (dims, l) = (self.dims, self.l);
        let (di, d, width) = (dims.d_inner, dims.d_model, dims.x_proj_rows());
        let len = res.len() / d;
        kept.resize(dims, len);
        moment.resize(dims, len);
        let (history, h) = state.split_at_mut(dims.conv_state_len());
        norm::forward(res, self.centred(), self.eps, &mut kept.normed, &mut kept.inverse);
        norm::scale(&kept.normed, &l.norm, &l.norm_bias, &mut moment.u);
        matrix::forward(&l.in_proj, Rows::whole(&moment.u, d), 0.0, Rows::whole(&mut kept.xz, 2 * di));
        self.conv().forward(&kept.xz, starts, history, &mut kept.conv);
        conv::silu(&kept.conv, &mut moment.x);
        matrix::forward(&l.x_proj, Rows::whole(&moment.x, di), 0.0, Rows::whole(&mut kept.dtbc, width));
        kept.delta.chunks_exact_mut(di).for_each(|row| row.copy_from_slice(&l.dt_bias));
        let dt = Rows::first(kept.dtbc.as_slice(), dims.dt_rank, width);
        matrix::forward(&l.dt_proj, dt, 1.0, Rows::whole(&mut kept.delta, di));
        vectors(
            #[inline(always)]
            || {
                for (delta, slope) in kept.delta.iter_mut().zip(&mut kept.slope) {
                    (*delta, *slope) = softplus(*delta);
                }
            },
        );
        let Kept { delta, dtbc, y, xz, .. } = kept;
        let inputs = Inputs { delta, x: &moment.x, dtbc, dt_rank: dims.dt_rank, skip: &l.d_skip, starts };
        scan::forward(&mut moment.scan, self.decays(), &inputs, h, y);
        gate(y, xz, di, &mut moment.gated);
        matrix::forward(&l.out_proj, Rows::whole(&moment.gated, di), 1.0, Rows::whole(res, d));
    }

    /// Turns `dres` `[_, d_model]`, the gradient of the residual after the layer, into that before it, and `dstate`
    /// likewise; adds to `grad`. `state` is that before the chunk.
    pub(super) fn backward(
        &self,
        starts: Starts<'_>,
        (dres, dstate): (&mut [f32], &mut [f32]),
        state: &[f32],
        (kept, moment): (&Kept, &mut Moment),
        grad: &mut Layer,
    ) {
        let (dims, l) = (self.dims, self.l);
        let (di, d, width, rank) = (dims.d_inner, dims.d_model, dims.x_proj_rows(), dims.dt_rank);
        moment.resize(dims, dres.len() / d);
        let Moment { u, du, x, gated, dx, dy, ddelta, dxz, ddtbc, dconv1d, scan } = moment;
        let (history, h) = state.split_at(dims.conv_state_len());
        let (dhistory, dh) = dstate.split_at_mut(dims.conv_state_len());

        gate(&kept.y, &kept.xz, di, gated);
        matrix::to_input(&l.out_proj, Rows::whole(&*dres, d), 0.0, Rows::whole(dy, di));
        matrix::to_weight(&mut grad.out_proj, Rows::whole(&*dres, d), Rows::whole(gated, di));
        gate_back(&kept.y, &kept.xz, di, dy, dxz);

        conv::silu(&kept.conv, x);
        let Kept { delta, dtbc, .. } = kept;
        let inputs = Inputs { delta, x, dtbc, dt_rank: rank, skip: &l.d_skip, starts };
        let (da_log, dskip) = (&mut *grad.a_log, &mut *grad.d_skip);
        let mut out = scan::Out { dy, dh, ddelta, dx, dtbc: ddtbc, da_log, dskip };
        scan::backward(scan, self.decays(), &inputs, h, &mut out);

        let dpre = ddelta;
        vectors(
            #[inline(always)]
            || {
                for (dpre, slope) in dpre.chunks_exact_mut(di).zip(kept.slope.chunks_exact(di)) {
                    dpre.iter_mut().zip(slope).for_each(|(d, slope)| *d *= slope);
                    add(&mut grad.dt_bias, dpre);
                }
            },
        );
        matrix::to_input(&l.dt_proj, Rows::whole(dpre, di), 0.0, Rows::first(ddtbc, rank, width));
        matrix::to_weight(&mut grad.dt_proj, Rows::whole(dpre, di), Rows::first(dtbc, rank, width));
        matrix::to_input(&l.x_proj, Rows::whole(ddtbc, width), 1.0, Rows::whole(dx, di));
        matrix::to_weight(&mut grad.x_proj, Rows::whole(ddtbc, width), Rows::whole(x, di));

        conv::silu_back(&kept.conv, dx);
        dconv1d.clear();
        dconv1d.resize(dims.d_conv * di, 0.0);
        let sums = (&mut **dconv1d, &mut *grad.conv_bias);
        self.conv().backward((&kept.xz, history), starts, dx, (dxz, dhistory), sums);
        add(&mut grad.conv1d, &transposed(dconv1d, di));

        norm::scale(&kept.normed, &l.norm, &l.norm_bias, u);
        matrix::to_input(&l.in_proj, Rows::whole(dxz, 2 * di), 0.0, Rows::whole(du, d));
        matrix::to_weight(&mut grad.in_proj, Rows::whole(dxz, 2 * di), Rows::whole(u, d));
        let norm = Normed { normed: &kept.normed, inverse: &kept.inverse, weight: &l.norm, centred: self.centred() };
        norm::backward(norm, du, dres, &mut grad.norm, &mut grad.norm_bias);
    }
}

/// `gated = y silu(z)`; z is the second half of each row of `xz` `[_, 2 * d_inner]`.
fn gate(y: &[f32], xz: &[f32], d_inner: usize, gated: &mut [f32]) {
    vectors(
        #[inline(always)]
        || {
            let rows = gated.chunks_exact_mut(d_inner).zip(y.chunks_exact(d_inner)).zip(xz.chunks_exact(2 * d_inner));
            for ((gated, y), xz) in rows {
                for ((gated, y), &z) in gated.iter_mut().zip(y).zip(&xz[d_inner..]) {
                    *gated = y * (z * sigmoid(z));
                }
            }
        },
    );
}

/// `dy`, the gradient of the gate's output, becomes that of y; that of z goes to the second half of each row of `dxz`.
fn gate_back(y: &[f32], xz: &[f32], d_inner: usize, dy: &mut [f32], dxz: &mut [f32]) {
    vectors(
        #[inline(always)]
        || {
            let rows = dy.chunks_exact_mut(d_inner).zip(y.chunks_exact(d_inner)).zip(xz.chunks_exact(2 * d_inner));
            for (((dy, y), xz), dxz) in rows.zip(dxz.chunks_exact_mut(2 * d_inner)) {
                let z = xz[d_inner..].iter().zip(&mut dxz[d_inner..]);
                for ((dy, y), (&z, dz)) in dy.iter_mut().zip(y).zip(z) {
                    let s = sigmoid(z);
                    *dz = *dy * y * (s * (1.0 + z * (1.0 - s)));
                    *dy *= z * s;
                }
            }
        },
    );
}
