//! What makes a line an alarm: the detector or a threshold, and the lines that are said to be fine.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use mambabyte_core::Threshold;
use regex::bytes::Regex;

use super::rate::FalseAlarms;
use crate::error::CliError;
use crate::output::clean;

/// When a line alarms.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Alarms")]
pub struct RuleArgs {
    /// Flag lines that alarm: about this share of quiet lines, or so many a day by the clock, which is for live streams.
    /// `1%`: about one quiet line in a hundred, never more than four in a hundred plus 19. The first 64 lines are
    /// learned from and judged afterwards. Each line gets a rarity: 2^-rarity of quiet lines are as odd. Beside alarms
    /// it is said what happens to the stream: more-odd, new-normal, new-kind, frozen, unknown-text. Default: 1%.
    #[arg(long, value_name = "SHARE%|N/day", conflicts_with = "threshold")]
    pub false_alarms: Option<String>,
    /// Instead of --false-alarms: flag lines above this many bits per byte. `auto` learns it from the last 64 lines, for
    /// the mean and for the worst 8 bytes: 15th 16-quantile and half of its distance from the median; after 16 lines, and
    /// none of fewer than 8 bytes.
    #[arg(long, value_name = "BITS|auto")]
    pub threshold: Option<String>,
    /// Lines that match are scored and never alarm. Repeat it.
    #[arg(long, value_name = "REGEX", value_parser = Regex::new)]
    pub ignore: Vec<Regex>,
    /// A file of lines that are fine: those, with any number where they have one, never alarm.
    #[arg(long, value_name = "FILE")]
    pub normal: Option<PathBuf>,
}

/// What decides.
#[derive(Clone, Copy, Debug)]
pub enum Judge {
    /// The detector, at this rate.
    Detector(FalseAlarms),
    /// A threshold of bits per byte.
    Threshold(Threshold),
}

/// Arguments, read.
#[derive(Debug)]
pub struct Rule {
    /// What decides.
    pub judge: Judge,
    ignore: Vec<Regex>,
    normal: HashSet<u64>,
}

impl Rule {
    /// # Errors
    /// [`CliError::Usage`] for what is no rate or threshold, [`CliError::Io`] of the file of lines.
    pub fn new(args: &RuleArgs) -> Result<Self, CliError> {
        let judge = match (&args.threshold, &args.false_alarms) {
            (Some(threshold), _) => Judge::Threshold(parse(threshold)?),
            (None, rate) => Judge::Detector(FalseAlarms::parse(rate.as_deref().unwrap_or("1%"))?),
        };
        let normal = match &args.normal {
            Some(path) => std::fs::read(path).map_err(|e| CliError::io(path, e))?,
            None => Vec::new(),
        };
        let lines = normal.split(|&byte| byte == b'\n').map(without_end).filter(|line| !line.is_empty());
        Ok(Self { judge, ignore: args.ignore.clone(), normal: lines.map(alike).collect() })
    }

    /// What the scorer is told.
    pub const fn threshold(&self) -> Threshold {
        match self.judge {
            Judge::Threshold(threshold) => threshold,
            Judge::Detector(_) => Threshold::Learned,
        }
    }

    /// Whether a line was said to be fine.
    pub fn is_fine(&self, text: &[u8]) -> bool {
        self.ignore.iter().any(|ignore| ignore.is_match(text))
            || !self.normal.is_empty() && self.normal.contains(&alike(text))
    }
}

/// `--threshold`.
fn parse(text: &str) -> Result<Threshold, CliError> {
    if text == "auto" {
        return Ok(Threshold::Learned);
    }
    match text.parse::<f64>() {
        Ok(bits) if (0.0..=64.0).contains(&bits) => Ok(Threshold::Fixed((bits * 65_536.0) as u32)),
        _ => Err(CliError::Usage(format!("--threshold {}: a number of bits from 0 to 64, or auto", clean(text)))),
    }
}

/// A line without what ends it.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Equal for lines that differ in numbers only.
fn alike(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut in_number = false;
    for &byte in line {
        let digit = byte.is_ascii_digit();
        if !(digit && in_number) {
            (if digit { b'0' } else { byte }).hash(&mut hasher);
        }
        in_number = digit;
    }
    hasher.finish()
}

/// Lines that were odd, and how often: those seen last, of equal text.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    /// Hashes of lines, how often each was seen, and the line at which it was.
    seen: Vec<(u64, u32, u64)>,
}

impl Repeats {
    /// Lines remembered.
    const MOST: usize = 64;

    /// What is remembered, to go on with it elsewhere: hashes of lines, how often each was seen, the line at which it was.
    pub fn seen(&self) -> &[(u64, u32, u64)] {
        &self.seen
    }

    /// Remembers what [`Repeats::seen`] gave, its last lines if there are too many.
    pub fn of(mut seen: Vec<(u64, u32, u64)>) -> Self {
        seen.drain(..seen.len().saturating_sub(Self::MOST));
        Self { seen }
    }

    /// Takes a line: how often it was seen since it was odd for the first time, if that is more than once.
    pub fn take(&mut self, text: &[u8], number: u64, odd: bool) -> Option<u32> {
        if self.seen.is_empty() && !odd {
            return None;
        }
        // The same on every machine and in every build.
        let hash = u64::from(crc32fast::hash(text)) | (text.len() as u64) << 32;
        if let Some((_, count, at)) = self.seen.iter_mut().find(|(known, ..)| *known == hash) {
            (*count, *at) = (count.saturating_add(1), number);
            return Some(*count);
        }
        if odd {
            if self.seen.len() >= Self::MOST
                && let Some(oldest) = (0..self.seen.len()).min_by_key(|&i| self.seen[i].2)
            {
                self.seen.swap_remove(oldest);
            }
            self.seen.push((hash, 1, number));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_alike_whatever_their_numbers() {
        assert_eq!(alike(b"at 12:05 up 3 d"), alike(b"at 9:59 up 117 d"));
        assert_ne!(alike(b"at 12:05"), alike(b"at :05"));
        assert_ne!(alike(b"a"), alike(b"b"));
        assert_eq!(without_end(b"x\r\n"), b"x");
    }

    #[test]
    fn repeats_of_what_was_odd_are_counted() {
        let mut repeats = Repeats::default();
        let counts: Vec<_> = (0..4).map(|n| repeats.take(b"odd", n, n == 0)).collect();
        assert_eq!(counts, [None, Some(2), Some(3), Some(4)]);
        assert_eq!(repeats.take(b"quiet", 5, false), None);
        (10..500).for_each(|n| _ = repeats.take(format!("{n}").as_bytes(), n, true));
        assert!(repeats.seen.len() == Repeats::MOST && repeats.take(b"499", 500, false) == Some(2));
        assert_eq!(repeats.take(b"odd", 501, false), None);
    }
}
