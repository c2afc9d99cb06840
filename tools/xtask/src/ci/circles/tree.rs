//! The files of a crate and which of them needs which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::source::{Module, Named, modules};
use super::tokens::tokens;

/// A module of a crate: its path from the root on, and its file.
type Name = Vec<String>;

/// A crate: its modules.
#[derive(Debug, Default)]
pub(super) struct Crate {
    modules: BTreeMap<Name, (PathBuf, Module)>,
}

/// Which file needs which other, and the names of the items that it needs.
pub(super) type Edges = BTreeMap<(PathBuf, PathBuf), BTreeSet<String>>;

/// Segments of a path at most.
const LONGEST: usize = 16;

impl Crate {
    /// Reads the crate whose root is `file`; files are named from `folder` on.
    ///
    /// # Errors
    /// If a file cannot be read or a module has none.
    pub(super) fn read(folder: &Path, file: &str) -> Result<Self> {
        let mut all = Self::default();
        all.add(folder, Path::new(file), Vec::new(), &mut |path| std::fs::read_to_string(path).ok())?;
        Ok(all)
    }

    /// Adds a file and the files of its modules; `read` gives the text of a path if there is such a file.
    fn add(
        &mut self,
        folder: &Path,
        file: &Path,
        name: Name,
        read: &mut dyn FnMut(&Path) -> Option<String>,
    ) -> Result<()> {
        let text = read(&folder.join(file)).with_context(|| format!("{} cannot be read", file.display()))?;
        // Modules of `a/mod.rs`, `lib.rs` and `main.rs` lie beside it, those of `a.rs` in `a`.
        let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let beside = if name.is_empty() || stem == "mod" { file.with_file_name("") } else { file.with_extension("") };
        for module in modules(&tokens(&text)) {
            let own: Name = name.iter().chain(&module.inside).cloned().collect();
            let place = module.inside.iter().fold(beside.clone(), |place, part| place.join(part));
            for child in &module.files {
                let files = [place.join(format!("{child}.rs")), place.join(child).join("mod.rs")];
                let found = files.into_iter().find(|f| read(&folder.join(f)).is_some());
                let found = found.with_context(|| format!("{}: no file of module {child}", file.display()))?;
                let child: Name = own.iter().chain([child]).cloned().collect();
                self.add(folder, &found, child, read)?;
            }
            self.modules.insert(own, (file.to_owned(), module));
        }
        Ok(())
    }

    /// Which file needs which.
    ///
    /// A path belongs to the file of the item at its end: `pub use` on the way is followed to where the item is. A
    /// module does not need what it only re-exports, unless its own code uses the name too.
    pub(super) fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (name, (file, module)) in &self.modules {
            for named in &module.named {
                let handed_on = named.public && named.local.as_ref().is_none_or(|l| !module.said.contains(l));
                if handed_on {
                    continue;
                }
                let Some((start, rest)) = self.start(name, &named.path) else { continue };
                let Some(found) = self.find(start, rest, &mut BTreeSet::new()) else { continue };
                if let Some((other, _)) = self.modules.get(&found)
                    && other != file
                {
                    let what = named.path.last().cloned().unwrap_or_default();
                    edges.entry((file.clone(), other.clone())).or_default().insert(what);
                }
            }
        }
        edges
    }

    /// The module where a path begins, and the rest of the path; `None` for another crate's.
    fn start<'p>(&self, here: &Name, path: &'p [String]) -> Option<(Name, &'p [String])> {
        let (first, mut rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => Vec::new(),
            "self" => here.clone(),
            "super" => here.split_last()?.1.to_vec(),
            own => {
                let child: Name = here.iter().cloned().chain([own.to_owned()]).collect();
                return self.modules.contains_key(&child).then_some((child, rest));
            }
        };
        while rest.first().is_some_and(|segment| segment == "super") {
            module.pop();
            rest = rest.get(1..).unwrap_or_default();
        }
        Some((module, rest))
    }

    /// The module that holds the item `path` of `module`, itself if the path is empty.
    fn find(&self, module: Name, path: &[String], seen: &mut BTreeSet<(Name, Vec<String>)>) -> Option<Name> {
        let Some((first, rest)) = path.split_first() else { return Some(module) };
        if !seen.insert((module.clone(), path.to_vec())) {
            return None;
        }
        // An import of a name through itself would make it longer and longer.
        if path.len() > LONGEST {
            return None;
        }
        let (_, here) = self.modules.get(&module)?;
        let child: Name = module.iter().cloned().chain([first.clone()]).collect();
        if self.modules.contains_key(&child) {
            return self.find(child, rest, seen);
        }
        if here.items.contains(first) {
            return Some(module);
        }
        let follow = |named: &Named, more: &[String], seen: &mut _| {
            let (start, begin) = self.start(&module, &named.path)?;
            let path: Vec<String> = begin.iter().chain(more).cloned().collect();
            self.find(start, &path, seen)
        };
        if let Some(named) = here.named.iter().find(|n| n.local.as_ref() == Some(first)) {
            return follow(named, rest, seen);
        }
        let globs: Vec<&Named> = here.named.iter().filter(|n| n.local.as_deref() == Some("*")).collect();
        globs
            .into_iter()
            .find_map(|glob| {
                let found = follow(glob, path, seen)?;
                // Only a module that has the name counts.
                self.modules.get(&found).filter(|(_, m)| m.items.contains(first)).map(|_| found)
            })
            // An item that a macro makes, or the variant of an enum that is an item here.
            .or(Some(module))
    }
}

#[cfg(test)]
pub(super) fn of_texts(files: &[(&str, &str)]) -> Crate {
    let mut all = Crate::default();
    let mut read = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, t)| (*t).to_owned());
    all.add(Path::new(""), Path::new("lib.rs"), Vec::new(), &mut read).unwrap();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        of_texts(files).edges().keys().map(|(a, b)| format!("{} {}", a.display(), b.display())).collect()
    }

    #[test]
    fn a_path_is_followed_to_the_file_of_its_item() {
        let found = edges(&[
            ("lib.rs", "pub mod a; mod b; pub use b::B;"),
            ("a/mod.rs", "mod inner; pub use inner::*; pub trait T {}"),
            ("a/inner.rs", "use super::T; pub struct I; pub struct J;"),
            ("b.rs", "use crate::a::{I, T}; pub struct B; impl B { fn f() { crate::a::other() } }"),
        ]);
        assert_eq!(found, ["a/inner.rs a/mod.rs", "b.rs a/inner.rs", "b.rs a/mod.rs"]);
    }

    #[test]
    fn what_is_handed_on_is_not_needed_unless_it_is_said() {
        assert_eq!(edges(&[("lib.rs", "mod a; pub use a::A;"), ("a.rs", "pub struct A;")]), [""; 0]);
        let said = [("lib.rs", "mod a; pub use a::A; fn f(a: A) {}"), ("a.rs", "pub struct A;")];
        assert_eq!(edges(&said), ["lib.rs a.rs"]);
    }

    #[test]
    fn a_module_in_a_file_belongs_to_the_file() {
        let found = edges(&[
            ("lib.rs", "mod a; mod b { pub mod c; pub struct D; }"),
            ("a.rs", "use crate::b::D; use crate::b::c::E;"),
            ("b/c.rs", "pub struct E; use super::super::a;"),
        ]);
        assert_eq!(found, ["a.rs b/c.rs", "a.rs lib.rs", "b/c.rs a.rs"]);
    }
}
