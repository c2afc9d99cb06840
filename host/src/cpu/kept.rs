//! What the blocks of a draft keep, so that its row can go to any byte of it: [`Kept`].
//!
//! The state after a part of a draft is computed from the state before it and what every layer has kept: the columns of
//! the convolution and the inputs of the scan ([`Prefill::replay`](mambabyte_core::Prefill::replay)). Layers do not need
//! each other there.

use mambabyte_core::{Dims, State};

/// What the layers have kept of a row's draft. It grows to the longest draft and stays.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Of one block after the other, layer by layer.
    memory: Vec<i16>,
    /// Positions of each block.
    blocks: Vec<usize>,
}

/// Where a job keeps its inputs, if it does.
pub(super) struct Keep<'a> {
    memory: &'a mut [i16],
    blocks: Option<&'a mut Vec<usize>>,
    /// Elements of all layers for a position.
    position: usize,
}

/// A layer of a row on its way to an accepted byte.
pub(super) struct Going<'a> {
    layer: usize,
    state: &'a mut [i16],
    kept: &'a Kept,
    count: usize,
}

impl Kept {
    /// Begins to keep a draft of `positions` bytes.
    pub(super) fn begin(&mut self, dims: &Dims, positions: usize) -> Keep<'_> {
        let position = dims.n_layer * dims.kept_len(1);
        self.blocks.clear();
        self.memory.resize(self.memory.len().max(positions * position), 0);
        Keep { memory: &mut self.memory, blocks: Some(&mut self.blocks), position }
    }

    /// Takes `state` from before the draft to its byte `count`: a job for each layer, in any order.
    pub(super) fn go<'a>(
        &'a self,
        blob: &mambabyte_core::Blob<'_>,
        state: &'a mut State<Vec<i16>>,
        count: usize,
    ) -> impl Iterator<Item = Going<'a>> {
        state.count(count as u64);
        let layers = state.layers_mut(blob).enumerate();
        layers.map(move |(layer, state)| Going { layer, state, kept: self, count })
    }
}

impl<'a> Keep<'a> {
    /// For jobs that keep nothing.
    pub(super) fn nothing() -> Self {
        Self { memory: &mut [], blocks: None, position: 0 }
    }

    /// The memory of the next block of `n` positions, for all layers; empty if nothing is kept.
    pub(super) fn take(&mut self, n: usize) -> &'a mut [i16] {
        if let Some(blocks) = &mut self.blocks {
            blocks.push(n);
        }
        self.memory.split_off_mut(..n * self.position).unwrap_or(&mut [])
    }
}

/// The part of each layer in the memory of a block of `n` positions; without end if nothing is kept.
pub(super) fn layers<'k>(
    dims: &Dims,
    memory: &'k mut [i16],
    n: usize,
) -> impl Iterator<Item = &'k mut [i16]> + use<'k> {
    let kept = memory.chunks_exact_mut(dims.kept_len(n).max(1));
    kept.chain(std::iter::repeat_with(<&mut [i16]>::default))
}

impl Going<'_> {
    /// Goes there: `replay` gets the layer, its state, what it kept of a block, and how many positions of that.
    pub(super) fn run(self, dims: &Dims, mut replay: impl FnMut(usize, &mut [i16], &[i16], usize)) {
        let (mut memory, mut left) = (&self.kept.memory[..], self.count);
        for &positions in &self.kept.blocks {
            let length = dims.kept_len(positions);
            let Some(block) = memory.split_off(..dims.n_layer * length) else { break };
            let count = left.min(positions);
            if let Some(kept) = block.chunks_exact(length.max(1)).nth(self.layer).filter(|_| count > 0) {
                replay(self.layer, self.state, kept, count);
            }
            left -= count;
        }
    }
}
