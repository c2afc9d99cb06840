//! Computing while the interpreter does something else.

use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use mambabyte::error::CliError;
use mambabyte_host::cpu::forked;
use pyo3::prelude::*;

use crate::error::exception;

/// Between two looks at whether someone wants to stop.
const TICK: Duration = Duration::from_millis(50);
/// How long a forked process waits for what another thread may have had.
const PATIENCE: Duration = Duration::from_secs(1);

/// Works where rayon's threads are: on this thread, or among those of a process that was forked.
///
/// # Errors
/// If a thread cannot be started.
fn among_threads<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, CliError> {
    match forked() {
        Ok(None) => Ok(work()),
        Ok(Some(pool)) => Ok(pool.install(work)),
        Err(error) => Err(CliError::io("the threads of a forked process", error)),
    }
}

/// Works without the interpreter's lock.
///
/// # Errors
/// If a thread cannot be started.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| among_threads(work)).map_err(|error| exception(&error))
}

/// The same, of work that can fail.
///
/// # Errors
/// Those of the work.
pub(crate) fn compute<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, CliError> + Send) -> PyResult<T> {
    detached(py, work)?.map_err(|error| exception(&error))
}

/// What a lock protects. After a panic that is what it was: every change is finished before the next one begins, or its
/// stream says that it is lost.
pub(crate) fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What changes while it is used, by one thread at a time.
///
/// A process that is forked while another thread uses it never gets it, and is told so.
pub(crate) struct Held<T> {
    /// The process that has it.
    process: AtomicU32,
    value: Mutex<T>,
}

impl<T> Held<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { process: AtomicU32::new(process::id()), value: Mutex::new(value) }
    }

    /// The value, when no other thread uses it.
    ///
    /// # Errors
    /// [`CliError::Usage`] if another thread used it when this process was forked.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, T>, CliError> {
        let (me, begun) = (process::id(), Instant::now());
        while self.process.load(Ordering::SeqCst) != me {
            let value = match self.value.try_lock() {
                Ok(value) => value,
                Err(TryLockError::Poisoned(value)) => value.into_inner(),
                // A thread of this process may have it by now, and is about to say so.
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                    thread::sleep(TICK / 10);
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    let why = "this process was forked while another thread was at work here; make a copy before, and use that";
                    return Err(CliError::Usage(why.to_owned()));
                }
            };
            self.process.store(me, Ordering::SeqCst);
            return Ok(value);
        }
        Ok(locked(&self.value))
    }
}

/// Runs signal handlers, Ctrl-C's among them, if this is the main thread.
///
/// # Errors
/// What they raise.
pub(crate) fn check_signals() -> PyResult<()> {
    Python::attach(|py| py.check_signals())
}

/// Who is told how the work goes.
pub(crate) type Tell<'a, M> = &'a (dyn Fn(M) + Sync);

/// Works on another thread, so that this one can hear signals and tell `hear` how it goes. When a signal handler or `hear`
/// raises, `stop` is set, and what was raised is raised when the work has ended.
///
/// # Errors
/// What was raised; those of the work.
pub(crate) fn interruptible<T: Send, M: Send>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool, Tell<'_, M>) -> Result<T, CliError> + Send,
    mut hear: impl FnMut(Python<'_>, M) -> PyResult<()> + Send,
) -> PyResult<T> {
    let stop = AtomicBool::new(false);
    let (done, error) = py.detach(|| {
        thread::scope(|scope| {
            let (sender, messages) = channel();
            let stop = &stop;
            let worker = scope.spawn(move || {
                let tell = move |message| {
                    // Nobody hears it after something was raised.
                    let _ = sender.send(message);
                };
                among_threads(move || work(stop, &tell)).and_then(|done| done)
            });
            let mut error = None;
            loop {
                let message = match messages.recv_timeout(TICK) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if error.is_some() {
                    continue;
                }
                let heard = Python::attach(|py| {
                    py.check_signals()?;
                    message.map_or(Ok(()), |message| hear(py, message))
                });
                if let Err(raised) = heard {
                    stop.store(true, Ordering::SeqCst);
                    error = Some(raised);
                }
            }
            (worker.join(), error)
        })
    });
    if let Some(error) = error {
        return Err(error);
    }
    match done {
        Ok(done) => done.map_err(|error| exception(&error)),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
