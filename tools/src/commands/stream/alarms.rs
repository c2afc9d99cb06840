//! `--false-alarms`: how often a quiet stream may alarm, and what the detector says in words and in records.

use std::time::{Duration, Instant};

use mambabyte_core::detect::{Detector, Event, JUDGED, LEARNING, Rate, Reason, Verdict};
use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::output::clean;

/// How often a quiet stream may alarm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FalseAlarms {
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
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
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
    pub(super) const fn rate(self) -> Rate {
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
pub(super) struct Clock {
    per_day: f64,
    since: Instant,
    lines: f64,
}

impl Clock {
    /// Seconds of a day.
    const DAY: f64 = 86_400.0;

    /// From now on; `None` if a share was asked for.
    pub(super) fn new(wanted: FalseAlarms) -> Option<Self> {
        match wanted {
            FalseAlarms::Share(_) => None,
            FalseAlarms::PerDay(per_day) => Some(Self { per_day, since: Instant::now(), lines: 0.0 }),
        }
    }

    /// Counts a line at `now`; the share, once as many lines are counted as the detector learns from.
    pub(super) fn line(&mut self, now: Instant) -> Option<Rate> {
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

/// Q8 bits as a number of three decimals.
fn bits(q8: u16) -> f64 {
    (f64::from(q8) / 256.0 * 1000.0).round() / 1000.0
}

/// What the record of a line has more.
pub(super) fn fields(verdict: &Verdict, record: &mut Map<String, Value>) {
    let worst = verdict.worst;
    record.insert("rarity".into(), json!(bits(verdict.rarity)));
    record.insert("odd".into(), json!(verdict.odd));
    record.insert("alarm".into(), json!(verdict.alarm));
    record.insert("reason".into(), json!(verdict.reason.map(Reason::name)));
    record.insert("worst".into(), json!({ "offset": worst.at, "byte": worst.byte, "bits": bits(worst.bits) }));
}

/// What stands behind the scores of a line: nothing if it is not odd.
pub(super) fn words(verdict: &Verdict) -> String {
    let (mark, worst) = if verdict.alarm { ("! alarm", verdict.worst) } else { ("odd", verdict.worst) };
    let why = match verdict.reason {
        None => return String::new(),
        Some(Reason::Byte) => format!("byte {} (0x{:02x}) cost {:.1} bits", worst.at, worst.byte, bits(worst.bits)),
        Some(Reason::Stretch) => "eight bytes in a row are unusual".to_owned(),
    };
    format!("  {mark}: rarity {:.1} bits, {why}", bits(verdict.rarity))
}

/// Lines of the learning period that look odd, counted from 1.
fn learned(verdict: &Verdict) -> Vec<u8> {
    verdict.learned.into_iter().filter(|&line| line > 0).collect()
}

/// An event at line `line`, as a record.
pub(super) fn record(event: Event, line: u64, start: u64, verdict: &Verdict) -> Value {
    let mut record = json!({ "event": event.name(), "line": line, "start": start });
    match event {
        Event::Learned => record["odd_lines"] = json!(learned(verdict)),
        Event::MoreOdd => record["share"] = json!((share_of(verdict) * 1000.0).round() / 1000.0),
        _ => {}
    }
    record
}

/// The share of lines that are rarer than one in 32 should be.
fn share_of(verdict: &Verdict) -> f64 {
    f64::from(verdict.odd_share) / 65_536.0
}

/// An event at line `line`, for people.
pub(super) fn sentence(event: Event, line: u64, verdict: &Verdict) -> String {
    let what = match event {
        Event::Learned => {
            let odd = learned(verdict);
            let list: Vec<String> = odd.iter().map(u8::to_string).collect();
            let odd = match odd.len() {
                0 => "none of them is odd".to_owned(),
                JUDGED.. => format!("the oddest of them: {}", list.join(", ")),
                _ => format!("odd among them: {}", list.join(", ")),
            };
            format!("the first {LEARNING} lines are learned; {odd}")
        }
        Event::MoreOdd => {
            format!("more odd lines than before: {:.0} % of the last 64, usual are 3 %", 100.0 * share_of(verdict))
        }
        Event::NewNormal => "so many odd lines are the new normal; what is usual is learned anew".to_owned(),
        Event::NewKind => "a new kind of line; it is learned for itself".to_owned(),
        Event::Frozen => "each of the last 32 lines was one of the eight before it: is the sender frozen?".to_owned(),
        Event::UnknownText => "the model does not know this text; what is found, an adapter finds".to_owned(),
    };
    format!("line {line}: {}: {what}", event.name())
}

/// That the detector learns, where its stream begins.
pub(super) fn announcement(detector: &Detector) -> Option<(Value, String)> {
    let rest = LEARNING.checked_sub(detector.lines()).filter(|&rest| rest > 0)?;
    let words = format!("learning what is usual: no alarm in the next {rest} lines, those are judged afterwards");
    Some((json!({ "event": "learning", "lines": rest }), words))
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
