//! A file that is written piece by piece, through the same door.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};

use super::asked::Output;
use super::fault::OutputFault;
use super::place::Place;
use super::replace::Replacement;
use crate::error::CliError;

/// An output that is being written. A regular file appears in its place at [`Sink::finish`], or not at all; what cannot
/// be replaced gets the bytes as they come.
pub struct Sink<'o> {
    output: &'o Output,
    to: To,
}

enum To {
    File(Replacement),
    Through(Box<dyn Write>),
}

impl<'o> Sink<'o> {
    pub(super) fn new(output: &'o Output) -> Result<Self, CliError> {
        let place = output.now().map_err(|fault| output.fault(fault))?;
        let to = match &place {
            Place::File { target, old } => Replacement::begin(target, old.is_some()).map(To::File),
            Place::Stdout => Ok(To::Through(Box::new(io::stdout().lock()))),
            Place::Stderr => Ok(To::Through(Box::new(io::stderr().lock()))),
            Place::Through(path) => {
                let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
                let opened = OpenOptions::new().write(true).truncate(is_file).open(path);
                opened.map(|file| To::Through(Box::new(file)))
            }
        };
        Ok(Self { output, to: to.map_err(|error| output.fault(error))? })
    }

    /// The error of a write, with the option and the file.
    pub fn fault(&self, error: io::Error) -> CliError {
        match &self.output.place {
            Place::Stdout => CliError::stdout(error),
            _ => self.output.fault(error),
        }
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`CliError::Output`] names the option and the file, which is then as it was.
    pub fn finish(mut self) -> Result<(), CliError> {
        self.flush().map_err(|error| self.fault(error))?;
        let To::File(new) = self.to else { return Ok(()) };
        let output = self.output;
        let Place::File { old, .. } = output.now().map_err(|fault| output.fault(fault))? else {
            return Err(output.fault(OutputFault::Changed));
        };
        let put = new.complete(old.as_ref()).and_then(|()| new.put(false));
        put.map(drop).map_err(|error| {
            let came = error.kind() == ErrorKind::AlreadyExists;
            output.fault(if came { OutputFault::Changed } else { error.into() })
        })
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::File(new) => new.file().write(bytes),
            To::Through(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::File(_) => Ok(()),
            To::Through(to) => to.flush(),
        }
    }
}
