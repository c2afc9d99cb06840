//! Writes the start values of the adapters, `core/src/adapt/start/PRESET.bin`; `--check` compares instead.

use std::process::ExitCode;

use mambabyte_core::adapt::{Adapter1M, Adapter4K, Adapter8K, Adapter16K, Adapter32K, Adapter64K, Memory};
use mambabyte_tests::adapter_start::{Text, path, values};

/// Writes a preset's file, or compares it. False if it is another.
fn preset<M: Memory>(texts: &[Text], check: bool) -> bool {
    let (values, path, name) = (values::<M>(texts), path::<M>(), M::DESIGN.name);
    let same = std::fs::read(&path).is_ok_and(|found| found == values);
    println!("{name}: {} bytes, {}", values.len(), if same { "current" } else { "another" });
    if !check && !same {
        std::fs::write(&path, &values).expect("a folder that can be written");
    }
    same || !check
}

fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(_) => {
            eprintln!("usage: adapter_start [--check]");
            return ExitCode::from(2);
        }
    };
    let texts = Text::all();
    let presets = [
        preset::<Adapter4K>,
        preset::<Adapter8K>,
        preset::<Adapter16K>,
        preset::<Adapter32K>,
        preset::<Adapter64K>,
        preset::<Adapter1M>,
    ];
    let current: Vec<bool> = presets.map(|preset| preset(&texts, check)).into();
    if current.contains(&false) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
