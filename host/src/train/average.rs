//! An exponential average of the weights over the last steps: what is measured and kept instead of the last weights,
//! whose noise it takes away.

use crate::Checkpoint;

/// The average.
#[derive(Clone, Debug, PartialEq)]
pub struct Average {
    pub(crate) weights: Checkpoint,
    /// What stays of it at a step.
    pub(super) keep: f64,
    pub(crate) steps: u64,
}

impl Average {
    /// Begins with `start`; looks back over about a fiftieth of a run of `steps`, and 200 steps at most.
    pub fn new(start: &Checkpoint, steps: u64) -> Self {
        let span = (steps as f64 / 50.0).clamp(1.0, 200.0);
        Self { weights: start.clone(), keep: 1.0 - 1.0 / span, steps: 0 }
    }

    /// Takes the weights of a step in: `average += (1 - keep) (weights - average)`. Early on it looks back over as many
    /// steps as there were.
    pub fn add(&mut self, weights: &mut Checkpoint) {
        let share = self.count();
        for ((.., average), (.., now)) in self.weights.tensors_mut().into_iter().zip(weights.tensors_mut()) {
            average.iter_mut().zip(now).for_each(|(average, now)| *average += share * (*now - *average));
        }
    }

    /// Counts a step; what the average takes of its weights.
    pub(crate) fn count(&mut self) -> f32 {
        self.steps += 1;
        (1.0 - self.keep).max(1.0 / self.steps as f64) as f32
    }

    /// The average.
    pub const fn weights(&self) -> &Checkpoint {
        &self.weights
    }
}

#[cfg(test)]
mod tests {
    use mambabyte_core::Norm;

    use super::*;
    use crate::train::tests::model;

    #[test]
    fn the_average_is_the_mean_at_first_and_follows_later() {
        let start = model(Norm::Rms, true).checkpoint().clone();
        let set = |value: f32| {
            let mut weights = start.clone();
            weights.tensors_mut().into_iter().for_each(|(.., values)| values.fill(value));
            weights
        };
        let mut average = Average::new(&start, 1000);
        for value in [1.0, 2.0, 3.0, 6.0] {
            average.add(&mut set(value));
        }
        assert!(average.weights().embedding.iter().all(|&v| (v - 3.0).abs() < 1e-6));
        for _ in 0..200 {
            average.add(&mut set(5.0));
        }
        assert!(average.weights().layers[1].out_proj.iter().all(|&v| (v - 5.0).abs() < 1e-3));
        // A span of one step keeps nothing.
        let mut last = Average::new(&start, 10);
        last.add(&mut set(1.0));
        last.add(&mut set(2.0));
        assert_eq!(last.weights(), &set(2.0));
    }
}
