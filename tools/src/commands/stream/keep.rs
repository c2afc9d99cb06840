//! States of streams on disk: `--state`, and its halves `--load-state` and `--save-state`.
//!
//! A file holds the snapshot of each stream, one after the other, then an index of them in JSON, its length and CRC-32, and
//! [`MAGIC`]. A file without index is one snapshot: of a device, or of an earlier version.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::input::Place;
use crate::error::CliError;
use crate::output::shown;

/// Where states are kept.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Keeping the state")]
pub struct KeepArgs {
    /// A file for the state: loaded if it is there, else begun; saved every --save-every, at the end, and at SIGTERM or
    /// Ctrl-C. Also the numbers of lines. A regular file, or none yet.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["save_state", "load_state"])]
    pub state: Option<PathBuf>,
    /// The time between two saves of --state.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration, requires = "state")]
    pub save_every: Duration,
    /// Write the model's state here at the end (also at Ctrl-C). This may be the file of --load-state, which is
    /// replaced, or begun if it is not there. `-` is standard output, which then gets nothing else: the stream is not
    /// passed on, and what --json and --color say goes to standard error.
    #[arg(long, value_name = "FILE")]
    pub save_state: Option<PathBuf>,
    /// Continue from a saved state, bit for bit as if never stopped.
    #[arg(long, value_name = "FILE")]
    pub load_state: Option<PathBuf>,
    /// Map a blob's file instead of reading it into memory: quick to start and shared, but who overwrites the file changes
    /// or ends the running program.
    #[arg(long)]
    pub mmap: bool,
}

impl KeepArgs {
    /// The option and the file that the state is written to.
    pub(super) fn saves(&self) -> Option<(&'static str, &Path)> {
        match (&self.state, &self.save_state) {
            (Some(path), _) => Some(("--state", path)),
            (None, Some(path)) => Some(("--save-state", path)),
            (None, None) => None,
        }
    }

    /// Whether states are needed at all.
    pub(super) const fn any(&self) -> bool {
        self.state.is_some() || self.save_state.is_some() || self.load_state.is_some()
    }

    /// What was saved, and the file that it was in.
    ///
    /// # Errors
    /// [`CliError::Io`]; [`CliError::Usage`] for a file that is damaged, or something else than a file.
    pub(super) fn load(&self) -> Result<Option<(PathBuf, Vec<u8>)>, CliError> {
        let (path, may_be_missing) = match (&self.state, &self.load_state) {
            (Some(path), _) => (path, true),
            (None, Some(path)) => (path, self.save_state.as_ref() == Some(path)),
            (None, None) => return Ok(None),
        };
        match path.metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && may_be_missing => return Ok(None),
            Ok(found) if self.state.is_some() && !found.is_file() => return Err(no_file("--state", path)),
            _ => {}
        }
        let saved = std::fs::read(path).map_err(|e| CliError::io(path, e))?;
        Ok(Some((path.clone(), saved)).filter(|(_, saved)| !(saved.is_empty() && self.state.is_some())))
    }
}

/// Refuses what is no regular file.
///
/// # Errors
/// [`CliError::Usage`].
pub(super) fn regular(option: &str, path: &Path) -> Result<(), CliError> {
    match path.metadata() {
        Ok(found) if !found.is_file() => Err(no_file(option, path)),
        _ => Ok(()),
    }
}

fn no_file(option: &str, path: &Path) -> CliError {
    CliError::Usage(format!("{option} {}: not a regular file, and none that could be replaced", shown(path)))
}

/// The end of a file with an index.
const MAGIC: &[u8; 8] = b"MBSLINES";
/// Version of the index.
const VERSION: u32 = 1;
/// What is after the index: its length, its CRC-32, [`MAGIC`].
const TAIL: usize = 4 + 4 + MAGIC.len();

/// What the file holds of a stream beside its snapshot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) label: Option<String>,
    /// Bytes of the snapshot.
    bytes: usize,
    /// The number of the line that is open, and pieces of it that are scored.
    pub(super) line: u64,
    pub(super) pieces: u32,
    /// What the open line holds, as the model reads it, and as it stands there, base64.
    pub(super) view: String,
    pub(super) text: String,
    /// Where a file that is followed was left: device, number, bytes.
    place: Option<(u64, u64, u64)>,
    /// What is just before that place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<u32>,
}

impl Kept {
    pub(super) fn place(&self) -> Option<Place> {
        self.place.map(|(device, number, offset)| Place { node: (device, number), offset, mark: self.mark })
    }

    pub(super) fn set_place(&mut self, place: Option<Place>) {
        self.place = place.map(|place| (place.node.0, place.node.1, place.offset));
        self.mark = place.and_then(|place| place.mark);
    }
}

#[derive(Serialize, Deserialize)]
struct Index {
    version: u32,
    streams: Vec<Kept>,
}

/// The bytes of a file.
#[derive(Debug, Default)]
pub(super) struct Saving {
    snapshots: Vec<u8>,
    streams: Vec<Kept>,
}

impl Saving {
    pub(super) fn add(&mut self, kept: Kept, snapshot: &[u8]) {
        self.snapshots.extend_from_slice(snapshot);
        self.streams.push(Kept { bytes: snapshot.len(), ..kept });
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        // Strings and numbers: nothing of it can fail.
        let index = serde_json::to_vec(&Index { version: VERSION, streams: self.streams }).unwrap_or_default();
        let mut out = self.snapshots;
        let length = index.len() as u32;
        out.extend_from_slice(&index);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
        out.extend_from_slice(MAGIC);
        out
    }
}

/// Each stream of a file, and its snapshot. A file without index is one stream.
///
/// # Errors
/// [`CliError::Usage`] for an index that is damaged or of another version.
pub(super) fn streams<'s>(path: &Path, saved: &'s [u8]) -> Result<Vec<(Kept, &'s [u8])>, CliError> {
    let wrong = |what: &str| CliError::Io {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, format!("its index of streams {what}")),
    };
    let Some(tail) = saved.len().checked_sub(TAIL).filter(|&at| saved[at..].ends_with(MAGIC)) else {
        return Ok(vec![(Kept { line: 1, ..Kept::default() }, saved)]);
    };
    let word = |at: usize| u32::from_le_bytes([saved[at], saved[at + 1], saved[at + 2], saved[at + 3]]);
    let from = tail.checked_sub(word(tail) as usize).ok_or_else(|| wrong("is damaged"))?;
    let index = &saved[from..tail];
    if crc32fast::hash(index) != word(tail + 4) {
        return Err(wrong("is damaged"));
    }
    let index: Index = serde_json::from_slice(index).map_err(|_| wrong("is of another version"))?;
    if index.version != VERSION {
        return Err(wrong(&format!("has version {}, this program reads {VERSION}", index.version)));
    }
    let (mut rest, mut all) = (&saved[..from], Vec::new());
    for kept in index.streams {
        let (snapshot, after) = rest.split_at_checked(kept.bytes).ok_or_else(|| wrong("is damaged"))?;
        rest = after;
        all.push((kept, snapshot));
    }
    if rest.is_empty() { Ok(all) } else { Err(wrong("is damaged")) }
}

/// The snapshot in a saved state of one stream.
///
/// # Errors
/// As [`streams`]; [`CliError::Io`]; [`CliError::Usage`] for a file of several streams.
pub(crate) fn one_stream(path: &Path) -> Result<Vec<u8>, CliError> {
    let saved = std::fs::read(path).map_err(|e| CliError::io(path, e))?;
    match &*streams(path, &saved)? {
        [(_, snapshot)] => Ok(snapshot.to_vec()),
        several => {
            let (path, count) = (shown(path), several.len());
            Err(CliError::Usage(format!("--load-state {path}: it holds {count} streams, there has to be one")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_back_and_damage_shows() {
        let path = Path::new("file");
        let mut saving = Saving::default();
        saving.add(Kept { label: Some("a".into()), line: 7, pieces: 2, ..Kept::default() }, b"first");
        let mut second = Kept { line: 9, ..Kept::default() };
        second.set_place(Some(Place { node: (1, 2), offset: 3, mark: Some(4) }));
        saving.add(second, b"2nd");
        let bytes = saving.bytes();
        let read = streams(path, &bytes).unwrap();
        assert_eq!(
            read.iter().map(|(kept, snapshot)| (kept.line, *snapshot)).collect::<Vec<_>>(),
            [(7, &b"first"[..]), (9, b"2nd")]
        );
        assert_eq!(read[1].0.place(), Some(Place { node: (1, 2), offset: 3, mark: Some(4) }));
        assert_eq!(streams(path, b"snapshot").unwrap()[0].1, b"snapshot");
        for at in 8..bytes.len() - MAGIC.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(streams(path, &damaged).is_err(), "{at}");
        }
        assert!(streams(path, &bytes[3..]).is_err());
    }
}
