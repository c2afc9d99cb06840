//! Reads the pickle of a PyTorch state dict without executing anything.
//!
//! A pickle is a program, and Python runs it: `posix.system` is one opcode away. This machine knows the two dozen
//! opcodes that `torch.save` emits for a state dict and the few names they may mention; everything else is refused by
//! name and offset. Nothing is imported, called or allocated on behalf of the file.

mod machine;
mod outcome;

use machine::Machine;
pub use outcome::{MAX_PICKLE_BYTES, PickleError, PickledTensor};

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
