//! Lines of a stream for a terminal: a byte's colour is its surprise, among those of the stream.

use std::fmt::Write as _;

use mambabyte_core::LineScore;

/// Q16 bits as a number.
pub fn bits(q16: u32) -> f64 {
    f64::from(q16) / 65_536.0
}

/// Backgrounds in the 256 colours, from blue to red, with white letters: they stand out on black and on white.
const COLORS: [u8; 5] = [18, 54, 90, 160, 196];
/// One byte in so many has the colour, or a redder one.
const RARITIES: [u32; 5] = [8, 32, 100, 300, 1000];
/// What has those colours before a stream is known, Q16 bits.
const AT_FIRST: [u32; 5] = [2 << 16, 4 << 16, 6 << 16, 8 << 16, 11 << 16];
/// Bytes after which a stream is known.
const KNOWN: u32 = 1024;
/// Bytes that are remembered: older ones count half, a quarter, ...
const REMEMBERED: u32 = 1 << 17;
/// An eighth of a bit.
const STEP: u32 = 1 << 13;
/// What is less is never painted: half a bit.
const LEAST: u32 = 1 << 15;
/// An alarm: bold and reversed, which no background hides.
const ALARM: &str = "\x1b[1;7m";
const PLAIN: &str = "\x1b[0m";

/// Which surprises are rare in a stream.
#[derive(Clone, Debug)]
pub struct Scale {
    counts: Vec<u32>,
    all: u32,
    levels: [u32; COLORS.len()],
}

impl Default for Scale {
    fn default() -> Self {
        Self { counts: vec![0; 192], all: 0, levels: AT_FIRST }
    }
}

impl Scale {
    /// Takes the surprises of a line.
    pub fn take(&mut self, line: &[(u8, u32)]) {
        for &(_, bits) in line {
            let at = ((bits / STEP) as usize).min(self.counts.len() - 1);
            self.counts[at] += 1;
            self.all += 1;
        }
        if self.all >= REMEMBERED {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.all = self.counts.iter().sum();
        }
        if self.all < KNOWN {
            return;
        }
        // From the top down: as many bytes as may have a colour are above its level.
        let (mut above, mut at) = (0, self.counts.len());
        for (level, rarity) in self.levels.iter_mut().zip(RARITIES).rev() {
            while at > 0 && above + self.counts[at - 1] <= self.all / rarity {
                at -= 1;
                above += self.counts[at];
            }
            *level = (at as u32 * STEP).max(LEAST);
        }
    }

    /// The background of a surprise in Q16 bits, if it is rare.
    pub fn color(&self, bits: u32) -> Option<u8> {
        let level = self.levels.iter().rposition(|&level| bits >= level)?;
        COLORS.get(level).copied()
    }

    /// What the colours mean.
    pub fn legend() -> String {
        let mut out = String::from("colours: one byte of the stream in ");
        for (color, rarity) in COLORS.iter().zip(RARITIES) {
            let _ = write!(out, "\x1b[38;5;231;48;5;{color}m {rarity} {PLAIN} ");
        }
        let _ = write!(out, "is as surprising; {ALARM} ALARM {PLAIN} a line that alarms");
        out
    }
}

/// What stands beside a painted line.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Before it.
    pub number: String,
    /// After it: why it is odd.
    pub words: String,
    /// It is unmistakable then.
    pub alarm: bool,
    /// It goes on in another piece.
    pub goes_on: bool,
}

/// A line, painted: score, number, bytes with their surprise as background; control bytes as `.`.
pub fn painted(score: &LineScore, beside: &Beside, line: &[(u8, u32)], scale: &Scale) -> String {
    let mut out = format!("{:6.3} ", bits(score.mean()));
    if beside.alarm {
        let _ = write!(out, "{ALARM}{} ! ALARM {PLAIN} ", beside.number);
    } else {
        let _ = write!(out, "{}   ", beside.number);
    }
    bytes(line, scale, &mut out);
    if beside.goes_on {
        out.push_str("...");
    }
    if beside.alarm {
        let _ = write!(out, " {ALARM}{}{PLAIN}", beside.words);
    } else {
        out.push_str(&beside.words);
    }
    out.push('\n');
    out
}

/// A line that is open still: its last bytes, painted, on a row that is written again.
pub fn open(line: &[(u8, u32)], scale: &Scale) -> String {
    const SHOWN: usize = 60;
    let mut out = String::from("  open   ");
    bytes(&line[line.len().saturating_sub(SHOWN)..], scale, &mut out);
    out
}

/// Goes back to the beginning of the row and clears it.
pub const AGAIN: &str = "\r\x1b[K";

fn bytes(line: &[(u8, u32)], scale: &Scale, out: &mut String) {
    let mut current = None;
    for &(byte, surprise) in line.iter().filter(|(b, _)| !matches!(b, b'\n' | b'\r')) {
        let want = scale.color(surprise);
        if want != current {
            match want {
                Some(c) => _ = write!(out, "{PLAIN}\x1b[38;5;231;48;5;{c}m"),
                None => out.push_str(PLAIN),
            }
            current = want;
        }
        out.push(if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' });
    }
    out.push_str(PLAIN);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_of_the_streams_own_quantiles() {
        for unit in [20_000, 60_000] {
            let mut scale = Scale::default();
            // Surprises of 0 to 999 units, all equally often.
            let line: Vec<(u8, u32)> = (0..100_000u32).map(|n| (b'x', (n * 617 % 1000) * unit / 100)).collect();
            line.chunks(100).for_each(|line| scale.take(line));
            let painted = line.iter().filter(|(_, bits)| scale.color(*bits).is_some()).count();
            let red = line.iter().filter(|(_, bits)| scale.color(*bits) == Some(196)).count();
            assert!((line.len() / 40..=line.len() / 7).contains(&painted), "{unit}: {painted}");
            assert!(red <= line.len() / 200, "{unit}: {red}");
        }
        assert_eq!(Scale::default().color(0), None);
    }

    #[test]
    fn no_byte_of_a_line_is_a_command() {
        let score =
            LineScore { start: 0, bytes: 256, bits: 0, peak: 0, mean_threshold: 0, peak_threshold: 0, flagged: true };
        let line: Vec<(u8, u32)> = (0..=255).map(|byte| (byte, 0)).collect();
        let beside = Beside { number: "7".into(), words: "why".into(), alarm: true, goes_on: false };
        let shown = painted(&score, &beside, &line, &Scale::default());
        let plain = shown.replace(ALARM, "").replace(PLAIN, "");
        assert!(plain.chars().all(|c| c == '\n' || !c.is_control()), "{plain:?}");
        assert!(shown.contains("\x1b[1;7m7 ! ALARM \x1b[0m") && plain.ends_with(" why\n"), "{shown:?}");
        assert!(!open(&line, &Scale::default()).replace(PLAIN, "").contains(|c: char| c.is_control()));
    }
}
