//! One model, measured in this process.

use std::hint::black_box;
use std::time::Instant;

use mambabyte_core::{Backend, Blob, Decoder, Prefill, Rng, Run, Stage, State, most_probable};
use mambabyte_host::cpu::{Cpu, IntEngine, IntRows, block_positions};
use mambabyte_host::engine::{Answer, Engine, EngineError, Want};
use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::model::{BlobFile, Verify};

/// Bytes of a prefill.
const PROMPT: usize = 512;

/// What one number of threads gives.
#[derive(Default)]
struct Samples {
    decode: Vec<f64>,
    prefill: Vec<f64>,
    read: Vec<f64>,
}

/// Measures; the figures as JSON.
pub(super) fn one(args: &super::OneArgs, backend: Backend) -> Result<Value, CliError> {
    let start = Instant::now();
    let file = BlobFile::open(&args.model, Verify::default())?;
    let load_ms = 1e3 * start.elapsed().as_secs_f64();
    let start = Instant::now();
    let memory = file.weights(backend);
    let prepare_ms = 1e3 * start.elapsed().as_secs_f64();
    let blob = memory.blob_for(backend);
    let dims = *blob.dims();
    let mut rng = Rng::new(5);
    let prompt: Vec<u8> = (0..PROMPT).map(|_| rng.next_u64() as u8).collect();
    let weights = blob.as_bytes();
    // Bytes of the blob that a step reads: all but the embedding if the head is another matrix.
    let unread = if dims.tied_head { 0 } else { blob.embedding().1.len() };
    let read_per_byte = (weights.len() - unread) as f64;

    let mut peak = None;
    let mut results: Vec<Samples> = args.threads.iter().map(|_| Samples::default()).collect();
    // The least number of threads goes first: its peak is reported.
    let mut order: Vec<usize> = (0..args.threads.len()).collect();
    order.sort_by_key(|&i| args.threads.get(i).copied());
    let mut streams: Vec<Option<Stream<'_>>> = args.threads.iter().map(|_| None).collect();
    for _ in 0..args.rounds {
        for &i in &order {
            let (Some(&threads), Some(samples), Some(stream)) =
                (args.threads.get(i), results.get_mut(i), streams.get_mut(i))
            else {
                continue;
            };
            let threads = usize::from(threads);
            let stream = match stream {
                Some(stream) => stream,
                None => stream.insert(Stream::new(IntEngine::new(memory, Cpu { threads, backend }))?),
            };
            samples.decode.push(stream.decode(args.seconds)?);
            samples.prefill.push(stream.prefill(&prompt, args.seconds)?);
            peak = peak.or_else(peak_rss);
            samples.read.push(read(weights, threads, args.seconds / 2.0));
        }
    }
    drop(streams);

    let runs: Vec<Value> = args
        .threads
        .iter()
        .zip(&mut results)
        .map(|(threads, samples)| {
            let decode = median(&mut samples.decode);
            let read = median(&mut samples.read);
            let rate = decode * read_per_byte / 1e9;
            json!({
                "threads": threads, "decode": decode, "prefill": median(&mut samples.prefill),
                "decode_best": best(&samples.decode), "prefill_best": best(&samples.prefill),
                "decode_gb_s": rate, "read_gb_s": read, "share": rate / read,
            })
        })
        .collect();
    let state = dims.state_bytes();
    let over = peak.map(|peak| peak as i64 - weights.len() as i64 - state as i64);
    Ok(json!({
        "weights_bytes": weights.len(), "state_bytes": state, "load_ms": load_ms, "prepare_ms": prepare_ms, "peak_rss": peak, "rss_over": over,
        "d_model": dims.d_model, "n_layer": dims.n_layer, "d_inner": dims.d_inner, "d_state": dims.d_state,
        "tied_decays": dims.tied_decays, "runs": runs,
        "stages": {
            "decode": decode_stages(blob, backend, &prompt, args.seconds),
            "prefill": prefill_stages(blob, backend, &prompt, args.seconds),
        },
    }))
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}

fn best(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(0.0, f64::max)
}

/// Peak resident memory of this process in bytes, where the system tells it.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Calls `work`, which says how much it did, until `seconds` are over; how much per second.
fn rate<E>(seconds: f64, mut work: impl FnMut() -> Result<f64, E>) -> Result<f64, E> {
    let (start, mut done) = (Instant::now(), 0.0);
    loop {
        done += work()?;
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return Ok(done / elapsed);
        }
    }
}

/// [`rate`] of what cannot fail.
fn sure_rate(seconds: f64, mut work: impl FnMut() -> f64) -> f64 {
    match rate(seconds, || Ok::<_, std::convert::Infallible>(work())) {
        Ok(rate) => rate,
    }
}

/// A stream to measure.
struct Stream<'m> {
    engine: IntEngine<'m>,
    rows: IntRows<'m>,
    answer: Answer,
}

impl<'m> Stream<'m> {
    fn new(engine: IntEngine<'m>) -> Result<Self, EngineError> {
        Ok(Self { rows: engine.rows(1)?, engine, answer: Answer::Nothing })
    }

    /// Reads `text` to the logits after it.
    fn read(&mut self, text: &[u8]) -> Result<(), EngineError> {
        self.engine.read_into(&mut self.rows, &[text], Want::Last, &mut self.answer)
    }

    /// Greedy decode, bytes per second.
    fn decode(&mut self, seconds: f64) -> Result<f64, EngineError> {
        let mut byte = b'a';
        let mut four = || {
            for _ in 0..4 {
                self.read(&[byte])?;
                byte = self.answer.logits().first().map_or(byte, most_probable);
            }
            Ok(4.0)
        };
        four()?;
        rate(seconds, four)
    }

    /// Prefill of a prompt to the logits after it, bytes per second.
    fn prefill(&mut self, prompt: &[u8], seconds: f64) -> Result<f64, EngineError> {
        rate(seconds, || {
            self.read(prompt)?;
            black_box(&self.answer);
            Ok(prompt.len() as f64)
        })
    }
}

/// Reads the weights and does nothing else, GB/s.
fn read(weights: &[u8], threads: usize, seconds: f64) -> f64 {
    let part = weights.len().div_ceil(threads);
    sure_rate(seconds, || {
        // Small models are read often enough that starting threads does not count.
        let repeats = ((64 << 20) / weights.len()).max(1);
        std::thread::scope(|scope| {
            let mut parts = weights.chunks(part);
            let own = parts.next().unwrap_or(&[]);
            for part in parts {
                scope.spawn(move || (0..repeats).for_each(|_| _ = black_box(sum(black_box(part)))));
            }
            (0..repeats).for_each(|_| _ = black_box(sum(black_box(own))));
        });
        (repeats * weights.len()) as f64 / 1e9
    })
}

/// A sum that vectorises: nothing but loads and additions.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    let (blocks, _) = bytes.as_chunks::<128>();
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
            *sum ^= u64::from_le_bytes(*word);
        }
    }
    sums.iter().fold(0, |a, b| a ^ b)
}

/// Adds up the time of every stage.
struct Clock {
    last: Instant,
    seconds: [f64; Stage::ALL.len()],
}

impl Clock {
    fn new() -> Self {
        Self { last: Instant::now(), seconds: [0.0; Stage::ALL.len()] }
    }

    fn done(&mut self, stage: Stage) {
        let now = Instant::now();
        if let Some(total) = self.seconds.get_mut(stage as usize) {
            *total += (now - self.last).as_secs_f64();
        }
        self.last = now;
    }

    /// Shares of the whole.
    fn shares(&self) -> Value {
        let total: f64 = self.seconds.iter().sum();
        let shares = Stage::ALL.iter().zip(self.seconds).map(|(s, t)| (s.name().to_owned(), json!(t / total)));
        Value::Object(shares.collect::<Map<_, _>>())
    }
}

fn decode_stages(blob: Blob<'_>, backend: Backend, text: &[u8], seconds: f64) -> Value {
    let mut decoder = Decoder::owned(blob).with_backend(backend);
    let mut clock = Clock::new();
    sure_rate(seconds, || {
        for &byte in text.iter().take(8) {
            clock.last = Instant::now();
            black_box(decoder.step_timed(byte, &mut |stage| clock.done(stage)));
        }
        8.0
    });
    clock.shares()
}

fn prefill_stages(blob: Blob<'_>, backend: Backend, text: &[u8], seconds: f64) -> Value {
    let dims = *blob.dims();
    let positions = block_positions(&dims);
    let memory = (
        Prefill::new(blob, positions, vec![0; dims.prefill_len(positions)]),
        State::new(&blob, vec![0; dims.state_len()]),
    );
    let (Ok(prefill), Ok(mut state)) = memory else { return Value::Null };
    let mut prefill = prefill.with_backend(backend);
    let mut clock = Clock::new();
    sure_rate(seconds, || {
        let mut done = 0;
        for block in text.chunks(positions) {
            clock.last = Instant::now();
            prefill.embed(block);
            clock.done(Stage::Embed);
            for (index, state) in state.layers_mut(&blob).enumerate() {
                let mut run = [Run { state, positions: block.len(), keep: &mut [] }];
                prefill.layer_timed(index, &mut run, &mut |stage| clock.done(stage));
            }
            done += block.len();
            if done == text.len() {
                black_box(prefill.last_logits());
                clock.done(Stage::Head);
            }
        }
        done as f64
    });
    clock.shares()
}
