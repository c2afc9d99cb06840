//! Threads that work is divided among, started when first needed, in each process anew.

use std::io;
use std::process;
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Some threads. A process that was forked from the one that has started them has none of them: it starts its own, and what
/// the other one has stays as it is.
#[derive(Debug, Default)]
pub struct Pool {
    /// The first process, and those that were forked from it. Nobody holds a lock here while threads are started: a fork
    /// would keep it held for ever.
    first: OnceLock<Box<Started>>,
}

/// The threads of one process.
#[derive(Debug)]
struct Started {
    process: u32,
    /// There until it is dropped.
    pool: Option<ThreadPool>,
    forked: OnceLock<Box<Started>>,
}

impl Drop for Started {
    fn drop(&mut self) {
        // Threads that are not here are not waited for.
        if self.process != process::id() {
            std::mem::forget(self.pool.take());
        }
    }
}

impl Pool {
    /// A pool without threads.
    pub const fn new() -> Self {
        Self { first: OnceLock::new() }
    }

    /// The pool, of `threads` threads: always the same number; 0 for as many as the processor runs at once.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(&self, threads: usize) -> io::Result<&ThreadPool> {
        let (me, mut at) = (process::id(), &self.first);
        loop {
            match at.get() {
                Some(started) if started.process != me => at = &started.forked,
                Some(started) => {
                    // It is taken out where it is dropped, and nowhere else.
                    return Ok(started.pool.as_ref().unwrap_or_else(|| unreachable!()));
                }
                None => {
                    let pool = ThreadPoolBuilder::new().num_threads(threads).build().map_err(io::Error::other)?;
                    // Of two threads that come here at once one has its pool, and both take it.
                    let _ = at.set(Box::new(Started { process: me, pool: Some(pool), forked: OnceLock::new() }));
                }
            }
        }
    }
}
