//! Prefill on several threads: a wave of blocks through the layers.
//!
//! Block `b` may enter layer `l` when it has left layer `l - 1` and block `b - 1` has left layer `l`. A thread takes the
//! next block through all layers and follows the one before it at a distance of one layer. So nothing inside a layer is
//! divided, a layer's weights are read by all threads at nearly the same time, and the only meetings are one per block
//! and layer. The oldest block never waits, however few threads the system gives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use mambabyte_core::{Logits, Prefill, Run, State, Want};

use super::turn::{Alive, Turn};

/// A block of fewer positions is not worth a thread.
pub(super) const MIN_POSITIONS: usize = 16;

/// One layer's state, and how many blocks have passed it.
struct Slot<'s> {
    passed: Turn,
    state: Mutex<&'s mut [i16]>,
}

/// Everything that the threads of one prefill share.
struct Wave<'a, 's, Map, See> {
    blocks: Vec<&'a [u8]>,
    positions: usize,
    next: AtomicUsize,
    slots: Vec<Slot<'s>>,
    want: Want,
    map: &'a Map,
    see: Mutex<&'a mut See>,
    seen: Turn,
    alive: Alive,
}

/// Reads `bytes` into `state` with one thread per worker. `map` turns the logits after bytes `first`, `first + 1`, ...
/// into a result, on the thread that computed them; `see` gets the results in order.
///
/// The worker of a state of another model is the caller's mistake: the state must be of the workers' blob.
pub(super) fn read<R: Send>(
    workers: &mut [Prefill<'_, Vec<i32>>],
    state: &mut State<Vec<i16>>,
    bytes: &[u8],
    want: Want,
    map: &(impl Fn(usize, &[Logits]) -> R + Sync),
    see: &mut (impl FnMut(R) + Send),
) {
    let Some(first) = workers.first() else { return };
    let blob = *first.blob();
    // Short texts are cut so that every thread has a block, down to 16 positions.
    let positions = bytes.len().div_ceil(workers.len()).max(MIN_POSITIONS).min(first.positions());
    let blocks: Vec<&[u8]> = bytes.chunks(positions).collect();
    let threads = workers.len().min(blocks.len()).max(1);
    let slots = state.layers_mut(&blob).map(|s| Slot { passed: Turn::default(), state: Mutex::new(s) }).collect();
    let (see, seen, alive) = (Mutex::new(see), Turn::default(), Alive::default());
    let next = AtomicUsize::new(0);
    let wave = Wave { blocks, positions, next, slots, want, map, see, seen, alive };
    std::thread::scope(|scope| {
        let (head, rest) = workers.split_at_mut(1);
        for worker in rest.iter_mut().take(threads - 1) {
            let wave = &wave;
            if Builder::new().spawn_scoped(scope, move || wave.run(worker)).is_err() {
                break;
            }
        }
        if let Some(worker) = head.first_mut() {
            wave.run(worker);
        }
    });
    drop(wave);
    state.count(bytes.len() as u64);
}

impl<R, Map: Fn(usize, &[Logits]) -> R, See: FnMut(R)> Wave<'_, '_, Map, See> {
    /// The blocks of one thread.
    fn run(&self, worker: &mut Prefill<'_, Vec<i32>>) {
        let _guard = self.alive.guard();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(block) = self.blocks.get(number) else { return };
            worker.embed(block);
            for (layer, slot) in self.slots.iter().enumerate() {
                if !slot.passed.wait(number, &self.alive) {
                    return;
                }
                let mut state = slot.state.lock().unwrap_or_else(PoisonError::into_inner);
                worker.layer(layer, &mut [Run { state: &mut state, positions: block.len() }]);
                drop(state);
                slot.passed.advance(number + 1);
            }
            let first = number * self.positions;
            let result = match self.want {
                Want::All => Some((self.map)(first, worker.logits())),
                Want::Last if number + 1 == self.blocks.len() => {
                    Some((self.map)(first + block.len() - 1, std::slice::from_ref(worker.last_logits())))
                }
                _ => None,
            };
            if !self.seen.wait(number, &self.alive) {
                return;
            }
            if let Some(result) = result {
                (self.see.lock().unwrap_or_else(PoisonError::into_inner))(result);
            }
            self.seen.advance(number + 1);
        }
    }
}
