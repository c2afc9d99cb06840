//! `cargo xtask circles`: circles of imports among the source files of each crate.
//!
//! A file needs another if it names a path to an item of it, in `use` or in code, that begins with `crate`, `self`,
//! `super` or one of its own modules. The path is followed through `pub use` to the file of the item. `mod a;` alone
//! needs nothing, nor does a re-export of a name that the file's own code does not use; tests (`#[cfg(test)]`) are left
//! out; all features count.
//!
//! A *circle* is a largest set of files in which each needs every other, directly or through others: a strongly
//! connected component of more than one file. So no circle is counted twice, and a circle that holds smaller ones is
//! one. Its *pairs* are the files that need each other directly. A *room* is a folder or a file right under `src`; the
//! crate's root is not a room. A circle across rooms has files of more than one.
//!
//! The source is read as text (`tokens`, `source`), not compiled: macros' names and trait methods are not followed, nor
//! are modules whose file `#[path]` names. Of an item that exists once for each of several features, the first counts.

mod source;
mod tokens;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;

use tree::{Crate, Edges};

/// The crates: a folder and the files that begin one.
const CRATES: [(&str, &[&str]); 4] = [
    ("core/src", &["lib.rs"]),
    ("host/src", &["lib.rs"]),
    ("tools/src", &["lib.rs", "main.rs"]),
    ("tools/xtask/src", &["main.rs"]),
];

/// Options.
#[derive(Args)]
pub(crate) struct Circles {
    /// Fail if there are more circles, or if one reaches across rooms
    #[arg(long)]
    most: Option<usize>,
}

/// Prints the circles of all crates.
///
/// # Errors
/// If there are more than are allowed.
pub(crate) fn run(root: &Path, options: &Circles) -> Result<()> {
    let (mut count, mut across, mut pairs, mut files) = (0, 0, 0, BTreeSet::new());
    for (folder, roots) in CRATES {
        let mut edges = Edges::new();
        for file in roots {
            edges.extend(Crate::read(&root.join(folder), file)?.edges());
        }
        for circle in circles(&edges) {
            let rooms = rooms(&circle);
            count += 1;
            across += usize::from(rooms.len() > 1);
            let wide = if rooms.len() > 1 { format!(", across the rooms {}", join(&rooms)) } else { String::new() };
            println!("{folder}: a circle of {} files{wide}", circle.len());
            for ((from, to), names) in inside(&edges, &circle) {
                let both = edges.contains_key(&(to.clone(), from.clone()));
                pairs += usize::from(both && from < to);
                let mark = if both { "<->" } else { " ->" };
                println!("    {} {mark} {}  ({})", from.display(), to.display(), join(names));
            }
            files.extend(circle.into_iter().map(|file| Path::new(folder).join(file)));
        }
    }
    println!("{count} circles, {across} across rooms; {} files in them, {pairs} pairs need each other", files.len());
    if let Some(most) = options.most {
        ensure!(count <= most, "{count} circles of imports, {most} are allowed");
        ensure!(across == 0, "{across} circles of imports reach across rooms");
    }
    Ok(())
}

fn join<'n>(names: impl IntoIterator<Item = &'n String>) -> String {
    names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The edges within a circle.
fn inside<'e>(
    edges: &'e Edges,
    circle: &'e BTreeSet<PathBuf>,
) -> impl Iterator<Item = (&'e (PathBuf, PathBuf), &'e BTreeSet<String>)> {
    edges.iter().filter(|((from, to), _)| circle.contains(from) && circle.contains(to))
}

/// The rooms of the files.
fn rooms(circle: &BTreeSet<PathBuf>) -> BTreeSet<String> {
    let room = |file: &PathBuf| {
        let first = file.components().next()?.as_os_str();
        let name = Path::new(first).file_stem()?.to_string_lossy().into_owned();
        (name != "lib" && name != "main").then_some(name)
    };
    circle.iter().filter_map(room).collect()
}

/// The circles of a graph, the largest first.
fn circles(edges: &Edges) -> Vec<BTreeSet<PathBuf>> {
    let mut next: BTreeMap<&PathBuf, Vec<&PathBuf>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        next.entry(from).or_default().push(to);
    }
    // What can be reached from each file; a crate has some hundred files.
    let reach = |from: &PathBuf| -> BTreeSet<PathBuf> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            for &to in next.get(file).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    open.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&PathBuf, BTreeSet<PathBuf>> = next.keys().map(|&file| (file, reach(file))).collect();
    let mut found: Vec<BTreeSet<PathBuf>> = Vec::new();
    for (&file, to) in &reached {
        if found.iter().any(|circle| circle.contains(file)) || !to.contains(file) {
            continue;
        }
        let back = |other: &&PathBuf| reached.get(other).is_some_and(|from| from.contains(file));
        found.push(to.iter().filter(back).cloned().collect());
    }
    found.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    found
}

#[cfg(test)]
mod tests {
    use super::tree::of_texts;
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let show =
            |circle: &BTreeSet<PathBuf>| circle.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" ");
        circles(&of_texts(files).edges()).iter().map(show).collect()
    }

    #[test]
    fn a_circle_is_found_once_and_with_all_its_files() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::B; pub struct A; pub struct Z;"),
            ("b.rs", "use crate::c::C; use crate::a::Z; pub struct B;"),
            ("c.rs", "use crate::a::A; pub struct C;"),
            ("d.rs", "use crate::a::A;"),
        ];
        assert_eq!(found(&files), ["a.rs b.rs c.rs"]);
        let rooms = rooms(&circles(&of_texts(&files).edges())[0]);
        assert_eq!(join(&rooms), "a, b, c");
    }

    #[test]
    fn a_child_that_imports_from_its_parent_is_a_circle_only_if_the_parent_imports_from_it() {
        let parent = "mod child; pub struct P; ";
        let child = ("a/child.rs", "use super::P; pub struct C;");
        assert_eq!(found(&[("lib.rs", "mod a;"), ("a.rs", parent), child]), [""; 0]);
        let importing = format!("{parent} use child::C;");
        assert_eq!(found(&[("lib.rs", "mod a;"), ("a.rs", &importing), child]), ["a/child.rs a.rs"]);
        let rooms = rooms(&["a.rs", "a/child.rs"].map(PathBuf::from).into());
        assert_eq!(join(&rooms), "a");
    }

    #[test]
    fn tests_make_no_circle() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }"),
            ("b.rs", "use crate::a::A; pub struct B;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }

    #[test]
    fn this_crate_has_none() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let edges = Crate::read(&folder, "main.rs").unwrap().edges();
        assert!(edges.contains_key(&("main.rs".into(), "route.rs".into())), "the files have been read");
        assert_eq!(circles(&edges), Vec::<BTreeSet<PathBuf>>::new());
    }
}
