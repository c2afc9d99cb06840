//! What a byte costs in short blocks, which verify drafts, beside long ones and beside steps.

use std::time::{Duration, Instant};

use mambabyte_core::Backend;
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::engine::{Answer, Engine, Want};

use super::clock::{processor_time, since};
use super::{Fallible, weights};

/// Lengths of blocks; the last is what the others are compared with.
const LENGTHS: [usize; 7] = [1, 2, 5, 9, 13, 17, 512];
/// Rounds, in which every length has its turn.
const ROUNDS: usize = 15;
/// Time of a turn.
const TURN: Duration = Duration::from_millis(30);

/// Bytes a second of processor time in blocks of `length`, logits of every byte included.
fn rate(engine: &IntEngine<'_>, length: usize) -> Fallible<f64> {
    let text: Vec<u8> = (0..length).map(|at| b"$GPGGA,0123456789.,*\r\n"[at * 7 % 22]).collect();
    let (mut rows, mut answer) = (engine.rows(1)?, Answer::Nothing);
    engine.read_into(&mut rows, &[&text], Want::All, &mut answer)?;
    let (began, processor, mut bytes) = (Instant::now(), processor_time(), 0);
    while (if processor.is_some() { since(processor) } else { began.elapsed() }) < TURN {
        engine.read_into(&mut rows, &[&text], Want::All, &mut answer)?;
        bytes += length;
    }
    let time = if processor.is_some() { since(processor) } else { began.elapsed() };
    Ok(bytes as f64 / time.as_secs_f64())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Prints the table: medians of the share in a round, and of the rate.
pub(super) fn table(models: &[String]) -> Fallible<()> {
    let heads = LENGTHS[..LENGTHS.len() - 1].iter().map(usize::to_string).collect::<Vec<_>>().join(" | ");
    println!("\none thread; rate per byte in blocks of so many bytes beside blocks of 512, %\n");
    println!("| model | backend | {heads} | 512, bytes/s |");
    println!("|---|---|{}", "---|".repeat(LENGTHS.len()));
    for model in models {
        for backend in Backend::all() {
            if backend.name() == "scalar" {
                continue;
            }
            let weights = weights(model)?.for_backend(backend);
            let engine = IntEngine::new(&weights, Cpu { threads: 1, backend });
            let mut shares = vec![Vec::new(); LENGTHS.len()];
            for _ in 0..ROUNDS {
                let mut rates = Vec::new();
                for length in LENGTHS {
                    rates.push(rate(&engine, length)?);
                }
                let whole = rates[LENGTHS.len() - 1];
                for (all, rate) in shares.iter_mut().zip(&rates) {
                    all.push(100.0 * rate / whole);
                }
                shares[LENGTHS.len() - 1].pop();
                shares[LENGTHS.len() - 1].push(whole);
            }
            let cells: Vec<String> = shares.into_iter().map(|all| format!("{:.0}", median(all))).collect();
            println!("| {model} | {} | {} |", backend.name(), cells.join(" | "));
        }
    }
    Ok(())
}
