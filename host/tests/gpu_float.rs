//! The float model on a GPU against the f32 model on the CPU. `cargo test -p mambabyte-host --features cuda --
//! --ignored gpu`, on a machine with a GPU.
#![cfg(feature = "cuda")]

mod gpu_models;

use gpu_models::{Noise, checkpoint, dims, shapes};

use std::sync::Arc;

use mambabyte_core::{Blob, Rng, SampleOptions, VOCAB, sample};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::bpb::evaluate;
use mambabyte_host::cuda::{CudaError, Device, GpuModel, GpuState};
use mambabyte_host::dequantize::{dequantize, round_rows};
use mambabyte_host::engine::{Answer, Engine, EngineError, Precision, Want};
use mambabyte_host::model::{Model, Session, logit_units};
use mambabyte_host::{Checkpoint, bpb};

const FLOATS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::I8];

/// Error of logits and states relative to their norm. bf16 activations are rounded in every layer: 2^-9 each time.
fn bound(precision: Precision) -> f64 {
    if precision == Precision::F32 { 1e-5 } else { 3e-2 }
}

fn device() -> Arc<Device> {
    Device::open(0).unwrap_or_else(|e| panic!("{e}"))
}

fn load(device: &Arc<Device>, checkpoint: &Checkpoint, precision: Precision) -> GpuModel {
    GpuModel::load(device, checkpoint, precision).unwrap_or_else(|e| panic!("{e}"))
}

/// What the GPU computes with this precision, for the CPU.
fn reference(checkpoint: &Checkpoint, precision: Precision) -> Model {
    let rounded = (precision == Precision::I8).then(|| round_rows(checkpoint).checkpoint);
    Model::new(rounded.unwrap_or_else(|| checkpoint.clone())).unwrap()
}

fn text(seed: u64, n: usize) -> Vec<u8> {
    let mut noise = Noise(seed | 1);
    (0..n).map(|_| noise.next() as u8).collect()
}

fn slices(rows: &[Vec<u8>]) -> Vec<&[u8]> {
    rows.iter().map(Vec::as_slice).collect()
}

fn logits(answer: Answer) -> Vec<[f32; VOCAB]> {
    match answer {
        Answer::FloatLogits(logits) => logits,
        other => panic!("no logits: {other:?}"),
    }
}

/// Reads bytes on the CPU.
fn feed<'b>(cpu: &mut Session<'_>, bytes: impl IntoIterator<Item = &'b u8>) {
    for &byte in bytes {
        cpu.step(byte).unwrap();
    }
}

/// Adds up squares of differences and of what was expected.
#[derive(Default)]
struct Error(f64, f64);

impl Error {
    fn add(&mut self, found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (&f, &e) in found.iter().zip(expected) {
            self.0 += (f64::from(f) - f64::from(e)).powi(2);
            self.1 += f64::from(e).powi(2);
        }
    }

    fn relative(&self) -> f64 {
        (self.0 / (self.1 + 1e-30)).sqrt()
    }

    #[track_caller]
    fn check(&self, bound: f64, what: &str) {
        println!("{what}: {:.2e}", self.relative());
        // A comparison that NaN fails.
        assert!(self.relative() <= bound, "{what}: {:e}, {bound:e} is allowed", self.relative());
    }
}

/// Streams on the CPU that read what the GPU reads; errors of its logits.
struct Cpus<'a> {
    sessions: Vec<Session<'a>>,
    error: Error,
}

impl Cpus<'_> {
    fn read(&mut self, rows: &[&[u8]], found: &[[f32; VOCAB]]) {
        let mut found = found.iter();
        for (cpu, row) in self.sessions.iter_mut().zip(rows) {
            for &byte in *row {
                self.error.add(found.next().unwrap(), cpu.step(byte).unwrap());
            }
        }
        assert!(found.next().is_none());
    }

    fn check(&self, gpu: &GpuModel, state: &GpuState, what: &str) {
        self.error.check(bound(gpu.precision()), &format!("{what}, logits"));
        let mut error = Error::default();
        for (row, cpu) in self.sessions.iter().enumerate() {
            error.add(&gpu.read_row(state, row).unwrap(), cpu.state());
        }
        error.check(bound(gpu.precision()), &format!("{what}, states"));
    }
}

/// One state through every call, from prefill to decode and back; the rows have different lengths.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_states_are_handed_over() {
    let device = device();
    for precision in FLOATS {
        for (index, dims) in shapes().into_iter().enumerate() {
            let source = checkpoint(dims, 77 + index as u64);
            let (gpu, model) = (load(&device, &source, precision), reference(&source, precision));
            let what = format!("{precision} {dims:?}");
            let mut state = gpu.rows(3).unwrap();
            let mut cpus = Cpus { sessions: vec![model.session(); 3], error: Error::default() };

            let parts = [text(1, 37), text(2, 1), text(3, 0)];
            cpus.read(&slices(&parts), &logits(gpu.prefill(&slices(&parts), &mut state, Want::All).unwrap()));
            for k in 0..3 {
                let bytes = text(10 + k, 3);
                let found = logits(gpu.step(&bytes, &mut state).unwrap());
                cpus.read(&bytes.chunks(1).collect::<Vec<_>>(), &found);
            }
            cpus.check(&gpu, &state, &format!("{what}, stepped"));
            let drafts = [text(20, 5), text(21, 9), text(22, 0)];
            let verified = gpu.verify(&mut state, &slices(&drafts)).unwrap();
            let found = logits(verified.answer().clone());
            verified.accept(&[5, 4, 0]).unwrap();
            let accepted = [&drafts[0][..], &drafts[1][..4], &[]];
            cpus.read(&accepted, &[&found[..5], &found[5..9]].concat());
            cpus.check(&gpu, &state, &format!("{what}, accepted"));
            let (mut last, mut rngs) = (vec![1, 2, 3], vec![Rng::new(4); 3]);
            let written = gpu.decode(8, &mut last, &mut rngs, &SampleOptions::GREEDY, &mut state).unwrap();
            for ((cpu, text), first) in cpus.sessions.iter_mut().zip(&written).zip([1u8, 2, 3]) {
                assert_eq!(text.len(), 8);
                // The last byte written has not been read.
                feed(cpu, std::iter::once(&first).chain(&text[..7]));
            }
            assert_eq!(last, written.iter().map(|t| t[7]).collect::<Vec<_>>());
            cpus.check(&gpu, &state, &format!("{what}, decoded"));
            let more = [text(30, 2), text(31, 65), text(32, 300)];
            let found = logits(gpu.prefill(&slices(&more), &mut state, Want::Last).unwrap());
            for ((cpu, row), found) in cpus.sessions.iter_mut().zip(&more).zip(&found) {
                let mut expected = [0.0; VOCAB];
                row.iter().for_each(|&byte| expected = *cpu.step(byte).unwrap());
                cpus.error.add(found, &expected);
            }
            cpus.check(&gpu, &state, &format!("{what}, prefilled again"));
            assert_eq!(state.positions(), [37 + 3 + 5 + 8 + 2, 1 + 3 + 4 + 8 + 65, 3 + 8 + 300]);
        }
    }
}

/// Costs of given bytes; and which path decodes.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_surprise_is_that_of_the_logits() {
    let device = device();
    let source = checkpoint(dims(64, 2, 128, 16, 4, 4), 5);
    for precision in FLOATS {
        let gpu = load(&device, &source, precision);
        let (major, _) = device.context().compute_capability().unwrap();
        assert_eq!(gpu.is_persistent(), precision != Precision::F32 && major >= 9);
        let rows = [text(1, 50), text(2, 0), text(3, 9)];
        let next = [text(4, 50), text(5, 0), text(6, 9)];
        let (mut a, mut b) = (gpu.rows(3).unwrap(), gpu.rows(3).unwrap());
        let all = gpu.prefill(&slices(&rows), &mut a, Want::All).unwrap().natural_logits();
        let bits = gpu.prefill(&slices(&rows), &mut b, Want::Surprise(&slices(&next))).unwrap().bits();
        assert_eq!((all.len(), bits.len()), (59, 59));
        for ((logits, bits), next) in all.iter().zip(bits).zip(next.concat()) {
            let expected = bpb::surprise_bits(logits, next);
            assert!((bits - expected).abs() < 1e-4, "{precision}: {bits} {expected}");
        }
        assert_eq!(gpu.read_row(&a, 0).unwrap(), gpu.read_row(&b, 0).unwrap());
    }
}

/// Every kind of launch, few of each: short enough for compute-sanitizer.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_short() {
    let device = device();
    let source = checkpoint(dims(40, 2, 72, 5, 3, 3), 3);
    for precision in FLOATS {
        let (gpu, model) = (load(&device, &source, precision), reference(&source, precision));
        let mut cpus = Cpus { sessions: vec![model.session(); 2], error: Error::default() };
        let mut state = gpu.rows(2).unwrap();
        let rows = [text(1, 33), text(2, 7)];
        cpus.read(&slices(&rows), &logits(gpu.prefill(&slices(&rows), &mut state, Want::All).unwrap()));
        gpu.prefill(&[b"", b"x"], &mut state, Want::Surprise(&[b"", b"y"])).unwrap();
        feed(&mut cpus.sessions[1], b"x");
        cpus.read(&[b"a", b"b"], &logits(gpu.step(b"ab", &mut state).unwrap()));
        let verified = gpu.verify(&mut state, &[b"draft", b"dr"]).unwrap();
        let found = logits(verified.answer().clone());
        verified.accept(&[3, 0]).unwrap();
        cpus.read(&[b"dra", b""], &found[..3]);
        for options in [SampleOptions::GREEDY, SampleOptions { top_k: 9, ..SampleOptions::default() }] {
            let (mut last, mut rngs) = (*b"cd", [Rng::new(1), Rng::new(2)]);
            let text = gpu.decode(2, &mut last, &mut rngs, &options, &mut state).unwrap();
            for ((cpu, text), first) in cpus.sessions.iter_mut().zip(&text).zip(b"cd") {
                feed(cpu, [first, &text[0]]);
            }
        }
        cpus.check(&gpu, &state, &format!("{precision}, a little of everything"));
    }
}

/// `verify` of K bytes has the bits of K steps, whatever is accepted, and leaves the bits of that many steps.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_verify_is_stepping_bit_for_bit() {
    let device = device();
    for precision in FLOATS {
        for (index, dims) in shapes().into_iter().enumerate() {
            let gpu = load(&device, &checkpoint(dims, 31 + index as u64), precision);
            for lengths in [[0usize, 0, 0], [1, 0, 2], [7, 9, 1], [8, 17, 32], [32, 32, 31], [16, 0, 16]] {
                let drafts: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(i, &n)| text(i as u64 + 9, n)).collect();
                let accepted_of: [fn(usize) -> usize; 4] = [|_| 0, |n| n / 2, |n| n.saturating_sub(1), |n| n];
                for accepted_of in accepted_of {
                    let what = format!("{precision} {dims:?}, drafts of {lengths:?}");
                    let (mut a, mut b) = (gpu.rows(3).unwrap(), gpu.rows(3).unwrap());
                    for state in [&mut a, &mut b] {
                        gpu.prefill(&[b"abcde", b"", b"x"], state, Want::Nothing).unwrap();
                    }
                    // A rejected draft leaves no trace.
                    drop(gpu.verify(&mut a, &slices(&drafts)).unwrap());
                    let verified = gpu.verify(&mut a, &slices(&drafts)).unwrap();
                    let found = logits(verified.answer().clone());
                    let counts = lengths.map(accepted_of);
                    verified.accept(&counts).unwrap();
                    // All rows step at once; one that has accepted enough is put back.
                    let mut at = vec![Vec::new(); 3];
                    let mut kept: Vec<Vec<f32>> = (0..3).map(|row| gpu.read_row(&b, row).unwrap()).collect();
                    for k in 0..32 {
                        let bytes: Vec<u8> = drafts.iter().map(|d| d.get(k).copied().unwrap_or(0)).collect();
                        let stepped = logits(gpu.step(&bytes, &mut b).unwrap());
                        for row in 0..3 {
                            if k < lengths[row] {
                                at[row].push(stepped[row]);
                            }
                            if k < counts[row] {
                                kept[row] = gpu.read_row(&b, row).unwrap();
                            }
                        }
                    }
                    assert!(found == at.concat(), "{what}: logits");
                    for (row, kept) in kept.iter().enumerate() {
                        assert!(gpu.read_row(&a, row).unwrap() == *kept, "{what}: {counts:?} accepted, row {row}");
                    }
                }
            }
        }
    }
}

/// A few bytes that are read at once have the bits of as many steps; so has a row that was copied.
#[test]
#[ignore = "needs a GPU of compute capability 9.0"]
fn gpu_float_few_bytes_and_copies_are_steps_bit_for_bit() {
    let device = device();
    for precision in [Precision::Bf16, Precision::I8] {
        let gpu = load(&device, &checkpoint(dims(64, 2, 128, 16, 4, 4), 5), precision);
        let (mut a, mut b) = (gpu.rows(3).unwrap(), gpu.rows(3).unwrap());
        let few: [&[u8]; 3] = [b"abc", b"", b"x"];
        let last = logits(gpu.read(&mut a, &few, Want::Last).unwrap());
        assert_eq!(a.positions(), [3, 0, 1]);
        let mut single: Vec<_> = few.iter().map(|_| gpu.rows(1).unwrap()).collect();
        let stepped: Vec<_> = few
            .iter()
            .zip(&mut single)
            .map(|(text, state)| {
                text.iter().map(|&byte| logits(gpu.step(&[byte], state).unwrap())[0]).collect::<Vec<_>>()
            })
            .collect();
        assert!(last == [stepped[0][2], stepped[2][0]], "{precision}");
        gpu.reset(&mut a, 0).unwrap();
        assert!(logits(gpu.read(&mut a, &[b"abc", b"", b""], Want::All).unwrap()) == stepped[0], "{precision}");
        assert_eq!(gpu.read(&mut a, &[b"", b"", b"yz"], Want::Nothing).unwrap(), Answer::Nothing);
        b"yz".iter().for_each(|&byte| drop(gpu.step(&[byte], &mut single[2]).unwrap()));
        for which in [&[0][..], &[0, 2], &[0, 1, 2]] {
            gpu.copy(&mut a, &mut b, which).unwrap();
            for &row in which {
                assert!(
                    gpu.read_row(&b, row).unwrap() == gpu.read_row(&single[row], 0).unwrap(),
                    "{precision}, row {row}"
                );
                assert_eq!(b.positions()[row], [3, 0, 3][row]);
            }
        }
        let foreign = load(&device, &checkpoint(dims(64, 2, 128, 16, 4, 4), 6), precision).rows(3).unwrap();
        assert!(matches!(gpu.copy(&mut { foreign }, &mut b, &[0]), Err(EngineError::ForeignRows)));
        assert!(matches!(gpu.copy(&mut a, &mut b, &[3]), Err(EngineError::NoSuchRow { row: 3, rows: 3 })));
    }
}

/// What is proposed in one launch is what is decoded, and rows follow it to the bits of steps.
#[test]
#[ignore = "needs a GPU of compute capability 9.0"]
fn gpu_float_proposals_are_followed_bit_for_bit() {
    let device = device();
    let source = checkpoint(dims(64, 3, 128, 16, 4, 4), 5);
    let choices = [
        SampleOptions::GREEDY,
        SampleOptions::default(),
        SampleOptions { temperature: 60_000, top_k: 9, top_p: 60_000 },
    ];
    for (precision, options) in [Precision::Bf16, Precision::I8].into_iter().flat_map(|p| choices.map(|o| (p, o))) {
        let gpu = load(&device, &source, precision);
        for (n, count) in [(1, 1), (1, 31), (3, 5), (33, 4), (70, 31)] {
            let (mut rows, mut ahead) = (gpu.rows(n).unwrap(), gpu.rows(n).unwrap());
            let (mut truth, mut last) = (gpu.rows(n).unwrap(), text(n as u64, n));
            let mut rngs: Vec<Rng> = (0..n as u64).map(Rng::new).collect();
            let begin = last.clone();
            for rows in [&mut rows, &mut truth] {
                gpu.step(&begin, rows).unwrap();
            }
            for round in 0..3 {
                let written = gpu.propose(&mut rows, &mut ahead, (&last, &rngs), &options, count).unwrap();
                let counts: Vec<usize> = (0..n).map(|row| (row * 7 + round * 5 + count) % (count + 2)).collect();
                let read = |row: usize| [&last[row..=row], written[row].as_slice()].concat();
                let right: Vec<Vec<u8>> = (0..n).map(|row| read(row)[..counts[row]].to_vec()).collect();
                gpu.follow(&mut rows, &mut ahead, &slices(&right)).unwrap();
                // Steps read the same, one row after the other.
                for (row, right) in right.iter().enumerate() {
                    let mut alone = gpu.rows(1).unwrap();
                    let (values, at) = (gpu.read_row(&truth, row).unwrap(), truth.positions()[row]);
                    gpu.write_row(&mut alone, 0, &values, at).unwrap();
                    right.iter().for_each(|&byte| drop(gpu.step(&[byte], &mut alone).unwrap()));
                    let values = gpu.read_row(&alone, 0).unwrap();
                    assert!(gpu.read_row(&rows, row).unwrap() == values, "{precision}, row {row} of {n}, {counts:?}");
                    gpu.write_row(&mut truth, row, &values, at + right.len() as u64).unwrap();
                }
                assert_eq!(rows.positions(), truth.positions());
                let mut copies: Vec<Rng> = rngs.clone();
                let alone =
                    gpu.decode(count, &mut last.clone(), &mut copies, &options, &mut ahead_of(&gpu, &truth)).unwrap();
                let again = gpu.propose(&mut rows, &mut ahead, (&last, &rngs), &options, count).unwrap();
                assert_eq!(again, alone, "{precision}, {options:?}");
                last = (0..n).map(|row| read(row)[counts[row].min(count)]).collect();
                rngs.iter_mut().for_each(|rng| _ = rng.next_u64());
            }
            // Rows that have moved since follow nothing.
            gpu.propose(&mut rows, &mut ahead, (&last, &rngs), &options, count).unwrap();
            gpu.step(&begin, &mut rows).unwrap();
            let nothing: Vec<&[u8]> = vec![b""; n];
            assert!(matches!(gpu.follow(&mut rows, &mut ahead, &nothing), Err(EngineError::NoDraft)));
        }
    }
}

/// A copy of rows.
fn ahead_of(gpu: &GpuModel, rows: &GpuState) -> GpuState {
    let mut copy = gpu.rows(rows.rows()).unwrap();
    for row in 0..rows.rows() {
        gpu.write_row(&mut copy, row, &gpu.read_row(rows, row).unwrap(), rows.positions()[row]).unwrap();
    }
    copy
}

/// In the persistent kernel a stream's bits do not depend on how many there are.
#[test]
#[ignore = "needs a GPU of compute capability 9.0"]
fn gpu_float_batches_are_single_streams_bit_for_bit() {
    let device = device();
    let source = checkpoint(dims(64, 2, 128, 16, 4, 4), 3);
    for precision in [Precision::Bf16, Precision::I8] {
        let gpu = load(&device, &source, precision);
        let decode = |state: &mut GpuState, first: &[u8]| {
            let mut rngs = vec![Rng::new(0); first.len()];
            gpu.decode(6, &mut first.to_vec(), &mut rngs, &SampleOptions::GREEDY, state).unwrap()
        };
        for rows in [1, 2, 7, 8, 9, 31, 32, 33, 70, 256] {
            let mut state = gpu.rows(rows).unwrap();
            let first = text(8, rows);
            let found = decode(&mut state, &first);
            for row in [0, rows / 2, rows - 1] {
                let mut alone = gpu.rows(1).unwrap();
                assert_eq!(found[row], decode(&mut alone, &first[row..=row])[0], "{precision}, row {row} of {rows}");
                assert_eq!(gpu.read_row(&state, row).unwrap(), gpu.read_row(&alone, 0).unwrap());
            }
        }
        // 64 drafts of 32 bytes, in many launches.
        let mut state = gpu.rows(64).unwrap();
        let drafts: Vec<Vec<u8>> = (0..64).map(|row| text(row, 32)).collect();
        let verified = gpu.verify(&mut state, &slices(&drafts)).unwrap();
        let found = logits(verified.answer().clone());
        verified.accept(&[31; 64]).unwrap();
        for row in [0, 40, 63] {
            let mut alone = gpu.rows(1).unwrap();
            let mut expected = Vec::new();
            for (k, &byte) in drafts[row].iter().enumerate() {
                if k == 31 {
                    assert_eq!(gpu.read_row(&state, row).unwrap(), gpu.read_row(&alone, 0).unwrap());
                }
                expected.extend(logits(gpu.step(&[byte], &mut alone).unwrap()));
            }
            assert!(found[row * 32..][..32] == expected, "{precision}, draft {row}");
        }
    }
}

/// Bytes drawn are those of the core's sampler on the logits of stepping.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_decoding_writes_the_samplers_text() {
    let device = device();
    let source = checkpoint(dims(64, 2, 128, 16, 4, 4), 8);
    for precision in FLOATS {
        let gpu = load(&device, &source, precision);
        for options in [
            SampleOptions::GREEDY,
            SampleOptions::default(),
            SampleOptions { temperature: 1, top_k: 256, top_p: 65_536 },
            SampleOptions { temperature: u32::MAX, top_k: 255, top_p: 0 },
            SampleOptions { temperature: 45_875, top_k: 50, top_p: 62_259 },
            SampleOptions { temperature: 65_536, top_k: 0, top_p: 30_000 },
            SampleOptions { temperature: 131_072, top_k: 3, top_p: 65_536 },
        ] {
            for rows in [1usize, 5, 40] {
                let (mut a, mut b) = (gpu.rows(rows).unwrap(), gpu.rows(rows).unwrap());
                let mut last: Vec<u8> = (0..rows as u8).collect();
                let mut rngs: Vec<Rng> = (0..rows as u64).map(Rng::new).collect();
                let (mut cpu_last, mut cpu_rngs) = (last.clone(), rngs.clone());
                for count in [1, 20, 0, 7] {
                    let found = gpu.decode(count, &mut last, &mut rngs, &options, &mut a).unwrap();
                    let mut expected = vec![Vec::new(); rows];
                    for _ in 0..count {
                        for (row, logits) in logits(gpu.step(&cpu_last, &mut b).unwrap()).iter().enumerate() {
                            cpu_last[row] = sample(&logit_units(logits), &options, &mut cpu_rngs[row]);
                            expected[row].push(cpu_last[row]);
                        }
                    }
                    assert_eq!(found, expected, "{precision} {options:?}, {rows} rows");
                    assert_eq!((&last, &rngs), (&cpu_last, &cpu_rngs));
                }
                for row in 0..rows {
                    assert!(gpu.read_row(&a, row).unwrap() == gpu.read_row(&b, row).unwrap());
                }
            }
        }
    }
}

/// Draws do not depend on how many bytes a call writes, but on the seed; and their frequencies are right.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_draws_repeat_themselves() {
    let device = device();
    let source = checkpoint(dims(128, 4, 256, 16, 4, 8), 12);
    let options = SampleOptions { temperature: 52_429, ..SampleOptions::default() };
    for precision in FLOATS {
        let gpu = load(&device, &source, precision);
        let run = |counts: &[usize], seed: u64| {
            let mut state = gpu.rows(3).unwrap();
            let (mut last, mut rngs) = (b"abc".to_vec(), vec![Rng::new(seed); 3]);
            let mut text = vec![Vec::new(); 3];
            for &count in counts {
                let found = gpu.decode(count, &mut last, &mut rngs, &options, &mut state).unwrap();
                text.iter_mut().zip(found).for_each(|(text, found)| text.extend(found));
            }
            let states: Vec<Vec<f32>> = (0..3).map(|row| gpu.read_row(&state, row).unwrap()).collect();
            (text, states)
        };
        let first = run(&[1500], 5);
        for _ in 0..5 {
            assert!(run(&[1500], 5) == first, "{precision}: two runs differ");
        }
        assert!(run(&[1, 2, 700, 797], 5) == first, "{precision}: many calls, or one");
        assert_ne!(run(&[1500], 6).0, first.0);
        // The most probable first byte comes about as often as it should.
        let gpu_first = logits(gpu.step(b"a", &mut gpu.rows(1).unwrap()).unwrap())[0];
        let weights = gpu_first.map(|l| f64::from(l / 0.8).exp());
        let best = (0..VOCAB).max_by(|&a, &b| weights[a].total_cmp(&weights[b])).unwrap();
        let expected = weights[best] / weights.iter().sum::<f64>() * 2000.0;
        let hits = (0..2000).filter(|&seed| {
            let (mut last, mut rngs) = ([b'a'], [Rng::new(seed)]);
            gpu.decode(1, &mut last, &mut rngs, &options, &mut gpu.rows(1).unwrap()).unwrap();
            usize::from(last[0]) == best
        });
        let hits = hits.count() as f64;
        assert!((hits - expected).abs() < 6.0 * expected.sqrt().max(1.0), "{precision}: {hits} of 2000, {expected:.1}");
    }
}

/// A row's text is that of its own generator: alone, beside 39 others, or with the rows in another order. A `top_k` of
/// 256 cuts nothing.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_text_of_a_row_does_not_depend_on_its_neighbours() {
    let device = device();
    let source = checkpoint(dims(128, 4, 256, 16, 4, 8), 12);
    let all = SampleOptions { temperature: 60_000, ..SampleOptions::default() };
    let seeds: Vec<u64> = (100..140).collect();
    for precision in FLOATS {
        let gpu = load(&device, &source, precision);
        let write = |seeds: &[u64], options: &SampleOptions| {
            let mut state = gpu.rows(seeds.len()).unwrap();
            let mut last: Vec<u8> = seeds.iter().map(|&seed| seed as u8).collect();
            let mut rngs: Vec<Rng> = seeds.iter().map(|&seed| Rng::new(seed)).collect();
            let text = gpu.decode(200, &mut last, &mut rngs, options, &mut state).unwrap();
            (text, rngs)
        };
        let together = write(&seeds, &all);
        assert!(together.0.windows(2).all(|pair| pair[0] != pair[1]), "{precision}");
        assert_eq!(write(&seeds, &SampleOptions { top_k: 256, ..all }), together, "{precision}");
        let backwards: Vec<u64> = seeds.iter().rev().copied().collect();
        let (text, _) = write(&backwards, &all);
        assert!(text.iter().rev().eq(&together.0), "{precision}: rows in another order");
        if gpu.is_persistent() {
            // The products of single steps are the same for any number of rows.
            for (row, seed) in seeds.iter().enumerate() {
                assert_eq!(write(&[*seed], &all).0[0], together.0[row], "{precision}, row {row} alone");
            }
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_float_twenty_runs_are_identical() {
    let device = device();
    let source = checkpoint(dims(272, 2, 544, 16, 4, 17), 4);
    let rows: Vec<Vec<u8>> = (0..20).map(|row| text(row, 50 + 13 * row as usize)).collect();
    for precision in FLOATS {
        let gpu = load(&device, &source, precision);
        let mut first = None;
        for run in 0..20 {
            let mut state = gpu.rows(20).unwrap();
            let mut all = logits(gpu.prefill(&slices(&rows), &mut state, Want::All).unwrap());
            all.extend(logits(gpu.step(&[7; 20], &mut state).unwrap()));
            let verified = gpu.verify(&mut state, &vec![&b"draft"[..]; 20]).unwrap();
            all.extend(logits(verified.answer().clone()));
            verified.accept(&[3; 20]).unwrap();
            let states: Vec<Vec<f32>> = (0..20).map(|row| gpu.read_row(&state, row).unwrap()).collect();
            assert!(first.get_or_insert((all.clone(), states.clone())) == &(all, states), "{precision}, run {run}");
        }
    }
}

/// A million bytes take the memory of one chunk, and leave the state of a million steps.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_a_million_bytes_in_bounded_memory() {
    const CHUNK: usize = 65_536;
    let device = device();
    let dims = dims(32, 2, 64, 8, 4, 2);
    let source = checkpoint(dims, 6);
    let long = text(3, 1_000_000);
    let (gpu, model) = (load(&device, &source, Precision::F32), reference(&source, Precision::F32));
    let free = || device.context().mem_get_info().unwrap().0;
    let mut state = gpu.rows(1).unwrap();
    device.synchronize().unwrap();
    let before = free();
    gpu.prefill(&[&long[..CHUNK]], &mut state, Want::Nothing).unwrap();
    let chunk = before - free();
    let mut state = gpu.rows(1).unwrap();
    gpu.prefill(&[&long], &mut state, Want::Nothing).unwrap();
    let all = before - free();
    // Bytes of the activations: residual, norm, x, z, u, delta, B, C, dt in f32.
    let most = CHUNK * (2 + 4 * (2 * 32 + 4 * 64 + 24)) + (64 << 20);
    println!("a chunk takes {chunk} bytes of GPU memory, a million bytes {all}; {most} are allowed");
    assert!(all <= most && all <= chunk + (8 << 20), "{chunk} {all} {most}");
    let mut cpu = model.session();
    feed(&mut cpu, &long);
    let mut error = Error::default();
    error.add(&gpu.read_row(&state, 0).unwrap(), cpu.state());
    error.check(1e-5, "the state after a million bytes");
    assert_eq!(state.positions(), [1_000_000]);
}

/// The i8 weights of a blob, and the f32 model that they stand for.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_from_a_blob() {
    let device = device();
    let file = |name: &str| std::fs::read(format!("../models/{name}")).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (log, prose) = (file("text/golden-4096.txt"), file("prose-small/golden_input.bin"));
    // A text that the model knows: of others each arithmetic has an opinion of its own.
    for (name, golden) in [("sensor-nano", &log), ("sensor-micro", &log), ("prose-small", &prose)] {
        let memory = AlignedBytes::new(&file(&format!("{name}/model.mbb")));
        let blob = Blob::parse(memory.as_slice()).unwrap();
        let model = Model::new(dequantize(&blob).checkpoint).unwrap();
        let exact = GpuModel::load(&device, blob, Precision::Exact).unwrap();
        let of = |gpu: &GpuModel| evaluate(gpu, golden, Some(1024), &|_| ()).unwrap().bits_per_byte();
        let expected = of(&exact);
        for precision in FLOATS {
            let gpu = GpuModel::load(&device, blob, precision).unwrap();
            let mut state = gpu.rows(2).unwrap();
            let mut cpus = Cpus { sessions: vec![model.session(); 2], error: Error::default() };
            let rows: [&[u8]; 2] = [&golden[..300], &golden[100..150]];
            cpus.read(&rows, &logits(gpu.prefill(&rows, &mut state, Want::All).unwrap()));
            for k in 0..20 {
                let bytes = [golden[300 + k], golden[150 + k]];
                cpus.read(&[&bytes[..1], &bytes[1..]], &logits(gpu.step(&bytes, &mut state).unwrap()));
            }
            cpus.check(&gpu, &state, &format!("{name}, {precision}"));
            let found = of(&gpu);
            println!("{name}, {precision}: {found:.4} bits per byte, exact {expected:.4}");
            assert!((found - expected).abs() < 0.03, "{name}, {precision}: {found} {expected}");
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_float_rows_go_in_and_out() {
    let device = device();
    let source = checkpoint(dims(40, 3, 71, 5, 3, 3), 2);
    let model = reference(&source, Precision::F32);
    let gpu = load(&device, &source, Precision::F32);
    let mut cpu = model.session();
    feed(&mut cpu, b"what a CPU has read");
    let mut state = gpu.rows(3).unwrap();
    gpu.write_row(&mut state, 1, cpu.state(), 19).unwrap();
    assert_eq!(gpu.read_row(&state, 1).unwrap(), cpu.state());
    assert!(gpu.read_row(&state, 2).unwrap().iter().all(|&v| v == 0.0));
    assert_eq!(state.positions(), [0, 19, 0]);
    let found = logits(gpu.step(b"!!!", &mut state).unwrap());
    let mut error = Error::default();
    error.add(&found[1], cpu.step(b'!').unwrap());
    error.check(1e-5, "a row from the CPU");
    assert!(matches!(gpu.read_row(&state, 3), Err(CudaError::Rows { expected: 3, found: 4 })));
    assert!(matches!(gpu.write_row(&mut state, 0, &[0.0], 0), Err(CudaError::ForeignState)));
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_float_refusals() {
    let device = device();
    let source = checkpoint(dims(64, 1, 128, 16, 4, 4), 12);
    let models = FLOATS.map(|precision| load(&device, &source, precision));
    for (index, gpu) in models.iter().enumerate() {
        let mut state = gpu.rows(1).unwrap();
        for (other_index, other) in models.iter().enumerate() {
            let foreign = |result: Result<(), CudaError>| {
                matches!(result, Err(CudaError::ForeignState)) != (index == other_index)
            };
            assert!(foreign(other.prefill(&[b"a"], &mut state, Want::Nothing).map(drop)));
            assert!(foreign(other.step(b"a", &mut state).map(drop)));
            assert!(foreign(other.read_row(&state, 0).map(drop)));
            let refused = other.verify(&mut state, &[b"a"]).map(drop);
            assert!(matches!(refused, Err(EngineError::ForeignRows)) != (index == other_index));
            let greedy = SampleOptions::GREEDY;
            assert!(foreign(other.decode(1, &mut [0], &mut [Rng::new(0)], &greedy, &mut state).map(drop)));
        }
        assert!(matches!(gpu.step(b"ab", &mut state), Err(CudaError::Rows { expected: 1, found: 2 })));
        assert!(matches!(gpu.verify(&mut state, &[b"a", b"b"]).err(), Some(EngineError::Rows { .. })));
        assert!(matches!(gpu.verify(&mut state, &[&[0; 33]]).err(), Some(EngineError::LongDraft { found: 33 })));
        assert!(matches!(
            gpu.verify(&mut state, &[b"ab"]).unwrap().accept(&[3]),
            Err(EngineError::TooManyAccepted { .. })
        ));
        assert!(matches!(gpu.snapshot(&mut state, 0), Err(EngineError::NotIntegers { .. })));
        assert!(matches!(gpu.restore(&mut state, 0, b""), Err(EngineError::NotIntegers { .. })));
        assert!(matches!(gpu.rows(257).err(), Some(EngineError::Cuda(CudaError::Shape { found: 257, .. }))));
    }
    assert!(GpuModel::load(&device, &source, Precision::Exact).is_err_and(|e| e.to_string().contains("needs a blob")));
    let mut damaged = source;
    damaged.layers[0].x_proj.pop();
    assert!(GpuModel::load(&device, &damaged, Precision::Bf16).is_err_and(|e| e.to_string().contains("x_proj")));
}

/// Every call that looks at logits says which block of bytes they are of; the CPU names the layer.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_what_is_not_finite_is_an_error() {
    let device = device();
    let mut source = checkpoint(dims(64, 2, 128, 16, 4, 4), 21);
    source.layers[1].in_proj.iter_mut().for_each(|w| *w *= 1e30);
    let mut loud = checkpoint(dims(64, 2, 128, 16, 4, 4), 21);
    loud.norm_f.iter_mut().for_each(|w| *w *= 1e12);
    let block = |result: Result<(), EngineError>| match result {
        Err(EngineError::Cuda(CudaError::NotFinite { row, from, to })) => (row, from, to),
        other => panic!("{other:?}"),
    };
    for (precision, source) in FLOATS.into_iter().flat_map(|p| [(p, &source), (p, &loud)]) {
        let gpu = load(&device, source, precision);
        let new = || gpu.rows(3).unwrap();
        let text: [&[u8]; 3] = [b"", b"abc", b"defgh"];
        let read = |want| block(gpu.read(&mut new(), &text, want).map(drop));
        assert_eq!(read(Want::All), (1, 0, 1), "{precision}");
        // In one launch of the persistent kernel every byte is looked at.
        assert_eq!(read(Want::Last), (1, 0, if gpu.is_persistent() { 1 } else { 3 }), "{precision}");
        assert_eq!(block(gpu.read(&mut new(), &[b"a"; 3].map(|b| &b[..]), Want::Last).map(drop)), (0, 0, 1));
        assert_eq!(block(gpu.verify(&mut new(), &text).map(drop)), (1, 0, 1), "{precision}");
        for count in [1, 5, 1500] {
            let (mut last, mut rngs) = ([0; 3], [1, 2, 3].map(Rng::new));
            let written = gpu.generate(&mut new(), &mut last, &mut rngs, &SampleOptions::GREEDY, count);
            let (row, from, to) = block(written.map(drop));
            assert_eq!((row, from), (0, 0), "{precision}");
            assert!(to > 0 && to <= count as u64, "{precision}: {to} of {count}");
        }
        // Nobody looks at what nobody asks for, but for the few bytes of one launch of the persistent kernel; the next logits
        // say it, where the row is by then.
        let mut state = new();
        let few = gpu.read(&mut state, &text, Want::Nothing);
        if gpu.is_persistent() {
            assert_eq!(block(few.map(drop)), (1, 0, 1), "{precision}");
        } else {
            assert_eq!(few.unwrap(), Answer::Nothing);
            assert_eq!(block(gpu.read(&mut state, &[b"", b"", b"xy"], Want::Last).map(drop)), (2, 5, 7), "{precision}");
        }
        let error = evaluate(&gpu, &[b'a'; 400], Some(100), &|_| ()).unwrap_err();
        assert!(error.to_string().contains("--device cpu"), "{error}");
        assert_eq!(block(Err(error)), (0, 0, 1));
        // A model that is well is not disturbed.
        let well = load(&device, &checkpoint(dims(64, 2, 128, 16, 4, 4), 21), precision);
        well.read(&mut well.rows(3).unwrap(), &text, Want::All).unwrap();
    }
    // What a byte costs, too: huge logits have huge costs, or none.
    let gpu = load(&device, &source, Precision::F32);
    let text: [&[u8]; 2] = [b"ab", b"c"];
    assert_eq!(block(gpu.read(&mut gpu.rows(2).unwrap(), &text, Want::Surprise(&text)).map(drop)), (0, 0, 1));
}
