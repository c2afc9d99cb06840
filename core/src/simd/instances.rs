//! [`Kernels`](super::Kernels) of an [`Isa`](super::isa::Isa): the code of [`super::vector`], compiled for its
//! instructions.

/// One trait function after the other: a call of a function with `$features` that runs `$code`.
macro_rules! functions {
    (
        $isa:ty, $name:literal, $features:literal, $tiles:literal;
        $(fn $function:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $code:expr;)*
    ) => {
        impl Kernels for $isa {
            const NAME: &'static str = $name;
            const TILES: bool = $tiles;
            $(
                #[inline(always)]
                #[allow(unused_unsafe, reason = "WebAssembly's features are safe to call")]
                fn $function(self, $($argument: $type),*) $(-> $result)? {
                    #[target_feature(enable = $features)]
                    fn run(isa: $isa, $($argument: $type),*) $(-> $result)? {
                        ($code)(isa, $($argument),*)
                    }
                    // SAFETY: `self` exists, so the processor has the features.
                    unsafe { run(self, $($argument),*) }
                }
            )*
        }
    };
}
pub(super) use functions;

/// Implements [`Kernels`](super::Kernels) for `$isa`, whose token proves `$features`; `$more`: the functions on tiles.
macro_rules! kernels_of {
    ($isa:ty, $name:literal, $features:literal) => {
        $crate::simd::instances::kernels_of!($isa, $name, $features, false {});
    };
    ($isa:ty, $name:literal, $features:literal, $tiles:literal { $($more:tt)* }) => {
        const _: () = {
            use $crate::simd::instances::functions;
            use $crate::simd::isa::Isa;
            use $crate::simd::vector::{self, AddToI32, ToI16, ToI32};
            use $crate::simd::{BlockBc, Gate, Kernels};

            functions! {
                $isa, $name, $features, $tiles;

                fn embed(row: &[i8], code: u8, base: u8, res: &mut [i32]) = vector::embed;
                fn pack(x: &mut [i16]) = Isa::pack;
                fn unpack(x: &mut [i16]) = Isa::unpack;
                fn matvec_i16(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) = vector::matvec::<_, ToI16>;
                fn matvec_i32(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) = vector::matvec::<_, ToI32>;
                fn matvec_add(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) =
                    vector::matvec::<_, AddToI32>;
                fn matmul_i16(w: &[i8], code: &[u8], base: u8, x: &[i16], columns: usize, y: &mut [i16]) =
                    vector::matmul_plain::<_, ToI16>;
                fn matmul_i32(w: &[i8], code: &[u8], base: u8, x: &[i16], columns: usize, y: &mut [i32]) =
                    vector::matmul_plain::<_, ToI32>;
                fn matmul_add(
                    w: &[i8], code: &[u8], base: u8, down: &[u8], x: &[i16], columns: usize, y: &mut [i32]
                ) = Isa::matmul::<AddToI32>;
                $($more)*
                fn norm(x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) = vector::norm;
                fn conv1d_silu(
                    x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8
                ) = vector::conv1d_silu;
                fn log_delta(w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) =
                    vector::log_delta;
                fn delta_x(x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) = vector::delta_x;
                fn first_decay(l: &mut [i16], a_log: &[u8], a_base: i16) = vector::first_decay;
                fn scan_free(
                    h: &mut [i16], a_log: &[u8], a_base: i16, b: &[i16], c: &[i16], log_delta: &[i16], dx: &[i16],
                    y: &mut [i32]
                ) = vector::scan_free;
                fn scan_tied(
                    h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]
                ) = vector::scan_tied;
                fn scan_free_block(
                    h: &mut [i16], a_log: &[u8], a_base: i16, bc: BlockBc<'_>, log_delta: &[i16], dx: &[i16],
                    y: &mut [i32]
                ) = vector::scan_free_block;
                fn scan_tied_block(
                    h: &mut [i16], bc: BlockBc<'_>, r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]
                ) = vector::scan_tied_block;
                fn gate_wide(p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u32 = vector::gate_wide;
                fn gate_narrow(y: &[i32], down: u8, x: &mut [i16]) = vector::gate_narrow;
            }
        };
    };
}
pub(super) use kernels_of;
