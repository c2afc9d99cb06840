//! Why a model cannot be an ONNX file.

/// Most bytes of a file: readers of protobuf take no more.
pub(super) const MOST: u64 = i32::MAX as u64;

/// Why a model cannot be a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// It is too large.
    #[error(
        "an ONNX file has at most {MOST} bytes, and this model would take {bytes}: weights in files of their own are not written"
    )]
    TooLarge {
        /// About so many.
        bytes: u64,
    },
    /// NaN or infinite.
    #[error("{tensor} has a value that is not finite")]
    NotFinite {
        /// The tensor, as the checkpoint calls it.
        tensor: String,
    },
}
