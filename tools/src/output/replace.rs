//! A file that appears whole or not at all, and can be taken back.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::beside::{Beside, builder};
use super::place::folder;

/// All bytes of a file, on the disk beside its place.
#[derive(Debug)]
pub(super) struct Replacement {
    new: Beside,
    target: PathBuf,
    existed: bool,
}

impl Replacement {
    /// Writes `bytes` beside `target`, with the mode and, as far as this user may, the owner of the file that is
    /// there; a group that this user may not give loses what it alone was given. A new file has the mode that the
    /// umask leaves.
    ///
    /// # Errors
    /// Those of the system; nothing is left then.
    pub(super) fn prepare(target: &Path, old: Option<&Metadata>, bytes: &[u8]) -> io::Result<Self> {
        let new = Self::begin(target, old.is_some())?;
        new.file().write_all(bytes)?;
        new.complete(old)?;
        Ok(new)
    }

    /// As [`Replacement::prepare`], to be written piece by piece to [`Replacement::file`] and completed by
    /// [`Replacement::complete`].
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn begin(target: &Path, existed: bool) -> io::Result<Self> {
        Ok(Self { new: Beside::new(folder(target))?, target: target.to_owned(), existed })
    }

    /// The new file.
    pub(super) fn file(&self) -> &File {
        self.new.file()
    }

    /// Gives it the mode and the owner of the file that is there, and waits until it is on the disk.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn complete(&self, old: Option<&Metadata>) -> io::Result<()> {
        if let Some(old) = old {
            like(self.file(), old)?;
        }
        self.file().sync_all()
    }

    /// Puts the file in its place. With `undoable` the one that was there stays under another name until the result is
    /// dropped, where the file system has links.
    ///
    /// # Errors
    /// Those of the system; what was there is there then. `AlreadyExists` if that is something new.
    pub(super) fn put(self, undoable: bool) -> io::Result<Put> {
        let Self { new, target, existed } = self;
        let link = |path: &Path| std::fs::hard_link(&target, path);
        let old = if undoable && existed { builder().make_in(folder(&target), link).ok() } else { None };
        if existed { new.replace(&target) } else { new.put(&target) }?;
        Ok(Put { target, existed, old })
    }
}

/// A file that is in its place.
#[derive(Debug)]
pub(super) struct Put {
    target: PathBuf,
    existed: bool,
    old: Option<NamedTempFile<()>>,
}

impl Put {
    /// Takes it back: what was there is there again, as far as the system lets it.
    pub(super) fn undo(self) {
        // The error that is the reason for this is the one to be told.
        let _ = match self.old {
            Some(old) => old.persist(&self.target).map(drop).map_err(io::Error::from),
            None if self.existed => Ok(()),
            None => std::fs::remove_file(&self.target),
        };
    }
}

#[cfg(unix)]
fn like(new: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let mut mode = old.mode() & 0o777;
    // Only root may give files away, others to their groups only; who may not, owns the new one.
    let given = fchown(new, Some(old.uid()), Some(old.gid())).or_else(|_| fchown(new, None, Some(old.gid())));
    if given.is_err() {
        mode = of_another_group(mode);
    }
    // After the owner: a change of owner takes bits away. Those that run a file as another user are not given.
    new.set_permissions(PermissionsExt::from_mode(mode))
}

/// A mode with which nobody may more than before, though the group has changed.
#[cfg(unix)]
const fn of_another_group(mode: u32) -> u32 {
    let both = mode >> 3 & mode & 0o7;
    mode & 0o700 | both << 3 | both
}

#[cfg(not(unix))]
fn like(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::of_another_group;

    #[test]
    fn another_group_may_no_more_than_everybody_could() {
        for (old, new) in [(0o640, 0o600), (0o664, 0o644), (0o666, 0o666), (0o604, 0o600), (0o775, 0o755)] {
            assert_eq!(of_another_group(old), new, "{old:o}");
        }
    }
}
