//! `firmware/FOOTPRINT.md`: where it is and how its tables are read.

use std::collections::BTreeMap;

/// The file, from the root of the repository.
pub(crate) const FILE: &str = "firmware/FOOTPRINT.md";

/// Rows of tables by heading, board and model: the names of the columns, and the cells.
pub(crate) type Rows<'t> = BTreeMap<String, (Vec<&'t str>, Vec<&'t str>)>;

/// The rows of a text.
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
