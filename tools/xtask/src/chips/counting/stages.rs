//! From chains of functions to columns of the report.
//!
//! The innermost function of a chain that has marks decides by its line ([`Marks`]). Where one stage of the source is
//! more than one column, the names of functions that it calls tell them apart: [`WITHIN`], the one table of names here.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use mambabyte_core::Stage;

use super::marks::Marks;

/// A function at an address: its name, and where the instruction is in its source.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: u32,
}

/// The columns, in the order of the report. `rest` is what no stage of a step claims.
pub(crate) const COLUMNS: [&str; 12] =
    ["embedding", "norm", "in_proj", "conv", "x_proj", "delta", "scan", "gate", "out_proj", "head", "packing", "rest"];

/// Columns that a step may do without: cores whose kernels take activations in their own order pack nothing.
const OPTIONAL: [&str; 2] = ["packing", "rest"];

/// The share of a step that may be in `rest`.
pub(super) const REST: f64 = 0.1;

/// In a stage, the function of `Kernels` whose work is another column's.
const WITHIN: [(Stage, &str, &str); 5] = [
    (Stage::Scan, "delta_x", "delta"),
    (Stage::Head, "norm", "norm"),
    (Stage::Norm, "pack", "packing"),
    (Stage::Gate, "pack", "packing"),
    (Stage::Head, "pack", "packing"),
];

/// The column of a stage.
const fn column(stage: Stage) -> &'static str {
    match stage {
        Stage::Embed => "embedding",
        Stage::Norm => "norm",
        Stage::InProj => "in_proj",
        Stage::Conv => "conv",
        Stage::XProj => "x_proj",
        Stage::DtProj => "delta",
        Stage::Scan => "scan",
        Stage::Gate => "gate",
        Stage::OutProj => "out_proj",
        Stage::Head => "head",
    }
}

/// The column of an instruction by the functions that it was reached by, the innermost first.
pub(super) fn of_chain(marks: &Marks, chain: &[Frame]) -> &'static str {
    let marked = chain.iter().enumerate().find_map(|(at, f)| Some((at, marks.stage(&f.file, f.line)?)));
    let Some((at, Some(stage))) = marked else { return "rest" };
    let called = chain.iter().take(at).map(|frame| last_part(&frame.name));
    let mut within = called.filter_map(|name| WITHIN.iter().find(|(s, function, _)| *s == stage && *function == name));
    within.next().map_or(column(stage), |&(_, _, column)| column)
}

/// Instructions by column, and those of `rest` by the innermost function.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) columns: BTreeMap<&'static str, f64>,
    rest: BTreeMap<String, f64>,
}

impl Counted {
    /// Counts instructions of a chain.
    pub(super) fn add(&mut self, marks: &Marks, chain: &[Frame], times: f64) {
        let column = of_chain(marks, chain);
        *self.columns.entry(column).or_default() += times;
        if column == "rest" {
            let name = chain.first().map_or("no function", |frame| frame.name.as_str());
            *self.rest.entry(name.to_owned()).or_default() += times;
        }
    }

    /// Whether the columns can be believed.
    ///
    /// # Errors
    /// If a column is empty, or `rest` is more than [`REST`] of all: with the names of its largest functions.
    pub(super) fn check(&self) -> Result<()> {
        for column in COLUMNS.into_iter().filter(|column| !OPTIONAL.contains(column)) {
            let seen = self.columns.get(column).is_some_and(|&n| n > 0.0);
            ensure!(seen, "no instruction of the stage {column} was seen: do its marks and its names still hold?");
        }
        let (all, rest): (f64, f64) = (self.columns.values().sum(), self.rest.values().sum());
        let mut largest: Vec<_> = self.rest.iter().collect();
        largest.sort_by(|a, b| b.1.total_cmp(a.1));
        let names: Vec<_> = largest.iter().take(5).map(|(name, n)| format!("{name} ({n:.0})")).collect();
        ensure!(
            rest <= REST * all,
            "{:.1} % of the instructions belong to no stage, at most {:.0} % may: {}",
            100.0 * rest / all,
            100.0 * REST,
            names.join(", ")
        );
        Ok(())
    }
}

/// The name of a function without its path and its parameters.
pub(super) fn last_part(name: &str) -> &str {
    let name = name.split("::<").next().unwrap_or(name);
    name.rsplit("::").find(|part| !part.starts_with('{')).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
fn advance() {
    k.embed();
    done(Stage::Embed);
    k.norm();
    done(Stage::Norm);
    k.project();
    done(Stage::InProj);
    k.conv();
    done(Stage::Conv);
    k.project();
    done(Stage::XProj);
    k.project();
    done(Stage::DtProj);
    k.scan();
    done(Stage::Scan);
    k.gate();
    done(Stage::Gate);
    k.project();
    done(Stage::OutProj);
}
fn step() {
    advance();
    head();
    done(Stage::Head);
}
";

    fn marks() -> Marks {
        let mut marks = Marks::default();
        marks.add("step.rs".into(), SOURCE).unwrap();
        marks
    }

    /// A chain, the innermost first: `name:line`, in the file with the marks if there is a line.
    fn chain(frames: &[&str]) -> Vec<Frame> {
        let frame = |text: &&str| match text.rsplit_once('@') {
            Some((name, line)) => Frame { name: name.into(), file: "/s/step.rs".into(), line: line.parse().unwrap() },
            None => Frame { name: (*text).into(), file: "/s/k.rs".into(), line: 7 },
        };
        frames.iter().map(frame).collect()
    }

    #[test]
    fn the_innermost_function_with_marks_decides() {
        let of = |frames: &[&str]| of_chain(&marks(), &chain(frames));
        assert_eq!(of(&["a::whatever", "k::Dsp::renamed", "x::advance@6", "x::step@22", "main"]), "in_proj");
        assert_eq!(of(&["a::round", "k::Dsp::delta_x::<u8>", "x::advance@14", "x::step@22"]), "delta");
        assert_eq!(of(&["k::Dsp::scan_free", "x::advance@14", "x::step@22"]), "scan");
        assert_eq!(of(&["<K as Kernels>::norm::{closure#0}", "x::logits", "x::step@23"]), "norm");
        assert_eq!(of(&["k::project", "x::logits", "x::step@23"]), "head");
        assert_eq!(of(&["layers::next", "x::advance@20", "x::step@22"]), "rest", "after the last mark of its function");
        assert_eq!(of(&["main"]), "rest");
    }

    /// Every column but `without`, each as often, and `rest` instructions of `rest`.
    fn counted(without: &str, rest: f64) -> Counted {
        let marks = marks();
        let mut counted = Counted::default();
        for line in [2, 4, 6, 8, 10, 12, 14, 16, 18, 23] {
            let chain = chain(&["k::f", &format!("x::f@{line}")]);
            if of_chain(&marks, &chain) != without {
                counted.add(&marks, &chain, 100.0);
            }
        }
        counted.add(&marks, &chain(&["k::unheard_of", "main"]), rest);
        counted
    }

    #[test]
    fn a_stage_that_is_not_seen_and_a_large_rest_are_refused() {
        counted("", 100.0).check().unwrap();
        for column in COLUMNS.into_iter().filter(|c| !OPTIONAL.contains(c)) {
            let error = counted(column, 0.0).check().unwrap_err().to_string();
            assert!(error.contains(&format!("stage {column} ")), "{error}");
        }
        let error = counted("", 200.0).check().unwrap_err().to_string();
        assert!(error.contains("16.7 %") && error.contains("k::unheard_of (200)"), "{error}");
    }
}
