//! The one door for files that a command writes. Nothing that a user owns is destroyed.
//!
//! Before any work, [`Door::open`] looks at every output: no input and no other output is the same file, by whatever
//! name or link; its folder is there and can be written. Afterwards [`Outputs::write`] writes all of them, or none:
//!
//! * A regular file is replaced when its successor is whole on the disk. Mode and owner stay; a new file has the mode
//!   that the umask leaves. What has come there while the command worked is left as it is.
//! * A symbolic link is followed, and stays.
//! * A device, a FIFO, `/dev/stdout` or `/proc/self/fd/N` is written to, never replaced.
//! * `-` is standard output; what the command would print there goes to standard error.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::asked::Output;
use super::check::{checked, place};
use super::fault::OutputFault;
use super::place::{Identity, Place, identity};
use super::replace::{Put, Replacement};
use super::sink::Sink;
use super::{json_line, print, say};
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
                let Some(identity) = identity else { return Ok((place, None)) };
                if let Some((input, _)) = self.reads.iter().find(|(_, read)| *read == identity) {
                    return Err(OutputFault::Input(input.clone()));
                }
                if let Some((other, _)) = taken.iter().find(|(_, other)| *other == identity) {
                    return Err(OutputFault::Same(other.clone()));
                }
                taken.push((option.clone(), identity.clone()));
                Ok((place, Some(identity)))
            });
            match checked {
                Ok((place, identity)) => outputs.push(Output { option, path, place, identity }),
                Err(fault) => return Err(CliError::Output { option, path, fault }),
            }
        }
        Ok(Outputs(outputs))
    }
}

/// Every file that a command writes, checked.
#[derive(Debug)]
pub struct Outputs(Vec<Output>);

impl Outputs {
    /// Writes `contents`, bytes by option; what was not asked for is left out. Files appear together or not at all.
    ///
    /// # Errors
    /// [`CliError::Output`] names the option and the file; [`CliError::BrokenPipe`] if standard output is all that was
    /// asked for, and its reader is gone. No file is new or changed then, unless the system refuses to take it back.
    pub fn write(&self, contents: &[(&str, &[u8])]) -> Result<(), CliError> {
        let mut asked = Vec::new();
        for (name, bytes) in contents {
            if let Some(output) = self.find(name) {
                asked.push((output, output.now().map_err(|fault| output.fault(fault))?, *bytes));
            }
        }
        let mut ready = Vec::new();
        for (output, place, bytes) in &asked {
            if let Place::File { target, old } = place {
                let made = Replacement::prepare(target, old.as_ref(), bytes).map_err(|e| output.fault(e))?;
                ready.push((output, made));
            }
        }
        for (output, place, bytes) in &asked {
            match output.write_through(place, bytes) {
                // Not the quiet end for a reader who has seen enough: what else was asked for will be missing.
                Err(CliError::BrokenPipe) if asked.len() > 1 => return Err(output.fault(OutputFault::NoReader)),
                written => written?,
            }
        }
        let undoable = ready.len() > 1;
        let mut done = Vec::new();
        for (output, made) in ready {
            match made.put(undoable) {
                Ok(put) => done.push(put),
                Err(error) => {
                    done.into_iter().rev().for_each(Put::undo);
                    let came = error.kind() == ErrorKind::AlreadyExists;
                    return Err(output.fault(if came { OutputFault::Changed } else { error.into() }));
                }
            }
        }
        Ok(())
    }

    /// Writes the file of `option` again: it replaces what the last call wrote.
    ///
    /// # Errors
    /// As [`Outputs::write`]; the file is as it was then.
    pub fn renew(&mut self, option: &str, bytes: &[u8]) -> Result<(), CliError> {
        let bytes = [(option, bytes)];
        self.write(&bytes)?;
        let Some(output) = self.0.iter_mut().find(|output| output.option == option) else { return Ok(()) };
        let renewed = place(&output.path).and_then(|place| Ok((place.identity()?, place)));
        match renewed {
            Ok((identity, place)) => (output.identity, output.place) = (identity, place),
            Err(fault) => return Err(output.fault(fault)),
        }
        Ok(())
    }

    /// Begins the file of `option`, to be written piece by piece; `None` if it was not asked for.
    ///
    /// # Errors
    /// As [`Outputs::write`].
    pub fn begin(&self, option: &str) -> Result<Option<Sink<'_>>, CliError> {
        self.find(option).map(Sink::new).transpose()
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
