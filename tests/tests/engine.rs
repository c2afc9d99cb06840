//! Engines on processors: one row or many, on any number of threads, in any cut, with the bits of stepping.

use std::sync::Arc;

use mambabyte_core::{Backend, Blob, Decoder, Dims, Logits, Norm, Rng, SampleOptions, State, sample, surprise};
use mambabyte_host::Model;
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cpu::{Cpu, FloatEngine, IntEngine, Source, Weights};
use mambabyte_host::engine::{Answer, AnyEngine, Engine, EngineError, Precision, Want};
use mambabyte_tests::random_blob::{BlobSpec, Contents, random_blob};
use mambabyte_tests::{MODELS, model_file};

fn text(n: usize) -> Vec<u8> {
    let mut rng = Rng::new(78);
    (0..n).map(|_| rng.next_u64() as u8).collect()
}

fn dims(d_model: usize, n_layer: usize, d_inner: usize, d_state: usize, tied: bool) -> Dims {
    Dims {
        d_model,
        n_layer,
        d_inner,
        d_state,
        d_conv: 2 + d_inner % 3,
        dt_rank: d_model.div_ceil(16),
        norm: if d_model.is_multiple_of(2) { Norm::Rms } else { Norm::Layer },
        tied_head: !tied,
        tied_decays: tied,
    }
}

/// What stepping says: logits after every byte, and the state.
struct Truth {
    logits: Vec<Logits>,
    state: Vec<i16>,
}

fn scalar() -> Backend {
    Backend::by_name("scalar").unwrap()
}

fn stepped(blob: Blob<'_>, text: &[u8]) -> Truth {
    let mut decoder = Decoder::owned(blob).with_backend(scalar());
    let logits = text.iter().map(|&byte| *decoder.step(byte)).collect();
    Truth { logits, state: decoder.state().as_slice().to_vec() }
}

struct Bytes(AlignedBytes);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Source for Bytes {}

fn weights(bytes: Vec<u8>) -> Weights {
    Weights::new(Arc::new(Bytes(AlignedBytes::new(&bytes)))).unwrap()
}

/// The same with a copy in the order that the machine's backend reads best, if there is one.
fn prepared(weights: &Weights) -> Weights {
    let backend = Backend::detect();
    let prepared = weights.clone().for_backend(backend);
    let (rows, best) = (prepared.blob().as_bytes(), prepared.blob_for(backend).as_bytes());
    assert_eq!(rows.as_ptr() != best.as_ptr(), backend.reads_tiles());
    assert_eq!(prepared.blob_for(scalar()).as_bytes().as_ptr(), rows.as_ptr());
    prepared
}

/// Two shapes that are worth a team, by the rule and by far.
fn large() -> [Dims; 2] {
    [dims(512, 2, 1024, 16, false), dims(500, 2, 1100, 5, true)]
}

fn cpu(threads: usize) -> Cpu {
    Cpu { threads, ..Cpu::default() }
}

#[test]
fn a_row_on_threads_has_the_bits_of_stepping() {
    let text = text(300);
    for (dims, contents) in large().into_iter().flat_map(|d| [(d, Contents::Sane), (d, Contents::Wild)]) {
        let plain = weights(random_blob(BlobSpec { dims, contents, seed: 4 }));
        let prepared = prepared(&plain);
        let truth = stepped(plain.blob(), &text);
        for (weights, threads) in
            [(&plain, 1), (&plain, 2), (&prepared, 1), (&prepared, 2), (&prepared, 3), (&prepared, 7)]
        {
            let engine = IntEngine::new(weights, cpu(threads));
            let mut rows = engine.rows(1).unwrap();
            let mut answer = Answer::Nothing;
            // Blocks and steps alternate, so that the state goes to the team and back.
            let (mut at, mut lengths) = (0, [5, 1, 1, 130, 2, 1, 64, 3].into_iter().cycle());
            while at < text.len() {
                let end = text.len().min(at + lengths.next().unwrap());
                engine.read_into(&mut rows, &[&text[at..end]], Want::All, &mut answer).unwrap();
                assert!(*answer.logits() == truth.logits[at..end], "{threads} threads, bytes {at}..{end}");
                at = end;
            }
            assert_eq!(engine.state(&mut rows, 0).unwrap().as_slice(), truth.state);
            assert_eq!((engine.state(&mut rows, 0).unwrap().position(), engine.positions(&rows)), (300, &[300][..]));
            engine.reset(&mut rows, 0).unwrap();
            assert_eq!(*engine.read(&mut rows, &[&text], Want::Last).unwrap().logits(), [truth.logits[299]]);
            assert!(engine.read(&mut rows, &[b""], Want::Last).unwrap().logits().is_empty());
            // A step after a reset starts from the reset state.
            engine.reset(&mut rows, 0).unwrap();
            assert_eq!(*engine.read(&mut rows, &[&text[..1]], Want::Last).unwrap().logits(), [truth.logits[0]]);
        }
    }
}

#[test]
fn surprise_of_every_byte_on_threads() {
    let text = std::fs::read(model_file("text", "golden-4096.txt")).unwrap();
    let (text, next) = (&text[..600], &text[1..601]);
    for name in MODELS {
        let weights = prepared(&weights(std::fs::read(model_file(name, "model.mbb")).unwrap()));
        let mut decoder = Decoder::owned(weights.blob());
        let truth: Vec<u32> = text.iter().zip(next).map(|(&b, &next)| surprise(decoder.step(b), next)).collect();
        for threads in [1, 2, 4] {
            let engine = IntEngine::new(&weights, cpu(threads));
            let mut rows = engine.rows(1).unwrap();
            for (part, range) in [0..1, 1..3, 3..600].into_iter().enumerate() {
                let want = Want::Surprise(&[&next[range.clone()]]);
                let answer = engine.read(&mut rows, &[&text[range.clone()]], want).unwrap();
                assert_eq!(*answer.surprise(), truth[range], "{name}, {threads} threads, part {part}");
            }
        }
    }
}

/// Ragged rows, one-byte rows, long rows, pauses; forks, resets and states between them.
#[test]
fn rows_have_the_bits_of_single_streams() {
    for dims in [dims(48, 3, 96, 8, false), dims(64, 2, 130, 16, true), dims(512, 1, 1024, 4, false)] {
        let weights = prepared(&weights(random_blob(BlobSpec { dims, contents: Contents::Sane, seed: 6 })));
        let blob = weights.blob();
        for (count, threads) in [(1, 1), (2, 1), (3, 2), (2, 3), (7, 2), (70, 1), (70, 3)] {
            if count == 70 && dims.d_model == 512 {
                continue;
            }
            let engine = IntEngine::new(&weights, cpu(threads));
            let mut rows = engine.rows(count).unwrap();
            let mut single: Vec<_> = (0..count).map(|_| Decoder::owned(blob)).collect();
            let mut rng = Rng::new(count as u64);
            for round in 0..8usize {
                // One byte a row, none but one, a few, then blocks; now and then a pause.
                let most = [1, 1, 5, 1, 40, 1, 150, 3][round];
                let length = |row: usize| {
                    let rest = if round == 3 { row != count / 2 } else { (row + round) % 5 == 4 };
                    if rest { 0 } else { 1 + (row * 7 + round) % most }
                };
                let text: Vec<Vec<u8>> =
                    (0..count).map(|row| (0..length(row)).map(|_| rng.next_u64() as u8).collect()).collect();
                let parts: Vec<&[u8]> = text.iter().map(Vec::as_slice).collect();
                let truth: Vec<Vec<Logits>> = single
                    .iter_mut()
                    .zip(&text)
                    .map(|(single, text)| text.iter().map(|&byte| *single.step(byte)).collect())
                    .collect();
                let what = format!("{count} rows, {threads} threads, round {round}");
                if round % 2 == 0 {
                    let answer = engine.read(&mut rows, &parts, Want::All).unwrap();
                    assert!(*answer.logits() == truth.concat(), "{what}");
                } else {
                    let answer = engine.read(&mut rows, &parts, Want::Last).unwrap();
                    let last: Vec<Logits> = truth.iter().filter_map(|all| all.last().copied()).collect();
                    assert!(*answer.logits() == last, "{what}");
                }
                match round {
                    2 => {
                        engine.fork(&mut rows, 0, count - 1).unwrap();
                        let state = single[0].state().as_slice().to_vec();
                        let position = single[0].state().position();
                        let mut copy = State::new(&blob, state.clone()).unwrap();
                        copy.clone_from(single[0].state()).unwrap();
                        single[count - 1].state_mut().clone_from(&copy).unwrap();
                        assert_eq!(engine.positions(&rows)[count - 1], position);
                    }
                    4 => {
                        engine.reset(&mut rows, count / 2).unwrap();
                        single[count / 2].state_mut().reset();
                    }
                    5 => {
                        let saved = engine.snapshot(&mut rows, count - 1).unwrap();
                        engine.reset(&mut rows, count - 1).unwrap();
                        engine.restore(&mut rows, count - 1, &saved).unwrap();
                    }
                    _ => {}
                }
            }
            for (row, single) in single.iter().enumerate() {
                let state = engine.state(&mut rows, row).unwrap();
                assert_eq!(state.as_slice(), single.state().as_slice(), "{count} rows, {threads} threads, row {row}");
                assert_eq!(state.position(), single.state().position());
                assert_eq!(engine.positions(&rows)[row], single.state().position());
            }
        }
    }
}

/// A row that steps on a team while others wait, and then another one.
#[test]
fn the_team_goes_from_row_to_row() {
    let weights = weights(random_blob(BlobSpec { dims: large()[0], contents: Contents::Sane, seed: 14 }));
    let engine = IntEngine::new(&weights, cpu(2));
    assert!(cpu(2).decode_threads(engine.dims()) == 2);
    let mut rows = engine.rows(3).unwrap();
    let mut single: Vec<_> = (0..3).map(|_| Decoder::owned(weights.blob())).collect();
    for (at, &byte) in text(40).iter().enumerate() {
        let row = at * at % 3;
        let mut parts: [&[u8]; 3] = [b""; 3];
        parts[row] = std::slice::from_ref(&byte);
        let answer = engine.read(&mut rows, &parts, Want::Last).unwrap();
        assert!(*answer.logits() == [*single[row].step(byte)], "byte {at}");
    }
    for (row, single) in single.iter().enumerate() {
        assert_eq!(engine.state(&mut rows, row).unwrap().as_slice(), single.state().as_slice());
    }
}

fn float_model(name: &str) -> Model {
    Model::new(mambabyte::formats::load(&model_file(name, ""), &Default::default()).unwrap().checkpoint).unwrap()
}

#[test]
fn the_float_engine_is_the_session() {
    let model = float_model("sensor-pico");
    let text = text(60);
    for threads in [1, 3] {
        let engine = FloatEngine::new(&model, threads);
        assert_eq!(engine.precision(), Precision::F32);
        let mut rows = engine.rows(3).unwrap();
        let parts: [&[u8]; 3] = [&text[..20], b"", &text[20..]];
        let mut truth = Vec::new();
        for part in parts {
            let mut session = model.session();
            truth.extend(part.iter().map(|&byte| *session.step(byte).unwrap()));
        }
        assert_eq!(engine.read(&mut rows, &parts, Want::All).unwrap(), Answer::FloatLogits(truth.clone()));
        assert_eq!(engine.positions(&rows), [20, 0, 40]);
        // A copy reads on as its original.
        engine.fork(&mut rows, 2, 1).unwrap();
        let answer = engine.read(&mut rows, &[b"", b"xyz", b"xyz"], Want::Last).unwrap();
        let Answer::FloatLogits(last) = answer else { panic!("float logits") };
        assert_eq!((last.len(), last[0]), (2, last[1]));
        engine.reset(&mut rows, 1).unwrap();
        let next: [&[u8]; 3] = [b"", &text[1..21], b""];
        let answer = engine.read(&mut rows, &[b"", &text[..20], b""], Want::Surprise(&next)).unwrap();
        let bits = |(l, &next): (&[f32; 256], &u8)| mambabyte_host::bpb::surprise_bits(&l.map(f64::from), next) as f32;
        assert_eq!(answer, Answer::FloatSurprise(truth[..20].iter().zip(next[1]).map(bits).collect()));
        for error in [engine.state(&mut rows, 0).map(|_| ()), engine.restore(&mut rows, 0, b"")] {
            assert!(matches!(error, Err(EngineError::NotIntegers { precision: Precision::F32 })));
        }
    }
}

/// Copies between two groups of rows read on as their originals, and nothing else has moved.
fn rows_are_copied<E: Engine>(engine: &E) {
    let (mut rows, mut source) = (engine.rows(3).unwrap(), engine.rows(3).unwrap());
    // One row steps, so that a team has its state, if there is one.
    engine.read(&mut source, &[b"one", b"", b"three"], Want::Nothing).unwrap();
    engine.read(&mut source, &[b"", b"2", b""], Want::Last).unwrap();
    engine.read(&mut rows, &[b"a", b"b", b"c"], Want::Last).unwrap();
    engine.copy(&mut source, &mut rows, &[1, 2]).unwrap();
    assert_eq!((engine.positions(&rows), engine.positions(&source)), (&[1, 1, 5][..], &[3, 1, 5][..]));
    let mut truth = engine.rows(3).unwrap();
    engine.read(&mut truth, &[b"a", b"2", b"three"], Want::Nothing).unwrap();
    let next: [&[u8]; 3] = [b"xyz"; 3];
    let answers = [&mut rows, &mut truth].map(|rows| engine.read(rows, &next, Want::Last).unwrap());
    assert_eq!(answers[0], answers[1]);
    engine.copy(&mut source, &mut rows, &[]).unwrap();
    engine.copy(&mut source, &mut rows, &[0, 1, 2]).unwrap();
    let answers = [&mut rows, &mut source].map(|rows| engine.read(rows, &next, Want::Last).unwrap());
    assert_eq!(answers[0], answers[1]);
    assert_eq!(said(engine.copy(&mut source, &mut rows, &[3])), "row 3: there are 3");
}

#[test]
fn rows_go_from_one_group_to_another() {
    let weights = weights(random_blob(BlobSpec { dims: large()[0], contents: Contents::Sane, seed: 15 }));
    for threads in [1, 2] {
        rows_are_copied(&IntEngine::new(&weights, cpu(threads)));
    }
    rows_are_copied(&FloatEngine::new(&float_model("sensor-pico"), 1));
}

/// What a model proposes is what it writes, and rows follow as far as is wanted: to where reading brings them.
fn proposals_are_followed<E: Engine>(engine: &E) {
    let (mut rows, mut ahead) = (engine.rows(3).unwrap(), engine.rows(3).unwrap());
    let (mut truth, options) = (engine.rows(3).unwrap(), SampleOptions::default());
    let (last, rngs) = (*b"xyz", [1, 2, 3].map(Rng::new));
    let mut before: [Vec<u8>; 3] = [&b"a"[..], b"", b"begin"].map(<[u8]>::to_vec);
    engine.read(&mut rows, &before.each_ref().map(Vec::as_slice), Want::Nothing).unwrap();
    for counts in [[0, 1, 3], [5, 6, 0], [6, 2, 5], [0, 0, 0]] {
        let written = engine.propose(&mut rows, &mut ahead, (&last, &rngs), &options, 5).unwrap();
        let place = before.each_ref().map(|text| text.len() as u64);
        assert_eq!(engine.positions(&rows), place);
        (0..3).for_each(|row| engine.reset(&mut truth, row).unwrap());
        engine.read(&mut truth, &before.each_ref().map(Vec::as_slice), Want::Nothing).unwrap();
        let alone = engine.generate(&mut truth, &mut last.clone(), &mut rngs.clone(), &options, 5).unwrap();
        assert_eq!(written, alone);
        let right: Vec<Vec<u8>> =
            (0..3).map(|row| [&last[row..=row], written[row].as_slice()].concat()[..counts[row]].to_vec()).collect();
        engine.follow(&mut rows, &mut ahead, &right.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        (0..3).for_each(|row| engine.reset(&mut truth, row).unwrap());
        before.iter_mut().zip(&right).for_each(|(text, right)| text.extend(right));
        engine.read(&mut truth, &before.each_ref().map(Vec::as_slice), Want::Nothing).unwrap();
        assert_eq!(engine.positions(&rows), engine.positions(&truth));
        let next: [&[u8]; 3] = [b"n"; 3];
        let answers = [&mut rows, &mut truth].map(|rows| engine.read(rows, &next, Want::Last).unwrap());
        assert_eq!(answers[0], answers[1], "{counts:?}");
        before.iter_mut().for_each(|text| text.push(b'n'));
    }
    assert_eq!(said(engine.propose(&mut rows, &mut ahead, (b"xy", &rngs), &options, 5)), "2 rows given, there are 3");
}

#[test]
fn rows_follow_proposals() {
    let weights = weights(random_blob(BlobSpec { dims: large()[0], contents: Contents::Sane, seed: 16 }));
    for threads in [1, 2] {
        proposals_are_followed(&IntEngine::new(&weights, cpu(threads)));
        proposals_are_followed(&AnyEngine::from(IntEngine::new(&weights, cpu(threads))));
    }
    proposals_are_followed(&FloatEngine::new(&float_model("sensor-pico"), 1));
}

/// What a call says that must fail.
fn said<T>(result: Result<T, EngineError>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn every_wrong_call_is_named() {
    let memory = AlignedBytes::new(&random_blob(BlobSpec::small(1)));
    let other = AlignedBytes::new(&random_blob(BlobSpec::small(2)));
    let engine = IntEngine::of(Blob::parse(memory.as_slice()).unwrap(), cpu(2));
    let foreign = IntEngine::of(Blob::parse(other.as_slice()).unwrap(), cpu(2));
    let mut rows = engine.rows(2).unwrap();
    assert_eq!(said(engine.rows(0)), "0 rows asked for, at least 1 is needed");
    assert_eq!(said(engine.read(&mut rows, &[b"a"], Want::All)), "1 rows given, there are 2");
    let next = said(engine.read(&mut rows, &[b"a", b"b"], Want::Surprise(&[b"b", b""])));
    assert_eq!(next, "as many next bytes are needed as bytes are read, in every row");
    assert!(said(foreign.read(&mut rows, &[b"a", b"b"], Want::All)).contains("another model"));
    assert!(said(foreign.fork(&mut rows, 0, 1)).contains("another model"));
    for (from, to) in [(0, 2), (2, 0)] {
        assert_eq!(said(engine.fork(&mut rows, from, to)), "row 2: there are 2");
    }
    assert_eq!(said(engine.reset(&mut rows, 9)), "row 9: there are 2");
    let state = foreign.state(&mut foreign.rows(1).unwrap(), 0).unwrap();
    assert!(said(engine.set_state(&mut rows, 0, &state)).contains("state of another model"));
    assert!(said(engine.restore(&mut rows, 0, b"nothing")).len() > 9);
    assert_eq!(said(engine.accept(&mut rows, &[0, 0])).split(':').next(), Some("the rows remember no draft"));
    assert_eq!(said(engine.verify(&mut rows, &[b"", &[0; 33]])), "a draft of 33 bytes, the limit is 32");
    let verified = engine.verify(&mut rows, &[b"ab", b""]).unwrap();
    assert_eq!(said(verified.accept(&[3, 0])), "row 0: 3 bytes accepted, 2 were verified");
    assert_eq!(said(engine.verify(&mut rows, &[b"ab", b""]).unwrap().accept(&[1])), "1 rows given, there are 2");
    assert_eq!(engine.positions(&rows), [0, 0], "nothing has moved");
}

#[test]
fn writing_is_sampling_and_reading() {
    let weights = weights(std::fs::read(model_file("sensor-pico", "model.mbb")).unwrap());
    let engine = IntEngine::new(&weights, cpu(2));
    let mut rows = engine.rows(3).unwrap();
    let options = SampleOptions { top_k: 20, ..SampleOptions::default() };
    let (mut last, mut rngs) = ([0, b'$', b'!'], [Rng::new(1), Rng::new(2), Rng::new(3)]);
    let mut written = vec![Vec::new(); 3];
    for count in [1, 30, 9] {
        let parts = engine.generate(&mut rows, &mut last, &mut rngs, &options, count).unwrap();
        written.iter_mut().zip(parts).for_each(|(all, part)| all.extend(part));
    }
    for (row, (written, first)) in written.iter().zip([0, b'$', b'!']).enumerate() {
        let (mut decoder, mut rng, mut last) = (Decoder::owned(weights.blob()), Rng::new(row as u64 + 1), first);
        for &byte in written {
            last = sample(decoder.step(last), &options, &mut rng);
            assert_eq!(byte, last, "row {row}");
        }
        assert_eq!(written.len(), 40);
    }
    assert!(engine.generate(&mut rows, &mut [0], &mut rngs, &options, 1).is_err());
}

#[test]
fn weights_are_checked() {
    let good = random_blob(BlobSpec { dims: dims(600, 1, 1100, 7, false), contents: Contents::Sane, seed: 7 });
    for at in [0, 9, 200, good.len() / 3, good.len() / 2, good.len() - 100] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        let aligned = AlignedBytes::new(&bad);
        let want = Blob::parse(aligned.as_slice()).err().unwrap();
        let have = Weights::new(Arc::new(Bytes(aligned.clone()))).err().unwrap();
        assert_eq!(have.to_string(), want.to_string());
    }
}

/// A file that cannot be read a second time, as one that became shorter.
struct ReadOnce(AlignedBytes);

impl AsRef<[u8]> for ReadOnce {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Source for ReadOnce {
    fn read(&self, _: usize, _: &mut [u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

#[test]
fn weights_that_cannot_be_copied_are_used_as_they_are() {
    let bytes = random_blob(BlobSpec { dims: dims(64, 2, 128, 16, false), contents: Contents::Sane, seed: 9 });
    let weights = Weights::new(Arc::new(ReadOnce(AlignedBytes::new(&bytes)))).unwrap().for_backend(Backend::detect());
    assert_eq!(weights.blob_for(Backend::detect()).as_bytes().as_ptr(), weights.blob().as_bytes().as_ptr());
    let engine = IntEngine::new(&weights, Cpu::single());
    let answer = engine.read(&mut engine.rows(1).unwrap(), &[b"as they are"], Want::Last).unwrap();
    assert_eq!(answer.logits().last(), stepped(weights.blob(), b"as they are").logits.last());
    // It is slower, so it is said.
    let note = Backend::detect().reads_tiles().then(|| weights.note().unwrap_or("").to_owned());
    assert!(note.is_none_or(|note| note.contains("slower") && note.contains("end of file")), "{:?}", weights.note());
}
