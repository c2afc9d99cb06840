//! The order of packed activations: of every 64, first the bytes with the sign and the upper half of the magnitude,
//! then the lower ones.

use core::arch::x86_64::*;

use super::token::{Avx512, first_bytes};

impl Avx512 {
    /// Packs or unpacks: 64 activations at a time, and the rest.
    #[inline(always)]
    pub(super) fn repack(self, x: &mut [i16], packs: bool) {
        let (blocks, rest) = x.as_chunks_mut::<64>();
        for block in blocks {
            self.repack_64(block, !0, !0, 64, packs);
        }
        if !rest.is_empty() {
            let mut block = [0i16; 64];
            let n = rest.len();
            // SAFETY: `n` activations are read and written, `block` has room for 64.
            unsafe { core::ptr::copy_nonoverlapping(rest.as_ptr(), block.as_mut_ptr(), n) };
            self.repack_64(
                &mut block,
                first_bytes(n.min(32)) as u32,
                first_bytes(n.saturating_sub(32)) as u32,
                n,
                packs,
            );
            // SAFETY: as above.
            unsafe { core::ptr::copy_nonoverlapping(block.as_ptr(), rest.as_mut_ptr(), n) };
        }
    }

    /// `n` activations of a block: `n` high bytes, then `n` low ones. The masks leave the first 32 and the others.
    #[inline(always)]
    fn repack_64(self, x: &mut [i16; 64], first: u32, last: u32, n: usize, packs: bool) {
        let words = x.as_mut_ptr();
        let bytes = words.cast::<i8>();
        // SAFETY: the block has 128 bytes; `n <= 64` of the high plane and as many of the low one are in it.
        unsafe {
            if packs {
                let (a, b) = (_mm512_maskz_loadu_epi16(first, words), _mm512_maskz_loadu_epi16(last, words.add(32)));
                let high = |x| {
                    let sign = _mm512_and_si512(_mm512_srli_epi16::<8>(x), _mm512_set1_epi16(0x80));
                    _mm512_cvtepi16_epi8(_mm512_or_si512(_mm512_srli_epi16::<8>(_mm512_abs_epi16(x)), sign))
                };
                let low = |x| _mm512_cvtepi16_epi8(_mm512_abs_epi16(x));
                _mm256_mask_storeu_epi8(bytes, first, high(a));
                _mm256_mask_storeu_epi8(bytes.wrapping_add(32), last, high(b));
                _mm256_mask_storeu_epi8(bytes.add(n), first, low(a));
                _mm256_mask_storeu_epi8(bytes.wrapping_add(n + 32), last, low(b));
            } else {
                let join = |high: __m256i, low: __m256i| {
                    let high = _mm512_cvtepu8_epi16(high);
                    let magnitude = _mm512_and_si512(high, _mm512_set1_epi16(0x7f));
                    let magnitude = _mm512_or_si512(_mm512_slli_epi16::<8>(magnitude), _mm512_cvtepu8_epi16(low));
                    let negative = _mm512_test_epi16_mask(high, _mm512_set1_epi16(0x80));
                    _mm512_mask_sub_epi16(magnitude, negative, _mm512_setzero_si512(), magnitude)
                };
                let read = |mask, at: usize| _mm256_maskz_loadu_epi8(mask, bytes.wrapping_add(at));
                let (a, b) = (join(read(first, 0), read(first, n)), join(read(last, 32), read(last, n + 32)));
                _mm512_mask_storeu_epi16(words, first, a);
                _mm512_mask_storeu_epi16(words.add(32), last, b);
            }
        }
    }
}
