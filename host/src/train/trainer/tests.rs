//! Runs: they learn, are saved and loaded to the bit, and take back what is no number.

use crate::train::data::Text;
use crate::train::holdout::Holdout;
use crate::train::optimizer::Matrices;
use crate::train::schedule::Fall;
use crate::train::{initial, state_file};
use mambabyte_core::{Dims, Norm};
use std::sync::Arc;

use crate::subwords::Subwords;
use crate::subwords::tests::Words;

use super::*;

fn dims() -> Dims {
    Dims {
        d_model: 16,
        n_layer: 2,
        d_inner: 32,
        d_state: 2,
        d_conv: 3,
        dt_rank: 1,
        norm: Norm::Rms,
        tied_head: true,
        tied_decays: true,
    }
}

fn settings(steps: u64) -> Settings {
    Settings {
        window: 32,
        batch: 4,
        passage: 80,
        schedule: Schedule::new(steps, Fall::Cosine),
        rate: 0.02,
        decay: 0.1,
        clip: 1.0,
        matrices: Matrices::Muon,
        augment: Augment::default(),
        rounding: Rounding::None,
        teachers_share: 0.0,
        seed: 3,
    }
}

/// A log that repeats itself, with numbers.
fn text() -> Vec<u8> {
    (0..200u32).flat_map(|i| format!("t={} level={} ok\n", 1000 + i, i * 7 % 10).into_bytes()).collect()
}

fn corpus() -> Corpus {
    Corpus::new(vec![Text::of("log".into(), text())], None)
}

fn begin(steps: u64) -> Trainer {
    Trainer::new(initial::checkpoint(&dims(), 1), settings(steps)).unwrap()
}

fn plain(parts: Parts) -> Result<Box<dyn Machine>, TrainError> {
    Cpu::boxed(parts, Rounding::None, Teaching::default())
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

#[test]
fn a_log_shrinks() {
    let (corpus, mut trainer, text) = (corpus(), begin(150), text());
    let holdout = Holdout::new(&[&text], 1 << 16);
    let before = holdout.bits(&trainer.averaged().unwrap());
    while !trainer.is_done() {
        trainer.step(&corpus).unwrap().unwrap();
    }
    let after = holdout.bits(&trainer.averaged().unwrap());
    assert!(before > 7.5 && after < 3.0, "{before} and {after}");
    assert_eq!(trainer.bytes(), 150 * 4 * 32);
    let mut judge = |bits| trainer.judge(bits).unwrap();
    assert_eq!((judge(after), judge(after), judge(f64::NAN)), (0, 1, 2));
}

/// A model over subwords is judged by the bits of a byte, and goes on where it was saved.
#[test]
fn a_run_over_subwords_is_a_run() {
    let words = Arc::new(Words::new(&["level=", " ok\n", "t=1", "t="]));
    let corpus = corpus().in_subwords(words.clone());
    let weights = |seed| initial::with_vocabulary(&dims(), words.count(), seed);
    let mut trainer = Trainer::new(weights(1), settings(80)).unwrap();
    let holdout = Holdout::of(&[&text()], 1 << 16, corpus.subwords());
    let before = holdout.bits(&trainer.averaged().unwrap());
    (0..40).for_each(|_| _ = trainer.step(&corpus).unwrap().unwrap());
    let file = trainer.save(b"").unwrap();
    let (_, reader) = state_file::open(&file).unwrap();
    let mut again = Trainer::load(reader, weights(9), settings(80), &corpus, plain).unwrap();
    while !trainer.is_done() {
        let step = trainer.step(&corpus);
        assert_eq!(step, again.step(&corpus));
        let step = step.unwrap().unwrap();
        assert!(step.symbols == 4 * 32 && step.bytes > 5 * 32, "{step:?}");
    }
    let after = holdout.bits(&trainer.averaged().unwrap());
    assert!(before > 3.0 && after < 0.7 * before, "{before} and {after}");
}

/// The state of a run, saved at every few steps, goes on as the run itself, with any number of threads.
#[test]
fn a_run_that_was_saved_and_loaded_is_the_run() {
    let corpus = corpus();
    let steps = |trainer: &mut Trainer, n: u64, threads: usize| {
        pool(threads).install(|| (0..n).map(|_| trainer.step(&corpus).unwrap().unwrap()).collect::<Vec<_>>())
    };
    let mut whole = begin(60);
    let mut expected = steps(&mut whole, 55, 1);
    whole.judge(3.0).unwrap();
    expected.extend(steps(&mut whole, 5, 2));
    let mut parts = begin(60);
    let mut found = Vec::new();
    for (number, n) in [1, 2, 30, 22, 5].into_iter().enumerate() {
        if number == 4 {
            parts.judge(3.0).unwrap();
        }
        let file = parts.save(b"mine").unwrap();
        let (note, reader) = state_file::open(&file).unwrap();
        assert_eq!(note, b"mine");
        parts = Trainer::load(reader, initial::checkpoint(&dims(), 9), settings(60), &corpus, plain).unwrap();
        assert_eq!(parts.save(b"mine").unwrap(), file);
        found.extend(steps(&mut parts, n, number % 2 + 1));
    }
    assert_eq!(found, expected);
    assert_eq!(parts.save(b"").unwrap(), whole.save(b"").unwrap());
    // Of another run.
    let file = parts.save(b"").unwrap();
    let load = |dims: Dims, settings: Settings, corpus: &Corpus| {
        let (_, reader) = state_file::open(&file).unwrap();
        Trainer::load(reader, initial::checkpoint(&dims, 1), settings, corpus, plain).err()
    };
    let other = Corpus::new(vec![Text::of("short".into(), b"x".to_vec())], None);
    assert!(load(dims(), settings(60), &other).is_some());
    assert!(load(Dims { n_layer: 3, ..dims() }, settings(60), &corpus).is_some());
    assert!(load(dims(), Settings { batch: 5, ..settings(60) }, &corpus).is_some());
    assert!(load(dims(), Settings { batch: 3, ..settings(60) }, &corpus).is_some());
    assert!(load(dims(), settings(60), &corpus).is_none());
}

#[test]
fn what_is_no_number_is_said_and_taken_back() {
    let (corpus, mut trainer) = (corpus(), begin(200));
    for _ in 0..53 {
        trainer.step(&corpus).unwrap().unwrap();
    }
    let mut parts = trainer.machine.parts().unwrap();
    parts.weights.layers[1].out_proj[5] = f32::NAN;
    trainer.machine.set(parts).unwrap();
    let fault = trainer.step(&corpus).unwrap().unwrap_err();
    assert_eq!((fault.step, fault.back_to, fault.halved), (53, 50, 1));
    assert!(fault.place.starts_with("layer 1: "), "{}", fault.place);
    let on = trainer.step(&corpus).unwrap().unwrap();
    assert!(on.bits_per_byte.is_finite());
    assert!((on.rate - 0.01 * trainer.settings.schedule.share(50)).abs() < 1e-15);
    // A rate beyond all measure does not get well.
    let mut wild = Trainer::new(initial::checkpoint(&dims(), 1), Settings { rate: 1e38, ..settings(20) }).unwrap();
    let mut faults = 0;
    let error = loop {
        match wild.step(&corpus) {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => faults += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, TrainError::Diverged { halved: 8, .. }), "{error}");
    assert_eq!(faults, 8);
}

/// A run whose teachers are two other models.
fn taught(steps: u64) -> Trainer {
    let settings = Settings { teachers_share: 0.5, rounding: Rounding::Bits8, ..settings(steps) };
    let (like, parts) = (initial::checkpoint(&dims(), 1), Trainer::begin(initial::checkpoint(&dims(), 1), &settings));
    Trainer::on(taught_machine(parts, &settings), &like, settings).unwrap()
}

fn taught_machine(parts: Parts, settings: &Settings) -> Box<dyn Machine> {
    let wide = Dims { d_model: 24, d_inner: 48, d_state: 3, tied_decays: false, ..dims() };
    let teachers = vec![initial::checkpoint(&dims(), 7), initial::checkpoint(&wide, 8)];
    let teaching = Teaching { teachers, share: settings.teachers_share as f32 };
    Cpu::boxed(parts, settings.rounding, teaching).unwrap()
}

#[test]
fn a_taught_run_goes_on_to_the_bit() {
    let corpus = corpus();
    let mut whole = taught(9);
    for _ in 0..5 {
        whole.step(&corpus).unwrap().unwrap();
    }
    let file = whole.save(b"").unwrap();
    let (_, reader) = state_file::open(&file).unwrap();
    let settings = *whole.settings();
    let machine = |parts| Ok(taught_machine(parts, &settings));
    let mut again = Trainer::load(reader, initial::checkpoint(&dims(), 0), settings, &corpus, machine).unwrap();
    for _ in 0..4 {
        let (a, b) = (whole.step(&corpus).unwrap().unwrap(), again.step(&corpus).unwrap().unwrap());
        assert_eq!(a, b);
    }
    assert!(whole.save(b"").unwrap() == again.save(b"").unwrap());
    // What comes out of it is rounded.
    let weights = again.averaged().unwrap().checkpoint().clone();
    let mut rounded = weights.clone();
    Rounding::Bits8.apply(&mut rounded);
    let far = weights.embedding.iter().zip(&rounded.embedding).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(far < 1e-6, "{far}");
}
