//! One byte at a time by the kernels of prefill: decoding and verification in f32, and wherever the persistent kernel
//! does not run.
//!
//! A step is a pass over one byte of each row, replayed as a graph. Verifying `K` bytes is `K` such passes, one after
//! the other without waiting, on a copy of the states; products and scan have the shape of a step each time, so the
//! bits are those of stepping. What moves a state (the convolution's input, its output, delta, B) is kept of every
//! pass. Accepting a part of the bytes runs only convolution and scan over it again.

use cudarc::driver::CudaSlice;
use mambabyte_core::VOCAB;

use super::pass::{Pass, Slots};
use super::state::Memory;
use super::{FloatModel, FloatState};
use crate::cuda::device::{Device, Graph};
use crate::cuda::error::CudaError;

/// Buffers of cuBLASLt start at multiples of this many bytes, which its choice of an algorithm relies on.
const ALIGN: usize = 256;

/// Activations of one byte per row, kept for `steps` bytes and `layers` layers.
struct Work {
    rows: usize,
    steps: usize,
    layers: usize,
    /// u8 `[steps, rows]`.
    tokens: CudaSlice<u8>,
    /// `[steps, rows]`: 1 where a row has a byte in this step.
    len: CudaSlice<i32>,
    residual: CudaSlice<f32>,
    normed: CudaSlice<u8>,
    /// xz, u, selection, delta: `[layers, steps]` each, and the bytes from one to the next.
    kept: [(CudaSlice<u8>, usize); 4],
    y: CudaSlice<u8>,
    /// f32 `[steps, rows, 256]`.
    logits: CudaSlice<f32>,
}

impl Work {
    fn new(model: &FloatModel, rows: usize, steps: usize, layers: usize) -> Result<Self, CudaError> {
        let (device, w, e) = (&*model.device, model.weights.widths, model.weights.element);
        let what = "the activations of a step";
        let bytes = |width: usize| (rows * width * e.bytes()).next_multiple_of(ALIGN);
        let kept =
            |width: usize| Ok::<_, CudaError>((device.zeros(what, layers * steps * bytes(width))?, bytes(width)));
        Ok(Self {
            rows,
            steps,
            layers,
            tokens: device.zeros(what, steps * rows)?,
            len: device.zeros(what, steps * rows)?,
            residual: device.zeros(what, rows * w.model)?,
            normed: device.zeros(what, bytes(w.model))?,
            kept: [kept(2 * w.inner)?, kept(w.inner)?, kept(w.selection())?, kept(w.inner)?],
            y: device.zeros(what, bytes(w.inner))?,
            logits: device.zeros(what, steps * rows * VOCAB)?,
        })
    }

    /// Where step `step` lies in layer `layer`; with `layers == 1` all layers use the same place.
    fn slots(&self, device: &Device, layer: usize, step: usize) -> Slots {
        let layer = if self.layers == 1 { 0 } else { layer };
        let at = |i: usize| {
            let (buffer, stride) = &self.kept[i];
            device.address(buffer) + ((layer * self.steps + step) * stride) as u64
        };
        Slots { xz: at(0), u: at(1), selection: at(2), delta: at(3), y: device.address(&self.y) }
    }

    fn pass<'a>(
        &self,
        device: &'a Device,
        step: usize,
        slots: &'a dyn Fn(usize) -> Slots,
        memory: &'a Memory,
    ) -> Pass<'a> {
        Pass {
            device,
            rows: self.rows,
            steps: 1,
            bytes: device.address(&self.tokens) + (step * self.rows) as u64,
            len: device.address(&self.len) + (step * self.rows * size_of::<i32>()) as u64,
            residual: device.address(&self.residual),
            normed: device.address(&self.normed),
            segments: (0, 0), // one step is not split
            slots,
            memory,
        }
    }

    /// Launches step `step`, logits included, on the stream of `device`.
    fn run(&self, model: &FloatModel, device: &Device, step: usize, memory: &Memory) -> Result<(), CudaError> {
        let slots = |layer| self.slots(device, layer, step);
        let pass = self.pass(device, step, &slots, memory);
        let logits = device.address(&self.logits) + (step * self.rows * VOCAB * size_of::<f32>()) as u64;
        // SAFETY: `new` has made every buffer for one byte of each row; work, weights and state outlive the
        // launches.
        unsafe {
            model.forward(&pass)?;
            model.head(&pass, logits)
        }
    }
}

/// A byte of each row, as a graph.
pub(super) struct StepGraph {
    work: Work,
    graph: Graph,
}

impl StepGraph {
    pub(super) fn tokens(&self, device: &Device) -> u64 {
        device.address(&self.work.tokens)
    }

    pub(super) fn logits(&self, device: &Device) -> u64 {
        device.address(&self.work.logits)
    }

    pub(super) fn put(&mut self, device: &Device, bytes: &[u8]) -> Result<(), CudaError> {
        Ok(device.stream().memcpy_htod(bytes, &mut self.work.tokens)?)
    }

    pub(super) fn launch(&mut self, device: &Device) -> Result<(), CudaError> {
        self.graph.launch(device)
    }

    /// The logits of the last launch, `[rows, 256]`.
    pub(super) fn read(&self, device: &Device) -> Result<Vec<f32>, CudaError> {
        let logits = device.stream().clone_dtoh(&self.work.logits)?;
        device.synchronize()?;
        Ok(logits)
    }
}

/// A draft that was verified last: its passes, and the states after all of it.
pub(super) struct StepDraft {
    work: Work,
    after: Memory,
    /// Bytes of each row.
    len: Vec<usize>,
}

/// `[steps, rows]`: 1 as long as a row has bytes.
fn present(len: &[usize], steps: usize) -> Vec<i32> {
    (0..steps).flat_map(|k| len.iter().map(move |&len| i32::from(k < len))).collect()
}

impl FloatModel {
    /// The graph of one byte per row, made at the first call.
    pub(super) fn step_graph<'s>(&self, state: &'s mut FloatState) -> Result<&'s mut StepGraph, CudaError> {
        if state.step.is_none() {
            let mut work = Work::new(self, state.rows, 1, 1)?;
            // One run without bytes, which leaves the states unchanged: libraries load what they need, which they must
            // not do in a capture.
            work.run(self, &self.device, 0, &state.memory)?;
            self.device.stream().memcpy_htod(&vec![1i32; state.rows], &mut work.len)?;
            self.device.synchronize()?;
            let graph = self.device.capture(|capturing| work.run(self, capturing, 0, &state.memory))?;
            state.step = Some(StepGraph { work, graph });
        }
        state.step.as_mut().ok_or(CudaError::ForeignState)
    }

    /// Scores `drafts`: f32 `[256]` of each byte, row after row.
    pub(super) fn verify_by_steps(&self, drafts: &[&[u8]], state: &mut FloatState) -> Result<Vec<f32>, CudaError> {
        let (device, rows) = (&*self.device, state.rows);
        let steps = drafts.iter().map(|d| d.len()).max().unwrap_or(0);
        let len: Vec<usize> = drafts.iter().map(|d| d.len()).collect();
        let mut draft = match state.step_draft.take() {
            Some(draft) if draft.work.steps >= steps => StepDraft { len, ..draft },
            _ => {
                // At least two: with one, nothing is kept for each layer.
                let layers = self.weights.dims.n_layer.max(2);
                let work = Work::new(self, rows, steps.next_power_of_two(), layers)?;
                StepDraft { work, after: Memory::zeros(device, &self.weights.dims, rows)?, len }
            }
        };
        draft.after.copy_from(device, &state.memory)?;
        let byte = |k: usize| drafts.iter().map(move |d| d.get(k).copied().unwrap_or(0));
        let tokens: Vec<u8> = (0..steps).flat_map(byte).collect();
        if steps > 0 {
            let stream = device.stream();
            stream.memcpy_htod(&tokens, &mut draft.work.tokens)?;
            stream.memcpy_htod(&present(&draft.len, steps), &mut draft.work.len)?;
        }
        for k in 0..steps {
            draft.work.run(self, device, k, &draft.after)?;
        }
        let all = device.stream().clone_dtoh(&draft.work.logits)?;
        device.synchronize()?;
        let logits = (0..rows).flat_map(|row| (0..draft.len[row]).map(move |k| (k * rows + row) * VOCAB));
        let logits = logits.flat_map(|at| all[at..at + VOCAB].iter().copied()).collect();
        state.step_draft = Some(draft);
        Ok(logits)
    }

    /// Moves the states by the first `counts` bytes of the draft verified last.
    pub(super) fn accept_by_steps(&self, counts: &[usize], state: &mut FloatState) -> Result<(), CudaError> {
        let device = &*self.device;
        let Some(draft) = &mut state.step_draft else { return Err(CudaError::ForeignState) };
        if counts == draft.len {
            state.memory.copy_from(device, &draft.after)?;
            return device.synchronize();
        }
        let steps = counts.iter().copied().max().unwrap_or(0);
        if steps == 0 {
            return Ok(());
        }
        device.stream().memcpy_htod(&present(counts, steps), &mut draft.work.len)?;
        for k in 0..steps {
            let slots = |layer| draft.work.slots(device, layer, k);
            let pass = draft.work.pass(device, k, &slots, &state.memory);
            // SAFETY: the activations of pass `k` are where the verification has left them; `y` is a buffer of its own.
            unsafe { self.replay(&pass)? };
        }
        device.synchronize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_end_by_their_length() {
        assert_eq!(present(&[2, 0, 3], 3), [1, 0, 1, 1, 0, 1, 0, 0, 1]);
        assert!(present(&[0, 0], 0).is_empty());
    }
}
