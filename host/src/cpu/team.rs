//! Decode on several threads: a team of [`Shard`]s that meet four times a layer.
//!
//! Every shard keeps its own channels of the state between steps. What a shard computed goes through a box of its own,
//! which the others copy from after a meeting; a box is written again three meetings later at the earliest, so no
//! thread ever waits for a lock. Between steps the threads spin for a moment and then sleep, and hold no lock of a state: a
//! process that is forked then has the states, if not the threads.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use mambabyte_core::{Backend, Blob, Exchange, Logits, Shard, Share, State, VOCAB};

use super::counter::{Alive, Counter};
use super::memory::Weights;

/// What one shard gives to the others, a box for each kind.
#[derive(Default)]
struct Boxes {
    x: RwLock<Vec<i16>>,
    selected: RwLock<Vec<i16>>,
    gated: RwLock<Vec<i32>>,
    /// The bits of the magnitudes of the gated output.
    bits: AtomicU32,
    residual: RwLock<Vec<i32>>,
    logits: RwLock<Vec<i32>>,
}

/// What a team shares.
struct Shared {
    shares: Vec<Share>,
    boxes: Vec<Boxes>,
    /// The state of each shard's own channels, layer by layer.
    states: Vec<Mutex<Vec<i16>>>,
    /// Steps asked for; the byte of the last one.
    asked: Counter,
    byte: AtomicU8,
    /// Arrivals at all meetings so far.
    arrivals: Counter,
    alive: Alive,
    stop: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts `values` into a box.
fn put<T: Copy>(place: &RwLock<Vec<T>>, values: &[T]) {
    let mut place = place.write().unwrap_or_else(PoisonError::into_inner);
    place.clear();
    place.extend_from_slice(values);
}

/// Copies a box out.
fn get<T: Copy>(place: &RwLock<Vec<T>>, out: &mut [T]) {
    let place = place.read().unwrap_or_else(PoisonError::into_inner);
    if place.len() == out.len() {
        out.copy_from_slice(&place);
    }
}

/// Where the shards of a step exchange what they computed.
struct Meeting<'m> {
    shared: &'m Shared,
    index: usize,
    /// Meetings so far.
    meetings: usize,
}

impl Meeting<'_> {
    /// Waits until all threads have arrived as often as this one.
    fn meet(&mut self) -> Option<()> {
        self.meetings += 1;
        self.shared.arrivals.increment();
        self.shared.arrivals.wait(self.meetings * self.shared.shares.len(), &self.shared.alive).then_some(())
    }

    /// Gives this shard's part of `all` to the others and copies their parts in.
    fn exchange<T: Copy>(
        &mut self,
        all: &mut [T],
        part: impl Fn(&Share) -> Range<usize>,
        place: impl Fn(&Boxes) -> &RwLock<Vec<T>>,
    ) -> Option<()> {
        let shared = self.shared;
        let (own, boxes) = (shared.shares.get(self.index)?, shared.boxes.get(self.index)?);
        put(place(boxes), all.get(part(own))?);
        self.meet()?;
        for (other, (share, boxes)) in shared.shares.iter().zip(&shared.boxes).enumerate() {
            if other != self.index {
                get(place(boxes), all.get_mut(part(share))?);
            }
        }
        Some(())
    }
}

impl Exchange for Meeting<'_> {
    fn x(&mut self, x: &mut [i16]) -> Option<()> {
        self.exchange(x, |s| s.channels.clone(), |b| &b.x)
    }

    fn selected(&mut self, selected: &mut [i16]) -> Option<()> {
        self.exchange(selected, |s| s.select.clone(), |b| &b.selected)
    }

    fn gated(&mut self, gated: &mut [i32], bits: u32) -> Option<u32> {
        let shared = self.shared;
        shared.boxes.get(self.index)?.bits.store(bits, Ordering::Release);
        self.exchange(gated, |s| s.channels.clone(), |b| &b.gated)?;
        Some(shared.boxes.iter().fold(0, |all, b| all | b.bits.load(Ordering::Acquire)))
    }

    fn residual(&mut self, residual: &mut [i32]) -> Option<()> {
        self.exchange(residual, |s| s.output.clone(), |b| &b.residual)
    }
}

/// One shard with what it needs between steps.
struct Worker<'b> {
    blob: Blob<'b>,
    index: usize,
    shard: Shard<'b, Vec<i32>>,
    /// Per layer: convolution weights and `a_log` of the own channels.
    strided: Vec<u8>,
    /// Meetings so far.
    meetings: usize,
}

impl<'b> Worker<'b> {
    fn new(blob: Blob<'b>, backend: Backend, index: usize, share: &Share) -> Self {
        let dims = *blob.dims();
        let n = share.strided_len(&dims);
        let mut strided = vec![0; dims.n_layer * n];
        for (layer, own) in blob.blocks().zip(strided.chunks_exact_mut(n.max(1))) {
            share.take_strided(&dims, &layer, own);
        }
        let shard = Shard::new(blob, backend, share.clone(), vec![0; dims.shard_len()]);
        // The memory has just been sized by the function that `Shard::new` checks.
        let shard = shard.unwrap_or_else(|_| unreachable!());
        Self { blob, index, shard, strided, meetings: 0 }
    }

    /// One byte; `None` if another thread died.
    fn step(&mut self, shared: &Shared, byte: u8) -> Option<()> {
        let mut state = lock(shared.states.get(self.index)?);
        let mut meeting = Meeting { shared, index: self.index, meetings: self.meetings };
        let logits = self.shard.step(byte, &mut state, &self.strided, &mut meeting)?;
        // Before the last meeting, after which the caller may do anything.
        drop(state);
        put(&shared.boxes.get(self.index)?.logits, logits);
        meeting.meet()?;
        self.meetings = meeting.meetings;
        Some(())
    }
}

/// The threads, and the shard that runs on the caller's.
pub(super) struct Team<'b> {
    /// The process whose threads they are.
    process: u32,
    shared: Arc<Shared>,
    lead: Worker<'b>,
    threads: Vec<JoinHandle<()>>,
    steps: usize,
    logits: Box<Logits>,
}

/// The life of a thread: a step whenever one is asked for.
fn serve(weights: &Weights, backend: Backend, index: usize, shared: &Shared) {
    let _guard = shared.alive.guard();
    let Some(share) = shared.shares.get(index) else { return shared.alive.kill() };
    let mut worker = Worker::new(weights.blob_for(backend), backend, index, share);
    let mut steps = 0;
    loop {
        steps += 1;
        if !shared.asked.wait(steps, &shared.alive) || shared.stop.load(Ordering::Acquire) {
            return;
        }
        if worker.step(shared, shared.byte.load(Ordering::Acquire)).is_none() {
            return shared.alive.kill();
        }
    }
}

impl<'b> Team<'b> {
    /// A team of `shards` threads, one of them the caller's, at the zero state.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn new(weights: &'b Weights, backend: Backend, shards: usize) -> std::io::Result<Self> {
        let blob = weights.blob_for(backend);
        let dims = *blob.dims();
        let shares: Vec<Share> = (0..shards).map(|i| Share::of(&dims, i, shards)).collect();
        let states = shares.iter().map(|s| Mutex::new(vec![0; dims.n_layer * s.layer_state_len(&dims)])).collect();
        let boxes = shares.iter().map(|_| Boxes::default()).collect();
        let shared = Arc::new(Shared {
            shares,
            boxes,
            states,
            asked: Counter::default(),
            byte: AtomicU8::new(0),
            arrivals: Counter::default(),
            alive: Alive::default(),
            stop: AtomicBool::new(false),
        });
        let lead = Worker::new(blob, backend, 0, &Share::of(&dims, 0, shards));
        let mut team = Self {
            process: std::process::id(),
            shared,
            lead,
            threads: Vec::new(),
            steps: 0,
            logits: Box::new([0; VOCAB]),
        };
        for index in 1..shards {
            let (weights, shared) = (weights.clone(), Arc::clone(&team.shared));
            let name = format!("shard {index}");
            let thread = std::thread::Builder::new().name(name).spawn(move || serve(&weights, backend, index, &shared));
            team.threads.push(thread?);
        }
        Ok(team)
    }

    /// Whether its threads are of another process than this one, which was forked from it.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.process != std::process::id()
    }

    /// Takes over `state`.
    pub(super) fn load(&mut self, state: &State<Vec<i16>>) {
        let dims = *self.lead.blob.dims();
        for (share, own) in self.shared.shares.iter().zip(&self.shared.states) {
            let (mut own, n) = (lock(own), share.layer_state_len(&dims).max(1));
            for (all, own) in state.as_slice().chunks_exact(dims.layer_state_len()).zip(own.chunks_exact_mut(n)) {
                share.take_state(&dims, all, own);
            }
        }
    }

    /// Gives the state back; the caller sets its position.
    pub(super) fn store(&self, state: &mut State<Vec<i16>>) {
        let blob = self.lead.blob;
        let dims = *blob.dims();
        for (share, own) in self.shared.shares.iter().zip(&self.shared.states) {
            let (own, n) = (lock(own), share.layer_state_len(&dims).max(1));
            for (all, own) in state.layers_mut(&blob).zip(own.chunks_exact(n)) {
                share.put_state(&dims, own, all);
            }
        }
    }

    /// Reads one byte; the logits of the next one.
    ///
    /// # Panics
    /// If another thread of the team has panicked.
    pub(super) fn step(&mut self, byte: u8) -> &Logits {
        let _guard = self.shared.alive.guard();
        self.steps += 1;
        self.shared.byte.store(byte, Ordering::Release);
        self.shared.asked.advance(self.steps);
        let done = self.lead.step(&self.shared, byte);
        assert!(done.is_some(), "a thread of the team has died");
        for (share, boxes) in self.shared.shares.iter().zip(&self.shared.boxes) {
            if let Some(place) = self.logits.get_mut(share.head.clone()) {
                get(&boxes.logits, place);
            }
        }
        &self.logits
    }
}

impl Drop for Team<'_> {
    fn drop(&mut self) {
        if self.is_elsewhere() {
            // There is nobody to wait for; and who had these threads may still know them.
            self.threads.drain(..).for_each(std::mem::forget);
            return;
        }
        self.shared.stop.store(true, Ordering::Release);
        self.shared.asked.advance(self.steps + 1);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
