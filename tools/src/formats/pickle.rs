//! Reads the pickle of a PyTorch checkpoint without executing anything.
//!
//! A pickle is a program, and Python runs it: `posix.system` is one opcode away. This machine moves values about as the
//! program says and knows the few functions that rebuild tensors. Anything else that the program wants to call makes an
//! opaque object of the name that it has, never of what it would have been; where a tensor is needed and such an object
//! is there, it is refused by name and offset. Nothing is imported, called or allocated on behalf of the file.

mod machine;
mod opcodes;
mod outcome;
mod state_dict;

use machine::Machine;
pub use outcome::{MAX_PICKLE_BYTES, PickleError, PickledTensor, StateDict};

/// Reads a `data.pkl`: a dict of names to tensors, or a training checkpoint that holds one as `model`,
/// `model_state_dict`, `state_dict`, `module` or `net`.
///
/// # Errors
/// [`PickleError`] names the opcode, object or key that was refused.
/// # Cost
/// Time in proportion to `bytes`, which is limited to [`MAX_PICKLE_BYTES`]; memory at most some 100 MiB, whatever the
/// program. No recursion, no panic.
pub fn parse_pickle(bytes: &[u8]) -> Result<StateDict<'_>, PickleError> {
    if bytes.len() > MAX_PICKLE_BYTES {
        return Err(PickleError::TooLong { have: bytes.len() });
    }
    let mut machine = Machine::new(bytes);
    let result = machine.run()?;
    machine.state_dict(result)
}
