//! A file that grows, is rotated or truncated; a FIFO whose writers come and go.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::news::{BLOCK, MARK, News, Place, Sender};

/// Between two looks at a file that has nothing new.
const LOOK: Duration = Duration::from_millis(100);
/// Looks, two a pause, for which a file that was moved away is read on: its writer may not know yet.
const LAST_LOOKS: u32 = 6;

#[cfg(unix)]
fn node(found: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}

#[cfg(not(unix))]
fn node(found: &Metadata) -> (u64, u64) {
    let created = found.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    (0, created.map_or(0, |at| at.as_nanos() as u64))
}

/// A file that is followed.
pub(super) struct Follow {
    path: PathBuf,
    file: Option<File>,
    place: Place,
    /// The last bytes that were read of it, at most [`MARK`].
    last: Vec<u8>,
    is_pipe: bool,
}

/// The last bytes before a place, if the file has the place.
fn before(file: &mut File, offset: u64) -> io::Result<Option<Vec<u8>>> {
    if file.metadata()?.len() < offset {
        return Ok(None);
    }
    let count = offset.min(MARK as u64);
    file.seek(SeekFrom::Start(offset - count))?;
    let mut last = vec![0; count as usize];
    file.read_exact(&mut last)?;
    Ok(Some(last))
}

/// Opens `path` at the place that was left, if it is that file still; the bytes before that place.
fn left_at(path: &Path, left: &Place) -> io::Result<Option<(File, Vec<u8>)>> {
    let found = path.metadata()?;
    if !found.is_file() || node(&found) != left.node {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let last = before(&mut file, left.offset)?;
    let same = |last: &Vec<u8>| left.mark.is_none_or(|mark| mark == crc32fast::hash(last));
    Ok(last.filter(same).map(|last| (file, last)))
}

/// The file that was left, under whatever name its folder has it now: it may have been moved away while nobody read.
fn moved(path: &Path, left: &Place) -> Option<(File, Vec<u8>)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = std::fs::read_dir(folder).ok()?;
    names.flatten().find_map(|name| left_at(&name.path(), left).ok().flatten())
}

impl Follow {
    /// Begins at the beginning of `path`, or where it was left if that file is still there, under this name or another one
    /// in its folder. A file that is not there yet is waited for; a FIFO is opened when it is read.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn open(path: &Path, left: Option<Place>) -> io::Result<Self> {
        let (file, last, is_pipe) = (None, Vec::new(), false);
        let mut follow = Self { path: path.to_owned(), file, place: Place::default(), last, is_pipe };
        let there = match path.metadata() {
            Err(e) if e.kind() == ErrorKind::NotFound => false,
            Err(e) => return Err(e),
            Ok(found) if !found.is_file() => {
                follow.is_pipe = true;
                return Ok(follow);
            }
            Ok(_) => true,
        };
        let at = |left: &Place| if there { left_at(path, left) } else { Ok(None) };
        if let Some(left) = left
            && let Some((file, last)) = at(&left)?.or_else(|| moved(path, &left))
        {
            (follow.file, follow.place, follow.last) = (Some(file), left, last);
        } else if there {
            follow.begin()?;
        }
        Ok(follow)
    }

    /// Opens what is there now.
    fn begin(&mut self) -> io::Result<()> {
        let file = File::open(&self.path)?;
        self.last.clear();
        self.place = Place { node: node(&file.metadata()?), ..Place::default() };
        self.file = Some(file);
        Ok(())
    }

    /// Reads until nobody listens, or the file cannot be read.
    pub(super) fn read(mut self, out: &Sender) {
        let mut buffer = vec![0; BLOCK];
        let mut looks = 0;
        loop {
            if self.file.is_none() {
                match self.begin() {
                    Ok(()) => {}
                    Err(e) if e.kind() == ErrorKind::NotFound => {
                        std::thread::sleep(LOOK);
                        continue;
                    }
                    Err(e) => {
                        out.say(News::Failed(e));
                        return;
                    }
                }
            }
            let Some(file) = &mut self.file else { continue };
            match file.read(&mut buffer) {
                Ok(0) if self.is_pipe => {
                    // Its last writer is gone; opening it waits for the next one.
                    self.file = None;
                    std::thread::sleep(LOOK / 10);
                }
                Ok(0) => {
                    // Looked at once more behind the pause, in which it may have become another one.
                    let mut news = self.at_end(&mut looks);
                    if news.is_none() {
                        std::thread::sleep(LOOK);
                        news = self.at_end(&mut looks);
                    }
                    let Some(news) = news else { continue };
                    let ends = matches!(news, News::Failed(_));
                    if !out.say(news) || ends {
                        return;
                    }
                }
                Ok(n) => {
                    looks = 0;
                    self.count(&buffer[..n]);
                    let place = (!self.is_pipe).then_some(self.place);
                    if !out.say(News::Bytes(buffer[..n].to_vec(), place)) {
                        return;
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    out.say(News::Failed(e));
                    return;
                }
            }
        }
    }

    /// These bytes were read.
    fn count(&mut self, read: &[u8]) {
        self.place.offset += read.len() as u64;
        self.last.extend_from_slice(&read[read.len().saturating_sub(MARK)..]);
        self.last.drain(..self.last.len().saturating_sub(MARK));
        self.place.mark = Some(crc32fast::hash(&self.last));
    }

    /// Nothing more is there at the moment: whether the file is another one now, or shorter.
    fn at_end(&mut self, looks: &mut u32) -> Option<News> {
        let file = self.file.as_mut()?;
        match before(file, self.place.offset) {
            Ok(Some(last)) if last == self.last => {}
            // Shorter; or shorter for a moment, and grown since.
            Ok(_) => {
                if let Err(e) = file.seek(SeekFrom::Start(0)) {
                    return Some(News::Failed(e));
                }
                self.last.clear();
                (self.place.offset, self.place.mark) = (0, None);
                return Some(News::Event("truncated", "the file was truncated; it is read from its beginning".into()));
            }
            Err(e) => return Some(News::Failed(e)),
        }
        match self.path.metadata() {
            Ok(found) if node(&found) == self.place.node => *looks = 0,
            // Moved away or removed, and nothing new in its place so far.
            Err(_) => *looks = 0,
            Ok(_) => {
                *looks += 1;
                if *looks >= LAST_LOOKS {
                    *looks = 0;
                    self.file = None;
                    return Some(News::Event("rotated", "another file has this name now; that is read on".into()));
                }
            }
        }
        None
    }
}
