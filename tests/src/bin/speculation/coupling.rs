//! How often two samplers that share a random number choose the same byte, by the way that the number becomes a byte.
//!
//! No coupling reaches more than `1 - TV`, the overlap of the two distributions. Ways to choose:
//!
//! * *sorted*: the number falls into the cumulated shares, the most probable byte first;
//! * *by value*: the same in the order of byte values;
//! * *Gumbel*: the byte whose exponential variate is least beside its share: the core's sampler. Two are equal with
//!   probability `sum_x 1 / sum_y max(p_y / p_x, q_y / q_x)`, never less than `(1 - TV) / (1 + TV)`.
//!
//! All are computed, not drawn.

use mambabyte_core::{Candidates, Logits, SampleOptions, VOCAB};
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::engine::{Engine, Want};

use super::{Fallible, weights};

/// Bytes of each text.
const BYTES: usize = 20_000;

/// How bytes are chosen in the table.
const CHOICES: [(&str, SampleOptions); 3] = [
    ("T 1", SampleOptions { temperature: 65_536, top_k: 0, top_p: 65_536 }),
    ("T 0.8", SampleOptions { temperature: 52_429, top_k: 0, top_p: 65_536 }),
    ("top-p 0.9", SampleOptions { temperature: 65_536, top_k: 0, top_p: 58_982 }),
];

/// A distribution: bytes with shares, the most probable first.
fn shares(logits: &Logits, options: &SampleOptions) -> Vec<(u8, f64)> {
    let candidates = Candidates::new(logits, options);
    let total = candidates.total() as f64;
    let mut all: Vec<(u8, f64)> = candidates.iter().map(|(byte, weight)| (byte, f64::from(weight) / total)).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

fn by_value(shares: &[(u8, f64)]) -> Vec<(u8, f64)> {
    let mut sorted = shares.to_vec();
    sorted.sort_by_key(|&(byte, _)| byte);
    sorted
}

/// Where each byte's part of `0..1` lies.
fn parts(shares: &[(u8, f64)]) -> [(f64, f64); VOCAB] {
    let (mut parts, mut below) = ([(0.0, 0.0); VOCAB], 0.0);
    for &(byte, share) in shares {
        parts[usize::from(byte)] = (below, below + share);
        below += share;
    }
    parts
}

/// The probability that one number lies in the parts of one byte.
fn inverse(p: &[(u8, f64)], q: &[(u8, f64)]) -> f64 {
    let pairs = parts(p).into_iter().zip(parts(q));
    pairs.map(|((a, b), (c, d))| (b.min(d) - a.max(c)).max(0.0)).sum()
}

fn dense(shares: &[(u8, f64)]) -> [f64; VOCAB] {
    let mut all = [0.0; VOCAB];
    shares.iter().for_each(|&(byte, share)| all[usize::from(byte)] = share);
    all
}

/// `1 - TV`.
fn overlap(p: &[f64; VOCAB], q: &[f64; VOCAB]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.min(*q)).sum()
}

fn gumbel(p: &[f64; VOCAB], q: &[f64; VOCAB]) -> f64 {
    let both: Vec<(f64, f64)> = p.iter().copied().zip(q.iter().copied()).filter(|&(p, q)| p > 0.0 || q > 0.0).collect();
    let with_both = both.iter().filter(|&&(p, q)| p > 0.0 && q > 0.0);
    with_both.map(|&(p, q)| 1.0 / both.iter().map(|&(a, b)| (a / p).max(b / q)).sum::<f64>()).sum()
}

/// The logits of every byte of `text` under a blob, or under an adapter alone.
fn logits(model: &str, text: &[u8]) -> Fallible<Vec<Logits>> {
    if model == "adapter" {
        let mut adapter = AnyAdapter::new(Preset::K64, false);
        let all = text.iter().map(|&byte| {
            let mut logits = [0; VOCAB];
            adapter.distribution(None, &mut logits);
            adapter.read(None, byte);
            logits
        });
        return Ok(all.collect());
    }
    let weights = weights(model)?;
    let engine = IntEngine::new(&weights, Cpu::default());
    let input = [&[0], text].concat();
    let answer = engine.read(&mut engine.rows(1)?, &[&input[..text.len()]], Want::All)?;
    Ok(answer.logits().into_owned())
}

/// Prints the table.
pub(super) fn table(model: &str, drafter: &str, texts: &[String]) -> Fallible<()> {
    println!("\n{model} and {drafter}, {BYTES} bytes of each text: share of bytes that both choose\n");
    println!("| text | choice | 1 - TV | (1 - TV) / (1 + TV) | sorted | by value | Gumbel |");
    println!("|---|---|---|---|---|---|---|");
    for text in texts {
        let bytes = std::fs::read(text).map_err(|e| format!("{text}: {e}"))?;
        let bytes = &bytes[..bytes.len().min(BYTES)];
        let (target, draft) = (logits(model, bytes)?, logits(drafter, bytes)?);
        let name = std::path::Path::new(text).file_stem().unwrap_or_default().to_string_lossy();
        for (choice, options) in &CHOICES {
            let mut sums = [0.0; 5];
            for (target, draft) in target.iter().zip(&draft) {
                let (p, q) = (shares(target, options), shares(draft, options));
                let (dp, dq) = (dense(&p), dense(&q));
                let most = overlap(&dp, &dq);
                let found = [
                    most,
                    most / (2.0 - most),
                    inverse(&p, &q),
                    inverse(&by_value(&p), &by_value(&q)),
                    gumbel(&dp, &dq),
                ];
                sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
            }
            let means = sums.map(|sum| format!("{:.3}", sum / bytes.len() as f64)).join(" | ");
            println!("| {name} | {choice} | {means} |");
        }
    }
    Ok(())
}
