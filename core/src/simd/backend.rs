//! Which kernels a decoder runs on: chosen at run time with feature `std`, at compile time without.

use super::Kernels;
#[cfg(not(mambabyte_mcu))]
use super::Scalar;
use crate::blob::Blob;

/// The kernels that a [`Decoder`](crate::Decoder) runs on. All have the same bits; they differ in speed.
///
/// A value exists only for what this machine can run. Chips have one backend, the size of a `Backend` is 0 there.
///
/// ```
/// # use mambabyte_core::Backend;
/// let fastest = Backend::detect();
/// assert_eq!(Backend::by_name(fastest.name()), Ok(fastest));
/// assert!(Backend::all().any(|b| b.name() == "scalar"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend(pub(crate) Choice);

/// The tokens that this target can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    #[cfg(mambabyte_mcu)]
    Chip(super::Chip),
    #[cfg(mambabyte_avx512)]
    Avx512(super::Avx512),
    #[cfg(mambabyte_avx2)]
    Avx2(super::Avx2),
    #[cfg(mambabyte_neon)]
    NeonDotprod(super::Neon<true>),
    #[cfg(mambabyte_neon)]
    Neon(super::Neon<false>),
    #[cfg(mambabyte_simd128)]
    Simd128(super::Simd128),
    #[cfg(not(mambabyte_mcu))]
    Scalar(Scalar),
}

/// Evaluates `$body` with `$k` as the token of `$backend`: one copy of the code for each kind of kernels.
macro_rules! with_kernels {
    ($backend:expr, |$k:ident| $body:expr) => {
        match $backend.0 {
            #[cfg(mambabyte_mcu)]
            $crate::simd::Choice::Chip($k) => $body,
            #[cfg(mambabyte_avx512)]
            $crate::simd::Choice::Avx512($k) => $body,
            #[cfg(mambabyte_avx2)]
            $crate::simd::Choice::Avx2($k) => $body,
            #[cfg(mambabyte_neon)]
            $crate::simd::Choice::NeonDotprod($k) => $body,
            #[cfg(mambabyte_neon)]
            $crate::simd::Choice::Neon($k) => $body,
            #[cfg(mambabyte_simd128)]
            $crate::simd::Choice::Simd128($k) => $body,
            #[cfg(not(mambabyte_mcu))]
            $crate::simd::Choice::Scalar($k) => $body,
        }
    };
}
pub(crate) use with_kernels;

impl Backend {
    /// The fastest one of this machine.
    #[cfg(mambabyte_mcu)]
    #[inline(always)]
    pub fn detect() -> Self {
        Self(Choice::Chip(super::Chip))
    }

    /// The fastest one of this machine.
    #[cfg(not(mambabyte_mcu))]
    pub fn detect() -> Self {
        Self::all().next().unwrap_or(Self(Choice::Scalar(Scalar)))
    }

    /// All that this machine can run, the fastest first.
    pub fn all() -> impl Iterator<Item = Self> {
        let choices = [
            #[cfg(mambabyte_mcu)]
            Some(Choice::Chip(super::Chip)),
            #[cfg(mambabyte_avx512)]
            super::Avx512::detect().map(Choice::Avx512),
            #[cfg(mambabyte_avx2)]
            super::Avx2::detect().map(Choice::Avx2),
            #[cfg(mambabyte_neon)]
            super::Neon::<true>::detect().map(Choice::NeonDotprod),
            #[cfg(mambabyte_neon)]
            super::Neon::<false>::detect().map(Choice::Neon),
            #[cfg(mambabyte_simd128)]
            super::Simd128::detect().map(Choice::Simd128),
            #[cfg(not(mambabyte_mcu))]
            Some(Choice::Scalar(Scalar)),
        ];
        choices.into_iter().flatten().map(Self)
    }

    /// `avx512`, `avx2`, `neon-dotprod`, `neon`, `simd128` or `scalar`; on chips `dsp`, `helium`, `thumb1`, `riscv32`
    /// or `plain32`.
    pub fn name(self) -> &'static str {
        with_kernels!(self, |k| name_of(k))
    }

    /// Whether it is made for weights in [tiles](crate::tiles). On any other a blob in tiles runs in scalar code.
    #[cfg(mambabyte_tiles)]
    pub fn reads_tiles(self) -> bool {
        with_kernels!(self, |k| tiles_of(k))
    }

    /// This backend, or the scalar code if the blob is in tiles and this backend is not made for them.
    #[inline(always)]
    pub(crate) fn for_blob(self, blob: &Blob<'_>) -> Self {
        #[cfg(mambabyte_tiles)]
        if blob.is_tiled() && !self.reads_tiles() {
            return Self(Choice::Scalar(Scalar));
        }
        let _ = blob;
        self
    }

    /// The backend of this name.
    ///
    /// # Errors
    /// [`UnknownBackend`] if this machine does not have it.
    pub fn by_name(name: &str) -> Result<Self, UnknownBackend> {
        Self::all().find(|backend| backend.name() == name).ok_or(UnknownBackend)
    }
}

#[cfg(mambabyte_tiles)]
fn tiles_of<K: Kernels>(_: K) -> bool {
    K::TILES
}

fn name_of<K: Kernels>(_: K) -> &'static str {
    K::NAME
}

/// There is no backend of this name on this machine. Displays those that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownBackend;

impl core::fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "no backend of this machine; it has")?;
        let mut separator = " ";
        for backend in Backend::all() {
            write!(f, "{separator}{}", backend.name())?;
            separator = ", ";
        }
        Ok(())
    }
}

impl core::error::Error for UnknownBackend {}
