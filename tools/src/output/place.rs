//! Where a path leads: a file that can be replaced, or something that can only be written to.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Links followed before they are taken for a circle.
const LINKS: usize = 40;

/// Where the bytes of an output go.
#[derive(Debug)]
pub(super) enum Place {
    /// A regular file, or none yet, at this path after all links.
    File {
        /// The path.
        target: PathBuf,
        /// The file that is there.
        old: Option<Metadata>,
    },
    /// A device, a FIFO, or an open file by its number.
    Through(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which file it is, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// One that is there.
    #[cfg(unix)]
    Node(u64, u64),
    /// One that is there.
    #[cfg(not(unix))]
    Node(PathBuf),
    /// One that is not there yet: its folder and its name.
    New(Box<Identity>, OsString),
    /// Standard output or standard error, by its number, where that is no regular file.
    Stream(u8),
}

impl Identity {
    /// A regular file is one by its stream too: it may be an input.
    fn of_stream(number: u8, opened: io::Result<Metadata>) -> Self {
        let file = opened.ok().filter(Metadata::is_file);
        file.and_then(|file| node(Path::new("-"), &file).ok()).unwrap_or(Self::Stream(number))
    }
}

impl Place {
    /// Follows `path` and all links. `-` is standard output.
    ///
    /// # Errors
    /// Those of the system; `IsADirectory` for a folder.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let mut at = path.to_owned();
        for _ in 0..LINKS {
            match fs::symlink_metadata(&at) {
                Ok(found) if found.is_symlink() && is_open_file(&at) => return Self::open_file(path),
                Ok(found) if found.is_symlink() => at = folder(&at).join(fs::read_link(&at)?),
                Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
                Ok(found) => return Ok(Self::there(at, found)),
                Err(e) if e.kind() == io::ErrorKind::NotFound && ends_as_folder(&at) => {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::File { target: at, old: None }),
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::other("its links lead in a circle"))
    }

    /// Something that is there and no link.
    fn there(at: PathBuf, found: Metadata) -> Self {
        let stream = if is_character_device(&found) { None } else { Self::stream(&at, &found) };
        match stream {
            Some(stream) => stream,
            None if found.is_file() => Self::File { target: at, old: Some(found) },
            None => Self::Through(at),
        }
    }

    /// `/dev/stdout`, `/dev/fd/N`, `/proc/self/fd/N`.
    fn open_file(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        if found.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Self::stream(path, &found).unwrap_or_else(|| Self::Through(path.to_owned())))
    }

    /// Standard output or standard error, if this is what they lead to.
    fn stream(at: &Path, found: &Metadata) -> Option<Self> {
        let identity = node(at, found).ok()?;
        let is = |stream: io::Result<Metadata>| stream.is_ok_and(|s| node(at, &s).is_ok_and(|i| i == identity));
        if is(opened(&io::stdout())) {
            Some(Self::Stdout)
        } else if is(opened(&io::stderr())) {
            Some(Self::Stderr)
        } else {
            None
        }
    }

    /// Which file it is; `None` for what takes any number of writers and loses nothing by it.
    ///
    /// # Errors
    /// Those of the system, of the folder of a new file.
    pub(super) fn identity(&self) -> io::Result<Option<Identity>> {
        match self {
            Self::Stdout => Ok(Some(Identity::of_stream(1, opened(&io::stdout())))),
            Self::Stderr => Ok(Some(Identity::of_stream(2, opened(&io::stderr())))),
            Self::Through(path) => identity(path),
            Self::File { target, old: Some(old) } => node(target, old).map(Some),
            Self::File { target, old: None } => {
                let folder = folder(target);
                let folder = node(folder, &fs::metadata(folder)?)?;
                Ok(Some(Identity::New(Box::new(folder), target.file_name().unwrap_or_default().to_owned())))
            }
        }
    }
}

/// Which file `path` is, links followed; `-` is standard input. `None` for a character device, which no output harms.
///
/// # Errors
/// Those of the system.
pub(super) fn identity(path: &Path) -> io::Result<Option<Identity>> {
    let found = if path == Path::new("-") { opened(&io::stdin())? } else { fs::metadata(path)? };
    if is_character_device(&found) { Ok(None) } else { node(path, &found).map(Some) }
}

/// The folder that `path` is in.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn ends_as_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last().is_none_or(|&last| std::path::is_separator(char::from(last)))
}

/// Whether a link stands for an open file: its target is a description, not a path to follow.
fn is_open_file(link: &Path) -> bool {
    folder(link).canonicalize().is_ok_and(|folder| folder.starts_with("/proc"))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere the system is asked")]
fn node(_: &Path, found: &Metadata) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    Ok(Identity::Node(found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn node(path: &Path, _: &Metadata) -> io::Result<Identity> {
    path.canonicalize().map(Identity::Node)
}

#[cfg(unix)]
fn is_character_device(found: &Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&found.file_type())
}

#[cfg(not(unix))]
fn is_character_device(_: &Metadata) -> bool {
    false
}

/// What is behind an open stream.
#[cfg(unix)]
fn opened(stream: &impl std::os::fd::AsFd) -> io::Result<Metadata> {
    fs::File::from(stream.as_fd().try_clone_to_owned()?).metadata()
}

#[cfg(not(unix))]
fn opened<S>(_: &S) -> io::Result<Metadata> {
    Err(io::ErrorKind::Unsupported.into())
}
