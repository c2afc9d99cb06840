//! Norms with their gradient.

/// A norm over each row of `[bytes, d_model]`, with what its gradient needs.
pub(super) struct NormPass {
    /// `(x - mean) / sqrt(var + eps)`.
    normed: Vec<f32>,
    /// `1 / sqrt(var + eps)` of each row.
    inverse: Vec<f32>,
    /// The output.
    pub(super) out: Vec<f32>,
    centred: bool,
}

impl NormPass {
    pub(super) fn forward(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Self {
        let n = weight.len();
        let mut pass = Self { normed: x.to_vec(), inverse: vec![], out: x.to_vec(), centred: !bias.is_empty() };
        for (normed, out) in pass.normed.chunks_exact_mut(n).zip(pass.out.chunks_exact_mut(n)) {
            let mean = if pass.centred { normed.iter().sum::<f32>() / n as f32 } else { 0.0 };
            normed.iter_mut().for_each(|x| *x -= mean);
            let variance = normed.iter().map(|x| x * x).sum::<f32>() / n as f32;
            let inverse = 1.0 / (variance + eps).sqrt();
            pass.inverse.push(inverse);
            for ((out, x), w) in out.iter_mut().zip(normed).zip(weight) {
                *x *= inverse;
                *out = *x * w;
            }
            out.iter_mut().zip(bias).for_each(|(out, b)| *out += b);
        }
        pass
    }

    /// Adds the gradient of the input to `dx` and those of weight and bias to theirs.
    pub(super) fn backward(
        &self,
        dout: &[f32],
        weight: &[f32],
        dx: &mut [f32],
        dweight: &mut [f32],
        dbias: &mut [f32],
    ) {
        let n = weight.len();
        let rows = dout.chunks_exact(n).zip(self.normed.chunks_exact(n)).zip(&self.inverse).zip(dx.chunks_exact_mut(n));
        for (((dout, normed), inverse), dx) in rows {
            let (mut mean, mut along) = (0.0, 0.0);
            for i in 0..n {
                let d = dout[i] * weight[i];
                mean += d;
                along += d * normed[i];
                dweight[i] += dout[i] * normed[i];
            }
            dbias.iter_mut().zip(dout).for_each(|(b, d)| *b += d);
            mean = if self.centred { mean / n as f32 } else { 0.0 };
            along /= n as f32;
            for i in 0..n {
                dx[i] += inverse * (dout[i] * weight[i] - mean - normed[i] * along);
            }
        }
    }
}
