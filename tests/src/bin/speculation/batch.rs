//! Streams that speculate together: up to how many it pays.

use mambabyte_host::engine::Engine;

use super::setting::{Setting, name};
use super::writing::{Task, Written, compared, parts, rate};
use super::{Fallible, Verdict};

/// Prints a line for each text, choice, number of streams and drafter.
pub(super) fn table(setting: &Setting, streams: &[u16]) -> Fallible<Verdict> {
    let opened = setting.open()?;
    let (engine, hands) = (setting.engine(&opened)?, setting.hands(&opened)?);
    println!("\n{}\n", setting.title(&engine, &opened));
    println!(
        "| text | choice | streams | plain B/s | drafter | acceptance | bytes a round | B/s | times plain | draft, verify, \
         choose, replay, us a stream's round | text |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut verdict = Verdict::default();
    for path in &setting.texts {
        for (choice, options) in setting.choices() {
            for &n in streams {
                let prompts = setting.prompts(path, n.into())?;
                let task = |bytes: usize| Task { prompts: &prompts, options, seed: 0, bytes };
                let mut rows = engine.rows(n.into())?;
                task(16).alone(&engine, &mut rows)?;
                let until = setting.until();
                let (plain, [time, _]) = task(setting.bytes as usize).alone(&engine, &mut rows)?;
                let alone = rate(u64::from(n) * u64::from(setting.bytes), time);
                for hand in &hands {
                    if std::time::Instant::now() >= until {
                        println!("| {} | {choice} | {n} | {alone:.0} | {} | no time left |", name(path), hand.name);
                        continue;
                    }
                    task(16).drafted(&engine, hand.drafter(n.into())?, hand.rule(), setting.draft_len)?;
                    let task = task(setting.bytes as usize);
                    let Written { texts, stats, .. } =
                        task.drafted(&engine, hand.drafter(n.into())?, hand.rule(), setting.draft_len)?;
                    let same =
                        if hand.is_exact() { verdict.hear(compared(&plain, &texts)) } else { "its own".to_owned() };
                    let with = rate(stats.written, stats.time());
                    println!(
                        "| {} | {choice} | {n} | {alone:.0} | {} | {:.3} | {:.2} | {with:.0} | {:.2} | {} | {same} |",
                        name(path),
                        hand.name,
                        stats.acceptance(),
                        stats.bytes_a_round(),
                        with / alone,
                        parts(&stats)
                    );
                }
            }
        }
    }
    Ok(verdict)
}
