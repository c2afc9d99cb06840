//! AVX-512 with byte and word instructions and VNNI: Zen 4, Ice Lake, Cascade Lake and later.
//!
//! `VPDPBUSD` multiplies four unsigned bytes by four signed ones. Activations are packed into two planes of the bytes
//! of their magnitudes, the sign in the upper one. Where an activation is negative, a weight is inverted:
//! `m * (-w - 1)` is the product less the magnitude, a difference that is the same for all rows
//! ([`Isa::start`](crate::simd::isa::Isa::start)).
#![allow(unsafe_code, reason = "intrinsics; every block has its reason")]

use crate::simd::Output;
use crate::simd::vector::project::{self, Products};
use crate::span::Activations;
use crate::weights::WeightsView;

/// An expression of intrinsics in a function that has a token.
macro_rules! avx512 {
    ($e:expr) => {{
        // SAFETY: a token exists, so the processor has the instructions; pointers are of references to arrays of the
        // vector's size.
        #[allow(clippy::macro_metavars_in_unsafe, reason = "the whole expression is meant")]
        unsafe {
            $e
        }
    }};
}

mod decay;
mod lanes;
mod pack;
mod panel;
mod rows;
mod tiles;
mod token;

pub(crate) use token::Avx512;

impl Products for Avx512 {
    const TILES: bool = true;

    #[inline(always)]
    fn matvec<O: Output>(self, w: WeightsView<'_>, x: &[i16], out: O, y: &mut [O::T]) {
        if w.is_tiled() {
            tiles::matvec(self, w, x, out, y);
        } else {
            project::matvec(self, w, x, out, y);
        }
    }

    #[inline(always)]
    fn matmul<O: Output>(self, w: WeightsView<'_>, x: Activations<'_>, out: O, panel: &mut [i32], y: &mut [O::T]) {
        panel::matmul(self, w, x.all, out, panel, y);
    }
}

crate::simd::instances::kernels_of!(Avx512, "avx512", "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");
