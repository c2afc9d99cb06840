//! The seam: a run's machine on a GPU.

use super::teachers::Teachers;
use super::{GpuMachine, download};
use crate::Checkpoint;
use crate::cuda::error::CudaError;
use crate::train::machine::{Change, Machine, Outcome, Parts, join, split};
use crate::train::trainer::TrainError;
use crate::train::{Carry, Loss, Row, Window};

impl Machine for GpuMachine {
    fn step(&mut self, windows: &[Window<'_>], change: Change) -> Result<Outcome, TrainError> {
        Ok(self.train(windows, change)?)
    }

    fn carry_len(&self) -> usize {
        self.params.dims.state_len() + self.teachers.as_ref().map_or(0, Teachers::carry_len)
    }

    fn carries(&self) -> Result<Vec<Carry>, TrainError> {
        let states = std::iter::once(&self.memory.before).chain(self.teachers.iter().flat_map(Teachers::states));
        let mut parts = Vec::new();
        for states in states {
            let values = download(&self.device, states)?;
            parts.push(values.chunks(values.len() / self.batch).map(|state| Carry::of(state.to_vec())).collect());
        }
        Ok(join(parts.iter()))
    }

    fn carry(&mut self, carries: Vec<Carry>) -> Result<(), TrainError> {
        let lengths = std::iter::once(self.params.dims.state_len());
        let lengths: Vec<usize> = lengths.chain(self.teachers.iter().flat_map(Teachers::lengths)).collect();
        let mut parts = split(&carries, lengths.into_iter()).into_iter();
        let states = |carries: &'_ [Carry]| carries.iter().map(Carry::as_slice).collect::<Vec<_>>().concat();
        let own = states(&parts.next().unwrap_or_default());
        self.enter_states(&[&own])?;
        let places = self.teachers.iter_mut().flat_map(Teachers::states_mut);
        for (part, place) in parts.zip(places) {
            self.device.stream().memcpy_htod(&states(&part), place).map_err(CudaError::from)?;
        }
        Ok(self.device.synchronize()?)
    }

    fn losses(&mut self, rows: &mut [Row<'_>]) -> Result<Vec<Loss>, TrainError> {
        Ok(self.judge(rows)?)
    }

    fn parts(&self) -> Result<Parts, TrainError> {
        Ok(self.download_parts()?)
    }

    fn set(&mut self, parts: Parts) -> Result<(), TrainError> {
        Ok(self.upload(parts)?)
    }

    fn last_gradient(&self) -> Result<Checkpoint, TrainError> {
        Ok(self.checkpoint(&self.grad)?)
    }
}
