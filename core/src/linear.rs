//! Projections: i8 weights by i16 activations, exact.
//!
//! `acc[r] = sum_j w[r, j] * x[j]` over blocks of 512 columns: `512 * 128 * 32767 < 2^31`, so a block is exact in i32
//! whatever the weights are, in any order of summation; blocks add up in i64. No check and no proof per model is
//! needed.

/// Columns whose products always fit an i32.
pub const BLOCK: usize = 512;

/// `sum_j w[j] * x[j]`, exact.
#[cfg_attr(not(mambabyte_dsp), inline(always))]
#[cfg_attr(mambabyte_dsp, inline(never))]
pub fn dot_i8_i16(w: &[i8], x: &[i16]) -> i64 {
    let mut total = 0i64;
    for (w, x) in w.chunks(BLOCK).zip(x.chunks(BLOCK)) {
        let mut acc = 0i32;
        for (&w, &x) in w.iter().zip(x) {
            acc = acc.wrapping_add(w as i32 * x as i32);
        }
        total += acc as i64;
    }
    total
}

/// Matrix times vector; `emit(row, accumulator, code)` takes each result.
///
/// * `w`: `[rows, x.len()]`, row-major; `code`: `[rows]`.
#[inline(always)]
pub fn matvec_i8(w: &[i8], code: &[u8], x: &[i16], mut emit: impl FnMut(usize, i64, u8)) {
    let columns = if x.is_empty() { 1 } else { x.len() };
    for (row, (w, &code)) in w.chunks_exact(columns).zip(code).enumerate() {
        emit(row, dot_i8_i16(w, x), code);
    }
}
