//! Speculation: the text of plain decoding, byte for byte, whoever drafts; a rule that is wrong is found out.

use std::sync::Arc;

use mambabyte::subwords::Bpe;
use mambabyte_core::{Dims, Logits, Norm, Rng, SampleOptions, sample};
use mambabyte_host::Model;
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cpu::{Cpu, FloatEngine, IntEngine, Source, Weights};
use mambabyte_host::engine::{Engine, EngineError, Want};
use mambabyte_host::speculate::{
    AdapterDrafter, Ask, Choice, Draft, Drafted, Drafter, Exact, Length, ModelDrafter, Nobody, Rejection, Rule,
    Speculation, Start, SubwordDrafter, Suffix, TopBeta,
};
use mambabyte_host::stream::Mixture;
use mambabyte_host::subwords::Subwords;
use mambabyte_host::train::augment::Augment;
use mambabyte_host::train::data::{Corpus, Text};
use mambabyte_host::train::initial;
use mambabyte_host::train::optimizer::Matrices;
use mambabyte_host::train::rounding::Rounding;
use mambabyte_host::train::schedule::{Fall, Schedule};
use mambabyte_host::train::trainer::{Settings, Trainer};
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
#[ignore = "half an hour: a million drafted bytes of each model, in 24 texts"]
fn all_speculated_text_is_plain_text() {
    nothing_changes("sensor-micro", "sensor-nano", NMEA, 42_000);
    nothing_changes("prose-small", "sensor-nano", PROSE, 42_000);
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

/// Proposes commas and a wrong byte here and there, and notes how often it is asked.
struct Asked<'a> {
    asked: &'a std::cell::RefCell<Vec<bool>>,
}

impl Drafter for Asked<'_> {
    fn read(&mut self, _: &[&[u8]]) -> Result<(), EngineError> {
        Ok(())
    }

    fn draft(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        for (draft, ask) in drafts.iter_mut().zip(asks) {
            self.asked.borrow_mut().push(ask.most > 0);
            // No byte that a sensor's line has: the model takes none of it.
            (0..ask.most).for_each(|_| draft.push(0xfe, choice));
        }
        Ok(())
    }
}

/// After a byte that is not good enough the model writes alone, up to a space, a comma or the end of a line.
#[test]
fn the_paper_rule_completes_to_a_boundary() {
    let weights = shipped("sensor-micro");
    let target = engine(&weights);
    let asked = std::cell::RefCell::new(Vec::new());
    let (options, length) = (SampleOptions::GREEDY, Length::Fixed(4));
    let drafter = Asked { asked: &asked };
    let mut text = Speculation::new(&target, vec![start(0)], drafter, TopBeta::default(), options, length).unwrap();
    text.read(&[NMEA]).unwrap();
    let (mut written, mut expected) = (Vec::new(), Vec::new());
    let mut alone = 0;
    while written.len() < 300 {
        let before = asked.borrow().len();
        let round = text.round(&[100]).unwrap().concat();
        assert_eq!(round.len(), 1, "no draft is taken");
        let byte = round[0];
        // Who is not asked, or for nothing, drafts nothing.
        let drafts = asked.borrow()[before..].contains(&true);
        assert_eq!(drafts, alone == 0, "after {:?}", String::from_utf8_lossy(&written));
        alone = match (b" ,\n".contains(&byte), drafts) {
            (true, _) => 0,
            (false, true) => 32,
            (false, false) => alone - 1,
        };
        expected.push(drafts);
        written.push(byte);
    }
    assert_eq!(written, plain(&target, NMEA, 0, &options, 300), "its own bytes are the greedy ones");
    let share = expected.iter().filter(|&&drafts| drafts).count();
    assert!((20..150).contains(&share), "{share} of 300 rounds drafted");
}

/// A `beta` of 1 is greedy decoding; a larger one takes more, at a loss that is measured.
#[test]
fn the_paper_rule_trades_bits_for_bytes() {
    let (target, helper) = (shipped("sensor-micro"), shipped("sensor-nano"));
    let (target, helper) = (engine(&target), engine(&helper));
    let alone = plain(&target, NMEA, 0, &SampleOptions::GREEDY, 600);
    let with = |beta| {
        let drafter = ModelDrafter::new(&helper, 1).unwrap();
        let (rule, options) = (TopBeta { beta }, SampleOptions::GREEDY);
        let text = Speculation::new(&target, vec![start(0)], drafter, rule, options, Length::Fixed(8)).unwrap();
        let mut text = text.measuring();
        text.read(&[NMEA]).unwrap();
        (text.write(600).unwrap().concat(), *text.stats())
    };
    let (greedy, exact) = with(1);
    assert_eq!(greedy, alone);
    let (lossy, stats) = with(3);
    assert_ne!(lossy, alone);
    assert!(stats.acceptance() > exact.acceptance(), "{stats:?}");
    assert!(stats.bits_per_byte() > exact.bits_per_byte(), "{} {}", stats.bits_per_byte(), exact.bits_per_byte());
    // The measure is what reading the text costs.
    let mut rows = target.rows(1).unwrap();
    target.read(&mut rows, &[&[&[0], NMEA].concat()[..NMEA.len()]], Want::Nothing).unwrap();
    let read = [&NMEA[NMEA.len() - 1..], &lossy[..599]].concat();
    let cost = target.read(&mut rows, &[&read], Want::Surprise(&[&lossy])).unwrap();
    assert_eq!(cost.surprise().iter().map(|&bits| u64::from(bits)).sum::<u64>(), stats.bits);
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

/// A model over subwords of the sample, trained for a moment.
fn subword_model(words: &Arc<Bpe>, text: &[u8]) -> Model {
    let dims = Dims {
        d_model: 32,
        n_layer: 2,
        d_inner: 64,
        d_state: 4,
        d_conv: 4,
        dt_rank: 2,
        norm: Norm::Rms,
        tied_head: true,
        tied_decays: true,
    };
    let settings = Settings {
        window: 64,
        batch: 4,
        passage: 2048,
        schedule: Schedule::new(80, Fall::Cosine),
        rate: 0.01,
        decay: 0.1,
        clip: 1.0,
        matrices: Matrices::Muon,
        augment: Augment::NONE,
        rounding: Rounding::None,
        teachers_share: 0.0,
        seed: 1,
    };
    let corpus = Corpus::new(vec![Text::of("sample".into(), text.to_vec())], None);
    let corpus = corpus.in_subwords(Arc::clone(words) as Arc<dyn Subwords>);
    let mut trainer = Trainer::new(initial::with_vocabulary(&dims, words.count(), 2), settings).unwrap();
    while !trainer.is_done() {
        trainer.step(&corpus).unwrap().unwrap();
    }
    trainer.averaged().unwrap()
}

/// Subwords draft bytes: the text is the plain one, wherever words end and whether it is UTF-8 or not.
#[test]
fn subwords_change_no_byte() {
    let text = std::fs::read(model_file("text", "gnss-sample.nmea")).unwrap();
    let words = Arc::new(Bpe::train(&[&text], 400).unwrap());
    let model = subword_model(&words, &text);
    let weights = shipped("sensor-micro");
    let target = engine(&weights);
    let mut shares = Vec::new();
    // Long enough to be read in parts; broken UTF-8; an end within a word.
    let long = [&text[..3001], b"\xff\xc3$GPG"].concat();
    for (prompt, count) in [(NMEA, 200), (PROSE, 60), (&long, 60)] {
        for (index, (seed, options)) in choices().into_iter().take(4).enumerate() {
            let alone = plain(&target, prompt, seed, &options, count);
            let length = if index % 2 == 0 { Length::Auto } else { Length::Fixed(11) };
            let drafter = SubwordDrafter::new(&model, &*words, 1).unwrap();
            let (found, stats) = drafted(&target, drafter, Exact, length, (prompt, seed, &options, count));
            assert_eq!(hash(&found), hash(&alone), "{options:?}, seed {seed}");
            assert!(stats.drafted > 0);
            if prompt == NMEA {
                shares.push(stats.acceptance());
            }
        }
    }
    // It has learned something of such lines, where chance gives one byte in two hundred.
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    assert!(mean > 0.2, "{shares:?}");
    // Two streams, each with words of its own; states that were kept are not another row's.
    let options = SampleOptions::default();
    let starts = vec![start(1), start(2)];
    let drafter = SubwordDrafter::new(&model, &*words, 2).unwrap();
    let mut both = Speculation::new(&target, starts, drafter, Exact, options, Length::Auto).unwrap();
    both.read(&[NMEA, PROSE]).unwrap();
    let found = both.write(120).unwrap();
    assert!(found[0] == plain(&target, NMEA, 1, &options, 120) && found[1] == plain(&target, PROSE, 2, &options, 120));
    // Rejection knows what a byte was drawn from.
    let drafter = SubwordDrafter::new(&model, &*words, 1).unwrap();
    let greedy = (NMEA, 0, &SampleOptions::GREEDY, 100);
    let rejected = drafted(&target, drafter, Rejection, Length::Auto, greedy).0;
    assert_eq!(rejected, plain(&target, NMEA, 0, &SampleOptions::GREEDY, 100));
    // A model of other symbols.
    let bytes = Model::new(initial::checkpoint(model.dims(), 1)).unwrap();
    assert!(SubwordDrafter::new(&bytes, &*words, 1).is_err());
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
