//! The golden checksums of adapters, `models/text/adapter.crc32`: a row for each preset, a column for each net.
//!
//! A checksum is the CRC-32 of the eight node probabilities of each byte of the golden text, u16 little-endian, in the
//! order of the path. `cargo run --release -p mambabyte-tests --bin adapter_golden` writes the table; every machine is
//! compared with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mambabyte_core::{Blob, Decoder, Logits};
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::align::AlignedBytes;

use crate::{MODELS, model_file};

/// The name of no net.
pub const NONE: &str = "none";

/// The golden text.
///
/// # Panics
/// If this checkout has none.
pub fn text() -> Vec<u8> {
    std::fs::read(model_file("text", "golden-4096.txt")).expect("a text of this checkout")
}

/// The nets of the table: none, then the shipped models.
pub fn nets() -> impl Iterator<Item = &'static str> {
    std::iter::once(NONE).chain(MODELS)
}

/// The logits of a shipped model for each byte of the golden text, after those before it; none for [`NONE`].
///
/// # Panics
/// If this checkout has no such model.
pub fn logits(net: &str) -> Option<Vec<Logits>> {
    if net == NONE {
        return None;
    }
    let bytes = AlignedBytes::new(&std::fs::read(model_file(net, "model.mbb")).expect("a model of this checkout"));
    let mut decoder = Decoder::owned(Blob::parse(bytes.as_slice()).expect("a model of this checkout"));
    let text = text();
    Some(std::iter::once(&0).chain(&text).take(text.len()).map(|&byte| *decoder.step(byte)).collect())
}

/// The checksum of a preset, alone or with a net's `logits`.
pub fn checksum(preset: Preset, logits: Option<&[Logits]>) -> u32 {
    let mut adapter = AnyAdapter::new(preset, logits.is_some());
    let mut crc = crc32fast::Hasher::new();
    for (at, byte) in text().into_iter().enumerate() {
        let path = adapter.read(logits.and_then(|all| all.get(at)), byte);
        path.nodes.iter().for_each(|node| crc.update(&node.to_le_bytes()));
    }
    crc.finalize()
}

/// The table as this machine computes it.
pub fn computed() -> String {
    let logits: Vec<_> = nets().map(logits).collect();
    let mut table =
        "# Checksums of adapters over golden-4096.txt; written by the program adapter_golden of tests\npreset"
            .to_owned();
    nets().for_each(|net| table.extend(["\t", net]));
    for preset in Preset::ALL {
        table.extend(["\n", preset.name()]);
        logits.iter().for_each(|all| table.push_str(&format!("\t{:08x}", checksum(preset, all.as_deref()))));
    }
    table.push('\n');
    table
}

/// The file, in the checkout at `root`.
pub fn path(root: &Path) -> PathBuf {
    root.join("models/text/adapter.crc32")
}

/// The committed checksums, by the names of preset and net.
///
/// # Errors
/// If the file cannot be read.
pub fn committed(root: &Path) -> std::io::Result<BTreeMap<(String, String), String>> {
    let text = std::fs::read_to_string(path(root))?;
    let mut lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t'));
    let nets: Vec<&str> = lines.next().into_iter().flatten().skip(1).collect();
    let row = |mut cells: std::str::Split<'_, char>| {
        let preset = cells.next().unwrap_or_default().to_owned();
        nets.iter().zip(cells).map(move |(net, sum)| ((preset.clone(), (*net).to_owned()), sum.to_owned())).collect()
    };
    Ok(lines.flat_map::<Vec<_>, _>(row).collect())
}
