//! Gradients, updates and losses of a GPU against the CPU's, whose gradients are tested against f64; runs against
//! themselves.

use mambabyte_core::{Dims, Norm};

use super::*;
use crate::train::augment::Augment;
use crate::train::data::{Corpus, Text};
use crate::train::holdout::Holdout;
use crate::train::machine::Cpu;
use crate::train::optimizer::Matrices;
use crate::train::schedule::{Fall, Schedule};
use crate::train::trainer::{Settings, Trainer};
use crate::train::{Carry, gradient, initial, losses, state_file};

mod aims;

/// Neither rounding nor teachers.
const ALONE: (Rounding, &Teaching) = (Rounding::None, &Teaching { teachers: Vec::new(), share: 0.0 });

/// Small numbers, the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

/// Every number of taps, both norms, heads and kinds of decay; states of every form of the scan.
fn shapes() -> Vec<Dims> {
    let shapes = [
        (16, 2, 24, 3, 3, 2, Norm::Rms, true, true),
        (24, 2, 40, 8, 4, 1, Norm::Layer, false, true),
        (16, 1, 136, 9, 2, 9, Norm::Layer, true, false),
        (64, 2, 128, 16, 4, 4, Norm::Rms, false, false),
        (40, 1, 72, 31, 4, 3, Norm::Rms, true, true),
        (16, 1, 24, 50, 3, 2, Norm::Rms, true, false),
        (136, 2, 264, 16, 4, 8, Norm::Rms, true, true),
        (1032, 1, 1040, 8, 4, 65, Norm::Layer, true, false),
    ];
    let dims = |(d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm, tied_head, tied_decays)| Dims {
        d_model,
        n_layer,
        d_inner,
        d_state,
        d_conv,
        dt_rank,
        norm,
        tied_head,
        tied_decays,
    };
    shapes.map(dims).into()
}

/// Random weights, also where the beginning of a run has none.
fn weights(dims: &Dims) -> Checkpoint {
    weights_of(dims, 256)
}

fn weights_of(dims: &Dims, vocabulary: usize) -> Checkpoint {
    let (mut weights, mut noise) = (initial::with_vocabulary(dims, vocabulary, 3), Noise(dims.d_inner as u64));
    for (_, tensor, values) in weights.tensors_mut() {
        let scale = match tensor {
            "a_log" | "dt_bias" => 0.3,
            "embedding" | "lm_head" => 0.2,
            _ => 0.1,
        };
        values.iter_mut().for_each(|v| *v += scale * noise.next());
    }
    weights.tie_decays();
    weights
}

/// Rows of one length, from some state, with documents in them.
struct Batch {
    texts: Vec<Vec<u16>>,
    starts: Vec<Vec<u32>>,
    before: Vec<Carry>,
}

impl Batch {
    fn new(dims: &Dims, len: usize) -> Self {
        Self::of(dims, 256, len)
    }

    fn of(dims: &Dims, vocabulary: usize, len: usize) -> Self {
        let mut noise = Noise(5);
        let end = len as u32;
        let starts: Vec<Vec<u32>> =
            vec![vec![], vec![0, 1, 2, 15, 16, 18, 64, end - 1], vec![3, 70], vec![31, 32, end]];
        let most = vocabulary as f32 / 2.0 - 0.1;
        let texts = starts.iter().map(|_| (0..=len).map(|_| ((noise.next() + 1.0) * most) as u16).collect());
        let texts = texts.collect();
        let before = starts.iter().map(|_| {
            let mut carry = Carry::zero(dims);
            carry.as_mut_slice().iter_mut().for_each(|c| *c = 0.5 * noise.next());
            carry
        });
        Self { texts, before: before.collect(), starts }
    }

    /// A step of `machine` from `carries`, which it leaves there.
    fn step(&self, machine: &mut impl Machine, carries: &mut Vec<Carry>, change: Change) -> Outcome {
        let mut rows = carries.clone();
        let rows = self.rows(&mut rows);
        let windows: Vec<_> = rows.iter().map(Row::window).collect();
        machine.carry(carries.clone()).unwrap();
        let outcome = machine.step(&windows, change).unwrap();
        *carries = machine.carries().unwrap();
        outcome
    }

    fn rows<'a>(&'a self, carries: &'a mut [Carry]) -> Vec<Row<'a>> {
        let rows = self.texts.iter().zip(&self.starts).zip(carries);
        let row = |((text, starts), carry): ((&'a Vec<u16>, &'a Vec<u32>), &'a mut Carry)| {
            let (symbols, next) = (&text[..text.len() - 1], &text[1..]);
            Row { symbols, next, starts, carry }
        };
        rows.map(row).collect()
    }
}

/// `|a - b| / |b|`.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let apart: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(a - b))).sum();
    let size: f64 = b.iter().map(|&b| square(f64::from(b))).sum();
    (apart / size.max(1e-30)).sqrt()
}

fn parts(weights: &Checkpoint, matrices: Matrices) -> Parts {
    Parts::new(weights.clone(), matrices, 0.1, 100)
}

/// The largest distance of any tensor, and which.
fn farthest(mut a: Checkpoint, mut b: Checkpoint) -> (f64, String) {
    let pairs = a.tensors_mut().into_iter().zip(b.tensors_mut());
    let pairs = pairs.filter(|((.., a), _)| !a.is_empty());
    let far = pairs.map(|((layer, tensor, a), (.., b))| (distance(a, b), format!("{tensor} of layer {layer}")));
    far.fold((0.0, String::new()), |worst, next| if next.0 > worst.0 || next.0.is_nan() { next } else { worst })
}

const STILL: Change = Change { rate: 0.0, clip: 1e30 };

/// A step's gradient, loss and states beside those of a CPU.
fn gradients_are_those_of_the_cpu(device: &Arc<Device>, weights: &Checkpoint, len: usize) {
    let (dims, symbols) = (weights.dims, weights.vocabulary());
    let model = Model::of_symbols(weights.clone()).unwrap();
    let batch = Batch::of(&dims, symbols, len);
    let (mut carries, mut grad) = (batch.before.clone(), zeros_like(weights));
    let loss = gradient(&model, &mut batch.rows(&mut carries), &mut grad);
    for (products, bound) in [(Products::F32, 1e-4), (Products::Bf16, 6e-2)] {
        let parts = parts(weights, Matrices::Adamw);
        let mut machine = GpuMachine::new(device, parts, products, (batch.texts.len(), len), ALONE).unwrap();
        let mut found = batch.before.clone();
        let outcome = batch.step(&mut machine, &mut found, STILL);
        let (far, tensor) = farthest(machine.last_gradient().unwrap(), grad.clone());
        let apart = (outcome.loss.nats / loss.nats - 1.0).abs();
        println!("{dims:?}, {symbols} symbols, {len}, {products:?}: gradients {far:.1e} ({tensor}), loss {apart:.1e}");
        assert!(far < bound, "{dims:?}, {symbols} symbols, {products:?}: {tensor} is {far} apart");
        assert!(apart < bound && outcome.loss.symbols == loss.symbols);
        for (found, expected) in found.iter().zip(&carries) {
            let far = distance(found.as_slice(), expected.as_slice());
            assert!(far < bound, "{dims:?}, {products:?}: states are {far} apart");
        }
        let mut all = grad.clone();
        let norm = crate::train::optimizer::clip(&mut all, f64::INFINITY) / loss.symbols as f64;
        assert!((outcome.norm / norm - 1.0).abs() < bound, "{} and {norm}", outcome.norm);
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn gpu_gradients_are_those_of_the_cpu() {
    let device = Device::open(0).unwrap();
    for (dims, len) in shapes().into_iter().flat_map(|dims| [(dims, 75), (dims, 128)]) {
        gradients_are_those_of_the_cpu(&device, &weights(&dims), len);
    }
}

/// Few symbols, a number that is no multiple of 8, and so many that the head goes by parts of a batch.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn gpu_gradients_of_other_vocabularies_are_those_of_the_cpu() {
    let device = Device::open(0).unwrap();
    for dims in &shapes()[..4] {
        for (symbols, len) in [(17, 75), (300, 128), (2048, 75)] {
            gradients_are_those_of_the_cpu(&device, &weights_of(dims, symbols), len);
        }
    }
    gradients_are_those_of_the_cpu(&device, &weights_of(&shapes()[0], 65_536), 128);
}

/// The convolution's gradient of the first layer, from what the GPU has before and after it.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn gpu_convolution_back_is_plain_arithmetic() {
    let device = Device::open(0).unwrap();
    for dims in shapes().into_iter().filter(|dims| dims.d_model < 100) {
        for len in [3, 64, 75, 128, 130] {
            let (weights, batch) = (weights(&dims), Batch::new(&dims, len.max(20)));
            let len = len.max(20);
            let shape = (batch.texts.len(), len);
            let mut machine =
                GpuMachine::new(&device, parts(&weights, Matrices::Adamw), Products::F32, shape, ALONE).unwrap();
            let mut carries = batch.before.clone();
            batch.step(&mut machine, &mut carries, STILL);
            let [xz, dxz, du] = [&machine.memory.layer(0).xz, &machine.memory.dxz, &machine.memory.du]
                .map(|buffer| buffer.download(&device).unwrap());
            let (di, taps, layer) = (dims.d_inner, dims.d_conv, &weights.layers[0]);
            let mut dx = vec![0.0f64; shape.0 * len * di];
            let mut dw = vec![0.0f64; di * taps];
            for (row, starts) in batch.starts.iter().enumerate() {
                let history = &batch.before[row].as_slice()[..dims.conv_state_len()];
                for t in 0..len {
                    let age = starts.iter().filter(|&&s| s as usize <= t).map(|&s| t - s as usize).min().unwrap_or(255);
                    let at = row * len + t;
                    for c in 0..di {
                        let x = |distance: usize| match t.checked_sub(distance) {
                            Some(t) => f64::from(xz[(row * len + t) * 2 * di + c]),
                            None => f64::from(history[(t + taps - 1 - distance) * di + c]),
                        };
                        let seen = 0..taps.min(age + 1);
                        let weight = |d: usize| f64::from(layer.conv1d[c * taps + taps - 1 - d]);
                        let pre = f64::from(layer.conv_bias[c]) + seen.clone().map(|d| weight(d) * x(d)).sum::<f64>();
                        let gate = 1.0 / (1.0 + (-pre).exp());
                        let dpre = f64::from(du[at * di + c]) * gate * (1.0 + pre * (1.0 - gate));
                        for d in seen {
                            dw[c * taps + taps - 1 - d] += dpre * x(d);
                            if d <= t {
                                dx[(at - d) * di + c] += dpre * weight(d);
                            }
                        }
                    }
                }
            }
            for (index, expected) in dx.iter().enumerate() {
                let (at, c) = (index / di, index % di);
                let found = f64::from(dxz[at * 2 * di + c]);
                let bound = 1e-4 * (1.0 + expected.abs());
                assert!(
                    (found - expected).abs() < bound,
                    "{dims:?}, {len}: row {}, {}, channel {c}: {found} {expected}",
                    at / len,
                    at % len
                );
            }
            let grad = machine.last_gradient().unwrap();
            let dw: Vec<f32> = dw.iter().map(|&w| w as f32).collect();
            assert!(distance(&grad.layers[0].conv1d, &dw) < 1e-4, "{dims:?}, {len}");
        }
    }
}

/// Steps with clipping and decay: weights, average and moments.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn gpu_updates_are_those_of_the_cpu() {
    let device = Device::open(0).unwrap();
    for dims in shapes().into_iter().filter(|dims| dims.d_model < 1000) {
        for matrices in [Matrices::Muon, Matrices::Adamw] {
            let (weights, batch) = (weights(&dims), Batch::new(&dims, 75));
            let mut cpu = Cpu::new(parts(&weights, matrices), Rounding::None, Teaching::default()).unwrap();
            let shape = (batch.texts.len(), 75);
            let mut gpu = GpuMachine::new(&device, parts(&weights, matrices), Products::F32, shape, ALONE).unwrap();
            for step in 0..3 {
                let change = Change { rate: 0.01, clip: 0.5 };
                let before = cpu.parts().unwrap();
                gpu.set(before.clone()).unwrap();
                let (mut same, mut back) = (before.clone(), gpu.parts().unwrap());
                [&mut same, &mut back].into_iter().for_each(|parts| parts.average.weights.tie_decays());
                assert!(back == same, "what is uploaded comes back");
                let (mut a, mut b) = (batch.before.clone(), batch.before.clone());
                batch.step(&mut cpu, &mut a, change);
                batch.step(&mut gpu, &mut b, change);
                let (expected, found) = (cpu.parts().unwrap(), gpu.parts().unwrap());
                assert_eq!(found.optimizer.steps, expected.optimizer.steps);
                // The change itself is compared, not the weights that hardly move.
                let moved = |after: Checkpoint, before: &Checkpoint| {
                    let (mut after, mut before) = (after, before.clone());
                    for ((.., a), (.., b)) in after.tensors_mut().into_iter().zip(before.tensors_mut()) {
                        a.iter_mut().zip(b).for_each(|(a, b)| *a -= *b);
                    }
                    after
                };
                let of = |parts: &Parts| moved(parts.weights.clone(), &before.weights);
                let (far, tensor) = farthest(of(&found), of(&expected));
                println!("{dims:?}, {matrices:?}, step {step}: {far:.1e} ({tensor})");
                // AdamW's first steps divide a gradient by itself: small ones are all rounding.
                assert!(far < 2e-2, "{dims:?}, {matrices:?}: {tensor} moved {far} apart");
                let of = |parts: &Parts| moved(parts.average.weights.clone(), &before.average.weights);
                assert!(farthest(of(&found), of(&expected)).0 < 2e-2);
            }
        }
    }
}

fn settings(window: usize, batch: usize, steps: u64) -> Settings {
    Settings {
        window,
        batch,
        passage: 300,
        schedule: Schedule::new(steps, Fall::Cosine),
        rate: 0.01,
        decay: 0.1,
        clip: 1.0,
        matrices: Matrices::Muon,
        augment: Augment { digits: 0.4, ..Augment::default() },
        rounding: Rounding::None,
        teachers_share: 0.0,
        seed: 3,
    }
}

fn text() -> Vec<u8> {
    (0..3000u32).flat_map(|i| format!("t={} level={} ok\n", 1000 + i, i * 7 % 10).into_bytes()).collect()
}

/// Two runs have the same bits, also when one is saved and goes on; the hold-out is judged as the CPU judges it.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn gpu_runs_are_repeated_and_resumed_to_the_bit() {
    let device = Device::open(0).unwrap();
    let corpus = Corpus::new(vec![Text::of("log".into(), text())], None);
    let holdout = Holdout::new(&[&text()[..20_000]], 1 << 20);
    let dims = shapes()[1];
    for products in [Products::F32, Products::Bf16] {
        let settings = settings(192, 16, 60);
        let make = |parts| GpuMachine::boxed(&device, parts, products, (16, 192), ALONE);
        let begin = || {
            let first = initial::checkpoint(&dims, 1);
            let machine = make(Trainer::begin(first.clone(), &settings)).unwrap();
            Trainer::on(machine, &first, settings).unwrap()
        };
        let steps =
            |trainer: &mut Trainer, n| -> Vec<_> { (0..n).map(|_| trainer.step(&corpus).unwrap().unwrap()).collect() };
        let mut whole = begin();
        let mut expected = steps(&mut whole, 30);
        expected.extend(steps(&mut whole, 30));
        let mut halves = begin();
        let mut found = steps(&mut halves, 30);
        let file = halves.save(b"").unwrap();
        let (_, reader) = state_file::open(&file).unwrap();
        let mut halves = Trainer::load(reader, initial::checkpoint(&dims, 1), settings, &corpus, make).unwrap();
        found.extend(steps(&mut halves, 30));
        assert_eq!(found, expected);
        assert!(expected[59].bits_per_byte < 0.6 * expected[0].bits_per_byte, "{expected:?}");
        let (bits, _) = whole.look(&holdout).unwrap();
        let on_cpu = holdout.bits(&whole.averaged().unwrap());
        println!(
            "{products:?}: {} to {} bits; hold-out {bits}, on the CPU {on_cpu}",
            expected[0].bits_per_byte, expected[59].bits_per_byte
        );
        let bound = if products == Products::F32 { 1e-4 } else { 2e-2 };
        assert!((bits / on_cpu - 1.0).abs() < bound, "{bits} and {on_cpu}");
        assert_eq!(halves.look(&holdout).unwrap(), (bits, 0));
        assert!(halves.save(b"").unwrap() == whole.save(b"").unwrap());
    }
}

/// A loss that is no number changes nothing.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn gpu_nothing_is_changed_by_what_is_no_number() {
    let device = Device::open(0).unwrap();
    let dims = shapes()[0];
    let (mut weights, batch) = (weights(&dims), Batch::new(&dims, 75));
    weights.layers[1].out_proj[3] = f32::NAN;
    for matrices in [Matrices::Muon, Matrices::Adamw] {
        let parts = parts(&weights, matrices);
        let mut machine = GpuMachine::new(&device, parts.clone(), Products::F32, (4, 75), ALONE).unwrap();
        let before = machine.parts().unwrap();
        let mut carries = batch.before.clone();
        let outcome = batch.step(&mut machine, &mut carries, Change { rate: 0.01, clip: 1.0 });
        assert!(!outcome.is_finite());
        let after = machine.parts().unwrap();
        let bits = |c: &Checkpoint| {
            let mut c = c.clone();
            c.tensors_mut()
                .into_iter()
                .flat_map(|(.., v)| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&after.weights), bits(&before.weights));
        assert_eq!(bits(&after.average.weights), bits(&before.average.weights));
        assert!(after.optimizer == before.optimizer);
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn gpu_shapes_without_kernels_are_refused() {
    let device = Device::open(0).unwrap();
    let refused = |change: fn(&mut Dims)| {
        let mut dims = shapes()[0];
        change(&mut dims);
        let parts = parts(&initial::checkpoint(&dims, 1), Matrices::Muon);
        GpuMachine::new(&device, parts, Products::Bf16, (2, 64), ALONE).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(refused(|dims| dims.d_model = 20).contains("d_model % 8"));
    assert!(refused(|dims| dims.d_inner = 36).contains("d_inner % 8"));
    assert_eq!(refused(|_| {}), "");
}

/// The CPU's loss of rows of different lengths, longer than the machine's.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn gpu_losses_are_those_of_the_cpu() {
    let device = Device::open(0).unwrap();
    let dims = shapes()[3];
    let weights = weights(&dims);
    let texts: Vec<Vec<u16>> = [1, 63, 64, 65, 300].map(|n| (0..=n).map(|i| (i * 37 % 256) as u16).collect()).into();
    let mut carries = [vec![Carry::zero(&dims); 5], vec![Carry::zero(&dims); 5]];
    let [expected, found] = carries.each_mut().map(|carries| {
        let rows = texts.iter().zip(carries).map(|(text, carry)| Row {
            symbols: &text[..text.len() - 1],
            next: &text[1..],
            starts: &[0],
            carry,
        });
        rows.collect::<Vec<_>>()
    });
    let (mut expected, mut found) = (expected, found);
    let cpu = losses(&Model::new(weights.clone()).unwrap(), &mut expected);
    let mut machine = GpuMachine::new(&device, parts(&weights, Matrices::Muon), Products::F32, (2, 64), ALONE).unwrap();
    let gpu = machine.losses(&mut found).unwrap();
    for (gpu, cpu) in gpu.iter().zip(&cpu) {
        assert!(gpu.symbols == cpu.symbols && (gpu.nats / cpu.nats - 1.0).abs() < 1e-5, "{gpu:?} {cpu:?}");
    }
}
