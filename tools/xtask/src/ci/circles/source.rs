//! What one module of a crate says: its own modules, its items, what it re-exports, which paths it names.

use std::collections::BTreeSet;

use super::tokens::Token;

/// A path that a module names, and the name that it has in the module if an import gave it one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Segments as written: `crate`, `super`, `self` or a module's own module first.
    pub(super) path: Vec<String>,
    /// The name in this module; `*` for all names. Of an import only.
    pub(super) local: Option<String>,
    /// Whether the import is there for others: `pub use`.
    pub(super) public: bool,
}

/// A module, `mod name { .. }` or the whole of a file.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Its name's segments from the module of the file on.
    pub(super) inside: Vec<String>,
    /// Modules with files of their own, except those that `#[path]` takes from elsewhere.
    pub(super) files: Vec<String>,
    /// Names of its items.
    pub(super) items: BTreeSet<String>,
    pub(super) named: Vec<Named>,
    /// Names that its code says outside of imports.
    pub(super) said: BTreeSet<String>,
}

const ITEMS: [&str; 8] = ["fn", "struct", "enum", "trait", "const", "static", "type", "union"];

/// The modules of a file, the file's own first.
pub(super) fn modules(tokens: &[Token<'_>]) -> Vec<Module> {
    let mut all = vec![Module::default()];
    // Open modules, and the depth of braces at which each was opened.
    let mut open = vec![(0, 0)];
    let (mut depth, mut at, mut public) = (0, 0, false);
    while let Some(&token) = tokens.get(at) {
        let here = open.last().map_or(0, |&(module, _)| module);
        let next = tokens.get(at + 1).copied().unwrap_or_default();
        let after = tokens.get(at + 2).copied().unwrap_or_default();
        match token {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if open.len() > 1 && open.last().is_some_and(|&(_, opened)| opened == depth) {
                    open.pop();
                }
            }
            "mod" if after == ";" => {
                let elsewhere = tokens.get(..at).is_some_and(|before| before.ends_with(&["#", "[", "path", "=", "]"]));
                if !elsewhere {
                    all[here].files.push(next.to_owned());
                }
                at += 3;
                continue;
            }
            "mod" if after == "{" => {
                let mut inside = all[here].inside.clone();
                inside.push(next.to_owned());
                all[here].items.insert(next.to_owned());
                all.push(Module { inside, ..Module::default() });
                open.push((all.len() - 1, depth));
                depth += 1;
                at += 3;
                continue;
            }
            // Not the `use<..>` of a type.
            "use" if next != "<" => {
                let (mut named, end) = tree(tokens, at + 1, &[]);
                named.iter_mut().for_each(|n| n.public = public);
                all[here].named.extend(named);
                public = false;
                at = end;
                continue;
            }
            "macro_rules" => {
                all[here].items.insert(after.to_owned());
            }
            keyword if ITEMS.contains(&keyword) => {
                all[here].items.insert(next.to_owned());
            }
            _ => {}
        }
        // `pub`, `pub(crate)`, `pub(in path)` before `use`.
        public = match token {
            "pub" => true,
            "(" | ")" | "crate" | "super" | "in" | "self" if public => true,
            _ => false,
        };
        let before = at.checked_sub(1).and_then(|b| tokens.get(b)).copied().unwrap_or_default();
        if next == "::" && before != "::" && is_name(token) {
            let (path, end) = inline(tokens, at);
            all[here].said.extend(path.iter().cloned());
            all[here].named.push(Named { path, local: None, public: false });
            at = end;
            continue;
        }
        if is_name(token) {
            all[here].said.insert(token.to_owned());
        }
        at += 1;
    }
    all
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The path that begins at `at` in code, and where it ends.
fn inline(tokens: &[Token<'_>], mut at: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    while let Some(&token) = tokens.get(at).filter(|t| is_name(t)) {
        path.push(token.to_owned());
        at += 1;
        if tokens.get(at).copied() != Some("::") || !tokens.get(at + 1).is_some_and(|t| is_name(t)) {
            break;
        }
        at += 1;
    }
    (path, at)
}

/// The paths of an import from `at` on, each after `before`, and where it ends.
fn tree(tokens: &[Token<'_>], mut at: usize, before: &[String]) -> (Vec<Named>, usize) {
    let (mut path, mut all) = (before.to_vec(), Vec::new());
    let mut local = None;
    while let Some(&token) = tokens.get(at) {
        match token {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|&t| t != "}") {
                    let (inner, end) = tree(tokens, at, &path);
                    all.extend(inner);
                    at = end;
                    if tokens.get(at) == Some(&",") {
                        at += 1;
                    }
                }
                return (all, at + 1);
            }
            "," | "}" | ";" => break,
            "::" => {}
            "as" => {
                local = tokens.get(at + 1).map(|name| (*name).to_owned());
                at += 1;
            }
            "self" if !path.is_empty() => local = path.last().cloned(),
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    if path.len() > before.len() || local.is_some() {
        let local = local.or_else(|| path.last().cloned());
        path.retain(|segment| segment != "*");
        all.push(Named { path, local, public: false });
    }
    (all, at)
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    fn paths(module: &Module) -> Vec<String> {
        let show = |n: &Named| {
            format!("{}{}", n.path.join("::"), n.local.as_deref().map_or(String::new(), |l| format!(" as {l}")))
        };
        module.named.iter().map(show).collect()
    }

    #[test]
    fn imports_and_paths() {
        let source = "pub(crate) use self::a::{B, c::{self, D as E}}; use super::*; fn f() -> crate::x::Y { a::g() }";
        let all = modules(&tokens(source));
        let expected =
            ["self::a::B as B", "self::a::c as c", "self::a::c::D as E", "super as *", "crate::x::Y", "a::g"];
        assert_eq!(paths(&all[0]), expected);
        assert_eq!(all[0].named.iter().map(|n| n.public).collect::<Vec<_>>(), [true, true, true, false, false, false]);
        assert_eq!(all[0].items, BTreeSet::from(["f".to_owned()]));
    }

    #[test]
    fn modules_in_a_file() {
        let all = modules(&tokens(
            "mod a; #[path = \"x.rs\"] mod y; mod b { use super::a::X; mod c { struct D; } } use b::c::D;",
        ));
        assert_eq!(all.iter().map(|m| m.inside.join("::")).collect::<Vec<_>>(), ["", "b", "b::c"]);
        assert_eq!(all[0].files, ["a"]);
        assert_eq!(paths(&all[1]), ["super::a::X as X"]);
        assert_eq!(paths(&all[0]), ["b::c::D as D"]);
    }
}
