//! The logarithm of the step size in vectors, from the rounded sums of `dt_proj`.

use crate::nonlinear::SOFTPLUS_LIMIT;
use crate::simd::isa::Isa;
use crate::simd::narrow::{self, SOFTPLUS_STEPS};

/// The bound of a value before an activation is added to it: far beyond where the sum saturates.
const FAR: i32 = 1 << 21;

/// Clamps to `-FAR..=FAR`.
#[inline(always)]
pub(crate) fn far<I: Isa>(isa: I, x: I::W) -> I::W {
    isa.max(isa.min(x, isa.splat(FAR)), isa.splat(-FAR))
}

/// `l = log2(softplus(q + bias))`, saturated.
#[inline(always)]
pub(crate) fn log_delta_of<I: Isa>(isa: I, q: I::W, bias: &[i16; 16], l: &mut [i16; 16]) {
    const EDGE: i32 = 16 << 10;
    let v = isa.add(far(isa, q), isa.load_i16(bias));
    let v = isa.max(isa.min(v, isa.splat(SOFTPLUS_LIMIT as i32)), isa.splat(-SOFTPLUS_LIMIT as i32));
    if isa.any_negative(isa.sub(isa.splat(EDGE - 1), v)) {
        // Delta is 16 or more somewhere.
        let mut each = [0; 16];
        isa.store_i32(v, &mut each);
        return l.iter_mut().zip(&each).for_each(|(l, &v)| *l = narrow::log_delta(v) as i16);
    }
    let offset = isa.add(v, isa.splat(EDGE));
    let entry = isa.look_up(&SOFTPLUS_STEPS, isa.shr(offset, 6));
    let step = isa.mul(isa.shr(entry, 16), isa.and(offset, isa.splat(63)));
    let step = isa.shr(isa.add(step, isa.splat(32)), 6);
    let inside = isa.add(isa.shr(isa.shl(entry, 16), 16), step);
    if !isa.any_negative(offset) {
        return isa.store_i16(inside, l);
    }
    // Below -16 softplus is the exponential.
    let below = isa.mul_round::<17>(v, isa.splat(94_548), 16);
    isa.store_i16(isa.if_negative(offset, below, inside), l);
}
