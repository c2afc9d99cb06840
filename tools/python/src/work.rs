//! Computing while the interpreter does something else.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use mambabyte::error::CliError;
use pyo3::prelude::*;

use crate::error::{Kind, exception, raised};

/// The process that has computed first.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// Between two looks at whether someone wants to stop.
const TICK: Duration = Duration::from_millis(50);

/// Whether this is the process that has begun to compute. Threads do not survive a fork; what waits for them waits for ever.
pub(crate) fn is_ours() -> bool {
    let me = std::process::id();
    match PROCESS.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => true,
        Err(first) => first == me,
    }
}

/// Refuses to compute in a process that was forked from one that has computed.
///
/// # Errors
/// `DeviceError`.
pub(crate) fn check_process() -> PyResult<()> {
    if is_ours() {
        return Ok(());
    }
    Err(raised(
        Kind::Device,
        "this process was forked from one in which mambabyte had begun to compute, and threads do not survive that: fork \
         before, or start processes by spawn or forkserver; models and streams go there as pickles",
    ))
}

/// Works without the interpreter's lock.
///
/// # Errors
/// Those of the work, and of [`check_process`].
pub(crate) fn compute<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, CliError> + Send) -> PyResult<T> {
    check_process()?;
    py.detach(work).map_err(|error| exception(&error))
}

/// What a lock protects. After a panic that is what it was: every change is finished before the next one begins, or its
/// stream says that it is lost.
pub(crate) fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
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
    check_process()?;
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
                work(stop, &tell)
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
