//! Speculation: the text of plain decoding, byte for byte, whoever drafts; a rule that is wrong is found out.

use std::sync::Arc;

use mambabyte_core::{Logits, Rng, SampleOptions, sample};
use mambabyte_host::Model;
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cpu::{Cpu, FloatEngine, IntEngine, Source, Weights};
use mambabyte_host::engine::{Engine, EngineError, Want};
use mambabyte_host::speculate::{
    AdapterDrafter, Ask, Choice, Draft, Drafted, Drafter, Exact, Length, ModelDrafter, Nobody, Rejection, Rule,
    Speculation, Start, Suffix,
};
use mambabyte_host::stream::Mixture;
use mambabyte_tests::model_file;
use sha2::{Digest, Sha256};

struct Bytes(AlignedBytes);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Source for Bytes {}

fn shipped(name: &str) -> Weights {
    let bytes = std::fs::read(model_file(name, "model.mbb")).unwrap();
    Weights::new(Arc::new(Bytes(AlignedBytes::new(&bytes)))).unwrap()
}

fn engine(weights: &Weights) -> IntEngine<'_> {
    IntEngine::new(weights, Cpu { threads: 1, ..Cpu::default() })
}

/// Greedy, temperature 0.8 with five seeds, top-p 0.9; temperature, and cuts, in Q16.
fn choices() -> Vec<(u64, SampleOptions)> {
    let warm = SampleOptions { temperature: 52_429, ..SampleOptions::default() };
    let top_p = SampleOptions { top_p: 58_982, ..SampleOptions::default() };
    let mut all = vec![(0, SampleOptions::GREEDY), (9, top_p), (10, SampleOptions { top_k: 5, ..top_p })];
    all.extend((1..=5).map(|seed| (seed, warm)));
    all
}

/// What the engine writes alone after `prompt`.
fn plain(engine: &impl Engine, prompt: &[u8], seed: u64, options: &SampleOptions, count: usize) -> Vec<u8> {
    let (&last, head) = prompt.split_last().unwrap();
    let mut rows = engine.rows(1).unwrap();
    engine.read(&mut rows, &[&[&[0], head].concat()], Want::Nothing).unwrap();
    engine.generate(&mut rows, &mut [last], &mut [Rng::new(seed)], options, count).unwrap().concat()
}

fn start(seed: u64) -> Start {
    Start { rng: Rng::new(seed), adapter: None }
}

/// The same with drafts.
fn drafted<E: Engine>(
    engine: &E,
    drafter: impl Drafter,
    rule: impl Rule,
    length: Length,
    (prompt, seed, options, count): (&[u8], u64, &SampleOptions, usize),
) -> (Vec<u8>, mambabyte_host::speculate::Stats) {
    let mut text = Speculation::new(engine, vec![start(seed)], drafter, rule, *options, length).unwrap();
    text.read(&[prompt]).unwrap();
    let written = text.write(count).unwrap().concat();
    (written, *text.stats())
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Three drafters for a model, of which one is `helper`, with every choice.
fn nothing_changes(target: &str, helper: &str, prompt: &[u8], count: usize) {
    let (target, helper) = (shipped(target), shipped(helper));
    let (target, helper) = (engine(&target), engine(&helper));
    for (index, (seed, options)) in choices().into_iter().enumerate() {
        let alone = plain(&target, prompt, seed, &options, count);
        let drafters: [(&str, Box<dyn Drafter>); 3] = [
            ("suffix", Box::new(Suffix::new(1))),
            ("adapter", Box::new(AdapterDrafter::new(Preset::K16, 1))),
            ("model", Box::new(ModelDrafter::new(&helper, 1).unwrap())),
        ];
        for (name, drafter) in drafters {
            let length = if index % 2 == 0 { Length::Auto } else { Length::Fixed(index) };
            let (text, stats) = drafted(&target, drafter, Exact, length, (prompt, seed, &options, count));
            assert_eq!(hash(&text), hash(&alone), "{name}, {options:?}, seed {seed}");
            assert_eq!((stats.written, text.len()), (count as u64, count));
            assert!(stats.accepted <= stats.judged && stats.judged <= stats.drafted);
            assert!(name == "suffix" || stats.drafted > 0 && stats.rounds < count as u64, "{name}: {stats:?}");
        }
    }
}

const NMEA: &[u8] = b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n$GPGGA,0927";
/// Broken UTF-8, and an end within a character.
const PROSE: &[u8] = b"It was the best of times, \xff\xfe it was the worst of \xc3";

#[test]
fn drafts_change_no_byte() {
    nothing_changes("sensor-micro", "sensor-nano", NMEA, 400);
    nothing_changes("sensor-nano", "sensor-pico", PROSE, 300);
    nothing_changes("prose-small", "sensor-nano", PROSE, 100);
}

#[test]
#[ignore = "a million bytes of each choice and drafter"]
fn all_speculated_text_is_plain_text() {
    nothing_changes("sensor-micro", "sensor-nano", NMEA, 1_000_000);
    nothing_changes("prose-small", "sensor-nano", PROSE, 1_000_000);
}

/// Writes what was drafted, right or wrong.
struct Credulous;

impl Rule for Credulous {
    fn decide(&self, logits: &Logits, options: &SampleOptions, rng: &mut Rng, drafted: Option<Drafted<'_>>) -> u8 {
        let own = sample(logits, options, rng);
        drafted.map_or(own, |drafted| drafted.byte)
    }
}

#[test]
fn a_rigged_rule_is_found_out() {
    let (target, helper) = (shipped("sensor-nano"), shipped("sensor-pico"));
    let (target, helper) = (engine(&target), engine(&helper));
    for (seed, options) in choices() {
        let what = (NMEA, seed, &options, 400);
        let alone = plain(&target, NMEA, seed, &options, 400);
        let rigged = drafted(&target, ModelDrafter::new(&helper, 1).unwrap(), Credulous, Length::Fixed(8), what).0;
        assert_ne!(hash(&rigged), hash(&alone), "{options:?}, seed {seed}");
    }
}

/// Drafts the text that will be written, with a mistake here and there, or something else altogether.
struct Oracle {
    texts: Vec<Vec<u8>>,
    written: Vec<usize>,
    rng: Rng,
}

impl Drafter for Oracle {
    fn read(&mut self, text: &[&[u8]]) -> Result<(), EngineError> {
        self.written.iter_mut().zip(text).for_each(|(written, text)| *written += text.len());
        Ok(())
    }

    fn draft(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        for (((draft, ask), text), &written) in drafts.iter_mut().zip(asks).zip(&self.texts).zip(&self.written) {
            let length = self.rng.next_u64() as usize % (ask.most + 1);
            for &byte in text.iter().skip(written).take(length) {
                let wrong = self.rng.next_u64().is_multiple_of(7);
                draft.push(byte ^ u8::from(wrong), choice);
            }
        }
        Ok(())
    }
}

/// Rows of one batch accept different lengths, with and without adapters, on one thread and on several.
#[test]
fn streams_together_write_what_each_writes_alone() {
    const COUNT: usize = 150;
    let weights = shipped("sensor-nano");
    let prompts: [&[u8]; 5] = [NMEA, PROSE, b"x", &NMEA[..20], b"\r\n\r\n"];
    let warm = SampleOptions { temperature: 52_429, ..SampleOptions::default() };
    for (threads, adapter) in [(1, None), (2, None), (2, Some(Preset::K8))] {
        let engine = IntEngine::new(&weights, Cpu { threads, ..Cpu::default() });
        let alone: Vec<Vec<u8>> = prompts
            .iter()
            .enumerate()
            .map(|(row, prompt)| {
                let (mut rng, adapter) = (Rng::new(row as u64), adapter.map(|preset| AnyAdapter::new(preset, true)));
                let mut mixture = Mixture::new(Some(&engine), adapter).unwrap();
                mixture.read(prompt, |_, _| Ok::<_, EngineError>(())).unwrap();
                (0..COUNT).map(|_| mixture.write(|logits| sample(logits, &warm, &mut rng)).unwrap()).collect()
            })
            .collect();
        let starts = (0..prompts.len()).map(|row| Start {
            rng: Rng::new(row as u64),
            adapter: adapter.map(|preset| AnyAdapter::new(preset, true)),
        });
        let texts = prompts.iter().zip(&alone).map(|(prompt, text)| [prompt, &text[..]].concat()).collect();
        let oracle = Oracle { texts, written: vec![0; prompts.len()], rng: Rng::new(1) };
        let mut together = Speculation::new(&engine, starts.collect(), oracle, Exact, warm, Length::Fixed(12)).unwrap();
        together.read(&prompts).unwrap();
        // Rounds of which some streams take no part, then the rest.
        let mut texts = vec![Vec::new(); prompts.len()];
        for round in 0..10 {
            let most: Vec<usize> = (0..prompts.len()).map(|row| (row + round) % 4 * 5).collect();
            for ((text, bytes), most) in texts.iter_mut().zip(together.round(&most).unwrap()).zip(most) {
                assert!((usize::from(most > 0)..=most).contains(&bytes.len()));
                text.extend(bytes);
            }
        }
        let rest = together.write(COUNT).unwrap();
        for (row, (text, rest)) in texts.iter_mut().zip(rest).enumerate() {
            text.extend(rest);
            assert!(text[..COUNT] == alone[row], "row {row}, {threads} threads, {adapter:?}");
        }
        let stats = together.stats();
        assert!(stats.accepted * 4 > stats.drafted && stats.accepted < stats.drafted, "{stats:?}");
        assert!(together.round(&[1]).is_err() && together.read(&[b"x"]).is_err());
    }
}

#[test]
fn a_restored_state_goes_on() {
    let (target, helper) = (shipped("sensor-nano"), shipped("sensor-pico"));
    let (target, helper) = (engine(&target), engine(&helper));
    let options = SampleOptions::default();
    let whole = plain(&target, NMEA, 3, &options, 300);
    let first = plain(&target, NMEA, 3, &options, 100);
    let mut rows = target.rows(1).unwrap();
    let read = [&[0], NMEA, &first].concat();
    target.read(&mut rows, &[&read[..read.len() - 1]], Want::Nothing).unwrap();
    let snapshot = target.snapshot(&mut rows, 0).unwrap();
    let mut rng = Rng::new(3);
    (0..100).for_each(|_| _ = rng.next_u64());
    let begin = Start { rng, adapter: None };
    let drafter = ModelDrafter::new(&helper, 1).unwrap();
    let mut text = Speculation::new(&target, vec![begin], drafter, Exact, options, Length::Auto).unwrap();
    let mut state = target.state(&mut target.rows(1).unwrap(), 0).unwrap();
    state.restore(&snapshot).unwrap();
    text.resume(0, &state, first[99]).unwrap();
    assert!(text.resume(1, &state, 0).is_err());
    // The drafter may hear the tail of the text, or nothing.
    text.drafter_mut().read(&[&first]).unwrap();
    assert!(text.write(200).unwrap().concat() == whole[100..]);
}

#[test]
fn the_float_engine_writes_the_same_too() {
    let loaded = mambabyte::formats::load(&model_file("sensor-pico", ""), &Default::default()).unwrap();
    let model = Model::new(loaded.checkpoint).unwrap();
    let (target, helper) = (FloatEngine::new(&model, 1), shipped("sensor-pico"));
    let helper = engine(&helper);
    for (seed, options) in choices().into_iter().take(4) {
        let alone = plain(&target, NMEA, seed, &options, 200);
        let what = (NMEA, seed, &options, 200);
        let (text, stats) = drafted(&target, ModelDrafter::new(&helper, 1).unwrap(), Exact, Length::Auto, what);
        assert_eq!(hash(&text), hash(&alone), "{options:?}");
        // The checkpoint and its own blob are near: most of what one drafts the other writes.
        assert!(stats.acceptance() > 0.8, "{stats:?}");
        assert_eq!(drafted(&target, Nobody, Exact, Length::Auto, what).0, text);
    }
}

/// The residual is taken to be the whole distribution.
struct WrongResidual;

impl Rule for WrongResidual {
    fn distributions(&self) -> bool {
        true
    }

    fn decide(&self, logits: &Logits, options: &SampleOptions, rng: &mut Rng, drafted: Option<Drafted<'_>>) -> u8 {
        let found = Rejection.decide(logits, options, rng, drafted);
        let rejected = drafted.is_some_and(|drafted| drafted.byte != found);
        if rejected { sample(logits, options, &mut Rng::new(!rng.state())) } else { found }
    }
}

const ROWS: usize = 32;
const BYTES: usize = 4;

/// How often each byte is at each place of `texts` short texts, each with a seed of its own.
fn places(rule: impl Rule + Copy, drafts: bool, texts: u64) -> Vec<[f64; 256]> {
    let (target, helper) = (shipped("sensor-pico"), shipped("sensor-nano"));
    let (target, helper) = (engine(&target), engine(&helper));
    let mut seen = vec![[0.0; 256]; BYTES];
    for batch in 0..texts.div_ceil(ROWS as u64) {
        let starts = (0..ROWS as u64).map(|row| start((batch * ROWS as u64 + row) << 8 | u64::from(drafts)));
        let drafter: Box<dyn Drafter> =
            if drafts { Box::new(ModelDrafter::new(&helper, ROWS).unwrap()) } else { Box::new(Nobody) };
        let options = SampleOptions { temperature: 90_000, ..SampleOptions::default() };
        let mut text = Speculation::new(&target, starts.collect(), drafter, rule, options, Length::Fixed(3)).unwrap();
        text.read(&[&b"$GPGGA,0"[..]; ROWS]).unwrap();
        for text in text.write(BYTES).unwrap() {
            text.iter().zip(&mut seen).for_each(|(&byte, seen)| seen[usize::from(byte)] += 1.0);
        }
    }
    seen
}

/// Two samples of equal size of one distribution: `sum (a - b)^2 / (a + b)` in standard deviations from its mean.
fn deviations(a: &[f64; 256], b: &[f64; 256]) -> f64 {
    let cells: Vec<(f64, f64)> = a.iter().copied().zip(b.iter().copied()).filter(|(a, b)| a + b >= 10.0).collect();
    let chi: f64 = cells.iter().map(|(a, b)| (a - b).powi(2) / (a + b)).sum();
    let freedom = cells.len() as f64 - 1.0;
    (chi - freedom) / (2.0 * freedom.max(1.0)).sqrt()
}

impl Copy for WrongResidual {}
impl Clone for WrongResidual {
    fn clone(&self) -> Self {
        *self
    }
}

fn rejection_keeps_the_distribution_of_texts(texts: u64) {
    let expected = places(Exact, false, texts);
    for (place, (found, expected)) in places(Rejection, true, texts).iter().zip(&expected).enumerate() {
        let deviations = deviations(found, expected);
        assert!(deviations < 5.0, "place {place}: {deviations}");
    }
    let wrong = places(WrongResidual, true, texts);
    let most = wrong.iter().zip(&expected).map(|(found, expected)| deviations(found, expected)).fold(0.0, f64::max);
    assert!(most > 10.0, "a wrong residual passes: {most}");
}

#[test]
fn rejection_writes_texts_of_the_same_distribution() {
    rejection_keeps_the_distribution_of_texts(4096);
}

#[test]
#[ignore = "a million bytes"]
fn all_rejection_over_a_million_bytes() {
    rejection_keeps_the_distribution_of_texts(250_000);
}
