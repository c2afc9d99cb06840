//! A large model of random weights that accepts as much as a trained one did: what speculation would give at its size.
//!
//! First the trained model writes, and every round's drafted and accepted bytes are noted. Then the model of random weights
//! writes its own text, alone and with drafts of the same lengths that are right for as many bytes: they are made of the
//! text that it wrote alone, with a wrong byte where the trained model did not accept. Blocks and replays are the large
//! model's; the time of drafting is that of the trained model's rounds, since the drafter would be the same one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mambabyte::model::AnyModel;
use mambabyte::training::shape;
use mambabyte_core::Dims;
use mambabyte_host::Model;
use mambabyte_host::engine::{Engine, EngineError};
use mambabyte_host::speculate::{Ask, Choice, Draft, Drafter, Exact, Length, MOST, Stats};
use mambabyte_host::train::initial;

use super::setting::{Setting, name};
use super::writing::{Round, Task, Written, compared, parts, rate};
use super::{Fallible, Verdict};

/// Drafts what will be written, right for as many bytes as another model's drafts were.
struct Replayed<'t> {
    prompt: usize,
    /// Bytes of prompt and text so far.
    read: usize,
    text: &'t [u8],
    rounds: VecDeque<Round>,
}

impl Drafter for Replayed<'_> {
    fn read(&mut self, text: &[&[u8]]) -> Result<(), EngineError> {
        self.read += text.first().map_or(0, |text| text.len());
        Ok(())
    }

    fn draft(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        let (Some(ask), Some(draft), Some(round)) = (asks.first(), drafts.first_mut(), self.rounds.pop_front()) else {
            return Ok(());
        };
        let rest = &self.text[self.read - self.prompt..];
        for (index, &byte) in rest.iter().enumerate().take(round.drafted.min(ask.most)) {
            draft.push(if index == round.accepted { byte ^ 1 } else { byte }, choice);
        }
        Ok(())
    }
}

/// `d_model` x `n_layer`, as in `1024x53`.
///
/// # Errors
/// What it must be.
pub(super) fn dims(word: &str) -> Result<Dims, String> {
    let number = |word: &str| word.parse().ok().filter(|n| (1..=8192).contains(n));
    let found = word.split_once('x').and_then(|(model, layers)| Some((number(model)?, number(layers)?)));
    let (d_model, n_layer) = found.ok_or_else(|| "two numbers as in 1024x53".to_owned())?;
    Ok(shape::of(d_model, n_layer, false))
}

/// Prints a line for each text, choice and drafter.
pub(super) fn table(setting: &Setting, dims: &Dims) -> Fallible<Verdict> {
    let opened = setting.open()?;
    let (engine, hands) = (setting.engine(&opened)?, setting.hands(&opened)?);
    let large = AnyModel::Checkpoint(Box::new(Model::new(initial::checkpoint(dims, 1))?));
    let large = setting.float_engine(&large, &opened)?;
    println!(
        "\nrandom weights, {} x {}, {}; lengths and drafting times of {}\n",
        dims.d_model,
        dims.n_layer,
        large.precision(),
        setting.title(&engine, &opened)
    );
    println!(
        "| text | choice | prompts | plain B/s | drafter | bytes a round | B/s | times plain | draft, verify, choose, replay, \
         us a round | text |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let (mut rows, mut verdict) = (large.rows(1)?, Verdict::default());
    for path in &setting.texts {
        let prompts = setting.prompts(path, setting.prompts.into())?;
        for (choice, options) in setting.choices() {
            for hand in &hands {
                let until = setting.until();
                let (mut time, mut sum, mut drafting) = (Duration::ZERO, Stats::default(), Stats::default());
                let (mut plain, mut drafted) = (Vec::new(), Vec::new());
                for at in 0..prompts.len() {
                    if at > 0 && Instant::now() >= until {
                        break;
                    }
                    let task =
                        Task { prompts: &prompts[at..=at], options, seed: at as u64, bytes: setting.bytes as usize };
                    let Written { stats, rounds, .. } =
                        task.drafted(&engine, hand.drafter(1)?, hand.rule(), setting.draft_len)?;
                    drafting += stats;
                    let (texts, _) = task.alone(&large, &mut rows)?;
                    let replayed = |bytes: usize| Replayed {
                        prompt: prompts[at].len(),
                        read: 0,
                        text: &texts[0][..bytes],
                        rounds: rounds.iter().copied().collect(),
                    };
                    if at == 0 {
                        let few = Task { bytes: 64.min(task.bytes), ..task };
                        few.drafted(&large, replayed(few.bytes), Exact, Length::Fixed(MOST))?;
                    }
                    // Timed again, warm.
                    let (texts_again, [took, _]) = task.alone(&large, &mut rows)?;
                    let Written { texts: found, stats, .. } =
                        task.drafted(&large, replayed(task.bytes), Exact, Length::Fixed(MOST))?;
                    time += took;
                    sum += stats;
                    plain.extend(texts_again);
                    drafted.extend(found);
                }
                sum.draft = drafting.draft.mul_f64(sum.rounds as f64 / drafting.rounds.max(1) as f64);
                let (alone, with) = (rate(sum.written, time), rate(sum.written, sum.time()));
                println!(
                    "| {} | {choice} | {} | {alone:.0} | {} | {:.2} | {with:.0} | {:.2} | {} | {} |",
                    name(path),
                    plain.len(),
                    hand.name,
                    sum.bytes_a_round(),
                    with / alone,
                    parts(&sum),
                    verdict.hear(compared(&plain, &drafted))
                );
            }
        }
    }
    Ok(verdict)
}
