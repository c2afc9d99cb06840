//! A file that grows, is rotated or truncated; a FIFO whose writers come and go.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::news::{BLOCK, News, Place, Sender};

/// Between two looks at a file that has nothing new.
const LOOK: Duration = Duration::from_millis(100);
/// How long a file that was moved away is read on: its writer may not know yet.
const LAST_LOOKS: u32 = 3;

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
    is_pipe: bool,
}

impl Follow {
    /// Begins at the beginning of `path`, or where it was left if it is that file still. A file that is not there yet is
    /// waited for; a FIFO is opened when it is read.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn open(path: &Path, left: Option<Place>) -> io::Result<Self> {
        let mut follow = Self { path: path.to_owned(), file: None, place: Place::default(), is_pipe: false };
        match path.metadata() {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(follow),
            Err(e) => return Err(e),
            Ok(found) if !found.is_file() => {
                follow.is_pipe = true;
                return Ok(follow);
            }
            Ok(_) => {}
        }
        follow.begin()?;
        if let (Some(left), Some(file)) = (left, &mut follow.file)
            && left.node == follow.place.node
            && file.metadata()?.len() >= left.offset
        {
            file.seek(SeekFrom::Start(left.offset))?;
            follow.place = left;
        }
        Ok(follow)
    }

    /// Opens what is there now.
    fn begin(&mut self) -> io::Result<()> {
        let file = File::open(&self.path)?;
        self.place = Place { node: node(&file.metadata()?), offset: 0 };
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
                    let Some(news) = self.at_end(&mut looks) else {
                        std::thread::sleep(LOOK);
                        continue;
                    };
                    let ends = matches!(news, News::Failed(_));
                    if !out.say(news) || ends {
                        return;
                    }
                }
                Ok(n) => {
                    looks = 0;
                    self.place.offset += n as u64;
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

    /// Nothing more is there at the moment: whether the file is another one now, or shorter.
    fn at_end(&mut self, looks: &mut u32) -> Option<News> {
        let file = self.file.as_mut()?;
        if file.metadata().is_ok_and(|found| found.len() < self.place.offset) {
            if let Err(e) = file.seek(SeekFrom::Start(0)) {
                return Some(News::Failed(e));
            }
            self.place.offset = 0;
            return Some(News::Event("truncated", "the file was truncated; it is read from its beginning".into()));
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
