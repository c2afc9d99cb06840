//! Training on a GPU: [`GpuMachine`] makes a run's steps, in f32 or with products and activations in bf16.
//!
//! Weights, moments and average are f32 in both. Activations of all layers stay on the GPU for the way back; the scan keeps
//! its states before every tile and computes the rest again. Every sum has one order and no kernel adds atomically: two runs
//! have the same bits. They are not those of a CPU, whose products add in another order; `PERFORMANCE.md` beside
//! this file says how far apart they are.
//!
//! * `params`: where parameters lie; `memory`: what a step works with; `scan`, `kernels`, `args`: what is launched.
//! * `teachers`, `rounding`: what a loss may aim at beside the text, and few bits in the loop.
//! * `machine`: what a run asks of it; `pass`: forward and back; `update`: what a gradient does to the weights.

pub(crate) mod args;
mod batch;
mod kernels;
mod machine;
mod memory;
mod params;
mod pass;
mod rounding;
mod scan;
mod teachers;
#[cfg(test)]
mod tests;
mod timeline;
mod update;

use std::fmt::Debug;
use std::sync::Arc;

use cudarc::driver::CudaSlice;
use mambabyte_core::VOCAB;
use mambabyte_core::dims::Norm;

use self::batch::{Part, ends};
use self::kernels::Kernels;
use self::memory::{EMBED_SHARED, Keep, Memory};
use self::params::Params;
use self::pass::{Pass, Weights};
use self::scan::Scan;
use self::teachers::Teachers;
use self::timeline::Timeline;
use self::update::{Numbers, Room, State, Update};
use super::Device;
use super::error::CudaError;
use super::float::buffer::{Element, to_bf16};
use super::float::gemm::Blas;
use crate::train::average::Average;
use crate::train::machine::{Change, Machine, Outcome, Parts};
use crate::train::optimizer::Optimizer;
use crate::train::rounding::Rounding;
use crate::train::teachers::Teaching;
use crate::train::trainer::TrainError;
use crate::train::{Loss, Row, Window, zeros_like};
use crate::{Checkpoint, Model};

/// What products and activations are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Products {
    /// f32, never TF32.
    F32,
    /// bf16 with sums in f32: twice to ten times as fast, the wider the model.
    #[default]
    Bf16,
}

/// A run's parts on a GPU.
pub struct GpuMachine {
    device: Arc<Device>,
    blas: Blas,
    kernels: Kernels,
    scan: Scan,
    params: Params,
    element: Element,
    memory: Memory,
    room: Room,
    state: State,
    grad: CudaSlice<f32>,
    a: CudaSlice<f32>,
    /// Of the average, where it is computed with.
    average_rounded: Option<CudaSlice<u16>>,
    rounding: Rounding,
    /// The rounded weights, or average, that are computed with, if the run rounds.
    few: Option<CudaSlice<f32>>,
    teachers: Option<Teachers>,
    /// Shapes, steps and settings; the values are on the GPU.
    like: Parts,
    batch: usize,
    seq_len: usize,
    timeline: Option<Timeline>,
}

impl Debug for GpuMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GpuMachine({:?}, {} rows of {}, {:?})", self.device, self.batch, self.seq_len, self.element)
    }
}

impl From<CudaError> for TrainError {
    fn from(error: CudaError) -> Self {
        Self::Machine(error.to_string())
    }
}

/// Downloads an array, after all work so far.
fn download(device: &Device, slice: &CudaSlice<f32>) -> Result<Vec<f32>, CudaError> {
    Ok(device.stream().clone_dtoh(slice)?)
}

impl GpuMachine {
    /// Takes a run's parts to the GPU, for batches of `batch` rows of `window` symbols: bytes, or those of any vocabulary of at
    /// most 65,536, which has no teachers.
    ///
    /// # Errors
    /// [`CudaError::Shape`] for widths that are no multiples of 8 and what else the kernels have no form of,
    /// [`CudaError::OutOfMemory`] says what for and how much, [`CudaError::NoLibrary`] without cuBLASLt.
    pub fn new(
        device: &Arc<Device>,
        parts: Parts,
        products: Products,
        (batch, window): (usize, usize),
        (rounding, teaching): (Rounding, &Teaching),
    ) -> Result<Self, CudaError> {
        let dims = parts.weights.dims;
        let element = match products {
            Products::F32 => Element::F32,
            Products::Bf16 => Element::Bf16,
        };
        let kernels = Kernels::load(device, element, &dims)?;
        kernels.embed_back.allow_shared(EMBED_SHARED)?;
        let scan = Scan::load(device, element, &dims, batch)?;
        let params = Params::new(&parts.weights);
        let memory = Memory::new(device, &params, element, (batch, window), scan.sizes(window), Keep::All)?;
        let place = params.place("a_log");
        let (zeros, halves) = (|| device.zeros("parameters", params.len), || device.zeros("parameters", params.len));
        let rounded = (element == Element::Bf16).then(halves).transpose()?;
        let average_rounded = (element == Element::Bf16).then(halves).transpose()?;
        let state = State { w: zeros()?, m: zeros()?, v: zeros()?, average: zeros()?, rounded };
        let mut this = Self {
            device: device.clone(),
            blas: Blas::new(device)?,
            kernels,
            scan,
            element,
            memory,
            room: Room::new(device, &params, element)?,
            state,
            grad: zeros()?,
            a: device.zeros("decays", place.size * place.layers)?,
            average_rounded,
            rounding,
            few: (rounding != Rounding::None).then(zeros).transpose()?,
            teachers: Teachers::new(device, teaching, element, (batch, window))?,
            like: parts.clone(),
            batch,
            seq_len: window,
            params,
            timeline: None,
        };
        this.upload(parts)?;
        Ok(this)
    }

    /// The same, as a run has it.
    ///
    /// # Errors
    /// As [`GpuMachine::new`]; [`ModelError`](crate::model::ModelError) for weights that are no model.
    /// # Panics
    /// If a model of other symbols than bytes has teachers.
    pub fn boxed(
        device: &Arc<Device>,
        parts: Parts,
        products: Products,
        shape: (usize, usize),
        (rounding, teaching): (Rounding, &Teaching),
    ) -> Result<Box<dyn Machine>, TrainError> {
        assert!(parts.weights.vocabulary() == VOCAB || teaching.teachers.is_empty(), "teachers are models of bytes");
        Model::of_symbols(parts.weights.clone())?;
        for weights in &teaching.teachers {
            Model::new(weights.clone())?;
        }
        Ok(Box::new(Self::new(device, parts, products, shape, (rounding, teaching))?))
    }

    /// One step as [`Machine::step`] makes it, with the milliseconds and the number of launches of each kind.
    ///
    /// # Errors
    /// As [`Machine::step`].
    pub fn timed_step(
        &mut self,
        windows: &[Window<'_>],
        change: Change,
    ) -> Result<Vec<(&'static str, f64, usize)>, TrainError> {
        self.timeline = Some(Timeline::default());
        self.step(windows, change)?;
        Ok(self.timeline.take().unwrap_or_default().read()?)
    }

    fn upload(&mut self, parts: Parts) -> Result<(), CudaError> {
        let stream = self.device.stream();
        let weights = self.params.pack(&parts.weights);
        if let Some(rounded) = &mut self.state.rounded {
            let halves: Vec<u16> = weights.iter().map(|&w| to_bf16(w)).collect();
            stream.memcpy_htod(&halves, rounded)?;
        }
        stream.memcpy_htod(&weights, &mut self.state.w)?;
        stream.memcpy_htod(&self.params.pack(&parts.average.weights), &mut self.state.average)?;
        let (mut m, mut v) = (zeros_like(&parts.weights), zeros_like(&parts.weights));
        let tensors = m.tensors_mut().into_iter().zip(v.tensors_mut()).zip(&parts.optimizer.moments);
        for (((.., m), (.., v)), moments) in tensors {
            m.copy_from_slice(&moments.first);
            if !moments.second.is_empty() {
                v.copy_from_slice(&moments.second);
            }
        }
        stream.memcpy_htod(&self.params.pack(&m), &mut self.state.m)?;
        stream.memcpy_htod(&self.params.pack(&v), &mut self.state.v)?;
        self.like = parts;
        self.device.synchronize()
    }

    /// An array like the weights, from the GPU.
    fn checkpoint(&self, slice: &CudaSlice<f32>) -> Result<Checkpoint, CudaError> {
        let mut checkpoint = zeros_like(&self.like.weights);
        self.params.unpack(&download(&self.device, slice)?, &mut checkpoint);
        Ok(checkpoint)
    }

    fn download_parts(&self) -> Result<Parts, CudaError> {
        let (mut m, mut v) = (self.checkpoint(&self.state.m)?, self.checkpoint(&self.state.v)?);
        let mut optimizer: Optimizer = self.like.optimizer.clone();
        let tensors = m.tensors_mut().into_iter().zip(v.tensors_mut()).zip(&mut optimizer.moments);
        for (((.., m), (.., v)), moments) in tensors {
            moments.first.copy_from_slice(m);
            if !moments.second.is_empty() {
                moments.second.copy_from_slice(v);
            }
        }
        let tied = |slice| {
            let mut checkpoint = self.checkpoint(slice)?;
            checkpoint.tie_decays();
            Ok::<_, CudaError>(checkpoint)
        };
        let mut average: Average = self.like.average.clone();
        average.weights = tied(&self.state.average)?;
        Ok(Parts { weights: tied(&self.state.w)?, optimizer, average })
    }

    fn pass(&self, average: bool) -> Pass<'_> {
        let (w, rounded) = match average {
            false => (&self.state.w, &self.state.rounded),
            true => (&self.state.average, &self.average_rounded),
        };
        let f32 = self.device.address(self.few.as_ref().unwrap_or(w));
        let typed = rounded.as_ref().map_or(f32, |rounded| self.device.address(rounded));
        Pass {
            device: &self.device,
            blas: &self.blas,
            kernels: &self.kernels,
            scan: &self.scan,
            params: &self.params,
            memory: &self.memory,
            element: self.element,
            weights: Weights { f32, typed, a: self.device.address(&self.a) },
            batch: self.batch,
            seq_len: self.seq_len,
            eps: self.like.weights.norm_eps,
            centred: self.like.weights.dims.norm == Norm::Layer,
            timeline: self.timeline.as_ref(),
        }
    }

    /// Rounds the weights, or their average, if the run does.
    fn round(&mut self, average: bool) -> Result<(), CudaError> {
        let Some(few) = &mut self.few else { return Ok(()) };
        let (from, typed) = match average {
            false => (&self.state.w, &self.state.rounded),
            true => (&self.state.average, &self.average_rounded),
        };
        rounding::round((&self.device, &self.kernels, &self.params), self.rounding, from, few, typed.as_ref())
    }

    fn train(&mut self, windows: &[Window<'_>], change: Change) -> Result<Outcome, CudaError> {
        let symbols: usize = windows.iter().map(|window| window.symbols.len()).sum();
        assert!(
            windows.len() == self.batch && symbols == self.batch * self.seq_len,
            "a batch of the shape that the machine was made for"
        );
        let parts: Vec<Part<'_>> = windows.iter().map(|window| Part::of(window, 0..self.seq_len)).collect();
        self.memory.enter(&self.device, self.seq_len, &parts)?;
        self.device.stream().memset_zeros(&mut self.memory.dres)?;
        if let Some(timeline) = &self.timeline {
            timeline.mark(&self.device, "begin")?;
        }
        self.round(false)?;
        if let Some(teachers) = &mut self.teachers {
            teachers.read(&self.device, &self.blas, &self.memory)?;
        }
        let grad = self.device.address(&self.grad);
        let pass = self.pass(false);
        let aim = self.teachers.as_ref().map(|teachers| teachers.aim(&self.device, &self.blas));
        pass.forward()?;
        pass.head(Some(grad), aim.as_ref())?;
        pass.back(grad)?;
        let numbers = Numbers {
            mean: 1.0 / symbols.max(1) as f64,
            clip: change.clip,
            rate: change.rate,
            decay: self.like.optimizer.decay,
            step: self.like.optimizer.steps + 1,
            share: self.like.average.count(),
        };
        let update = Update {
            device: &self.device,
            blas: &self.blas,
            kernels: &self.kernels,
            params: &self.params,
            element: self.element,
            matrices: self.like.optimizer.matrices,
            timeline: self.timeline.as_ref(),
        };
        let losses = (&self.memory.nats, self.batch * self.seq_len);
        update.apply(&self.state, &self.grad, losses, &self.room, numbers)?;
        self.memory.leave(&self.device, windows, self.params.dims.state_len())?;
        if let Some(teachers) = &mut self.teachers {
            teachers.leave(&self.device, windows)?;
        }
        let found = self.device.stream().clone_dtoh(&self.room.outcome)?;
        let found = found.first().copied().unwrap_or_default();
        if found.good != 0 {
            self.like.optimizer.steps += 1;
        } else {
            self.like.average.steps -= 1;
        }
        Ok(Outcome { loss: Loss { nats: found.nats, symbols }, norm: found.norm })
    }

    /// What the first rows carry; the others have zero states.
    fn enter_states(&mut self, states: &[&[f32]]) -> Result<(), CudaError> {
        let mut all = states.concat();
        all.resize(self.memory.before.len(), 0.0);
        self.device.stream().memcpy_htod(&all, &mut self.memory.before)?;
        self.device.synchronize()
    }

    fn judge(&mut self, rows: &mut [Row<'_>]) -> Result<Vec<Loss>, CudaError> {
        if let Some(rounded) = &mut self.average_rounded {
            let average = download(&self.device, &self.state.average)?;
            let halves: Vec<u16> = average.iter().map(|&w| to_bf16(w)).collect();
            self.device.stream().memcpy_htod(&halves, rounded)?;
        }
        self.round(true)?;
        // What the rows of the run carry is not touched.
        let room = self.device.zeros("states", self.memory.before.len())?;
        let carried = std::mem::replace(&mut self.memory.before, room);
        let losses = self.judge_from_carries(rows);
        self.memory.before = carried;
        losses
    }

    /// [`GpuMachine::judge`] with the average rounded, over what `memory.before` has.
    fn judge_from_carries(&mut self, rows: &mut [Row<'_>]) -> Result<Vec<Loss>, CudaError> {
        let mut losses = Vec::with_capacity(rows.len());
        for group in rows.chunks_mut(self.batch) {
            let longest = group.iter().map(|row| row.symbols.len()).max().unwrap_or(0);
            let mut found = vec![Loss::default(); group.len()];
            for from in (0..longest).step_by(self.seq_len) {
                let states: Vec<&[f32]> = group.iter().map(|row| row.carry.as_slice()).collect();
                self.enter_states(&states)?;
                let windows = group.iter().map(Row::window);
                let parts: Vec<Part<'_>> = windows.map(|window| Part::of(&window, from..from + self.seq_len)).collect();
                self.memory.enter(&self.device, self.seq_len, &parts)?;
                let lengths: Vec<usize> = parts.iter().map(|part| part.symbols.len()).collect();
                let pass = self.pass(true);
                pass.forward()?;
                pass.head(None, None)?;
                let nats = download(&self.device, &self.memory.nats)?;
                for ((loss, &length), nats) in found.iter_mut().zip(&lengths).zip(nats.chunks(self.seq_len)) {
                    loss.nats += nats[..length].iter().map(|&n| f64::from(n)).sum::<f64>();
                    loss.symbols += length;
                }
                let after = download(&self.device, &self.memory.after)?;
                for (row, state) in group.iter_mut().zip(after.chunks(self.params.dims.state_len())) {
                    row.carry.as_mut_slice().copy_from_slice(state);
                    if ends(&row.window()) {
                        row.carry.as_mut_slice().fill(0.0);
                    }
                }
            }
            losses.extend(found);
        }
        Ok(losses)
    }
}
