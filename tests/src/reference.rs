//! The integer step a second time: explicit indices, i128, floor division, no shared helper of the core but its tables.
//!
//! Slow and plain on purpose. Where this and `Decoder::step` agree, no loop order, blocking, zip or shift of the core
//! is wrong; where they differ, this one is easier to check against the documentation.

use mambabyte_core::blob::Section;
use mambabyte_core::tables::{DECAY, EXP2, LOG2, LOG2_SOFTPLUS, ROW_MULTIPLIER, RSQRT, SIGMOID};
use mambabyte_core::{Blob, Norm};

/// A stream through a blob.
pub struct Reference<'b> {
    blob: Blob<'b>,
    /// The elements of the state in the order of a snapshot.
    pub state: Vec<i128>,
}

/// `x / 2^shift`, rounded half up.
fn round(x: i128, shift: i128) -> i128 {
    assert!((1..=62).contains(&shift), "shift {shift}");
    (x + (1i128 << (shift - 1))).div_euclid(1i128 << shift)
}

fn activation(x: i128) -> i128 {
    x.clamp(-32767, 32767)
}

fn word(x: i128) -> i128 {
    x.clamp(i32::MIN.into(), i32::MAX.into())
}

fn requantize(acc: i128, code: i128, base: i128) -> i128 {
    let multiplier = i128::from(ROW_MULTIPLIER[(code % 32) as usize]);
    round(acc * multiplier, base + code / 32)
}

fn q15(a: i128, b: i128) -> i128 {
    round(a * b, 15)
}

/// Linear interpolation in a table at `position / 2^bits`.
fn interpolate(at: impl Fn(usize) -> i128, position: i128, bits: i128) -> i128 {
    let (index, low) = ((position >> bits) as usize, position & ((1 << bits) - 1));
    at(index) + round((at(index + 1) - at(index)) * low, bits)
}

fn log2_q16(x: i128) -> i128 {
    let exponent = i128::from(x.ilog2());
    let fraction = if exponent >= 23 { x >> (exponent - 23) } else { x << (23 - exponent) } - (1 << 23);
    exponent * 65536 + interpolate(|i| LOG2[i].into(), fraction, 16)
}

fn log2_softplus(v: i128) -> i128 {
    if v < -16 * 1024 {
        round(v * 94548, 16)
    } else if v < 16 * 1024 {
        interpolate(|i| LOG2_SOFTPLUS[i].into(), v + 16 * 1024, 6)
    } else {
        round(log2_q16(v) - 10 * 65536, 6)
    }
}

fn decay(l: i128) -> i128 {
    let index = (l + 15 * 1024 + 4).div_euclid(8);
    if index < 0 { 32767 } else { DECAY.get(index as usize).map_or(0, |&a| a.into()) }
}

fn silu(x: i128, frac: i128) -> i128 {
    let position = x.abs() << (16 - frac);
    let positive = if position < 16 << 16 { interpolate(|i| SIGMOID[i].into(), position, 11) } else { 32768 };
    round(x * if x < 0 { 32768 - positive } else { positive }, 15)
}

/// `1 / sqrt(x)` as mantissa and exponent.
fn rsqrt(x: i128) -> (i128, i128) {
    let x = x.max(1);
    // x = mantissa * 4^k with a mantissa of 15 or 16 bits, cut off.
    let k = (i128::from(x.ilog2()) - 14).div_euclid(2);
    let mantissa = if k >= 0 { x >> (2 * k) } else { x << (-2 * k) };
    let (index, low) = ((mantissa >> 8) as usize - 64, mantissa & 255);
    let (here, next) = (i128::from(RSQRT[index]), i128::from(*RSQRT.get(index + 1).unwrap_or(&0)));
    (here - round((here - next) * low, 8), k)
}

impl<'b> Reference<'b> {
    /// A stream at the zero state.
    pub fn new(blob: Blob<'b>) -> Self {
        let n = blob.dims().state_len();
        Self { blob, state: vec![0; n] }
    }

    fn i8(&self, section: Section, index: usize) -> i128 {
        i128::from(self.blob.section(section)[index] as i8)
    }

    fn u8(&self, section: Section, index: usize) -> i128 {
        i128::from(self.blob.section(section)[index])
    }

    fn i16(&self, section: Section, index: usize) -> i128 {
        let data = self.blob.section(section);
        i128::from(i16::from_le_bytes([data[2 * index], data[2 * index + 1]]))
    }

    /// Byte `at` of the parameters of a layer.
    fn param(&self, layer: usize, at: usize) -> i128 {
        self.u8(Section::LayerParams, layer * 32 + at)
    }

    /// `sum_j w[row, j] * x[j]` rescaled by the row's code; `row` counts over all layers.
    fn product(&self, w: Section, code: Section, row: usize, x: &[i128], base: i128) -> i128 {
        let (mut acc, columns) = (0, x.len());
        for (j, x) in x.iter().enumerate() {
            acc += self.i8(w, row * columns + j) * x;
        }
        requantize(acc, self.u8(code, row), base)
    }

    fn norm(&self, res: &[i128], row: usize, shift: i128) -> Vec<i128> {
        let n = res.len() as i128;
        let layer_norm = self.blob.dims().norm == Norm::Layer;
        let mean = if layer_norm { (2 * res.iter().sum::<i128>() + n).div_euclid(2 * n) } else { 0 };
        let bits = res.iter().map(|x| (x - mean).abs()).max().unwrap().checked_ilog2().map_or(0, |b| i128::from(b) + 1);
        let down = (bits - 23).max(0);
        let scaled = |x: i128| if down == 0 { x - mean } else { round(x - mean, down) };
        let bytes = self.blob.as_bytes();
        let eps = i128::from(u64::from_le_bytes(bytes[64..72].try_into().unwrap()));
        let squares: i128 = res.iter().map(|&x| scaled(x) * scaled(x)).sum();
        let (r, e) = rsqrt(squares + (eps >> (2 * down)));
        (0..res.len())
            .map(|i| {
                let normal = round((scaled(res[i]) * r) << 12, 11 + e);
                let at = row * res.len() + i;
                let bias = if layer_norm { self.i16(Section::NormBias, at) } else { 0 };
                activation(round(normal * self.i16(Section::NormWeight, at), shift) + bias)
            })
            .collect()
    }

    /// Reads a byte, returns the logits.
    pub fn step(&mut self, byte: u8) -> Vec<i128> {
        let dims = *self.blob.dims();
        let header = self.blob.as_bytes();
        let (norm_f, embedding, head) = (header[53].into(), header[54].into(), header[55].into());
        let code = self.u8(Section::EmbeddingCode, byte.into());
        let mut res: Vec<i128> = (0..dims.d_model)
            .map(|i| word(requantize(self.i8(Section::Embedding, byte as usize * dims.d_model + i), code, embedding)))
            .collect();
        for layer in 0..dims.n_layer {
            self.block(layer, &mut res);
        }
        let u = self.norm(&res, dims.n_layer, norm_f);
        let (w, code) = if dims.tied_head {
            (Section::Embedding, Section::EmbeddingCode)
        } else {
            (Section::Head, Section::HeadCode)
        };
        (0..256).map(|row| word(self.product(w, code, row, &u, head))).collect()
    }

    fn block(&mut self, layer: usize, res: &mut [i128]) {
        let dims = *self.blob.dims();
        let (di, n_state, rank) = (dims.d_inner, dims.d_state, dims.dt_rank);
        let at = layer * dims.layer_state_len();
        let p = |i| self.param(layer, i);
        let (x_frac, z_frac) = (p(9), p(10));
        let params = self.blob.section(Section::LayerParams);
        let a_base = i128::from(i16::from_le_bytes([params[layer * 32 + 12], params[layer * 32 + 13]]));
        let dx = &params[layer * 32 + 16..layer * 32 + 20];
        let dx_base = i128::from(i32::from_le_bytes([dx[0], dx[1], dx[2], dx[3]]));

        let u = self.norm(res, layer, p(0));
        let xz: Vec<i128> = (0..2 * di)
            .map(|r| activation(self.product(Section::InProj, Section::InProjCode, layer * 2 * di + r, &u, p(1))))
            .collect();

        let taps = dims.d_conv;
        let mut x = vec![0; di];
        let mut columns = vec![vec![0; di]; taps];
        for d in 0..di {
            let mut acc = 0;
            for (k, column) in columns.iter_mut().enumerate() {
                column[d] = if k + 1 == taps { xz[d] } else { self.state[at + k * di + d] };
                acc += self.i8(Section::Conv, (layer * taps + k) * di + d) * column[d];
            }
            let c = requantize(acc, self.u8(Section::ConvCode, layer * di + d), p(2));
            x[d] = silu(activation(c + self.i16(Section::ConvBias, layer * di + d)), x_frac);
        }

        let rows = rank + 2 * n_state;
        let mut dt_b_c: Vec<i128> = (0..rows)
            .map(|r| activation(self.product(Section::XProj, Section::XProjCode, layer * rows + r, &x, p(3))))
            .collect();
        let c_limit = (65535 / n_state as i128).min(32767);
        for c in &mut dt_b_c[rank + n_state..] {
            *c = (*c).clamp(-c_limit, c_limit);
        }
        let (b, c) = (&dt_b_c[rank..rank + n_state], &dt_b_c[rank + n_state..]);

        let mut new_h = vec![0; n_state * di];
        let mut gated = vec![0; di];
        for d in 0..di {
            let channel = layer * di + d;
            let v = self.product(Section::DtProj, Section::DtProjCode, channel, &dt_b_c[..rank], p(4))
                + self.i16(Section::DtBias, channel);
            let l = activation(log2_softplus(v.clamp(-(1 << 20), 1 << 20)));
            let state_code = self.u8(Section::StateCode, channel);
            let exponent = l + dx_base + 32 * state_code;
            let mantissa = interpolate(|i| EXP2[i].into(), exponent.rem_euclid(1024) * 64, 9);
            let dx = activation(round(x[d] * mantissa, (15 - exponent.div_euclid(1024)).clamp(1, 40)));
            let mut power = 0;
            let mut y = 0;
            for n in 0..n_state {
                let a = if dims.tied_decays {
                    let first = decay(l + a_base + 32 * self.u8(Section::ALog, channel));
                    power = if n == 0 { first } else { q15(power, first) };
                    power
                } else {
                    decay(l + a_base + 32 * self.u8(Section::ALog, (layer * n_state + n) * di + d))
                };
                let old = self.state[at + (taps - 1) * di + n * di + d];
                let h = (q15(a, old) + q15(dx, b[n])).clamp(-32768, 32767);
                new_h[n * di + d] = h;
                y += c[n] * h;
                assert_eq!(y, word(y), "the sum over states is exact in i32");
            }
            let skip = round(self.i16(Section::DSkip, channel) * x[d], p(7));
            let sum = word(requantize(y, state_code, p(6)) + skip);
            gated[d] = word(round(sum * silu(xz[di + d], z_frac), p(8)));
        }
        let largest: i128 = gated.iter().map(|g| g.abs()).max().unwrap();
        let down = (largest.checked_ilog2().map_or(0, |b| i128::from(b) + 1) - 15).max(0);
        let g: Vec<i128> = gated.iter().map(|&g| if down == 0 { g } else { activation(round(g, down)) }).collect();
        for (i, res) in res.iter_mut().enumerate() {
            let row = layer * dims.d_model + i;
            let add = self.product(Section::OutProj, Section::OutProjCode, row, &g, p(5) - down);
            *res = word(*res + word(add));
        }

        for (k, column) in columns.iter().skip(1).enumerate() {
            self.state[at + k * di..at + (k + 1) * di].copy_from_slice(column);
        }
        self.state[at + (taps - 1) * di..at + dims.layer_state_len()].copy_from_slice(&new_h);
    }
}
