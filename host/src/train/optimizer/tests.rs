//! Both optimisers against plain code in f64.

use mambabyte_core::Norm;

use super::*;
use crate::train::tests::model;
use crate::train::zeros_like;

/// `[rows, inner]` times `[inner, columns]`.
fn product(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let columns = b.len() / inner;
    let cell = |i: usize, j: usize| (0..inner).map(|k| a[i * inner + k] * b[k * columns + j]).sum();
    (0..a.len() / inner).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| cell(i, j)).collect()
}

fn transposed(a: &[f64], columns: usize) -> Vec<f64> {
    let rows = a.len() / columns;
    (0..columns).flat_map(|j| (0..rows).map(move |i| a[i * columns + j])).collect()
}

fn orthogonal(matrix: &[f64], columns: usize) -> Vec<f64> {
    let rows = matrix.len() / columns;
    if rows > columns {
        return transposed(&orthogonal(&transposed(matrix, columns), rows), rows);
    }
    let norm = matrix.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut x: Vec<f64> = matrix.iter().map(|x| x / (norm + 1e-7)).collect();
    for _ in 0..5 {
        let gram = product(&x, &transposed(&x, columns), columns);
        let square = product(&gram, &gram, rows);
        let polynomial: Vec<f64> = gram.iter().zip(&square).map(|(g, s)| -4.7750 * g + 2.0315 * s).collect();
        let rest = product(&polynomial, &x, rows);
        x = x.iter().zip(rest).map(|(x, r)| 3.4445 * x + r).collect();
    }
    x
}

fn noise(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 40) as f64 / 8_388_608.0 - 1.0
}

/// Ten steps of every tensor, of models with tied and free decays, against the equations in f64.
#[test]
fn steps_are_those_of_a_reference_in_f64() {
    for (matrices, tied) in [(Matrices::Muon, false), (Matrices::Muon, true), (Matrices::Adamw, true)] {
        let mut weights = model(Norm::Layer, false).checkpoint().clone();
        weights.dims.tied_decays = tied;
        weights.tie_decays();
        let dims = weights.dims;
        let mut optimizer = Optimizer::new(&weights, matrices, 0.1);
        let mut reference: Vec<[Vec<f64>; 3]> = weights
            .tensors_mut()
            .into_iter()
            .map(|(.., w)| [w.iter().map(|&w| f64::from(w)).collect(), vec![0.0; w.len()], vec![0.0; w.len()]])
            .collect();
        let mut seed = 3u64;
        for step in 1..=10 {
            let rate = 0.01 / f64::from(step);
            let mut grad = zeros_like(&weights);
            grad.tensors_mut().into_iter().for_each(|(.., g)| g.iter_mut().for_each(|g| *g = noise(&mut seed) as f32));
            for ((_, tensor, g), [w, m, v]) in grad.tensors_mut().into_iter().zip(&mut reference) {
                let g: Vec<f64> = g.iter().map(|&g| f64::from(g)).collect();
                let decay = if decays(tensor) { 0.1 } else { 0.0 };
                if matrices == Matrices::Muon && is_projection(tensor) {
                    m.iter_mut().zip(&g).for_each(|(m, g)| *m = 0.95 * *m + g);
                    let nesterov: Vec<f64> = g.iter().zip(&*m).map(|(g, m)| g + 0.95 * m).collect();
                    let columns = match tensor {
                        "in_proj" => dims.d_model,
                        "dt_proj" => dims.dt_rank,
                        _ => dims.d_inner,
                    };
                    let scale = 0.2 * (columns.max(w.len() / columns) as f64).sqrt();
                    let update = orthogonal(&nesterov, columns);
                    w.iter_mut().zip(update).for_each(|(w, u)| *w -= rate * (decay * *w + scale * u));
                    continue;
                }
                for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.95 * *v + 0.05 * g * g;
                    let (m, v) = (*m / (1.0 - 0.9f64.powi(step)), *v / (1.0 - 0.95f64.powi(step)));
                    *w -= rate * (decay * *w + m / (v.sqrt() + 1e-8));
                }
                // The first of a channel moves the others.
                for channel in w.chunks_exact_mut(3).filter(|_| tensor == "a_log" && tied) {
                    let first = channel[0];
                    channel.iter_mut().enumerate().for_each(|(n, w)| *w = first + ((n + 1) as f64).ln());
                }
            }
            optimizer.step(&mut weights, &mut grad, rate);
        }
        for ((layer, tensor, w), [expected, ..]) in weights.tensors_mut().into_iter().zip(&reference) {
            let error = w.iter().zip(expected).map(|(w, e)| (f64::from(*w) - e).powi(2)).sum::<f64>().sqrt();
            let size = expected.iter().map(|e| e * e).sum::<f64>().sqrt();
            assert!(error <= 1e-5 * size, "{matrices:?}, layer {layer}, {tensor}: {:e}", error / size);
        }
        let mut again = weights.clone();
        again.tie_decays();
        assert_eq!(again, weights);
    }
}

/// The update alone, without the weights that hide its error, of high, wide and square matrices.
#[test]
fn a_step_of_muon_alone_is_that_of_the_reference() {
    let mut seed = 5u64;
    for (rows, columns) in [(256, 64), (20, 128), (128, 4), (64, 128), (64, 64), (1, 7), (7, 1)] {
        let grad: Vec<f32> = (0..rows * columns).map(|_| noise(&mut seed) as f32).collect();
        let (mut w, mut m) = (vec![0.0; grad.len()], vec![0.0; grad.len()]);
        muon::step(&mut w, &grad, &mut m, columns, 1.0, 0.0);
        let nesterov: Vec<f64> = grad.iter().map(|&g| f64::from(g) * 1.95).collect();
        let scale = -0.2 * (rows.max(columns) as f64).sqrt();
        let expected: Vec<f64> = orthogonal(&nesterov, columns).iter().map(|u| scale * u).collect();
        let error = w.iter().zip(&expected).map(|(w, e)| (f64::from(*w) - e).powi(2)).sum::<f64>().sqrt();
        let size = expected.iter().map(|e| e * e).sum::<f64>().sqrt();
        assert!(error <= 1e-5 * size, "{rows} x {columns}: {:e}", error / size);
        let rms = size / (grad.len() as f64).sqrt();
        assert!(rows.min(columns) == 1 || (0.1..0.3).contains(&rms), "{rows} x {columns}: {rms}");
    }
}

#[test]
fn clipping_bounds_the_norm_and_leaves_small_gradients() {
    let mut grad = zeros_like(model(Norm::Rms, true).checkpoint());
    grad.layers[0].d_skip[0] = 3.0;
    grad.norm_f[1] = 4.0;
    assert_eq!(clip(&mut grad, 5.0), 5.0);
    assert_eq!((grad.layers[0].d_skip[0], grad.norm_f[1]), (3.0, 4.0));
    assert_eq!(clip(&mut grad, 1.0), 5.0);
    assert!((grad.layers[0].d_skip[0] - 0.6).abs() < 1e-7 && (grad.norm_f[1] - 0.8).abs() < 1e-7);
    grad.norm_f[0] = f32::NAN;
    assert!(clip(&mut grad, 1.0).is_nan());
}
