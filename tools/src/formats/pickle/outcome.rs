//! What reading a pickle gives: tensors, or the reason why not.

use thiserror::Error;

use crate::formats::tensor::Dtype;

/// Longest program read: a training checkpoint of the deepest accepted model, with two moments for each weight, takes
/// three quarters of it.
pub const MAX_PICKLE_BYTES: usize = 16 << 20;

/// Why a pickle was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The program is longer than [`MAX_PICKLE_BYTES`].
    #[error("the pickle has {have} bytes, at most {MAX_PICKLE_BYTES} are read")]
    TooLong {
        /// Its length.
        have: usize,
    },
    /// The bytes end inside an opcode or before STOP.
    #[error("the pickle ends at byte {offset} before its STOP")]
    Truncated {
        /// Where more was needed.
        offset: usize,
    },
    /// A protocol other than 2 to 5.
    #[error("pickle protocol {found}, 2 to 5 are read")]
    Protocol {
        /// The version byte.
        found: u8,
    },
    /// An opcode that `torch.save` does not write.
    #[error("opcode {code:#04x} at byte {offset} of the pickle is not one that torch.save writes")]
    Opcode {
        /// The opcode.
        code: u8,
        /// Its position.
        offset: usize,
    },
    /// A Python object where tensors should be.
    #[error("the pickle wants the Python object `{module}.{name}` (byte {offset}), which is not read")]
    Class {
        /// Python module.
        module: String,
        /// Name in it.
        name: String,
        /// Position of the opcode.
        offset: usize,
    },
    /// An opcode on values of the wrong kind, or on an empty stack.
    #[error("malformed pickle at byte {offset}: {what}")]
    Malformed {
        /// Position of the opcode.
        offset: usize,
        /// What was expected.
        what: &'static str,
    },
    /// More of something than any checkpoint has.
    #[error("the pickle has more than {most} {what} (at byte {offset})")]
    TooMany {
        /// Position of the opcode.
        offset: usize,
        /// Of what.
        what: &'static str,
        /// How many are accepted.
        most: usize,
    },
    /// The program is sound, but its result is no state dict and holds none.
    #[error("the pickle holds no state dict: {what}")]
    NotStateDict {
        /// What it holds.
        what: String,
    },
}

/// One tensor as the pickle describes it; nothing here has been compared with the stored bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PickledTensor<'a> {
    /// Key in the state dict.
    pub name: &'a str,
    /// Element type of the storage.
    pub dtype: Dtype,
    /// Name of the storage inside the zip (`data/KEY`).
    pub storage: &'a str,
    /// Elements that the storage claims.
    pub storage_elements: usize,
    /// First element.
    pub offset: usize,
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// Elements between neighbours of each axis.
    pub strides: Vec<usize>,
}

/// A dict of weights and what lies beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDict<'a> {
    /// Its tensors of floats, in the order of the dict.
    pub tensors: Vec<PickledTensor<'a>>,
    /// Its other entries: name, and what is there (`an integer`, `a tensor of LongStorage`).
    pub others: Vec<(&'a str, String)>,
    /// The entry of a training checkpoint that it was in.
    pub entry: Option<&'a str>,
    /// The other entries of that checkpoint.
    pub beside: Vec<&'a str>,
}
