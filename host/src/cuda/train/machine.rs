//! The seam: a run's machine on a GPU.

use super::{GpuMachine, download};
use crate::Checkpoint;
use crate::train::machine::{Change, Machine, Outcome, Parts};
use crate::train::trainer::TrainError;
use crate::train::{Carry, Loss, Row, Window};

impl Machine for GpuMachine {
    fn step(&mut self, windows: &[Window<'_>], change: Change) -> Result<Outcome, TrainError> {
        Ok(self.train(windows, change)?)
    }

    fn carries(&self) -> Result<Vec<Carry>, TrainError> {
        let states = download(&self.device, &self.memory.before)?;
        let dims = &self.params.dims;
        let carry = |state: &[f32]| {
            let mut carry = Carry::zero(dims);
            carry.as_mut_slice().copy_from_slice(state);
            carry
        };
        Ok(states.chunks(dims.state_len()).map(carry).collect())
    }

    fn carry(&mut self, carries: Vec<Carry>) -> Result<(), TrainError> {
        let states: Vec<&[f32]> = carries.iter().map(Carry::as_slice).collect();
        Ok(self.enter_states(&states)?)
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
