//! Writes the golden checksums of adapters, `models/text/adapter.crc32`, as this machine computes them.

use std::path::Path;

use mambabyte_tests::adapter_golden::{computed, path};

fn main() -> std::io::Result<()> {
    let (path, table) = (path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")), computed());
    print!("{table}");
    std::fs::write(path, table)
}
