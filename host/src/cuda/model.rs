//! A model on a GPU, whatever it computes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mambabyte_core::{Blob, Dims, Fingerprint, Rng, SampleOptions, State, VOCAB};

use super::device::Device;
use super::error::CudaError;
use super::exact::{ExactState, ExactWeights};
use super::float::{FloatModel, Values};
use super::state::{GpuState, Memory};
use super::{Answer, Batch, Precision, Want};
use crate::checkpoint::Checkpoint;
use crate::dequantize::dequantize;

/// Where weights come from.
#[derive(Clone, Copy)]
#[allow(clippy::large_enum_variant, reason = "made once for a model")]
pub enum Source<'a> {
    /// A quantised model.
    Blob(Blob<'a>),
    /// A trained model in f32.
    Checkpoint(&'a Checkpoint),
}

impl<'a> From<Blob<'a>> for Source<'a> {
    fn from(blob: Blob<'a>) -> Self {
        Self::Blob(blob)
    }
}

impl<'a> From<&'a Checkpoint> for Source<'a> {
    fn from(checkpoint: &'a Checkpoint) -> Self {
        Self::Checkpoint(checkpoint)
    }
}

/// Weights in the memory of a GPU.
pub struct GpuModel {
    device: Arc<Device>,
    dims: Dims,
    precision: Precision,
    id: u64,
    unknown_text: u16,
    weights: Weights,
}

/// The weights by precision.
enum Weights {
    Exact(Box<ExactWeights>),
    Float(Box<FloatModel>),
}

/// Float logits, 256 to a byte.
fn float_logits(flat: Vec<f32>) -> Answer {
    Answer::FloatLogits(flat.as_chunks::<VOCAB>().0.to_vec())
}

impl GpuModel {
    /// Uploads a model.
    ///
    /// A checkpoint is computed in f32, in bf16, or in i8: then each row of its matrices is rounded to 255 steps. A
    /// blob is computed in its integers, or as the float model that they stand for: in i8 with the very weights of the
    /// blob.
    ///
    /// # Errors
    /// [`CudaError::Precision`] for a checkpoint in integers, [`CudaError::Model`] for a checkpoint that is no model,
    /// [`CudaError::OutOfMemory`], [`CudaError::NoLibrary`] without cuBLASLt, [`CudaError::Shape`].
    /// # Cost
    /// On the GPU: 1 byte a weight in integers, 4 in f32; 4 in bf16 and 3 in i8, since decode has a second copy of the
    /// weights in an order of its own.
    pub fn load<'a>(
        device: &Arc<Device>,
        source: impl Into<Source<'a>>,
        precision: Precision,
    ) -> Result<Self, CudaError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let float = |values: &Values<'_>| -> Result<Weights, CudaError> {
            Ok(Weights::Float(Box::new(FloatModel::load(device, values, precision)?)))
        };
        let source = source.into();
        let unknown_text = if let Source::Blob(blob) = &source { blob.unknown_text() } else { 0 };
        let (dims, weights) = match (source, precision) {
            (Source::Blob(blob), Precision::Exact) => {
                (*blob.dims(), Weights::Exact(Box::new(ExactWeights::load(device, &blob)?)))
            }
            (Source::Checkpoint(_), Precision::Exact) => {
                return Err(CudaError::Precision { precision, needs: "a blob (.mbb)" });
            }
            (Source::Blob(blob), _) => (*blob.dims(), float(&Values::Rows(&dequantize(&blob)))?),
            (Source::Checkpoint(checkpoint), _) => (checkpoint.dims, float(&Values::Plain(checkpoint))?),
        };
        // Waits for the copies.
        device.synchronize()?;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { device: device.clone(), dims, precision, id, unknown_text, weights })
    }

    /// The GPU.
    pub const fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The shape.
    pub const fn dims(&self) -> &Dims {
        &self.dims
    }

    /// What [`Blob::unknown_text`](mambabyte_core::Blob::unknown_text) says, 0 of a checkpoint.
    pub const fn unknown_text(&self) -> u16 {
        self.unknown_text
    }

    /// What the model computes in.
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// Names the blob, if the model is one in integers.
    pub const fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.weights {
            Weights::Exact(weights) => Some(weights.model.fingerprint()),
            Weights::Float(_) => None,
        }
    }

    /// Whether decoding and verification are one persistent kernel: in bf16 and i8, from compute capability 9.0 on, if
    /// a block of the shape fits a multiprocessor. Otherwise a step is a graph of launches.
    pub fn is_persistent(&self) -> bool {
        match &self.weights {
            Weights::Exact(_) => false,
            Weights::Float(model) => model.is_persistent(),
        }
    }

    /// Bytes of weights that one pass of the persistent kernel reads; 0 without it.
    pub fn pass_bytes(&self) -> usize {
        match &self.weights {
            Weights::Exact(_) => 0,
            Weights::Float(model) => model.pass_bytes(),
        }
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// The zero states of `rows` streams, `1..=256`.
    ///
    /// # Errors
    /// [`CudaError::Shape`], [`CudaError::OutOfMemory`].
    pub(super) fn zero_states(&self, rows: usize) -> Result<GpuState, CudaError> {
        if rows == 0 || rows > 256 {
            return Err(CudaError::Shape { name: "number of rows", found: rows, limit: 256 });
        }
        let memory = match &self.weights {
            Weights::Exact(weights) => Memory::Exact(Box::new(ExactState::new(&self.device, weights, rows)?)),
            Weights::Float(model) => Memory::Float(Box::new(model.state(rows)?)),
        };
        Ok(GpuState { model: self.id, positions: vec![0; rows], drafted: None, memory })
    }

    /// The integer state of a row; `None` of a float model. The rows are of this model, the row is one of them.
    pub(super) fn read_state(
        &self,
        rows: &GpuState,
        row: usize,
        position: u64,
    ) -> Result<Option<State<Vec<i16>>>, CudaError> {
        match (&self.weights, &rows.memory) {
            (Weights::Exact(weights), Memory::Exact(exact)) => {
                exact.read_row(&self.device, weights, row, position).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Sets the integer state of a row; `state` is of this model. [`CudaError::ForeignState`] for a float model.
    pub(super) fn write_state(
        &self,
        rows: &mut GpuState,
        row: usize,
        state: &State<Vec<i16>>,
    ) -> Result<(), CudaError> {
        match (&self.weights, &mut rows.memory) {
            (Weights::Exact(weights), Memory::Exact(exact)) => exact.write_row(&self.device, weights, row, state),
            _ => Err(CudaError::ForeignState),
        }
    }

    /// Row `to` becomes a copy of row `from`, both of which are there.
    pub(super) fn copy_row(&self, rows: &mut GpuState, from: usize, to: usize) -> Result<(), CudaError> {
        match (&self.weights, &mut rows.memory) {
            (Weights::Exact(weights), Memory::Exact(exact)) => exact.copy_row(&self.device, weights, from, to),
            (Weights::Float(_), Memory::Float(float)) => float.memory.copy_row(&self.device, from, to),
            _ => Err(CudaError::ForeignState),
        }
    }

    /// The rows `which`, which are there, become copies of those of `source`.
    pub(super) fn copy_rows(&self, source: &GpuState, rows: &mut GpuState, which: &[usize]) -> Result<(), CudaError> {
        match (&self.weights, &source.memory, &mut rows.memory) {
            (Weights::Exact(weights), Memory::Exact(source), Memory::Exact(rows)) => {
                rows.copy_rows(&self.device, weights, source, which)
            }
            (Weights::Float(_), Memory::Float(source), Memory::Float(rows)) => {
                rows.memory.copy_rows(&self.device, &source.memory, which)
            }
            _ => Err(CudaError::ForeignState),
        }
    }

    /// Row `row`, which is there, goes back to the zero state.
    pub(super) fn zero_row(&self, rows: &mut GpuState, row: usize) -> Result<(), CudaError> {
        match (&self.weights, &mut rows.memory) {
            (Weights::Exact(weights), Memory::Exact(exact)) => exact.zero_row(&self.device, weights, row),
            (Weights::Float(_), Memory::Float(float)) => float.memory.zero_row(&self.device, row),
            _ => Err(CudaError::ForeignState),
        }
    }

    /// The float state of a row as [`crate::model::Session::state`] has it: per layer `[d_conv - 1, d_inner]`
    /// convolution input, oldest first, then `[d_inner, d_state]` h.
    ///
    /// # Errors
    /// [`CudaError::ForeignState`], also for a model in integers, which has snapshots; [`CudaError::Rows`].
    pub fn read_row(&self, state: &GpuState, row: usize) -> Result<Vec<f32>, CudaError> {
        self.check_row(state, row)?;
        match &state.memory {
            Memory::Float(float) => float.read_row(&self.device, row),
            Memory::Exact(_) => Err(CudaError::ForeignState),
        }
    }

    /// Sets the float state of a row, which has then read `position` bytes.
    ///
    /// # Errors
    /// As [`GpuModel::read_row`]; [`CudaError::ForeignState`] also if `values` has another length.
    pub fn write_row(&self, state: &mut GpuState, row: usize, values: &[f32], position: u64) -> Result<(), CudaError> {
        self.check_row(state, row)?;
        match &mut state.memory {
            Memory::Float(float) => float.write_row(&self.device, row, values)?,
            Memory::Exact(_) => return Err(CudaError::ForeignState),
        }
        state.drafted = None;
        state.positions[row] = position;
        Ok(())
    }

    fn check_row(&self, state: &GpuState, row: usize) -> Result<(), CudaError> {
        self.check(state, state.rows())?;
        if row < state.rows() { Ok(()) } else { Err(CudaError::Rows { expected: state.rows(), found: row + 1 }) }
    }

    /// Reads bytes into each row from the state that it is in; rows may have different numbers of bytes.
    ///
    /// # Errors
    /// [`CudaError::Rows`], [`CudaError::ForeignState`], [`CudaError::OutOfMemory`]; the state is then as it was or,
    /// after a failure of the GPU, lost. [`CudaError::NotFinite`] of a float model; it is lost then too.
    /// # Cost
    /// Long texts are read in blocks, so memory does not grow with them, except for what is returned.
    pub fn prefill(&self, rows: &[&[u8]], state: &mut GpuState, want: Want<'_>) -> Result<Answer, CudaError> {
        self.check(state, rows.len())?;
        if let Want::Surprise(next) = want {
            let same = next.len() == rows.len() && next.iter().zip(rows).all(|(n, r)| n.len() == r.len());
            if !same {
                return Err(CudaError::Rows { expected: rows.len(), found: next.len() });
            }
        }
        state.drafted = None;
        let answer = match (&self.weights, &mut state.memory) {
            (Weights::Exact(weights), Memory::Exact(exact)) => exact.prefill(&self.device, weights, rows, want)?,
            (Weights::Float(model), Memory::Float(float)) => {
                model.prefill(rows, float, want).map_err(|e| e.after(&state.positions))?
            }
            _ => return Err(CudaError::ForeignState),
        };
        for (position, row) in state.positions.iter_mut().zip(rows) {
            *position = position.wrapping_add(row.len() as u64);
        }
        Ok(answer)
    }

    /// Reads one byte per row, in one launch (of the persistent kernel, or of a graph); returns the logits after it.
    ///
    /// # Errors
    /// As [`GpuModel::prefill`].
    pub fn step(&self, bytes: &[u8], state: &mut GpuState) -> Result<Answer, CudaError> {
        self.check(state, bytes.len())?;
        state.drafted = None;
        let answer = match (&self.weights, &mut state.memory) {
            (Weights::Exact(weights), Memory::Exact(exact)) => exact.step(&self.device, weights, bytes)?,
            (Weights::Float(model), Memory::Float(float)) => {
                float_logits(model.step(bytes, float).map_err(|e| e.after(&state.positions))?)
            }
            _ => return Err(CudaError::ForeignState),
        };
        state.positions.iter_mut().for_each(|p| *p = p.wrapping_add(1));
        Ok(answer)
    }

    /// Writes `count` bytes per row: reads `last`, samples, reads that, all on the GPU. `last` becomes the last byte
    /// written, which is not read yet.
    ///
    /// The bytes are those of [`mambabyte_core::sample()`], and `rngs` move as there, in every precision: float logits
    /// are rounded to its units ([`crate::model::logit_units`]). A row draws from its own generator only, so its text
    /// does not depend on its neighbours, nor on how many bytes a call writes. (Only where the persistent kernel does
    /// not run may the logits themselves be rounded differently for another number of rows, since cuBLASLt chooses
    /// products by shape.)
    ///
    /// # Errors
    /// As [`GpuModel::prefill`]. Of every 1024 bytes a float model's last logits are looked at, in which a state that is
    /// not finite shows.
    pub fn decode(
        &self,
        count: usize,
        last: &mut [u8],
        rngs: &mut [Rng],
        options: &SampleOptions,
        state: &mut GpuState,
    ) -> Result<Vec<Vec<u8>>, CudaError> {
        self.check(state, last.len())?;
        self.check(state, rngs.len())?;
        state.drafted = None;
        let text = match (&self.weights, &mut state.memory) {
            (Weights::Exact(weights), Memory::Exact(exact)) => {
                exact.decode(&self.device, weights, count, last, rngs, options)?
            }
            (Weights::Float(model), Memory::Float(float)) => {
                model.decode(count, last, (rngs, options), float).map_err(|e| e.after(&state.positions))?
            }
            _ => return Err(CudaError::ForeignState),
        };
        state.positions.iter_mut().for_each(|p| *p = p.wrapping_add(count as u64));
        Ok(text)
    }

    /// Scores drafted bytes, as many as [`crate::engine::Engine::verify`] allows, without moving the state; the logits
    /// have the bits of as many steps.
    pub(super) fn score(&self, drafts: &[&[u8]], state: &mut GpuState) -> Result<Answer, CudaError> {
        match (&self.weights, &mut state.memory) {
            (Weights::Exact(weights), Memory::Exact(exact)) => exact.verify(&self.device, weights, &Batch::new(drafts)),
            (Weights::Float(model), Memory::Float(float)) => {
                Ok(float_logits(model.verify(drafts, float).map_err(|e| e.after(&state.positions))?))
            }
            _ => Err(CudaError::ForeignState),
        }
    }

    /// Moves the state by `counts` bytes of the draft that was verified last.
    pub(super) fn commit(&self, state: &mut GpuState, counts: &[usize]) -> Result<(), CudaError> {
        match (&self.weights, &mut state.memory) {
            (Weights::Exact(weights), Memory::Exact(exact)) => exact.accept(&self.device, weights, counts)?,
            (Weights::Float(model), Memory::Float(float)) => model.accept(counts, float)?,
            _ => return Err(CudaError::ForeignState),
        }
        for (position, &count) in state.positions.iter_mut().zip(counts) {
            *position = position.wrapping_add(count as u64);
        }
        Ok(())
    }

    /// Writes `count` bytes per row in one launch, and reads them all: `ahead` moves from where `rows` are. None without a
    /// persistent kernel.
    pub(super) fn run_ahead(
        &self,
        rows: &GpuState,
        ahead: &mut GpuState,
        (last, rngs): (&[u8], &[Rng]),
        options: &SampleOptions,
        count: usize,
    ) -> Result<Option<Vec<Vec<u8>>>, CudaError> {
        let (Weights::Float(model), Memory::Float(from), Memory::Float(to)) =
            (&self.weights, &rows.memory, &mut ahead.memory)
        else {
            return Ok(None);
        };
        let written = model.propose(from, to, last, count, (rngs, options)).map_err(|e| e.after(&rows.positions))?;
        let read = count as u64 + 1;
        ahead.positions.iter_mut().zip(&rows.positions).for_each(|(to, from)| *to = from.wrapping_add(read));
        Ok(written)
    }

    /// Moves `rows` by the first `counts` of the bytes that `ahead` has read of them.
    pub(super) fn catch_up(&self, rows: &mut GpuState, ahead: &GpuState, counts: &[usize]) -> Result<(), CudaError> {
        match (&self.weights, &rows.memory, &ahead.memory) {
            (Weights::Float(model), Memory::Float(rows), Memory::Float(ahead)) => model.follow(rows, ahead, counts)?,
            _ => return Err(CudaError::ForeignState),
        }
        rows.positions.iter_mut().zip(counts).for_each(|(to, &count)| *to = to.wrapping_add(count as u64));
        Ok(())
    }

    fn check(&self, state: &GpuState, rows: usize) -> Result<(), CudaError> {
        if state.model != self.id {
            return Err(CudaError::ForeignState);
        }
        if rows != state.rows() {
            return Err(CudaError::Rows { expected: state.rows(), found: rows });
        }
        Ok(())
    }
}
