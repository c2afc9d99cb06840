//! The loop of a run: steps, looks at the hold-out, lines of the log, states to go on from.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mambabyte_host::train::data::Corpus;
use mambabyte_host::train::holdout::Holdout;
use mambabyte_host::train::trainer::{Settings, Trainer};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::folder::{Folder, STATE};
use super::log::Log;
use super::recipe::Recipe;
use super::sample::sample;
use crate::error::CliError;
use crate::output::{clean, thousands};
use crate::progress::Progress;

/// Looks at the hold-out in a run, unless it is short.
const LOOKS: u64 = 24;
/// A run ends when so many looks in a row were no better than the best. Half of a run: while the rate is high the hold-out
/// stands still for long, and falls again with the rate.
const PATIENCE: u64 = 12;
/// Lines of the log for steps.
const LINES: u64 = 480;

/// What is kept with a state of the trainer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Note {
    /// Which run it is.
    pub recipe: Recipe,
    /// Its log so far.
    pub log: String,
    /// Bits per byte, norm and steps since the log's last line.
    since: (f64, f64, u64),
    /// The run ended before its last step.
    ended: bool,
}

/// A run in progress.
pub struct Run<'a> {
    /// The trainer.
    pub trainer: Trainer,
    /// The log.
    pub log: Log,
    recipe: &'a Recipe,
    since: (f64, f64, u64),
    ended: bool,
}

/// How a call of [`Run::go`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All steps are made, or more would not help.
    Finished,
    /// Someone stopped it; it is saved.
    Stopped,
}

/// What a run works with.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// What is read.
    pub corpus: &'a Corpus,
    /// What it is judged by.
    pub holdout: &'a Holdout,
    /// Where it is written.
    pub folder: &'a Folder,
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
    /// Time between two states.
    pub save_every: Duration,
    /// Hears how it goes.
    pub told: &'a (dyn Fn(&Told<'_>) + Sync),
}

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// A step was made.
    Step {
        /// Which one, from 1.
        step: u64,
        /// Of how many.
        steps: u64,
        /// Bytes that were read so far.
        bytes: u64,
        /// What its bytes cost.
        bits_per_byte: f64,
    },
    /// The hold-out was looked at.
    Look {
        /// After which step.
        step: u64,
        /// What its bytes cost.
        bits_per_byte: f64,
        /// Whether no look was better.
        best: bool,
        /// What the model writes.
        sample: &'a str,
    },
}

/// A look takes about as long as three steps: so many are between two of them at least.
const BETWEEN: u64 = 8;

/// Steps between two looks.
pub fn between_looks(settings: &Settings) -> u64 {
    settings.schedule.steps.div_ceil(LOOKS).max(BETWEEN)
}

/// Looks of a run of `steps`, the last one at its end.
pub fn looks(steps: u64) -> u64 {
    steps.div_ceil(BETWEEN).min(LOOKS)
}

impl<'a> Run<'a> {
    /// Before the first step.
    pub const fn new(trainer: Trainer, log: Log, recipe: &'a Recipe) -> Self {
        Self { trainer, log, recipe, since: (0.0, 0.0, 0), ended: false }
    }

    /// As `note` says, with the trainer that was saved with it.
    pub fn of(trainer: Trainer, note: &Note, recipe: &'a Recipe) -> Self {
        let log = Log::of(note.log.clone());
        Self { trainer, log, recipe, since: note.since, ended: note.ended }
    }

    /// Writes the state and the log.
    ///
    /// # Errors
    /// As [`Folder::write`].
    pub fn save(&self, folder: &Folder) -> Result<(), CliError> {
        let (recipe, log) = (self.recipe.clone(), self.log.text().to_owned());
        let note = Note { recipe, log, since: self.since, ended: self.ended };
        let note = serde_json::to_vec(&note).map_err(|e| CliError::Usage(format!("the state: {e}")))?;
        folder.write(STATE, &self.trainer.save(&note)?)?;
        folder.write("log.jsonl", self.log.text().as_bytes())
    }

    /// Makes the steps that are left.
    ///
    /// # Errors
    /// [`CliError::Train`] if the run cannot go on; what was saved stays.
    pub fn go(&mut self, with: &Surroundings<'_>) -> Result<End, CliError> {
        let settings = *self.trainer.settings();
        let steps = settings.schedule.steps;
        let (between, line) = (between_looks(&settings), steps.div_ceil(LINES).max(1));
        let each = (settings.batch * settings.window) as u64;
        let bar = Progress::training(steps * each, self.trainer.steps() * each);
        let mut saved = Instant::now();
        while !self.trainer.is_done() && !self.ended {
            if with.stop.load(Ordering::SeqCst) {
                self.save(with.folder)?;
                return Ok(End::Stopped);
            }
            match self.trainer.step(with.corpus)? {
                Ok(step) => {
                    self.since.0 += step.bits_per_byte;
                    self.since.1 += step.norm;
                    self.since.2 += 1;
                    bar.add(step.symbols);
                    let at = self.trainer.steps();
                    let (bytes, bits_per_byte) = (self.trainer.bytes(), step.bits_per_byte);
                    (with.told)(&Told::Step { step: at, steps, bytes, bits_per_byte });
                    if at.is_multiple_of(line) || at == steps {
                        let n = self.since.2.max(1) as f64;
                        let (bits, norm) = (self.since.0 / n, self.since.1 / n);
                        self.log.push(&json!({
                            "step": at, "bytes": self.trainer.bytes(), "bits_per_byte": bits, "norm": norm,
                            "rate": step.rate,
                        }));
                        bar.says(format!("{bits:.3} bits/byte"));
                        self.since = (0.0, 0.0, 0);
                    }
                    if at.is_multiple_of(between) || at == steps {
                        self.look(with, &bar)?;
                    }
                }
                Err(fault) => {
                    self.since = (0.0, 0.0, 0);
                    let text = format!(
                        "{}; back to step {}, with the rate halved {} times",
                        fault.place, fault.back_to, fault.halved
                    );
                    bar.line(&format!("step {}: {text}", thousands(fault.step)));
                    self.log.push(&json!({ "step": fault.step, "fault": text, "back_to": fault.back_to }));
                }
            }
            if saved.elapsed() >= with.save_every {
                self.save(with.folder)?;
                saved = Instant::now();
            }
        }
        drop(bar);
        self.save(with.folder)?;
        Ok(End::Finished)
    }

    /// A look at the hold-out, and a sample.
    fn look(&mut self, with: &Surroundings<'_>, bar: &Progress) -> Result<(), CliError> {
        let (bits, worse) = self.trainer.look(with.holdout)?;
        let model = self.trainer.averaged()?;
        let step = self.trainer.steps();
        let written = sample(&model, with.corpus.subwords(), step);
        self.log.push(&json!({ "step": step, "holdout": bits, "best": worse == 0, "sample": written }));
        (with.told)(&Told::Look { step, bits_per_byte: bits, best: worse == 0, sample: &written });
        let better = if worse == 0 { ", the best so far" } else { "" };
        bar.line(&format!("step {}: hold-out {bits:.4} bits per byte{better}; it writes", thousands(step)));
        let shown: String = written.chars().take(76).collect();
        bar.line(&format!("  {}", clean(&shown)));
        if worse >= PATIENCE {
            self.ended = true;
            let text = format!("the hold-out was no better {worse} times: the run ends early");
            bar.line(&format!("step {}: {text}", thousands(step)));
            self.log.push(&json!({ "step": step, "end": text }));
        }
        Ok(())
    }
}
