//! The causal convolution of each channel with its SiLU, forward and back, over a chunk of positions.
//!
//! ```text
//! conv[t] = bias + sum_k w[k] u[t + k + 1 - taps]        x[t] = conv[t] sigmoid(conv[t])
//! ```
//!
//! What lies before the chunk is in `history`; what lies before the start of a document counts as zero.

use super::chunk::Starts;
use super::math::{sigmoid, vectors};

/// What the convolution of one layer is: weights `[taps, d_inner]`, bias `[d_inner]`.
#[derive(Clone, Copy)]
pub(super) struct Conv<'a> {
    pub(super) w: &'a [f32],
    pub(super) bias: &'a [f32],
}

/// The row that tap `k` of `taps` sees at position `t`, counted from the oldest row of the history: that of the history
/// if below `taps - 1`, else that of the chunk. `None` if a document starts in between.
#[inline(always)]
fn seen(t: usize, k: usize, taps: usize, starts: Starts<'_>) -> Option<usize> {
    let distance = taps - 1 - k;
    if starts.between(t, distance) { None } else { Some(t + k) }
}

impl Conv<'_> {
    fn taps(&self) -> usize {
        self.w.len() / self.bias.len()
    }

    /// `xz`: `[_, 2 * d_inner]`, of which the first half of each row is read. `history`: `[taps - 1, d_inner]`, oldest
    /// first; that of the next chunk afterwards. `conv`: `[_, d_inner]`, before SiLU.
    pub(super) fn forward(self, xz: &[f32], starts: Starts<'_>, history: &mut [f32], conv: &mut [f32]) {
        let (di, taps) = (self.bias.len(), self.taps());
        let len = conv.len() / di;
        vectors(
            #[inline(always)]
            || {
                for (t, out) in conv.chunks_exact_mut(di).enumerate() {
                    out.copy_from_slice(self.bias);
                    for (k, w) in self.w.chunks_exact(di).enumerate() {
                        let Some(row) = seen(t, k, taps, starts) else { continue };
                        let u = match row.checked_sub(taps - 1) {
                            Some(row) => &xz[row * 2 * di..][..di],
                            None => &history[row * di..][..di],
                        };
                        for ((out, u), w) in out.iter_mut().zip(u).zip(w) {
                            *out += u * w;
                        }
                    }
                }
            },
        );
        // Rows before this one belong to a document that has ended.
        let first = starts.last().map_or(0, |start| taps - 1 + start);
        for k in 0..taps - 1 {
            match (len + k).checked_sub(taps - 1) {
                Some(row) => history[k * di..][..di].copy_from_slice(&xz[row * 2 * di..][..di]),
                None => history.copy_within((len + k) * di..(len + k + 1) * di, k * di),
            }
            if len + k < first {
                history[k * di..][..di].fill(0.0);
            }
        }
    }

    /// `dconv`: `[_, d_inner]`, the gradient of `conv`. Overwrites the first half of each row of `dxz`. `history` as
    /// before the chunk; `dhistory` is the gradient of that after the chunk, then of that before it. `dw` and `dbias`
    /// take theirs.
    pub(super) fn backward(
        self,
        (xz, history): (&[f32], &[f32]),
        starts: Starts<'_>,
        dconv: &[f32],
        (dxz, dhistory): (&mut [f32], &mut [f32]),
        (dw, dbias): (&mut [f32], &mut [f32]),
    ) {
        let (di, taps) = (self.bias.len(), self.taps());
        let len = dconv.len() / di;
        vectors(
            #[inline(always)]
            || {
                for row in dxz.chunks_exact_mut(2 * di) {
                    row[..di].fill(0.0);
                }
                // The next chunk's history are this chunk's last rows, or, where it is short, of its own history,
                // which is why the last is moved first.
                let first = starts.last().map_or(0, |start| taps - 1 + start);
                for k in (0..taps - 1).rev() {
                    let (from, row) = (k * di..(k + 1) * di, len + k);
                    match row.checked_sub(taps - 1) {
                        _ if row < first => {}
                        Some(row) => dxz[row * 2 * di..][..di].copy_from_slice(&dhistory[from.clone()]),
                        None => dhistory.copy_within(from.clone(), row * di),
                    }
                    dhistory[from].fill(0.0);
                }
                for (t, dconv) in dconv.chunks_exact(di).enumerate() {
                    dbias.iter_mut().zip(dconv).for_each(|(b, d)| *b += d);
                    for (k, (w, dw)) in self.w.chunks_exact(di).zip(dw.chunks_exact_mut(di)).enumerate() {
                        let Some(row) = seen(t, k, taps, starts) else { continue };
                        let (u, du) = match row.checked_sub(taps - 1) {
                            Some(row) => (&xz[row * 2 * di..][..di], &mut dxz[row * 2 * di..][..di]),
                            None => (&history[row * di..][..di], &mut dhistory[row * di..][..di]),
                        };
                        for ((((d, w), dw), u), du) in dconv.iter().zip(w).zip(dw).zip(u).zip(du) {
                            *dw += d * u;
                            *du += d * w;
                        }
                    }
                }
            },
        );
    }
}

/// `x = silu(v)` of every element.
pub(super) fn silu(v: &[f32], x: &mut [f32]) {
    vectors(
        #[inline(always)]
        || x.iter_mut().zip(v).for_each(|(x, &v)| *x = v * sigmoid(v)),
    );
}

/// `dx *= silu'(v)` of every element.
pub(super) fn silu_back(v: &[f32], dx: &mut [f32]) {
    vectors(
        #[inline(always)]
        || {
            for (dx, &v) in dx.iter_mut().zip(v) {
                let s = sigmoid(v);
                *dx *= s * (1.0 + v * (1.0 - s));
            }
        },
    );
}
