//! Whether an input has fallen silent.

use std::time::{Duration, Instant};

/// `--silent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silent {
    /// Never said.
    Off,
    /// After [`PAUSES`] times the longest pause so far.
    Auto,
    /// After this time.
    After(Duration),
}

/// Lines after which pauses are known.
const KNOWN: u64 = 64;
/// The longest pause, so many times, is silence.
const PAUSES: u32 = 16;
/// Less is none.
const LEAST: Duration = Duration::from_secs(10);

impl Silent {
    /// `off`, `auto`, `90s`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            time => match humantime::parse_duration(time) {
                Ok(time) if !time.is_zero() => Ok(Self::After(time)),
                _ => Err("a time such as 90s, auto, or off".into()),
            },
        }
    }
}

/// The pauses of one stream.
#[derive(Debug)]
pub(super) struct Pauses {
    last: Instant,
    longest: Duration,
    lines: u64,
    said: bool,
}

impl Pauses {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, longest: Duration::ZERO, lines: 0, said: false }
    }

    /// A line ended.
    pub(super) fn line(&mut self, now: Instant) {
        let pause = now.saturating_duration_since(self.last);
        // A silence that was said is no pause of the stream; and what was long ago counts less and less.
        if self.lines > 0 && !self.said {
            self.longest = pause.max(self.longest.mul_f64(0.999));
        }
        (self.last, self.said) = (now, false);
        self.lines += 1;
    }

    /// How long it has been silent, if that is to be said now.
    pub(super) fn silent(&mut self, rule: Silent, now: Instant) -> Option<Duration> {
        let limit = match rule {
            Silent::Off => return None,
            Silent::After(time) => time,
            Silent::Auto if self.lines < KNOWN => return None,
            Silent::Auto => (self.longest * PAUSES).max(LEAST),
        };
        let silent = now.saturating_duration_since(self.last);
        if self.said || silent < limit {
            return None;
        }
        self.said = true;
        Some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_said_once_and_learned_from_pauses() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pauses = Pauses::new(start);
        assert_eq!(pauses.silent(Silent::Auto, at(1000)), None);
        assert_eq!(pauses.silent(Silent::After(Duration::from_secs(5)), at(4)), None);
        assert!(pauses.silent(Silent::After(Duration::from_secs(5)), at(5)).is_some());
        assert_eq!(pauses.silent(Silent::After(Duration::from_secs(5)), at(9)), None);
        (0..70).for_each(|n| pauses.line(at(10 + 2 * n)));
        assert_eq!(pauses.silent(Silent::Off, at(9999)), None);
        assert_eq!(pauses.silent(Silent::Auto, at(148 + 31)), None);
        assert!(pauses.silent(Silent::Auto, at(148 + 33)).is_some());
        assert_eq!(Silent::parse("90s"), Ok(Silent::After(Duration::from_secs(90))));
        assert!(Silent::parse("soon").is_err() && Silent::parse("0s").is_err());
    }
}
