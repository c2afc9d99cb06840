//! The states of a batch of streams on a GPU.

use super::exact::ExactState;
use super::float::FloatState;

/// What several streams ("rows") carry from byte to byte, with the memory that a forward pass needs. Belongs to one
/// [`GpuModel`](super::GpuModel), which makes, moves and saves it.
pub struct GpuState {
    pub(super) model: u64,
    pub(super) positions: Vec<u64>,
    /// Bytes of each row's draft that was verified last, until it is accepted or a row moves.
    pub(super) drafted: Option<Vec<usize>>,
    pub(super) memory: Memory,
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

/// The bytes of a call, row after row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) tokens: Vec<u8>,
    /// First token of each row, and the end.
    pub(super) starts: Vec<i32>,
    /// Row of each token.
    pub(super) row_of: Vec<i32>,
    /// Last token of each row that has one.
    pub(super) last: Vec<i32>,
}

impl Batch {
    pub(super) fn new(rows: &[&[u8]]) -> Self {
        let mut batch = Self { starts: vec![0], ..Self::default() };
        for (row, bytes) in rows.iter().enumerate() {
            batch.tokens.extend_from_slice(bytes);
            batch.row_of.extend(std::iter::repeat_n(row as i32, bytes.len()));
            let end = batch.tokens.len() as i32;
            batch.starts.push(end);
            if !bytes.is_empty() {
                batch.last.push(end - 1);
            }
        }
        batch
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_ragged() {
        let batch = Batch::new(&[b"ab", b"", b"cde"]);
        assert_eq!(batch.tokens, b"abcde");
        assert_eq!(batch.starts, [0, 2, 2, 5]);
        assert_eq!(batch.row_of, [0, 0, 2, 2, 2]);
        assert_eq!(batch.last, [1, 4]);
        assert_eq!(batch.len(), 5);
    }
}
