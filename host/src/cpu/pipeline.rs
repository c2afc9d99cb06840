//! A long text of one row on several threads: a pipeline of blocks through the layers.
//!
//! Block `b` may enter layer `l` when it has left layer `l - 1` and block `b - 1` has left layer `l`. A thread takes
//! the next block through all layers and follows the one before it at a distance of one layer. So nothing inside a
//! layer is divided, a layer's weights are read by all threads at nearly the same time, and threads wait for each other
//! only once per block and layer. The oldest block never waits, however few threads the system gives.

use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use mambabyte_core::Run;

use super::blocks::{Job, Worker, show};
use super::counter::{Alive, Counter};
use super::kept::layers;
use super::out::Out;

/// A block of fewer positions is not worth a thread.
pub(super) const MIN_POSITIONS: usize = 16;

/// One layer's state, and how many blocks have passed it.
struct Slot<'s> {
    passed: Counter,
    state: Mutex<&'s mut [i16]>,
}

/// A block of the text, and where its logits go.
struct Block<'a> {
    number: usize,
    text: &'a [u8],
    out: Out<'a, i32>,
    keep: &'a mut [i16],
}

/// Everything that the threads share.
struct Pipeline<'a, 's> {
    /// The blocks that no thread has taken yet, the last one first.
    blocks: Mutex<Vec<Block<'a>>>,
    slots: Vec<Slot<'s>>,
    alive: Alive,
}

/// Reads the bytes of `job` with one thread per worker.
///
/// A state of another model is the caller's mistake: the state must be of the workers' blob.
pub(super) fn read(workers: &mut [Worker<'_>], job: &mut Job<'_>) {
    let threads = workers.len();
    let Some((worker, others)) = workers.split_first_mut() else { return };
    let blob = *worker.blob();
    // Short texts are cut so that every thread has a block, down to 16 positions.
    let positions = job.text.len().div_ceil(threads).max(MIN_POSITIONS).min(worker.positions());
    let cut = job.text.chunks(positions).enumerate();
    let end = job.text.len().div_ceil(positions);
    let mut blocks: Vec<Block<'_>> = cut
        .map(|(number, text)| {
            let (out, keep) = (job.out.take(text.len(), number + 1 == end), job.keep.take(text.len()));
            Block { number, text, out, keep }
        })
        .collect();
    blocks.reverse();
    let slots =
        job.state.layers_mut(&blob).map(|s| Slot { passed: Counter::default(), state: Mutex::new(s) }).collect();
    let pipeline = Pipeline { blocks: Mutex::new(blocks), slots, alive: Alive::default() };
    std::thread::scope(|scope| {
        for worker in others.iter_mut().take(end.saturating_sub(1)) {
            let pipeline = &pipeline;
            if Builder::new().spawn_scoped(scope, move || pipeline.run(worker)).is_err() {
                break;
            }
        }
        pipeline.run(worker);
    });
    job.state.count(job.text.len() as u64);
}

impl<'a> Pipeline<'a, '_> {
    fn next(&self) -> Option<Block<'a>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// The blocks of one thread.
    fn run(&self, worker: &mut Worker<'_>) {
        let _guard = self.alive.guard();
        while let Some(block) = self.next() {
            let positions = block.text.len();
            let mut kept = layers(worker.blob().dims(), block.keep, positions);
            worker.embed(block.text);
            for (layer, slot) in self.slots.iter().enumerate() {
                if !slot.passed.wait(block.number, &self.alive) {
                    return;
                }
                let mut state = slot.state.lock().unwrap_or_else(PoisonError::into_inner);
                let keep = kept.next().unwrap_or(&mut []);
                worker.layer(layer, &mut [Run { state: &mut state, positions, keep }]);
                drop(state);
                slot.passed.advance(block.number + 1);
            }
            show(worker, vec![(positions, block.out)]);
        }
    }
}
