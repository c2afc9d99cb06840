//! The folder that a run writes into. Every file goes through the one door: whole or not at all, never over an input.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::output::{Door, is_left, say, shown};

/// What a run goes on from.
pub const STATE: &str = "train.state";
/// Everything that a run leaves.
pub const FILES: [&str; 8] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "log.jsonl",
    "report.html",
    "model.mbb",
    "README.md",
];

/// The folder, and what is read.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    reads: Vec<PathBuf>,
}

impl Folder {
    /// A folder for a new run, or that of a run to go on with. `reads` are files that must stay as they are. Nothing is
    /// made yet.
    ///
    /// # Errors
    /// [`CliError::Usage`] if it is no folder, if a run is in it already, or if there is none to go on with.
    pub fn open(path: &Path, reads: Vec<PathBuf>, resume: bool) -> Result<Self, CliError> {
        let refused = |what: String| Err(CliError::Usage(format!("--output {}: {what}", shown(path))));
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => return refused("this is a file; a run needs a folder".into()),
            Ok(_) => {}
            Err(_) if resume => return refused("there is no such folder, so no run to go on with".into()),
            Err(_) => {}
        }
        let this = Self { path: path.to_owned(), reads };
        let state = this.path(STATE).is_file();
        if resume && !state {
            let done = this.path("README.md").is_file();
            let why = if done { "the run in it is finished" } else { "no run was begun in it" };
            return refused(format!(
                "there is no {STATE}: {why}; without --resume a new one begins, in another folder"
            ));
        }
        if !resume && state {
            return refused("a run is in it: --resume goes on with it; a new one needs another folder".into());
        }
        let found = FILES.into_iter().find(|file| fs::symlink_metadata(this.path(file)).is_ok());
        if let (false, Some(file)) = (resume, found) {
            return refused(format!("{file} is in it, which a run would replace; give another folder"));
        }
        Ok(this)
    }

    /// Makes the folder if it is not there, removes what a run that was killed while it wrote has left in it (two runs
    /// at a time in one folder are none), and checks that all files of a run can be written.
    ///
    /// # Errors
    /// [`CliError::Io`], or `CliError::Output` if a file of the run would replace an input.
    pub fn make(&self) -> Result<(), CliError> {
        fs::create_dir_all(&self.path).map_err(|e| CliError::io(&self.path, e))?;
        for path in self.left()? {
            say(format_args!("{}: left by a run that was killed, removed", shown(&path)));
            fs::remove_file(&path).map_err(|e| CliError::io(&path, e))?;
        }
        let mut door = self.door();
        for name in FILES.into_iter().chain([STATE]) {
            door.writes("--output", self.path(name).as_path());
        }
        door.open().map(drop)
    }

    fn door(&self) -> Door {
        let mut door = Door::default();
        self.reads.iter().for_each(|path| door.reads(path));
        door
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file, in place of the one that is there.
    ///
    /// # Errors
    /// `CliError::Output`; what was there is there then.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CliError> {
        let mut door = self.door();
        door.writes("--output", self.path(name).as_path());
        door.open()?.write(&[("--output", bytes)])
    }

    /// Files under the names that `output` gives for a moment.
    fn left(&self) -> Result<Vec<PathBuf>, CliError> {
        let failed = |e| CliError::io(&self.path, e);
        let entries = fs::read_dir(&self.path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let left = entries.iter().filter(|entry| is_left(&entry.file_name().to_string_lossy()));
        Ok(left.map(fs::DirEntry::path).filter(|path| path.is_file()).collect())
    }

    /// Removes the state of a run that is finished.
    ///
    /// # Errors
    /// [`CliError::Io`].
    pub fn finish(&self) -> Result<(), CliError> {
        fs::remove_file(self.path(STATE)).map_err(|e| CliError::io(self.path(STATE), e))
    }
}
