//! What an input's thread says.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// Bytes of a block.
pub(super) const BLOCK: usize = 4096;

/// Between the first two attempts to open what is gone; each time twice as long, up to [`PATIENCE`].
pub(super) const RETRY: Duration = Duration::from_millis(100);
/// The longest time between two attempts.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A place in a file: which file, and how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Device and number of the file, where files have such.
    pub(crate) node: (u64, u64),
    /// Bytes before it.
    pub(crate) offset: u64,
    /// CRC-32 of the last [`MARK`] of them, by which the file is known again: numbers of files are given again. `None` of
    /// a state that an earlier version saved.
    pub(crate) mark: Option<u32>,
}

/// Bytes before a place that are looked at.
pub(super) const MARK: usize = 64;

/// What comes from an input.
#[derive(Debug)]
pub(crate) enum News {
    /// Its next bytes, and for a file that is followed where it is then.
    Bytes(Vec<u8>, Option<Place>),
    /// The next bytes of a message; `last` ends it.
    Message { topic: Arc<str>, payload: Vec<u8>, last: bool },
    /// Something happened, by its name and in words.
    Event(&'static str, String),
    /// It ends.
    End,
    /// It ends because it cannot be read.
    Failed(io::Error),
}

/// Where an input's thread says what comes.
pub(super) struct Sender {
    pub(super) number: usize,
    pub(super) send: SyncSender<(usize, News)>,
}

impl Sender {
    /// `false` if nobody listens any more.
    pub(super) fn say(&self, news: News) -> bool {
        self.send.send((self.number, news)).is_ok()
    }
}
