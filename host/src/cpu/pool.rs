//! Threads that an engine's rows are divided among, started when first needed.

use std::io;
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The threads of one engine.
#[derive(Debug, Default)]
pub(super) struct Pool(OnceLock<ThreadPool>);

impl Pool {
    /// The pool, of `threads` threads: always the same number.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn start(&self, threads: usize) -> io::Result<&ThreadPool> {
        if let Some(pool) = self.0.get() {
            return Ok(pool);
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().map_err(io::Error::other)?;
        Ok(self.0.get_or_init(|| pool))
    }
}
