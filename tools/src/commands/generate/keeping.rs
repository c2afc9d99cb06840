//! `--load-state` and `--save-state`: a text that goes on where another one, or a stream, was left.

use std::path::{Path, PathBuf};

use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::engine::{AnyEngine, Engine, EngineError, Precision};
use mambabyte_host::stream::Bookmark;

use super::super::stream::one_stream;
use crate::error::CliError;
use crate::output::{Door, Outputs};

/// The option of the file that is written.
const SAVE: &str = "--save-state";

/// Where a text begins, and where its end is kept.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Keeping the state")]
pub struct Keeping {
    /// Begin where a text was left: in the file of a --save-state, or of `stream --save-state` or `--state` with the same
    /// MODEL and --adapt. --prompt comes after it.
    #[arg(long, value_name = "FILE")]
    pub load_state: Option<PathBuf>,
    /// Write here where the text is left: after the last byte that was written. This may be the file of --load-state,
    /// which is replaced. Not in it is what chooses bytes: the next text begins with --seed.
    #[arg(long, value_name = "FILE")]
    pub save_state: Option<PathBuf>,
}

impl Keeping {
    /// Checks the file to write; `reads` are those that must stay as they are.
    ///
    /// # Errors
    /// Those of [`Door::open`]; [`CliError::Usage`] for standard output, where the text goes.
    pub(super) fn outputs(&self, model: &Path, reads: &[&Path]) -> Result<Outputs, CliError> {
        let mut door = Door::default();
        door.reads_model(model);
        reads.iter().for_each(|read| door.reads(read));
        // The state that is loaded is no input to protect: the one that is saved is its successor.
        door.writes(SAVE, self.save_state.as_deref());
        let outputs = door.open()?;
        if outputs.take_stdout() {
            return Err(CliError::Usage(
                "--save-state: the text goes to standard output, a state must go elsewhere".into(),
            ));
        }
        Ok(outputs)
    }

    /// Where the text begins, if not at its beginning.
    ///
    /// # Errors
    /// [`EngineError::NotIntegers`] of a float engine, also if a state is to be saved; [`CliError::State`] for a state
    /// that is damaged, or of another model or preset.
    pub(super) fn load(
        &self,
        engine: Option<&AnyEngine<'_>>,
        preset: Option<Preset>,
    ) -> Result<Option<Bookmark>, CliError> {
        let precision = engine.map_or(Precision::Exact, Engine::precision);
        if precision != Precision::Exact && (self.load_state.is_some() || self.save_state.is_some()) {
            return Err(EngineError::NotIntegers { precision }.into());
        }
        let Some(path) = &self.load_state else { return Ok(None) };
        let saved = one_stream(path)?;
        let state = engine.map(|engine| engine.state(&mut engine.rows(1)?, 0)).transpose()?;
        let adapter = preset.map(|preset| AnyAdapter::new(preset, engine.is_some()));
        Bookmark::load(&saved, state, adapter).map(Some).map_err(|error| CliError::of_state(path, error))
    }

    /// Whether the text's end is kept.
    pub(super) const fn saves(&self) -> bool {
        self.save_state.is_some()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Those of [`Outputs::write`].
    pub(super) fn save(outputs: &Outputs, mut end: Bookmark) -> Result<(), CliError> {
        outputs.write(&[(SAVE, &end.save()?)])
    }
}
