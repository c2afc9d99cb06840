//! What each part of each adapter is worth: bits per byte of texts with it switched off, as a table in Markdown.
//!
//! `cargo run --release -p mambabyte-tests --features ablation --bin ablation -- TEXT...` reads the first 131,072 bytes of
//! each text with sensor-nano's logits, cold.

use mambabyte_core::adapt::ablation::{Part, without};
use mambabyte_core::adapt::{
    Adapter, Adapter1M, Adapter4K, Adapter8K, Adapter16K, Adapter32K, Adapter64K, Design, Memory,
};
use mambabyte_core::{Blob, Decoder, Logits, include_blob};

const LENGTH: usize = 131_072;
const NET: &[u8] = include_blob!("../../../models/sensor-nano/model.mbb");

struct Text {
    bytes: Vec<u8>,
    logits: Vec<Logits>,
}

fn read(path: &str) -> Text {
    let mut bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    bytes.truncate(LENGTH);
    let mut decoder = Decoder::owned(Blob::parse(NET).expect("a model of this checkout"));
    let before = std::iter::once(&0).chain(&bytes);
    let logits = before.take(bytes.len()).map(|&byte| *decoder.step(byte)).collect();
    Text { bytes, logits }
}

/// Mean over the texts of bits per byte.
fn mean<M: Memory>(texts: &[Text]) -> f64 {
    let bits = |text: &Text| {
        let mut adapter = Adapter::new(Box::new(M::ZERO), true);
        let read = text.bytes.iter().zip(&text.logits);
        let sum: u64 = read.map(|(&byte, logits)| u64::from(adapter.read(Some(logits), byte).surprise())).sum();
        sum as f64 / 65_536.0 / text.bytes.len() as f64
    };
    texts.iter().map(bits).sum::<f64>() / texts.len() as f64
}

/// What can be switched off, with its name.
fn parts(design: &Design) -> Vec<(String, Vec<Part>)> {
    let mut parts = vec![("net".to_owned(), vec![Part::Net])];
    let numbered = |count: usize, part: fn(u8) -> Part| (0..count as u8).map(part).collect::<Vec<_>>();
    for (context, part) in design.runs.iter().zip(numbered(design.runs.len(), Part::Run)) {
        parts.push((format!("run {context:?}"), vec![part]));
    }
    parts.push(("all runs".to_owned(), numbered(design.runs.len(), Part::Run)));
    for (context, part) in design.histories.iter().zip(numbered(design.histories.len(), Part::History)) {
        parts.push((format!("history {context:?}"), vec![part]));
    }
    parts.push(("all histories".to_owned(), numbered(design.histories.len(), Part::History)));
    for (name, part) in
        [("match", Part::Match), ("column", Part::Column), ("number", Part::Number), ("order 0", Part::Order0)]
    {
        parts.push((name.to_owned(), vec![part]));
    }
    for (by, part) in design.sets.iter().zip(numbered(design.sets.len(), Part::Set)) {
        parts.push((format!("set {by:?}"), vec![part]));
    }
    parts.push(("all sets but the first".to_owned(), numbered(design.sets.len(), Part::Set).split_off(1)));
    parts.push(("correction".to_owned(), vec![Part::Correction]));
    parts
}

fn table<M: Memory>(texts: &[Text]) {
    without(&[]);
    let whole = mean::<M>(texts);
    println!("\n### {}: {whole:.4} bits per byte\n\n| without | bits per byte | more |\n|---|---|---|", M::DESIGN.name);
    for (name, parts) in parts(&M::DESIGN) {
        without(&parts);
        let bits = mean::<M>(texts);
        // What a preset has not.
        if bits != whole {
            println!("| {name} | {bits:.4} | {:+.1} % |", (bits / whole - 1.0) * 100.0);
        }
    }
}

fn main() {
    let texts: Vec<Text> = std::env::args().skip(1).map(|path| read(&path)).collect();
    assert!(!texts.is_empty(), "usage: ablation TEXT...");
    table::<Adapter4K>(&texts);
    table::<Adapter8K>(&texts);
    table::<Adapter16K>(&texts);
    table::<Adapter32K>(&texts);
    table::<Adapter64K>(&texts);
    table::<Adapter1M>(&texts);
}
