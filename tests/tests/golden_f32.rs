//! The f32 model against logits that PyTorch computed, for every model in `models/`, by transformers
//! (`tests/peers/interchange.py --golden`). From the zero state itself, without the 0x00 that every text begins with elsewhere:
//! the bits per byte of a model that was trained with it say nothing of its quality.
//!
//! `golden_input.bin`: 512 bytes, read from the zero state. `data/golden/<model>.npy`: `[512, 256]`, row `t` predicts
//! byte `t + 1`. And a small model that `mambabyte train` made, against transformers: `data/interchange`.

use mambabyte_core::VOCAB;
use mambabyte_host::Model;
use mambabyte_host::bpb;
use mambabyte_host::cpu::FloatEngine;
use mambabyte_tests::{MODELS, data_file, model_file, npy};

/// Largest difference of a logit: f32 sums in another order, through at most eight layers.
const LOGIT_TOLERANCE: f32 = 1e-3;
/// The same for two narrow layers; found were 8e-6.
const SMALL_TOLERANCE: f32 = 1e-4;

/// Bits per byte of the golden input, mean over rows 0..=510, as PyTorch has them.
const GOLDEN_BPB: [f64; 4] = [0.82248, 0.67197, 0.58101, 2.02536];
const BPB_TOLERANCE: f64 = 1e-4;

fn model(name: &str) -> (Model, Vec<u8>) {
    let input = std::fs::read(model_file(name, "golden_input.bin")).expect("golden input");
    let checkpoint = mambabyte::formats::load(&model_file(name, ""), &Default::default()).expect("loads").checkpoint;
    (Model::new(checkpoint).expect("shapes fit"), input)
}

#[test]
fn logits_and_bits_per_byte_are_the_golden_ones() {
    for (name, golden_bpb) in MODELS.into_iter().zip(GOLDEN_BPB) {
        let (model, input) = model(name);
        let (shape, golden) = npy::read_f32(&data_file(&format!("golden/{name}.npy")));
        assert_eq!(shape, [input.len(), VOCAB]);

        let mut session = model.session();
        let (mut worst, mut bits) = (0.0f32, 0.0);
        for (t, (&byte, golden)) in input.iter().zip(golden.chunks_exact(VOCAB)).enumerate() {
            let logits = session.step(byte).unwrap();
            let differences = logits.iter().zip(golden).map(|(a, b)| (a - b).abs());
            worst = differences.fold(worst, f32::max);
            bits += input.get(t + 1).map_or(0.0, |&next| bpb::surprise_bits(&logits.map(f64::from), next));
        }
        let bpb = bits / (input.len() - 1) as f64;
        println!("{name}: worst logit difference {worst:.2e}, {bpb:.6} bits per byte, {:?}", model.dims());
        assert!(worst <= LOGIT_TOLERANCE, "{name}: {worst}");
        assert!((bpb - golden_bpb).abs() <= BPB_TOLERANCE, "{name}: {bpb} != {golden_bpb}");
    }
}

/// What transformers' `MambaForCausalLM` makes of a folder of `mambabyte train`: `tests/peers/interchange.py` wrote the
/// logits, and `data/interchange/README.md` says how the folder was made.
#[test]
fn a_checkpoint_of_train_has_the_logits_of_transformers() {
    let folder = data_file("interchange");
    let loaded = mambabyte::formats::load(&folder, &Default::default()).expect("loads");
    let model = Model::new(loaded.checkpoint).expect("shapes fit");
    let text = std::fs::read(folder.join("text")).expect("text");
    let (shape, golden) = npy::read_f32(&folder.join("logits.npy"));
    assert_eq!(shape, [text.len(), VOCAB]);
    let mut session = model.session();
    let mut worst = 0.0f32;
    for (&byte, golden) in text.iter().zip(golden.chunks_exact(VOCAB)) {
        let logits = session.step(byte).unwrap();
        worst = logits.iter().zip(golden).map(|(a, b)| (a - b).abs()).fold(worst, f32::max);
    }
    println!("worst logit difference {worst:.2e}, {:?}", model.dims());
    assert!(worst <= SMALL_TOLERANCE, "{worst}");
}

#[test]
fn evaluation_is_the_sum_over_the_stream() {
    let (model, input) = model("sensor-pico");
    let mut session = model.session();
    let before = std::iter::once(&0).chain(&input);
    let cost = |(&byte, &next)| bpb::surprise_bits(&session.step(byte).unwrap().map(f64::from), next);
    let bits: f64 = before.zip(&input).map(cost).sum();
    let engine = FloatEngine::new(&model, 2);
    let score = bpb::evaluate(&engine, &input, None, &|_| ()).unwrap();
    assert!((score.bits - bits).abs() < 1e-9 * bits);
    assert_eq!((score.bytes, score.by_position.iter().map(|b| b.bytes).sum()), (input.len(), input.len()));

    let score = |window| bpb::evaluate(&engine, &input, Some(window), &|_| ()).unwrap();
    let (a, b) = (score(100), score(100));
    assert_eq!((a.bits, &a.by_position), (b.bits, &b.by_position));
    assert!(a.bits > bits, "windows forget, which costs bits");
}
