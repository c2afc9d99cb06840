//! Counters that threads wait for, one after the other or all together: short waits spin, long ones sleep.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Looks at the counter before a thread goes to sleep, about 20 us.
const SPINS: u32 = 4000;

/// Shared by all threads of one job: whether one of them has panicked, so that no other waits for it forever.
#[derive(Debug, Default)]
pub(super) struct Alive(AtomicBool);

impl Alive {
    /// Held by a thread while it works.
    pub(super) fn guard(&self) -> Guard<'_> {
        Guard(self)
    }

    /// The job cannot continue.
    pub(super) fn kill(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Marks the job as dead if its thread unwinds.
pub(super) struct Guard<'a>(&'a Alive);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.kill();
        }
    }
}

/// A counter that only grows; threads wait until it has reached a number.
#[derive(Debug, Default)]
pub(super) struct Counter {
    count: AtomicUsize,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Counter {
    /// Sets the counter to `count` and wakes the threads that wait for it.
    pub(super) fn advance(&self, count: usize) {
        self.count.store(count, Ordering::SeqCst);
        self.wake();
    }

    /// Adds one; returns the new count.
    pub(super) fn increment(&self) -> usize {
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake();
        count
    }

    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }

    /// Waits until the counter is at least `count`; false if the job died.
    pub(super) fn wait(&self, count: usize, alive: &Alive) -> bool {
        for _ in 0..SPINS {
            if self.count.load(Ordering::SeqCst) >= count {
                return true;
            }
            std::hint::spin_loop();
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = loop {
            if self.count.load(Ordering::SeqCst) >= count {
                break true;
            }
            if alive.is_dead() {
                break false;
            }
            // The time-out is for a thread that has died and woken nobody.
            let waited = self.wake.wait_timeout(lock, Duration::from_millis(50));
            lock = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(lock);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        reached
    }
}
