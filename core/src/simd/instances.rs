//! [`Kernels`](super::Kernels) of an [`Isa`](super::isa::Isa): the code of [`super::vector`], compiled for its
//! instructions.

/// All trait functions: each calls a function with `$features`, which runs `$code`.
macro_rules! functions {
    (
        $isa:ty, $name:literal, $features:literal;
        $(fn $function:ident$(<$($generic:ident: $bound:ident),*>)?($($argument:ident: $type:ty),* $(,)?)
            $(-> $result:ty)? = $code:expr;)*
    ) => {
        impl Kernels for $isa {
            const NAME: &'static str = $name;
            const TILES: bool = <$isa as Products>::TILES;
            $(
                #[inline(always)]
                #[allow(unused_unsafe, reason = "WebAssembly's features are safe to call")]
                fn $function$(<$($generic: $bound),*>)?(self, $($argument: $type),*) $(-> $result)? {
                    #[target_feature(enable = $features)]
                    fn run$(<$($generic: $bound),*>)?(isa: $isa, $($argument: $type),*) $(-> $result)? {
                        ($code)(isa, $($argument),*)
                    }
                    // SAFETY: `self` exists, so the processor has the features.
                    unsafe { run$(::<$($generic),*>)?(self, $($argument),*) }
                }
            )*
        }
    };
}
pub(super) use functions;

/// Implements [`Kernels`](super::Kernels) for `$isa`, whose token proves `$features`.
macro_rules! kernels_of {
    ($isa:ty, $name:literal, $features:literal) => {
        const _: () = {
            use $crate::simd::instances::functions;
            use $crate::simd::isa::Isa;
            use $crate::simd::vector::{self, project::Products};
            use $crate::simd::{Gate, Kernels, Output, Selected};
            use $crate::span::{Activations, Span};
            use $crate::weights::WeightsView;

            functions! {
                $isa, $name, $features;

                fn embed(row: &[i8], code: u8, base: u8, res: &mut [i32]) = vector::embed;
                fn pack(x: &mut [i16]) = Isa::pack;
                fn unpack(x: &mut [i16]) = Isa::unpack;
                fn project<O: Output, P: Span>(
                    w: WeightsView<'_>, x: Activations<'_>, out: O, span: &mut P, y: &mut [O::T]
                ) = vector::project::<_, O, P>;
                fn norm(x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) = vector::norm;
                fn conv1d_silu(
                    x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8
                ) = vector::conv1d_silu;
                fn delta_x(x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) = vector::delta_x;
                fn first_decay(l: &mut [i16], a_log: &[u8], a_base: i16) = vector::first_decay;
                fn scan_free<P: Span>(
                    h: &mut [i16], a_log: &[u8], a_base: i16, bc: Selected<'_>, log_delta: &[i16], dx: &[i16],
                    y: &mut [i32]
                ) = vector::scan_free::<_, P>;
                fn scan_tied<P: Span>(
                    h: &mut [i16], bc: Selected<'_>, r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]
                ) = vector::scan_tied::<_, P>;
                fn gate_wide(p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u32 = vector::gate_wide;
                fn gate_narrow(y: &[i32], down: u8, x: &mut [i16]) = vector::gate_narrow;
            }
        };
    };
}
pub(super) use kernels_of;
