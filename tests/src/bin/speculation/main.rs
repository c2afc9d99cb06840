//! The tables of `docs/speculation.md`, from models and texts that are given.
//!
//! ```text
//! cargo run --release -p mambabyte-tests --bin speculation -- all FOLDER
//! cargo run --release -p mambabyte-tests --bin speculation -- texts MODEL --drafts suffix,adapter,MODEL TEXT...
//! cargo run --release -p mambabyte-tests --features mambabyte/cuda --bin speculation -- texts --device cuda ...
//! ```
//!
//! `texts` writes after prompts, alone and with drafts; `batch` does so with several streams together; `replayed` gives a
//! model of random weights the acceptance of a trained one. Every text that must be the plain one is compared with it:
//! one that is another is said in its line, and the program ends with an error. Lines come as they are known, and each
//! part has a time, so a run that is cut off has said what it found. `--help` names all.

mod batch;
mod blocks;
mod clock;
mod coupling;
mod replay;
mod replayed;
mod setting;
mod texts;
mod writing;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args as _, FromArgMatches as _, Parser, Subcommand};
use mambabyte_core::Dims;
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cpu::{Source, Weights};
use mambabyte_tests::model_file;
use setting::Setting;

/// What can go wrong here is said and ends the program.
type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// How many texts were not the plain ones.
#[derive(Clone, Copy, Debug, Default)]
struct Verdict {
    others: usize,
}

impl Verdict {
    /// The words for a comparison, which is counted.
    fn hear(&mut self, compared: Result<&'static str, String>) -> String {
        self.others += usize::from(compared.is_err());
        compared.map_or_else(|other| other, str::to_owned)
    }

    fn end(self) -> Fallible<()> {
        if self.others == 0 { Ok(()) } else { Err(format!("{} lines have another text", self.others).into()) }
    }
}

/// Tables of speculation.
#[derive(Parser)]
#[command(name = "speculation")]
struct Words {
    #[command(subcommand)]
    table: Table,
}

#[derive(Subcommand)]
enum Table {
    /// Every table, with the models that come with the program: FOLDER has `nmea.txt`, `gpsd.txt`, `metar.txt` and
    /// `prose.txt`, texts that no model was trained on.
    All {
        /// The folder.
        folder: PathBuf,
    },
    /// Acceptance and speed of texts with drafts.
    Texts(Setting),
    /// Streams that speculate together.
    Batch {
        #[command(flatten)]
        setting: Setting,
        /// Numbers of streams.
        #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64", value_name = "N,...")]
        #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
        streams: Vec<u16>,
    },
    /// Random weights of a shape, with the acceptance of a trained model.
    Replayed {
        #[command(flatten)]
        setting: Setting,
        /// `d_model` x `n_layer` of the random weights.
        #[arg(long, value_parser = replayed::dims, default_value = "1024x53", value_name = "MxN")]
        shape: Dims,
    },
    /// How often two distributions choose the same byte, by the way that a number becomes a byte. Blobs, by path or name.
    Coupling {
        /// The model.
        model: String,
        /// The one that drafts, or `adapter`.
        drafter: String,
        /// Texts.
        #[arg(required = true)]
        texts: Vec<String>,
    },
    /// The rate of short blocks beside long ones. Blobs, by path or name.
    Blocks {
        /// The models.
        #[arg(required = true)]
        models: Vec<String>,
    },
    /// The cost of going to a byte within a draft. Blobs, by path or name.
    Replay {
        /// The models.
        #[arg(required = true)]
        models: Vec<String>,
    },
}

struct Bytes(AlignedBytes);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Source for Bytes {}

/// The weights of a blob, by path or by name.
fn weights(model: &str) -> Fallible<Weights> {
    let named = model_file(model, "model.mbb");
    let path = if named.exists() { named } else { PathBuf::from(model) };
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Weights::new(Arc::new(Bytes(AlignedBytes::new(&bytes)))).map_err(|e| format!("{}: {e}", path.display()))?)
}

/// One thread, the shipped models.
fn shipped(model: &str, drafts: &str, texts: &[PathBuf]) -> Fallible<Setting> {
    let command = Setting::augment_args(clap::Command::new("texts"));
    let words = ["texts", model, "--threads", "1", "--drafts", drafts].map(PathBuf::from);
    Ok(Setting::from_arg_matches(&command.try_get_matches_from(words.iter().chain(texts))?)?)
}

fn all(folder: &std::path::Path) -> Fallible<()> {
    let file = |name: &str| folder.join(name).with_extension("txt");
    let (sensor, prose) = (["nmea", "gpsd", "metar"].map(file), [file("prose")]);
    let names = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    for (model, drafter, texts) in [
        ("sensor-micro", "sensor-nano", &sensor[..]),
        ("sensor-micro", "adapter", &sensor),
        ("prose-small", "sensor-micro", &prose),
        ("prose-small", "adapter", &prose),
    ] {
        coupling::table(model, drafter, &names(texts))?;
    }
    texts::table(&shipped("sensor-micro", "suffix,adapter,sensor-nano", &sensor)?)?.end()?;
    texts::table(&shipped("prose-small", "suffix,adapter,sensor-micro", &prose)?)?.end()?;
    let models = ["sensor-nano", "sensor-micro", "prose-small"].map(str::to_owned);
    blocks::table(&models)?;
    replay::table(&models)
}

fn main() -> ExitCode {
    let Err(error) = run(Words::parse().table) else { return ExitCode::SUCCESS };
    let reasons = std::iter::successors(error.source(), |error| error.source()).map(|error| format!(": {error}"));
    eprintln!("error: {error}{}", reasons.collect::<String>());
    ExitCode::FAILURE
}

fn run(table: Table) -> Fallible<()> {
    match table {
        Table::All { folder } => all(&folder),
        Table::Texts(setting) => texts::table(&setting)?.end(),
        Table::Batch { setting, streams } => batch::table(&setting, &streams)?.end(),
        Table::Replayed { setting, shape } => replayed::table(&setting, &shape)?.end(),
        Table::Coupling { model, drafter, texts } => coupling::table(&model, &drafter, &texts),
        Table::Blocks { models } => blocks::table(&models),
        Table::Replay { models } => replay::table(&models),
    }
}
