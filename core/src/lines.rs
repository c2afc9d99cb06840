//! Scoring a stream line by line, and a threshold that is learned from the stream itself.
//!
//! A line has two scores: its mean surprise in bits per byte, and the largest mean over [`PEAK`] consecutive bytes (one
//! damaged byte hides in the mean of a long line, not in the peak). Each is compared with what the last [`WINDOW`]
//! lines of the stream had: with their 15th 16-quantile `q`, plus half of its distance from the median (at least
//! [`MARGIN`]). The quantile lets kinds of lines that are always surprising be normal, as long as they are more than a
//! sixteenth of the stream; a burst of up to four bad lines does not move it; a lasting change becomes the new normal.
//! Nothing is flagged before [`WARM_UP`] lines. Integers only: a chip flags the same lines as a workstation.

use crate::cannot::never;
use crate::sort::sort;

/// Lines remembered.
pub const WINDOW: usize = 64;
/// Lines before the first flag.
pub const WARM_UP: usize = 16;
/// Consecutive bytes of the peak score.
pub const PEAK: usize = 8;
/// Least distance of the learned threshold from the quantile, Q16 bits.
pub const MARGIN: u32 = 65_536 / 16;
/// A longer line is scored in pieces of this many bytes.
pub const MAX_LINE: u32 = 4096;
/// Bytes of a saved [`LineScorer`].
pub const SAVED: usize = 4 * (7 + PEAK + 2 * WINDOW);

/// When a line is flagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Threshold {
    /// Learned from the stream, as the module describes.
    Learned,
    /// Mean bits per byte above this, Q16.
    Fixed(u32),
}

/// The score of a finished line. Bits are Q16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LineScore {
    /// Stream position of the line's first byte, counted from 0.
    pub start: u64,
    /// Bytes, the newline included.
    pub bytes: u32,
    /// Sum of the surprises.
    pub bits: u64,
    /// Largest mean over [`PEAK`] consecutive bytes (over the line if it is shorter).
    pub peak: u32,
    /// Threshold of the mean; `u32::MAX` while warming up.
    pub mean_threshold: u32,
    /// Threshold of the peak; `u32::MAX` while warming up or if the threshold is fixed.
    pub peak_threshold: u32,
    /// The line is surprising.
    pub flagged: bool,
}

impl LineScore {
    /// Mean bits per byte, Q16.
    pub fn mean(&self) -> u32 {
        (self.bits / if self.bytes == 0 { 1 } else { self.bytes as u64 }).min(u32::MAX as u64) as u32
    }
}

/// Turns a stream of (byte, surprise) into line scores. About 600 bytes.
#[derive(Clone, Debug)]
pub struct LineScorer {
    threshold: Threshold,
    start: u64,
    bytes: u32,
    bits: u64,
    recent: [u32; PEAK],
    recent_sum: u64,
    peak: u32,
    means: History,
    peaks: History,
}

impl LineScorer {
    /// A scorer for a stream that starts at position `start`.
    pub const fn new(threshold: Threshold, start: u64) -> Self {
        Self {
            threshold,
            start,
            bytes: 0,
            bits: 0,
            recent: [0; PEAK],
            recent_sum: 0,
            peak: 0,
            means: History::EMPTY,
            peaks: History::EMPTY,
        }
    }

    /// Writes everything but the [`Threshold`], so that [`LineScorer::load`] continues as if never stopped:
    /// little-endian u64 start, u64 bits, u32 bytes, u32 peak, u32 lines remembered, the last [`PEAK`] surprises, then
    /// means and peaks of the remembered lines, oldest first, zeros after them.
    pub fn save(&self, out: &mut [u8; SAVED]) {
        let words = [self.bytes, self.peak, self.means.len() as u32];
        let remembered = |history: &History| {
            let mut all = [0u32; WINDOW];
            all.iter_mut().zip(history.oldest_first()).for_each(|(a, h)| *a = h);
            all
        };
        let long = [self.start, self.bits].into_iter().flat_map(u64::to_le_bytes);
        let short = words.into_iter().chain(self.recent).chain(remembered(&self.means)).chain(remembered(&self.peaks));
        out.iter_mut().zip(long.chain(short.flat_map(u32::to_le_bytes))).for_each(|(o, b)| *o = b);
    }

    /// The scorer that [`LineScorer::save`] wrote. Any bytes are safe; protect them with a checksum.
    pub fn load(threshold: Threshold, saved: &[u8; SAVED]) -> Self {
        let mut scorer = Self::new(threshold, 0);
        scorer.restore(saved);
        scorer
    }

    /// As [`LineScorer::load`], in place: without a second scorer on the stack. The threshold stays.
    pub fn restore(&mut self, saved: &[u8; SAVED]) {
        let word = |i: usize| {
            let at = |k: usize| saved.get(4 * i + k).copied().unwrap_or_else(|| never("a word of a saved scorer", 0));
            u32::from_le_bytes([at(0), at(1), at(2), at(3)])
        };
        let long = |i: usize| word(i) as u64 | (word(i + 1) as u64) << 32;
        (self.start, self.bits) = (long(0), long(2));
        (self.bytes, self.peak) = (word(4).min(MAX_LINE - 1), word(5));
        self.recent_sum = 0;
        for (i, recent) in self.recent.iter_mut().enumerate() {
            *recent = word(7 + i);
            self.recent_sum += *recent as u64;
        }
        for history in [&mut self.means, &mut self.peaks] {
            (history.next, history.len) = (0, 0);
        }
        for i in 0..(word(6) as usize).min(WINDOW) {
            self.means.write(word(7 + PEAK + i));
            self.peaks.write(word(7 + PEAK + WINDOW + i));
        }
    }

    /// Takes one byte and its surprise (Q16 bits); returns the score of the line that it ends, if it ends one.
    pub fn push(&mut self, byte: u8, surprise: u32) -> Option<LineScore> {
        let slot = &mut self.recent[self.bytes as usize % PEAK];
        self.recent_sum = self.recent_sum + surprise as u64 - *slot as u64;
        *slot = surprise;
        self.bytes += 1;
        self.bits = self.bits.saturating_add(surprise as u64); // a loaded sum may be any number
        if self.bytes as usize >= PEAK {
            self.peak = self.peak.max((self.recent_sum / PEAK as u64) as u32);
        }
        if byte == b'\n' || self.bytes >= MAX_LINE { self.finish() } else { None }
    }

    /// Ends the current line early, as at the end of the stream; `None` if no byte is pending.
    pub fn finish(&mut self) -> Option<LineScore> {
        if self.bytes == 0 {
            return None;
        }
        let mean = (self.bits / self.bytes as u64).min(u32::MAX as u64) as u32;
        let short = (self.bytes as usize) < PEAK;
        let peak = if short { mean } else { self.peak };
        let (mean_threshold, peak_threshold) = match self.threshold {
            Threshold::Fixed(bits) => (bits, u32::MAX),
            Threshold::Learned => (learned(&self.means), learned(&self.peaks)),
        };
        let learned = matches!(self.threshold, Threshold::Learned);
        // A few bytes say nothing about a stream: they are scored, neither flagged nor learned from.
        let flagged = (!short || !learned) && (mean > mean_threshold || peak > peak_threshold);
        let score = LineScore {
            start: self.start,
            bytes: self.bytes,
            bits: self.bits,
            peak,
            mean_threshold,
            peak_threshold,
            flagged,
        };
        if !short {
            self.means.write(mean);
            self.peaks.write(peak);
        }
        self.start = self.start.wrapping_add(self.bytes as u64);
        (self.bytes, self.bits, self.recent, self.recent_sum, self.peak) = (0, 0, [0; PEAK], 0, 0);
        Some(score)
    }
}

/// The last [`WINDOW`] scores. No index of it can fail, whatever the compiler knows.
#[derive(Clone, Debug)]
struct History {
    scores: [u32; WINDOW],
    /// Where the next one goes, below [`WINDOW`].
    next: usize,
    len: usize,
}

impl History {
    const EMPTY: Self = Self { scores: [0; WINDOW], next: 0, len: 0 };

    fn len(&self) -> usize {
        self.len.min(WINDOW)
    }

    fn write(&mut self, score: u32) {
        match self.scores.get_mut(self.next) {
            Some(slot) => *slot = score,
            None => never("the next score goes into the window", ()),
        }
        self.next = (self.next + 1) % WINDOW;
        self.len = (self.len + 1).min(WINDOW);
    }

    fn oldest_first(&self) -> impl Iterator<Item = u32> {
        // Not full: from the start. Full: from where the next one goes.
        let start = if self.len() < WINDOW { 0 } else { self.next };
        let at = move |i: usize| {
            let score = self.scores.get((start + i) % WINDOW).copied();
            score.unwrap_or_else(|| never("an index modulo the window lies in it", 0))
        };
        (0..self.len()).map(at)
    }
}

/// The threshold that the remembered scores suggest; `u32::MAX` while they are too few.
fn learned(history: &History) -> u32 {
    let n = history.len();
    if n < WARM_UP {
        return u32::MAX;
    }
    let mut sorted = [0u32; WINDOW];
    let sorted = sorted.get_mut(..n).unwrap_or_else(|| never("at most a window is remembered", &mut []));
    sorted.iter_mut().zip(history.oldest_first()).for_each(|(s, score)| *s = score);
    sort(sorted, |a, b| a < b);
    let at = |i: usize| sorted.get(i).copied().unwrap_or_else(|| never("a quantile is one of the scores", 0));
    let (median, quantile) = (at(n / 2), at(n - 1 - n / 16));
    quantile.saturating_add(((quantile - median) / 2).max(MARGIN))
}
