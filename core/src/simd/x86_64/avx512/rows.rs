//! Products of one position with rows that are not in tiles: four rows share the loads of activations.

use core::arch::x86_64::*;

use super::token::{Avx512, first_bytes};
use crate::simd::isa::{Isa, ROWS, Sums};

impl Avx512 {
    /// Adds the products of four rows' weights to their sums.
    #[inline(always)]
    fn add_4(self, sums: &mut [[__m512i; 2]; 4], w: [__m512i; 4], [high, low, negative]: [__m512i; 3]) {
        for (sums, w) in sums.iter_mut().zip(w) {
            avx512!({
                let w = _mm512_xor_si512(w, negative);
                sums[0] = _mm512_dpbusd_epi32(sums[0], high, w);
                sums[1] = _mm512_dpbusd_epi32(sums[1], low, w);
            });
        }
    }

    /// The sums of four rows of `n` columns, lane by lane, over the high and the low plane. As many bytes from `ahead`
    /// on are fetched meanwhile.
    ///
    /// # Safety
    /// `w` are `n` bytes each, `x` are `2 * n`.
    #[inline(always)]
    pub(super) unsafe fn four_rows(
        self,
        w: [*const i8; 4],
        x: *const u8,
        n: usize,
        start: [__m512i; 2],
        ahead: Option<*const i8>,
    ) -> [[__m512i; 2]; 4] {
        let mut sums = [start; 4];
        let whole = n & !63;
        let mut at = 0;
        while at < whole {
            if let Some(ahead) = ahead {
                crate::simd::x86_64::fetch(ahead.wrapping_add(4 * at));
            }
            // SAFETY: the 64 columns from `at` on lie before `whole`; the token stands for the instructions.
            unsafe {
                let x = x.add(2 * at);
                let planes = self.planes(_mm512_loadu_si512(x.cast()), _mm512_loadu_si512(x.add(64).cast()));
                let w = [
                    _mm512_loadu_si512(w[0].add(at).cast()),
                    _mm512_loadu_si512(w[1].add(at).cast()),
                    _mm512_loadu_si512(w[2].add(at).cast()),
                    _mm512_loadu_si512(w[3].add(at).cast()),
                ];
                self.add_4(&mut sums, w, planes);
            }
            at += 64;
        }
        if whole < n {
            let mask = first_bytes(n - whole);
            // SAFETY: the mask leaves `n - whole` bytes of each.
            unsafe {
                let x = x.add(2 * whole).cast::<i8>();
                let (high, low) = (_mm512_maskz_loadu_epi8(mask, x), _mm512_maskz_loadu_epi8(mask, x.add(n - whole)));
                let w = [
                    _mm512_maskz_loadu_epi8(mask, w[0].add(whole)),
                    _mm512_maskz_loadu_epi8(mask, w[1].add(whole)),
                    _mm512_maskz_loadu_epi8(mask, w[2].add(whole)),
                    _mm512_maskz_loadu_epi8(mask, w[3].add(whole)),
                ];
                self.add_4(&mut sums, w, self.planes(high, low));
            }
        }
        sums
    }

    /// [`Isa::dot_panel`]; `LONG`: more than [`BLOCK`](crate::linear::BLOCK) columns.
    ///
    /// # Safety
    /// `w` is `4 * ROWS * x.len()` bytes.
    #[inline(always)]
    pub(super) unsafe fn panel<const LONG: bool>(
        self,
        w: *const i8,
        x: &[i16],
        start: [__m512i; 2],
        ahead: Option<*const i8>,
    ) -> [Sums<__m512i>; 4] {
        let n = x.len();
        let far = ROWS * n;
        let zero = self.splat(0);
        let (mut high, mut low) = ([[zero; 4]; 4], [[zero; 4]; 4]);
        for quad in 0..4 {
            let (mut upper, mut lower) = ([[zero; 4]; 4], [[zero; 4]; 4]);
            for row in 0..4 {
                // SAFETY: row `4 * quad + row` and those 16, 32 and 48 after it have `n` weights, `x` has `n`
                // activations.
                let sums = unsafe {
                    let first = w.add((4 * quad + row) * n);
                    let rows = [first, first.add(far), first.add(2 * far), first.add(3 * far)];
                    let ahead = ahead.map(|a| a.wrapping_add((4 * quad + row) * 4 * n));
                    self.four_rows(rows, x.as_ptr().cast(), n, start, ahead)
                };
                for block in 0..4 {
                    let [h, l] = sums[block];
                    if LONG {
                        (upper[block][row], lower[block][row]) = (h, l);
                    } else {
                        lower[block][row] = self.add(self.shl(h, 8), l);
                    }
                }
            }
            for block in 0..4 {
                low[block][quad] = self.sum_4(lower[block]);
                if LONG {
                    high[block][quad] = self.sum_4(upper[block]);
                }
            }
        }
        let mut out = [Sums { high: zero, low: zero }; 4];
        for block in 0..4 {
            out[block].low = self.sum_16(low[block]);
            if LONG {
                out[block].high = self.sum_16(high[block]);
            }
        }
        out
    }
}
