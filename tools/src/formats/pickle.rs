//! Reads the pickle of a PyTorch state dict without executing anything.
//!
//! A pickle is a program, and Python runs it: `posix.system` is one opcode away. This machine knows the two dozen
//! opcodes that `torch.save` emits for a state dict and the few names they may mention; everything else is refused by
//! name and offset. Nothing is imported, called or allocated on behalf of the file.

mod machine;

use thiserror::Error;

use super::tensor::Dtype;
use machine::Machine;

/// Longest program read; the state dict of the deepest accepted model takes three quarters of it.
pub const MAX_PICKLE_BYTES: usize = 4 << 20;

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
    /// An opcode that no state dict needs.
    #[error("opcode {code:#04x} at byte {offset} of the pickle is not one that a state dict needs")]
    Opcode {
        /// The opcode.
        code: u8,
        /// Its position.
        offset: usize,
    },
    /// A Python object that no state dict of floats needs.
    #[error("the pickle wants the Python object `{module}.{name}` (byte {offset}), which is not read")]
    Class {
        /// Python module.
        module: String,
        /// Name in it.
        name: String,
        /// Position of the opcode.
        offset: usize,
    },
    /// An allowed opcode on values of the wrong kind, or on an empty stack.
    #[error("malformed pickle at byte {offset}: {what}")]
    Malformed {
        /// Position of the opcode.
        offset: usize,
        /// What was expected.
        what: &'static str,
    },
    /// The program is sound, but its result is no flat state dict.
    #[error("the pickle holds no flat state dict: {what}")]
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

/// Reads a `data.pkl` whose top level is a dict of names to tensors.
///
/// # Errors
/// [`PickleError`] names the opcode, object or key that was refused.
/// # Cost
/// Time and memory in proportion to `bytes`, which is limited to [`MAX_PICKLE_BYTES`]. No recursion, no panic.
pub fn parse_pickle(bytes: &[u8]) -> Result<Vec<PickledTensor<'_>>, PickleError> {
    if bytes.len() > MAX_PICKLE_BYTES {
        return Err(PickleError::TooLong { have: bytes.len() });
    }
    let mut machine = Machine::new(bytes);
    let result = machine.run()?;
    machine.state_dict(result)
}

/// Keeps a hostile name from filling the screen.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut short: String = text.chars().take(LONGEST).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push_str("...");
    }
    short
}
