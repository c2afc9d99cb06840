//! MambaByte core.
#![no_std]
#[cfg(any(feature = "std", test, doctest))]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!("blobs, states and snapshots are little-endian views; big-endian targets are not supported");

pub mod blob;
pub mod conv1d;
pub mod dims;
pub mod fixed;
pub mod linear;
pub mod lines;
pub mod nonlinear;
pub mod norm;
#[cfg(feature = "f32")]
pub mod oracle;
pub mod sample;
pub mod score;
pub mod selective_scan;
pub mod state;
pub mod step;
pub mod tables;

pub use blob::{Blob, BlobError, Fingerprint};
pub use dims::{Dims, Norm, VOCAB};
pub use lines::{LineScore, LineScorer, Threshold};
pub use sample::{Rng, SampleOptions, sample};
pub use score::{most_probable, probability, surprise};
pub use state::{State, StateError};
pub use step::{Decoder, LOGIT_SCALE, Logits};

/// Bytes aligned as a blob must be, by [`include_blob!`].
#[repr(C, align(16))]
pub struct Aligned<T: ?Sized>(
    /// The bytes.
    pub T,
);

/// `include_bytes!` at an address that [`Blob::parse`] accepts: `&'static [u8]`, usable in constants.
#[macro_export]
macro_rules! include_blob {
    ($path:expr) => {{
        static BLOB: &$crate::Aligned<[u8]> = &$crate::Aligned(*include_bytes!($path));
        &BLOB.0
    }};
}
