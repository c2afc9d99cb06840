//! What shows of an output before it is written.

use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use super::fault::OutputFault;
use super::place::{Identity, Place, folder};

/// Where `path` leads.
///
/// # Errors
/// [`OutputFault::Folder`], or what the system says.
pub(super) fn place(path: &Path) -> Result<Place, OutputFault> {
    Place::of(path).map_err(|e| match e.kind() {
        io::ErrorKind::IsADirectory => OutputFault::Folder,
        _ => e.into(),
    })
}

/// Where `path` leads, which can be written as far as that shows without writing.
///
/// # Errors
/// [`OutputFault`].
pub(super) fn checked(path: &Path) -> Result<(Place, Option<Identity>), OutputFault> {
    let place = place(path)?;
    if let Place::File { target, old } = &place {
        // As the user wrote it, unless a link has led elsewhere.
        let folder = folder(if target.file_name() == path.file_name() { path } else { target });
        let about = fs::metadata(folder).ok().filter(Metadata::is_dir);
        let about = about.ok_or_else(|| OutputFault::NoFolder(folder.to_owned()))?;
        if old.is_some() {
            // A file that its owner has closed to writing is not replaced either.
            OpenOptions::new().write(true).open(target)?;
        }
        // Without a name where the system can do that: an interrupted command leaves nothing.
        let closed = |reason| OutputFault::ClosedFolder { folder: folder.to_owned(), reason };
        let mine = tempfile::tempfile_in(folder).and_then(|file| file.metadata()).map_err(closed)?;
        if old.as_ref().is_some_and(|old| is_kept(&about, old, &mine)) {
            return Err(OutputFault::Kept(folder.to_owned()));
        }
    }
    let identity = place.identity()?;
    Ok((place, identity))
}

/// Whether `folder` is one in which nobody replaces files of others, and `old` is of another user than `mine`.
#[cfg(unix)]
fn is_kept(folder: &Metadata, old: &Metadata, mine: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    const STICKY: u32 = 0o1000;
    folder.mode() & STICKY != 0 && ![0, old.uid(), folder.uid()].contains(&mine.uid())
}

#[cfg(not(unix))]
fn is_kept(_: &Metadata, _: &Metadata, _: &Metadata) -> bool {
    false
}
