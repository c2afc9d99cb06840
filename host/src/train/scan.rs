//! The selective scan over a chunk of positions, forward and back, a block of channels at a time.
//!
//! ```text
//! h[t]     = exp(delta[t] A) h[t - 1] + delta[t] x[t] B[t]          y[t] = sum_n C[t] h[t] + D x[t]
//! dh[t]    = dy[t] C[t] + exp(delta[t + 1] A) dh[t + 1]
//! ddelta   = sum_n dh[t] (h[t - 1] exp(delta[t] A) A + B[t] x[t])
//! ```
//!
//! The states of a chunk are not kept: going back computes them again from the state before it, into memory that a
//! core's cache holds. Sums over channels (the gradients of B and C) stay apart in lanes until the last block.

use super::chunk::Starts;
use super::math::{exp, vectors};

/// Channels that go through the scan together.
pub(super) const LANES: usize = 8;
type Lane = [f32; LANES];
const ZERO: Lane = [0.0; LANES];

/// The decays of one layer.
#[derive(Clone, Copy)]
pub(super) struct Decays<'a> {
    /// `A`, `[d_inner, d_state]`, negative.
    pub(super) a: &'a [f32],
    pub(super) d_state: usize,
    /// `A[d, n] = (n + 1) A[d, 0]`: the decays are powers of the first.
    pub(super) tied: bool,
}

/// The inputs of a chunk: `delta` and `x` `[_, d_inner]`; `dtbc` `[_, dt_rank + 2 * d_state]`; `skip` is `D`.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) delta: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) dtbc: &'a [f32],
    pub(super) dt_rank: usize,
    pub(super) skip: &'a [f32],
    pub(super) starts: Starts<'a>,
}

impl Inputs<'_> {
    fn d_inner(&self) -> usize {
        self.skip.len()
    }

    fn len(&self) -> usize {
        self.x.len() / self.d_inner()
    }

    /// Columns of `dtbc`.
    fn width(&self) -> usize {
        self.dtbc.len() / self.len()
    }

    /// B and C at position `t`.
    #[inline(always)]
    fn bc(&self, t: usize, d_state: usize) -> (&[f32], &[f32]) {
        let width = self.dt_rank + 2 * d_state;
        self.dtbc[t * width + self.dt_rank..(t + 1) * width].split_at(d_state)
    }
}

/// Memory of the scan for one thread.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[_]`: inputs of the block.
    delta: Vec<Lane>,
    x: Vec<Lane>,
    dy: Vec<Lane>,
    /// `[_]`, the first decay if they are tied, else `[_, d_state]`.
    keep: Vec<Lane>,
    /// `[1 + _, d_state]`: the state before each position and after the last.
    h: Vec<Lane>,
    /// `[_, d_state]`: gradients of B and C, lanes apart.
    db: Vec<Lane>,
    dc: Vec<Lane>,
    /// `[d_state]`: A of the block, its gradient, and that of the state.
    a: Vec<Lane>,
    da: Vec<Lane>,
    dh: Vec<Lane>,
    /// `[d_state]`: the state before a document.
    zero: Vec<Lane>,
}

/// Columns `at..` of every row, as many as there are lanes; zeros where the rows end.
#[inline(always)]
fn gather(from: &[f32], columns: usize, at: usize, to: &mut Vec<Lane>) {
    to.resize(from.len() / columns, ZERO);
    for (to, row) in to.iter_mut().zip(from.chunks_exact(columns)) {
        *to = lane(&row[at..]);
    }
}

#[inline(always)]
fn lane(values: &[f32]) -> Lane {
    match values.first_chunk() {
        Some(lane) => *lane,
        None => lanes(|l| values.get(l).copied().unwrap_or(0.0)),
    }
}

/// Writes as many lanes as there is room for.
#[inline(always)]
fn scatter(lane: &Lane, to: &mut [f32]) {
    match to.first_chunk_mut() {
        Some(to) => *to = *lane,
        None => to.iter_mut().zip(lane).for_each(|(to, l)| *to = *l),
    }
}

/// A vector of what `f` says of each lane. (`std::array::from_fn` may not be inlined, and then has no wide vectors.)
#[inline(always)]
fn lanes(f: impl Fn(usize) -> f32) -> Lane {
    let mut lanes = ZERO;
    for (l, lane) in lanes.iter_mut().enumerate() {
        *lane = f(l);
    }
    lanes
}

#[inline(always)]
fn map2(a: &Lane, b: &Lane, f: impl Fn(f32, f32) -> f32) -> Lane {
    lanes(|l| f(a[l], b[l]))
}

impl Scratch {
    /// Gathers a block's inputs, the state before the chunk and the decays.
    #[inline(always)]
    fn load<const TIED: bool>(&mut self, decays: Decays<'_>, inputs: &Inputs<'_>, h: &[f32], at: usize) {
        let (di, n) = (inputs.d_inner(), decays.d_state);
        gather(inputs.delta, di, at, &mut self.delta);
        gather(inputs.x, di, at, &mut self.x);
        self.a.clear();
        self.h.clear();
        for i in 0..n {
            let channel = |from: &[f32], l: usize| from.get((at + l) * n + i).copied().unwrap_or(0.0);
            self.a.push(lanes(|l| channel(decays.a, l)));
            self.h.push(lanes(|l| channel(h, l)));
        }
        self.h.resize((inputs.len() + 1) * n, ZERO);
        self.zero.resize(n, ZERO);
        // Not through an iterator that fills a vector: what that is compiled to has no wide vectors.
        if TIED {
            let a = self.a[0];
            self.keep.resize(inputs.len(), ZERO);
            for (keep, delta) in self.keep.iter_mut().zip(&self.delta) {
                *keep = map2(delta, &a, |delta, a| exp(delta * a));
            }
        } else {
            self.keep.resize(inputs.len() * n, ZERO);
            for (keep, delta) in self.keep.chunks_exact_mut(n).zip(&self.delta) {
                for (keep, a) in keep.iter_mut().zip(&self.a) {
                    *keep = map2(delta, a, |delta, a| exp(delta * a));
                }
            }
        }
    }

    /// Runs the block forward. Shows each position's output without the skip to `out`.
    #[inline(always)]
    fn run<const TIED: bool>(&mut self, n: usize, inputs: &Inputs<'_>, mut out: impl FnMut(usize, Lane)) {
        for (t, (delta, x)) in self.delta.iter().zip(&self.x).enumerate() {
            let (b, c) = inputs.bc(t, n);
            let (before, after) = self.h[t * n..(t + 2) * n].split_at_mut(n);
            let before = if inputs.starts.at(t) { &self.zero } else { &*before };
            let dx = map2(delta, x, |delta, x| delta * x);
            let first = self.keep[if TIED { t } else { t * n }];
            let mut keep = first;
            let mut sum = ZERO;
            let states = before.iter().zip(after).zip(b.iter().zip(c));
            for (i, ((before, after), (&b, &c))) in states.enumerate() {
                if !TIED {
                    keep = self.keep[t * n + i];
                }
                let new: Lane = lanes(|l| keep[l] * before[l] + dx[l] * b);
                *after = new;
                sum = map2(&sum, &new, |sum, h| sum + c * h);
                if TIED {
                    keep = map2(&keep, &first, |power, first| power * first);
                }
            }
            out(t, sum);
        }
    }

    /// The state after the chunk, to `[d_inner, d_state]`.
    #[inline(always)]
    fn unload(state: &[Lane], n: usize, h: &mut [f32], at: usize) {
        for (i, state) in state.iter().enumerate() {
            for (l, state) in state.iter().enumerate() {
                if let Some(h) = h.get_mut((at + l) * n + i) {
                    *h = *state;
                }
            }
        }
    }

    #[inline(always)]
    fn forward<const TIED: bool>(&mut self, decays: Decays<'_>, inputs: &Inputs<'_>, h: &mut [f32], y: &mut [f32]) {
        let (di, n) = (inputs.d_inner(), decays.d_state);
        for at in (0..di).step_by(LANES) {
            self.load::<TIED>(decays, inputs, h, at);
            self.run::<TIED>(n, inputs, |t, sum| scatter(&sum, &mut y[t * di + at..(t + 1) * di]));
            Self::unload(&self.h[inputs.len() * n..], n, h, at);
        }
        for (y, x) in y.chunks_exact_mut(di).zip(inputs.x.chunks_exact(di)) {
            for ((y, x), skip) in y.iter_mut().zip(x).zip(inputs.skip) {
                *y += skip * x;
            }
        }
    }

    #[inline(always)]
    fn backward<const TIED: bool>(&mut self, decays: Decays<'_>, inputs: &Inputs<'_>, h: &[f32], out: &mut Out<'_>) {
        let (di, n, len) = (inputs.d_inner(), decays.d_state, inputs.len());
        for sums in [&mut self.db, &mut self.dc] {
            sums.clear();
            sums.resize(len * n, ZERO);
        }
        for at in (0..di).step_by(LANES) {
            self.load::<TIED>(decays, inputs, h, at);
            gather(out.dy, di, at, &mut self.dy);
            self.run::<TIED>(n, inputs, |_, _| {});
            self.dh.clear();
            for i in 0..n {
                let channel = |l: usize| out.dh.get((at + l) * n + i).copied().unwrap_or(0.0);
                self.dh.push(lanes(channel));
            }
            self.da.clear();
            self.da.resize(n, ZERO);
            let (skip, mut dskip) = (lane(&inputs.skip[at..]), ZERO);
            for t in (0..len).rev() {
                let (delta, x, dy) = (self.delta[t], self.x[t], self.dy[t]);
                let (b, c) = inputs.bc(t, n);
                let scaled = map2(&delta, &x, |delta, x| delta * x);
                let (before, after) = self.h[t * n..(t + 2) * n].split_at(n);
                let before = if inputs.starts.at(t) { &self.zero } else { before };
                let first = self.keep[if TIED { t } else { t * n }];
                let mut keep = first;
                let (mut via_b, mut via_decay) = (ZERO, ZERO);
                let states = before.iter().zip(after).zip(b.iter().zip(c)).zip(self.dh.iter_mut());
                let sums = self.db[t * n..(t + 1) * n].iter_mut().zip(&mut self.dc[t * n..(t + 1) * n]);
                let rates = self.a.iter().zip(&mut self.da);
                for (i, ((state, (db, dc)), (a, da))) in states.zip(sums).zip(rates).enumerate() {
                    let (((before, after), (&b, &c)), dh) = state;
                    if !TIED {
                        keep = self.keep[t * n + i];
                    }
                    let full = map2(&dy, dh, |dy, dh| dy * c + dh);
                    *dc = lanes(|l| dc[l] + dy[l] * after[l]);
                    *db = lanes(|l| db[l] + full[l] * scaled[l]);
                    via_b = map2(&via_b, &full, |sum, full| sum + full * b);
                    *dh = map2(&full, &keep, |full, keep| full * keep);
                    let through = map2(dh, before, |dh, before| dh * before);
                    if TIED {
                        let power = (i + 1) as f32;
                        via_decay = map2(&via_decay, &through, |sum, through| sum + through * power);
                        keep = map2(&keep, &first, |power, first| power * first);
                    } else {
                        via_decay = lanes(|l| via_decay[l] + through[l] * a[l]);
                        *da = lanes(|l| da[l] + through[l] * delta[l]);
                    }
                }
                if TIED {
                    self.da[0] = lanes(|l| self.da[0][l] + via_decay[l] * delta[l]);
                    via_decay = map2(&via_decay, &self.a[0], |sum, a| sum * a);
                }
                if inputs.starts.at(t) {
                    self.dh.fill(ZERO);
                }
                let ddelta: Lane = lanes(|l| via_decay[l] + via_b[l] * x[l]);
                let dx: Lane = lanes(|l| via_b[l] * delta[l] + dy[l] * skip[l]);
                dskip = lanes(|l| dskip[l] + dy[l] * x[l]);
                scatter(&ddelta, &mut out.ddelta[t * di + at..(t + 1) * di]);
                scatter(&dx, &mut out.dx[t * di + at..(t + 1) * di]);
            }
            Self::unload(&self.dh, n, out.dh, at);
            out.dskip[at..].iter_mut().zip(dskip).for_each(|(sum, d)| *sum += d);
            // A = -exp(A_log), so that dA/dA_log = A; of tied decays the first of a channel takes all.
            for (i, (a, da)) in self.a.iter().zip(&self.da).enumerate().take(if TIED { 1 } else { n }) {
                for l in 0..LANES {
                    if let Some(sum) = out.da_log.get_mut((at + l) * n + i) {
                        *sum += a[l] * da[l];
                    }
                }
            }
        }
        let (width, rank) = (inputs.width(), inputs.dt_rank);
        for (t, row) in out.dtbc.chunks_exact_mut(width).enumerate() {
            let (db, dc) = row[rank..].split_at_mut(n);
            for (to, lanes) in [(db, &self.db), (dc, &self.dc)] {
                to.iter_mut().zip(&lanes[t * n..]).for_each(|(to, lanes)| *to = total(lanes));
            }
        }
    }
}

/// The sum of a vector's lanes.
#[inline(always)]
fn total(l: &Lane) -> f32 {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

/// `h` `[d_inner, d_state]` is the state before the chunk, then after it; `y` `[_, d_inner]` takes the output.
pub(super) fn forward(scratch: &mut Scratch, decays: Decays<'_>, inputs: &Inputs<'_>, h: &mut [f32], y: &mut [f32]) {
    vectors(
        #[inline(always)]
        || match decays.tied {
            true => scratch.forward::<true>(decays, inputs, h, y),
            false => scratch.forward::<false>(decays, inputs, h, y),
        },
    );
}

/// The gradients that go into the scan's way back, and those that come out.
pub(super) struct Out<'a> {
    /// `[_, d_inner]`, of `y`.
    pub(super) dy: &'a [f32],
    /// `[d_inner, d_state]`, of the state after the chunk, then of that before it.
    pub(super) dh: &'a mut [f32],
    /// `[_, d_inner]`, overwritten.
    pub(super) ddelta: &'a mut [f32],
    /// `[_, d_inner]`, overwritten.
    pub(super) dx: &'a mut [f32],
    /// `[_, dt_rank + 2 * d_state]`, overwritten but for `dt`.
    pub(super) dtbc: &'a mut [f32],
    /// `[d_inner, d_state]`, added to.
    pub(super) da_log: &'a mut [f32],
    /// `[d_inner]`, added to.
    pub(super) dskip: &'a mut [f32],
}

/// `h` `[d_inner, d_state]` is the state before the chunk.
pub(super) fn backward(scratch: &mut Scratch, decays: Decays<'_>, inputs: &Inputs<'_>, h: &[f32], out: &mut Out<'_>) {
    vectors(
        #[inline(always)]
        || match decays.tied {
            true => scratch.backward::<true>(decays, inputs, h, out),
            false => scratch.backward::<false>(decays, inputs, h, out),
        },
    );
}
