//! Choosing all integers together: distillation of the f32 model into the rounded one.
//!
//! Rounding each matrix for the least change of its own output leaves errors that add up along the model and, to first
//! order, cost or gain bits on any text. Here the rounded model is trained to predict what the f32 model predicts on
//! the calibration text: least Kullback-Leibler divergence, no labels. Each weight keeps an unrounded shadow on the
//! grid that its row's scale has fixed; the forward pass uses the rounded values and the gradient goes to the shadow
//! (straight-through estimator, arXiv 1308.3432). Norms, biases and `D` are trained too; decays stay as stored.

use mambabyte_core::VOCAB;

use super::teacher::{Teacher, mean_divergence};
use crate::model::ModelError;
use crate::train::zeros_like;
use crate::{Checkpoint, Model};

/// The grid of a matrix: row scales that are final, integers that are not.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) layer: usize,
    pub(super) tensor: &'static str,
    /// Real value of one integer step of each row.
    pub(super) steps: Vec<f64>,
    /// `[rows, columns]`.
    pub(super) weights: Vec<i8>,
}

/// How long to refine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Updates; with none the integers stay as rounded.
    pub updates: usize,
    /// Windows per update.
    pub batch: usize,
    /// Bytes per window, each from the zero state.
    pub window: usize,
    /// First learning rate, in steps of the grid; it falls to zero as a cosine.
    pub rate: f64,
}

impl Schedule {
    /// The most bytes that are read.
    pub const fn bytes(&self) -> usize {
        self.updates * self.batch * self.window
    }

    /// Bytes of memory, about, where the calibration texts have `text` bytes: the f32 model's predictions, kept in 16 bits
    /// a byte value, those on the windows of the hold-out in 32, and those of one update.
    pub const fn memory(&self, text: u64) -> u64 {
        if self.updates == 0 {
            return 0;
        }
        VOCAB as u64 * (2 * text + 4 * (self.window * (CHECK_WINDOWS + self.batch)) as u64)
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self { updates: 400, batch: 16, window: 512, rate: 0.001 }
    }
}

/// For models of up to so many parameters: updates, windows of each, rate. There are none for larger ones.
const BY_SIZE: [(usize, usize, usize, f64); 3] =
    [(1 << 16, 400, 8, 0.002), (1 << 18, 400, 16, 0.001), (1 << 20, 300, 16, 0.001)];

impl Schedule {
    /// What a model of this size gets unless told otherwise: on two cores less than half a minute for 33 thousand
    /// parameters, one and a half for 131, three for 685. The size decides and no clock, so that the
    /// same checkpoint gives the same blob.
    pub fn auto(parameters: usize) -> Self {
        let all = Self::default();
        match BY_SIZE.iter().find(|(most, ..)| parameters <= *most) {
            Some(&(_, updates, batch, rate)) => Self { updates, batch, rate, ..all },
            None => Self { updates: 0, ..all },
        }
    }

    /// The same with another number of updates.
    pub fn of(parameters: usize, updates: usize) -> Self {
        Self { updates, ..Self::auto(parameters) }
    }
}

/// First learning rate of vectors, relative to their root mean square.
const VECTOR_RATE: f64 = 1e-4;
/// Decay of Adam's moments (arXiv 1412.6980).
const BETA: [f64; 2] = [0.9, 0.99];
/// Windows of the hold-out on which the divergence is measured before and after.
const CHECK_WINDOWS: usize = 32;

/// One tensor under training.
struct Shadow {
    /// Unrounded values, of matrices in grid steps.
    values: Vec<f64>,
    /// Real value of a step, per row; one row of step 1 for vectors.
    steps: Vec<f64>,
    moments: [Vec<f64>; 2],
    rate: f64,
    matrix: bool,
}

impl Shadow {
    fn matrix(values: &[f32], steps: &[f64], rate: f64) -> Self {
        let columns = values.len() / steps.len().max(1);
        let scaled = values.iter().enumerate().map(|(i, &v)| (f64::from(v) / steps[i / columns]).clamp(-127.0, 127.0));
        let moments = [vec![0.0; values.len()], vec![0.0; values.len()]];
        Self { values: scaled.collect(), steps: steps.to_vec(), moments, rate, matrix: true }
    }

    fn vector(values: &[f32]) -> Self {
        let mean = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len().max(1) as f64;
        let moments = [vec![0.0; values.len()], vec![0.0; values.len()]];
        let values = values.iter().map(|&v| f64::from(v)).collect();
        Self { values, steps: vec![1.0], moments, rate: VECTOR_RATE * mean.sqrt(), matrix: false }
    }

    fn columns(&self) -> usize {
        (self.values.len() / self.steps.len()).max(1)
    }

    /// The values as the blob will hold them.
    fn write(&self, to: &mut [f32]) {
        let columns = self.columns();
        for (i, (to, value)) in to.iter_mut().zip(&self.values).enumerate() {
            let value = if self.matrix { value.round() } else { *value };
            *to = (value * self.steps[i / columns]) as f32;
        }
    }

    /// One update of Adam; `done` is the share of updates that have been made.
    fn update(&mut self, grad: &[f32], update: usize, done: f64) {
        let rate = self.rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        let correct = BETA.map(|b| 1.0 - b.powi(update as i32 + 1));
        let columns = self.columns();
        let [m, v] = &mut self.moments;
        for (i, (value, &g)) in self.values.iter_mut().zip(grad).enumerate() {
            let g = f64::from(g) * self.steps[i / columns];
            m[i] += (1.0 - BETA[0]) * (g - m[i]);
            v[i] += (1.0 - BETA[1]) * (g * g - v[i]);
            *value -= rate * (m[i] / correct[0]) / ((v[i] / correct[1]).sqrt() + 1e-12);
            if self.matrix {
                *value = value.clamp(-127.0, 127.0);
            }
        }
    }
}

/// What refinement found.
pub(super) struct Refined {
    /// The grids with their new integers.
    pub(super) grids: Vec<Grid>,
    /// The model that the integers stand for; its vectors are new too.
    pub(super) checkpoint: Checkpoint,
    /// Divergence from the f32 model on the hold-out in bits per byte, before and after.
    pub(super) divergence: [f64; 2],
}

/// Refines `grids`. `a_log` are the decays as the blob holds them.
///
/// # Errors
/// [`ModelError`] if a shape is wrong; training cannot cause it.
pub(super) fn refine(
    teacher: &Model,
    mut grids: Vec<Grid>,
    a_log: Vec<Vec<f32>>,
    (texts, holdout): (&[&[u8]], &[&[u8]]),
    schedule: &Schedule,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Refined, ModelError> {
    let mut hard = teacher.checkpoint().clone();
    for (layer, a_log) in hard.layers.iter_mut().zip(a_log) {
        layer.a_log = a_log;
    }
    let mut shadows: Vec<Option<Shadow>> = Vec::new();
    for (layer, tensor, values) in hard.tensors_mut() {
        shadows.push(match grids.iter().find(|g| g.layer == layer && g.tensor == tensor) {
            Some(grid) => {
                let shadow = Shadow::matrix(values, &grid.steps, schedule.rate);
                let columns = shadow.columns();
                for (i, (value, &w)) in values.iter_mut().zip(&grid.weights).enumerate() {
                    *value = (f64::from(w) * grid.steps[i / columns]) as f32;
                }
                Some(shadow)
            }
            None if tensor == "a_log" => None,
            None => Some(Shadow::vector(values)),
        });
    }
    let mut check = windows(holdout, schedule.window);
    let every = check.len().div_ceil(CHECK_WINDOWS).max(1);
    check = check.into_iter().step_by(every).collect();
    let targets = Teacher::exact(teacher, &check);
    let before = mean_divergence(&Model::new(hard.clone())?, &check, &targets);

    let windows = windows(texts, schedule.window);
    let mut teacher = Teacher::new(teacher, windows.clone());
    let mut seed = 1u64;
    let mut sum = zeros_like(&hard);
    for update in 0..schedule.updates {
        harden(&mut hard, &shadows);
        let student = Model::new(hard.clone())?;
        let batch: Vec<usize> = (0..schedule.batch)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) as usize % windows.len()
            })
            .collect();
        sum.tensors_mut().into_iter().for_each(|(.., values)| values.fill(0.0));
        teacher.gradient(&student, &batch, &mut sum);
        let done = update as f64 / schedule.updates as f64;
        for (shadow, (.., grad)) in shadows.iter_mut().zip(sum.tensors_mut()) {
            if let Some(shadow) = shadow {
                shadow.update(grad, update, done);
            }
        }
        progress(batch.iter().map(|&w| windows[w].len()).sum());
    }
    harden(&mut hard, &shadows);
    let after = mean_divergence(&Model::new(hard.clone())?, &check, &targets);
    for ((layer, tensor, _), shadow) in hard.tensors_mut().into_iter().zip(&shadows) {
        let grid = grids.iter_mut().find(|g| g.layer == layer && g.tensor == tensor);
        if let (Some(grid), Some(shadow)) = (grid, shadow) {
            grid.weights = shadow.values.iter().map(|v| v.round() as i8).collect();
        }
    }
    Ok(Refined { grids, checkpoint: hard, divergence: [before, after] })
}

/// Writes the values that the blob will hold into `hard`.
fn harden(hard: &mut Checkpoint, shadows: &[Option<Shadow>]) {
    for ((.., values), shadow) in hard.tensors_mut().into_iter().zip(shadows) {
        if let Some(shadow) = shadow {
            shadow.write(values);
        }
    }
}

/// Cuts texts into windows; a rest shorter than half a window is left out unless there is nothing else.
fn windows<'t>(texts: &[&'t [u8]], window: usize) -> Vec<&'t [u8]> {
    let all: Vec<&[u8]> = texts.iter().flat_map(|t| t.chunks(window)).collect();
    let long: Vec<&[u8]> = all.iter().copied().filter(|w| w.len() * 2 >= window).collect();
    if long.is_empty() { all } else { long }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::{Options, quantize};
    use crate::train::tests::model;
    use mambabyte_core::dims::Norm;

    /// Text that a model of random weights can read: every byte value, no order.
    fn text(n: usize) -> Vec<u8> {
        (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 21) as u8).collect()
    }

    #[test]
    fn refinement_brings_the_integers_nearer_to_the_model() {
        for (norm, tied) in [(Norm::Rms, true), (Norm::Layer, false)] {
            // Louder logits than a random model has, so that rounding costs something.
            let mut loud = model(norm, tied).checkpoint().clone();
            loud.norm_f.iter_mut().for_each(|gain| *gain *= 8.0);
            let model = Model::new(loud).unwrap();
            let (text, holdout) = (text(16384), text(20480));
            let options =
                Options { refine: Schedule { updates: 300, batch: 4, window: 128, rate: 0.001 }, ..Options::default() };
            let made = quantize(&model, &[&text], &[&holdout[16384..]], &options, &|_| {}).unwrap();
            let note = made.notes.iter().find(|n| n.contains("refinement")).unwrap();
            assert!(!note.contains("not used"), "{note}");
            let numbers: Vec<f64> = note.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            assert!(numbers[1] < 0.8 * numbers[0], "{note}");
            // The same again, bit for bit, whatever the threads do.
            assert_eq!(quantize(&model, &[&text], &[&holdout[16384..]], &options, &|_| {}).unwrap().blob, made.blob);
        }
    }

    #[test]
    fn the_size_decides_how_long() {
        let of = |parameters| (Schedule::auto(parameters).updates, Schedule::auto(parameters).batch);
        assert_eq!([0, 1 << 16, (1 << 16) + 1, 1 << 18].map(of), [(400, 8), (400, 8), (400, 16), (400, 16)]);
        assert_eq!([(1 << 18) + 1, 684_928, 1 << 20].map(of), [(300, 16); 3]);
        assert_eq!([(1 << 20) + 1, usize::MAX].map(|n| of(n).0), [0, 0]);
    }

    #[test]
    fn windows_leave_out_short_rests() {
        let text = [0u8; 1000];
        assert_eq!(windows(&[&text, &text[..10]], 300).iter().map(|w| w.len()).collect::<Vec<_>>(), [300, 300, 300]);
        assert_eq!(windows(&[&text[..10]], 300), [&text[..10]]);
    }
}
