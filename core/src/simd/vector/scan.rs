//! The selective scan in vectors, at one position and at a block of them.

use super::tables::index_base;
use crate::cannot::never;
use crate::fixed::mul_q15;
use crate::nonlinear;
use crate::selective_scan;
use crate::simd::isa::Isa;
use crate::simd::{Kernels, Scalar, Selected};
use crate::span::Span;

/// How many channels ahead the scan's rows are fetched.
const FETCHED_CHANNELS: usize = 4 * 32;

/// 32 channels from index `i` on.
#[inline(always)]
fn at_row<T>(x: &[T], i: usize) -> Option<&[T; 32]> {
    x.get(i..)?.first_chunk()
}

#[inline(always)]
fn at_row_mut<T>(x: &mut [T], i: usize) -> Option<&mut [T; 32]> {
    x.get_mut(i..)?.first_chunk_mut()
}

/// `a * h + dx * b` of 32 channels of a state.
#[inline(always)]
fn next<I: Isa>(isa: I, h: I::H, a: I::H, dx: I::H, b: i16) -> I::H {
    isa.add_saturating_h(isa.mul_q15(a, h), isa.mul_q15(dx, isa.splat_h(b)))
}

/// [`next`] in its place; returns it.
#[inline(always)]
fn update<I: Isa>(isa: I, h: &mut [i16; 32], a: I::H, dx: I::H, b: i16) -> I::H {
    let next = next(isa, isa.load_h(h), a, dx, b);
    isa.store_h(next, h);
    next
}

/// Starts to fetch what follows in two rows of `n`: there are too many rows for a processor to predict that it reads on
/// in each.
#[inline(always)]
fn fetch_rows<I: Isa, T>(isa: I, x: &[T], at: usize, n: usize) {
    if let (Some(first), Some(second)) = (x.get(at + FETCHED_CHANNELS), x.get(at + n + FETCHED_CHANNELS)) {
        isa.fetch(first);
        isa.fetch(second);
    }
}

/// Pairs of states, without the last one of an odd number.
#[inline(always)]
fn pairs<'a>(b: &'a [i16], c: &'a [i16]) -> impl Iterator<Item = (&'a [i16; 2], &'a [i16; 2])> {
    b.as_chunks::<2>().0.iter().zip(c.as_chunks::<2>().0)
}

/// All states of 32 channels whose decays are free. `at` is the first channel in `h` and `a_log`, in rows of `n`; the
/// channels after it are fetched, as they are next.
#[inline(always)]
fn free_32<I: Isa>(
    isa: I,
    h: &mut [i16],
    a_log: &[u8],
    n: usize,
    mut at: usize,
    base: i32,
    b: &[i16],
    c: &[i16],
    log_delta: &[i16; 32],
    dx: &[i16; 32],
    y: &mut [i32; 32],
) {
    let Some([first, last]) = log_delta.as_chunks::<16>().0.first_chunk() else {
        return never("32 channels in each row that was measured", ());
    };
    let first = isa.shr(isa.add(isa.load_i16(first), isa.splat(base)), 3);
    let last = isa.shr(isa.add(isa.load_i16(last), isa.splat(base)), 3);
    let (rates, dx) = (isa.rates(isa.narrow(first, last)), isa.load_h(dx));
    let mut sums = isa.no_sums();
    for (b, c) in pairs(b, c) {
        fetch_rows(isa, h, at, n);
        fetch_rows(isa, a_log, at, n);
        let (Some(first), Some(second)) = (at_row(a_log, at), at_row(a_log, at + n)) else {
            return never("32 channels in each row that was measured", ());
        };
        let (a0, a1) = (isa.decays_h(rates, isa.factors(first)), isa.decays_h(rates, isa.factors(second)));
        let Some(row) = at_row_mut(h, at) else { return never("32 channels in each row that was measured", ()) };
        let h0 = update(isa, row, a0, dx, b[0]);
        let Some(row) = at_row_mut(h, at + n) else { return never("32 channels in each row that was measured", ()) };
        let h1 = update(isa, row, a1, dx, b[1]);
        sums = isa.add_products(sums, h0, h1, *c);
        at += 2 * n;
    }
    if let (1, Some(&b), Some(&c)) = (b.len() % 2, b.last(), c.last()) {
        let (Some(code), Some(row)) = (at_row(a_log, at), at_row_mut(h, at)) else {
            return never("32 channels in each row that was measured", ());
        };
        let h0 = update(isa, row, isa.decays_h(rates, isa.factors(code)), dx, b);
        sums = isa.add_products(sums, h0, h0, [c, 0]);
    }
    isa.store_sums(sums, y);
}

/// The same with the powers of one decay, which stay in a register.
#[inline(always)]
fn tied_32<I: Isa>(
    isa: I,
    h: &mut [i16],
    n: usize,
    mut at: usize,
    b: &[i16],
    c: &[i16],
    r: &[i16; 32],
    dx: &[i16; 32],
    y: &mut [i32; 32],
) {
    let (dx, r) = (isa.load_h(dx), isa.load_h(r));
    let mut a = r;
    let mut sums = isa.no_sums();
    for (b, c) in pairs(b, c) {
        fetch_rows(isa, h, at, n);
        let Some(row) = at_row_mut(h, at) else { return never("32 channels in each row that was measured", ()) };
        let h0 = update(isa, row, a, dx, b[0]);
        a = isa.mul_q15(a, r);
        let Some(row) = at_row_mut(h, at + n) else { return never("32 channels in each row that was measured", ()) };
        let h1 = update(isa, row, a, dx, b[1]);
        a = isa.mul_q15(a, r);
        sums = isa.add_products(sums, h0, h1, *c);
        at += 2 * n;
    }
    if let (1, Some(&b), Some(&c)) = (b.len() % 2, b.last(), c.last()) {
        let Some(row) = at_row_mut(h, at) else { return never("32 channels in each row that was measured", ()) };
        let h0 = update(isa, row, a, dx, b);
        sums = isa.add_products(sums, h0, h0, [c, 0]);
    }
    isa.store_sums(sums, y);
}

/// [`Kernels::scan_free`](crate::simd::Kernels::scan_free).
#[inline(always)]
pub(crate) fn scan_free<I: Isa, P: Span>(
    isa: I,
    h: &mut [i16],
    a_log: &[u8],
    a_base: i16,
    bc: Selected<'_>,
    log_delta: &[i16],
    dx: &[i16],
    y: &mut [i32],
) {
    if !isa.floats() {
        Scalar.scan_free::<P>(h, a_log, a_base, bc, log_delta, dx, y);
    } else if P::ONE {
        let (b, c) = bc.one();
        one_free(isa, h, a_log, a_base, b, c, log_delta, dx, y);
    } else {
        many_free(isa, h, a_log, a_base, bc, log_delta, dx, y);
    }
}

/// [`Kernels::scan_tied`](crate::simd::Kernels::scan_tied).
#[inline(always)]
pub(crate) fn scan_tied<I: Isa, P: Span>(
    isa: I,
    h: &mut [i16],
    bc: Selected<'_>,
    r: &[i16],
    a: &mut [i16],
    dx: &[i16],
    y: &mut [i32],
) {
    if P::ONE {
        let (b, c) = bc.one();
        one_tied(isa, h, b, c, r, a, dx, y);
    } else {
        many_tied(isa, h, bc, r, a, dx, y);
    }
}

/// Free decays at one position.
#[inline(always)]
fn one_free<I: Isa>(
    isa: I,
    h: &mut [i16],
    a_log: &[u8],
    a_base: i16,
    b: &[i16],
    c: &[i16],
    log_delta: &[i16],
    dx: &[i16],
    y: &mut [i32],
) {
    let n = y.len();
    let whole = h.len() == n * b.len() && a_log.len() == h.len() && c.len() == b.len();
    if !whole || log_delta.len() != n || dx.len() != n {
        return selective_scan::scan_step_free(h, a_log, a_base, b, c, log_delta, dx, y);
    }
    let base = index_base(a_base);
    let blocks = y.as_chunks_mut().0.iter_mut().zip(dx.as_chunks().0).zip(log_delta.as_chunks().0);
    for (d, ((y, dx), l)) in (0..n).step_by(32).zip(blocks) {
        free_32(isa, h, a_log, n, d, base, b, c, l, dx, y);
    }
    let left = y.as_chunks_mut::<32>().1.iter_mut().zip(log_delta.as_chunks::<32>().1).zip(dx.as_chunks::<32>().1);
    for (d, ((y, &l), &dx)) in (n & !31..n).zip(left) {
        let column = h.iter_mut().skip(d).step_by(n).zip(a_log.iter().skip(d).step_by(n));
        *y = column.zip(b.iter().zip(c)).fold(0, |y, ((h, &code), (&b, &c))| {
            let a = nonlinear::decay(l as i32 + a_base as i32 + 32 * code as i32);
            one(h, a, dx, b, c, y)
        });
    }
}

/// Tied decays at one position.
#[inline(always)]
fn one_tied<I: Isa>(isa: I, h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    let n = y.len();
    if h.len() != n * b.len() || c.len() != b.len() || r.len() != n || dx.len() != n {
        return selective_scan::scan_step_tied(h, b, c, r, a, dx, y);
    }
    let blocks = y.as_chunks_mut().0.iter_mut().zip(dx.as_chunks().0).zip(r.as_chunks().0);
    for (d, ((y, dx), r)) in (0..n).step_by(32).zip(blocks) {
        tied_32(isa, h, n, d, b, c, r, dx, y);
    }
    let left = y.as_chunks_mut::<32>().1.iter_mut().zip(r.as_chunks::<32>().1).zip(dx.as_chunks::<32>().1);
    for (d, ((y, &r), &dx)) in (n & !31..n).zip(left) {
        let mut a = r;
        *y = h.iter_mut().skip(d).step_by(n).zip(b.iter().zip(c)).fold(0, |y, (h, (&b, &c))| {
            let y = one(h, a, dx, b, c, y);
            a = mul_q15(a, r);
            y
        });
    }
}

/// Positions of a block that the states of 32 channels go through at a time.
const POSITIONS: usize = 16;

/// What is read at a position of 32 channels: the rates or the powers of a decay, `delta * x`, and the sums of `y`.
#[derive(Clone, Copy)]
struct Position<I: Isa, A> {
    decay: A,
    dx: I::H,
    sums: I::Y,
}

/// `B` and `C` of a position at states `s` and `s + 1`; the second ones are 0 if there is no such state.
#[inline(always)]
fn pair_at(bc: &[i16], d_state: usize, s: usize) -> [[i16; 2]; 2] {
    let at = |i: usize| bc.get(i).copied().unwrap_or_else(|| never("B and C of every state", 0));
    if s + 1 < d_state {
        [[at(s), at(s + 1)], [at(d_state + s), at(d_state + s + 1)]]
    } else {
        [[at(s), 0], [at(d_state + s), 0]]
    }
}

/// The channels from `d` on through the positions of `inputs`, at most [`POSITIONS`]: pairs of states one after the
/// other, each pair in registers for all positions.
#[inline(always)]
fn free_block<I: Isa>(
    isa: I,
    h: &mut [i16],
    a_log: &[u8],
    bc: Selected<'_>,
    n: usize,
    d: usize,
    positions: &mut [Position<I, I::Rates>],
) {
    for s in (0..bc.d_state).step_by(2) {
        let at = s * n + d;
        let (Some(code), Some(row)) = (at_row(a_log, at), at_row(h, at)) else {
            return never("32 channels in each row that was measured", ());
        };
        let (f0, mut h0) = (isa.factors(code), isa.load_h(row));
        // A missing partner is a copy of this state whose B and C are 0, and is not stored.
        let (f1, mut h1) = match (at_row(a_log, at + n), at_row(h, at + n)) {
            (Some(code), Some(row)) => (isa.factors(code), isa.load_h(row)),
            _ => (f0, h0),
        };
        for (p, bc_row) in positions.iter_mut().zip(bc.both()) {
            let [b, c] = pair_at(bc_row, bc.d_state, s);
            h0 = next(isa, h0, isa.decays_h(p.decay, f0), p.dx, b[0]);
            h1 = next(isa, h1, isa.decays_h(p.decay, f1), p.dx, b[1]);
            p.sums = isa.add_products(p.sums, h0, h1, c);
        }
        if let Some(row) = at_row_mut(h, at) {
            isa.store_h(h0, row);
        }
        if let (true, Some(row)) = (s + 1 < bc.d_state, at_row_mut(h, at + n)) {
            isa.store_h(h1, row);
        }
    }
}

/// The same with tied decays: each position has the power of its next state, and the first one, `r`.
#[inline(always)]
fn tied_block<I: Isa>(
    isa: I,
    h: &mut [i16],
    bc: Selected<'_>,
    n: usize,
    d: usize,
    positions: &mut [Position<I, [I::H; 2]>],
) {
    for s in (0..bc.d_state).step_by(2) {
        let at = s * n + d;
        let Some(row) = at_row(h, at) else { return never("32 channels in each row that was measured", ()) };
        let mut h0 = isa.load_h(row);
        let mut h1 = at_row(h, at + n).map_or(h0, |row| isa.load_h(row));
        for (p, bc_row) in positions.iter_mut().zip(bc.both()) {
            let [b, c] = pair_at(bc_row, bc.d_state, s);
            let [a, r] = p.decay;
            h0 = next(isa, h0, a, p.dx, b[0]);
            let a = isa.mul_q15(a, r);
            h1 = next(isa, h1, a, p.dx, b[1]);
            p.decay = [isa.mul_q15(a, r), r];
            p.sums = isa.add_products(p.sums, h0, h1, c);
        }
        if let Some(row) = at_row_mut(h, at) {
            isa.store_h(h0, row);
        }
        if let (true, Some(row)) = (s + 1 < bc.d_state, at_row_mut(h, at + n)) {
            isa.store_h(h1, row);
        }
    }
}

/// Free decays, 32 channels through [`POSITIONS`] at a time.
#[inline(always)]
fn many_free<I: Isa>(
    isa: I,
    h: &mut [i16],
    a_log: &[u8],
    a_base: i16,
    bc: Selected<'_>,
    log_delta: &[i16],
    dx: &[i16],
    y: &mut [i32],
) {
    let n = (a_log.len() / bc.d_state.max(1)).max(1);
    let whole = h.len() == n * bc.d_state && a_log.len() == h.len() && n.is_multiple_of(32);
    if !whole {
        // A loop and no closure: that would be compiled without the processor's instructions.
        let inputs = log_delta.chunks_exact(n).zip(dx.chunks_exact(n));
        for ((b, c), ((l, dx), y)) in bc.positions().zip(inputs.zip(y.chunks_exact_mut(n))) {
            one_free(isa, h, a_log, a_base, b, c, l, dx, y);
        }
        return;
    }
    let base = isa.splat(index_base(a_base));
    let some = Position { decay: isa.rates(isa.splat_h(0)), dx: isa.splat_h(0), sums: isa.no_sums() };
    let mut all = [some; POSITIONS];
    for d in (0..n).step_by(32) {
        let inputs = log_delta.chunks(POSITIONS * n).zip(dx.chunks(POSITIONS * n)).zip(y.chunks_mut(POSITIONS * n));
        for (((l, dx), y), bc) in inputs.zip(bc.chunks(POSITIONS)) {
            let mut positions = 0;
            for (p, (l, dx)) in all.iter_mut().zip(l.chunks_exact(n).zip(dx.chunks_exact(n))) {
                let (Some(l), Some(dx)) = (at_row(l, d), at_row(dx, d)) else {
                    return never("32 channels in each row that was measured", ());
                };
                let Some([first, last]) = l.as_chunks::<16>().0.first_chunk() else {
                    return never("32 channels in each row that was measured", ());
                };
                let first = isa.shr(isa.add(isa.load_i16(first), base), 3);
                let last = isa.shr(isa.add(isa.load_i16(last), base), 3);
                *p = Position { decay: isa.rates(isa.narrow(first, last)), dx: isa.load_h(dx), ..some };
                positions += 1;
            }
            let Some(all) = all.get_mut(..positions) else {
                return never("32 channels in each row that was measured", ());
            };
            free_block(isa, h, a_log, bc, n, d, all);
            for (p, y) in all.iter().zip(y.chunks_exact_mut(n)) {
                let Some(y) = at_row_mut(y, d) else { return never("32 channels in each row that was measured", ()) };
                isa.store_sums(p.sums, y);
            }
        }
    }
}

/// Tied decays in the same way.
#[inline(always)]
fn many_tied<I: Isa>(isa: I, h: &mut [i16], bc: Selected<'_>, r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    let n = a.len().max(1);
    let whole = h.len() == n * bc.d_state && n.is_multiple_of(32);
    if !whole {
        let inputs = r.chunks_exact(n).zip(dx.chunks_exact(n));
        for ((b, c), ((r, dx), y)) in bc.positions().zip(inputs.zip(y.chunks_exact_mut(n))) {
            one_tied(isa, h, b, c, r, a, dx, y);
        }
        return;
    }
    let some = Position { decay: [isa.splat_h(0); 2], dx: isa.splat_h(0), sums: isa.no_sums() };
    let mut all = [some; POSITIONS];
    for d in (0..n).step_by(32) {
        let inputs = r.chunks(POSITIONS * n).zip(dx.chunks(POSITIONS * n)).zip(y.chunks_mut(POSITIONS * n));
        for (((r, dx), y), bc) in inputs.zip(bc.chunks(POSITIONS)) {
            let mut positions = 0;
            for (p, (r, dx)) in all.iter_mut().zip(r.chunks_exact(n).zip(dx.chunks_exact(n))) {
                let (Some(r), Some(dx)) = (at_row(r, d), at_row(dx, d)) else {
                    return never("32 channels in each row that was measured", ());
                };
                *p = Position { decay: [isa.load_h(r); 2], dx: isa.load_h(dx), ..some };
                positions += 1;
            }
            let Some(all) = all.get_mut(..positions) else {
                return never("32 channels in each row that was measured", ());
            };
            tied_block(isa, h, bc, n, d, all);
            for (p, y) in all.iter().zip(y.chunks_exact_mut(n)) {
                let Some(y) = at_row_mut(y, d) else { return never("32 channels in each row that was measured", ()) };
                isa.store_sums(p.sums, y);
            }
        }
    }
}

/// One state of one channel.
#[inline(always)]
fn one(h: &mut i16, a: i16, dx: i16, b: i16, c: i16, y: i32) -> i32 {
    *h = mul_q15(a, *h).saturating_add(mul_q15(dx, b));
    y.wrapping_add(c as i32 * *h as i32)
}
