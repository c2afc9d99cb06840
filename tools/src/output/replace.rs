//! A file that appears whole or not at all: a temporary file in the same folder, then a rename that can be taken back.

use std::fs::Metadata;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use super::place::folder;

/// All bytes of a file, on the disk beside its place.
#[derive(Debug)]
pub(super) struct Replacement {
    new: NamedTempFile,
    target: PathBuf,
    existed: bool,
}

impl Replacement {
    /// Writes `bytes` beside `target`, with the mode and, as far as this user may, the owner of the file that is
    /// there. A new file has the mode that the umask leaves.
    ///
    /// # Errors
    /// Those of the system; nothing is left then.
    pub(super) fn prepare(target: &Path, old: Option<&Metadata>, bytes: &[u8]) -> io::Result<Self> {
        let mut builder = Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut new = builder.tempfile_in(folder(target))?;
        new.write_all(bytes)?;
        if let Some(old) = old {
            like(&new, old)?;
        }
        new.as_file().sync_all()?;
        Ok(Self { new, target: target.to_owned(), existed: old.is_some() })
    }

    /// Puts the file in its place. With `undoable` the one that was there stays under another name until the result is
    /// dropped, where the file system has links.
    ///
    /// # Errors
    /// Those of the system; what was there is there then.
    pub(super) fn put(self, undoable: bool) -> io::Result<Put> {
        let Self { new, target, existed } = self;
        let link = |path: &Path| std::fs::hard_link(&target, path);
        let old = if undoable && existed { Builder::new().make_in(folder(&target), link).ok() } else { None };
        new.persist(&target).map_err(|e| e.error)?;
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
fn like(new: &NamedTempFile, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    // Only root may give files away; who may not, owns the new one.
    let _ = fchown(new.as_file(), Some(old.uid()), Some(old.gid()));
    // After the owner: a change of owner takes bits away. Those that run a file as another user are not given.
    new.as_file().set_permissions(PermissionsExt::from_mode(old.permissions().mode() & 0o777))
}

#[cfg(not(unix))]
fn like(_: &NamedTempFile, _: &Metadata) -> io::Result<()> {
    Ok(())
}
