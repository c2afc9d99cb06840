//! The weights of all bytes under AVX2: [`crate::score::weights`], eight at a time.
#![allow(unsafe_code, reason = "intrinsics; every block has its reason")]

use core::arch::x86_64::*;

use super::avx2::Avx2;
use crate::dims::Logits;
use crate::score::Sum;
use crate::tables::EXP2;

impl Avx2 {
    /// The weights of `logits` beside the `largest` of them: in Q24 the sums of each 16, in Q31 that of all.
    pub(crate) fn weigh(self, logits: &Logits, largest: i32) -> ([u32; 16], Sum) {
        #[target_feature(enable = "avx2")]
        fn run(logits: &Logits, largest: i32) -> ([u32; 16], Sum) {
            let mut sums = [0; 16];
            let [mut high, mut low] = [_mm256_setzero_si256(); 2];
            for (sum, bytes) in sums.iter_mut().zip(logits.as_chunks::<16>().0) {
                let mut coarse = _mm256_setzero_si256();
                for bytes in bytes.as_chunks::<8>().0 {
                    // SAFETY: the array has the size of the vector.
                    let logits = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
                    let [mantissa, octaves] = split(_mm256_sub_epi32(_mm256_set1_epi32(largest), logits));
                    // A shift by 32 or more leaves nothing.
                    let fine = _mm256_srlv_epi32(_mm256_slli_epi32::<16>(mantissa), octaves);
                    coarse = _mm256_add_epi32(coarse, _mm256_srlv_epi32(_mm256_slli_epi32::<9>(mantissa), octaves));
                    high = _mm256_add_epi32(high, _mm256_srli_epi32::<16>(fine));
                    low = _mm256_add_epi32(low, _mm256_and_si256(fine, _mm256_set1_epi32(0xffff)));
                }
                *sum = total(coarse);
            }
            (sums, Sum { high: total(high), low: total(low) })
        }
        // SAFETY: the token exists, so the processor has the instructions.
        unsafe { run(logits, largest) }
    }
}

/// Eight distances as a mantissa, Q15, and octaves: `2^-(distance / 65536) = mantissa / 2^15 / 2^octaves`.
#[target_feature(enable = "avx2")]
#[inline]
fn split(distance: __m256i) -> [__m256i; 2] {
    let low = _mm256_set1_epi32(0xffff);
    let distance = _mm256_min_epu32(distance, _mm256_set1_epi32(33 << 16));
    let fraction = _mm256_and_si256(_mm256_sub_epi32(_mm256_setzero_si256(), distance), low);
    // SAFETY: an index is at most 127, and four bytes from the second to last entry on are in the table.
    let pair = unsafe { _mm256_i32gather_epi32::<2>(EXP2.as_ptr().cast(), _mm256_srli_epi32::<9>(fraction)) };
    let base = _mm256_and_si256(pair, low);
    let step = _mm256_sub_epi32(_mm256_srli_epi32::<16>(pair), base);
    // Both factors are below 2^15: the product of 16 bits is that of 32.
    let product = _mm256_madd_epi16(step, _mm256_and_si256(fraction, _mm256_set1_epi32(511)));
    let mantissa = _mm256_add_epi32(base, _mm256_srli_epi32::<9>(_mm256_add_epi32(product, _mm256_set1_epi32(256))));
    [mantissa, _mm256_srli_epi32::<16>(_mm256_add_epi32(distance, low))]
}

/// The sum of eight lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn total(lanes: __m256i) -> u32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::VOCAB;
    use crate::score::weights;

    #[test]
    fn weights_are_those_of_the_scalar_code() {
        let Some(avx2) = Avx2::detect() else { return };
        let mut logits = [0; VOCAB];
        // Every number of octaves and, over all of them, every fraction; then the widest distances.
        let near = (0..34 << 16).step_by(7).collect::<std::vec::Vec<u32>>();
        let far = [u32::MAX, u32::MAX - 1, 1 << 31, (33 << 16) + 1, (32 << 16) - 1, 0];
        for (largest, distances) in
            near.chunks(VOCAB).map(|d| (i32::MAX, d)).chain([(i32::MAX, &far[..]), (5, &near[..9])])
        {
            logits.fill(largest);
            logits.iter_mut().zip(distances).for_each(|(l, &d)| *l = largest.wrapping_sub(d as i32));
            let (sums, all) = avx2.weigh(&logits, largest);
            let mut want = Sum::default();
            for (&sum, bytes) in sums.iter().zip(logits.as_chunks::<16>().0) {
                let both = bytes.iter().map(|&l| weights(largest.wrapping_sub(l) as u32));
                assert_eq!(sum, both.clone().map(|[coarse, _]| coarse).sum::<u32>());
                both.for_each(|[_, fine]| want.add(fine));
            }
            assert_eq!(all.total(), want.total());
        }
    }
}
