//! Many bytes at once: the whole model over chunks of time.
//!
//! Rows of different lengths are read side by side, `[rows, steps]`, in chunks of at most [`TOKENS`] bytes in all, so that
//! memory does not depend on the length of a text. A row that has ended stays where it is: its state is that of its last
//! byte. Between two chunks nothing but the state is carried, and nothing waits for the CPU.

use cudarc::driver::CudaSlice;
use mambabyte_core::VOCAB;

use super::buffer::{Buffer, Element};
use super::gemm::Product;
use super::scan::{ScanArgs, ScanShape};
use super::small::{ConvArgs, EmbedArgs, LogProbArgs, NormArgs};
use super::weights::Weights;
use super::{FloatModel, FloatState};
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// Bytes of a chunk, all rows together. More would not be faster.
pub(crate) const TOKENS: usize = 65_536;

/// What prefill is asked for. The head runs only over positions that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The state alone.
    State,
    /// Logits after the last byte of each row.
    Last,
    /// [`Want::Last`], and of every byte but the first its log-probability given those before.
    LogProbs,
    /// Logits after every byte.
    Logits,
}

/// What prefill found, by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// 256 natural logits after the last byte; empty for an empty row, and if not asked for.
    pub last: Vec<Vec<f32>>,
    /// Natural log-probabilities of the second byte to the last.
    pub log_probs: Vec<Vec<f32>>,
    /// `[bytes, 256]` natural logits after each byte.
    pub logits: Vec<Vec<f32>>,
}

/// Memory for a chunk of `rows` x `steps` bytes; `m` is their product.
#[derive(Debug)]
pub(crate) struct Arena {
    rows: usize,
    steps: usize,
    bytes: CudaSlice<u8>,
    next: CudaSlice<u8>,
    /// `[rows]`, steps of each row in this chunk.
    len: CudaSlice<i32>,
    /// `[m, model]`, f32 in either precision.
    residual: CudaSlice<f32>,
    /// `[m, model]`.
    normed: Buffer,
    /// `[m, 2 inner]`: x, z.
    xz: Buffer,
    /// `[m, inner]`: after the convolution; then what the scan gives.
    u: Buffer,
    /// `[m, selection]`: B, C, dt.
    selection: Buffer,
    /// `[m, inner]`, before softplus.
    delta: Buffer,
    segment_h: CudaSlice<f32>,
    segment_delta: CudaSlice<f32>,
    /// `[m, 256]` if all positions are asked for, else `[rows, 256]`.
    logits: CudaSlice<f32>,
    /// `[m]`.
    log_prob: CudaSlice<f32>,
}

impl Arena {
    fn new(device: &Device, model: &FloatModel, rows: usize, steps: usize, all: bool) -> Result<Self, CudaError> {
        let (m, w, e) = (rows * steps, model.weights.widths, model.weights.element);
        let plan = model.scan_shape(rows, steps).plan();
        let (states, sums) = model.scan_shape(rows, steps).workspace(plan.segments);
        let heads = if all { m } else { rows };
        let need = m * (2 + 4 * w.model)
            + m * e.bytes() * (w.model + 4 * w.inner + w.selection())
            + 4 * (rows + states + sums + heads * VOCAB + if all { m } else { 0 });
        let (free, _) = device.context().mem_get_info()?;
        let what = "the activations of a chunk";
        if need > free {
            return Err(CudaError::OutOfMemory { what, need, free });
        }
        Ok(Self {
            rows,
            steps,
            bytes: device.zeros(what, m)?,
            next: device.zeros(what, m)?,
            len: device.zeros(what, rows)?,
            residual: device.zeros(what, m * w.model)?,
            normed: Buffer::zeros(device, what, m * w.model, e)?,
            xz: Buffer::zeros(device, what, m * 2 * w.inner, e)?,
            u: Buffer::zeros(device, what, m * w.inner, e)?,
            selection: Buffer::zeros(device, what, m * w.selection(), e)?,
            delta: Buffer::zeros(device, what, m * w.inner, e)?,
            segment_h: device.zeros(what, states)?,
            segment_delta: device.zeros(what, sums)?,
            logits: device.zeros(what, heads * VOCAB)?,
            log_prob: device.zeros(what, if all { m } else { 0 })?,
        })
    }
}

impl FloatModel {
    pub(crate) fn scan_shape(&self, batch: usize, seq_len: usize) -> ScanShape {
        let Weights { dims, widths, element, .. } = &self.weights;
        ScanShape {
            batch,
            seq_len,
            d_inner: widths.inner,
            d_state: dims.d_state,
            tied: dims.tied_decays,
            element: *element,
        }
    }

    /// Reads `rows`, one text for each row of `state`, from the state they are in.
    ///
    /// The final state and the logits equal those of stepping byte by byte to rounding (f32: 1e-5 of their norm). Two runs
    /// give the same bits; another number of rows or of bytes may give others, because products and the split of time are
    /// chosen by shape.
    ///
    /// # Errors
    /// [`CudaError::Rows`], [`CudaError::ForeignState`], [`CudaError::OutOfMemory`] with the bytes needed; else the
    /// driver's or cuBLASLt's. After an error of the latter kind the state is undefined.
    /// # Cost
    /// Two floating-point operations for each weight and byte, `d_inner * d_state` exponentials for each layer and byte
    /// (`d_inner` if the decays are tied). Memory for 65,536 bytes, however long the rows are.
    pub fn prefill(&self, rows: &[&[u8]], state: &mut FloatState, want: Want) -> Result<Predictions, CudaError> {
        if rows.len() != state.rows() {
            return Err(CudaError::Rows { expected: state.rows(), found: rows.len() });
        }
        if state.dims != self.weights.dims {
            return Err(CudaError::ForeignState);
        }
        let longest = rows.iter().map(|r| r.len()).max().unwrap_or(0);
        let mut found = Predictions {
            last: vec![Vec::new(); rows.len()],
            log_probs: vec![Vec::new(); rows.len()],
            logits: vec![Vec::new(); rows.len()],
        };
        if longest == 0 {
            return Ok(found);
        }
        let steps = longest.min((TOKENS / rows.len()).max(1));
        let all = matches!(want, Want::LogProbs | Want::Logits);
        let mut arena = self.arena.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fits = |a: &Arena| {
            a.rows == rows.len()
                && a.steps == steps
                && (!all || !a.log_prob.is_empty() && a.logits.len() >= rows.len() * steps * VOCAB)
        };
        if !arena.as_ref().is_some_and(fits) {
            *arena = None; // before the new one is asked for
            *arena = Some(Arena::new(&self.device, self, rows.len(), steps, all)?);
        }
        let Some(arena) = arena.as_mut() else { return Ok(found) };
        for start in (0..longest).step_by(steps) {
            self.upload(arena, rows, start)?;
            self.run_blocks(arena, state)?;
            self.predict(arena, rows, start, want, &mut found)?;
        }
        self.device.synchronize()?;
        Ok(found)
    }

    /// Copies a chunk's bytes, the bytes after them, and the lengths.
    fn upload(&self, arena: &mut Arena, rows: &[&[u8]], start: usize) -> Result<(), CudaError> {
        let steps = arena.steps;
        let (mut bytes, mut next) = (vec![0u8; rows.len() * steps], vec![0u8; rows.len() * steps]);
        let mut len = Vec::with_capacity(rows.len());
        for (row, text) in rows.iter().enumerate() {
            let part = |from: usize| &text[from.min(text.len())..(from + steps).min(text.len())];
            let (now, after) = (part(start), part(start + 1));
            bytes[row * steps..][..now.len()].copy_from_slice(now);
            next[row * steps..][..after.len()].copy_from_slice(after);
            len.push(now.len() as i32);
        }
        let stream = self.device.stream();
        stream.memcpy_htod(&bytes, &mut arena.bytes)?;
        stream.memcpy_htod(&next, &mut arena.next)?;
        stream.memcpy_htod(&len, &mut arena.len)?;
        Ok(())
    }

    /// Launches embedding and all blocks over a chunk.
    fn run_blocks(&self, arena: &Arena, state: &FloatState) -> Result<(), CudaError> {
        let (device, w, m) = (&*self.device, self.weights.widths, arena.rows * arena.steps);
        let e = self.weights.element;
        let offset = |elements: usize| (elements * e.bytes()) as u64;
        let residual = device.address(&arena.residual);
        let [normed, xz, u, selection, delta] =
            [&arena.normed, &arena.xz, &arena.u, &arena.selection, &arena.delta].map(|b| b.address(device));
        let len = device.address(&arena.len);
        let shape = self.scan_shape(arena.rows, arena.steps);
        let plan = shape.plan();
        let product = |n, k, ld_x, ld_w, ld_y| Product { m, n, k, ld_x, ld_w, ld_y, input: e, output: e, add: false };
        let in_proj = product(2 * w.inner, w.model, w.model, w.model, 2 * w.inner);
        let x_proj = product(w.selection(), w.inner, w.inner, w.inner, w.selection());
        let dt_proj = product(w.inner, w.rank, w.selection(), w.rank, w.inner);
        let out_proj =
            Product { output: Element::F32, add: true, ..product(w.model, w.inner, w.inner, w.inner, w.model) };
        let embed = EmbedArgs {
            bytes: device.address(&arena.bytes),
            embedding: device.address(&self.weights.embedding),
            residual,
            rows: m as i32,
            ld: w.model as i32,
        };
        // SAFETY: every buffer of the arena has `m` rows of the width that is given with it, weights have the shapes of
        // `LayerWeights`, the state that of `FloatState::new`; all widths are multiples of 8; arena, weights and state
        // outlive the launches, and frees go through the same stream.
        unsafe {
            self.small.embed(device, &embed)?;
            for (index, layer) in self.weights.layers.iter().enumerate() {
                let (h, history) = state.layer(index);
                self.small.norm(device, &self.norm_args(arena, &layer.norm, layer.norm_bias.as_ref(), m))?;
                self.blas.run(in_proj, layer.in_proj.address(device), normed, xz)?;
                let conv = ConvArgs {
                    x: xz,
                    out: u,
                    w: device.address(&layer.conv),
                    bias: device.address(&layer.conv_bias),
                    history,
                    len,
                    ld_x: 2 * w.inner as i32,
                    ld_out: w.inner as i32,
                    d_inner: w.inner as i32,
                    seq_len: arena.steps as i32,
                };
                self.small.conv(device, arena.rows, &conv)?;
                self.blas.run(x_proj, layer.x_proj.address(device), u, selection)?;
                self.blas.run(dt_proj, layer.dt_proj.address(device), selection + offset(2 * w.state), delta)?;
                let scan = ScanArgs {
                    u,
                    delta,
                    z: xz + offset(w.inner),
                    b: selection,
                    c: selection + offset(w.state),
                    out: u, // each output is written by the thread that has read its input
                    a: device.address(&layer.a),
                    d_skip: device.address(&layer.d_skip),
                    delta_bias: device.address(&layer.dt_bias),
                    h,
                    len,
                    seg_h: device.address(&arena.segment_h),
                    seg_delta: device.address(&arena.segment_delta),
                    ld_u: w.inner as i32,
                    ld_delta: w.inner as i32,
                    ld_z: 2 * w.inner as i32,
                    ld_bc: w.selection() as i32,
                    ld_out: w.inner as i32,
                    ..ScanArgs::default()
                };
                self.scan.dispatch(device, &shape, &plan, scan)?;
                self.blas.run(out_proj, layer.out_proj.address(device), u, residual)?;
            }
        }
        Ok(())
    }

    fn norm_args(
        &self,
        arena: &Arena,
        weight: &CudaSlice<f32>,
        bias: Option<&CudaSlice<f32>>,
        rows: usize,
    ) -> NormArgs {
        NormArgs {
            x: self.device.address(&arena.residual),
            weight: self.device.address(weight),
            bias: bias.map_or(0, |b| self.device.address(b)),
            out: arena.normed.address(&self.device),
            len: 0,
            eps: self.weights.norm_eps,
            rows: rows as i32,
            ld: self.weights.widths.model as i32,
            d_model: self.weights.dims.d_model as i32,
            seq_len: arena.steps as i32,
        }
    }

    /// Launches the head over what is asked for and copies it here.
    fn predict(
        &self,
        arena: &Arena,
        rows: &[&[u8]],
        start: usize,
        want: Want,
        found: &mut Predictions,
    ) -> Result<(), CudaError> {
        if want == Want::State {
            return Ok(());
        }
        let (device, w, steps) = (&*self.device, self.weights.widths, arena.steps);
        let head = |m: usize| Product {
            m,
            n: VOCAB,
            k: w.model,
            ld_x: w.model,
            ld_w: w.model,
            ld_y: VOCAB,
            input: self.weights.element,
            output: Element::F32,
            add: false,
        };
        let (normed, logits) = (arena.normed.address(device), device.address(&arena.logits));
        let norm_f = |rows| self.norm_args(arena, &self.weights.norm_f, self.weights.norm_f_bias.as_ref(), rows);
        let weights = self.weights.head.address(device);
        let here = |text: &[u8]| text.len().saturating_sub(start).min(steps);
        if matches!(want, Want::LogProbs | Want::Logits) {
            let m = arena.rows * steps;
            let args = LogProbArgs {
                logits,
                next: device.address(&arena.next),
                log_prob: device.address(&arena.log_prob),
                rows: m as i32,
            };
            // SAFETY: `normed` and `logits` have m rows, as `Arena::new` made them for these wants.
            unsafe {
                self.small.norm(device, &norm_f(m))?;
                self.blas.run(head(m), weights, normed, logits)?;
                if want == Want::LogProbs {
                    self.small.log_prob(device, &args)?;
                }
            }
            if want == Want::LogProbs {
                let values = device.stream().clone_dtoh(&arena.log_prob)?;
                for (row, text) in rows.iter().enumerate() {
                    let known = text.len().saturating_sub(start + 1).min(steps);
                    found.log_probs[row].extend_from_slice(&values[row * steps..][..known]);
                }
            } else {
                let values = device.stream().clone_dtoh(&arena.logits)?;
                for (row, text) in rows.iter().enumerate() {
                    found.logits[row].extend_from_slice(&values[row * steps * VOCAB..][..here(text) * VOCAB]);
                }
            }
        }
        let ends = |text: &[u8]| text.len() > start && text.len() <= start + steps;
        if rows.iter().any(|r| ends(r)) {
            let last = NormArgs { len: device.address(&arena.len), ..norm_f(arena.rows) };
            // SAFETY: as above, with one row for each batch row.
            unsafe {
                self.small.norm(device, &last)?;
                self.blas.run(head(arena.rows), weights, normed, logits)?;
            }
            let values = device.stream().clone_dtoh(&arena.logits.slice(..arena.rows * VOCAB))?;
            for (row, _) in rows.iter().enumerate().filter(|(_, r)| ends(r)) {
                found.last[row] = values[row * VOCAB..][..VOCAB].to_vec();
            }
        }
        Ok(())
    }
}
