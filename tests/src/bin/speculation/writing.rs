//! Texts written alone and with drafts, and what is measured of them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mambabyte_core::{Rng, SampleOptions};
use mambabyte_host::engine::{AnyEngine, AnyRows, Engine, Want};
use mambabyte_host::speculate::{Drafter, Length, Rule, Speculation, Start, Stats};
use sha2::{Digest, Sha256};

use super::Fallible;
use super::clock::{processor_time, since};

/// Streams that are written together: their prompts, how bytes are chosen, how many. Stream `i` has seed `seed + i`.
#[derive(Clone, Copy)]
pub(super) struct Task<'t> {
    pub(super) prompts: &'t [Vec<u8>],
    pub(super) options: SampleOptions,
    pub(super) seed: u64,
    pub(super) bytes: usize,
}

/// What a round drafted and accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) drafted: usize,
    pub(super) accepted: usize,
}

/// What was written with drafts.
pub(super) struct Written {
    pub(super) texts: Vec<Vec<u8>>,
    /// What happened.
    pub(super) stats: Stats,
    /// Of one stream, every round.
    pub(super) rounds: Vec<Round>,
    /// Processor time of this thread.
    pub(super) processor: Duration,
}

impl Task<'_> {
    fn rngs(&self) -> Vec<Rng> {
        (0..self.prompts.len() as u64).map(|row| Rng::new(self.seed + row)).collect()
    }

    /// Written by the engine alone; the texts and the time of writing, by the clock and of this thread's processor. `rows`
    /// are as many as prompts.
    pub(super) fn alone<'m>(
        &self,
        engine: &AnyEngine<'m>,
        rows: &mut AnyRows<'m>,
    ) -> Fallible<(Vec<Vec<u8>>, [Duration; 2])> {
        (0..self.prompts.len()).try_for_each(|row| engine.reset(rows, row))?;
        let heads: Vec<Vec<u8>> =
            self.prompts.iter().map(|prompt| [&[0], &prompt[..prompt.len() - 1]].concat()).collect();
        engine.read(rows, &heads.iter().map(Vec::as_slice).collect::<Vec<_>>(), Want::Nothing)?;
        let mut last: Vec<u8> = self.prompts.iter().map(|prompt| prompt[prompt.len() - 1]).collect();
        let (began, processor) = (Instant::now(), processor_time());
        let texts = engine.generate(rows, &mut last, &mut self.rngs(), &self.options, self.bytes)?;
        Ok((texts, [began.elapsed(), since(processor)]))
    }

    /// Written with drafts.
    pub(super) fn drafted(
        &self,
        engine: &AnyEngine<'_>,
        drafter: impl Drafter,
        rule: impl Rule,
        length: Length,
    ) -> Fallible<Written> {
        let starts = self.rngs().into_iter().map(|rng| Start { rng, adapter: None }).collect();
        let mut text = Speculation::new(engine, starts, drafter, rule, self.options, length)?;
        text.read(&self.prompts.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let (mut texts, mut rounds) = (vec![Vec::with_capacity(self.bytes); self.prompts.len()], Vec::new());
        let began = processor_time();
        loop {
            let left: Vec<usize> = texts.iter().map(|text: &Vec<u8>| self.bytes - text.len()).collect();
            if left.iter().all(|&left| left == 0) {
                return Ok(Written { texts, stats: *text.stats(), rounds, processor: since(began) });
            }
            let before = *text.stats();
            texts.iter_mut().zip(text.round(&left)?).for_each(|(text, bytes)| text.extend(bytes));
            let count = |now: u64, then: u64| (now - then) as usize;
            rounds.push(Round {
                drafted: count(text.stats().drafted, before.drafted),
                accepted: count(text.stats().accepted, before.accepted),
            });
        }
    }

    /// Bits per byte of texts after the prompts, under the model.
    pub(super) fn bits_per_byte(&self, engine: &AnyEngine<'_>, texts: &[Vec<u8>]) -> Fallible<f64> {
        let (mut sum, mut count) = (0.0, 0);
        for (prompt, text) in self.prompts.iter().zip(texts) {
            let all = [&[0], &**prompt, text].concat();
            let mut rows = engine.rows(1)?;
            let bits = engine.read(&mut rows, &[&all[..all.len() - 1]], Want::Surprise(&[&all[1..]]))?.bits();
            sum += bits.iter().skip(prompt.len()).sum::<f64>();
            count += text.len();
        }
        Ok(sum / count.max(1) as f64)
    }
}

/// The share of groups of 32 bytes that the same text had before.
pub(super) fn repeated(texts: &[Vec<u8>]) -> f64 {
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

/// Microseconds a round of drafting, verifying, choosing, replaying.
pub(super) fn parts(stats: &Stats) -> String {
    let parts = [stats.draft, stats.verify, stats.choose, stats.replay];
    parts.map(|part| format!("{:.0}", part.as_secs_f64() * 1e6 / stats.rounds.max(1) as f64)).join(", ")
}

/// Bytes a second.
pub(super) fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64().max(1e-9)
}

/// The SHA-256 of texts one after the other.
pub(super) fn hash(texts: &[Vec<u8>]) -> String {
    let digest = texts.iter().fold(Sha256::new(), |all, text| all.chain_update(text)).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether two groups of texts have one hash: `same`, or where they part.
pub(super) fn compared(plain: &[Vec<u8>], drafted: &[Vec<u8>]) -> Result<&'static str, String> {
    if hash(plain) == hash(drafted) {
        return Ok("same");
    }
    let pairs = plain.iter().flatten().zip(drafted.iter().flatten());
    Err(format!("**another text** from byte {} on", pairs.take_while(|(a, b)| a == b).count()))
}
