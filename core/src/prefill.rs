//! Many known bytes at once: [`Prefill`].
//!
//! The same equations as [`step`](crate::step), layer by layer over a block of positions. The projections become
//! products of matrices, so a weight is read once per block and not once per byte; the convolution and the scan go from
//! position to position. Integer sums have no order: state and logits have the bits of stepping, wherever a text is
//! cut into blocks.
//!
//! A block may also hold one byte, or a few, of each of many streams: [`Prefill::layer`] takes the states that its
//! positions belong to. Streams that step together share every read of a weight.

use core::ops::DerefMut;

use crate::blob::{Blob, LayerView};
use crate::dims::{Dims, VOCAB};
use crate::projection::Matrix;
use crate::simd::{Backend, BlockBc, Gate, Kernels, with_kernels};
use crate::state::{State, StateError};
use crate::step::{Logits, take};

/// i32 words of a cache line. Every part of the scratch memory begins at one.
const LINE: usize = 16;

/// Which logits [`Prefill::read`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// None: only the state matters.
    Nothing,
    /// Those after the last byte.
    Last,
    /// Those after every byte.
    All,
}

/// The parts of a layer's work, for a clock: see [`Prefill::layer_timed`] and
/// [`Decoder::step_timed`](crate::Decoder::step_timed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The row of the embedding.
    Embed,
    /// A norm.
    Norm,
    /// The input projection.
    InProj,
    /// Convolution and SiLU.
    Conv,
    /// The projection to dt, B, C.
    XProj,
    /// `log2(softplus(dt_proj dt + dt_bias))`.
    DtProj,
    /// `delta * x`, decays and the scan.
    Scan,
    /// Skip and gate.
    Gate,
    /// The output projection.
    OutProj,
    /// The head.
    Head,
}

impl Stage {
    /// All, in the order of a step.
    pub const ALL: [Stage; 10] = {
        use Stage::*;
        [Embed, Norm, InProj, Conv, XProj, DtProj, Scan, Gate, OutProj, Head]
    };

    /// Name for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Embed => "embed",
            Stage::Norm => "norm",
            Stage::InProj => "in_proj",
            Stage::Conv => "conv",
            Stage::XProj => "x_proj",
            Stage::DtProj => "dt_proj",
            Stage::Scan => "scan",
            Stage::Gate => "gate",
            Stage::OutProj => "out_proj",
            Stage::Head => "head",
        }
    }
}

/// Consecutive positions of a block that belong to one stream.
pub struct Run<'m> {
    /// The stream's state of one layer, `Dims::layer_state_len` elements.
    pub state: &'m mut [i16],
    /// How many positions.
    pub positions: usize,
}

/// Reads blocks of bytes into states.
///
/// ```
/// # use mambabyte_core::{Blob, Decoder, Prefill, State, Want, include_blob};
/// let blob = Blob::parse(include_blob!("../../models/sensor-pico/model.mbb"))?;
/// let text = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M";
/// let mut state = State::new(&blob, vec![0; blob.dims().state_len()])?;
/// let mut prefill = Prefill::new(blob, 16, vec![0; blob.dims().prefill_len(16)])?;
/// let mut last = [0; 256];
/// prefill.read(&mut state, text, Want::Last, &mut |_, logits| last = logits[0]);
///
/// let mut decoder = Decoder::owned(blob);
/// assert_eq!(decoder.prefill(text), Some(&last));
/// assert_eq!(decoder.state().as_slice(), state.as_slice());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Prefill<'b, S> {
    blob: Blob<'b>,
    backend: Backend,
    positions: usize,
    filled: usize,
    scratch: S,
}

/// The parts of the scratch memory, for `filled` positions. `y` and the logits share the last one.
struct Scratch<'s> {
    residual: &'s mut [i32],
    u: &'s mut [i16],
    x: &'s mut [i16],
    z: &'s mut [i16],
    log_delta: &'s mut [i16],
    dx: &'s mut [i16],
    x_proj: &'s mut [i16],
    powers: &'s mut [i16],
    down: &'s mut [u8],
    tail: &'s mut [i32],
}

/// i32 words of a part of `n` elements of `size` bytes, up to the next cache line.
pub(crate) const fn words(n: usize, size: usize) -> usize {
    (n * size).div_ceil(4 * LINE) * LINE
}

/// The first `n` elements of the next part of `rest`.
pub(crate) fn part<'s, T: bytemuck::Pod>(rest: &mut &'s mut [i32], n: usize) -> &'s mut [T] {
    let all = core::mem::take(rest);
    match all.split_at_mut_checked(words(n, size_of::<T>())) {
        Some((head, tail)) => {
            *rest = tail;
            bytemuck::cast_slice_mut::<i32, T>(head).get_mut(..n).unwrap_or(&mut [])
        }
        None => &mut [],
    }
}

impl Dims {
    /// i32 words of scratch memory of a [`Prefill`] over blocks of `positions`: about 30 KB a position at a `d_model`
    /// of 1024.
    pub const fn prefill_len(&self, positions: usize) -> usize {
        let tail = if self.d_inner > VOCAB { self.d_inner } else { VOCAB };
        LINE + words(positions * self.d_model, 4)
            + words(positions * self.d_model, 2)
            + 4 * words(positions * self.d_inner, 2)
            + words(positions * self.x_proj_rows(), 2)
            + words(self.d_inner, 2)
            + words(positions, 1)
            + words(positions * tail, 4)
    }
}

impl<'s> Scratch<'s> {
    /// `memory` may begin anywhere; `n` positions.
    fn split(dims: &Dims, memory: &'s mut [i32], n: usize) -> Self {
        let skip = memory.as_ptr().align_offset(4 * LINE).min(LINE);
        let mut rest = memory.get_mut(skip..).unwrap_or(&mut []);
        let rest = &mut rest;
        Self {
            residual: part(rest, n * dims.d_model),
            u: part(rest, n * dims.d_model),
            x: part(rest, n * dims.d_inner),
            z: part(rest, n * dims.d_inner),
            log_delta: part(rest, n * dims.d_inner),
            dx: part(rest, n * dims.d_inner),
            x_proj: part(rest, n * dims.x_proj_rows()),
            powers: part(rest, dims.d_inner),
            down: part(rest, n),
            tail: part(rest, n * if dims.d_inner > VOCAB { dims.d_inner } else { VOCAB }),
        }
    }
}

impl<'b, S: DerefMut<Target = [i32]>> Prefill<'b, S> {
    /// Blocks of up to `positions` bytes, on the fastest backend of this machine.
    ///
    /// * `scratch`: at least [`Dims::prefill_len`] elements, contents irrelevant.
    ///
    /// # Errors
    /// [`StateError::TooSmall`], also if `positions` is 0.
    pub fn new(blob: Blob<'b>, positions: usize, scratch: S) -> Result<Self, StateError> {
        if positions == 0 {
            return Err(StateError::TooSmall { what: "block of positions", need: 1, have: 0 });
        }
        let (need, have) = (blob.dims().prefill_len(positions), scratch.len());
        if have < need {
            return Err(StateError::TooSmall { what: "scratch memory of the block", need, have });
        }
        Ok(Self { blob, backend: Backend::detect().for_blob(&blob), positions, filled: 0, scratch })
    }

    /// The same on another backend, with the same bits; in scalar code if the blob is in tiles and the backend
    /// is not made for them.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend: backend.for_blob(&self.blob), ..self }
    }

    /// The model.
    pub const fn blob(&self) -> &Blob<'b> {
        &self.blob
    }

    /// Most positions of a block.
    pub const fn positions(&self) -> usize {
        self.positions
    }

    /// Reads `bytes` into `state`, block by block. `see(first, logits)` is shown the logits after bytes `first`,
    /// `first + 1`, ... as far as `want` asks for them.
    ///
    /// # Errors
    /// [`StateError::ForeignModel`] if `state` belongs to another model; it is unchanged then.
    /// # Cost
    /// One multiply-add per weight and byte, one read of every weight per block; the head only for logits that are
    /// wanted. No allocation.
    pub fn read<M: DerefMut<Target = [i16]>>(
        &mut self,
        state: &mut State<M>,
        bytes: &[u8],
        want: Want,
        see: &mut dyn FnMut(usize, &[Logits]),
    ) -> Result<(), StateError> {
        let (expected, found) = (self.blob.fingerprint(), state.fingerprint());
        if expected != found {
            return Err(StateError::ForeignModel { expected, found });
        }
        let mut first = 0;
        for block in bytes.chunks(self.positions) {
            self.embed(block);
            for (index, layer) in state.layers_mut(&self.blob).enumerate() {
                self.layer(index, &mut [Run { state: layer, positions: block.len() }]);
            }
            state.count(block.len() as u64);
            let end = first + block.len();
            match want {
                Want::All => see(first, self.logits()),
                Want::Last if end == bytes.len() => see(end - 1, core::slice::from_ref(self.last_logits())),
                _ => {}
            }
            first = end;
        }
        Ok(())
    }

    /// Begins a block: the rows of the embedding. Bytes beyond [`Prefill::positions`] are left out.
    pub fn embed(&mut self, bytes: &[u8]) {
        let dims = *self.blob.dims();
        self.filled = bytes.len().min(self.positions);
        let Scratch { residual, .. } = Scratch::split(&dims, &mut self.scratch, self.filled);
        let (codes, rows) = self.blob.embedding();
        let base = self.blob.head.embedding_shift;
        with_kernels!(self.backend, |k| {
            for (&byte, residual) in bytes.iter().zip(residual.chunks_exact_mut(dims.d_model.max(1))) {
                let code = codes.get(byte as usize).copied().unwrap_or(0);
                let row = rows.chunks_exact(dims.d_model.max(1)).nth(byte as usize).unwrap_or(&[]);
                k.embed(row, code, base, residual);
            }
        });
    }

    /// Runs layer `index` over the block that [`Prefill::embed`] began. Layers go in order.
    ///
    /// * `runs`: which positions belong to which state; together they are the block.
    pub fn layer(&mut self, index: usize, runs: &mut [Run<'_>]) {
        self.layer_timed(index, runs, &mut |_| ());
    }

    /// [`Prefill::layer`]; `done` hears the end of each of its stages.
    pub fn layer_timed(&mut self, index: usize, runs: &mut [Run<'_>], done: &mut impl FnMut(Stage)) {
        let layer = self.blob.layer(index);
        let eps = self.blob.head.norm_eps;
        let dims = *self.blob.dims();
        let scratch = Scratch::split(&dims, &mut self.scratch, self.filled);
        with_kernels!(self.backend, |k| run(k, &dims, &layer, eps, scratch, runs, done));
    }

    /// The logits after every position of the block.
    pub fn logits(&mut self) -> &[Logits] {
        self.head(0)
    }

    /// The logits after the last position of the block; zeros if it is empty.
    pub fn last_logits(&mut self) -> &Logits {
        match self.head(self.filled.saturating_sub(1)).first() {
            Some(logits) => logits,
            None => &[0; VOCAB],
        }
    }

    /// The last norm and the head, from position `first` on.
    fn head(&mut self, first: usize) -> &[Logits] {
        let dims = *self.blob.dims();
        let Scratch { residual, u, tail, .. } = Scratch::split(&dims, &mut self.scratch, self.filled);
        let (weight, bias) = self.blob.norm_f();
        let (codes, rows) = self.blob.head();
        let head = self.blob.head;
        let from = first * dims.d_model;
        let (Some(residual), Some(u)) = (residual.get(from..), u.get_mut(from..)) else { return &[] };
        let Some(tail) = tail.get_mut(..(self.filled - first) * VOCAB) else { return &[] };
        with_kernels!(self.backend, |k| {
            norm(k, residual, weight, bias, head.norm_f_shift, head.norm_eps, u);
            k.matmul_i32(rows, codes, head.head_shift, u, dims.d_model, tail);
        });
        tail.as_chunks().0
    }
}

/// Norm and order of every position.
#[inline(always)]
fn norm<K: Kernels>(k: K, residual: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
    let d_model = weight.len().max(1);
    for (residual, u) in residual.chunks_exact(d_model).zip(u.chunks_exact_mut(d_model)) {
        k.norm(residual, weight, bias, shift, eps, u);
        k.pack(u);
    }
}

/// One layer over a block.
#[inline(always)]
fn run<K: Kernels>(
    k: K,
    dims: &Dims,
    layer: &LayerView<'_>,
    eps: u64,
    scratch: Scratch<'_>,
    runs: &mut [Run<'_>],
    done: &mut impl FnMut(Stage),
) {
    let Scratch { residual, u, x, z, log_delta, dx, x_proj, powers, down, tail: y } = scratch;
    let (p, d_inner, rows) = (layer.params, dims.d_inner.max(1), dims.x_proj_rows().max(1));
    norm(k, residual, layer.norm_weight, layer.norm_bias, p.norm_shift, eps, u);
    done(Stage::Norm);
    Matrix::in_proj_x(layer, dims).many_to_i16(k, p.in_proj_shift, u, dims.d_model, x);
    Matrix::in_proj_z(layer, dims).many_to_i16(k, p.in_proj_shift, u, dims.d_model, z);
    done(Stage::InProj);
    let mut rest = &mut *x;
    for run in runs.iter_mut() {
        let history = run.state.get_mut(..dims.conv_state_len()).unwrap_or(&mut []);
        let x = take(&mut rest, run.positions * d_inner);
        k.conv1d_silu_block(x, history, layer.conv, layer.conv_code, layer.conv_bias, p.conv_shift, p.x_frac);
    }
    done(Stage::Conv);
    x.chunks_exact_mut(d_inner).for_each(|x| k.pack(x));
    Matrix::x_proj(layer, dims).many_to_i16(k, p.x_proj_shift, x, d_inner, x_proj);
    x.chunks_exact_mut(d_inner).for_each(|x| k.unpack(x));
    let limit = dims.c_limit() as i16;
    for row in x_proj.chunks_exact_mut(rows) {
        row.iter_mut().skip(dims.dt_rank + dims.d_state).for_each(|c| *c = (*c).clamp(-limit, limit));
    }
    done(Stage::XProj);
    let dt_proj = Matrix::dt_proj(layer, dims);
    dt_proj.many_log_delta(k, p.dt_proj_shift, x_proj, dims.dt_rank, rows, layer.dt_bias, log_delta);
    done(Stage::DtProj);
    let channels = x.chunks_exact(d_inner).zip(log_delta.chunks_exact_mut(d_inner));
    for ((x, log_delta), dx) in channels.zip(dx.chunks_exact_mut(d_inner)) {
        k.delta_x(x, log_delta, p.dx_base, layer.state_code, dx);
        if dims.tied_decays {
            k.first_decay(log_delta, layer.a_log, p.a_base);
        }
    }
    let (mut log_delta, mut dx, mut x_proj, mut sums) = (log_delta, dx, x_proj, &mut *y);
    for run in runs {
        let h = run.state.get_mut(dims.conv_state_len()..).unwrap_or(&mut []);
        let bc = BlockBc { x_proj: take(&mut x_proj, run.positions * rows), stride: rows, d_state: dims.d_state };
        let n = run.positions * d_inner;
        let (log_delta, dx, y) = (take(&mut log_delta, n), take(&mut dx, n), take(&mut sums, n));
        if dims.tied_decays {
            k.scan_tied_block(h, bc, log_delta, powers, dx, y);
        } else {
            k.scan_free_block(h, layer.a_log, p.a_base, bc, log_delta, dx, y);
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
    let positions = x.chunks_exact_mut(d_inner).zip(z.chunks_exact_mut(d_inner)).zip(y.chunks_exact_mut(d_inner));
    for (((x, z), y), down) in positions.zip(down.iter_mut()) {
        *down = k.gate(&gate, y, x, z);
        k.pack(x);
    }
    done(Stage::Gate);
    Matrix::out_proj(layer, dims).many_add(k, p.out_proj_shift, down, x, d_inner, residual);
    done(Stage::OutProj);
}
