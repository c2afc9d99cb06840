//! Weights as `decode.cu` reads them: one stream per warp, in the order in which it uses them.
//!
//! A unit of 512 bytes gives each lane 16: in bf16 the first operand of `mma.m16n8k16` for one tile of 16 x 16; in i8
//! two such tiles, widened in registers. bf16 is rounded to the nearest even; i8 weights are whole numbers of the steps
//! that their rows come with.

use half::bf16;
use mambabyte_core::{Dims, VOCAB};
use rayon::prelude::*;

use super::form::Form;
use super::plan::{Plan, TILE};
use crate::Checkpoint;
use crate::checkpoint::Layer;
use crate::dequantize::{LayerSteps, RowSteps};

/// A matrix whose rows are padded and reordered to whole tiles.
struct Rows<'a> {
    data: &'a [f32],
    columns: usize,
    /// Row of `data` that each padded row holds.
    of: Vec<Option<usize>>,
    /// Step of each padded row; 1 in bf16.
    scale: Vec<f32>,
    /// Products with the norm's weight and bias; none without a bias.
    sum: Vec<f32>,
    bias: Vec<f32>,
}

impl<'a> Rows<'a> {
    /// `steps` are those of the rows of `data`, in i8.
    fn new(data: &'a [f32], columns: usize, of: Vec<Option<usize>>, steps: Option<&[f32]>) -> Self {
        let scale = |row: &Option<usize>| row.zip(steps).and_then(|(r, steps)| steps.get(r)).map_or(1.0, |&step| step);
        Self { scale: of.iter().map(scale).collect(), data, columns, of, sum: Vec::new(), bias: Vec::new() }
    }

    fn plain(data: &'a [f32], columns: usize, steps: Option<&[f32]>) -> Self {
        let rows = data.len() / columns;
        Self::new(data, columns, (0..rows.next_multiple_of(TILE)).map(|r| (r < rows).then_some(r)).collect(), steps)
    }

    /// What the kernel multiplies the normed residual stream with.
    fn after_norm(data: &'a [f32], layer: &Layer, dims: &Dims, steps: Option<&[f32]>) -> Self {
        let mut rows = Self::plain(data, dims.d_model, steps);
        if !layer.norm_bias.is_empty() {
            let form = if steps.is_some() { Form::I8 } else { Form::Bf16 };
            rows.sum = rows.times(form, &layer.norm);
            rows.bias = rows.times(form, &layer.norm_bias);
        }
        rows
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        match self.of[row] {
            Some(r) if column < self.columns => self.data[r * self.columns + column],
            _ => 0.0,
        }
    }

    fn bf16(&self, row: usize, column: usize) -> bf16 {
        bf16::from_f32(self.at(row, column))
    }

    fn i8(&self, row: usize, column: usize) -> i8 {
        (self.at(row, column) / self.scale[row]).round() as i8
    }

    /// The weight that the kernel multiplies with, times its scale.
    fn real(&self, form: Form, row: usize, column: usize) -> f32 {
        match form {
            Form::Bf16 => self.bf16(row, column).to_f32(),
            Form::I8 => self.i8(row, column) as f32 * self.scale[row],
        }
    }

    /// `sum_k real[row, k] * v[k]` of every padded row.
    fn times(&self, form: Form, v: &[f32]) -> Vec<f32> {
        let row = |r| (0..self.columns).map(|k| self.real(form, r, k) as f64 * v[k] as f64).sum::<f64>() as f32;
        (0..self.of.len()).into_par_iter().map(row).collect()
    }
}

/// Row and column in its tile of element `index` (0..8) of what lane `lane` holds.
const fn element(lane: usize, index: usize) -> (usize, usize) {
    let (row, column) = (lane / 4, lane % 4 * 2);
    (row + index / 2 % 2 * 8, column + index % 2 + index / 4 * 8)
}

/// The tensors of one layer, in tiles.
struct LayerRows<'a> {
    x: Rows<'a>,
    z: Rows<'a>,
    x_proj: Rows<'a>,
    dt_proj: Rows<'a>,
    out_proj: Rows<'a>,
}

impl<'a> LayerRows<'a> {
    fn new(layer: &'a Layer, steps: Option<&LayerSteps>, dims: &Dims, plan: &Plan) -> Self {
        let half = dims.d_inner * dims.d_model;
        let selected = |row: usize| {
            let first = plan.kd * TILE;
            if row < first {
                (row < dims.dt_rank).then_some(row)
            } else {
                (row - first < 2 * dims.d_state).then_some(dims.dt_rank + row - first)
            }
        };
        let rows = (0..(plan.kd + plan.kbc) * TILE).map(selected).collect();
        Self {
            x: Rows::after_norm(&layer.in_proj[..half], layer, dims, steps.map(|s| &s.in_proj[..dims.d_inner])),
            z: Rows::after_norm(&layer.in_proj[half..], layer, dims, steps.map(|s| &s.in_proj[dims.d_inner..])),
            x_proj: Rows::new(&layer.x_proj, dims.d_inner, rows, steps.map(|s| &s.x_proj[..])),
            dt_proj: Rows::plain(&layer.dt_proj, dims.dt_rank, steps.map(|s| &s.dt_proj[..])),
            out_proj: Rows::plain(&layer.out_proj, dims.d_inner, steps.map(|s| &s.out_proj[..])),
        }
    }
}

/// One warp's stream as it grows.
struct Writer {
    form: Form,
    bytes: Vec<u8>,
}

impl Writer {
    /// One unit: `tiles` are (matrix, tile of rows, k-tile); one in bf16, one or two in i8.
    fn unit(&mut self, tiles: &[(&Rows<'_>, usize, usize)]) {
        for lane in 0..32 {
            match self.form {
                Form::Bf16 => {
                    let (m, row, k) = tiles[0];
                    for index in 0..8 {
                        let (r, c) = element(lane, index);
                        self.bytes.extend(m.bf16(row * TILE + r, k * TILE + c).to_le_bytes());
                    }
                }
                Form::I8 => {
                    for part in 0..2 {
                        for index in 0..8 {
                            let (r, c) = element(lane, index);
                            let tile = tiles.get(part);
                            let w = tile.map_or(0, |(m, row, k)| m.i8(row * TILE + r, k * TILE + c));
                            self.bytes.push(w as u8);
                        }
                    }
                }
            }
        }
    }

    fn floats(&mut self, values: impl IntoIterator<Item = f32>) {
        self.bytes.extend(values.into_iter().flat_map(f32::to_le_bytes));
    }

    /// Row `tile` of 16 values, with zeros after the end.
    fn row(&mut self, values: impl IntoIterator<Item = f32>, tile: usize) {
        self.floats(padded(values.into_iter().skip(tile * TILE), TILE));
    }

    /// Zeros up to a multiple of `bytes`.
    fn fill(&mut self, bytes: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(bytes), 0);
    }

    fn skip(&mut self, bytes: usize) {
        self.bytes.resize(self.bytes.len() + bytes, 0);
    }

    /// One tile of rows, the warp's k-tiles.
    fn one(&mut self, m: &Rows<'_>, row: usize, ks: &[usize]) {
        let at_once = if self.form == Form::Bf16 { 1 } else { 2 };
        for ks in ks.chunks(at_once) {
            let tiles: Vec<_> = ks.iter().map(|&k| (m, row, k)).collect();
            self.unit(&tiles);
        }
    }

    /// Two tiles of rows, the warp's k-tiles.
    fn two(&mut self, a: &Rows<'_>, b: &Rows<'_>, row: usize, ks: &[usize]) {
        for &k in ks {
            match self.form {
                Form::Bf16 => {
                    self.unit(&[(a, row, k)]);
                    self.unit(&[(b, row, k)]);
                }
                Form::I8 => self.unit(&[(a, row, k), (b, row, k)]),
            }
        }
    }
}

/// Everything of a model that the kernel reads, on the host. Layouts are those of `Params` in `decode_params.cuh`.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// All streams, one after the other.
    pub(super) stream: Vec<u8>,
    /// Where each warp's stream starts, and the end.
    pub(super) stream_at: Vec<u64>,
    /// Vectors of each block and layer.
    pub(super) side: Vec<u8>,
    pub(super) embedding: Vec<f32>,
    pub(super) norm: Vec<f32>,
    pub(super) head_scale: Vec<f32>,
    pub(super) head_sum: Vec<f32>,
    pub(super) head_bias: Vec<f32>,
    pub(super) a: Vec<f32>,
}

/// `values` and zeros up to `len`.
fn padded(values: impl IntoIterator<Item = f32>, len: usize) -> impl Iterator<Item = f32> {
    values.into_iter().chain(std::iter::repeat(0.0)).take(len)
}

impl Packed {
    /// In i8 if there are steps, else in bf16.
    pub(super) fn new(model: &Checkpoint, steps: Option<&RowSteps>, plan: &Plan) -> Self {
        let dims = &model.dims;
        let form = if steps.is_some() { Form::I8 } else { Form::Bf16 };
        let of_layer = |index: usize| steps.and_then(|s| s.layers.get(index));
        let layers = model.layers.iter().enumerate();
        let layers: Vec<_> = layers.map(|(i, l)| LayerRows::new(l, of_layer(i), dims, plan)).collect();
        let head = model.head.as_ref().unwrap_or(&model.embedding);
        let head = Rows::plain(head, dims.d_model, steps.map(|s| &s.head[..]));
        let mut packed = Self::default();
        let streams: Vec<Vec<u8>> = (0..plan.grid * super::plan::WARPS)
            .into_par_iter()
            .map(|id| stream(&layers, &head, plan, form, id / super::plan::WARPS, id % super::plan::WARPS))
            .collect();
        packed.stream_at.push(0);
        for stream in streams {
            packed.stream.extend(stream);
            packed.stream_at.push(packed.stream.len() as u64);
        }
        let sides: Vec<Vec<u8>> =
            (0..plan.grid).into_par_iter().map(|block| side(model, &layers, plan, form, block)).collect();
        packed.side = sides.concat();
        packed.vectors(model, &head, plan, form);
        packed
    }

    fn vectors(&mut self, model: &Checkpoint, head: &Rows<'_>, plan: &Plan, form: Form) {
        let dims = &model.dims;
        let (width, d_model) = (plan.ki * TILE, plan.km * TILE);
        for row in model.embedding.chunks_exact(dims.d_model) {
            self.embedding.extend(padded(row.iter().copied(), d_model));
        }
        let first = model.layers.first().map_or(&model.norm_f, |l| &l.norm);
        self.norm = padded(first.iter().copied(), d_model).collect();
        for l in &model.layers {
            self.a.extend(padded(l.a_log.iter().map(decay), width * dims.d_state));
        }
        self.head_scale.clone_from(&head.scale);
        if model.norm_f_bias.is_empty() {
            self.head_sum = vec![0.0; VOCAB];
            self.head_bias = vec![0.0; VOCAB];
        } else {
            self.head_sum = head.times(form, &model.norm_f);
            self.head_bias = head.times(form, &model.norm_f_bias);
        }
    }
}

/// `-exp(A_log) * log2(e)`, for powers of two.
fn decay(a_log: &f32) -> f32 {
    -a_log.exp() * std::f32::consts::LOG2_E
}

/// The vectors of one block, layer by layer: `Side` in `decode_weights.cuh`.
fn side(model: &Checkpoint, layers: &[LayerRows<'_>], plan: &Plan, form: Form, block: usize) -> Vec<u8> {
    let dims = &model.dims;
    let bytes = plan.side_bytes(form, dims.d_state);
    let mut all = Vec::with_capacity(model.layers.len() * bytes);
    let of_dt: Vec<usize> = (0..plan.kd).collect();
    for (index, (l, m)) in model.layers.iter().zip(layers).enumerate() {
        let mut to = Writer { form, bytes: Vec::with_capacity(bytes) };
        for own in 0..plan.ki.div_ceil(plan.grid) {
            match plan.channels(block).nth(own) {
                None => to.skip(4 * plan.side_channel(form, dims.d_state)),
                Some(tile) => {
                    for tap in 0..4 {
                        let taps = l.conv1d.iter().skip(tap).step_by(dims.d_conv).take(dims.d_inner);
                        to.row(taps.filter(|_| tap < dims.d_conv).copied(), tile);
                    }
                    to.row(l.conv_bias.iter().copied(), tile);
                    for part in [&m.x, &m.z] {
                        to.row(part.scale.iter().copied(), tile);
                    }
                    for part in [&m.x, &m.z] {
                        to.row(part.sum.iter().copied(), tile);
                    }
                    for part in [&m.x, &m.z] {
                        to.row(part.bias.iter().copied(), tile);
                    }
                    to.row(m.dt_proj.scale.iter().copied(), tile);
                    to.row(l.dt_bias.iter().copied(), tile);
                    to.row(l.d_skip.iter().copied(), tile);
                    let a = l.a_log.iter().skip(tile * TILE * dims.d_state).map(decay);
                    to.floats(padded(a, TILE * dims.d_state));
                    to.one(&m.dt_proj, tile, &of_dt);
                }
            }
        }
        let next = model.layers.get(index + 1).map_or(&model.norm_f, |l| &l.norm);
        for own in 0..plan.km.div_ceil(plan.grid) {
            match plan.residuals(block).nth(own) {
                None => to.skip(2 * 4 * TILE),
                Some(tile) => {
                    to.row(m.out_proj.scale.iter().copied(), tile);
                    to.row(next.iter().copied(), tile);
                }
            }
        }
        for own in 0..(plan.kd + plan.kbc).div_ceil(plan.grid) {
            match plan.projections(block).nth(own) {
                None => to.skip(4 * TILE),
                Some(tile) => to.row(m.x_proj.scale.iter().copied(), tile),
            }
        }
        debug_assert_eq!(to.bytes.len(), bytes);
        all.extend(to.bytes);
    }
    all
}

/// The stream of one warp: what the kernel's `run` takes in one pass.
fn stream(layers: &[LayerRows<'_>], head: &Rows<'_>, plan: &Plan, form: Form, block: usize, warp: usize) -> Vec<u8> {
    let ks = |tiles: usize| Plan::of_warp(warp, tiles).collect::<Vec<_>>();
    let (of_model, of_inner) = (ks(plan.km), ks(plan.ki));
    let mut to = Writer { form, bytes: Vec::new() };
    let chunk = plan.chunk_bytes(form);
    for m in layers {
        for tile in plan.channels(block) {
            to.two(&m.x, &m.z, tile, &of_model);
            to.fill(chunk);
        }
        for tile in plan.projections(block) {
            to.one(&m.x_proj, tile, &of_inner);
            to.fill(chunk);
        }
        for tile in plan.residuals(block) {
            to.one(&m.out_proj, tile, &of_inner);
            to.fill(chunk);
        }
    }
    for tile in plan.heads(block) {
        to.one(head, tile, &of_model);
        to.fill(chunk);
    }
    to.bytes
}
