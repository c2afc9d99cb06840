//! A model on a GPU, whatever it computes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mambabyte_core::{Blob, Dims, Fingerprint, Rng, SampleOptions, VOCAB};

use super::device::Device;
use super::error::CudaError;
use super::exact::{ExactState, ExactWeights};
use super::state::{Engine as StateEngine, GpuState};
use super::verify::Verified;
use super::{Batch, Precision};
use crate::checkpoint::Checkpoint;

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
}

impl GpuModel {
    /// Uploads a model.
    ///
    /// # Errors
    /// [`CudaError::Precision`] if the source has no such weights, [`CudaError::OutOfMemory`].
    pub fn load<'a>(
        device: &Arc<Device>,
        source: impl Into<Source<'a>>,
        precision: Precision,
    ) -> Result<Self, CudaError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (dims, engine) = match (source.into(), precision) {
            (Source::Blob(blob), Precision::Exact) => {
                (*blob.dims(), Engine::Exact(Box::new(ExactWeights::load(device, &blob)?)))
            }
            (Source::Checkpoint(_), Precision::Exact) => {
                return Err(CudaError::Precision { precision, needs: "a blob" });
            }
            (Source::Blob(_) | Source::Checkpoint(_), _) => {
                return Err(CudaError::Precision {
                    precision,
                    needs: "host::cuda::float or host::cuda::decode, library calls that the command does not have yet",
                });
            }
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

    /// Names the blob, if the model is one.
    pub const fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.engine {
            Engine::Exact(weights) => Some(weights.fingerprint),
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
        }
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
        };
        for (position, row) in state.positions.iter_mut().zip(rows) {
            *position = position.wrapping_add(row.len() as u64);
        }
        Ok(answer)
    }

    /// Reads one byte per row, by a graph of launches that is made once; returns the logits after it.
    ///
    /// # Errors
    /// As [`GpuModel::prefill`].
    pub fn step(&self, bytes: &[u8], state: &mut GpuState) -> Result<Answer, CudaError> {
        self.check(state, bytes.len())?;
        let answer = match (&self.engine, &mut state.engine) {
            (Engine::Exact(weights), StateEngine::Exact(exact)) => exact.step(&self.device, weights, bytes)?,
        };
        state.positions.iter_mut().for_each(|p| *p = p.wrapping_add(1));
        Ok(answer)
    }

    /// Writes `count` bytes per row: reads `last`, samples, reads that, all on the GPU. In exact mode the bytes are those
    /// of [`mambabyte_core::sample`]. `last` becomes the last byte written, which is not read yet; `rngs` go on.
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
        let batch = Batch::new(drafts);
        let answer = match (&self.engine, &mut state.engine) {
            (Engine::Exact(weights), StateEngine::Exact(exact)) => exact.verify(&self.device, weights, &batch)?,
        };
        Ok(Verified::new(self, state, drafts.iter().map(|d| d.to_vec()).collect(), answer))
    }

    /// Moves the state by `counts` bytes of the draft that was verified last.
    pub(super) fn accept(&self, state: &mut GpuState, counts: &[usize]) -> Result<(), CudaError> {
        match (&self.engine, &mut state.engine) {
            (Engine::Exact(weights), StateEngine::Exact(exact)) => exact.accept(&self.device, weights, counts)?,
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
