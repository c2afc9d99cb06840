//! Updates of the weights: Muon for the projections, AdamW for the rest.

mod adamw;
mod muon;
#[cfg(test)]
mod tests;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Checkpoint;
#[cfg(feature = "cuda")]
pub(crate) use adamw::BETA;
#[cfg(feature = "cuda")]
pub(crate) use muon::{COEFFICIENTS as MUON_COEFFICIENTS, ITERATIONS as MUON_ITERATIONS};

/// Which one for the matrices of the layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matrices {
    /// Muon for in_proj, x_proj, dt_proj and out_proj.
    #[default]
    Muon,
    /// AdamW for them too.
    Adamw,
}

/// The moments of every tensor, in the order of [`Checkpoint::tensors_mut`].
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    pub(crate) matrices: Matrices,
    /// Of matrices, per unit of rate.
    pub(crate) decay: f64,
    /// Steps made.
    pub(crate) steps: u64,
    pub(crate) moments: Vec<Moments>,
}

/// Of one tensor; under Muon the second is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
}

/// The projections of the layers.
fn is_projection(tensor: &str) -> bool {
    matches!(tensor, "in_proj" | "x_proj" | "dt_proj" | "out_proj")
}

/// What decays: matrices. Norms, biases, `A_log`, `D` and the taps of the convolution do not.
pub(crate) fn decays(tensor: &str) -> bool {
    is_projection(tensor) || matches!(tensor, "embedding" | "lm_head")
}

impl Optimizer {
    /// Before the first step; `decay` is that of matrices, 0.1 for the paper's models.
    pub fn new(like: &Checkpoint, matrices: Matrices, decay: f64) -> Self {
        let mut like = like.clone();
        let moments = like.tensors_mut().into_iter().map(|(_, tensor, values)| {
            let muon = matrices == Matrices::Muon && is_projection(tensor);
            Moments { first: vec![0.0; values.len()], second: vec![0.0; if muon { 0 } else { values.len() }] }
        });
        Self { matrices, decay, steps: 0, moments: moments.collect() }
    }

    /// One step at `rate`, against `grad`. Tied decays stay tied: the first of a channel, which has the gradient of all
    /// ([`gradient`](crate::train::gradient)), moves the others.
    pub fn step(&mut self, weights: &mut Checkpoint, grad: &mut Checkpoint, rate: f64) {
        self.steps += 1;
        let (dims, steps) = (weights.dims, self.steps);
        let tensors = weights.tensors_mut().into_par_iter().zip(grad.tensors_mut()).zip(&mut self.moments);
        let (matrices, all_decay) = (self.matrices, self.decay);
        // Each tensor by itself: the result does not depend on threads.
        tensors.for_each(|(((_, tensor, w), (.., grad)), moments)| {
            let decay = if decays(tensor) { all_decay } else { 0.0 };
            if matrices == Matrices::Muon && is_projection(tensor) {
                let columns = match tensor {
                    "in_proj" => dims.d_model,
                    "dt_proj" => dims.dt_rank,
                    _ => dims.d_inner,
                };
                muon::step(w, grad, &mut moments.first, columns, rate, decay);
            } else {
                adamw::step(w, grad, [&mut moments.first, &mut moments.second], steps, rate, decay);
            }
        });
        weights.tie_decays();
    }
}

/// Scales `grad` down to a global norm of `limit`; the norm that it had.
pub fn clip(grad: &mut Checkpoint, limit: f64) -> f64 {
    let squares = |values: &[f32]| values.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
    let norm = grad.tensors_mut().iter().map(|(.., values)| squares(values)).sum::<f64>().sqrt();
    if norm > limit {
        let scale = (limit / norm) as f32;
        grad.tensors_mut().into_iter().for_each(|(.., values)| values.iter_mut().for_each(|g| *g *= scale));
    }
    norm
}
