//! AdamW (arXiv 1711.05101): Adam with decay that is no part of the gradient.

/// Decay of the moments, as for the paper's models.
pub(crate) const BETA: [f64; 2] = [0.9, 0.95];
/// Added to the root of the second moment.
pub(super) const EPS: f32 = 1e-8;

/// One step over a tensor. With `m`, `v` the moments and `t` the number of steps with this one:
///
/// ```text
/// m = b0 m + (1 - b0) g        v = b1 v + (1 - b1) g^2
/// w = w - rate decay w - rate (m / (1 - b0^t)) / (sqrt(v / (1 - b1^t)) + eps)
/// ```
pub(super) fn step(w: &mut [f32], grad: &[f32], [m, v]: [&mut [f32]; 2], t: u64, rate: f64, decay: f64) {
    let power = i32::try_from(t).unwrap_or(i32::MAX);
    let [b0, b1] = BETA.map(|b| b as f32);
    let [c0, c1] = BETA.map(|b| (1.0 / (1.0 - b.powi(power))) as f32);
    let (keep, rate) = ((1.0 - rate * decay) as f32, rate as f32);
    for (((w, &g), m), v) in w.iter_mut().zip(grad).zip(m).zip(v) {
        *m = b0 * *m + (1.0 - b0) * g;
        *v = b1 * *v + (1.0 - b1) * g * g;
        *w = keep * *w - rate * (*m * c0) / ((*v * c1).sqrt() + EPS);
    }
}
