//! `--speculate` and its companions: who drafts, and whether it pays.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use mambabyte_host::Model;
use mambabyte_host::adapt::Preset;
use mambabyte_host::cpu::Cpu;
use mambabyte_host::engine::{AnyEngine, EngineError, Precision};
use mambabyte_host::speculate::{
    AdapterDrafter, Drafter, Exact, Length, MOST, ModelDrafter, Rejection, Rule, Stats, SubwordDrafter, Suffix, TopBeta,
};

use super::writer::{Way, Writer};
use crate::computing::{Computing, DeviceKind};
use crate::error::CliError;
use crate::formats;
use crate::model::{AnyModel, Loading};
use crate::output::{note, say, shown};
use crate::shipped::{self, Found};
use crate::subwords::{self, Bpe};

/// The adapter that drafts.
const PRESET: Preset = Preset::K16;
/// The share of the time for measuring how fast the model is alone.
const MEASURING: u32 = 20;
/// Bytes after which it is said that drafts do not pay.
const ENOUGH: u64 = 64;

/// A model that drafts.
pub enum Helper {
    /// Of bytes.
    Bytes(AnyModel),
    /// Of subwords, on the CPU.
    Subwords(Box<(Model, Bpe)>),
}

/// Who drafts, if it is a model.
pub enum Drafting<'m> {
    /// Bytes.
    Bytes(AnyEngine<'m>),
    /// Subwords.
    Subwords(&'m Model, &'m Bpe),
}

/// Drafts of text.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Speculation")]
pub struct Speculating {
    /// Who drafts what comes next, which the model then verifies as one block: `suffix`, what followed the same bytes
    /// before; `adapter`, an adapter alone, which learns prompt and text; or another model, by path or by name, also one
    /// of subwords (`mambabyte train --tokenizer`): a folder with tokenizer.json.
    #[arg(long, value_name = "DRAFT")]
    pub speculate: Option<PathBuf>,
    /// Bytes of a draft at most, or `auto`: as many as were accepted of late.
    #[arg(long, value_name = "K", default_value = "auto", requires = "speculate", value_parser = length)]
    pub draft_len: Length,
    /// What is accepted.
    #[arg(long, value_name = "MODE", value_enum, default_value_t, requires = "speculate")]
    pub speculate_mode: Mode,
    /// With --speculate-mode paper: how many of the most probable bytes are good enough.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), requires = "speculate")]
    pub beta: Option<u16>,
    /// Say on standard error what was drafted and accepted, where the time went, and how fast the model is alone.
    #[arg(long, requires = "speculate")]
    pub stats: bool,
}

/// What is accepted of a draft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// What the model would have written: the text is the one without drafts, byte for byte, for every seed.
    #[default]
    Exact,
    /// Each byte with the model's probability (speculative sampling): another text of the same distribution.
    Rejection,
    /// Each of the --beta most probable bytes, 3 if it is not said; after one that is not, the model writes alone to the
    /// next space, comma or end of a line. Another text, of another distribution: --stats says what it costs.
    Paper,
}

/// What `--draft-len` says.
///
/// # Errors
/// What it must be, for people.
pub fn length(word: &str) -> Result<Length, String> {
    if word == "auto" {
        return Ok(Length::Auto);
    }
    let wrong = || format!("a number of 1 to {MOST}, or `auto`");
    usize::from_str(word).ok().filter(|bytes| (1..=MOST).contains(bytes)).map(Length::Fixed).ok_or_else(wrong)
}

impl Speculating {
    /// Whether there are drafts.
    pub const fn is_on(&self) -> bool {
        self.speculate.is_some()
    }

    /// Opens the model that drafts, if it is one.
    ///
    /// # Errors
    /// Those of [`AnyModel::open`], [`formats::load_symbols`] and [`Bpe::open`]; [`CliError::Usage`] for a row of byte 0 where
    /// rows are subwords.
    pub fn open(&self, loading: &Loading) -> Result<Option<Helper>, CliError> {
        let Some(path) = self.speculate.as_deref().filter(|path| !is_word(path)) else { return Ok(None) };
        let vocabulary = match shipped::find(path)? {
            Found::File(folder) => subwords::in_folder(&folder),
            Found::BuiltIn(_) => None,
        };
        let Some(vocabulary) = vocabulary else { return AnyModel::open(path, loading).map(Helper::Bytes).map(Some) };
        let formats::Options { trust_tensors, byte_offset } = loading.checkpoint;
        if byte_offset.is_some() {
            return Err(CliError::Usage(format!(
                "--byte-offset: the rows of {} are the subwords of its {}, so none is byte 0; without that file it is a model of \
                 bytes",
                shown(path),
                subwords::FILE
            )));
        }
        let words = Bpe::open(&vocabulary)?;
        let loaded = formats::load_symbols(path, trust_tensors)?;
        loaded.notes.iter().for_each(note);
        Ok(Some(Helper::Subwords(Box::new((Model::of_symbols(loaded.checkpoint)?, words)))))
    }

    /// The drafter of `n` streams; `helper` is what [`Self::helper`] made of what [`Self::open`] gave.
    ///
    /// # Errors
    /// Those of the engine; [`CliError::Model`] for a model of other symbols than its tokenizer's.
    pub fn drafter<'e>(
        &self,
        helper: Option<&'e Drafting<'_>>,
        n: usize,
    ) -> Result<Box<dyn Drafter + Send + 'e>, CliError> {
        match helper {
            Some(Drafting::Subwords(model, words)) => Ok(Box::new(SubwordDrafter::new(model, *words, n)?)),
            Some(Drafting::Bytes(engine)) => Ok(self.drafter_of_bytes(Some(engine), n)?),
            None => Ok(self.drafter_of_bytes(None, n)?),
        }
    }

    /// The same, with a model of bytes or none.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn drafter_of_bytes<'e>(
        &self,
        engine: Option<&'e AnyEngine<'_>>,
        n: usize,
    ) -> Result<Box<dyn Drafter + Send + 'e>, EngineError> {
        Ok(match (engine, self.speculate.as_deref()) {
            (Some(engine), _) => Box::new(ModelDrafter::new(engine, n)?),
            (None, Some(word)) if word == Path::new("adapter") => Box::new(AdapterDrafter::new(PRESET, n)),
            (None, _) => Box::new(Suffix::new(n)),
        })
    }

    /// The rule of the mode.
    pub fn rule(&self) -> Box<dyn Rule + Send> {
        match self.speculate_mode {
            Mode::Exact => Box::new(Exact),
            Mode::Rejection => Box::new(Rejection),
            Mode::Paper => Box::new(self.beta.map_or_else(TopBeta::default, |beta| TopBeta { beta: beta.into() })),
        }
    }

    /// The engine of the model that drafts: where the other one is computed, if it can be. On a GPU in bf16, which is
    /// quickest there, unless the text depends on what is drafted.
    ///
    /// # Errors
    /// Those of [`Computing::engine`].
    pub fn helper<'m>(
        &self,
        model: Option<&'m Helper>,
        computing: Computing,
        cpu: Cpu,
    ) -> Result<Option<Drafting<'m>>, CliError> {
        // A precision is of the model that writes; the other may be of another kind.
        let quick = (computing.device == DeviceKind::Cuda && self.is_exact()).then_some(Precision::Bf16);
        let computing = Computing { precision: quick, ..computing };
        let drafting = |model: &'m Helper| match model {
            Helper::Bytes(model) => computing.engine(model, cpu).map(Drafting::Bytes),
            Helper::Subwords(both) => Ok(Drafting::Subwords(&both.0, &both.1)),
        };
        model.map(drafting).transpose()
    }

    /// Whether the text is that of plain decoding, whatever is drafted.
    pub fn is_exact(&self) -> bool {
        self.speculate_mode == Mode::Exact
    }

    /// Whether what is written is measured: if that is asked for, and drafts change it.
    pub fn measures(&self) -> bool {
        self.stats && self.speculate_mode == Mode::Paper
    }

    /// Options that do not go together.
    ///
    /// # Errors
    /// [`CliError::Usage`].
    pub fn check(&self) -> Result<(), CliError> {
        match self.beta {
            Some(_) if self.speculate_mode != Mode::Paper => {
                Err(CliError::Usage("--beta: it belongs to --speculate-mode paper".into()))
            }
            _ => Ok(()),
        }
    }

    /// Says what drafts did, if asked, and that they did not pay, if so. `engine` and `way` write the same without them;
    /// `alone` has done so from the same place on, if what is written is measured.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn report(
        &self,
        stats: &Stats,
        engine: &AnyEngine<'_>,
        way: Way,
        alone: Option<&Stats>,
    ) -> Result<(), CliError> {
        if stats.written < ENOUGH && !self.stats {
            return Ok(());
        }
        let time = stats.time();
        let (rate, plain) = (per_second(stats.written, time), plain_rate(engine, way, time / MEASURING)?);
        if self.stats {
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            say(format_args!(
                "drafted {} bytes, {} accepted, {:.1} % of those looked at; {} rounds of {:.2} bytes",
                stats.drafted,
                stats.accepted,
                100.0 * stats.acceptance(),
                stats.rounds,
                stats.bytes_a_round()
            ));
            say(format_args!(
                "draft {:.1} ms, verify {:.1} ms, choose {:.1} ms, replay {:.1} ms",
                ms(stats.draft),
                ms(stats.verify),
                ms(stats.choose),
                ms(stats.replay)
            ));
            if let Some(alone) = alone {
                let (mine, others) = (stats.bits_per_byte(), alone.bits_per_byte());
                say(format_args!(
                    "{mine:.4} bits per byte under the model; {others:.4} of its own text: {:+.4}",
                    mine - others
                ));
            }
            say(format_args!("{rate:.0} bytes/s; {plain:.0} without drafts: {:.2} times as fast", rate / plain));
        }
        if rate < plain && stats.written >= ENOUGH {
            note(format_args!(
                "--speculate does not pay here: {rate:.0} bytes/s, {plain:.0} without it. A model that is small or a CPU \
                 that waits for no memory gains nothing from blocks; see docs/speculation.md"
            ));
        }
        Ok(())
    }
}

/// Whether DRAFT is no model.
fn is_word(draft: &Path) -> bool {
    ["suffix", "adapter"].iter().any(|word| draft == Path::new(word))
}

fn per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64().max(1e-9)
}

/// Bytes a second of the model alone, measured for `time` and a little more.
///
/// # Errors
/// Those of the engine.
fn plain_rate(engine: &AnyEngine<'_>, way: Way, time: Duration) -> Result<f64, EngineError> {
    let mut writer = Writer::plain(Some(engine), way, None, b"")?;
    // Threads start, memory is touched.
    writer.write(4)?;
    let (began, mut bytes, mut count) = (Instant::now(), 0, 4);
    loop {
        writer.write(count)?;
        bytes += count as u64;
        if began.elapsed() >= time {
            return Ok(per_second(bytes, began.elapsed()));
        }
        count = (2 * count).min(64);
    }
}
