//! `mambabyte checksum`: the golden value that every other target must reproduce.

use std::path::PathBuf;

use mambabyte_host::checksum::checksum;
use serde_json::json;

use crate::computing::{Computing, DeviceKind, Running};
use crate::error::CliError;
use crate::model::{AnyModel, BlobFile, Verify, read_text};
use crate::output::{print, print_json};
use crate::progress::Progress;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "checksum sensor-pico models/text/golden-4096.txt"
    "checksum sensor-micro some.log --device cuda"
})]
pub struct Args {
    /// A blob, by path or by name.
    pub model: PathBuf,
    /// The text; `-` is standard input.
    pub text: PathBuf,
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
    let model = AnyModel::Blob(BlobFile::open(&args.model, args.verify)?);
    let engine = Computing { device: args.device, precision: None }.engine(&model, cpu)?;
    let text = read_text(&args.text)?;
    let bar = Progress::bytes("checksum", text.len() as u64);
    let crc = checksum(&engine, &text, |n| bar.add(n))?;
    drop(bar);
    if args.json {
        return print_json(&json!({ "checksum": format!("{crc:08x}"), "bytes": text.len() }));
    }
    print(&format!("{crc:08x}  {} bytes\n", text.len()))
}
