//! Distillation: models that are there already say what may come next, and the one that is trained learns that beside
//! what came.
//!
//! Gradient of the loss in the logits, with a share `s` for the teachers and the mean `t` of their distributions:
//!
//! ```text
//! (1 - s) CE(next) + s CE(t)        gradient softmax - (1 - s) 1[next] - s t
//! ```
//!
//! A run says the first term alone, for `s = 0`: bits per byte of the text.

use rayon::prelude::*;

use super::Carry;
use super::row::Window;
use super::window::{Prepared, Stream};
use crate::model::ModelError;
use crate::{Checkpoint, Model};

/// Whom a run learns from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Teaching {
    /// Any byte models; their distributions are averaged.
    pub teachers: Vec<Checkpoint>,
    /// Of the loss that is theirs, 0 to 1.
    pub share: f32,
}

/// A teacher on a CPU, with what its rows carry.
#[derive(Debug)]
struct Teacher {
    model: Model,
    carries: Vec<Carry>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Teachers {
    all: Vec<Teacher>,
    pub(super) share: f32,
}

impl Teachers {
    /// # Errors
    /// [`ModelError`] names the dimension or tensor that is wrong.
    pub(super) fn new(teaching: Teaching) -> Result<Self, ModelError> {
        let all = teaching
            .teachers
            .into_iter()
            .map(|weights| Ok(Teacher { model: Model::new(weights)?, carries: Vec::new() }));
        Ok(Self { all: all.collect::<Result<_, ModelError>>()?, share: teaching.share })
    }

    /// Lengths of what a row carries for each.
    pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.all.iter().map(|teacher| teacher.model.dims().state_len())
    }

    /// What the rows carry for each, a teacher at a time.
    pub(super) fn carries(&self) -> impl Iterator<Item = &Vec<Carry>> {
        self.all.iter().map(|teacher| &teacher.carries)
    }

    /// Sets it.
    pub(super) fn carry(&mut self, carries: impl Iterator<Item = Vec<Carry>>) {
        self.all.iter_mut().zip(carries).for_each(|(teacher, carries)| teacher.carries = carries);
    }

    /// The mean of what they expect after every symbol, `[window, vocabulary]` for each row; empty without teachers.
    ///
    /// # Cost
    /// The forward pass of each; 1 KiB for every byte of the windows.
    pub(super) fn read(&mut self, windows: &[Window<'_>]) -> Vec<Vec<f32>> {
        let mut sums = vec![Vec::new(); windows.len()];
        let part = 1.0 / self.all.len().max(1) as f32;
        for Teacher { model, carries } in &mut self.all {
            carries.resize(windows.len(), Carry::zero(model.dims()));
            let prepared = Prepared::new(model);
            let rows = windows.par_iter().zip(carries).zip(&mut sums);
            rows.for_each(|((window, carry), sum)| {
                let mut stream = Stream { symbols: window.symbols, starts: window.starts, carry: carry.as_mut_slice() };
                let vocabulary = model.checkpoint().vocabulary();
                sum.resize(window.symbols.len() * vocabulary, 0.0);
                prepared.forward(&mut stream, &mut |range, logits| {
                    super::window::softmax(logits, vocabulary);
                    let sum = &mut sum[range.start * vocabulary..range.end * vocabulary];
                    sum.iter_mut().zip(logits).for_each(|(sum, p)| *sum += part * *p);
                    0.0
                });
            });
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use mambabyte_core::Norm;

    use super::*;
    use crate::train::machine::{Change, Cpu, Machine, Parts};
    use crate::train::optimizer::Matrices;
    use crate::train::rounding::Rounding;
    use crate::train::tests::model;

    /// The gradient of a step over two rows, and its loss.
    fn step(teachers: Vec<Checkpoint>, share: f32) -> (Checkpoint, f64) {
        let weights = model(Norm::Rms, true).checkpoint().clone();
        let parts = Parts::new(weights, Matrices::Adamw, 0.1, 10);
        let mut cpu = Cpu::new(parts, Rounding::None, Teaching { teachers, share }).unwrap();
        let text: Vec<u16> = (0..300u32).map(|i| (97 + i * i % 13) as u16).collect();
        let windows = [&text[..150], &text[140..]].map(|text| Window {
            symbols: &text[..text.len() - 1],
            next: &text[1..],
            starts: &[3, 70],
        });
        let outcome = cpu.step(&windows, Change { rate: 0.0, clip: 1e30 }).unwrap();
        (cpu.last_gradient().unwrap(), outcome.loss.nats)
    }

    #[test]
    fn a_model_has_nothing_to_learn_from_itself() {
        let own = model(Norm::Rms, true).checkpoint().clone();
        let size = |mut grad: Checkpoint| {
            let squares = grad.tensors_mut().into_iter().flat_map(|(.., g)| g.iter()).map(|g| f64::from(g * g));
            squares.sum::<f64>().sqrt()
        };
        let (plain, nats) = step(Vec::new(), 0.0);
        let (itself, same) = step(vec![own.clone(), own.clone()], 1.0);
        let (half, _) = step(vec![own], 0.5);
        assert_eq!(nats, same, "the loss that is said is that of the text");
        let [plain, itself, half] = [plain, itself, half].map(size);
        assert!(itself < 1e-5 * plain, "{itself} of {plain}");
        assert!((half / plain - 0.5).abs() < 1e-4, "{half} of {plain}");
    }

    #[test]
    fn teachers_are_averaged() {
        let [mut a, mut b] = [model(Norm::Rms, true).checkpoint().clone(), model(Norm::Rms, true).checkpoint().clone()];
        a.embedding.iter_mut().for_each(|w| *w *= 1.5);
        b.layers[0].out_proj.iter_mut().for_each(|w| *w *= -2.0);
        let grads = [step(vec![a.clone()], 1.0).0, step(vec![b.clone()], 1.0).0, step(vec![a, b], 1.0).0];
        let [first, second, both] = grads.map(|grad| grad.layers[1].in_proj.clone());
        let apart = |other: &dyn Fn(usize) -> f32| {
            both.iter().enumerate().map(|(i, g)| (g - other(i)).abs()).fold(0f32, f32::max)
        };
        let size = both.iter().fold(0f32, |most, g| most.max(g.abs()));
        assert!(apart(&|i| 0.5 * (first[i] + second[i])) < 1e-4 * size);
        assert!(apart(&|i| first[i]) > 1e-2 * size);
    }
}
