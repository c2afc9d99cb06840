//! AVX2 with FMA: processors of workstations since 2013 (Haswell) and 2015 (Excavator).
//!
//! A vector of [`Isa`](crate::simd::isa::Isa) is two registers. Weights are widened to 16 bits; `VPMADDWD` multiplies
//! them by activations in their own order, as the pairs of `VPMADDUBSW` would saturate.
#![allow(unsafe_code, reason = "intrinsics; every block has its reason")]

use crate::simd::Output;
use crate::simd::vector::project::{self, Products};
use crate::simd::vector::tiled;
use crate::span::Activations;
use crate::weights::WeightsView;

/// An expression of intrinsics in a method of [`Avx2`].
macro_rules! avx2 {
    ($e:expr) => {{
        // SAFETY: the method's token exists, so the processor has the instructions; pointers are of references to
        // arrays of the vectors' size.
        #[allow(clippy::macro_metavars_in_unsafe, reason = "the whole expression is meant")]
        unsafe {
            $e
        }
    }};
}

/// An intrinsic on both registers.
macro_rules! both {
    ($f:expr, $a:expr $(, $b:expr)*) => {
        avx2!([$f($a[0] $(, $b[0])*), $f($a[1] $(, $b[1])*)])
    };
}

mod decay;
mod lanes;
mod round;
mod rows;
mod tiles;
mod token;

pub(crate) use token::Avx2;

impl Products for Avx2 {
    const TILES: bool = true;
    const PLAIN: bool = true;

    #[inline(always)]
    fn matvec<O: Output>(self, w: WeightsView<'_>, x: &[i16], out: O, y: &mut [O::T]) {
        if w.is_tiled() {
            tiled::matvec(self, w, x, tiles::Plain(x), out, 0, y);
        } else {
            project::matvec(self, w, x, out, y);
        }
    }

    #[inline(always)]
    fn matmul<O: Output>(self, w: WeightsView<'_>, x: Activations<'_>, out: O, _: &mut [i32], y: &mut [O::T]) {
        if w.is_tiled() {
            tiled::matmul(self, w, x, out, y);
        } else {
            project::matmul(self, w, x.all, out, y);
        }
    }
}

crate::simd::instances::kernels_of!(Avx2, "avx2", "avx2,fma");
