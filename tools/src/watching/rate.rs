//! `--false-alarms`: how often a quiet stream may alarm.

use std::time::{Duration, Instant};

use mambabyte_core::detect::{LEARNING, Rate};

use crate::error::CliError;
use crate::output::clean;

/// How often a quiet stream may alarm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FalseAlarms {
    /// Of this share of its lines.
    Share(Rate),
    /// So often a day, by the clock.
    PerDay(f64),
}

impl FalseAlarms {
    /// `1%`, `0.1%`, `20/day`.
    ///
    /// # Errors
    /// [`CliError::Usage`], which says what may be written.
    pub fn parse(text: &str) -> Result<Self, CliError> {
        let wrong = || {
            let may = "a share of lines from 0.0001% to 10%, such as 1%, or a number a day, such as 20/day";
            CliError::Usage(format!("--false-alarms {}: {may}", clean(text)))
        };
        let number = |digits: &str| digits.trim().parse::<f64>().map_err(|_| wrong());
        match (text.strip_suffix('%'), text.strip_suffix("/day")) {
            (Some(percent), _) => match number(percent)? {
                percent if (0.0001..=10.0).contains(&percent) => Ok(Self::Share(share(percent / 100.0))),
                _ => Err(wrong()),
            },
            (_, Some(count)) => match number(count)? {
                count if (0.001..=1e9).contains(&count) => Ok(Self::PerDay(count)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }

    /// What to begin with.
    pub const fn rate(self) -> Rate {
        match self {
            Self::Share(rate) => rate,
            Self::PerDay(_) => Rate::ONE_PERCENT,
        }
    }
}

/// The nearest rate, not above.
fn share(share: f64) -> Rate {
    Rate::of_share((share * 4_294_967_296.0) as u32)
}

/// Turns alarms a day into a share of lines, by how many lines there are a day.
#[derive(Debug)]
pub struct Clock {
    per_day: f64,
    since: Instant,
    lines: f64,
}

impl Clock {
    /// Seconds of a day.
    const DAY: f64 = 86_400.0;

    /// From now on; `None` if a share was asked for.
    pub fn new(wanted: FalseAlarms) -> Option<Self> {
        match wanted {
            FalseAlarms::Share(_) => None,
            FalseAlarms::PerDay(per_day) => Some(Self { per_day, since: Instant::now(), lines: 0.0 }),
        }
    }

    /// Counts a line at `now`; the share, once as many lines are counted as the detector learns from.
    pub fn line(&mut self, now: Instant) -> Option<Rate> {
        self.lines += 1.0;
        let mut seconds = now.saturating_duration_since(self.since).as_secs_f64();
        if seconds > 2.0 * Self::DAY {
            // The last days count: older lines half, a quarter, ...
            self.lines /= 2.0;
            seconds /= 2.0;
            self.since += Duration::from_secs_f64(seconds);
        }
        let lines_a_day = self.lines / seconds.max(1e-3) * Self::DAY;
        (self.lines >= f64::from(LEARNING)).then(|| share(self.per_day / lines_a_day))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_counts() {
        assert_eq!(FalseAlarms::parse("1%").unwrap(), FalseAlarms::Share(Rate::ONE_PERCENT));
        assert_eq!(FalseAlarms::parse("0.1%").unwrap(), FalseAlarms::Share(Rate::ONE_IN_A_THOUSAND));
        assert_eq!(FalseAlarms::parse("20/day").unwrap(), FalseAlarms::PerDay(20.0));
        for wrong in
            ["", "%", "/day", "1", "11%", "0%", "-1%", "nan%", "inf%", "0/day", "1e99/day", "1/hour", "\x1b[1m%"]
        {
            let said = FalseAlarms::parse(wrong).unwrap_err().to_string();
            assert!(said.starts_with("--false-alarms ") && !said.contains('\x1b'), "{said}");
        }
    }

    #[test]
    fn a_day_of_a_line_a_second_has_the_share_of_86_400() {
        let mut clock = Clock::new(FalseAlarms::PerDay(86.4)).unwrap();
        let start = clock.since;
        let mut rates = (1..=500_000u32).map(|n| clock.line(start + Duration::from_secs(n.into())));
        assert!(rates.by_ref().take(63).all(|rate| rate.is_none()));
        for rate in rates {
            let found = f64::from(rate.unwrap().share()) / 4_294_967_296.0;
            assert!((found - 0.001).abs() < 2e-5, "{found}");
        }
    }
}
