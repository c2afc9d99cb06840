//! The tables of `docs/speculation.md`, from models and texts that are given.
//!
//! ```text
//! cargo run --release -p mambabyte-tests --bin speculation -- all FOLDER
//! cargo run --release -p mambabyte-tests --bin speculation -- coupling MODEL DRAFTER TEXT...
//! cargo run --release -p mambabyte-tests --bin speculation -- texts MODEL DRAFTER,DRAFTER... TEXT...
//! cargo run --release -p mambabyte-tests --bin speculation -- blocks MODEL...
//! cargo run --release -p mambabyte-tests --bin speculation -- replay MODEL...
//! ```
//!
//! `MODEL` is a blob or the name of a folder in `models`; `DRAFTER` is the same, or `adapter`, or `suffix`. `all` prints
//! every table with the shipped models: `FOLDER` has `nmea.txt`, `gpsd.txt`, `metar.txt` and `prose.txt`, texts that no
//! model was trained on.

mod blocks;
mod coupling;
mod replay;
mod texts;

use std::path::PathBuf;
use std::sync::Arc;

use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cpu::{Source, Weights};
use mambabyte_tests::model_file;

/// What can go wrong here is said and ends the program.
type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

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

fn main() -> Fallible<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match &*words {
        ["all", folder] => {
            let file = |name: &str| format!("{folder}/{name}.txt");
            let sensor = ["nmea", "gpsd", "metar"].map(file);
            let (sensor, prose) = (sensor.each_ref().map(String::as_str), file("prose"));
            coupling::table("sensor-micro", "sensor-nano", &sensor)?;
            coupling::table("sensor-micro", "adapter", &sensor)?;
            coupling::table("prose-small", "sensor-micro", &[&prose])?;
            coupling::table("prose-small", "adapter", &[&prose])?;
            texts::table("sensor-micro", &["suffix", "adapter", "sensor-nano"], &sensor)?;
            texts::table("prose-small", &["suffix", "adapter", "sensor-micro"], &[&prose])?;
            blocks::table(&["sensor-nano", "sensor-micro", "prose-small"])?;
            replay::table(&["sensor-nano", "sensor-micro", "prose-small"])
        }
        ["coupling", model, drafter, files @ ..] if !files.is_empty() => coupling::table(model, drafter, files),
        ["texts", model, drafters, files @ ..] if !files.is_empty() => {
            texts::table(model, &drafters.split(',').collect::<Vec<_>>(), files)
        }
        ["blocks", models @ ..] if !models.is_empty() => blocks::table(models),
        ["replay", models @ ..] if !models.is_empty() => replay::table(models),
        _ => Err("usage: speculation all FOLDER | coupling MODEL DRAFTER TEXT... | texts MODEL DRAFTER,... TEXT... | \
                  blocks MODEL... | replay MODEL..."
            .into()),
    }
}
