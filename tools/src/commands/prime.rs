//! `mambabyte prime`: an adapter that has read texts, to begin with.

use std::path::PathBuf;

use mambabyte_core::archive::Primed;
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::archive::{ArchiveFault, Predictor};
use serde_json::json;

use super::compress::Source;
use crate::computing::{Computing, DeviceKind, Running};
use crate::error::CliError;
use crate::model::Verify;
use crate::net::{model_name, open_blob};
use crate::output::{Door, thousands};

/// Bytes that are read from a file at once.
const PIECE: usize = 1 << 16;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "prime sensor-nano old.log -o my.mbp"
    "compress sensor-nano new.log -o new.mba --prime my.mbp"
})]
pub struct Args {
    /// A blob, by path or by name; `none` is the adapter alone.
    pub model: PathBuf,
    /// Texts, read in this order; `-` is standard input. The model begins each anew, the adapter learns from all.
    #[arg(required = true, value_name = "TEXT")]
    pub texts: Vec<PathBuf>,
    /// The primed adapter; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The adapter: 4K, 8K, 16K, 32K, 64K or 1M.
    #[arg(long, value_name = "PRESET", default_value_t = Preset::K16)]
    pub adapt: Preset,
    /// Where to compute. The adapter is the same.
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

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let cpu = args.running.cpu()?;
    let mut door = Door::default();
    door.reads_model(&args.model);
    args.texts.iter().for_each(|text| door.reads(text));
    door.writes("--output", args.output.as_path());
    let outputs = door.open()?;
    let model = open_blob(&args.model, args.verify)?;
    let computing = Computing { device: args.device, precision: None };
    let engine = model.as_ref().map(|model| computing.engine(model, cpu)).transpose()?;
    let name = model_name(model.as_ref());
    let adapter = AnyAdapter::new(args.adapt, !name.is_none());
    let refused = |fault| match fault {
        ArchiveFault::Engine(error) => error.into(),
        source => CliError::Archive { path: args.model.clone(), source },
    };
    let mut predictor = Predictor::new(engine.as_ref(), Some(adapter)).map_err(refused)?;
    let (mut bytes, mut bits, mut piece) = (0u64, 0u64, vec![0; PIECE]);
    for text in &args.texts {
        let mut source = Source::open(text)?;
        let bar = source.bar("prime");
        predictor.begin_text()?;
        loop {
            let length = match source.read.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CliError::io(&source.name, error)),
            };
            let mut seen = |n| bar.iter().for_each(|bar| bar.add(n));
            predictor.read(&piece[..length], &mut |path| bits += u64::from(path.surprise()), &mut seen)?;
            bytes += length as u64;
        }
    }
    let mut saved = predictor.into_adapter().map(|mut adapter| adapter.save()).unwrap_or_default();
    let head = Primed::head(&name, bytes, &saved);
    let crc = u32::from_le_bytes([head[60], head[61], head[62], head[63]]);
    saved.splice(..0, head);
    outputs.write(&[("--output", &saved)])?;
    let mean = if bytes == 0 { 0.0 } else { bits as f64 / 65_536.0 / bytes as f64 };
    if args.json {
        return outputs.print_json(&json!({
            "model": name.name(), "adapt": args.adapt.name(), "bytes": bytes, "bits_per_byte": mean,
            "crc": format!("{crc:08x}"), "file_bytes": saved.len(),
        }));
    }
    let (bytes, adapt) = (thousands(bytes), args.adapt);
    outputs.print(&format!("adapter {adapt} has read {bytes} bytes, {mean:.4} bits per byte; CRC-32 {crc:08x}\n"))
}
