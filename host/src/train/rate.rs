//! What a processor can do at most: the limit beside a measured step.

use std::time::{Duration, Instant};

use mambabyte_core::Dims;
use rayon::prelude::*;

use super::matrix::{self, Rows};

/// Multiplications and additions of a step for each byte, of products alone: two for each weight forward, four back.
pub fn operations(dims: &Dims) -> f64 {
    let Dims { d_model, n_layer, d_inner, d_state, dt_rank, .. } = *dims;
    let layer = 3 * d_model * d_inner + d_inner * (2 * dt_rank + 2 * d_state);
    6.0 * (n_layer * layer + 256 * d_model) as f64
}

/// Operations a second of f32 products of 256 x 256 matrices on every thread of rayon's current pool, as a step has them.
///
/// # Cost
/// A fifth of a second.
pub fn products() -> f64 {
    const SIZE: usize = 256;
    let begin = Instant::now();
    let counts = (0..rayon::current_num_threads()).into_par_iter().map(|_| {
        let (w, x, mut y) = (vec![0.5; SIZE * SIZE], vec![0.25; SIZE * SIZE], vec![0.0; SIZE * SIZE]);
        let mut count = 0u32;
        while begin.elapsed() < Duration::from_millis(200) {
            matrix::forward(&w, Rows::whole(&*x, SIZE), 0.0, Rows::whole(&mut *y, SIZE));
            count += 1;
        }
        std::hint::black_box(&y);
        count
    });
    let count: u32 = counts.with_max_len(1).sum();
    f64::from(count) * 2.0 * (SIZE * SIZE * SIZE) as f64 / begin.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_those_of_the_matrices() {
        let mut weights = crate::train::tests::model(mambabyte_core::Norm::Rms, true).checkpoint().clone();
        let head = weights.head.is_some();
        let matrix = |tensor: &str| match tensor {
            "embedding" => !head,
            "lm_head" | "in_proj" | "x_proj" | "dt_proj" | "out_proj" => true,
            _ => false,
        };
        let dims = weights.dims;
        let symbols = weights.vocabulary();
        let tensors = weights.tensors_mut().into_iter().filter(|&(_, tensor, _)| matrix(tensor));
        let all: usize = tensors.map(|(.., values)| values.len()).sum();
        // Of a head of bytes, whatever the test's model has.
        let head = 256 * dims.d_model - symbols * dims.d_model;
        assert_eq!(operations(&dims), 6.0 * (all + head) as f64);
    }
}
