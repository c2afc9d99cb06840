//! Drafts: verified as one block with the bits of steps, accepted up to any byte, and worth it: a small model writes
//! ahead for a larger one.

use mambabyte_core::{Blob, Decoder, Rng, SampleOptions, most_probable};
use mambabyte_host::Model;
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cpu::{Cpu, FloatEngine, IntEngine, Source, Weights};
use mambabyte_host::engine::{Answer, Engine, MAX_DRAFT, Want};
use mambabyte_tests::model_file;
use mambabyte_tests::random_blob::{BlobSpec, Contents, random_blob};

/// Bytes of a draft.
const K: usize = 8;

struct Bytes(AlignedBytes);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Source for Bytes {}

fn weights(bytes: &[u8]) -> Weights {
    Weights::new(std::sync::Arc::new(Bytes(AlignedBytes::new(bytes)))).unwrap()
}

fn shipped(name: &str) -> Weights {
    weights(&std::fs::read(model_file(name, "model.mbb")).unwrap())
}

fn cpu(threads: usize) -> Cpu {
    Cpu { threads, ..Cpu::default() }
}

fn slices(rows: &[Vec<u8>]) -> Vec<&[u8]> {
    rows.iter().map(Vec::as_slice).collect()
}

/// Writes `count` bytes a row after `prompts`, as `writer` would alone, with drafts of `helper`. Returns the bytes, the
/// rounds, and how many bytes of the helper were taken.
fn with_drafts(
    writer: &impl Engine,
    helper: &impl Engine,
    prompts: &[&[u8]],
    count: usize,
) -> (Vec<Vec<u8>>, usize, usize) {
    let n = prompts.len();
    let idle = vec![&b""[..]; n];
    // The helper's second half of rows runs ahead of the first.
    let (mut rows, mut mine) = (writer.rows(n).unwrap(), helper.rows(2 * n).unwrap());
    let answer = writer.read(&mut rows, prompts, Want::Last).unwrap();
    let mut next: Vec<u8> = answer.logits().iter().map(most_probable).collect();
    helper.read(&mut mine, &[prompts, &idle].concat(), Want::Nothing).unwrap();
    let (mut written, mut rounds, mut taken) = (vec![Vec::new(); n], 0, 0);
    let mut answer = Answer::Nothing;
    loop {
        let open: Vec<usize> = (0..n).filter(|&row| written[row].len() < count).collect();
        if open.is_empty() {
            break;
        }
        // The first byte of a draft is the writer's own.
        let mut drafts = vec![Vec::new(); n];
        for &row in &open {
            helper.fork(&mut mine, row, n + row).unwrap();
            drafts[row].push(next[row]);
        }
        for at in 1..K {
            let text: Vec<&[u8]> = drafts.iter().map(|d| d.get(at - 1..at).unwrap_or(b"")).collect();
            helper.read_into(&mut mine, &[&idle[..], &text].concat(), Want::Last, &mut answer).unwrap();
            open.iter().zip(&*answer.logits()).for_each(|(&row, logits)| drafts[row].push(most_probable(logits)));
        }
        let verified = writer.verify(&mut rows, &slices(&drafts)).unwrap();
        let counts = verified.greedy_matches(&next);
        let mut logits = verified.answer().logits().into_owned();
        for &row in &open {
            let mine: Vec<_> = logits.drain(..K).collect();
            next[row] = most_probable(&mine[counts[row] - 1]);
            drafts[row].truncate(counts[row]);
            written[row].extend_from_slice(&drafts[row]);
            taken += counts[row] - 1;
        }
        rounds += open.len();
        verified.accept(&counts).unwrap();
        helper.read_into(&mut mine, &[&slices(&drafts)[..], &idle].concat(), Want::Nothing, &mut answer).unwrap();
    }
    written.iter_mut().for_each(|w| w.truncate(count));
    (written, rounds, taken)
}

/// 64 KiB of NMEA read as prompts, 32 KiB written after them.
#[test]
fn a_small_model_writes_ahead_for_a_larger_one() {
    const PROMPT: usize = 4096;
    const PART: usize = 2048;
    let sample = std::fs::read(model_file("text", "gnss-sample.nmea")).unwrap();
    // Each prompt begins in another place of the sample, so that each text is another one.
    let prompts: Vec<Vec<u8>> =
        (0..16).map(|i| sample.iter().cycle().skip(i * 557).take(PROMPT).copied().collect()).collect();
    let prompts = slices(&prompts);
    let (micro, nano) = (shipped("sensor-micro"), shipped("sensor-nano"));
    let (micro, nano) = (IntEngine::new(&micro, cpu(2)), IntEngine::new(&nano, cpu(2)));
    let (written, rounds, taken) = with_drafts(&micro, &nano, &prompts, PART);

    let mut rows = micro.rows(16).unwrap();
    let answer = micro.read(&mut rows, &prompts, Want::Last).unwrap();
    let first: Vec<u8> = answer.logits().iter().map(most_probable).collect();
    let (mut last, mut rngs) = (first.clone(), vec![Rng::new(0); 16]);
    let rest = micro.generate(&mut rows, &mut last, &mut rngs, &SampleOptions::GREEDY, PART - 1).unwrap();
    for (row, ((written, first), rest)) in written.iter().zip(first).zip(rest).enumerate() {
        assert!(*written == [&[first], &rest[..]].concat(), "row {row}");
    }
    let accepted = taken as f64 / rounds as f64;
    println!("{} bytes in {rounds} rounds; of {} drafted bytes a round {accepted:.2} are accepted", 16 * PART, K - 1);
    assert!(accepted >= 2.0, "{accepted}");
}

/// The greedy text of a row, of which drafts are made.
fn greedy(decoder: &mut Decoder<'_, Vec<i16>, Vec<i32>>, first: u8, n: usize) -> Vec<u8> {
    let mut text = vec![first];
    while text.len() < n {
        text.push(most_probable(decoder.step(text[text.len() - 1])));
    }
    text
}

#[test]
fn every_prefix_is_accepted_with_the_state_of_stepping() {
    let team = random_blob(BlobSpec {
        dims: mambabyte_core::Dims { d_model: 512, n_layer: 2, d_inner: 1024, dt_rank: 32, ..BlobSpec::small(1).dims },
        contents: Contents::Sane,
        seed: 3,
    });
    for (name, weights) in [("sensor-micro", shipped("sensor-micro")), ("a team's", weights(&team))] {
        let blob: Blob<'_> = weights.blob();
        let engine = IntEngine::new(&weights, cpu(2));
        let prompt = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M\r\n";
        // Forced by a wrong byte, then by the caller's choice in a draft that is right.
        for forced in [true, false] {
            for count in 0..=K {
                let mut rows = engine.rows(1).unwrap();
                let mut decoder = Decoder::owned(blob);
                let mut first = most_probable(decoder.prefill(prompt).unwrap());
                engine.read(&mut rows, &[prompt], Want::Nothing).unwrap();
                for round in 0..3 {
                    let before = decoder.state().as_slice().to_vec();
                    let mut state = mambabyte_core::State::new(&blob, before).unwrap();
                    state.clone_from(decoder.state()).unwrap();
                    let mut draft = greedy(&mut decoder, first, K);
                    decoder.state_mut().clone_from(&state).unwrap();
                    if let Some(wrong) = draft.get_mut(count).filter(|_| forced) {
                        *wrong ^= 0x55;
                    }
                    let truth: Vec<_> = draft.iter().map(|&byte| *decoder.step(byte)).collect();
                    decoder.state_mut().clone_from(&state).unwrap();
                    let what = format!("{name} model, {count} bytes, round {round}");

                    // A draft that is dropped leaves no trace.
                    drop(engine.verify(&mut rows, &[&[0xff; MAX_DRAFT]]).unwrap());
                    let verified = engine.verify(&mut rows, &[&draft]).unwrap();
                    assert!(*verified.answer().logits() == truth, "{what}");
                    assert_eq!(verified.greedy_matches(&[first]), [if forced { count } else { K }], "{what}");
                    verified.accept(&[count]).unwrap();
                    for &byte in &draft[..count] {
                        first = most_probable(decoder.step(byte));
                    }
                    let after = engine.state(&mut rows, 0).unwrap();
                    assert!(after.as_slice() == decoder.state().as_slice(), "{what}");
                    assert_eq!(
                        (after.position(), engine.positions(&rows)[0]),
                        (decoder.state().position(), after.position())
                    );
                    // A step between the rounds: by the team, if there is one.
                    let answer = engine.read(&mut rows, &[&[first]], Want::Last).unwrap();
                    assert!(*answer.logits() == [*decoder.step(first)], "{what}");
                    first = most_probable(&answer.logits()[0]);
                }
            }
        }
    }
}

#[test]
fn rows_accept_each_for_itself() {
    let weights = shipped("sensor-pico");
    for threads in [1, 2, 3] {
        rows_accept_on(&weights, threads);
    }
}

fn rows_accept_on(weights: &Weights, threads: usize) {
    let engine = IntEngine::new(weights, cpu(threads));
    let mut rows = engine.rows(5).unwrap();
    let mut single: Vec<_> = (0..5).map(|_| Decoder::owned(weights.blob())).collect();
    let mut rng = Rng::new(4);
    for round in 0..20 {
        let lengths = [0, 1, K, 5, MAX_DRAFT].map(|n| (n + round) % (MAX_DRAFT + 1));
        let drafts = lengths.map(|n| (0..n).map(|_| rng.next_u64() as u8).collect::<Vec<u8>>());
        let counts = lengths.map(|n| [0, n / 2, n, n.min(1)][(rng.next_u64() % 4) as usize]);
        engine.verify(&mut rows, &slices(&drafts)).unwrap().accept(&counts).unwrap();
        for (row, (single, (draft, count))) in single.iter_mut().zip(drafts.iter().zip(counts)).enumerate() {
            draft[..count].iter().for_each(|&byte| _ = single.step(byte));
            let state = engine.state(&mut rows, row).unwrap();
            assert!(state.as_slice() == single.state().as_slice(), "round {round}, row {row}");
            assert_eq!(engine.positions(&rows)[row], single.state().position());
        }
    }
}

#[test]
fn the_float_engine_verifies_too() {
    let model =
        Model::new(mambabyte::formats::load(&model_file("sensor-pico", ""), &Default::default()).unwrap().checkpoint)
            .unwrap();
    let engine = FloatEngine::new(&model, 2);
    for count in 0..=K {
        let (mut rows, mut session) = (engine.rows(2).unwrap(), model.session());
        let prompt = b"$GPRMC,22";
        prompt.iter().for_each(|&byte| _ = session.step(byte).unwrap());
        engine.read(&mut rows, &[prompt, b""], Want::Nothing).unwrap();
        let draft = b"0516,A,5133.82"[..K].to_vec();
        let verified = engine.verify(&mut rows, &[&draft, b"x"]).unwrap();
        let mut ahead = session.clone();
        let truth: Vec<_> = draft.iter().map(|&byte| *ahead.step(byte).unwrap()).collect();
        let Answer::FloatLogits(found) = verified.answer() else { panic!("float logits") };
        assert_eq!(found[..K], truth);
        verified.accept(&[count, 0]).unwrap();
        draft[..count].iter().for_each(|&byte| _ = session.step(byte).unwrap());
        let answer = engine.read(&mut rows, &[b"7", b""], Want::Last).unwrap();
        assert_eq!(answer, Answer::FloatLogits(vec![*session.step(b'7').unwrap()]), "{count} bytes");
        assert_eq!(engine.positions(&rows), [prompt.len() as u64 + count as u64 + 1, 0]);
    }
}
