//! Where a run computes: what a trainer asks of a processor, and the CPU.

use mambabyte_core::VOCAB;

use super::average::Average;
use super::optimizer::{Matrices, Optimizer, clip};
use super::rounding::Rounding;
use super::row::gradient_leaning;
use super::teachers::{Teachers, Teaching};
use super::{Carry, Loss, Row, Window, gradient, losses, zeros_like};
use crate::model::ModelError;
use crate::{Checkpoint, Model};

/// A run that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Halving the rate did not help.
    #[error("step {step}: {place}; the rate was halved {halved} times, and it comes again")]
    Diverged {
        /// The step.
        step: u64,
        /// The layer, and what of it.
        place: String,
        /// How often.
        halved: u32,
    },
    /// Weights that are no model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The processor failed; what it says.
    #[error("{0}")]
    Machine(String),
}

/// All that a step changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// The weights.
    pub weights: Checkpoint,
    /// Their moments.
    pub optimizer: Optimizer,
    /// Their average.
    pub average: Average,
}

impl Parts {
    /// Before the first of `steps` steps; `decay` is that of matrices.
    pub fn new(weights: Checkpoint, matrices: Matrices, decay: f64, steps: u64) -> Self {
        let optimizer = Optimizer::new(&weights, matrices, decay);
        let average = Average::new(&weights, steps);
        Self { weights, optimizer, average }
    }
}

/// How a step changes the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Of this step.
    pub rate: f64,
    /// Largest norm of the gradient of the mean loss in nats.
    pub clip: f64,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Of the weights before it.
    pub loss: Loss,
    /// Of the gradient of the mean loss, before clipping.
    pub norm: f64,
}

impl Outcome {
    /// Whether weights were changed: loss and norm are numbers.
    pub fn is_finite(&self) -> bool {
        self.loss.nats.is_finite() && self.norm.is_finite()
    }
}

/// A processor with the parts of one run, and with what its rows carry from step to step.
pub trait Machine: std::fmt::Debug + Send {
    /// The gradient of the mean loss of `windows`, one of each row, clipped and applied; the average takes the new weights
    /// in. If loss or norm is no number, nothing is changed but the rows' states.
    ///
    /// # Errors
    /// [`TrainError`] if the processor fails.
    fn step(&mut self, windows: &[Window<'_>], change: Change) -> Result<Outcome, TrainError>;

    /// Floats that a row carries: the states of the model, then those of teachers.
    fn carry_len(&self) -> usize;

    /// What every row carries after the last step, [`Machine::carry_len`] floats each.
    ///
    /// # Errors
    /// As [`Machine::step`].
    fn carries(&self) -> Result<Vec<Carry>, TrainError>;

    /// What every row carries into the next step; zero states, if never called.
    ///
    /// # Errors
    /// As [`Machine::step`].
    fn carry(&mut self, carries: Vec<Carry>) -> Result<(), TrainError>;

    /// The loss of every row with the average of the weights, rounded as the run's are.
    ///
    /// # Errors
    /// As [`Machine::step`].
    fn losses(&mut self, rows: &mut [Row<'_>]) -> Result<Vec<Loss>, TrainError>;

    /// A copy of the parts.
    ///
    /// # Errors
    /// As [`Machine::step`].
    fn parts(&self) -> Result<Parts, TrainError>;

    /// Takes other parts, of the same shape.
    ///
    /// # Errors
    /// As [`Machine::step`].
    fn set(&mut self, parts: Parts) -> Result<(), TrainError>;

    /// The gradient that the last step found, of the mean or the summed loss: to say where it is no number.
    ///
    /// # Errors
    /// As [`Machine::step`].
    fn last_gradient(&self) -> Result<Checkpoint, TrainError>;
}

/// What rows carry for several models, joined row by row.
pub(crate) fn join<'a>(parts: impl Iterator<Item = &'a Vec<Carry>>) -> Vec<Carry> {
    let parts: Vec<&Vec<Carry>> = parts.collect();
    let rows = parts.first().map_or(0, |rows| rows.len());
    let row = |row: usize| {
        let values: Vec<&[f32]> = parts.iter().filter_map(|rows| rows.get(row)).map(Carry::as_slice).collect();
        Carry::of(values.concat())
    };
    (0..rows).map(row).collect()
}

/// The reverse of [`join`], for models whose states have `lengths`.
pub(crate) fn split(carries: &[Carry], lengths: impl Iterator<Item = usize>) -> Vec<Vec<Carry>> {
    let mut at = 0;
    let mut parts = Vec::new();
    for length in lengths {
        parts.push(carries.iter().map(|carry| Carry::of(carry.as_slice()[at..at + length].to_vec())).collect());
        at += length;
    }
    parts
}

/// Rayon's current pool. Results do not depend on its threads.
#[derive(Debug)]
pub struct Cpu {
    model: Model,
    optimizer: Optimizer,
    average: Average,
    grad: Checkpoint,
    carries: Vec<Carry>,
    rounding: Rounding,
    teachers: Teachers,
}

impl Cpu {
    /// # Errors
    /// [`ModelError`] names the dimension or tensor that is wrong.
    /// # Panics
    /// If a model of other symbols than bytes has teachers.
    pub fn new(parts: Parts, rounding: Rounding, teaching: Teaching) -> Result<Self, ModelError> {
        assert!(parts.weights.vocabulary() == VOCAB || teaching.teachers.is_empty(), "teachers are models of bytes");
        let grad = zeros_like(&parts.weights);
        let Parts { weights, optimizer, average } = parts;
        let (model, teachers) = (Model::of_symbols(weights)?, Teachers::new(teaching)?);
        Ok(Self { model, optimizer, average, grad, carries: Vec::new(), rounding, teachers })
    }

    /// The same, as a run has it.
    ///
    /// # Errors
    /// As [`Cpu::new`].
    pub fn boxed(parts: Parts, rounding: Rounding, teaching: Teaching) -> Result<Box<dyn Machine>, TrainError> {
        Ok(Box::new(Self::new(parts, rounding, teaching)?))
    }

    /// What rows carry, divided.
    pub(super) fn set_carries(&mut self, carries: &[Carry]) {
        let lengths = std::iter::once(self.model.dims().state_len()).chain(self.teachers.lengths());
        let mut parts = split(carries, lengths).into_iter();
        self.carries = parts.next().unwrap_or_default();
        self.teachers.carry(parts);
    }

    /// `weights` as they are computed with.
    fn rounded(&self, weights: &Checkpoint) -> Result<Model, ModelError> {
        let mut weights = weights.clone();
        self.rounding.apply(&mut weights);
        Model::of_symbols(weights)
    }
}

impl Machine for Cpu {
    fn step(&mut self, windows: &[Window<'_>], change: Change) -> Result<Outcome, TrainError> {
        let rounded = match self.rounding {
            Rounding::None => None,
            _ => Some(self.rounded(self.model.checkpoint())?),
        };
        let Self { model, optimizer, average, grad, carries, teachers, .. } = self;
        carries.resize(windows.len(), Carry::zero(model.dims()));
        let mut rows: Vec<Row<'_>> = windows.iter().zip(carries).map(|(window, carry)| window.row(carry)).collect();
        grad.tensors_mut().into_iter().for_each(|(.., values)| values.fill(0.0));
        let computing = rounded.as_ref().unwrap_or(model);
        let loss = if teachers.lengths().next().is_some() {
            let targets = teachers.read(windows);
            gradient_leaning(computing, &mut rows, (&targets, teachers.share), grad)
        } else {
            gradient(computing, &mut rows, grad)
        };
        let mean = (1.0 / loss.symbols.max(1) as f64) as f32;
        grad.tensors_mut().into_iter().for_each(|(.., values)| values.iter_mut().for_each(|g| *g *= mean));
        let outcome = Outcome { loss, norm: clip(grad, change.clip) };
        if outcome.is_finite() {
            model.update(|weights| {
                optimizer.step(weights, grad, change.rate);
                average.add(weights);
            })?;
        }
        Ok(outcome)
    }

    fn carry_len(&self) -> usize {
        self.model.dims().state_len() + self.teachers.lengths().sum::<usize>()
    }

    fn carries(&self) -> Result<Vec<Carry>, TrainError> {
        Ok(join(std::iter::once(&self.carries).chain(self.teachers.carries())))
    }

    fn carry(&mut self, carries: Vec<Carry>) -> Result<(), TrainError> {
        self.set_carries(&carries);
        Ok(())
    }

    fn losses(&mut self, rows: &mut [Row<'_>]) -> Result<Vec<Loss>, TrainError> {
        Ok(losses(&self.rounded(self.average.weights())?, rows))
    }

    fn parts(&self) -> Result<Parts, TrainError> {
        let weights = self.model.checkpoint().clone();
        Ok(Parts { weights, optimizer: self.optimizer.clone(), average: self.average.clone() })
    }

    fn set(&mut self, parts: Parts) -> Result<(), TrainError> {
        let Parts { weights, optimizer, average } = parts;
        self.model = Model::of_symbols(weights)?;
        self.optimizer = optimizer;
        self.average = average;
        Ok(())
    }

    fn last_gradient(&self) -> Result<Checkpoint, TrainError> {
        Ok(self.grad.clone())
    }
}
