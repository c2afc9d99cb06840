//! A stream that is watched line by line: what the command `stream` and the Python package do alike.
//!
//! * [`Rule`]: when a line alarms, and which lines are fine.
//! * [`Page`]: the line that is open, and what is known of the lines before it; it makes the record of a finished one.
//! * [`read()`]: bytes through a reader, in blocks that end with lines, with what was likelier in the place of an odd byte.

mod page;
mod rate;
mod read;
mod rule;

pub use page::{Count, Page, Scored};
pub use rate::{Clock, FalseAlarms};
pub use read::{Listener, read};
pub use rule::{Judge, Repeats, Rule, RuleArgs};
