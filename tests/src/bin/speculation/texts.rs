//! Texts written with drafts and without, after prompts from given texts: acceptance and speed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mambabyte_core::{Rng, SampleOptions};
use mambabyte_host::adapt::Preset;
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::engine::{Engine, Want};
use mambabyte_host::speculate::{
    AdapterDrafter, Drafter, Exact, Length, ModelDrafter, Speculation, Start, Stats, Suffix,
};

use super::{Fallible, weights};

/// Prompts of a text, and the bytes of each and of what is written after it.
const PROMPTS: usize = 16;
const PROMPT: usize = 512;
const BYTES: usize = 512;

/// How bytes are chosen.
const CHOICES: [(&str, SampleOptions); 2] =
    [("greedy", SampleOptions::GREEDY), ("T 0.8", SampleOptions { temperature: 52_429, top_k: 0, top_p: 65_536 })];

/// The share of groups of 32 bytes that the text had before.
fn repeated(texts: &[Vec<u8>]) -> f64 {
    let (mut seen, mut again, mut all) = (HashSet::new(), 0, 0);
    for text in texts {
        seen.clear();
        for group in text.windows(32) {
            again += usize::from(!seen.insert(group));
            all += 1;
        }
    }
    again as f64 / all.max(1) as f64
}

/// Writes after every prompt, alone; the texts and the time of writing.
fn alone(engine: &IntEngine<'_>, prompts: &[&[u8]], options: &SampleOptions) -> Fallible<(Vec<Vec<u8>>, Duration)> {
    let (mut texts, mut time) = (Vec::new(), Duration::ZERO);
    for (seed, prompt) in prompts.iter().enumerate() {
        let Some((&last, head)) = prompt.split_last() else { continue };
        let mut rows = engine.rows(1)?;
        engine.read(&mut rows, &[&[&[0], head].concat()], Want::Nothing)?;
        let began = Instant::now();
        let text = engine.generate(&mut rows, &mut [last], &mut [Rng::new(seed as u64)], options, BYTES)?;
        time += began.elapsed();
        texts.push(text.concat());
    }
    Ok((texts, time))
}

/// The sum of what happened.
fn add(sum: &mut Stats, other: &Stats) {
    sum.written += other.written;
    sum.rounds += other.rounds;
    sum.drafted += other.drafted;
    sum.accepted += other.accepted;
    sum.judged += other.judged;
    sum.bits += other.bits;
    sum.draft += other.draft;
    sum.verify += other.verify;
    sum.choose += other.choose;
    sum.replay += other.replay;
}

/// Prints the table. Every drafted text is compared with the plain one.
pub(super) fn table(model: &str, drafters: &[&str], texts: &[&str]) -> Fallible<()> {
    println!("\n{model}, one thread, {PROMPTS} prompts of {PROMPT} bytes, {BYTES} bytes written after each\n");
    println!(
        "| text | choice | repeated | plain B/s | drafter | acceptance | bytes a round | B/s | times plain | draft, verify, \
         choose, replay % |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let cpu = Cpu { threads: 1, ..Cpu::default() };
    let target = weights(model)?.for_backend(cpu.backend);
    let engine = IntEngine::new(&target, cpu);
    for text in texts {
        let bytes = std::fs::read(text).map_err(|e| format!("{text}: {e}"))?;
        let apart = bytes.len().saturating_sub(PROMPT) / PROMPTS;
        let prompts: Vec<&[u8]> = (0..PROMPTS).filter_map(|i| bytes.get(i * apart..i * apart + PROMPT)).collect();
        let name = std::path::Path::new(text).file_stem().unwrap_or_default().to_string_lossy();
        for (choice, options) in &CHOICES {
            let (plain, time) = alone(&engine, &prompts, options)?;
            let written: usize = plain.iter().map(Vec::len).sum();
            let rate = written as f64 / time.as_secs_f64();
            for &drafter in drafters {
                let helper = match drafter {
                    "suffix" | "adapter" => None,
                    model => Some(weights(model)?.for_backend(cpu.backend)),
                };
                let helper = helper.as_ref().map(|weights| IntEngine::new(weights, cpu));
                let mut stats = Stats::default();
                for (seed, (prompt, plain)) in prompts.iter().zip(&plain).enumerate() {
                    let drafts: Box<dyn Drafter> = match (&helper, drafter) {
                        (Some(helper), _) => Box::new(ModelDrafter::new(helper, 1)?),
                        (None, "suffix") => Box::new(Suffix::new(1)),
                        (None, _) => Box::new(AdapterDrafter::new(Preset::K16, 1)),
                    };
                    let start = Start { rng: Rng::new(seed as u64), adapter: None };
                    let mut text = Speculation::new(&engine, vec![start], drafts, Exact, *options, Length::Auto)?;
                    text.read(&[prompt])?;
                    if text.write(BYTES)?.concat() != *plain {
                        return Err(format!("{name}, {choice}, {drafter}: the text is another one").into());
                    }
                    add(&mut stats, text.stats());
                }
                let whole = stats.time().as_secs_f64();
                let with = stats.written as f64 / whole;
                let parts = [stats.draft, stats.verify, stats.choose, stats.replay];
                let parts = parts.map(|part| format!("{:.0}", 100.0 * part.as_secs_f64() / whole)).join(", ");
                println!(
                    "| {name} | {choice} | {:.0} % | {rate:.0} | {drafter} | {:.3} | {:.2} | {with:.0} | {:.2} | {parts} |",
                    100.0 * repeated(&plain),
                    stats.acceptance(),
                    stats.bytes_a_round(),
                    with / rate
                );
            }
        }
    }
    Ok(())
}
