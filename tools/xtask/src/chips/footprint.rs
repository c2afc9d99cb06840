//! `cargo xtask firmware footprint`: the figures of all boards as one file, and a check that none grows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, SectionFlags};

use crate::chips::boards::Board;
use crate::chips::{bench, instructions};
use crate::{build, model_file};

pub(crate) const FILE: &str = "firmware/FOOTPRINT.md";
/// A figure may grow by this share before the check fails.
const GROWTH: f64 = 0.02;
/// Boards and models that are counted: each kind of core, and each model where there is room.
const COUNTED: [(&str, &str); 14] = [
    ("microbit", "sensor-pico"),
    ("microbit", "sensor-pico-tied"),
    ("mps2-an385", "sensor-nano"),
    ("mps2-an386", "sensor-pico"),
    ("mps2-an386", "sensor-nano"),
    ("mps2-an386", "sensor-micro"),
    ("mps2-an500", "sensor-nano"),
    ("mps2-an505", "sensor-nano"),
    ("mps3-an547", "sensor-pico"),
    ("mps3-an547", "sensor-nano"),
    ("virt-rv32imc", "sensor-pico"),
    ("virt-rv32imc", "sensor-pico-tied"),
    ("virt-rv32imc", "sensor-nano"),
    ("virt-rv32imac", "sensor-micro"),
];
const SIZED: [(&str, &str); 4] = [
    ("microbit", "sensor-pico"),
    ("mps2-an386", "sensor-pico"),
    ("mps2-an386", "sensor-nano"),
    ("virt-rv32imc", "sensor-nano"),
];

/// Measures and writes the file, or compares with it.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let text = measure(root)?;
    let path = root.join(FILE);
    if !check {
        let new = path.with_extension("new");
        std::fs::write(&new, &text).with_context(|| format!("{} could not be written", new.display()))?;
        std::fs::rename(&new, &path).with_context(|| format!("{} could not be replaced", path.display()))?;
        println!("{FILE} is written");
        return instructions::write(root, &text);
    }
    let committed = std::fs::read_to_string(&path).with_context(|| format!("{FILE} could not be read"))?;
    instructions::check(root, &committed)?;
    let grown = compare(&committed, &text);
    if grown.is_empty() {
        println!("{FILE}: no figure grew by more than {:.0} %", 100.0 * GROWTH);
        return Ok(());
    }
    bail!("{}\nIf that is meant: cargo xtask firmware footprint", grown.join("\n"));
}

/// Makes the table for `mambabyte fit` of the file as it is.
pub(crate) fn table(root: &Path) -> Result<()> {
    instructions::write(root, &std::fs::read_to_string(root.join(FILE)).with_context(|| FILE.to_owned())?)
}

fn measure(root: &Path) -> Result<String> {
    let mut text = String::from(
        "# What the model takes on chips\n\n\
         Written by `cargo xtask firmware footprint`, checked by `cargo xtask firmware footprint --check`; not edited.\n\
         The figures belong to the compiler that `cargo xtask` picks on a machine with Debian's (rustc 1.96).\n\n\
         ## Instructions\n\n\
         Executed by the emulated core per byte of text, all of `Decoder::step`; counted, not sampled. Instructions are\n\
         not cycles. \"per MAC\": projections whose rows have 64 columns and more, everything that is done for a row\n\
         included. \"per element\": decay, update and output of one state, everything of the scan included. A model whose\n\
         name ends in -tied is the one before with the powers of one decay for each channel, for that column alone.\n\n\
         | board | core | model | per byte | per MAC | per element | in_proj | x_proj | out_proj | head | scan | delta \
         | conv | gate | norm | rest |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (board, model) in COUNTED {
        let board = Board::named(board).map_err(anyhow::Error::msg)?;
        let counts = bench::count(root, &board, model)?;
        let per_mac = counts.per_mac().map_or_else(|| "-".to_owned(), |n| format!("{n:.3}"));
        let stages: BTreeMap<_, _> = counts.stages.clone();
        let stage = |names: &[&str]| names.iter().map(|n| stages.get(n).copied().unwrap_or(0.0)).sum::<f64>();
        write!(
            text,
            "| {} | {} | {model} | {:.0} | {per_mac} | {:.2} ",
            board.name,
            board.core,
            counts.per_byte,
            counts.per_element()
        )?;
        for names in [
            &["in_proj"][..],
            &["x_proj"],
            &["out_proj"],
            &["head"],
            &["scan"],
            &["delta"],
            &["conv"],
            &["gate"],
            &["norm"],
            &["embedding", "packing", "rest"],
        ] {
            write!(text, "| {:.0} ", stage(names))?;
        }
        text.push_str("|\n");
    }
    text.push_str(
        "\n## Memory of the program `stream`\n\nBytes. Flash without the model; RAM without the stack, which `cargo xtask \
         firmware stack` bounds.\n\n| board | core | model | code and constants | model | RAM in statics |\n\
         |---|---|---|---|---|---|\n",
    );
    for (board, model) in SIZED {
        let board = Board::named(board).map_err(anyhow::Error::msg)?;
        let (flash, ram) = sizes(&build(root, &board, model, "stream")?)?;
        let blob = std::fs::metadata(model_file(root, model, "model.mbb"))?.len();
        writeln!(text, "| {} | {} | {model} | {} | {blob} | {ram} |", board.name, board.core, flash - blob)?;
    }
    Ok(text)
}

/// Bytes in flash and in RAM.
pub(crate) fn sizes(elf: &Path) -> Result<(u64, u64)> {
    let data = std::fs::read(elf)?;
    let file = object::File::parse(&*data)?;
    let (mut flash, mut ram) = (0, 0);
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & u64::from(object::elf::SHF_ALLOC) == 0 {
            continue;
        }
        let name = section.name()?;
        // Sections that only reserve room for the stack or a heap are none of the program's statics.
        if name.contains("stack") || name.contains("heap") {
            continue;
        }
        let writable = sh_flags & u64::from(object::elf::SHF_WRITE) != 0;
        ram += if writable { section.size() } else { 0 };
        flash += if name.contains("bss") || name.contains("uninit") { 0 } else { section.size() };
    }
    Ok((flash, ram))
}

/// What grew: rows are found by their first three cells, columns by their place.
fn compare(committed: &str, measured: &str) -> Vec<String> {
    let (before, now) = (rows(committed), rows(measured));
    let mut grown = Vec::new();
    for (key, (header, cells)) in &now {
        let Some((_, old)) = before.get(key) else {
            grown.push(format!("{FILE} has no row for {key}"));
            continue;
        };
        for ((name, cell), old) in header.iter().zip(cells).zip(old) {
            if let (Ok(old), Ok(new)) = (old.parse::<f64>(), cell.parse::<f64>())
                && new > old * (1.0 + GROWTH)
            {
                grown.push(format!("{key}: {name} grew from {old} to {new}"));
            }
        }
    }
    grown
}

pub(crate) type Rows<'t> = BTreeMap<String, (Vec<&'t str>, Vec<&'t str>)>;

pub(crate) fn rows(text: &str) -> Rows<'_> {
    let mut rows = BTreeMap::new();
    let (mut header, mut title): (Vec<&str>, &str) = (Vec::new(), "");
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            title = name;
        }
        let Some(inner) = line.strip_prefix("| ").and_then(|l| l.strip_suffix('|')) else { continue };
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        if cells.first() == Some(&"board") {
            header = cells;
        } else if let [board, _, model, ..] = cells[..] {
            rows.insert(format!("{title}, {board}, {model}"), (header.clone(), cells));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn growth_is_found_and_shrinking_is_not() {
        let table =
            |n: &str| format!("## T\n| board | core | model | per byte |\n|---|---|---|---|\n| a | b | c | {n} |\n");
        assert!(compare(&table("1000"), &table("1019")).is_empty());
        assert!(compare(&table("1000"), &table("500")).is_empty());
        assert_eq!(compare(&table("1000"), &table("1021")), ["T, a, c: per byte grew from 1000 to 1021"]);
        assert_eq!(compare("", &table("1")).len(), 1);
    }
}
