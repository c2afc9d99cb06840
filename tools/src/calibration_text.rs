//! The text that `convert` chooses scales by: pieces from all over the user's files, or the built-in mixture, which is
//! real text of ten kinds (`tools/data/calibration/README.md`).
//!
//! Of a file [`BYTES`] are used, in pieces of [`PIECE`] bytes at equal distances; of every four neighbours the last is
//! hold-out. So both see the whole file, and no byte is in both. The pieces of each are joined, and the model reads them
//! as one stream: its state grows as old as with unbroken text.
//!
//! Measured with `--refine 0` on other text of the same kind, integer against f32: the first 64 KiB cost sensor-pico and
//! sensor-nano 0.002 to 0.057 bits per byte on seven pairs of model and text, pieces -0.003 to 0.008. Pieces of 512
//! bytes to 4 KiB differ by up to 0.012, and no size is the best; reading each from the zero state changes 0.002.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::output::{clean, thousands};

/// Bytes used of each file; of a shorter one, all.
pub const BYTES: u64 = 64 << 10;
/// Bytes of a piece. Refinement reads windows of 512 bytes, so none crosses two pieces of a long file.
pub const PIECE: u64 = 2 << 10;
/// Of a pipe or a device only this much is read: it may have no end.
pub const STREAM_BYTES: u64 = 16 << 20;
/// A shorter text cannot be divided sensibly.
const LEAST_BYTES: u64 = 16;

/// Name and bytes of each part.
const MIXTURE: [(&str, &[u8]); 10] = [
    ("gnss_nmea", include_bytes!("../data/calibration/gnss_nmea.txt")),
    ("gpsd_json", include_bytes!("../data/calibration/gpsd_json.txt")),
    ("ais_aivdm", include_bytes!("../data/calibration/ais_aivdm.txt")),
    ("n2k_raw", include_bytes!("../data/calibration/n2k_raw.txt")),
    ("metar", include_bytes!("../data/calibration/metar.txt")),
    ("nws_text", include_bytes!("../data/calibration/nws_text.txt")),
    ("weather_csv", include_bytes!("../data/calibration/weather_csv.txt")),
    ("gcode", include_bytes!("../data/calibration/gcode.txt")),
    ("prose", include_bytes!("../data/calibration/prose.txt")),
    ("code", include_bytes!("../data/calibration/code.txt")),
];

/// Which parts of the mixture to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mixture {
    /// Everything.
    #[default]
    All,
    /// Sensor and instrument text: all but prose and code.
    Sensor,
    /// Prose only.
    Prose,
}

impl Mixture {
    /// Name and bytes of each part taken.
    pub fn parts(self) -> impl Iterator<Item = (&'static str, &'static [u8])> {
        MIXTURE.into_iter().filter(move |(name, _)| match self {
            Self::All => true,
            Self::Sensor => !matches!(*name, "prose" | "code"),
            Self::Prose => *name == "prose",
        })
    }
}

/// A text, divided into parts that have no byte in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What people call it.
    pub name: String,
    /// What scales are chosen by.
    pub calibration: Vec<u8>,
    /// What f32 and integers are compared on.
    pub holdout: Vec<u8>,
    /// Bytes that the pieces were taken from.
    pub bytes: u64,
    /// Whether these are all that there are; else the input went on.
    pub whole: bool,
}

impl Text {
    /// Bytes used.
    pub const fn used(&self) -> usize {
        self.calibration.len() + self.holdout.len()
    }

    /// Name, and how many bytes of how many were used.
    pub fn description(&self) -> String {
        let (used, bytes) = (thousands(self.used() as u64), thousands(self.bytes));
        match (self.used() as u64 == self.bytes, self.whole) {
            (true, _) => format!("{} (all {used} bytes)", self.name),
            (_, true) => format!("{} ({used} of {bytes} bytes)", self.name),
            (_, false) => format!("{} ({used} of the first {bytes} bytes)", self.name),
        }
    }

    /// The same for programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "text": self.name, "bytes_used": self.used(), "bytes": self.bytes, "whole": self.whole,
        })
    }

    /// A part of the mixture: its files are pieces from all over a collection already, three quarters and the hold-out.
    fn built_in((name, text): (&str, &[u8])) -> Self {
        let (calibration, holdout) = text.split_at(text.len() / 4 * 3);
        Self {
            name: format!("built-in {name}"),
            calibration: calibration.to_vec(),
            holdout: holdout.to_vec(),
            bytes: text.len() as u64,
            whole: true,
        }
    }

    /// Pieces of a text of `bytes` bytes; `read` fills a slice with what begins at a place.
    fn of_pieces(
        name: String,
        (bytes, whole): (u64, bool),
        mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<Self, CliError> {
        if bytes < LEAST_BYTES {
            return Err(CliError::Usage(format!("--calibrate {}: {bytes} bytes are too few", clean(&name))));
        }
        let mut text = Self { name, calibration: Vec::new(), holdout: Vec::new(), bytes, whole };
        for (index, (start, length)) in pieces(bytes).into_iter().enumerate() {
            let part = if index % 4 == 3 { &mut text.holdout } else { &mut text.calibration };
            let end = part.len();
            part.resize(end + length as usize, 0);
            read(start, &mut part[end..]).map_err(|e| CliError::io(&text.name, e))?;
        }
        Ok(text)
    }

    /// Pieces of a file, which is not read as a whole.
    fn of_file(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            return Self::of_stream("standard input".to_owned(), io::stdin().lock());
        }
        let name = path.display().to_string();
        let failed = |e| CliError::io(path, e);
        let mut file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        // What the system makes up as it is read calls itself a file of 0 bytes.
        if !about.is_file() || about.len() == 0 {
            return Self::of_stream(name, file);
        }
        Self::of_pieces(name, (about.len(), true), |start, piece| {
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(piece)
        })
    }

    /// Pieces of the first [`STREAM_BYTES`] of a stream.
    fn of_stream(name: String, stream: impl Read) -> Result<Self, CliError> {
        let mut start = Vec::new();
        stream.take(STREAM_BYTES + 1).read_to_end(&mut start).map_err(|e| CliError::io(&name, e))?;
        let whole = start.len() as u64 <= STREAM_BYTES;
        start.truncate(STREAM_BYTES as usize);
        Self::of_pieces(name, (start.len() as u64, whole), |at, piece| {
            piece.copy_from_slice(&start[at as usize..][..piece.len()]);
            Ok(())
        })
    }
}

/// Start and length of the pieces of a text of `bytes` bytes: a multiple of four, in their order, all of a text that is
/// not longer than [`BYTES`].
fn pieces(bytes: u64) -> Vec<(u64, u64)> {
    let n = (bytes / PIECE).clamp(4, BYTES / PIECE) / 4 * 4;
    if bytes > BYTES {
        // The first begins where the text does, the last ends where it ends.
        return (0..n).map(|i| (spread(bytes - PIECE, i, n - 1), PIECE)).collect();
    }
    let edge = |i| spread(bytes, i, n);
    (0..n).map(|i| (edge(i), edge(i + 1) - edge(i))).collect()
}

/// `length * i / n`, however long a file is.
fn spread(length: u64, i: u64, n: u64) -> u64 {
    (u128::from(length) * u128::from(i) / u128::from(n)) as u64
}

/// Pieces from all over a text that is in memory, joined: [`BYTES`] of it, or all of a shorter one.
pub fn sampled(text: &[u8]) -> Vec<u8> {
    if text.len() as u64 <= BYTES {
        return text.to_vec();
    }
    let pieces = pieces(text.len() as u64).into_iter();
    pieces.flat_map(|(start, length)| &text[start as usize..][..length as usize]).copied().collect()
}

/// The texts to calibrate on: `files`, or `mixture` if there are none.
///
/// # Errors
/// [`CliError::Io`] names the file; [`CliError::Usage`] for a text of less than 16 bytes.
/// # Cost
/// 64 KiB of each file, however long it is; at most 16 MiB of a pipe or a device.
pub fn texts(files: &[PathBuf], mixture: Mixture) -> Result<Vec<Text>, CliError> {
    if files.is_empty() {
        return Ok(mixture.parts().map(Text::built_in).collect());
    }
    files.iter().map(|path| Text::of_file(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_disjoint_and_reach_both_ends() {
        for bytes in [16, 17, 100, 8191, 8192, 16_383, BYTES - 1, BYTES, BYTES + 1, 1 << 20, u64::MAX] {
            let all = pieces(bytes);
            assert!(all.len().is_multiple_of(4) && !all.is_empty() && all.len() <= 32, "{bytes}");
            let end = all.iter().fold(0, |end, &(start, length)| {
                assert!(start >= end && length > 0, "{bytes}: {all:?}");
                start + length
            });
            assert_eq!((all[0].0, end), (0, bytes));
            assert_eq!(all.iter().map(|p| p.1).sum::<u64>(), bytes.min(BYTES), "{bytes}");
            let holdout: u64 = all.iter().skip(3).step_by(4).map(|p| p.1).sum();
            assert!(holdout.abs_diff(bytes.min(BYTES) / 4) <= all.len() as u64 / 4, "{bytes}");
        }
    }

    #[test]
    fn calibration_and_holdout_see_all_of_a_file() {
        // Every byte says in which sixteenth of the file it is.
        let file = tempfile::NamedTempFile::new().unwrap();
        let text: Vec<u8> = (0..16u8).flat_map(|part| vec![part; 40_000]).collect();
        std::fs::write(file.path(), &text).unwrap();
        let found = Text::of_file(file.path()).unwrap();
        assert_eq!((found.calibration.len(), found.holdout.len()), (49_152, 16_384));
        for part in 0..16 {
            assert!(found.calibration.contains(&part), "{part}");
            assert!(part % 2 == 0 || found.holdout.contains(&part), "{part}");
        }
        assert!(found.description().ends_with(" (65,536 of 640,000 bytes)"), "{}", found.description());
        // A pipe of the same gives the same; only that it has ended is known later.
        let piped = Text::of_stream(found.name.clone(), text.as_slice()).unwrap();
        assert_eq!(piped, found);
    }

    #[test]
    fn a_huge_file_is_not_read_as_a_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10 << 30).unwrap();
        let found = Text::of_file(file.path()).unwrap();
        assert!(found.description().ends_with(" (65,536 of 10,737,418,240 bytes)"), "{}", found.description());
    }

    #[cfg(unix)]
    #[test]
    fn a_device_without_end_is_read_to_the_limit() {
        let found = Text::of_file(Path::new("/dev/zero")).unwrap();
        assert_eq!((found.used() as u64, found.bytes, found.whole), (BYTES, STREAM_BYTES, false));
        let folder = Text::of_file(Path::new("/")).unwrap_err();
        assert!(matches!(folder, CliError::Io { .. }), "{folder}");
    }

    #[test]
    fn an_endless_text_is_read_to_a_limit() {
        let found = Text::of_stream("a".to_owned(), io::repeat(7)).unwrap();
        assert_eq!((found.used() as u64, found.bytes, found.whole), (BYTES, STREAM_BYTES, false));
        assert_eq!(found.description(), "a (65,536 of the first 16,777,216 bytes)");
        let all = Text::of_stream("a".to_owned(), io::repeat(7).take(STREAM_BYTES)).unwrap();
        assert_eq!((all.bytes, all.whole), (STREAM_BYTES, true));
    }

    #[test]
    fn short_texts_are_used_to_the_last_byte() {
        let text: Vec<u8> = (0..100).collect();
        let found = Text::of_stream("a".to_owned(), text.as_slice()).unwrap();
        assert_eq!((found.calibration.as_slice(), found.holdout.as_slice()), text.split_at(75));
        assert_eq!(found.description(), "a (all 100 bytes)");
        let refused = Text::of_stream("a".to_owned(), &text[..15]).unwrap_err();
        assert_eq!(refused.to_string(), "--calibrate a: 15 bytes are too few");
    }
}
