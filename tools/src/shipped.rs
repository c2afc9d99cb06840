//! Models by name: those that come with the program, wherever a command takes a model.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::builtin::MODEL;
use crate::error::CliError;
use crate::output::shown;

/// What the sensor models have learned.
const SENSOR: &str = "NMEA 0183, NMEA 2000, METAR, gpsd JSON, weather CSV, AIS, bulletins, G-code, a little prose";

/// A model that comes with the program.
#[derive(Debug)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// The kinds of text that it was trained on.
    pub trained_on: &'static str,
    /// The blob, if it is in the program.
    pub blob: Option<&'static [u8]>,
}

/// All of them, small ones first. Three are in the program; `mambabyte models` says how large.
pub static SHIPPED: [Shipped; 4] = [
    Shipped { name: "sensor-pico", trained_on: SENSOR, blob: Some(mambabyte_models::SENSOR_PICO) },
    Shipped { name: "sensor-nano", trained_on: SENSOR, blob: Some(MODEL) },
    Shipped { name: "sensor-micro", trained_on: SENSOR, blob: Some(mambabyte_models::SENSOR_MICRO) },
    Shipped { name: "prose-small", trained_on: "94 British novels, 1840-1918", blob: None },
];

/// The name of the model without a net: an adapter alone.
pub const NONE: &str = "none";

/// Whether the user asks for no net. A file of that name is a model as any other.
pub fn is_none(given: &Path) -> bool {
    given == Path::new(NONE) && fs::symlink_metadata(given).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Where a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file or folder.
    File(PathBuf),
    /// In the program.
    BuiltIn(&'static [u8]),
}

/// The model that the user calls `given`: a path that exists wins over a name.
///
/// # Errors
/// [`CliError::NoModel`] if it is neither.
pub fn find(given: &Path) -> Result<Found, CliError> {
    match named(given)? {
        None => Ok(Found::File(given.to_owned())),
        Some(model) => model.find().ok_or_else(|| missing(given, "model.mbb")),
    }
}

/// The checkpoint that the user calls `given`, a path or the name of a model whose folder is found.
///
/// # Errors
/// [`CliError::NoModel`] if it is neither.
pub fn find_checkpoint(given: &Path) -> Result<PathBuf, CliError> {
    const WEIGHTS: &str = "model.safetensors";
    match named(given)? {
        None => Ok(given.to_owned()),
        Some(model) => {
            let weights = model.file(WEIGHTS).ok_or_else(|| missing(given, WEIGHTS))?;
            Ok(weights.parent().map_or_else(PathBuf::new, Path::to_owned))
        }
    }
}

/// `None` for a path that is there, or that cannot be looked at.
fn named(given: &Path) -> Result<Option<&'static Shipped>, CliError> {
    match fs::symlink_metadata(given) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if is_none(given) {
                let reason = "no net at all, an adapter alone; this command needs a model".into();
                return Err(CliError::NoModel { given: given.to_owned(), reason });
            }
            let model = SHIPPED.iter().find(|model| given == Path::new(model.name));
            model.map(Some).ok_or_else(|| CliError::NoModel {
                given: given.to_owned(),
                reason: "no file, no folder and no model has this name".into(),
            })
        }
        _ => Ok(None),
    }
}

fn missing(given: &Path, file: &str) -> CliError {
    let name = shown(given);
    CliError::NoModel {
        given: given.to_owned(),
        reason: format!(
            "{name}/{file} is not in this program, not in a folder `models` or `../share/mambabyte/models` beside it, and \
             this is not its source folder"
        ),
    }
}

impl Shipped {
    /// The blob.
    pub fn find(&self) -> Option<Found> {
        self.blob.map(Found::BuiltIn).or_else(|| self.file("model.mbb").map(Found::File))
    }

    /// A file of the model, if its folder is found.
    pub fn file(&self, file: &str) -> Option<PathBuf> {
        folders().into_iter().map(|folder| folder.join(self.name).join(file)).find(|path| path.is_file())
    }
}

/// Folders that models are looked for in: beside the program, then where it was built, then the source folder that the
/// current folder is in.
fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(program) = std::env::current_exe().and_then(|program| program.canonicalize())
        && let Some(beside) = program.parent()
    {
        folders.extend([beside.join("models"), beside.join("../share/mambabyte/models")]);
        folders.extend(checkout(beside).map(|root| root.join("models")));
    }
    if let Ok(here) = std::env::current_dir() {
        folders.extend(checkout(&here).map(|root| root.join("models")));
    }
    folders
}

/// The source folder of this program that `folder` is in.
pub fn checkout(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.join("tools/xtask/Cargo.toml").is_file()).map(Path::to_owned)
}
