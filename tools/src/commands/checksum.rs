//! `mambabyte checksum`: the golden values that every other target must reproduce.

use std::path::PathBuf;

use mambabyte_host::adapt::AnyAdapter;
use mambabyte_host::checksum::{adapter_checksum, checksum};
use serde_json::json;

use crate::adapting::{Adapting, name, net_engine};
use crate::computing::{Computing, DeviceKind, Running};
use crate::error::CliError;
use crate::model::{AnyModel, BlobFile, Verify, read_text};
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::shipped::is_none;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "checksum sensor-pico models/text/golden-4096.txt"
    "checksum sensor-micro some.log --device cuda"
    "checksum none some.log --adapt 8K"
})]
pub struct Args {
    /// A blob, by path or by name; `none` is no net, an adapter alone.
    pub model: PathBuf,
    /// The text; `-` is standard input.
    pub text: PathBuf,
    /// An adapter, whose probabilities are what is summed then.
    #[command(flatten)]
    pub adapting: Adapting,
    /// Where to compute.
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
    let model = match is_none(&args.model) {
        true => None,
        false => Some(AnyModel::Blob(BlobFile::open(&args.model, args.verify)?)),
    };
    let preset = args.adapting.preset(model.is_some())?;
    let engine = net_engine(model.as_ref(), Computing { device: args.device, precision: None }, cpu)?;
    let text = read_text(&args.text)?;
    let bar = Progress::bytes("checksum", text.len() as u64);
    let crc = match (&engine, preset) {
        (engine, Some(preset)) => {
            let adapter = AnyAdapter::new(preset, engine.is_some());
            adapter_checksum(engine.as_ref(), adapter, &text, |n| bar.add(n))?
        }
        (Some(engine), None) => checksum(engine, &text, |n| bar.add(n))?,
        (None, None) => return Err(CliError::Usage("neither a model nor an adapter".into())),
    };
    drop(bar);
    if args.json {
        return print_json(&json!({ "checksum": format!("{crc:08x}"), "bytes": text.len(), "adapt": name(preset) }));
    }
    let of = preset.map_or_else(String::new, |preset| format!(", adapter {preset}"));
    print(&format!("{crc:08x}  {} bytes{of}\n", text.len()))
}
