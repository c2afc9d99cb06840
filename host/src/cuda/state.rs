//! The states of a batch of streams on a GPU.

use super::exact::ExactState;
use super::float::FloatState;

/// What several streams ("rows") carry from byte to byte, with the memory that a forward pass needs. Belongs to one
/// [`GpuModel`](super::GpuModel), which makes, moves and saves it.
pub struct GpuState {
    pub(super) model: u64,
    pub(super) positions: Vec<u64>,
    /// What was read last, until a row moves in another way.
    pub(super) drafted: Option<Drafted>,
    pub(super) memory: Memory,
}

/// Bytes that can be accepted.
pub(super) enum Drafted {
    /// Bytes of each row's draft that was verified last.
    Verified(Vec<usize>),
    /// These rows have run ahead of others, which were here.
    Proposed(Vec<u64>),
}

/// The state by precision.
pub(super) enum Memory {
    Exact(Box<ExactState>),
    Float(Box<FloatState>),
}

impl GpuState {
    /// Number of streams.
    pub fn rows(&self) -> usize {
        self.positions.len()
    }

    /// Bytes that each row has read since the zero state.
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }
}
