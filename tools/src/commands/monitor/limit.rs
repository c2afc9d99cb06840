//! News that repeat: a port with a loose plug says the same several times a second, for days.

use std::time::{Duration, Instant};

use super::connection::Event;

/// News of one kind that are told at once.
const AT_ONCE: u32 = 8;
/// After that one of a kind is told so often, the newest.
const AGAIN: Duration = Duration::from_secs(10);

/// What may repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connection,
    Start,
    Adapter,
    Detector,
    Foreign,
    Damaged,
    Missed,
}

/// The kind of news; `None` for what is always told.
fn kind(event: &Event) -> Option<Kind> {
    match event {
        Event::Connected | Event::Disconnected(_) => Some(Kind::Connection),
        Event::Start(_) => Some(Kind::Start),
        Event::Adapter(_) => Some(Kind::Adapter),
        Event::Detector(_) => Some(Kind::Detector),
        Event::Foreign => Some(Kind::Foreign),
        Event::Damaged(_) => Some(Kind::Damaged),
        Event::Missed(_) => Some(Kind::Missed),
        Event::Failed(_) | Event::Verdict(_) | Event::Line(_) | Event::Status(_) | Event::Finished => None,
    }
}

/// What was told of a kind.
struct Told {
    kind: Kind,
    /// How many may be told now.
    may: u32,
    /// When the last one was.
    last: Instant,
    /// The newest that was not told, and how many before it were not.
    held: Option<(Event, u64)>,
}

/// Tells which news are told.
#[derive(Default)]
pub(super) struct Limit(Vec<Told>);

impl Limit {
    /// Gives `event` back if it is to be told now. Else it is held, in place of an older one of its kind.
    pub(super) fn take(&mut self, event: Event, now: Instant) -> Option<Event> {
        let Some(kind) = kind(&event) else { return Some(event) };
        let told = match self.0.iter_mut().position(|told| told.kind == kind) {
            Some(at) => &mut self.0[at],
            None => {
                self.0.push(Told { kind, may: AT_ONCE, last: now, held: None });
                self.0.last_mut()?
            }
        };
        if now.saturating_duration_since(told.last) >= AGAIN && told.held.is_none() {
            told.may = AT_ONCE;
        }
        if told.may > 0 && told.held.is_none() {
            (told.may, told.last) = (told.may - 1, now);
            return Some(event);
        }
        let (event, before) = match (told.held.take(), event) {
            // These are counts since the last one; those of damaged frames are sums anyway.
            (Some((Event::Missed(a), n)), Event::Missed(b)) => (Event::Missed(a.saturating_add(b)), n + 1),
            (Some((_, n)), event) => (event, n + 1),
            (None, event) => (event, 0),
        };
        told.held = Some((event, before));
        None
    }

    /// News that were held for long enough, or all of them at the `end`; with each how many like it were left out.
    pub(super) fn due(&mut self, now: Instant, end: bool) -> Vec<(Event, u64)> {
        let mut due = Vec::new();
        for told in &mut self.0 {
            if (end || now.saturating_duration_since(told.last) >= AGAIN)
                && let Some(held) = told.held.take()
            {
                (told.may, told.last) = (0, now);
                due.push(held);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_told_now_and_then_and_nothing_is_lost_of_counts() {
        let (mut limit, begin) = (Limit::default(), Instant::now());
        let at = |millis| begin + Duration::from_millis(millis);
        let mut told = 0;
        for i in 0..100 {
            told += u64::from(matches!(limit.take(Event::Missed(1), at(i)), Some(Event::Missed(1))));
            assert!(limit.take(Event::Finished, at(i)).is_some(), "that is always told");
            assert!(limit.due(at(i), false).is_empty());
        }
        assert_eq!(told, 8);
        assert!(matches!(limit.take(Event::Damaged(7), at(100)), Some(Event::Damaged(7))), "another kind");
        assert!(matches!(limit.due(at(20_000), false)[..], [(Event::Missed(92), 91)]));
        assert!(limit.take(Event::Missed(1), at(20_001)).is_none(), "it repeats still");
        assert!(matches!(limit.due(at(20_002), true)[..], [(Event::Missed(1), 0)]));
        assert!(limit.due(at(60_000), true).is_empty());
        assert!(limit.take(Event::Missed(1), at(60_000)).is_some(), "after a pause all is as at first");
        // Of a port that comes and goes the newest is told.
        let lost = || Event::Disconnected(std::io::Error::other("gone"));
        for i in 0..50 {
            let _ = limit.take(Event::Connected, at(i));
            let _ = limit.take(lost(), at(i));
        }
        assert!(matches!(limit.due(at(20_000), false)[..], [(Event::Disconnected(_), 91)]));
    }
}
