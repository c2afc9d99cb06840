//! The counted instructions as a table that `mambabyte fit` holds: made of `firmware/FOOTPRINT.md`, never typed.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::figures::{FILE as FOOTPRINT, rows};
use crate::models::Model;

/// In the crate of the command, so that a published one holds it.
const FILE: &str = "tools/data/instructions.tsv";
/// Columns of FOOTPRINT.md that are copied.
const STAGES: [&str; 10] = ["in_proj", "x_proj", "out_proj", "head", "scan", "delta", "conv", "gate", "norm", "rest"];

/// Writes the table of `footprint`, the text of FOOTPRINT.md.
pub(crate) fn write(root: &Path, footprint: &str) -> Result<()> {
    std::fs::write(root.join(FILE), table(root, footprint)?).with_context(|| FILE.to_owned())?;
    println!("{FILE} is written");
    Ok(())
}

/// Compares the table with `footprint`.
///
/// # Errors
/// If they differ.
pub(crate) fn check(root: &Path, footprint: &str) -> Result<()> {
    let committed = std::fs::read_to_string(root.join(FILE)).with_context(|| FILE.to_owned())?;
    ensure!(
        committed == table(root, footprint)?,
        "{FILE} is not made of {}: cargo xtask firmware footprint --table",
        FOOTPRINT
    );
    Ok(())
}

fn table(root: &Path, text: &str) -> Result<String> {
    let mut table =
        format!("# Instructions per byte, from {}; written by `cargo xtask firmware footprint`\n", FOOTPRINT);
    let shape = "d_model\tn_layer\td_inner\td_state\tdt_rank\ttied_decays";
    writeln!(table, "core\tboard\tmodel\t{shape}\t{}", STAGES.join("\t"))?;
    for (header, cells) in rows(text).values().filter(|(header, _)| header.contains(&"in_proj")) {
        let cell = |name: &str| -> Result<&str> {
            let at = header.iter().position(|h| *h == name);
            at.and_then(|at| cells.get(at)).copied().with_context(|| format!("a row without {name}"))
        };
        let model = cell("model")?;
        let d = *Model::read(root, model)?.blob()?.dims();
        write!(table, "{}\t{}\t{model}", cell("core")?, cell("board")?)?;
        for n in [d.d_model, d.n_layer, d.d_inner, d.d_state, d.dt_rank, usize::from(d.tied_decays)] {
            write!(table, "\t{n}")?;
        }
        for stage in STAGES {
            let n: f64 = cell(stage)?.parse().with_context(|| format!("{model}: {stage}"))?;
            write!(table, "\t{n:.0}")?;
        }
        table.push('\n');
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_table_is_made_of_the_committed_figures() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(root.join(FOOTPRINT)).unwrap();
        check(&root, &text).unwrap();
        // No name has this digit, some figure does.
        assert!(check(&root, &text.replace('9', "8")).is_err());
    }
}
