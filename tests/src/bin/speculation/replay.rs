//! What it costs to go to a byte within a draft that was verified, beside reading the bytes up to it again.

use std::time::{Duration, Instant};

use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::engine::{Answer, Engine, Want};

use super::{Fallible, weights};

/// Bytes of a draft, and how many of them are accepted.
const DRAFT: usize = 16;
const ACCEPTED: [usize; 4] = [1, 4, 8, 15];
/// Rounds of each.
const ROUNDS: usize = 60;

fn median(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1e6
}

/// Prints the table: medians.
pub(super) fn table(models: &[String]) -> Fallible<()> {
    println!("\none thread; drafts of {DRAFT} bytes, microseconds\n");
    println!("| model | accepted | verify | replay | reading them again | of that |");
    println!("|---|---|---|---|---|---|");
    let cpu = Cpu::single();
    let text: Vec<u8> = (0..DRAFT).map(|at| b"$GPGGA,0123456789.,*\r\n"[at * 7 % 22]).collect();
    for model in models {
        let weights = weights(model)?.for_backend(cpu.backend);
        let engine = IntEngine::new(&weights, cpu);
        let (mut rows, mut answer) = (engine.rows(1)?, Answer::Nothing);
        for count in ACCEPTED {
            let [mut verify, mut replay, mut read] = [Vec::new(), Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                let began = Instant::now();
                let verified = engine.verify(&mut rows, &[&text])?;
                verify.push(began.elapsed());
                let began = Instant::now();
                verified.accept(&[count])?;
                replay.push(began.elapsed());
                let began = Instant::now();
                engine.read_into(&mut rows, &[&text[..count]], Want::Nothing, &mut answer)?;
                read.push(began.elapsed());
            }
            let [verify, replay, read] = [verify, replay, read].map(median);
            println!("| {model} | {count} | {verify:.1} | {replay:.1} | {read:.1} | {:.0} % |", 100.0 * replay / read);
        }
    }
    Ok(())
}
