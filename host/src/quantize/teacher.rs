//! What the f32 model predicts, for the rounded one to learn: computed once for each window that is drawn.

use mambabyte_core::VOCAB;

use crate::train::{Carry, Stream, exp, gradient_towards, log_softmax, logits, vectors};
use crate::{Checkpoint, Model};

/// Steps of a log-probability in memory for one nat: an error of at most 0.00025, and nothing below `e^-32`.
const STEPS: f32 = 2048.0;

/// The f32 model's predictions on some windows.
pub(super) struct Teacher<'a> {
    model: &'a Model,
    windows: Vec<&'a [u8]>,
    symbols: Vec<Vec<u16>>,
    /// `[_, 256]` of each window that was drawn: `-ln p` in steps.
    known: Vec<Option<Vec<u16>>>,
    zero: Carry,
}

impl<'a> Teacher<'a> {
    /// Nothing is computed yet.
    pub(super) fn new(model: &'a Model, windows: Vec<&'a [u8]>) -> Self {
        let symbols = windows.iter().map(|w| w.iter().map(|&b| b.into()).collect()).collect();
        let known = vec![None; windows.len()];
        Self { model, windows, symbols, known, zero: Carry::zero(model.dims()) }
    }

    /// `ln p` after each byte of each window, `[bytes, 256]`, unrounded.
    pub(super) fn exact(model: &Model, windows: &[&[u8]]) -> Vec<Vec<f32>> {
        logits(model, windows, |_, mut all| {
            log_softmax(&mut all);
            all
        })
    }

    /// Predicts on those of `batch` that are new.
    fn learn(&mut self, batch: &[usize]) {
        let mut new: Vec<usize> = batch.iter().copied().filter(|&w| self.known[w].is_none()).collect();
        new.sort_unstable();
        new.dedup();
        let texts: Vec<&[u8]> = new.iter().map(|&w| self.windows[w]).collect();
        let found = logits(self.model, &texts, |_, mut all| {
            log_softmax(&mut all);
            all.iter().map(|log| (-log * STEPS).round() as u16).collect()
        });
        for (window, found) in new.into_iter().zip(found) {
            self.known[window] = Some(found);
        }
    }

    /// Adds the gradient of the divergence over the windows of `batch`, summed over their bytes, to `grad`: `q - p` at
    /// the logits.
    pub(super) fn gradient(&mut self, student: &Model, batch: &[usize], grad: &mut Checkpoint) {
        self.learn(batch);
        let mut carries = vec![self.zero.clone(); batch.len()];
        let mut streams: Vec<(Stream<'_>, &[u16])> = batch
            .iter()
            .zip(&mut carries)
            .map(|(&window, carry)| {
                let stream = Stream { symbols: &self.symbols[window], starts: &[], carry: carry.as_mut_slice() };
                (stream, self.known[window].as_deref().unwrap_or_default())
            })
            .collect();
        gradient_towards(student, &mut streams, grad, &|known, range, logits| {
            log_softmax(logits);
            let known = &known[range.start * VOCAB..range.end * VOCAB];
            vectors(
                #[inline(always)]
                || {
                    for (q, &p) in logits.iter_mut().zip(known) {
                        *q = exp(*q) - exp(f32::from(p) * (-1.0 / STEPS));
                    }
                },
            );
            0.0
        });
    }
}

/// `sum p (ln p - ln q)` over `windows`, in bits per byte; `targets` are those of [`Teacher::exact`].
pub(super) fn mean_divergence(student: &Model, windows: &[&[u8]], targets: &[Vec<f32>]) -> f64 {
    let sums = logits(student, windows, |index, mut own| {
        log_softmax(&mut own);
        targets[index].iter().zip(own).map(|(p, q)| f64::from(p.exp() * (p - q))).sum::<f64>()
    });
    let bytes: usize = windows.iter().map(|w| w.len()).sum();
    sums.iter().sum::<f64>() / bytes.max(1) as f64 / std::f64::consts::LN_2
}
