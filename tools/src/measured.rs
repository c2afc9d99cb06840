//! What integers cost: bits per byte of a checkpoint and of the blob made of it.

use mambabyte_core::Blob;
use mambabyte_host::Model;
use mambabyte_host::bpb::{Score, evaluate_all};
use mambabyte_host::cpu::{Cpu, FloatEngine, IntEngine};

use crate::error::CliError;
use crate::progress::Progress;

/// f32 and integer bits per byte on the hold-out.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Of the checkpoint.
    pub f32: Score,
    /// Of the blob.
    pub int: Score,
}

impl Measured {
    /// Scores the hold-outs, each as one stream.
    ///
    /// # Errors
    /// [`CliError::Engine`] if threads cannot be started.
    pub fn of(model: &Model, blob: Blob<'_>, holdout: &[&[u8]]) -> Result<Self, CliError> {
        let total: usize = holdout.iter().map(|t| t.len()).sum();
        let bar = Progress::bytes("comparing", 2 * total as u64);
        let (tick, cpu) = (|n| bar.add(n), Cpu::default());
        Ok(Self {
            f32: evaluate_all(&FloatEngine::new(model, cpu.threads), holdout, &tick)?,
            int: evaluate_all(&IntEngine::of(blob, cpu), holdout, &tick)?,
        })
    }

    /// What the integers cost.
    pub fn delta(&self) -> f64 {
        self.int.bits_per_byte() - self.f32.bits_per_byte()
    }
}
