//! `mambabyte decompress`: the text of an archive.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mambabyte_host::archive::{ArchiveFault, decompress};
use serde_json::json;

use super::compress::Source;
use crate::computing::{Computing, DeviceKind, Running};
use crate::error::CliError;
use crate::model::Verify;
use crate::net::{Given, PrimedFile, model_name, named, open_blob};
use crate::output::{Door, thousands};
use crate::progress::Progress;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "decompress sensor-nano my.mba -o my.log"
    "decompress sensor-nano -o my.log < my.mba"
})]
pub struct Args {
    /// The blob that it was compressed with, by path or by name; `none` for the adapter alone. `inspect` says which.
    pub model: PathBuf,
    /// The archive, or several one after the other; `-` or nothing is standard input.
    pub file: Option<PathBuf>,
    /// The text; `-` is standard output. Of a damaged archive it gets what is right.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The primed adapter that it was begun with.
    #[arg(long, value_name = "FILE")]
    pub prime: Option<PathBuf>,
    /// Where to compute. The text is the same.
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

/// A source, with a bar of what was read of it.
struct Counted<'s> {
    read: &'s mut dyn Read,
    bar: Option<Progress>,
}

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.read.read(out)?;
        self.bar.iter().for_each(|bar| bar.add(length));
        Ok(length)
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
    let primed = args.prime.as_deref().map(PrimedFile::open).transpose()?;
    let given = Given { model: model_name(model.as_ref()), engine: engine.as_ref(), primed: primed.as_ref() };
    let mut source = Source::open(input)?;
    let Some(mut sink) = outputs.begin("--output")? else { return Ok(()) };
    let mut counted = Counted { bar: source.bar("decompress"), read: &mut source.read };
    let decoded = decompress(&mut counted, &mut sink, &mut |header| given.open(header), &mut |_| ());
    drop(counted);
    let kept = matches!(decoded, Ok(_) | Err(ArchiveFault::Archive { kept: 1.., .. }));
    let decoded = decoded.map_err(|fault| named(fault, &source.name, |error| sink.fault(error)));
    if kept {
        sink.finish()?;
    }
    let totals = decoded?;
    if args.json {
        return outputs.print_json(&json!({
            "archives": totals.archives, "bytes": totals.plain, "archive_bytes": totals.archive, "blocks": totals.blocks,
        }));
    }
    outputs.print(&format!("{} bytes from {}\n", thousands(totals.plain), thousands(totals.archive)))
}
