//! `cargo xtask firmware footprint`: the figures of all boards as one file, and a check that none grows.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::boards::Adapt;
use super::figures::{FILE, rows};
use super::program::Program;
use super::sizes::sizes;
use super::{adapt, alarms, boards, counting, instructions};
use crate::models;

/// A figure may grow by this share before the check fails.
const GROWTH: f64 = 0.02;

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
    let boards = boards::all()?;
    for (board, model) in boards.iter().flat_map(|board| board.counted.iter().map(move |model| (board, model))) {
        let counts = counting::count(root, board, model)?;
        let per_mac = counts.per_mac().map_or_else(|| "-".to_owned(), |n| format!("{n:.3}"));
        let stage = |names: &[&str]| names.iter().map(|name| counts.stage(name)).sum::<f64>();
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
        "\n## Instructions of the adapter\n\nPer byte of the golden text with sensor-nano, beyond the net's own 256 weights, which \
         the surprise of the net alone takes too; by the idea, as the files of `core/src/adapt` are named. The Cortex-M0's code \
         runs on a board with more memory than the microbit's.\n\n| board | core | preset | beyond | weights | by idea |\n\
         |---|---|---|---|---|---|\n",
    );
    for (board, counts) in adapt::counted(root)? {
        let ideas: Vec<_> = counts.files.iter().map(|(file, n)| format!("{file} {n:.0}")).collect();
        let (beyond, weights) = (counts.beyond(), counts.weights);
        writeln!(text, "| {} | {} | 8K | {beyond:.0} | {weights:.0} | {} |", board.name, board.core, ideas.join(", "))?;
    }
    text.push_str(
        "\n## Instructions of the detector\n\nPer byte and per line of measurements that an adapter reads; lines of some 31 bytes.\n\n\
         | board | core | model | per byte | per line |\n|---|---|---|---|---|\n",
    );
    for (board, counts) in alarms::counted(root)? {
        writeln!(text, "| {} | {} | none | {:.0} | {:.0} |", board.name, board.core, counts.byte, counts.line)?;
    }
    text.push_str(
        "\n## Memory of the adapter\n\nBytes that `stream` takes more with the board's adapter than without one: RAM in statics \
         is the adapter's memory.\n\n| board | core | model | preset | code and constants | RAM in statics |\n\
         |---|---|---|---|---|---|\n",
    );
    for (board, model) in boards.iter().flat_map(|board| board.sized.iter().map(move |model| (board, model))) {
        let program = Program::new(board, model, "stream");
        let (flash, ram) = sizes(&program.build(root)?)?;
        let (flash_off, ram_off) = sizes(&program.with_adapter(Some(Adapt(None))).build(root)?)?;
        let (name, core, adapt) = (&board.name, &board.core, board.adapt);
        writeln!(text, "| {name} | {core} | {model} | {adapt} | {} | {} |", flash - flash_off, ram - ram_off)?;
    }
    text.push_str(
        "\n## Memory of the program `stream`\n\nBytes. With the board's adapter. Flash without the model; RAM without the stack, which `cargo xtask \
         firmware stack` bounds.\n\n| board | core | model | code and constants | model | RAM in statics |\n\
         |---|---|---|---|---|---|\n",
    );
    for (board, model) in boards.iter().flat_map(|board| board.sized.iter().map(move |model| (board, model))) {
        let (flash, ram) = sizes(&Program::new(board, model, "stream").build(root)?)?;
        let blob = std::fs::metadata(models::file(root, model, "model.mbb"))?.len();
        writeln!(text, "| {} | {} | {model} | {} | {blob} | {ram} |", board.name, board.core, flash - blob)?;
    }
    Ok(text)
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
