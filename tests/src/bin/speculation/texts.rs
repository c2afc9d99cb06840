//! Texts written with drafts and without, after prompts from given texts: acceptance and speed.

use std::time::{Duration, Instant};

use mambabyte_host::engine::Engine;
use mambabyte_host::speculate::Stats;

use super::setting::{Setting, name};
use super::writing::{Task, compared, hash, parts, rate, repeated};
use super::{Fallible, Verdict};

/// What one drafter did.
#[derive(Default)]
struct Found {
    texts: Vec<Vec<u8>>,
    stats: Stats,
    processor: Duration,
}

/// Prints a line for each text, choice and drafter, as soon as it is known. Prompts take turns: the model alone, then
/// every drafter.
pub(super) fn table(setting: &Setting) -> Fallible<Verdict> {
    let opened = setting.open()?;
    let (engine, hands) = (setting.engine(&opened)?, setting.hands(&opened)?);
    println!("\n{}\n", setting.title(&engine, &opened));
    println!(
        "| text | choice | prompts | repeated | plain B/s | drafter | acceptance | bytes a round | B/s | times plain | of \
         processor time | draft, verify, choose, replay, us a round | text | bits per byte, own |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let (mut rows, mut verdict) = (engine.rows(1)?, Verdict::default());
    for path in &setting.texts {
        let prompts = setting.prompts(path, setting.prompts.into())?;
        for (choice, options) in setting.choices() {
            let until = setting.until();
            let task = |at: usize, bytes: usize| Task { prompts: &prompts[at..=at], options, seed: at as u64, bytes };
            // Memory is touched, threads and kernels are there.
            task(0, 16).alone(&engine, &mut rows)?;
            for hand in &hands {
                task(0, 16).drafted(&engine, hand.drafter(1)?, hand.rule(), setting.draft_len)?;
            }
            let (mut plain, mut times) = (Vec::new(), [Duration::ZERO; 2]);
            let mut found: Vec<Found> = hands.iter().map(|_| Found::default()).collect();
            for at in 0..prompts.len() {
                if at > 0 && Instant::now() >= until {
                    break;
                }
                let task = task(at, setting.bytes as usize);
                let (texts, took) = task.alone(&engine, &mut rows)?;
                plain.extend(texts);
                times.iter_mut().zip(took).for_each(|(sum, took)| *sum += took);
                for (hand, found) in hands.iter().zip(&mut found) {
                    let written = task.drafted(&engine, hand.drafter(1)?, hand.rule(), setting.draft_len)?;
                    found.texts.extend(written.texts);
                    found.stats += written.stats;
                    found.processor += written.processor;
                }
            }
            let all = Task { prompts: &prompts[..plain.len()], ..task(0, setting.bytes as usize) };
            let alone = rate((plain.len() * setting.bytes as usize) as u64, times[0]);
            for (hand, Found { texts, stats, processor }) in hands.iter().zip(&found) {
                let (same, bits) = if hand.is_exact() {
                    (verdict.hear(compared(&plain, texts)), "-".to_owned())
                } else {
                    let [mine, own] = [texts, &plain].map(|texts| all.bits_per_byte(&engine, texts));
                    ("its own".to_owned(), format!("{:.4}, {:.4}", mine?, own?))
                };
                let with = rate(stats.written, stats.time());
                // A thread that waits for a GPU or for other threads counts nothing.
                let busy = times[1].as_secs_f64() / processor.as_secs_f64();
                let busy = if setting.is_one_thread(&opened) { format!("{busy:.2}") } else { "-".to_owned() };
                println!(
                    "| {} | {choice} | {} | {:.0} % | {alone:.0} | {} | {:.3} | {:.2} | {with:.0} | {:.2} | {busy} | {} | {same} | {bits} |",
                    name(path),
                    plain.len(),
                    100.0 * repeated(&plain),
                    hand.name,
                    stats.acceptance(),
                    stats.bytes_a_round(),
                    with / alone,
                    parts(stats)
                );
            }
            println!("<!-- {}, {choice}: plain text {} -->", name(path), hash(&plain));
        }
    }
    Ok(verdict)
}
