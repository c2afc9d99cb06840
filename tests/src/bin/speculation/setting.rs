//! What the tables of texts share: a model, those that draft for it, prompts, and how long it may take.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mambabyte::computing::{Computing, DeviceKind, Running, precisions};
use mambabyte::model::{AnyModel, Loading};
use mambabyte::writing::{Drafting, Helper, Mode, Speculating, length};
use mambabyte_core::SampleOptions;
use mambabyte_host::cpu::Cpu;
use mambabyte_host::engine::{AnyEngine, Precision};
use mambabyte_host::speculate::{Drafter, Length};

use super::Fallible;

/// How bytes are chosen.
pub(super) const CHOICES: [(&str, SampleOptions); 3] = [
    ("greedy", SampleOptions::GREEDY),
    ("T 0.8", SampleOptions { temperature: 52_429, top_k: 0, top_p: 65_536 }),
    ("top-p 0.9", SampleOptions { temperature: 65_536, top_k: 0, top_p: 58_982 }),
];

/// Options of every table of texts.
#[derive(clap::Args)]
pub(super) struct Setting {
    /// The model that writes: a blob or a checkpoint, by path or by name.
    pub(super) model: PathBuf,
    /// Texts that prompts are taken from.
    #[arg(required = true, value_name = "TEXT")]
    pub(super) texts: Vec<PathBuf>,
    /// Who drafts: `suffix`, `adapter`, a model of bytes, a folder with a model of subwords.
    #[arg(long, value_delimiter = ',', default_value = "suffix,adapter", value_name = "DRAFT,...")]
    pub(super) drafts: Vec<PathBuf>,
    #[command(flatten)]
    computing: Computing,
    #[command(flatten)]
    running: Running,
    /// Where models that draft are computed. Default: where the model is.
    #[arg(long, value_enum)]
    draft_device: Option<DeviceKind>,
    /// What they are computed in. Default: bf16 on a GPU.
    #[arg(long, value_parser = precisions())]
    draft_precision: Option<Precision>,
    /// How bytes are chosen: greedy, "T 0.8", "top-p 0.9".
    #[arg(long, value_delimiter = ',', default_value = "greedy,T 0.8", value_parser = CHOICES.map(|(name, _)| name))]
    choices: Vec<String>,
    /// Bytes of a draft, or `auto`.
    #[arg(long, default_value = "auto", value_parser = length, value_name = "K")]
    pub(super) draft_len: Length,
    /// What is accepted of a draft.
    #[arg(long, value_enum, default_value_t)]
    pub(super) mode: Mode,
    /// Prompts of each text, evenly apart.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub(super) prompts: u16,
    /// Bytes of each prompt.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..), value_name = "N")]
    prompt_bytes: u32,
    /// Bytes that are written after each prompt.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub(super) bytes: u32,
    /// Time of each part (a text with a choice, or a number of streams): after it no further prompt is begun.
    #[arg(long, default_value_t = 600, value_name = "S")]
    seconds: u64,
}

/// A model that is open, and those that draft for it.
pub(super) struct Opened {
    model: AnyModel,
    helpers: Vec<(PathBuf, Option<Helper>)>,
    cpu: Cpu,
}

/// Who drafts, ready to.
pub(super) struct Hand<'m> {
    pub(super) name: String,
    speculating: Speculating,
    drafting: Option<Drafting<'m>>,
}

impl Setting {
    /// Loads the models.
    pub(super) fn open(&self) -> Fallible<Opened> {
        let loading = Loading::default();
        let helper = |path: &PathBuf| Ok((path.clone(), self.speculating(path).open(&loading)?));
        Ok(Opened {
            model: AnyModel::open(&self.model, &loading)?,
            helpers: self.drafts.iter().map(helper).collect::<Fallible<_>>()?,
            cpu: self.running.cpu()?,
        })
    }

    fn speculating(&self, path: &Path) -> Speculating {
        Speculating {
            speculate: Some(path.to_path_buf()),
            draft_len: self.draft_len,
            speculate_mode: self.mode,
            beta: None,
            stats: false,
        }
    }

    /// The engine of the model.
    pub(super) fn engine<'m>(&self, opened: &'m Opened) -> Fallible<AnyEngine<'m>> {
        Ok(self.computing.engine(&opened.model, opened.cpu)?)
    }

    /// The engine of a checkpoint: on a GPU in bf16, if not another precision of floats was asked for.
    pub(super) fn float_engine<'m>(&self, model: &'m AnyModel, opened: &Opened) -> Fallible<AnyEngine<'m>> {
        let on_gpu = (self.computing.device == DeviceKind::Cuda).then_some(Precision::Bf16);
        let asked = self.computing.precision.filter(|&precision| precision != Precision::Exact);
        Ok(Computing { precision: asked.or(on_gpu), ..self.computing }.engine(model, opened.cpu)?)
    }

    /// All that draft.
    pub(super) fn hands<'m>(&self, opened: &'m Opened) -> Fallible<Vec<Hand<'m>>> {
        let device = self.draft_device.unwrap_or(self.computing.device);
        let on_gpu = (device == DeviceKind::Cuda).then_some(Precision::Bf16);
        let computing = Computing { device, precision: self.draft_precision.or(on_gpu) };
        let hand = |(path, helper): &'m (PathBuf, Option<Helper>)| {
            let drafting = match helper {
                None => None,
                Some(Helper::Bytes(model)) => Some(Drafting::Bytes(computing.engine(model, opened.cpu)?)),
                Some(Helper::Subwords(both)) => Some(Drafting::Subwords(&both.0, &both.1)),
            };
            Ok(Hand { name: name(path), speculating: self.speculating(path), drafting })
        };
        opened.helpers.iter().map(hand).collect()
    }

    /// The choices that were asked for.
    pub(super) fn choices(&self) -> impl Iterator<Item = (&'static str, SampleOptions)> {
        CHOICES.into_iter().filter(|(name, _)| self.choices.iter().any(|asked| asked == name))
    }

    /// `count` prompts of a text, evenly apart.
    pub(super) fn prompts(&self, path: &Path, count: usize) -> Fallible<Vec<Vec<u8>>> {
        let text = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let length = self.prompt_bytes as usize;
        if text.len() < length {
            return Err(format!("{}: {} bytes, fewer than a prompt's {length}", path.display(), text.len()).into());
        }
        let apart = (text.len() - length) / count;
        Ok((0..count).map(|i| text[i * apart..][..length].to_vec()).collect())
    }

    /// Whether all is computed by the calling thread.
    pub(super) fn is_one_thread(&self, opened: &Opened) -> bool {
        self.computing.device == DeviceKind::Cpu && opened.cpu.threads == 1
    }

    /// When a part that begins now should end.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.seconds)
    }

    /// The model, where it is computed, and what is written.
    pub(super) fn title(&self, engine: &AnyEngine<'_>, opened: &Opened) -> String {
        use mambabyte_host::engine::Engine;
        let (dims, device) = (engine.dims(), self.computing.device);
        let place = if device == DeviceKind::Cpu { format!("{} threads", opened.cpu.threads) } else { "GPU".into() };
        format!(
            "{} ({} x {}), {}, {place}; prompts of {} bytes, {} bytes written after each",
            name(&self.model),
            dims.d_model,
            dims.n_layer,
            engine.precision(),
            self.prompt_bytes,
            self.bytes
        )
    }
}

impl Hand<'_> {
    /// A drafter for `n` streams.
    pub(super) fn drafter(&self, n: usize) -> Fallible<Box<dyn Drafter + Send + '_>> {
        Ok(self.speculating.drafter(self.drafting.as_ref(), n)?)
    }

    /// The rule of the mode.
    pub(super) fn rule(&self) -> Box<dyn mambabyte_host::speculate::Rule + Send> {
        self.speculating.rule()
    }

    /// Whether the text must be the plain one.
    pub(super) fn is_exact(&self) -> bool {
        self.speculating.is_exact()
    }
}

/// A file's or folder's name without its ending; that of the folder for `model.mbb` and `model.safetensors`.
pub(super) fn name(path: &Path) -> String {
    let of = |path: &Path| path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    match (of(path), path.parent()) {
        (own, Some(folder)) if own == "model" && folder != Path::new("") => of(folder),
        (own, _) => own,
    }
}
