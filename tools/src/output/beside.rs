//! Bytes in the folder of their place, before they are in it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// What the names of files begin with that are in no place yet.
const PREFIX: &str = ".mambabyte-";
/// Characters after it.
const RANDOM: usize = 6;

/// Gives such names.
pub(super) fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).rand_bytes(RANDOM);
    builder
}

/// Whether a file of this name is one that a program left when it was killed, or that another one is just writing.
pub(crate) fn is_left(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX);
    rest.is_some_and(|rest| rest.len() == RANDOM && rest.bytes().all(|c| c.is_ascii_alphanumeric()))
}

/// A file that is in no place yet, and gone if it comes into none.
#[derive(Debug)]
pub(super) enum Beside {
    /// Without a name: whatever ends the program, nothing is left.
    #[cfg(target_os = "linux")]
    Nameless(File),
    /// With a name of its own, where the system or the file system has no files without. A program that is killed
    /// leaves it.
    Named(NamedTempFile),
}

impl Beside {
    /// An empty file in `folder`, with the mode that the umask leaves.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(file) = nameless(folder) {
            return Ok(Self::Nameless(file));
        }
        let mut builder = builder();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        builder.tempfile_in(folder).map(Self::Named)
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => file,
            Self::Named(named) => named.as_file(),
        }
    }

    /// Puts the file where nothing is.
    ///
    /// # Errors
    /// Those of the system; `AlreadyExists` if something is there.
    pub(super) fn put(self, target: &Path) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => link(&file, target),
            Self::Named(named) => match named.into_temp_path().persist_noclobber(target) {
                // A file system that can only replace.
                Err(e) if e.error.kind() != ErrorKind::AlreadyExists => e.path.persist(target),
                put => put,
            }
            .map_err(|e| e.error),
        }
    }

    /// Puts the file in the place of another.
    ///
    /// # Errors
    /// Those of the system; what was there is there then.
    pub(super) fn replace(self, target: &Path) -> io::Result<()> {
        let named = match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => {
                let folder = super::place::folder(target);
                builder().make_in(folder, |name| link(&file, name))?.into_temp_path()
            }
            Self::Named(named) => named.into_temp_path(),
        };
        named.persist(target).map_err(|e| e.error)
    }
}

/// Where files without a name get one.
#[cfg(target_os = "linux")]
const OPEN_FILES: &str = "/proc/self/fd";

/// `None` if such a file cannot be, or could get no name.
#[cfg(target_os = "linux")]
fn nameless(folder: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::metadata(OPEN_FILES).ok()?;
    let flags = rustix::fs::OFlags::TMPFILE.bits().cast_signed();
    File::options().write(true).mode(0o666).custom_flags(flags).open(folder).ok()
}

/// Gives a file a name that nothing has.
#[cfg(target_os = "linux")]
fn link(file: &File, name: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    let open = format!("{OPEN_FILES}/{}", file.as_raw_fd());
    Ok(linkat(CWD, open, CWD, name, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_left_is_known_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let left = builder().tempfile_in(dir.path()).unwrap();
        assert!(is_left(&left.path().file_name().unwrap().to_string_lossy()), "{left:?}");
        for other in
            [".mambabyte-", ".mambabyte-abc", ".mambabyte-abcdefg", ".mambabyte-ab.def", ".tmpabcdef", "abcdef"]
        {
            assert!(!is_left(other), "{other}");
        }
    }

    #[test]
    fn files_come_into_their_place_with_a_name_before_or_without() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        let named = || Beside::Named(builder().tempfile_in(dir.path()).unwrap());
        let new = || Beside::new(dir.path()).unwrap();
        for make in [&named as &dyn Fn() -> Beside, &new] {
            let written = |bytes: &[u8]| {
                let beside = make();
                beside.file().write_all(bytes).unwrap();
                beside
            };
            drop(written(b"nothing"));
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
            written(b"first").put(&target).unwrap();
            assert_eq!(written(b"second").put(&target).unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&target).unwrap(), b"first");
            written(b"third").replace(&target).unwrap();
            assert_eq!(fs::read(&target).unwrap(), b"third");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            fs::remove_file(&target).unwrap();
        }
    }
}
