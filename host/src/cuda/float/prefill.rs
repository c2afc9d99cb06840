//! Many bytes at once: the whole model over chunks of time.
//!
//! Rows of different lengths are read side by side, `[rows, steps]`, in chunks of at most [`TOKENS`] bytes in all, so
//! that memory does not depend on the length of a text. The state of a row that has ended stays that of its last byte.
//! Between two chunks nothing but the state is carried, and only what is asked for comes back.

use std::sync::PoisonError;

use cudarc::driver::CudaSlice;
use mambabyte_core::VOCAB;

use super::buffer::Buffer;
use super::finite::{check_costs, check_logits, not_finite};
use super::pass::{Pass, Slots};
use super::small::LogProbArgs;
use super::{FloatModel, FloatState};
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::{Answer, Want};

/// Bytes of a chunk, all rows together. More would not be faster.
pub(crate) const TOKENS: usize = 65_536;

/// Memory for a chunk of `rows` x `steps` bytes; `m` is their product.
#[derive(Debug)]
pub(super) struct Arena {
    rows: usize,
    steps: usize,
    bytes: CudaSlice<u8>,
    next: CudaSlice<u8>,
    /// `[rows]`, steps of each row in this chunk.
    len: CudaSlice<i32>,
    /// `[m, model]`, f32 in either element.
    residual: CudaSlice<f32>,
    normed: Buffer,
    xz: Buffer,
    u: Buffer,
    selection: Buffer,
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
        let shape = model.scan_shape(rows, steps);
        let (states, sums) = shape.workspace(shape.plan().segments);
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

    fn fits(&self, rows: usize, steps: usize, all: bool) -> bool {
        self.rows == rows && self.steps == steps && (!all || self.logits.len() >= rows * steps * VOCAB)
    }

    /// Copies what each row has between `from` and `from + steps`, and what follows each of these bytes.
    fn put(&mut self, device: &Device, rows: &[&[u8]], next: Option<&[&[u8]]>, from: usize) -> Result<(), CudaError> {
        let steps = self.steps;
        let part = |text: &&[u8]| from.min(text.len())..(from + steps).min(text.len());
        let spread = |texts: &[&[u8]]| {
            let mut all = vec![0u8; texts.len() * steps];
            for (to, text) in all.chunks_exact_mut(steps).zip(texts) {
                let now = &text[part(text)];
                to[..now.len()].copy_from_slice(now);
            }
            all
        };
        let len: Vec<i32> = rows.iter().map(|text| part(text).len() as i32).collect();
        let stream = device.stream();
        stream.memcpy_htod(&spread(rows), &mut self.bytes)?;
        stream.memcpy_htod(&len, &mut self.len)?;
        if let Some(next) = next {
            stream.memcpy_htod(&spread(next), &mut self.next)?;
        }
        Ok(())
    }
}

/// Appends the first `len` of each `steps` of `values`, `width` numbers each, to its row, after `check` has seen them.
fn append(
    to: &mut [Vec<f32>],
    values: &[f32],
    (steps, width): (usize, usize),
    len: impl Fn(usize) -> usize,
    check: impl Fn(usize, &[f32]) -> Result<(), CudaError>,
) -> Result<(), CudaError> {
    for (row, (to, values)) in to.iter_mut().zip(values.chunks_exact(steps * width)).enumerate() {
        let own = &values[..len(row) * width];
        check(row, own)?;
        to.extend_from_slice(own);
    }
    Ok(())
}

impl FloatModel {
    /// Reads `rows`, one text for each row of `state`, from the state they are in.
    ///
    /// The final state and the logits equal those of stepping byte by byte to rounding (f32: 1e-5 of their norm). Two
    /// runs give the same bits; another number of rows or of bytes may give other bits, because products and the split
    /// of time are chosen by shape.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] with the bytes needed; else the driver's or cuBLASLt's. After an error of the latter
    /// kind the state is undefined. [`CudaError::NotFinite`], counted from this call; the state is lost then.
    /// # Cost
    /// Two floating-point operations for each weight and byte, `d_inner * d_state` exponentials for each layer and byte
    /// (`d_inner` if the decays are tied). Memory for 65,536 bytes, however long the rows are.
    pub(crate) fn prefill(&self, rows: &[&[u8]], state: &mut FloatState, want: Want<'_>) -> Result<Answer, CudaError> {
        let longest = rows.iter().map(|r| r.len()).max().unwrap_or(0);
        let mut found = vec![Vec::new(); rows.len()];
        if longest > 0 {
            let steps = longest.min((TOKENS / rows.len()).max(1));
            let all = matches!(want, Want::All | Want::Surprise(_));
            let mut arena = self.arena.lock().unwrap_or_else(PoisonError::into_inner);
            if !arena.as_ref().is_some_and(|a| a.fits(rows.len(), steps, all)) {
                *arena = None; // before the new one is asked for
            }
            let arena = match &mut *arena {
                Some(arena) => arena,
                none => none.insert(Arena::new(&self.device, self, rows.len(), steps, all)?),
            };
            let next = if let Want::Surprise(next) = want { Some(next) } else { None };
            for from in (0..longest).step_by(steps) {
                arena.put(&self.device, rows, next, from)?;
                self.chunk(arena, state, rows, from, want, &mut found)?;
            }
            self.device.synchronize()?;
        }
        Ok(match want {
            Want::Nothing => Answer::Nothing,
            Want::Last | Want::All => {
                Answer::FloatLogits(found.iter().flat_map(|row| row.as_chunks::<VOCAB>().0).copied().collect())
            }
            Want::Surprise(_) => Answer::FloatSurprise(found.concat()),
        })
    }

    /// Launches one chunk and copies what is asked for.
    fn chunk(
        &self,
        arena: &Arena,
        state: &FloatState,
        rows: &[&[u8]],
        from: usize,
        want: Want<'_>,
        found: &mut [Vec<f32>],
    ) -> Result<(), CudaError> {
        let (device, steps) = (&*self.device, arena.steps);
        let [normed, xz, u, selection, delta] =
            [&arena.normed, &arena.xz, &arena.u, &arena.selection, &arena.delta].map(|b| b.address(device));
        let pass = Pass {
            device,
            rows: arena.rows,
            steps,
            bytes: device.address(&arena.bytes),
            len: device.address(&arena.len),
            residual: device.address(&arena.residual),
            normed,
            segments: (device.address(&arena.segment_h), device.address(&arena.segment_delta)),
            slots: &|_| Slots { xz, u, selection, delta, y: u },
            memory: &state.memory,
        };
        let logits = device.address(&arena.logits);
        let here = |row: usize| rows[row].len().saturating_sub(from).min(steps);
        // SAFETY: `Arena::new` has made every buffer for this many rows and steps, with logits of all positions if they
        // are asked for; arena, weights and state outlive the launches, and frees go through the same stream.
        unsafe {
            self.forward(&pass)?;
            match want {
                Want::Nothing => {}
                Want::All => {
                    self.head(&pass, logits)?;
                    let values = device.stream().clone_dtoh(&arena.logits)?;
                    append(found, &values, (steps, VOCAB), here, |row, own| check_logits(row, from, own))?;
                }
                Want::Surprise(_) => {
                    self.head(&pass, logits)?;
                    let args = LogProbArgs {
                        logits,
                        next: device.address(&arena.next),
                        log_prob: device.address(&arena.log_prob),
                        rows: (arena.rows * steps) as i32,
                    };
                    self.small.log_prob(device, &args)?;
                    let bits = |log_prob: f32| -log_prob * std::f32::consts::LOG2_E;
                    let values: Vec<f32> = device.stream().clone_dtoh(&arena.log_prob)?.into_iter().map(bits).collect();
                    append(found, &values, (steps, 1), here, |row, own| check_costs(row, from, own))?;
                }
                Want::Last => {
                    let ends = |text: &[u8]| text.len() > from && text.len() <= from + steps;
                    if rows.iter().any(|text| ends(text)) {
                        self.last_head(&pass, logits)?;
                        let values = device.stream().clone_dtoh(&arena.logits.slice(..arena.rows * VOCAB))?;
                        // The block is all that the row reads: a spoilt state may be as old.
                        let check = |row: usize, own: &[f32]| {
                            check_logits(row, 0, own).map_err(|_| not_finite(row, 0, rows[row].len()))
                        };
                        append(found, &values, (1, VOCAB), |row| usize::from(ends(rows[row])), check)?;
                    }
                }
            }
        }
        Ok(())
    }
}
