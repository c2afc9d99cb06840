//! The commands of `docs/COLLECTORS.md`.
#![allow(dead_code, reason = "each test program uses some of it")]

/// The page.
const PAGE: &str = include_str!("../../../docs/COLLECTORS.md");

/// Every fenced block for a shell, and its name: what stands after `sh`.
pub(crate) fn blocks() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let name = info.strip_prefix("sh ").unwrap_or_else(|| panic!("a block without a name: {info}"));
        all.push((name.to_owned(), block.join("\n")));
    }
    all
}

/// The block of a name, with other words for some of its words, each of which must be there.
#[track_caller]
pub(crate) fn page(name: &str, other: &[(&str, &str)]) -> String {
    let (_, mut block) = blocks().into_iter().find(|(known, _)| known == name).expect("a block of that name");
    for (from, to) in other {
        assert!(block.contains(from), "{from} is not in {block}");
        block = block.replace(from, to);
    }
    block
}
