//! Which lines of `core` belong to which stage of a step: read from the source, at the marks that it has for clocks.
//!
//! `done(Stage::InProj)` ends a stage; the stage's lines go from the mark before it, or from the head of the function,
//! to it. So a stage is found by what the code itself calls it, whatever files and functions it lies in.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use mambabyte_core::Stage;

/// The marks of all files.
#[derive(Debug, Default)]
pub(super) struct Marks {
    files: Vec<(String, Vec<Function>)>,
}

/// A function with marks: its first and its last line, and the lines of its marks with their stages.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    lines: (u32, u32),
    marks: Vec<(u32, Stage)>,
}

impl Marks {
    /// Those of `core/src`.
    ///
    /// # Errors
    /// If a file cannot be read, a mark names no stage, or a stage has no mark.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let (mut all, mut open) = (Self::default(), vec!["core/src".to_owned()]);
        while let Some(folder) = open.pop() {
            for entry in root.join(&folder).read_dir().with_context(|| folder.clone())? {
                let entry = entry?;
                let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if entry.file_type()?.is_dir() {
                    open.push(path);
                } else if path.ends_with(".rs") {
                    let text = std::fs::read_to_string(root.join(&path)).with_context(|| path.clone())?;
                    all.add(path, &text)?;
                }
            }
        }
        let functions = all.files.iter().flat_map(|(_, functions)| functions);
        let marked: BTreeSet<&str> = functions.flat_map(|f| &f.marks).map(|(_, stage)| stage.name()).collect();
        for stage in Stage::ALL {
            ensure!(marked.contains(stage.name()), "core/src has no mark done(Stage::{stage:?})");
        }
        Ok(all)
    }

    /// Adds the marks of a file, formatted by rustfmt: a function ends at a brace with the indentation of its head.
    pub(super) fn add(&mut self, path: String, text: &str) -> Result<()> {
        let mut functions: Vec<Function> = Vec::new();
        let mut open: Option<(usize, Function)> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            if is_head(code) && !code.ends_with(';') {
                // A function in a function would end the outer one; those with marks have none.
                open = Some((indent, Function { lines: (number, number), marks: Vec::new() }));
            }
            if let Some((_, function)) = &mut open
                && let Some(name) = code.split_once("done(Stage::").and_then(|(_, rest)| rest.split_once(')'))
                && !code.starts_with("//")
            {
                let stage = Stage::ALL.into_iter().find(|stage| format!("{stage:?}") == name.0);
                let stage = stage.with_context(|| format!("{path}:{number}: there is no Stage::{}", name.0))?;
                function.marks.push((number, stage));
            }
            if code == "}"
                && let Some((_, mut function)) = open.take_if(|(head, _)| *head == indent)
            {
                function.lines.1 = number;
                if !function.marks.is_empty() {
                    functions.push(function);
                }
            }
        }
        if !functions.is_empty() {
            self.files.push((path, functions));
        }
        Ok(())
    }

    /// The stage of a line of a file, by the file's whole path.
    ///
    /// `None` in a function without marks; `Some(None)` in a function with marks, but after its last one.
    pub(super) fn stage(&self, file: &str, line: u32) -> Option<Option<Stage>> {
        let (_, functions) = self.files.iter().find(|(path, _)| {
            file.strip_suffix(path.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('/'))
        })?;
        let function = functions.iter().find(|f| (f.lines.0..=f.lines.1).contains(&line))?;
        Some(function.marks.iter().find(|(mark, _)| line <= *mark).map(|&(_, stage)| stage))
    }
}

/// Whether a line begins a function.
fn is_head(code: &str) -> bool {
    let words = ["pub", "const", "unsafe", "async", "extern"];
    let mut rest = code
        .split_whitespace()
        .skip_while(|word| words.iter().any(|w| word == w) || word.starts_with("pub(") || *word == "\"C\"");
    rest.next() == Some("fn")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
impl A {
    pub(crate) fn a<K>(
        k: K,
    ) {
        k.embed();
        done(Stage::Embed);
        for layer in layers {
            k.norm();
        }
        // done(Stage::Scan);
        done(Stage::Norm);
        k.more();
    }

    fn b() {
        k.norm();
    }
}
";

    #[test]
    fn lines_belong_to_the_mark_after_them() {
        let mut marks = Marks::default();
        marks.add("core/src/a.rs".to_owned(), SOURCE).unwrap();
        let of = |line| marks.stage("/x/core/src/a.rs", line);
        assert_eq!(of(2), Some(Some(Stage::Embed)));
        assert_eq!(of(6), Some(Some(Stage::Embed)));
        assert_eq!(of(8), Some(Some(Stage::Norm)));
        assert_eq!(of(12), Some(None), "after the last mark");
        assert_eq!(of(16), None, "a function without marks");
        assert_eq!(marks.stage("/x/core/src/aa.rs", 8), None);
        assert_eq!(marks.stage("/x/acore/src/a.rs", 8), None);
    }

    #[test]
    fn a_mark_of_no_stage_is_refused() {
        let error = Marks::default().add("a.rs".into(), "fn a() {\n    done(Stage::Nothing);\n}\n").unwrap_err();
        assert_eq!(error.to_string(), "a.rs:2: there is no Stage::Nothing");
    }

    #[test]
    fn the_source_has_a_mark_for_every_stage() {
        Marks::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap();
    }
}
