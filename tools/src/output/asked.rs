//! A file that a command was asked to write.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use super::check::place;
use super::fault::OutputFault;
use super::place::{Identity, Place};
use super::print_bytes;
use crate::error::CliError;

/// A file to write.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) option: String,
    pub(super) path: PathBuf,
    pub(super) place: Place,
    pub(super) identity: Option<Identity>,
}

impl Output {
    pub(super) fn fault(&self, fault: impl Into<OutputFault>) -> CliError {
        CliError::Output { option: self.option.clone(), path: self.path.clone(), fault: fault.into() }
    }

    /// Where it leads now: to what was checked, or to nothing any more. The work may have taken hours.
    pub(super) fn now(&self) -> Result<Place, OutputFault> {
        let now = place(&self.path)?;
        let gone = match (&now, &self.place) {
            (Place::File { target, old: None }, Place::File { target: checked, .. }) => target == checked,
            _ => false,
        };
        if gone || now.identity()? == self.identity { Ok(now) } else { Err(OutputFault::Changed) }
    }

    /// Writes to what cannot be replaced.
    pub(super) fn write_through(&self, place: &Place, bytes: &[u8]) -> Result<(), CliError> {
        match place {
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
