//! The engine on a GPU against those of the CPU: `cargo test -p mambabyte-host --features cuda -- --ignored gpu`, on a
//! machine with a GPU.
#![cfg(feature = "cuda")]

#[allow(dead_code, reason = "the other suites use the rest")]
mod gpu_models;

use gpu_models::{checkpoint, dims};

use std::sync::Arc;

use mambabyte_core::{Blob, Rng, SampleOptions};
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::bpb;
use mambabyte_host::checksum::adapter_checksum;
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::cuda::{Device, GpuModel};
use mambabyte_host::engine::{Answer, Engine, EngineError, Precision, Want};

fn device() -> Arc<Device> {
    Device::open(0).unwrap_or_else(|e| panic!("{e}"))
}

/// All that an engine answers to a script of calls that depends on `seed` alone: answers, snapshots, positions, texts.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    answers: Vec<Answer>,
    saved: Vec<Vec<u8>>,
    positions: Vec<Vec<u64>>,
    texts: Vec<Vec<Vec<u8>>>,
}

fn run<E: Engine>(engine: &E, seed: u64) -> Seen {
    const ROWS: usize = 4;
    let mut random = Rng::new(seed);
    let mut below = move |n: usize| (random.next_u64() % n as u64) as usize;
    let mut rows = engine.rows(ROWS).unwrap();
    let mut seen = Seen::default();
    for _ in 0..120 {
        let mut texts = |most: usize| -> Vec<Vec<u8>> {
            (0..ROWS).map(|_| (0..below(most + 1)).map(|_| below(256) as u8).collect()).collect()
        };
        let (long, short) = (texts(40), texts(8));
        let [long, short] = [&long, &short].map(|t| t.iter().map(Vec::as_slice).collect::<Vec<&[u8]>>());
        match below(8) {
            0 => {
                let want = [Want::Nothing, Want::Last, Want::All, Want::Surprise(&long)][below(4)];
                seen.answers.push(engine.read(&mut rows, &long, want).unwrap());
            }
            1 => {
                let bytes: Vec<[u8; 1]> = (0..ROWS).map(|_| [below(256) as u8]).collect();
                let bytes: Vec<&[u8]> = bytes.iter().map(|b| &b[..]).collect();
                let want = [Want::Nothing, Want::Last, Want::All, Want::Surprise(&bytes)][below(4)];
                seen.answers.push(engine.read(&mut rows, &bytes, want).unwrap());
            }
            2 => engine.fork(&mut rows, below(ROWS), below(ROWS)).unwrap(),
            3 => {
                let counts: Vec<usize> = short.iter().map(|draft| below(draft.len() + 1)).collect();
                let verified = engine.verify(&mut rows, &short).unwrap();
                seen.answers.push(verified.answer().clone());
                verified.accept(&counts).unwrap();
            }
            4 => {
                // A draft that is rejected; once the rows have moved it cannot be accepted.
                let verified = engine.verify(&mut rows, &short).unwrap();
                seen.answers.push(verified.answer().clone());
                drop(verified);
                engine.read(&mut rows, &short, Want::Nothing).unwrap();
                assert!(matches!(engine.accept(&mut rows, &[0; ROWS]), Err(EngineError::NoDraft)));
            }
            5 => {
                let options = [SampleOptions::GREEDY, SampleOptions { temperature: 50_000, top_k: 9, top_p: 64_000 }];
                let (mut last, mut rngs) = ([7, 8, 9, 10], [1, 2, 3, 4].map(Rng::new));
                let count = below(7);
                let text = engine.generate(&mut rows, &mut last, &mut rngs, &options[below(2)], count).unwrap();
                seen.texts.extend([text, vec![last.to_vec()]]);
                seen.positions.push(rngs.iter().map(Rng::state).collect());
            }
            6 => engine.reset(&mut rows, below(ROWS)).unwrap(),
            _ => {
                let saved = engine.snapshot(&mut rows, below(ROWS)).unwrap();
                engine.restore(&mut rows, below(ROWS), &saved).unwrap();
                seen.saved.push(saved);
            }
        }
        seen.positions.push(engine.positions(&rows).to_vec());
    }
    seen
}

/// Reads, forks, drafts, resets, snapshots, texts and bits per byte: all equal.
#[test]
#[ignore = "needs a GPU"]
fn gpu_engine_in_integers_is_that_of_the_cpu() {
    let device = device();
    for name in ["sensor-pico", "sensor-nano", "sensor-micro"] {
        let memory = AlignedBytes::new(&std::fs::read(format!("../models/{name}/model.mbb")).unwrap());
        let blob = Blob::parse(memory.as_slice()).unwrap();
        let gpu = GpuModel::load(&device, blob, Precision::Exact).unwrap();
        let cpu = IntEngine::of(blob, Cpu::default());
        for seed in 0..4 {
            assert!(run(&gpu, seed) == run(&cpu, seed), "{name}, seed {seed}");
        }
        let text = std::fs::read(format!("../models/{name}/golden-4096.txt"))
            .or_else(|_| std::fs::read("../models/text/golden-4096.txt"))
            .unwrap();
        let bits = |score: bpb::Score| (score.bits.to_bits(), score.by_position);
        let found = bpb::evaluate(&gpu, &text, Some(1000), &|_| ()).unwrap();
        assert_eq!(bits(found), bits(bpb::evaluate(&cpu, &text, Some(1000), &|_| ()).unwrap()), "{name}");
        // Every adapter hears the same from both.
        for preset in Preset::ALL {
            let fresh = || AnyAdapter::new(preset, true);
            let of_gpu = adapter_checksum(Some(&gpu), fresh(), &text, |_| ()).unwrap();
            assert_eq!(of_gpu, adapter_checksum(Some(&cpu), fresh(), &text, |_| ()).unwrap(), "{name}, {preset}");
        }
        // The rows of one model are foreign to another.
        let other = GpuModel::load(&device, blob, Precision::Exact).unwrap();
        let mut rows = gpu.rows(2).unwrap();
        assert!(matches!(other.fork(&mut rows, 0, 1), Err(EngineError::ForeignRows)));
        assert!(matches!(other.read(&mut rows, &[b"", b""], Want::Nothing), Err(EngineError::ForeignRows)));
        assert!(matches!(gpu.fork(&mut rows, 0, 2), Err(EngineError::NoSuchRow { row: 2, rows: 2 })));
        assert!(matches!(gpu.rows(0).err(), Some(EngineError::NoRows)));
    }
}

/// A fork of a float row is that row; a reset one is a new one.
#[test]
#[ignore = "needs a GPU"]
fn gpu_engine_in_floats_forks_and_resets() {
    let device = device();
    let source = checkpoint(dims(64, 3, 128, 16, 4, 4), 5);
    for precision in [Precision::F32, Precision::Bf16, Precision::I8] {
        let gpu = GpuModel::load(&device, &source, precision).unwrap();
        let mut rows = gpu.rows(3).unwrap();
        gpu.read(&mut rows, &[b"one text", b"", b"another"], Want::Nothing).unwrap();
        gpu.fork(&mut rows, 0, 1).unwrap();
        assert_eq!(gpu.positions(&rows), [8, 8, 7]);
        assert_eq!(gpu.read_row(&rows, 0).unwrap(), gpu.read_row(&rows, 1).unwrap());
        let Answer::FloatLogits(all) = gpu.read(&mut rows, &[b"x", b"x", b"x"], Want::Last).unwrap() else {
            panic!("{precision}: no float logits")
        };
        assert!(all[0] == all[1] && all[0] != all[2], "{precision}");
        gpu.reset(&mut rows, 1).unwrap();
        assert_eq!(gpu.positions(&rows), [9, 0, 8]);
        assert!(gpu.read_row(&rows, 1).unwrap().iter().all(|&v| v == 0.0));
        assert!(gpu.read_row(&rows, 0).unwrap() != gpu.read_row(&rows, 2).unwrap());
        let verified = gpu.verify(&mut rows, &[b"abc", b"de", b""]).unwrap();
        verified.accept(&[2, 2, 0]).unwrap();
        assert_eq!(gpu.positions(&rows), [11, 2, 8]);
        assert!(matches!(gpu.accept(&mut rows, &[0, 0, 0]), Err(EngineError::NoDraft)), "{precision}");
        assert!(matches!(gpu.state(&mut rows, 0).err(), Some(EngineError::NotIntegers { .. })), "{precision}");
    }
}
