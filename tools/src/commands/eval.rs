//! `mambabyte eval`: bits per byte.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use mambabyte_host::adapt::Preset;
use mambabyte_host::bpb::{Compared, PositionBin, Score, compare, evaluate};
use mambabyte_host::engine::{AnyEngine, Engine, EngineError, Precision};
use serde_json::{Value, json};

use crate::adapting::{Adapting, name, net_engine, open_net};
use crate::computing::{Computing, Running};
use crate::curve::{Curve, svg};
use crate::error::CliError;
use crate::model::{Loading, read_start};
use crate::output::{Door, say, shown, thousands};
use crate::progress::Progress;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "eval sensor-nano some.log --window 8192"
    "eval checkpoint.pt *.txt --limit 1000000 --json"
    "eval sensor-nano some.log --adapt 16K --compare --plot learning.svg"
})]
pub struct Args {
    /// Blob or checkpoint, by path or by name; `none` is no net, an adapter alone.
    pub model: PathBuf,
    /// Texts; `-` is standard input. One of several that cannot be read, or that the model fails on, is said, and the exit
    /// code is 1.
    #[arg(required = true)]
    pub texts: Vec<PathBuf>,
    /// An adapter that learns the text, beside the model or alone.
    #[command(flatten)]
    pub adapting: Adapting,
    /// Measure an adapter alone, too, and show model, adapter and both side by side. Needs --adapt and a model.
    #[arg(long)]
    pub compare: bool,
    /// Draw the learning curve: bits per byte by position, of all that was measured.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Start anew, model and adapter, every N bytes. Default: one unbroken stream per text.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub window: Option<u64>,
    /// Read only the first N bytes of each text, which may be endless.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// How the model is loaded.
    #[command(flatten)]
    pub loading: Loading,
    /// Where to compute, and in what.
    #[command(flatten)]
    pub computing: Computing,
    /// What to run on.
    #[command(flatten)]
    pub running: Running,
}

/// What was measured of a text, or of all.
#[derive(Clone, Default)]
struct Measured {
    net: Option<Score>,
    mixed: Option<Score>,
    adapter: Option<Score>,
}

impl Measured {
    fn of(
        engine: Option<&AnyEngine<'_>>,
        preset: Option<Preset>,
        alone: bool,
        text: &[u8],
        window: Option<usize>,
        progress: &dyn Fn(usize),
    ) -> Result<Self, EngineError> {
        Ok(match (engine, preset) {
            (Some(engine), None) => Self { net: Some(evaluate(engine, text, window, progress)?), ..Self::default() },
            (engine, preset) => {
                let preset = preset.unwrap_or(crate::adapting::DEFAULT);
                let Compared { mixed, net, adapter } = compare(engine, preset, alone, text, window, progress)?;
                Self { mixed: engine.map(|_| mixed), net, adapter }
            }
        })
    }

    /// What was asked for: model and adapter together, or the one that there is.
    fn asked(&self) -> Option<&Score> {
        self.mixed.as_ref().or(self.net.as_ref()).or(self.adapter.as_ref())
    }

    fn merge(&mut self, other: &Self) {
        for (to, from) in
            [(&mut self.net, &other.net), (&mut self.mixed, &other.mixed), (&mut self.adapter, &other.adapter)]
        {
            if let Some(from) = from {
                to.get_or_insert_with(Score::empty).merge(from);
            }
        }
    }

    /// Their names and scores, what was not measured left out.
    fn columns(&self) -> Vec<(&'static str, &Score)> {
        let all = [("net", &self.net), ("mixed", &self.mixed), ("adapter", &self.adapter)];
        all.into_iter().filter_map(|(name, score)| Some((name, score.as_ref()?))).collect()
    }

    /// Bits per byte for programs: what was asked for, then each part, null if it was not measured.
    fn json(&self) -> Value {
        let bits = |score: Option<&Score>| score.map(Score::bits_per_byte);
        json!({
            "bits_per_byte": bits(self.asked()), "bits_per_byte_net": bits(self.net.as_ref()),
            "bits_per_byte_adapter": bits(self.adapter.as_ref()), "bytes": self.asked().map_or(0, |score| score.bytes),
        })
    }

    /// The same by position.
    fn by_position(&self) -> Vec<Value> {
        let at = |score: &Option<Score>, number: usize| {
            score.as_ref().and_then(|score| score.by_position.get(number)).map(PositionBin::bits_per_byte)
        };
        let bins = self.asked().map_or(&[][..], |score| &score.by_position);
        let bins = bins.iter().enumerate().map(|(number, bin)| {
            json!({
                "start": bin.start, "end": bin.end, "bytes": bin.bytes, "bits_per_byte": bin.bits_per_byte(),
                "bits_per_byte_net": at(&self.net, number), "bits_per_byte_adapter": at(&self.adapter, number),
            })
        });
        bins.collect()
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let cpu = args.running.cpu()?;
    let mut door = Door::default();
    door.reads_model(&args.model);
    args.texts.iter().for_each(|text| door.reads(text));
    door.writes("--plot", args.plot.as_deref());
    let outputs = door.open()?;
    let model = open_net(&args.model, &args.loading)?;
    let preset = args.adapting.preset(model.is_some())?;
    if args.compare && (model.is_none() || preset.is_none()) {
        return Err(CliError::Usage("--compare: a model and an adapter are needed, MODEL and --adapt PRESET".into()));
    }
    let engine = net_engine(model.as_ref(), args.computing, cpu)?;
    let arithmetic = engine.as_ref().map_or(Precision::Exact, Engine::precision).arithmetic();
    let window = args.window.map(|w| w as usize);
    let (mut total, mut files, mut failed) = (Measured::default(), Vec::new(), Vec::new());
    for path in &args.texts {
        let measured = text(path, args.limit).and_then(|text| {
            let bar = Progress::bytes("evaluating", text.len() as u64);
            let measured = Measured::of(engine.as_ref(), preset, args.compare, &text, window, &|n| bar.add(n));
            measured.map_err(|source| CliError::Text { path: path.clone(), source })
        });
        match measured {
            Ok(measured) => {
                total.merge(&measured);
                files.push((path, measured));
            }
            Err(error) if args.texts.len() == 1 => return Err(error),
            Err(error) => {
                let reason = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
                say(format_args!("error: {reason}"));
                failed.push((path, reason));
            }
        }
    }
    if args.plot.is_some() && !files.is_empty() {
        let curves = total.columns().into_iter().map(|(name, score)| Curve { name, bins: &score.by_position });
        let drawn = svg(&curves.collect::<Vec<_>>())?;
        outputs.write(&[("--plot", drawn.as_bytes())])?;
    }
    if args.json {
        let texts: Vec<_> = files
            .iter()
            .map(|(path, measured)| {
                let mut text = measured.json();
                text["text"] = json!(path.to_string_lossy());
                text
            })
            .collect();
        let failed: Vec<_> =
            failed.iter().map(|(path, error)| json!({ "text": path.to_string_lossy(), "error": error })).collect();
        let mut all = total.json();
        let fields = json!({
            "arithmetic": arithmetic, "adapt": name(preset), "bytes_per_second": total.asked().map_or(0.0, speed),
            "window": window, "by_position": total.by_position(), "texts": texts, "failed": failed,
        });
        if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
            all.extend(fields);
        }
        outputs.print_json(&all)?;
    } else if !files.is_empty() {
        outputs.print(&table(&files, &total, arithmetic, preset, window))?;
    }
    match failed.len() {
        0 => Ok(()),
        failed => Err(CliError::Texts { failed, all: args.texts.len() }),
    }
}

/// The beginning of a text.
fn text(path: &Path, limit: Option<u64>) -> Result<Vec<u8>, CliError> {
    let text = read_start(path, limit.unwrap_or(u64::MAX))?;
    if text.is_empty() { Err(CliError::Usage(format!("{}: the text is empty", shown(path)))) } else { Ok(text) }
}

/// Bytes per second.
fn speed(score: &Score) -> f64 {
    score.bytes as f64 / score.seconds.max(1e-9)
}

/// What people read.
fn table(
    files: &[(&PathBuf, Measured)],
    total: &Measured,
    arithmetic: &str,
    preset: Option<Preset>,
    window: Option<usize>,
) -> String {
    let mut out = String::new();
    let columns = total.columns();
    let (one, adapt) = (columns.len() == 1, name(preset));
    for (name, _) in &columns {
        let _ = write!(out, "{:>9}  ", if one { "bits/byte" } else { name });
    }
    let _ = writeln!(out, "{:>12}  {:>10}  text ({arithmetic}, adapter {adapt})", "bytes", "bytes/s");
    let mut row = |measured: &Measured, name: &str| {
        let Some(asked) = measured.asked() else { return };
        for (_, score) in measured.columns() {
            let _ = write!(out, "{:>9.5}  ", score.bits_per_byte());
        }
        let _ = writeln!(out, "{:>12}  {:>10.0}  {name}", thousands(asked.bytes as u64), speed(asked));
    };
    for (path, measured) in files {
        row(measured, &shown(path));
    }
    if files.len() > 1 {
        row(total, "all");
    }
    let _ = write!(out, "\nbits per byte by position{}", if window.is_some() { " in the window" } else { "" });
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(out, "{}", if one { String::new() } else { format!(": {}", names.join(", ")) });
    let bins = total.asked().map_or(&[][..], |score| &score.by_position);
    for (number, bin) in bins.iter().enumerate() {
        let _ = write!(out, "{:>10} ..{:<10} ", thousands(bin.start as u64), thousands(bin.end as u64));
        for (_, score) in &columns {
            let bits = score.by_position.get(number).map_or(0.0, PositionBin::bits_per_byte);
            let _ = write!(out, "{bits:.4}  ");
        }
        let _ = writeln!(out, "{}", "#".repeat((bin.bits_per_byte() * 8.0).min(60.0) as usize));
    }
    out
}
