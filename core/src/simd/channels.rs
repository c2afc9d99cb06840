//! The loops over channels in 32-bit arithmetic: convolution, step size, `delta * x`, gate. For all chips.

use super::Gate;
use super::narrow::{self, Requantizer};
use crate::linear;

/// [`conv1d_silu`](crate::conv1d::conv1d_silu): four taps as one pass without inner loop, else the scalar function.
#[inline(always)]
pub(crate) fn conv1d_silu(
    x: &mut [i16],
    history: &mut [i16],
    w: &[i8],
    code: &[u8],
    bias: &[i16],
    base: u8,
    frac: u8,
) {
    let n = x.len();
    let scale = Requantizer::new(base);
    let finish = |acc: i32, code: u8, bias: i16| {
        narrow::silu(narrow::saturate(scale.apply(acc, code).saturating_add(bias as i32)), frac) as i16
    };
    if let (Some((h0, h1, h2)), Some((w0, w1, w2, w3))) = (three(history, n), four(w, n)) {
        let columns = x.iter_mut().zip(h0.iter_mut().zip(h1.iter_mut()).zip(h2.iter_mut()));
        let taps = w0.iter().zip(w1).zip(w2.iter().zip(w3)).zip(code.iter().zip(bias));
        for ((x, ((h0, h1), h2)), (((&w0, &w1), (&w2, &w3)), (&code, &bias))) in columns.zip(taps) {
            let acc = w0 as i32 * *h0 as i32 + w1 as i32 * *h1 as i32 + w2 as i32 * *h2 as i32 + w3 as i32 * *x as i32;
            *h0 = *h1;
            *h1 = *h2;
            *h2 = *x;
            *x = finish(acc, code, bias);
        }
    } else {
        crate::conv1d::conv1d_silu(x, history, w, code, bias, base, frac);
    }
}

/// The three columns of a history of four taps.
#[inline(always)]
fn three(history: &mut [i16], n: usize) -> Option<(&mut [i16], &mut [i16], &mut [i16])> {
    if history.len() != 3 * n {
        return None;
    }
    let (h0, rest) = history.split_at_mut_checked(n)?;
    let (h1, h2) = rest.split_at_mut_checked(n)?;
    Some((h0, h1, h2))
}

#[inline(always)]
fn four(w: &[i8], n: usize) -> Option<(&[i8], &[i8], &[i8], &[i8])> {
    let (w0, rest) = w.split_at_checked(n)?;
    let (w1, rest) = rest.split_at_checked(n)?;
    let (w2, w3) = rest.split_at_checked(n)?;
    Some((w0, w1, w2, w3))
}

/// `l = log2(softplus(dt_proj dt + dt_bias))`, ranks of 2, 4 and 8 without inner loop.
#[inline(always)]
pub(crate) fn log_delta(w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
    let scale = Requantizer::new(base);
    let finish = |sum, code, bias: i16| narrow::log_delta(scale.apply(sum, code).saturating_add(bias as i32)) as i16;
    match dt.len() {
        2 => rows::<2>(w, code, dt, bias, l, finish),
        4 => rows::<4>(w, code, dt, bias, l, finish),
        8 => rows::<8>(w, code, dt, bias, l, finish),
        n if n <= linear::BLOCK => {
            for ((w, l), (&code, &bias)) in w.chunks_exact(n.max(1)).zip(l).zip(code.iter().zip(bias)) {
                *l = finish(linear::dot_i8_i16(w, dt) as i32, code, bias);
            }
        }
        _ => <super::Scalar as super::Kernels>::log_delta(w, code, base, dt, bias, l),
    }
}

#[inline(always)]
fn rows<const N: usize>(
    w: &[i8],
    code: &[u8],
    dt: &[i16],
    bias: &[i16],
    l: &mut [i16],
    finish: impl Fn(i32, u8, i16) -> i16,
) {
    let Some(dt) = dt.first_chunk::<N>() else { return };
    let dt = dt.map(|dt| dt as i32);
    let (w, _) = w.as_chunks::<N>();
    for ((w, l), (&code, &bias)) in w.iter().zip(l).zip(code.iter().zip(bias)) {
        let sum = w.iter().zip(&dt).fold(0, |sum, (&w, &dt)| sum + w as i32 * dt);
        *l = finish(sum, code, bias);
    }
}

/// [`delta_x`](crate::selective_scan::delta_x) of all channels.
#[inline(always)]
pub(crate) fn delta_x(x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
    for (dx, ((&x, &l), &code)) in dx.iter_mut().zip(x.iter().zip(l).zip(code)) {
        *dx = narrow::saturate(narrow::delta_x(x, l as i32 + base + 32 * code as i32));
    }
}

/// [`gate`](super::Kernels::gate).
#[inline(always)]
pub(crate) fn gate(p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &[i16]) -> u8 {
    let scale = Requantizer::new(p.y_shift);
    let channels = x.iter().zip(z).zip(y.iter_mut()).zip(p.d_skip.iter().zip(p.state_code));
    let mut largest = 0u32;
    for (((&x, &z), y), (&d, &code)) in channels {
        let skip = narrow::round(d as i32 * x as i32, p.d_shift as u32);
        *y = narrow::gated(*y, scale, code, skip, narrow::silu(z, p.z_frac), p.gate_shift);
        largest |= y.unsigned_abs();
    }
    let down = 17 - largest.leading_zeros().min(17);
    if down == 0 {
        for (x, &y) in x.iter_mut().zip(y.iter()) {
            *x = y as i16;
        }
    } else {
        for (x, &y) in x.iter_mut().zip(y.iter()) {
            *x = narrow::saturate(narrow::round(y, down));
        }
    }
    down as u8
}
