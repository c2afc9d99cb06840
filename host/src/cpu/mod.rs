//! Engines on a workstation's processors: weights in memory that suits them, prefill and decode on several threads,
//! many streams at once.
//!
//! * [`Weights`]: a blob in memory, checked fast, and a copy in the order that a backend reads best.
//! * [`IntEngine`]: its integers, with the bits of [`mambabyte_core::Decoder`].
//! * [`FloatEngine`]: a checkpoint in f32.
//! * [`forked`]: threads for a process that was forked from one that had some.

mod blocks;
mod counter;
mod float;
mod int;
mod kept;
mod memory;
mod out;
mod pipeline;
mod pool;
mod source;
mod team;
mod tiled;

pub use float::{FloatEngine, FloatRows};
pub use int::{IntEngine, IntRows};
pub use memory::Weights;
pub use pool::forked;
pub use source::Source;

use mambabyte_core::{Backend, Dims};

/// What to run on. The default is all of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Threads, at least 1.
    pub threads: usize,
    /// Kernels.
    pub backend: Backend,
}

impl Default for Cpu {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads, backend: Backend::detect() }
    }
}

impl Cpu {
    /// One thread, fastest backend.
    pub fn single() -> Self {
        Self { threads: 1, ..Self::default() }
    }

    /// Threads that decode of this shape is spread over: a layer's weights must be worth four meetings of all threads.
    pub fn decode_threads(&self, dims: &Dims) -> usize {
        let layer = dims.d_inner * (3 * dims.d_model + dims.x_proj_rows() + dims.dt_rank);
        self.threads.min(layer / LAYER_BYTES_PER_THREAD).max(1)
    }
}

/// Bytes of a layer that keep a thread busy for about 10 us, where four meetings take 1 to 2 us.
const LAYER_BYTES_PER_THREAD: usize = 512 << 10;

/// Positions of a block: enough that products hide the time in which a weight comes from memory, few enough that a
/// block's activations take 1 MB at a `d_model` of 1024. Kernels take 32 positions at a time.
pub fn block_positions(dims: &Dims) -> usize {
    if dims.d_inner > 1024 { 32 } else { 64 }
}
