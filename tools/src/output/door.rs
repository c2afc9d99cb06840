//! The one door for files that a command writes. Nothing that a user owns is destroyed.
//!
//! Before any work, [`Door::open`] looks at every output: no input and no other output is the same file, by whatever
//! name or link; its folder is there and can be written. Afterwards [`Outputs::write`] writes all of them, or none:
//!
//! * A regular file is replaced when its successor is whole on the disk. Mode and owner stay; a new file has the mode
//!   that the umask leaves.
//! * A symbolic link is followed, and stays.
//! * A device, a FIFO, `/dev/stdout` or `/proc/self/fd/N` is written to, never replaced.
//! * `-` is standard output; what the command would print there goes to standard error.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::fault::OutputFault;
use super::place::{Identity, Place, folder, identity};
use super::replace::Replacement;
use super::{json_line, print, print_bytes, say};
use crate::error::CliError;
use crate::formats;
use crate::shipped::{self, Found};

/// What a command will read and write.
#[derive(Debug, Default)]
pub struct Door {
    reads: Vec<(PathBuf, Identity)>,
    writes: Vec<(String, PathBuf)>,
}

impl Door {
    /// A file that is read; `-` is standard input. One that cannot be looked at is not protected: reading it will say
    /// why.
    pub fn reads(&mut self, path: &Path) {
        if let Ok(Some(identity)) = identity(path) {
            self.reads.push((path.to_owned(), identity));
        }
    }

    /// A model that is read: a blob, or every file of a checkpoint.
    pub fn reads_model(&mut self, path: &Path) {
        match shipped::find(path) {
            Ok(Found::File(file)) if file.is_file() && formats::is_blob(&file) => self.reads(&file),
            Ok(Found::File(checkpoint)) => self.reads_checkpoint(&checkpoint),
            Ok(Found::BuiltIn(_)) | Err(_) => {}
        }
    }

    /// A checkpoint that is read.
    pub fn reads_checkpoint(&mut self, path: &Path) {
        for file in formats::inputs(path) {
            self.reads(&file);
        }
    }

    /// A file to write, if it is asked for, and the option that names it.
    pub fn writes<'p>(&mut self, option: &str, path: impl Into<Option<&'p Path>>) {
        if let Some(path) = path.into() {
            self.writes.push((option.to_owned(), path.to_owned()));
        }
    }

    /// Checks every output.
    ///
    /// # Errors
    /// [`CliError::Output`] names the option and the file as the user wrote it. Nothing was changed.
    /// # Cost
    /// A few calls of the system for each file.
    pub fn open(self) -> Result<Outputs, CliError> {
        let mut outputs = Vec::new();
        let mut taken: Vec<(String, Identity)> = Vec::new();
        for (option, path) in self.writes {
            let checked = checked(&path).and_then(|(place, identity)| {
                let Some(identity) = identity else { return Ok(place) };
                if let Some((input, _)) = self.reads.iter().find(|(_, read)| *read == identity) {
                    return Err(OutputFault::Input(input.clone()));
                }
                if let Some((other, _)) = taken.iter().find(|(_, other)| *other == identity) {
                    return Err(OutputFault::Same(other.clone()));
                }
                taken.push((option.clone(), identity));
                Ok(place)
            });
            match checked {
                Ok(place) => outputs.push(Output { option, path, place }),
                Err(fault) => return Err(CliError::Output { option, path, fault }),
            }
        }
        Ok(Outputs(outputs))
    }
}

/// Where `path` leads, which can be written as far as that shows without writing.
fn checked(path: &Path) -> Result<(Place, Option<Identity>), OutputFault> {
    let place = match Place::of(path) {
        Ok(place) => place,
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => return Err(OutputFault::Folder),
        Err(e) => return Err(e.into()),
    };
    if let Place::File { target, old } = &place {
        // As the user wrote it, unless a link has led elsewhere.
        let folder = folder(if target.file_name() == path.file_name() { path } else { target });
        if !fs::metadata(folder).is_ok_and(|folder| folder.is_dir()) {
            return Err(OutputFault::NoFolder(folder.to_owned()));
        }
        if old.is_some() {
            // A file that its owner has closed to writing is not replaced either.
            OpenOptions::new().write(true).open(target)?;
        }
        // Without a name where the system can do that: an interrupted command leaves nothing.
        let closed = |reason| OutputFault::ClosedFolder { folder: folder.to_owned(), reason };
        tempfile::tempfile_in(folder).map_err(closed)?;
    }
    let identity = place.identity()?;
    Ok((place, identity))
}

/// A file to write.
#[derive(Debug)]
struct Output {
    option: String,
    path: PathBuf,
    place: Place,
}

impl Output {
    fn fault(&self, error: io::Error) -> CliError {
        CliError::Output { option: self.option.clone(), path: self.path.clone(), fault: error.into() }
    }

    /// Writes to what cannot be replaced.
    fn write_through(&self, bytes: &[u8]) -> Result<(), CliError> {
        match &self.place {
            Place::File { .. } => Ok(()),
            Place::Stdout => print_bytes(bytes),
            Place::Stderr => io::stderr().lock().write_all(bytes).map_err(|e| self.fault(e)),
            Place::Through(path) => {
                let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
                let opened = OpenOptions::new().write(true).truncate(is_file).open(path);
                opened.and_then(|mut file| file.write_all(bytes)).map_err(|e| self.fault(e))
            }
        }
    }
}

/// Every file that a command writes, checked.
#[derive(Debug)]
pub struct Outputs(Vec<Output>);

impl Outputs {
    /// Writes `contents`, bytes by option; what was not asked for is left out. Files appear together or not at all.
    ///
    /// # Errors
    /// [`CliError::Output`] names the option and the file, [`CliError::BrokenPipe`] if the reader of standard output is
    /// gone. No file is new or changed then, unless the system refuses to take it back.
    pub fn write(&self, contents: &[(&str, &[u8])]) -> Result<(), CliError> {
        let asked = || contents.iter().filter_map(|(name, bytes)| Some((self.find(name)?, *bytes)));
        let mut ready = Vec::new();
        for (output, bytes) in asked() {
            if let Place::File { target, old } = &output.place {
                let made = Replacement::prepare(target, old.as_ref(), bytes).map_err(|e| output.fault(e))?;
                ready.push((output, made));
            }
        }
        for (output, bytes) in asked() {
            output.write_through(bytes)?;
        }
        let undoable = ready.len() > 1;
        let mut done = Vec::new();
        for (output, made) in ready {
            match made.put(undoable) {
                Ok(put) => done.push(put),
                Err(error) => {
                    done.into_iter().rev().for_each(super::replace::Put::undo);
                    return Err(output.fault(error));
                }
            }
        }
        Ok(())
    }

    fn find(&self, option: &str) -> Option<&Output> {
        self.0.iter().find(|output| output.option == option)
    }

    /// Whether a file goes to standard output.
    pub fn take_stdout(&self) -> bool {
        self.0.iter().any(|output| matches!(output.place, Place::Stdout))
    }

    /// Prints a JSON value as [`Outputs::print`] does text.
    ///
    /// # Errors
    /// As [`print()`].
    pub fn print_json(&self, value: &serde_json::Value) -> Result<(), CliError> {
        self.print(&json_line(value))
    }

    /// Prints what the command has to say: on standard error if a file goes to standard output.
    ///
    /// # Errors
    /// As [`print()`].
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        if self.take_stdout() {
            say(text.trim_end_matches('\n'));
            return Ok(());
        }
        print(text)
    }
}
