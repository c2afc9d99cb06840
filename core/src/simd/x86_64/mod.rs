//! x86-64: AVX2, and AVX-512 with VNNI.

#[cfg(mambabyte_avx2)]
pub(super) mod avx2;
#[cfg(mambabyte_avx512)]
pub(super) mod avx512;
