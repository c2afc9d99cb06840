//! Time that a busy machine does not change.

use std::time::Duration;

/// Processor time of the calling thread; `None` where the system does not say it. Linux counts in nanoseconds.
pub(super) fn processor_time() -> Option<Duration> {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    counted.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Processor time since `then`; zero if one of them is not known.
pub(super) fn since(then: Option<Duration>) -> Duration {
    processor_time().zip(then).map_or(Duration::ZERO, |(now, then)| now.saturating_sub(then))
}
