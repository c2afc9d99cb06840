//! A run: windows are drawn, the gradient is taken, clipped and applied. All that decides how it goes on can be saved
//! and loaded, to the bit.

use mambabyte_core::{Dims, Rng};
use serde::{Deserialize, Serialize};

use super::augment::Augment;
use super::data::{Corpus, Stream};
use super::holdout::Holdout;
pub use super::machine::TrainError;
use super::machine::{Change, Cpu, Machine, Parts};
use super::optimizer::Matrices;
use super::rounding::Rounding;
use super::schedule::Schedule;
use super::teachers::Teaching;
use super::{Carry, Window};
use crate::model::ModelError;
use crate::{Checkpoint, Model};

/// What does not change during a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Symbols of a row in one step: how far the gradient goes back.
    pub window: usize,
    /// Rows.
    pub batch: usize,
    /// Most bytes of a passage: how far the state goes back.
    pub passage: usize,
    /// The rate over the steps.
    pub schedule: Schedule,
    /// Its peak.
    pub rate: f64,
    /// Of matrices, per unit of rate.
    pub decay: f64,
    /// Largest norm of the gradient of the mean loss in nats.
    pub clip: f64,
    /// Who updates the projections.
    pub matrices: Matrices,
    /// What is changed in the texts.
    pub augment: Augment,
    /// Of the weights that steps are made with.
    #[serde(default)]
    pub rounding: Rounding,
    /// Of the loss, for teachers if there are any.
    #[serde(default)]
    pub teachers_share: f64,
    /// Of the passages drawn.
    pub seed: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Mean over the step's targets, of the weights before it.
    pub bits_per_byte: f64,
    /// Of the gradient, before clipping.
    pub norm: f64,
    /// That the step was made with.
    pub rate: f64,
    /// Targets.
    pub symbols: usize,
    /// Bytes that these are.
    pub bytes: usize,
}

/// A loss or gradient that is no number: the run went back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The step, counted from 0, that could not be made.
    pub step: u64,
    /// The layer, and what of it.
    pub place: String,
    /// The step it goes on from.
    pub back_to: u64,
    /// How often the rate was halved in the run.
    pub halved: u32,
}

/// A run's parts when they were good: a finite gradient was taken of the weights.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Good {
    pub(super) step: u64,
    pub(super) parts: Parts,
}

/// The best average so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Steps before it.
    pub step: u64,
    /// Bits per byte of the hold-out.
    pub bits: f64,
    /// The weights.
    pub weights: Checkpoint,
}

/// A run.
#[derive(Debug)]
pub struct Trainer {
    pub(super) settings: Settings,
    pub(super) dims: Dims,
    pub(super) machine: Box<dyn Machine>,
    pub(super) good_every: u64,
    pub(super) streams: Vec<Stream>,
    pub(super) rng: Rng,
    /// Both for the next step, drawn while the last one was computed.
    pub(super) ahead: Option<(Vec<Stream>, Rng)>,
    pub(super) step: u64,
    pub(super) bytes: u64,
    pub(super) halved: u32,
    pub(super) good: Option<Good>,
    pub(super) best: Option<Best>,
    /// Judgements since the best.
    pub(super) worse: u64,
}

/// Steps between two states to go back to.
const GOOD: u64 = 50;
/// Those of a model of more than [`LARGE`] parameters, of which a copy takes long.
const GOOD_LARGE: u64 = 500;
/// Parameters.
const LARGE: usize = 1 << 24;
/// The rate is halved at most so often.
pub(super) const HALVED: u32 = 8;

impl Trainer {
    /// Before the first step, on this processor.
    ///
    /// # Errors
    /// [`ModelError`] names the dimension or tensor that is wrong.
    pub fn new(weights: Checkpoint, settings: Settings) -> Result<Self, ModelError> {
        let parts = Self::begin(weights, &settings);
        let like = parts.weights.clone();
        let mut cpu = Cpu::new(parts, settings.rounding, Teaching::default())?;
        cpu.set_carries(&vec![Carry::zero(&like.dims); settings.batch]);
        Ok(Self::with(Box::new(cpu), &like, settings))
    }

    /// What a machine begins a run with.
    pub fn begin(weights: Checkpoint, settings: &Settings) -> Parts {
        Parts::new(weights, settings.matrices, settings.decay, settings.schedule.steps)
    }

    /// Before the first step, on a machine that has the run's first parts, with weights of `like`'s shape.
    ///
    /// # Errors
    /// Those of the processor.
    pub fn on(mut machine: Box<dyn Machine>, like: &Checkpoint, settings: Settings) -> Result<Self, TrainError> {
        machine.carry(vec![Carry::zeros(machine.carry_len()); settings.batch])?;
        Ok(Self::with(machine, like, settings))
    }

    fn with(machine: Box<dyn Machine>, like: &Checkpoint, settings: Settings) -> Self {
        let (dims, rng) = (like.dims, Rng::new(settings.seed));
        let streams = vec![Stream::default(); settings.batch];
        let good_every = if like.parameters() > LARGE { GOOD_LARGE } else { GOOD };
        let (step, bytes, halved, worse) = (0, 0, 0, 0);
        let (good, best) = (None, None);
        let ahead = None;
        Self { settings, dims, machine, good_every, streams, rng, ahead, step, bytes, halved, good, best, worse }
    }

    /// What it was made with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Steps made.
    pub const fn steps(&self) -> u64 {
        self.step
    }

    /// Bytes of the targets read.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the schedule is at its end.
    pub const fn is_done(&self) -> bool {
        self.step >= self.settings.schedule.steps
    }

    /// The average of the weights, rounded as the run's are, as a model.
    ///
    /// # Errors
    /// Those of the processor.
    pub fn averaged(&self) -> Result<Model, TrainError> {
        Ok(Model::of_symbols(self.rounded_average()?)?)
    }

    fn rounded_average(&self) -> Result<Checkpoint, TrainError> {
        let mut weights = self.machine.parts()?.average.weights;
        self.settings.rounding.apply(&mut weights);
        Ok(weights)
    }

    /// The best average so far.
    pub const fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// Looks at the hold-out with the average: its bits per byte, and how many looks ago the best one was.
    ///
    /// # Errors
    /// Those of the processor.
    pub fn look(&mut self, holdout: &Holdout) -> Result<(f64, u64), TrainError> {
        let bits = holdout.bits_by(&self.dims, |rows| self.machine.losses(rows))?;
        Ok((bits, self.judge(bits)?))
    }

    /// Takes note that the average has `bits` per byte on the hold-out; how many judgements ago the best one was.
    fn judge(&mut self, bits: f64) -> Result<u64, TrainError> {
        if bits.is_finite() && self.best.as_ref().is_none_or(|best| bits < best.bits) {
            self.best = Some(Best { step: self.step, bits, weights: self.rounded_average()? });
            self.worse = 0;
        } else {
            self.worse += 1;
        }
        Ok(self.worse)
    }

    /// One step: a window of every row. A loss or gradient that is no number takes the run back to the last good
    /// weights with half the rate; the text goes on from where it is. The windows of the step after are drawn meanwhile:
    /// `corpus` is the same in every call.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if that has happened too often.
    /// # Cost
    /// `batch * window` bytes forward and back.
    pub fn step(&mut self, corpus: &Corpus) -> Result<Result<Step, Fault>, TrainError> {
        let settings = self.settings;
        let draw = |streams: &[Stream], rng: &Rng| {
            let (mut streams, mut rng) = (streams.to_vec(), *rng);
            for stream in &mut streams {
                stream.fill(corpus, &settings.augment, &mut rng, settings.window, settings.passage);
            }
            (streams, rng)
        };
        (self.streams, self.rng) = self.ahead.take().unwrap_or_else(|| draw(&self.streams, &self.rng));
        let due = self.step.is_multiple_of(self.good_every);
        let copy = due.then(|| self.machine.parts()).transpose()?;
        let rate = settings.rate * settings.schedule.share(self.step) * 0.5f64.powi(self.halved as i32);
        let windows: Vec<Window<'_>> = self.streams.iter().map(Stream::window).collect();
        let bytes: usize = windows.iter().map(|window| corpus.bytes_of(window.next)).sum();
        let (machine, streams, rng) = (&mut self.machine, &self.streams, &self.rng);
        let (outcome, ahead) = std::thread::scope(|scope| {
            let ahead = scope.spawn(|| draw(streams, rng));
            let outcome = machine.step(&windows, Change { rate, clip: settings.clip });
            (outcome, ahead.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let outcome = outcome?;
        self.ahead = Some(ahead);
        if !outcome.is_finite() {
            return self.go_back().map(Err);
        }
        if let Some(parts) = copy {
            self.good = Some(Good { step: self.step, parts });
        }
        let loss = outcome.loss;
        self.step += 1;
        self.bytes += bytes as u64;
        let bits_per_byte = loss.nats / std::f64::consts::LN_2 / bytes.max(1) as f64;
        Ok(Ok(Step { bits_per_byte, norm: outcome.norm, rate, symbols: loss.symbols, bytes }))
    }

    fn go_back(&mut self) -> Result<Fault, TrainError> {
        let (step, place) = (self.step, self.place()?);
        let Some(good) = self.good.as_ref().filter(|_| self.halved < HALVED) else {
            return Err(TrainError::Diverged { step, place, halved: self.halved });
        };
        self.machine.set(good.parts.clone())?;
        self.step = good.step;
        self.halved += 1;
        self.ahead = None;
        self.streams = vec![Stream::default(); self.settings.batch];
        self.machine.carry(vec![Carry::zeros(self.machine.carry_len()); self.settings.batch])?;
        Ok(Fault { step, place, back_to: self.step, halved: self.halved })
    }

    /// Where the first number that is none comes from.
    fn place(&self) -> Result<String, TrainError> {
        let model = Model::of_symbols(self.machine.parts()?.weights)?;
        for stream in &self.streams {
            let mut session = model.symbols()?;
            for &symbol in stream.symbols() {
                if let Err(fault) = session.step(symbol) {
                    return Ok(fault.to_string());
                }
            }
        }
        // The forward pass is finite: of the gradient, the first tensor on the way back.
        let (top, mut grad) = (self.dims.n_layer, self.machine.last_gradient()?);
        let bad = grad.tensors_mut().into_iter().rfind(|(.., values)| values.iter().any(|v| !v.is_finite()));
        Ok(match bad {
            Some((layer, tensor, _)) if layer < top => format!("layer {layer}: the gradient of {tensor} is not finite"),
            Some((_, tensor, _)) => format!("the gradient of {tensor} is not finite"),
            None => "the loss or the state is not finite".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
