//! The phases of a Mamba-1 layer. Nowhere else in this crate are they spelled out in integers.
//!
//! ```text
//! input    u = norm(res); x, z = in_proj u; x = silu(conv1d(x))    own channels    -> x, all channels to all
//! select   dt, B, C = x_proj x                                     own rows        -> dt, B, C to all
//! scan     delta, h, y; g = (y + D x) * silu(z)                    own channels    -> g, all channels to all
//! output   res += out_proj g                                       own rows        -> res to all
//! ```
//!
//! After each phase the shards of a [`Team`] exchange what they computed. Every shard computes the norm for itself:
//! that costs less than an exchange. Rows and channels do not depend on each other within a phase, and the shift of the
//! gated output is that of the largest channel of all, so the bits are those of a pass that computes all of a layer.
//!
//! Over many positions the projections are products of matrices, so a weight is read once for all; convolution and scan
//! go from position to position of each stream.

use super::buffers::{Buffers, Run, Shape};
use super::kept::{Kept, keep};
use super::share::Share;
use super::team::Team;
use crate::blob::{LayerParams, LayerView};
use crate::cannot::never;
use crate::dims::Dims;
use crate::simd::{AddToI32, Gate, Kernels, LogDelta, Selected, ToI16, gate_shift};
use crate::span::{Activations, Span};
use crate::stage::Stage;
use crate::weights::WeightsView;

/// A layer as its phases read it: the matrices with all that a kernel must know of them, and its own part of what is
/// per channel.
pub(crate) struct Mamba1<'a> {
    params: &'a LayerParams,
    norm_weight: &'a [i16],
    norm_bias: &'a [i16],
    /// `[2 * d_inner, d_model]`: x, then z.
    in_proj: WeightsView<'a>,
    /// `[own, d_model]`, twice.
    in_proj_x: WeightsView<'a>,
    in_proj_z: WeightsView<'a>,
    /// `[d_conv, own]`.
    conv: &'a [i8],
    conv_code: &'a [u8],
    conv_bias: &'a [i16],
    /// `[own rows, d_inner]`.
    x_proj: WeightsView<'a>,
    /// `[own, dt_rank]`.
    dt_proj: WeightsView<'a>,
    dt_bias: &'a [i16],
    /// `[a_log_rows, own]`.
    a_log: &'a [u8],
    d_skip: &'a [i16],
    state_code: &'a [u8],
    /// `[own rows, d_inner]`.
    out_proj: WeightsView<'a>,
}

impl<'a> Mamba1<'a> {
    /// All of a layer, or a share of it with its strided rows: [`Share::take_strided`].
    #[inline(always)]
    pub(crate) fn new(l: &LayerView<'a>, dims: &Dims, share: Option<(&'a Share, &'a [u8])>) -> Self {
        match share {
            Some((share, strided)) => Self::all(l, dims).part(share, strided),
            None => Self::all(l, dims),
        }
    }

    #[inline(always)]
    fn all(l: &LayerView<'a>, dims: &Dims) -> Self {
        let matrix = |bytes: &'a [i8], codes: &'a [u8], shift: u8, columns: usize| {
            WeightsView::of_rows(bytes, codes, shift, columns).in_tiles_if(l.is_tiled())
        };
        let p = l.params;
        // Tiles have x and z as two matrices.
        let halves = l.in_proj.split_at_checked(l.in_proj.len() / 2).zip(l.in_proj_code.split_at_checked(dims.d_inner));
        let ((w_x, w_z), (code_x, code_z)) = halves.unwrap_or_else(|| never("two halves", ((&[], &[]), (&[], &[]))));
        Self {
            params: p,
            norm_weight: l.norm_weight,
            norm_bias: l.norm_bias,
            in_proj: matrix(l.in_proj, l.in_proj_code, p.in_proj_shift, dims.d_model),
            in_proj_x: matrix(w_x, code_x, p.in_proj_shift, dims.d_model),
            in_proj_z: matrix(w_z, code_z, p.in_proj_shift, dims.d_model),
            conv: l.conv,
            conv_code: l.conv_code,
            conv_bias: l.conv_bias,
            x_proj: matrix(l.x_proj, l.x_proj_code, p.x_proj_shift, dims.d_inner),
            dt_proj: matrix(l.dt_proj, l.dt_proj_code, p.dt_proj_shift, dims.dt_rank),
            dt_bias: l.dt_bias,
            a_log: l.a_log,
            d_skip: l.d_skip,
            state_code: l.state_code,
            out_proj: matrix(l.out_proj, l.out_proj_code, p.out_proj_shift, dims.d_inner),
        }
    }

    fn part(self, share: &Share, strided: &'a [u8]) -> Self {
        let own = &share.channels;
        let taps = self.conv.len() / self.conv_code.len().max(1) * own.len();
        let split = strided.split_at_checked(taps).unwrap_or_else(|| never("strided rows", (&[], &[])));
        Self {
            in_proj_x: self.in_proj_x.part(own),
            in_proj_z: self.in_proj_z.part(own),
            conv: bytemuck::cast_slice(split.0),
            conv_code: part_of(self.conv_code, own),
            conv_bias: part_of(self.conv_bias, own),
            x_proj: self.x_proj.part(&share.select),
            dt_proj: self.dt_proj.part(own),
            dt_bias: part_of(self.dt_bias, own),
            a_log: split.1,
            d_skip: part_of(self.d_skip, own),
            state_code: part_of(self.state_code, own),
            out_proj: self.out_proj.part(&share.output),
            ..self
        }
    }
}

fn part_of<'a, T>(all: &'a [T], range: &core::ops::Range<usize>) -> &'a [T] {
    all.get(range.clone()).unwrap_or_else(|| never("own channels of a tensor", &[]))
}

/// The next `positions` rows of `width` elements of `rest`.
#[inline(always)]
fn take<'b, P: Span, T>(rest: &mut &'b mut [T], positions: usize, width: usize) -> &'b mut [T] {
    if P::ONE {
        return core::mem::take(rest);
    }
    match core::mem::take(rest).split_at_mut_checked(positions * width) {
        Some((head, tail)) => {
            *rest = tail;
            head
        }
        None => never("as many positions as the runs have", &mut []),
    }
}

/// Shifts the columns `new` into `history`, `[d_conv - 1, d_inner]`, oldest first.
fn shift_in(history: &mut [i16], new: &[i16]) {
    let stay = history.len().saturating_sub(new.len());
    let shifted = history.len() - stay;
    history.copy_within(shifted.., 0);
    let newest = new.get(new.len().saturating_sub(history.len())..);
    if let (Some(to), Some(newest)) = (history.get_mut(stay..), newest) {
        keep(to, newest);
    }
}

/// Takes `state` to position `count` of a block that was kept: the convolution's history, then the scan.
#[inline(always)]
pub(crate) fn replay<K: Kernels, P: Span>(
    k: K,
    dims: &Dims,
    layer: &Mamba1<'_>,
    state: &mut [i16],
    kept: &[i16],
    count: usize,
    (powers, y): (&mut [i16], &mut [i32]),
) {
    let (kept, positions) = Kept::of(dims, kept);
    let count = count.min(positions);
    let columns = count * dims.d_inner;
    let (Some(x), Some(decay), Some(dx)) = (kept.x.get(..columns), kept.decay.get(..columns), kept.dx.get(..columns))
    else {
        return never("the columns of a part of the positions", ());
    };
    let rows = kept.selected.get(..count * dims.x_proj_rows());
    let rows = rows.unwrap_or_else(|| never("the rows of a part of the positions", &[]));
    let halves = state.split_at_mut_checked((dims.d_conv - 1) * dims.d_inner);
    let (history, h) = halves.unwrap_or_else(|| never("history and h in a layer's state", (&mut [], &mut [])));
    shift_in(history, x);
    let bc = Selected { rows, dt_rank: dims.dt_rank, d_state: dims.d_state };
    let y = y.get_mut(..columns).unwrap_or_else(|| never("room for the sums of the scan", &mut []));
    if dims.tied_decays {
        k.scan_tied::<P>(h, bc, decay, powers, dx, y);
    } else {
        k.scan_free::<P>(h, layer.a_log, layer.params.a_base, bc, decay, dx, y);
    }
}

/// Takes the positions in `buffers` through the layer.
///
/// * `runs`: the states, and which positions belong to which; together they are all positions.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the layer, the memory, and who takes part")]
pub(crate) fn run<'t, K: Kernels, P: Span, T: Team<'t>>(
    k: K,
    span: &mut P,
    Shape { dims, eps }: Shape<'_>,
    layer: &Mamba1<'_>,
    buffers: &mut Buffers<'_>,
    runs: &mut [Run<'_>],
    team: &mut T,
    done: &mut impl FnMut(Stage),
) -> Option<()> {
    let (p, rows) = (layer.params, dims.x_proj_rows());
    let (d_model, d_inner, own) = (dims.d_model, dims.d_inner, layer.d_skip.len());
    let history_len = (dims.d_conv - 1) * own;
    let Buffers { residual, u, xz, x_proj, log_delta, dx, powers, down, y } = buffers;
    let x_len = if P::ONE { d_inner } else { xz.len() / 2 };
    let keeps = !P::ONE && T::ALONE;

    // Input.
    for (residual, u) in P::rows(residual, d_model).zip(P::rows_mut(u, d_model)) {
        k.norm(residual, layer.norm_weight, layer.norm_bias, p.norm_shift, eps, u);
        k.pack(u);
    }
    done(Stage::Norm);
    let u = Activations::new(u, d_model);
    let joined = P::ONE && T::ALONE && !layer.in_proj.is_tiled();
    if joined {
        // One product instead of two: both halves lie one after the other, in the matrix and in the buffer.
        k.project(layer.in_proj, u, ToI16, span, xz);
    }
    let (x, z) = xz.split_at_mut_checked(x_len).unwrap_or_else(|| never("x and z", (&mut [], &mut [])));
    if !joined {
        k.project(layer.in_proj_x, u, ToI16, span, team.channels(x));
        k.project(layer.in_proj_z, u, ToI16, span, z);
    }
    done(Stage::InProj);
    let mut rest = team.channels(x);
    for run in runs.iter_mut() {
        let state = run.state.get_mut(..history_len);
        let history = state.unwrap_or_else(|| never("the history in a layer's state", &mut []));
        let x = take::<P, _>(&mut rest, run.positions, own);
        if keeps {
            keep(Kept::of_mut(dims, run.keep).x, x);
        }
        for x in P::rows_mut(x, own) {
            k.conv1d_silu(x, history, layer.conv, layer.conv_code, layer.conv_bias, p.conv_shift, p.x_frac);
        }
    }
    done(Stage::Conv);
    team.x(x)?;

    // Select.
    P::rows_mut(x, d_inner).for_each(|x| k.pack(x));
    let (first, selected) = team.select(x_proj);
    k.project(layer.x_proj, Activations::new(x, d_inner), ToI16, span, selected);
    P::rows_mut(x, d_inner).for_each(|x| k.unpack(x));
    let limit = dims.c_limit() as i16;
    for row in P::rows_mut(selected, layer.x_proj.rows()) {
        let c = row.iter_mut().skip((dims.dt_rank + dims.d_state).saturating_sub(first));
        c.for_each(|c| *c = (*c).clamp(-limit, limit));
    }
    done(Stage::XProj);
    team.selected(x_proj)?;

    // Scan.
    k.project(layer.dt_proj, Activations::new(x_proj, rows), LogDelta(layer.dt_bias), span, log_delta);
    done(Stage::DtProj);
    let own_x = team.channels(x);
    let channels = P::rows(own_x, own).zip(P::rows_mut(log_delta, own)).zip(P::rows_mut(dx, own));
    for ((x, log_delta), dx) in channels {
        k.delta_x(x, log_delta, p.dx_base, layer.state_code, dx);
        if dims.tied_decays {
            k.first_decay(log_delta, layer.a_log, p.a_base);
        }
    }
    {
        let (mut rest, mut log_delta, mut dx) = (team.channels(y), &mut **log_delta, &mut **dx);
        let mut x_proj = &mut **x_proj;
        for run in runs {
            let state = run.state.get_mut(history_len..);
            let h = state.unwrap_or_else(|| never("h in a layer's state", &mut []));
            let n = run.positions;
            let bc =
                Selected { rows: take::<P, _>(&mut x_proj, n, rows), dt_rank: dims.dt_rank, d_state: dims.d_state };
            let (l, dx) = (take::<P, _>(&mut log_delta, n, own), take::<P, _>(&mut dx, n, own));
            let y = take::<P, _>(&mut rest, n, own);
            if keeps {
                let kept = Kept::of_mut(dims, run.keep);
                keep(kept.decay, l);
                keep(kept.dx, dx);
                keep(kept.selected, bc.rows);
            }
            if dims.tied_decays {
                k.scan_tied::<P>(h, bc, l, powers, dx, y);
            } else {
                k.scan_free::<P>(h, layer.a_log, p.a_base, bc, l, dx, y);
            }
        }
    }
    done(Stage::Scan);
    let gate = Gate {
        d_skip: layer.d_skip,
        state_code: layer.state_code,
        y_shift: p.y_shift,
        d_shift: p.d_shift,
        gate_shift: p.gate_shift,
        z_frac: p.z_frac,
    };
    let mut one = [0u8];
    let down = if P::ONE { &mut one[..] } else { &mut **down };
    if T::ALONE {
        let positions = P::rows_mut(x, own).zip(P::rows_mut(z, own)).zip(P::rows_mut(y, own));
        for (((x, z), y), down) in positions.zip(down.iter_mut()) {
            *down = k.gate(&gate, y, x, z);
            k.pack(x);
        }
    } else {
        let bits = k.gate_wide(&gate, team.channels(y), team.channels(x), z);
        let shift = gate_shift(team.gated(y, bits)?);
        down.fill(shift);
        k.gate_narrow(y, shift, x);
        k.pack(x);
    }
    done(Stage::Gate);

    // Output.
    k.project(layer.out_proj, Activations::new(x, d_inner), AddToI32(down), span, team.output(residual));
    done(Stage::OutProj);
    team.residual(residual)
}
