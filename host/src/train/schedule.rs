//! The rate over a run: it rises in a straight line, then falls to zero.

use serde::{Deserialize, Serialize};

/// How the rate falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fall {
    /// Half a cosine, from the end of the rise to the end of the run.
    #[default]
    Cosine,
    /// Level, then a straight line over the last fifth of the run.
    Trapezoid,
}

/// The rate as a share of its peak, by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Steps of the run.
    pub steps: u64,
    /// Steps of the rise.
    pub warmup: u64,
    /// What comes after.
    pub fall: Fall,
}

impl Schedule {
    /// A run of `steps`, of which a twentieth, at most 500, is the rise.
    pub fn new(steps: u64, fall: Fall) -> Self {
        Self { steps, warmup: (steps / 20).clamp(1, 500), fall }
    }

    /// The share at step `step`, counted from 0: above 0 in the run, 0 after it.
    pub fn share(&self, step: u64) -> f64 {
        if step >= self.steps {
            return 0.0;
        }
        if step < self.warmup {
            return (step + 1) as f64 / (self.warmup + 1) as f64;
        }
        let left = (self.steps - step) as f64;
        match self.fall {
            Fall::Cosine => 0.5 * (1.0 - (std::f64::consts::PI * left / (self.steps - self.warmup) as f64).cos()),
            Fall::Trapezoid => (left / (self.steps as f64 / 5.0)).min(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_once_and_falls_once() {
        for fall in [Fall::Cosine, Fall::Trapezoid] {
            for steps in [1, 2, 3, 20, 1000, 20_000] {
                let schedule = Schedule::new(steps, fall);
                let all: Vec<f64> = (0..steps).map(|step| schedule.share(step)).collect();
                assert!(all.iter().all(|&share| share > 0.0 && share <= 1.0), "{fall:?} {steps}: {all:?}");
                let top = all.iter().position(|&share| share == all.iter().copied().fold(0.0, f64::max)).unwrap_or(0);
                assert!(all[..top].is_sorted() && all[top..].is_sorted_by(|a, b| a >= b), "{fall:?} {steps}");
                assert_eq!(schedule.share(steps), 0.0);
            }
        }
        let cosine = Schedule::new(1000, Fall::Cosine);
        assert_eq!((cosine.warmup, cosine.share(50)), (50, 1.0));
        assert!((cosine.share(525) - 0.5).abs() < 1e-12 && cosine.share(999) < 1e-5);
        let trapezoid = Schedule::new(1000, Fall::Trapezoid);
        assert_eq!((trapezoid.share(50), trapezoid.share(800), trapezoid.share(900)), (1.0, 1.0, 0.5));
    }
}
