//! `mambabyte compress`: an archive of a text, coded with what a model and an adapter predict.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mambabyte_core::archive::MAX_BLOCK;
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::archive::{BLOCK, Predictor, Totals, compress};
use serde_json::json;

use crate::adapting::{Adapt, presets};
use crate::computing::{Computing, DeviceKind, Running};
use crate::error::CliError;
use crate::model::Verify;
use crate::net::{PrimedFile, first_adapter, header, model_name, named, open_blob};
use crate::output::{Door, thousands};
use crate::progress::Progress;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "compress sensor-nano my.log -o my.mba"
    "compress none my.log -o my.mba --adapt 1M"
    "compress sensor-nano -o - < my.log | ssh host mambabyte decompress sensor-nano -o my.log"
})]
pub struct Args {
    /// A blob, by path or by name; `none` is the adapter alone.
    pub model: PathBuf,
    /// The text; `-` or nothing is standard input.
    pub file: Option<PathBuf>,
    /// The archive; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Memory of the adapter. Default: that of --prime, else 16K. An archive says which.
    #[arg(long, value_name = "PRESET", ignore_case = true, value_parser = presets())]
    pub adapt: Option<Adapt>,
    /// Begin with an adapter that has read something, from `mambabyte prime`. It is not in the archive: who decompresses
    /// needs it too.
    #[arg(long, value_name = "FILE")]
    pub prime: Option<PathBuf>,
    /// Bytes of a block. What follows a damaged block is lost; with small blocks less waits in a pipe.
    #[arg(long, value_name = "BYTES", default_value_t = BLOCK, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_BLOCK)))]
    pub block: u32,
    /// Where to compute. The archive is the same.
    #[arg(long, value_enum, default_value_t, help_heading = "Computing")]
    pub device: DeviceKind,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// How the blob is loaded.
    #[command(flatten)]
    pub verify: Verify,
    /// What to run on.
    #[command(flatten)]
    pub running: Running,
}

/// A source of bytes, its name, and its length if it has one.
pub(super) struct Source {
    pub(super) read: Box<dyn Read>,
    pub(super) name: PathBuf,
    pub(super) bytes: Option<u64>,
}

impl Source {
    /// Opens a file; `-` is standard input.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            let name = PathBuf::from("standard input");
            return Ok(Self { read: Box::new(io::stdin().lock()), name, bytes: None });
        }
        let file = File::open(path).map_err(|error| CliError::io(path, error))?;
        let bytes = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|found| found.len());
        Ok(Self { read: Box::new(file), name: path.to_owned(), bytes })
    }

    /// A bar, if it is known where it ends.
    pub(super) fn bar(&self, what: &str) -> Option<Progress> {
        self.bytes.map(|bytes| Progress::bytes(what, bytes))
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let cpu = args.running.cpu()?;
    let input = args.file.as_deref().unwrap_or(Path::new("-"));
    let mut door = Door::default();
    door.reads_model(&args.model);
    door.reads(input);
    if let Some(prime) = &args.prime {
        door.reads(prime);
    }
    door.writes("--output", args.output.as_path());
    let outputs = door.open()?;
    let model = open_blob(&args.model, args.verify)?;
    let computing = Computing { device: args.device, precision: None };
    let engine = model.as_ref().map(|model| computing.engine(model, cpu)).transpose()?;
    let name = model_name(model.as_ref());
    let primed = args.prime.as_deref().map(PrimedFile::open).transpose()?;
    let adapter = first_adapter(args.adapt, primed.as_ref(), &name)?;
    let preset = adapter.as_ref().map(AnyAdapter::preset);
    let header = header(name, preset, primed.as_ref(), args.block)?;
    let mut source = Source::open(input)?;
    let Some(mut sink) = outputs.begin("--output")? else { return Ok(()) };
    let bar = source.bar("compress");
    let mut seen = |n| bar.iter().for_each(|bar| bar.add(n));
    let totals = Predictor::new(engine.as_ref(), adapter)
        .and_then(|mut predictor| compress(&mut predictor, &header, &mut source.read, &mut sink, &mut seen))
        .map_err(|fault| named(fault, &source.name, |error| sink.fault(error)))?;
    sink.finish()?;
    drop(bar);
    let Totals { plain, archive, code, blocks, stored, .. } = totals;
    let bits = if plain == 0 { 0.0 } else { archive as f64 * 8.0 / plain as f64 };
    let adapt = preset.map_or("off", Preset::name);
    if args.json {
        return outputs.print_json(&json!({
            "model": name.name(), "adapt": adapt, "primed": header.primed.map(|id| format!("{:08x}", id.crc)),
            "bytes": plain, "archive_bytes": archive, "code_bytes": code, "bits_per_byte": bits, "blocks": blocks,
            "stored_blocks": stored,
        }));
    }
    let (plain, archive) = (thousands(plain), thousands(archive));
    outputs.print(&format!("{plain} bytes to {archive}, {bits:.4} bits per byte, adapter {adapt}\n"))
}
