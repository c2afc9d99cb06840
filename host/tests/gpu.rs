//! The exact mode on a GPU against the core on the CPU, always by equality. `cargo test -p mambabyte-host --features
//! cuda -- --ignored gpu`, on a machine with a GPU.
#![cfg(feature = "cuda")]

#[allow(dead_code, unreachable_pub, reason = "a module of the workspace's suite, which uses the rest")]
#[path = "../../tests/src/random_blob.rs"]
mod random_blob;

use std::sync::Arc;
use std::time::Instant;

use mambabyte_core::{
    Blob, Decoder, Dims, Logits, Norm, Rng, SampleOptions, StateError, most_probable, sample, surprise,
};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cuda::{CudaError, Device, GpuModel, GpuState};
use mambabyte_host::engine::{Answer, Engine, EngineError, Precision, Want};
use random_blob::{BlobSpec, Contents, random_blob};

const MODELS: [&str; 4] = ["sensor-pico", "sensor-nano", "sensor-micro", "prose-small"];

type Cpu<'b> = Decoder<'b, Vec<i16>, Vec<i32>>;

fn device() -> Arc<Device> {
    Device::open(0).unwrap_or_else(|e| panic!("{e}"))
}

fn file(name: &str, file: &str) -> Vec<u8> {
    let path = format!("../models/{name}/{file}");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn model(device: &Arc<Device>, blob: Blob<'_>) -> GpuModel {
    GpuModel::load(device, blob, Precision::Exact).unwrap_or_else(|e| panic!("{e}"))
}

fn logits(answer: Answer) -> Vec<Logits> {
    match answer {
        Answer::Logits(logits) => logits,
        other => panic!("no logits: {other:?}"),
    }
}

fn snapshot(cpu: &Cpu<'_>) -> Vec<u8> {
    let mut out = vec![0; cpu.blob().dims().snapshot_bytes()];
    cpu.state().snapshot(&mut out).unwrap();
    out
}

/// Every row's snapshot is the CPU's.
fn same_states(gpu: &GpuModel, state: &mut GpuState, cpus: &[Cpu<'_>], what: &str) {
    for (row, cpu) in cpus.iter().enumerate() {
        assert!(gpu.snapshot(state, row).unwrap() == snapshot(cpu), "{what}: state of row {row}");
        assert_eq!(state.positions()[row], cpu.state().position());
    }
}

fn bytes(rng: &mut Rng, n: usize) -> Vec<u8> {
    (0..n).map(|_| rng.next_u64() as u8).collect()
}

fn slices(rows: &[Vec<u8>]) -> Vec<&[u8]> {
    rows.iter().map(Vec::as_slice).collect()
}

/// Reads `rows` on both, compares all logits and states.
fn compare_prefill(gpu: &GpuModel, state: &mut GpuState, cpus: &mut [Cpu<'_>], rows: &[Vec<u8>], what: &str) {
    let found = logits(gpu.prefill(&slices(rows), state, Want::All).unwrap());
    let mut expected =
        cpus.iter_mut().zip(rows).flat_map(|(cpu, row)| row.iter().map(|&b| *cpu.step(b)).collect::<Vec<_>>());
    assert_eq!(found.len(), rows.iter().map(Vec::len).sum::<usize>());
    for (at, found) in found.iter().enumerate() {
        assert!(
            expected.next().as_ref() == Some(found),
            "{what}: logits of token {at} of {:?}",
            rows.iter().map(Vec::len).collect::<Vec<_>>()
        );
    }
    same_states(gpu, state, cpus, what);
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_golden_checksums() {
    let device = device();
    let text = file("text", "golden-4096.txt");
    for name in MODELS {
        let memory = AlignedBytes::new(&file(name, "model.mbb"));
        let blob = Blob::parse(memory.as_slice()).unwrap();
        let gpu = model(&device, blob);
        let golden = String::from_utf8(file(name, "golden.crc32")).unwrap();
        let crc = |all: &[Logits]| {
            let mut crc = crc32fast::Hasher::new();
            all.iter().flatten().for_each(|l| crc.update(&l.to_le_bytes()));
            format!("{:08x}", crc.finalize())
        };
        let mut state = gpu.rows(1).unwrap();
        let all = logits(gpu.prefill(&[&text], &mut state, Want::All).unwrap());
        assert_eq!(crc(&all), golden.trim(), "{name}, as one block");
        // Byte by byte, from a fresh state and in three rows, one of them fed differently.
        let mut state = gpu.rows(3).unwrap();
        let mut stepped = Vec::new();
        for &byte in &text {
            stepped.push(logits(gpu.step(&[byte, b'x', byte], &mut state).unwrap())[2]);
        }
        assert_eq!(crc(&stepped), golden.trim(), "{name}, byte by byte");
        println!("{name}: {} twice, on {}", golden.trim(), device.name());
    }
}

/// Shapes with every listed value of every dimension, with both norms, heads and kinds of decay.
fn shapes() -> Vec<Dims> {
    let mut shapes: Vec<Dims> = (0..48usize)
        .map(|i| Dims {
            d_model: [16, 17, 48, 64][i % 4],
            n_layer: 1 + i % 3,
            d_inner: [16, 33, 96, 130][(i / 4 + i) % 4],
            d_state: [1, 2, 5, 8, 16, 64][(i + i / 6) % 6],
            d_conv: 2 + (i / 2) % 3,
            dt_rank: [1, 3, 8][(i + i / 3) % 3],
            norm: if i & 1 == 0 { Norm::Rms } else { Norm::Layer },
            tied_head: (i / 2) & 1 == 0,
            tied_decays: (i / 4) & 1 == 0,
        })
        .collect();
    shapes.push(Dims { d_model: 1030, d_inner: 520, dt_rank: 65, ..shapes[9] });
    shapes.push(Dims { d_model: 130, d_inner: 4100, d_state: 17, n_layer: 1, ..shapes[4] });
    shapes
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_random_blobs_of_many_shapes() {
    let device = device();
    for (seed, dims) in shapes().into_iter().enumerate() {
        let extreme =
            Contents::Extreme { weight: if seed % 2 == 0 { -128 } else { 127 }, code: 0, bias: -32768, shift: 1 };
        let saturated = Contents::Extreme { weight: -128, code: 255, bias: 32767, shift: 20 };
        for contents in [Contents::Sane, Contents::Wild, extreme, saturated] {
            let spec = BlobSpec { dims, contents, seed: seed as u64 };
            let what = format!("{spec:?}");
            let memory = AlignedBytes::new(&random_blob(spec));
            let blob = Blob::parse(memory.as_slice()).unwrap();
            let gpu = model(&device, blob);
            let mut rng = Rng::new(seed as u64 ^ 0x5eed);
            let mut cpus: Vec<_> = (0..5).map(|_| Decoder::owned(blob)).collect();
            let mut state = gpu.rows(5).unwrap();
            // Sums of dp2a, then tiles of the tensor cores; no byte, one, and fewer bytes than the convolution has
            // taps.
            for lengths in [[3, 0, 1, 2, 1], [0, 0, 0, 1, 0], [17, 0, 33, 5, 1], [40, 41, 0, 39, 20]] {
                let rows: Vec<_> = lengths.iter().map(|&n| bytes(&mut rng, n)).collect();
                compare_prefill(&gpu, &mut state, &mut cpus, &rows, &what);
            }
            for _ in 0..3 {
                let step = bytes(&mut rng, 5);
                let found = logits(gpu.step(&step, &mut state).unwrap());
                let expected: Vec<_> = cpus.iter_mut().zip(&step).map(|(cpu, &b)| *cpu.step(b)).collect();
                assert!(found == expected, "{what}: step");
            }
            same_states(&gpu, &mut state, &cpus, &what);
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_verify_accepts_any_part() {
    let device = device();
    for (seed, mut dims) in shapes().into_iter().enumerate().step_by(5) {
        dims.n_layer = 1 + seed % 4;
        let memory = AlignedBytes::new(&random_blob(BlobSpec { dims, contents: Contents::Sane, seed: seed as u64 }));
        let blob = Blob::parse(memory.as_slice()).unwrap();
        let gpu = model(&device, blob);
        let mut rng = Rng::new(seed as u64);
        let mut cpus: Vec<_> = (0..7).map(|_| Decoder::owned(blob)).collect();
        let mut state = gpu.rows(7).unwrap();
        let what = format!("{dims:?}");
        compare_prefill(&gpu, &mut state, &mut cpus, &vec![bytes(&mut rng, 9); 7], &what);
        for (lengths, accepted) in [
            ([32, 32, 32, 0, 1, 5, 17], [32, 0, 31, 0, 1, 2, 17]),
            ([0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]),
            ([1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0, 1]),
            ([3, 2, 4, 31, 32, 32, 1], [1, 2, 3, 30, 16, 0, 0]),
        ] {
            let drafts: Vec<_> = lengths.iter().map(|&n| bytes(&mut rng, n)).collect();
            let verified = gpu.verify(&mut state, &slices(&drafts)).unwrap();
            let found = logits(verified.answer().clone());
            drop(verified); // rejects
            same_states(&gpu, &mut state, &cpus, &what);
            let verified = gpu.verify(&mut state, &slices(&drafts)).unwrap();
            assert!(logits(verified.answer().clone()) == found, "{what}: a second verification");
            verified.accept(&accepted).unwrap();
            let mut at = 0;
            for ((cpu, draft), &count) in cpus.iter_mut().zip(&drafts).zip(&accepted) {
                for (k, &byte) in draft.iter().enumerate() {
                    // The CPU scores the rejected bytes too, on a copy.
                    if k < count {
                        assert!(*cpu.step(byte) == found[at + k], "{what}: logits of a draft");
                    } else if k == count {
                        let mut fork = Decoder::owned(blob);
                        fork.state_mut().clone_from(cpu.state()).unwrap();
                        for (&byte, found) in draft[k..].iter().zip(&found[at + k..]) {
                            assert!(fork.step(byte) == found, "{what}: logits of a rejected draft");
                        }
                    }
                }
                at += draft.len();
            }
            same_states(&gpu, &mut state, &cpus, &what);
        }
        let too_many =
            gpu.verify(&mut state, &[b"a", b"", b"", b"", b"", b"", b""]).unwrap().accept(&[1, 1, 0, 0, 0, 0, 0]);
        assert!(
            matches!(too_many, Err(EngineError::TooManyAccepted { row: 1, asked: 1, verified: 0 })),
            "{too_many:?}"
        );
        same_states(&gpu, &mut state, &cpus, &what);
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_matches_of_a_draft_are_greedy() {
    let memory = AlignedBytes::new(&file("sensor-nano", "model.mbb"));
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let gpu = model(&device(), blob);
    let mut state = gpu.rows(2).unwrap();
    let first = logits(gpu.prefill(&[b"$GPGGA,12", b"$GPRMC,"], &mut state, Want::Last).unwrap());
    let first: Vec<u8> = first.iter().map(most_probable).collect();
    let (mut last, mut rngs) = (first.clone(), vec![Rng::new(0); 2]);
    let mut fork = gpu.rows(2).unwrap();
    for row in 0..2 {
        let saved = gpu.snapshot(&mut state, row).unwrap();
        gpu.restore(&mut fork, row, &saved).unwrap();
    }
    let text = gpu.decode(8, &mut last, &mut rngs, &SampleOptions::GREEDY, &mut fork).unwrap();
    let mut drafts: Vec<Vec<u8>> = first.iter().zip(&text).map(|(&f, t)| [&[f], &t[..]].concat()).collect();
    drafts[1][4] ^= 1;
    let verified = gpu.verify(&mut state, &slices(&drafts)).unwrap();
    assert_eq!(verified.greedy_matches(&first), [9, 4]);
    verified.accept(&[9, 4]).unwrap();
    assert_eq!(state.positions(), [18, 11]);
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_long_and_many_rows() {
    let device = device();
    let text = file("text", "golden-4096.txt");
    let memory = AlignedBytes::new(&file("sensor-pico", "model.mbb"));
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let gpu = model(&device, blob);
    // More than a block of one row: bounded memory, the same state.
    let long: Vec<u8> = text.iter().copied().cycle().take(20_001).collect();
    let mut cpus = vec![Decoder::owned(blob)];
    let mut state = gpu.rows(1).unwrap();
    compare_prefill(&gpu, &mut state, &mut cpus, &[long], "20,001 bytes");
    // Many rows over several blocks, ragged; each way of answering agrees.
    let rows: Vec<Vec<u8>> = (0..64).map(|row| text[row..row + (row * 37) % 300].to_vec()).collect();
    let mut cpus: Vec<_> = rows.iter().map(|_| Decoder::owned(blob)).collect();
    let mut state = gpu.rows(64).unwrap();
    compare_prefill(&gpu, &mut state, &mut cpus, &rows, "64 rows");
    let mut fresh = gpu.rows(64).unwrap();
    let last = logits(gpu.prefill(&slices(&rows), &mut fresh, Want::Last).unwrap());
    let mut expected = Vec::new();
    for row in rows.iter().filter(|r| !r.is_empty()) {
        expected.push(*Decoder::owned(blob).prefill(row).unwrap());
    }
    assert!(last == expected, "logits after the last byte of each row");
    same_states(&gpu, &mut fresh, &cpus, "the last logits only");
    let mut fresh = gpu.rows(64).unwrap();
    assert_eq!(gpu.prefill(&slices(&rows), &mut fresh, Want::Nothing).unwrap(), Answer::Nothing);
    same_states(&gpu, &mut fresh, &cpus, "no logits");
    let next: Vec<Vec<u8>> = rows.iter().map(|r| r.iter().map(|b| b.wrapping_mul(7)).collect()).collect();
    let mut fresh = gpu.rows(64).unwrap();
    let Answer::Surprise(bits) = gpu.prefill(&slices(&rows), &mut fresh, Want::Surprise(&slices(&next))).unwrap()
    else {
        panic!("no surprise")
    };
    let mut expected = Vec::new();
    for (row, next) in rows.iter().zip(&next) {
        let mut cpu = Decoder::owned(blob);
        expected.extend(row.iter().zip(next).map(|(&b, &next)| surprise(cpu.step(b), next)));
    }
    assert_eq!(bits, expected);
    same_states(&gpu, &mut fresh, &cpus, "surprises");
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_snapshots_go_both_ways() {
    let device = device();
    let text = file("text", "golden-4096.txt");
    let memory = AlignedBytes::new(&file("sensor-micro", "model.mbb"));
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let gpu = model(&device, blob);
    let (mut a, mut b) = (Decoder::owned(blob), Decoder::owned(blob));
    a.prefill(&text[..100]);
    b.prefill(&text[50..1000]);
    let mut state = gpu.rows(2).unwrap();
    gpu.restore(&mut state, 0, &snapshot(&a)).unwrap();
    gpu.restore(&mut state, 1, &snapshot(&b)).unwrap();
    let mut cpus = [a, b];
    same_states(&gpu, &mut state, &cpus, "restored");
    compare_prefill(&gpu, &mut state, &mut cpus, &[text[100..200].to_vec(), text[..3].to_vec()], "continued");
    let mut back = Decoder::owned(blob);
    back.state_mut().restore(&gpu.snapshot(&mut state, 1).unwrap()).unwrap();
    assert_eq!(back.step(b'!'), cpus[1].step(b'!'));
    let foreign = AlignedBytes::new(&file("sensor-pico", "model.mbb"));
    let foreign = Decoder::owned(Blob::parse(foreign.as_slice()).unwrap());
    let refused = gpu.restore(&mut state, 0, &snapshot(&foreign));
    assert!(matches!(refused, Err(EngineError::State(StateError::ForeignModel { .. }))));
    let other = model(&device, blob);
    assert!(matches!(other.step(b"ab", &mut state), Err(CudaError::ForeignState)));
    assert!(matches!(gpu.step(b"a", &mut state), Err(CudaError::Rows { expected: 2, found: 1 })));
    assert!(matches!(gpu.verify(&mut state, &[&[0; 33], b""]).err(), Some(EngineError::LongDraft { found: 33 })));
    assert!(matches!(gpu.rows(257).err(), Some(EngineError::Cuda(CudaError::Shape { found: 257, .. }))));
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_decoding_writes_the_cores_text() {
    let device = device();
    for name in ["sensor-pico", "prose-small"] {
        let memory = AlignedBytes::new(&file(name, "model.mbb"));
        let blob = Blob::parse(memory.as_slice()).unwrap();
        let gpu = model(&device, blob);
        for options in [
            SampleOptions::GREEDY,
            SampleOptions::default(),
            SampleOptions { temperature: 45_875, top_k: 50, top_p: 62_259 },
            SampleOptions { temperature: 6_553_600, top_k: 1, top_p: 1 },
            SampleOptions { temperature: 1, top_k: 300, top_p: 65_536 },
        ] {
            for rows in [1usize, 5] {
                let mut state = gpu.rows(rows).unwrap();
                let mut last: Vec<u8> = (0..rows as u8).collect();
                let mut rngs: Vec<Rng> = (0..rows as u64).map(Rng::new).collect();
                let mut cpus: Vec<_> = (0..rows).map(|_| Decoder::owned(blob)).collect();
                let (mut cpu_last, mut cpu_rngs) = (last.clone(), rngs.clone());
                for count in [1, 40, 0, 23] {
                    let found = gpu.decode(count, &mut last, &mut rngs, &options, &mut state).unwrap();
                    for row in 0..rows {
                        let mut expected = Vec::new();
                        for _ in 0..count {
                            let logits = cpus[row].step(cpu_last[row]);
                            cpu_last[row] = sample(logits, &options, &mut cpu_rngs[row]);
                            expected.push(cpu_last[row]);
                        }
                        assert_eq!(found[row], expected, "{name}, {options:?}, row {row} of {rows}");
                    }
                    assert_eq!((&last, &rngs), (&cpu_last, &cpu_rngs));
                }
                same_states(&gpu, &mut state, &cpus, name);
            }
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_twenty_runs_are_identical() {
    let memory = AlignedBytes::new(&file("prose-small", "model.mbb"));
    let gpu = model(&device(), Blob::parse(memory.as_slice()).unwrap());
    let text = file("text", "golden-4096.txt");
    let rows: Vec<Vec<u8>> = (0..64).map(|row| text[row * 7..row * 7 + 100 + row].to_vec()).collect();
    let mut seen = None;
    for _ in 0..20 {
        let mut state = gpu.rows(64).unwrap();
        let all = logits(gpu.prefill(&slices(&rows), &mut state, Want::All).unwrap());
        let mut crc = crc32fast::Hasher::new();
        all.iter().flatten().for_each(|l| crc.update(&l.to_le_bytes()));
        (0..64).for_each(|row| crc.update(&gpu.snapshot(&mut state, row).unwrap()));
        let crc = crc.finalize();
        assert_eq!(*seen.get_or_insert(crc), crc);
    }
}

/// No bar, only figures: `--nocapture`.
#[test]
#[ignore = "needs a GPU"]
fn gpu_speed_of_the_exact_mode() {
    let device = device();
    let large = Dims {
        d_model: 1024,
        n_layer: 53,
        d_inner: 2048,
        d_state: 16,
        d_conv: 4,
        dt_rank: 64,
        norm: Norm::Rms,
        tied_head: true,
        tied_decays: false,
    };
    let large = random_blob(BlobSpec { dims: large, contents: Contents::Sane, seed: 1 });
    let text: Vec<u8> = file("text", "golden-4096.txt").into_iter().cycle().take(8192).collect();
    for (name, blob) in [("prose-small", file("prose-small", "model.mbb")), ("random 1024 x 53", large)] {
        let memory = AlignedBytes::new(&blob);
        let gpu = model(&device, Blob::parse(memory.as_slice()).unwrap());
        let time = |what: &str, bytes: usize, run: &mut dyn FnMut()| {
            run();
            let mut times: Vec<f64> = (0..5)
                .map(|_| {
                    let start = Instant::now();
                    run();
                    start.elapsed().as_secs_f64()
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!(
                "{name}, {what}: {:.3} ms, {:.0} bytes/s, on {}",
                times[2] * 1e3,
                bytes as f64 / times[2],
                device.name()
            );
        };
        for rows in [1usize, 8] {
            let mut state = gpu.rows(rows).unwrap();
            let all = vec![&text[..]; rows];
            time(&format!("prefill {rows} x 8192"), rows * 8192, &mut || {
                gpu.prefill(&all, &mut state, Want::Nothing).unwrap();
            });
        }
        for rows in [1usize, 8, 64] {
            let mut state = gpu.rows(rows).unwrap();
            let (mut last, mut rngs) = (vec![0; rows], vec![Rng::new(0); rows]);
            time(&format!("decode {rows} x 256"), rows * 256, &mut || {
                gpu.decode(256, &mut last, &mut rngs, &SampleOptions::GREEDY, &mut state).unwrap();
            });
        }
        let mut state = gpu.rows(1).unwrap();
        for k in [1usize, 8, 16, 32] {
            time(&format!("verify {k}, accept {k}"), k, &mut || {
                gpu.verify(&mut state, &[&text[..k]]).unwrap().accept(&[k]).unwrap();
            });
        }
    }
}

/// Runs everywhere: without a driver or a GPU there is an error that says so, and no panic.
#[test]
fn what_is_missing_is_said_in_one_line() {
    match Device::open(0) {
        Ok(device) => assert!(!device.name().is_empty()),
        Err(error) => {
            assert!(error.is_absence(), "{error}");
            assert!(!error.to_string().contains('\n') && error.to_string().len() > 20, "{error}");
        }
    }
    assert!(Device::open(1000).is_err_and(|e| e.is_absence()));
}
