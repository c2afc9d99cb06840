//! Text that a model writes: what the command `generate` and the Python package do alike.

mod speculating;
mod stops;
mod writer;

pub use speculating::{Drafting, Helper, Mode, Speculating, length};
pub use stops::Stops;
pub use writer::{Drafted, Way, Writer};
