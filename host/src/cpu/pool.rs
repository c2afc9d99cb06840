//! Threads that work is divided among, started when first needed, in each process anew.

use std::io;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The process in which rayon's own threads are.
static FIRST: AtomicU32 = AtomicU32::new(0);
/// The threads of processes that were forked from it.
static FORKED: Pool = Pool::new();

/// Where to install what divides its work among rayon's own threads, in a process that was forked from one that may have
/// started them: they are not there, and who waits for them waits for ever. `None` in the first process that asks.
///
/// # Errors
/// If a thread cannot be started.
pub fn forked() -> io::Result<Option<&'static ThreadPool>> {
    let me = process::id();
    match FIRST.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst) {
        Err(first) if first != me => FORKED.start(0).map(Some),
        _ => Ok(None),
    }
}

/// Some threads. A process that was forked from the one that has started them has none of them: it starts its own, and what
/// the other one has stays as it is.
#[derive(Debug, Default)]
pub(super) struct Pool {
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
    const fn new() -> Self {
        Self { first: OnceLock::new() }
    }

    /// The pool, of `threads` threads: always the same number; 0 for as many as the processor runs at once.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn start(&self, threads: usize) -> io::Result<&ThreadPool> {
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
