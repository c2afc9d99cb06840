//! How long a run takes, before it begins: a few steps are made and thrown away.

use std::time::{Duration, Instant};

use mambabyte_host::Checkpoint;
use mambabyte_host::train::data::Corpus;
use mambabyte_host::train::holdout::Holdout;
use mambabyte_host::train::trainer::{Settings, Trainer};

use super::place::Place;
use super::run::looks;
use crate::error::CliError;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Of a step.
    pub step: Duration,
    /// Of a look at the hold-out.
    pub look: Duration,
    /// Most memory that the process has had, where the system says it.
    pub memory: Option<u64>,
}

/// Share of the time that is for steps and looks; the rest is for converting and what the machine does beside.
const FOR_STEPS: f64 = 0.9;

impl Pace {
    /// Makes steps until `budget` is over, at least two after the first, which also prepares memory.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn measure(
        weights: &Checkpoint,
        settings: Settings,
        place: &Place,
        corpus: &Corpus,
        holdout: &Holdout,
        budget: Duration,
    ) -> Result<Self, CliError> {
        let mut trainer = begin(weights, settings, place)?;
        drop(trainer.step(corpus)?);
        let start = Instant::now();
        let mut steps = 0;
        while steps < 2 || start.elapsed() < budget {
            drop(trainer.step(corpus)?);
            steps += 1;
        }
        let step = start.elapsed() / steps;
        let start = Instant::now();
        let _ = trainer.look(holdout)?;
        Ok(Self { step, look: start.elapsed(), memory: most_memory() })
    }

    /// Steps for `minutes`, with their looks at the hold-out; at least one.
    pub fn steps(&self, minutes: f64) -> u64 {
        let budget = minutes * 60.0 * FOR_STEPS;
        // The most steps whose time is in the budget: time grows with steps.
        let (mut low, mut high) = (1, (budget / self.step.as_secs_f64().max(1e-9)) as u64 + 1);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.time(middle).as_secs_f64() <= budget {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }

    /// Of `steps` steps, with their looks.
    pub fn time(&self, steps: u64) -> Duration {
        self.step.mul_f64(steps as f64) + self.look.mul_f64(looks(steps) as f64)
    }
}

/// A run before its first step.
///
/// # Errors
/// As [`Place::machine`].
pub fn begin(weights: &Checkpoint, settings: Settings, place: &Place) -> Result<Trainer, CliError> {
    let machine = place.machine(Trainer::begin(weights.clone(), &settings), &settings)?;
    Ok(Trainer::on(machine, weights, settings)?)
}

/// `VmHWM` of this process.
#[cfg(target_os = "linux")]
fn most_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(not(target_os = "linux"))]
fn most_memory() -> Option<u64> {
    None
}

/// A time for people.
pub fn time(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}
