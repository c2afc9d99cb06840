//! `mambabyte models`: what comes with the program.

use std::fmt::Write;
use std::path::Path;

use mambabyte_core::Dims;
use serde_json::json;

use super::inspect::parameters;
use crate::chips::Need;
use crate::error::CliError;
use crate::model::{BlobFile, Verify};
use crate::output::{bytes, print, print_json, shown, thousands};
use crate::shipped::{Found, NONE, SHIPPED, Shipped};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "models"
    "eval sensor-nano some.log"
    "generate prose-small --prompt \"It was \""
})]
pub struct Args {
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// A model that is at hand.
struct AtHand {
    place: String,
    dims: Dims,
    parameters: u64,
}

fn at_hand(model: &Shipped) -> Result<Option<AtHand>, CliError> {
    let (place, file) = match model.find() {
        None => return Ok(None),
        Some(Found::BuiltIn(bytes)) => ("built in".into(), BlobFile::built_in(bytes, Path::new(model.name))?),
        Some(Found::File(path)) => (shown(&path), BlobFile::open(&path, Verify::default())?),
    };
    let blob = file.blob();
    Ok(Some(AtHand { place, dims: *blob.dims(), parameters: parameters(&blob) }))
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Blob`] for a model that is found and damaged.
pub fn run(args: &Args) -> Result<(), CliError> {
    let models = SHIPPED.iter().map(|model| Ok((model, at_hand(model)?))).collect::<Result<Vec<_>, CliError>>()?;
    if args.json {
        let list: Vec<serde_json::Value> = models
            .iter()
            .map(|(model, found)| {
                let need = found.as_ref().map(|f| Need::of(&f.dims));
                json!({
                    "name": model.name, "found": found.as_ref().map(|f| &f.place), "trained_on": model.trained_on,
                    "params": found.as_ref().map(|f| f.parameters), "bytes": need.map(|n| n.flash),
                    "state": need.map(|n| n.state), "d_model": found.as_ref().map(|f| f.dims.d_model),
                    "n_layer": found.as_ref().map(|f| f.dims.n_layer),
                })
            })
            .chain([json!({
                "name": NONE, "found": "built in", "trained_on": null, "params": 0, "bytes": 0, "state": 0,
                "d_model": null, "n_layer": null,
            })])
            .collect();
        return print_json(&json!({ "models": list }));
    }
    let mut out = String::new();
    let _ = writeln!(out, "{:<13} {:<9} {:>10} {:>9} {:>9}", "name", "shape", "parameters", "size", "state");
    for (model, found) in &models {
        let _ = match found {
            Some(AtHand { place, dims, parameters }) => {
                let (shape, need) = (format!("{} x {}", dims.d_model, dims.n_layer), Need::of(dims));
                let (size, state) = (bytes(need.flash), bytes(need.state));
                let parameters = thousands(*parameters);
                writeln!(out, "{:<13} {shape:<9} {parameters:>10} {size:>9} {state:>9}  {place}", model.name)
            }
            None => writeln!(out, "{:<13} not found", model.name),
        };
        let _ = writeln!(out, "{:<13} {}", "", model.trained_on);
    }
    let _ = writeln!(
        out,
        "{NONE:<13} no net: an adapter alone, which learns the stream (`stream`, `eval`, `generate`, ...)"
    );
    out.push_str(
        "\nEvery command takes these names for MODEL; a file or folder of that name wins. What is not built in is looked\n\
         for in `models` and `../share/mambabyte/models` beside the program, and in its source folder.\n",
    );
    print(&out)
}
