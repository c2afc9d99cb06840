//! A model on a GPU, whatever it computes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mambabyte_core::{Blob, Dims, Fingerprint, Rng, SampleOptions, VOCAB};

use super::device::Device;
use super::error::CudaError;
use super::exact::{ExactState, ExactWeights};
use super::float::{FloatModel, Values};
use super::state::{Engine as StateEngine, GpuState};
use super::verify::Verified;
use super::{Batch, Precision};
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

/// What a call returns of the bytes that it reads.
#[derive(Clone, Copy, Debug)]
pub enum Want<'a> {
    /// Nothing: only the state moves.
    Nothing,
    /// The logits after the last byte of each row that has one.
    Last,
    /// The logits after every byte.
    All,
    /// What the byte that follows each byte costs. The following bytes are given, as many as are read: for a text, the
    /// text without its first byte and then any byte.
    Surprise(&'a [&'a [u8]]),
}

/// What was asked for by [`Want`], row after row, in each row by time.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nothing was asked for.
    Nothing,
    /// Of an exact model: log2 units, Q16.
    Logits(Vec<mambabyte_core::Logits>),
    /// Of a float model: natural logits.
    FloatLogits(Vec<[f32; VOCAB]>),
    /// Of an exact model: bits in Q16, those of [`mambabyte_core::surprise`].
    Surprise(Vec<u32>),
    /// Of a float model: bits.
    FloatSurprise(Vec<f32>),
}

impl Answer {
    /// Bits that each byte cost, from either kind of surprise; empty for every other answer.
    pub fn bits(&self) -> Vec<f64> {
        match self {
            Self::Surprise(bits) => bits.iter().map(|&b| f64::from(b) / 65_536.0).collect(),
            Self::FloatSurprise(bits) => bits.iter().map(|&b| f64::from(b)).collect(),
            _ => Vec::new(),
        }
    }

    /// Natural logits, from either kind; empty for every other answer.
    pub fn natural_logits(&self) -> Vec<[f64; VOCAB]> {
        match self {
            Self::Logits(all) => all.iter().map(|l| l.map(|l| f64::from(l) * mambabyte_core::LOGIT_SCALE)).collect(),
            Self::FloatLogits(all) => all.iter().map(|l| l.map(f64::from)).collect(),
            _ => Vec::new(),
        }
    }
}

/// Weights in the memory of a GPU.
pub struct GpuModel {
    device: Arc<Device>,
    dims: Dims,
    precision: Precision,
    id: u64,
    engine: Engine,
}

/// The weights by precision.
enum Engine {
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
    /// A checkpoint is computed in f32, in bf16, or in i8: then each row of its matrices is rounded to 255 steps. A blob
    /// is computed in its integers, or as the float model that they stand for: in i8 with the very weights of the blob.
    ///
    /// # Errors
    /// [`CudaError::Precision`] for a checkpoint in integers, [`CudaError::Model`] for a checkpoint that is no model,
    /// [`CudaError::OutOfMemory`], [`CudaError::NoLibrary`] without cuBLASLt, [`CudaError::Shape`].
    /// # Cost
    /// On the GPU: 1 byte a weight in integers, 4 in f32; 4 in bf16 and 3 in i8, since decoding has its own order of the
    /// weights beside that of prefill.
    pub fn load<'a>(
        device: &Arc<Device>,
        source: impl Into<Source<'a>>,
        precision: Precision,
    ) -> Result<Self, CudaError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let float = |values: &Values<'_>| -> Result<Engine, CudaError> {
            Ok(Engine::Float(Box::new(FloatModel::load(device, values, precision)?)))
        };
        let (dims, engine) = match (source.into(), precision) {
            (Source::Blob(blob), Precision::Exact) => {
                (*blob.dims(), Engine::Exact(Box::new(ExactWeights::load(device, &blob)?)))
            }
            (Source::Checkpoint(_), Precision::Exact) => {
                return Err(CudaError::Precision { precision, needs: "a blob (.mbb)" });
            }
            (Source::Blob(blob), _) => (*blob.dims(), float(&Values::Rows(&dequantize(&blob)))?),
            (Source::Checkpoint(checkpoint), _) => (checkpoint.dims, float(&Values::Plain(checkpoint))?),
        };
        // What has been copied from pageable memory is there.
        device.synchronize()?;
        Ok(Self { device: device.clone(), dims, precision, id: NEXT.fetch_add(1, Ordering::Relaxed), engine })
    }

    /// The GPU.
    pub const fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The shape.
    pub const fn dims(&self) -> &Dims {
        &self.dims
    }

    /// What the model computes in.
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// Names the blob, if the model is one in integers.
    pub const fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.engine {
            Engine::Exact(weights) => Some(weights.fingerprint),
            Engine::Float(_) => None,
        }
    }

    /// Whether decoding and verification are one persistent kernel: in bf16 and i8, from compute capability 9.0 on, if a
    /// block of the shape fits a multiprocessor. Else they are a graph of launches.
    pub fn is_persistent(&self) -> bool {
        match &self.engine {
            Engine::Exact(_) => false,
            Engine::Float(model) => model.is_persistent(),
        }
    }

    /// Bytes of weights that one pass of the persistent kernel reads; 0 without it.
    pub fn pass_bytes(&self) -> usize {
        match &self.engine {
            Engine::Exact(_) => 0,
            Engine::Float(model) => model.pass_bytes(),
        }
    }

    /// The zero states of `rows` streams, `1..=256`.
    ///
    /// # Errors
    /// [`CudaError::Shape`], [`CudaError::OutOfMemory`].
    pub fn state(&self, rows: usize) -> Result<GpuState, CudaError> {
        if rows == 0 || rows > 256 {
            return Err(CudaError::Shape { name: "number of rows", found: rows, limit: 256 });
        }
        let engine = match &self.engine {
            Engine::Exact(weights) => StateEngine::Exact(Box::new(ExactState::new(&self.device, weights, rows)?)),
            Engine::Float(model) => StateEngine::Float(Box::new(model.state(rows)?)),
        };
        Ok(GpuState { model: self.id, positions: vec![0; rows], engine })
    }

    /// States that go on from snapshots, one for each row.
    ///
    /// # Errors
    /// [`CudaError::State`] as [`mambabyte_core::State::restore`] has it; [`CudaError::Precision`] if the model is no
    /// blob in integers.
    pub fn restore(&self, snapshots: &[&[u8]]) -> Result<GpuState, CudaError> {
        let mut state = self.state(snapshots.len())?;
        match (&self.engine, &mut state.engine) {
            (Engine::Exact(weights), StateEngine::Exact(exact)) => {
                state.positions = exact.restore(&self.device, weights, snapshots)?;
            }
            _ => return Err(self.no_snapshots()),
        }
        Ok(state)
    }

    /// The state of a row as the core writes it.
    ///
    /// # Errors
    /// [`CudaError::ForeignState`], [`CudaError::Rows`]; [`CudaError::Precision`] if the model is no blob in integers.
    pub fn snapshot(&self, state: &GpuState, row: usize) -> Result<Vec<u8>, CudaError> {
        self.check(state, state.rows())?;
        let position = *state.positions.get(row).ok_or(CudaError::Rows { expected: state.rows(), found: row + 1 })?;
        match (&self.engine, &state.engine) {
            (Engine::Exact(weights), StateEngine::Exact(exact)) => exact.snapshot(&self.device, weights, row, position),
            _ => Err(self.no_snapshots()),
        }
    }

    const fn no_snapshots(&self) -> CudaError {
        CudaError::Precision { precision: self.precision, needs: "read_row and write_row: snapshots are of integers" }
    }

    /// The float state of a row as [`crate::model::Session::state`] has it: per layer `[d_conv - 1, d_inner]` convolution
    /// input, oldest first, then `[d_inner, d_state]` h.
    ///
    /// # Errors
    /// [`CudaError::ForeignState`], also for a model in integers, which has snapshots; [`CudaError::Rows`].
    pub fn read_row(&self, state: &GpuState, row: usize) -> Result<Vec<f32>, CudaError> {
        self.check_row(state, row)?;
        match &state.engine {
            StateEngine::Float(float) => float.read_row(&self.device, row),
            StateEngine::Exact(_) => Err(CudaError::ForeignState),
        }
    }

    /// Sets the float state of a row, which has then read `position` bytes.
    ///
    /// # Errors
    /// As [`GpuModel::read_row`]; [`CudaError::ForeignState`] also if `values` has another length.
    pub fn write_row(&self, state: &mut GpuState, row: usize, values: &[f32], position: u64) -> Result<(), CudaError> {
        self.check_row(state, row)?;
        match &mut state.engine {
            StateEngine::Float(float) => float.write_row(&self.device, row, values)?,
            StateEngine::Exact(_) => return Err(CudaError::ForeignState),
        }
        state.positions[row] = position;
        Ok(())
    }

    fn check_row(&self, state: &GpuState, row: usize) -> Result<(), CudaError> {
        self.check(state, state.rows())?;
        if row < state.rows() { Ok(()) } else { Err(CudaError::Rows { expected: state.rows(), found: row + 1 }) }
    }

    /// Reads bytes from any state on, each row its own number of them.
    ///
    /// # Errors
    /// [`CudaError::Rows`], [`CudaError::ForeignState`], [`CudaError::OutOfMemory`]; the state is then as it was or,
    /// after a failure of the GPU, lost.
    /// # Cost
    /// Long texts are read in blocks, so memory does not grow with them, but for what is returned.
    pub fn prefill(&self, rows: &[&[u8]], state: &mut GpuState, want: Want<'_>) -> Result<Answer, CudaError> {
        self.check(state, rows.len())?;
        if let Want::Surprise(next) = want {
            let same = next.len() == rows.len() && next.iter().zip(rows).all(|(n, r)| n.len() == r.len());
            if !same {
                return Err(CudaError::Rows { expected: rows.len(), found: next.len() });
            }
        }
        let answer = match (&self.engine, &mut state.engine) {
            (Engine::Exact(weights), StateEngine::Exact(exact)) => exact.prefill(&self.device, weights, rows, want)?,
            (Engine::Float(model), StateEngine::Float(float)) => model.prefill(rows, float, want)?,
            _ => return Err(CudaError::ForeignState),
        };
        for (position, row) in state.positions.iter_mut().zip(rows) {
            *position = position.wrapping_add(row.len() as u64);
        }
        Ok(answer)
    }

    /// Reads one byte per row, in one launch (a graph if not by the persistent kernel); returns the logits after it.
    ///
    /// # Errors
    /// As [`GpuModel::prefill`].
    pub fn step(&self, bytes: &[u8], state: &mut GpuState) -> Result<Answer, CudaError> {
        self.check(state, bytes.len())?;
        let answer = match (&self.engine, &mut state.engine) {
            (Engine::Exact(weights), StateEngine::Exact(exact)) => exact.step(&self.device, weights, bytes)?,
            (Engine::Float(model), StateEngine::Float(float)) => float_logits(model.step(bytes, float)?),
            _ => return Err(CudaError::ForeignState),
        };
        state.positions.iter_mut().for_each(|p| *p = p.wrapping_add(1));
        Ok(answer)
    }

    /// Writes `count` bytes per row: reads `last`, samples, reads that, all on the GPU. `last` becomes the last byte
    /// written, which is not read yet.
    ///
    /// The bytes are those of [`mambabyte_core::sample()`] and `rngs` go on, whatever the precision: float logits are rounded
    /// to its units ([`crate::model::logit_units`]). A row draws by its own generator and nothing else, so its text does not
    /// depend on its neighbours, nor on how many bytes a call writes.
    ///
    /// # Errors
    /// As [`GpuModel::prefill`].
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
        let text = match (&self.engine, &mut state.engine) {
            (Engine::Exact(weights), StateEngine::Exact(exact)) => {
                exact.decode(&self.device, weights, count, last, rngs, options)?
            }
            (Engine::Float(model), StateEngine::Float(float)) => model.decode(count, last, (rngs, options), float)?,
            _ => return Err(CudaError::ForeignState),
        };
        state.positions.iter_mut().for_each(|p| *p = p.wrapping_add(count as u64));
        Ok(text)
    }

    /// Scores drafted bytes, up to 32 per row, without moving the state: [`Verified::accept`] moves it. `verify` of K
    /// bytes gives the bits of K times [`GpuModel::step`].
    ///
    /// # Errors
    /// [`CudaError::Shape`] for longer drafts; else as [`GpuModel::prefill`].
    pub fn verify<'s>(&'s self, drafts: &[&[u8]], state: &'s mut GpuState) -> Result<Verified<'s>, CudaError> {
        self.check(state, drafts.len())?;
        if let Some(long) = drafts.iter().find(|d| d.len() > super::MAX_DRAFT) {
            return Err(CudaError::Shape { name: "length of a draft", found: long.len(), limit: super::MAX_DRAFT });
        }
        let answer = match (&self.engine, &mut state.engine) {
            (Engine::Exact(weights), StateEngine::Exact(exact)) => {
                exact.verify(&self.device, weights, &Batch::new(drafts))?
            }
            (Engine::Float(model), StateEngine::Float(float)) => float_logits(model.verify(drafts, float)?),
            _ => return Err(CudaError::ForeignState),
        };
        Ok(Verified::new(self, state, drafts.iter().map(|d| d.to_vec()).collect(), answer))
    }

    /// Moves the state by `counts` bytes of the draft that was verified last.
    pub(super) fn accept(&self, state: &mut GpuState, counts: &[usize]) -> Result<(), CudaError> {
        match (&self.engine, &mut state.engine) {
            (Engine::Exact(weights), StateEngine::Exact(exact)) => exact.accept(&self.device, weights, counts)?,
            (Engine::Float(model), StateEngine::Float(float)) => model.accept(counts, float)?,
            _ => return Err(CudaError::ForeignState),
        }
        for (position, &count) in state.positions.iter_mut().zip(counts) {
            *position = position.wrapping_add(count as u64);
        }
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
