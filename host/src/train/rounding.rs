//! Rounding in the loop: steps are made with rounded weights, and their gradient moves those that are not rounded (straight
//! through), so that a model learns to live with few bits.

use serde::{Deserialize, Serialize};

use super::optimizer::decays;
use crate::Checkpoint;

/// What matrices are rounded to: the projections, the embedding and the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// Nothing.
    #[default]
    None,
    /// 8 bits, -127 to 127, with one scale a row: what a blob holds.
    Bits8,
    /// 4 bits, -7 to 7, with a scale for each 32 columns of a row.
    Bits4,
}

impl Rounding {
    /// The largest integer, and the columns of a row that share a scale if it is not the row; `None` if nothing is rounded.
    pub(crate) const fn levels(self) -> Option<(f32, Option<usize>)> {
        match self {
            Self::None => None,
            Self::Bits8 => Some((127.0, None)),
            Self::Bits4 => Some((7.0, Some(32))),
        }
    }

    /// Rounds the matrices of `weights` to nearest, ties to even: `w = s round(w / s)`, `s` the largest absolute value
    /// beside it over the largest integer. What is rounded already stays as it is, but for the last bit of `s`.
    pub fn apply(self, weights: &mut Checkpoint) {
        let Some((largest, group)) = self.levels() else { return };
        let dims = weights.dims;
        for (_, tensor, values) in weights.tensors_mut() {
            if !decays(tensor) {
                continue;
            }
            let columns = match tensor {
                "x_proj" | "out_proj" => dims.d_inner,
                "dt_proj" => dims.dt_rank,
                _ => dims.d_model,
            };
            for row in values.chunks_mut(columns) {
                row.chunks_mut(group.unwrap_or(columns)).for_each(|group| round(group, largest));
            }
        }
    }
}

/// Rounds what shares a scale.
fn round(group: &mut [f32], largest: f32) {
    let scale = group.iter().fold(0f32, |most, w| most.max(w.abs())) / largest;
    // Zeros stay; what is no number is found where it is computed with.
    if scale > 0.0 && scale.is_finite() {
        group.iter_mut().for_each(|w| *w = (*w / scale).round_ties_even() * scale);
    }
}

#[cfg(test)]
mod tests {
    use mambabyte_core::Norm;

    use super::*;
    use crate::train::tests::model;

    #[test]
    fn matrices_have_few_values_and_the_rest_is_not_touched() {
        let before = model(Norm::Layer, false).checkpoint().clone();
        for (rounding, values) in [(Rounding::Bits8, 255), (Rounding::Bits4, 15)] {
            let mut after = before.clone();
            rounding.apply(&mut after);
            let (d, di) = (before.dims.d_model, before.dims.d_inner);
            let group = if rounding == Rounding::Bits4 { 32 } else { usize::MAX };
            for (columns, before, after) in [
                (d, &before.layers[0].in_proj, &after.layers[0].in_proj),
                (di, &before.layers[1].x_proj, &after.layers[1].x_proj),
            ] {
                for (before, after) in before.chunks(columns).zip(after.chunks(columns)) {
                    for (before, after) in before.chunks(group.min(columns)).zip(after.chunks(group.min(columns))) {
                        let largest = before.iter().fold(0f32, |most, w| most.max(w.abs()));
                        let step = largest / ((values - 1) / 2) as f32;
                        for (&before, &after) in before.iter().zip(after) {
                            assert!((before - after).abs() <= 0.5001 * step);
                            let level = after / step;
                            assert!((level - level.round()).abs() < 1e-3 && level.abs() < values as f32 / 2.0);
                        }
                    }
                }
            }
            assert!(after.layers[0].in_proj != before.layers[0].in_proj && after.embedding != before.embedding);
            assert!(after.head != before.head);
            let rest = |c: &Checkpoint| (c.norm_f.clone(), c.layers[0].conv1d.clone(), c.layers[0].a_log.clone());
            assert!(rest(&after) == rest(&before));
        }
        let mut same = before.clone();
        Rounding::None.apply(&mut same);
        assert!(same == before);
        let mut zeros = super::super::zeros_like(&before);
        Rounding::Bits4.apply(&mut zeros);
        assert!(zeros.embedding.iter().all(|&w| w == 0.0));
    }
}
