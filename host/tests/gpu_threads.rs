//! Two threads on one GPU model: each reads and writes what it would alone. `cargo test -p mambabyte-host --features
//! cuda -- --ignored gpu`, on a machine with a GPU.
#![cfg(feature = "cuda")]

#[allow(dead_code, reason = "the other suites use the rest")]
mod gpu_models;

use gpu_models::{checkpoint, dims};

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use mambabyte_core::{Blob, Rng, SampleOptions};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cuda::{Device, GpuModel, GpuState};
use mambabyte_host::engine::{Answer, Engine, EngineError, Precision, Want};

/// A number for an answer; equal bits give equal numbers.
fn digest(answer: &Answer) -> u64 {
    let mut hasher = DefaultHasher::new();
    match answer {
        Answer::Nothing => {}
        Answer::Logits(all) => all.hash(&mut hasher),
        Answer::FloatLogits(all) => all.iter().flatten().for_each(|l| l.to_bits().hash(&mut hasher)),
        Answer::Surprise(bits) => bits.hash(&mut hasher),
        Answer::FloatSurprise(bits) => bits.iter().for_each(|b| b.to_bits().hash(&mut hasher)),
    }
    hasher.finish()
}

/// One stream of calls: which they are depends on `random` alone.
struct Caller<'m> {
    model: &'m GpuModel,
    state: GpuState,
    rows: usize,
    random: Rng,
}

impl<'m> Caller<'m> {
    fn new(model: &'m GpuModel, seed: u64) -> Self {
        let rows = 1 + seed as usize % 3;
        Self { model, state: model.rows(rows).unwrap(), rows, random: Rng::new(seed) }
    }

    fn below(&mut self, n: usize) -> usize {
        (self.random.next_u64() % n as u64) as usize
    }

    fn texts(&mut self, most: usize) -> Vec<Vec<u8>> {
        (0..self.rows).map(|_| (0..self.below(most + 1)).map(|_| self.random.next_u64() as u8).collect()).collect()
    }

    /// The next call and what came of it.
    fn call(&mut self) -> Result<u64, EngineError> {
        match self.below(16) {
            0..4 => {
                let bytes: Vec<u8> = (0..self.rows).map(|_| self.random.next_u64() as u8).collect();
                Ok(digest(&self.model.step(&bytes, &mut self.state)?))
            }
            4..8 => {
                let texts = self.texts(40);
                let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
                let want = [Want::Nothing, Want::Last, Want::All, Want::Surprise(&texts)][self.below(4)];
                Ok(digest(&self.model.prefill(&texts, &mut self.state, want)?))
            }
            8..11 => {
                let drafts = self.texts(8);
                let counts: Vec<usize> = drafts.iter().map(|d| self.below(d.len() + 1)).collect();
                let drafts: Vec<&[u8]> = drafts.iter().map(Vec::as_slice).collect();
                let verified = self.model.verify(&mut self.state, &drafts)?;
                let found = digest(verified.answer());
                verified.accept(&counts)?;
                Ok(found)
            }
            11..15 => {
                let options = [
                    SampleOptions::GREEDY,
                    SampleOptions::default(),
                    SampleOptions { temperature: 50_000, top_k: 20, top_p: 60_000 },
                ][self.below(3)];
                let mut last: Vec<u8> = (0..self.rows).map(|_| self.random.next_u64() as u8).collect();
                let mut rngs: Vec<Rng> = (0..self.rows).map(|_| Rng::new(self.random.next_u64())).collect();
                let count = self.below(6);
                let text = self.model.decode(count, &mut last, &mut rngs, &options, &mut self.state)?;
                let mut hasher = DefaultHasher::new();
                (text, last).hash(&mut hasher);
                Ok(hasher.finish())
            }
            _ => {
                // Frees the memory of the last state; the next step or draw captures a graph.
                self.state = self.model.rows(self.rows)?;
                Ok(0)
            }
        }
    }
}

/// 10,000 calls by two threads: 5,000 each, over a model in integers, one in f32 and one in bf16.
#[test]
#[ignore = "needs a GPU"]
fn gpu_two_threads_give_the_results_of_one() {
    let device = Device::open(0).unwrap_or_else(|e| panic!("{e}"));
    let file = std::fs::read("../models/sensor-pico/model.mbb").unwrap();
    let memory = AlignedBytes::new(&file);
    let exact = GpuModel::load(&device, Blob::parse(memory.as_slice()).unwrap(), Precision::Exact).unwrap();
    let source = checkpoint(dims(64, 2, 128, 16, 4, 4), 3);
    let f32 = GpuModel::load(&device, &source, Precision::F32).unwrap();
    let bf16 = GpuModel::load(&device, &source, Precision::Bf16).unwrap();
    let models = [(&exact, 2000usize), (&f32, 1500), (&bf16, 1500)];
    let run = |seed: u64, ready: &Barrier| -> Vec<Result<u64, String>> {
        let mut found = Vec::new();
        for (model, calls) in models {
            let mut caller = Caller::new(model, seed);
            ready.wait();
            found.extend((0..calls).map(|_| caller.call().map_err(|e| e.to_string())));
        }
        found
    };
    let alone = Barrier::new(1);
    let expected = [run(1, &alone), run(2, &alone)];
    assert!(expected.iter().flatten().all(Result::is_ok));
    let both = Barrier::new(2);
    let found = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(2, &both));
        [run(1, &both), other.join().unwrap()]
    });
    for (thread, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(expected.len(), 5000);
        let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
        let at = differs.map(|at| (at, &found[at]));
        assert_eq!(at, None, "thread {thread}: the first call with another result");
    }
}

/// Models come and go in one thread while another captures a graph for each new state: the graphs are whole.
#[test]
#[ignore = "needs a GPU"]
fn gpu_models_are_loaded_and_dropped_beside_captures() {
    let device = Device::open(0).unwrap_or_else(|e| panic!("{e}"));
    let source = checkpoint(dims(64, 2, 128, 16, 4, 4), 3);
    let model = GpuModel::load(&device, &source, Precision::F32).unwrap();
    let first = |model: &GpuModel| model.step(b"a", &mut model.rows(1).unwrap()).map_err(|e| e.to_string());
    let expected = first(&model);
    assert!(expected.is_ok());
    let done = AtomicBool::new(false);
    let loaded = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut loaded = 0;
            while !done.load(Ordering::Relaxed) {
                // A device of its own: the context is the same.
                let device = Device::open(0).unwrap_or_else(|e| panic!("{e}"));
                drop(GpuModel::load(&device, &source, Precision::F32).unwrap());
                loaded += 1;
            }
            loaded
        });
        let differs = (0..1000).find(|_| first(&model) != expected);
        done.store(true, Ordering::Relaxed);
        (other.join().unwrap(), differs)
    });
    assert!(loaded.0 > 10, "{loaded:?}");
    assert_eq!(loaded.1, None, "a state whose first step differs");
}
