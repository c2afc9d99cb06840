//! From what the plugin counted to chains of functions.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use super::marks::Marks;
use super::stages::{Counted, Frame};

/// Which functions an address belongs to.
pub(super) struct Chains {
    loader: addr2line::Loader,
    /// Functions of addresses that were asked for, the innermost first.
    known: BTreeMap<u64, Vec<Frame>>,
}

impl Chains {
    /// Of a program with debug information.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn new(elf: &Path) -> Result<Self> {
        let loader = addr2line::Loader::new(elf).map_err(|e| anyhow!("{}: {e}", elf.display()))?;
        Ok(Self { loader, known: BTreeMap::new() })
    }

    fn functions(&mut self, address: u64) -> Result<Vec<Frame>> {
        if let Some(functions) = self.known.get(&address) {
            return Ok(functions.clone());
        }
        let mut functions = Vec::new();
        let mut frames = self.loader.find_frames(address).map_err(|e| anyhow!("debug information: {e}"))?;
        while let Some(frame) = frames.next().map_err(|e| anyhow!("debug information: {e}"))? {
            let Some(name) = frame.function.as_ref().and_then(|f| f.demangle().ok()) else { continue };
            let (file, line) = frame.location.map_or((None, None), |place| (place.file, place.line));
            let (file, line) = (file.unwrap_or_default().to_owned(), line.unwrap_or(0));
            functions.push(Frame { name: name.into_owned(), file, line });
        }
        self.known.insert(address, functions.clone());
        Ok(functions)
    }

    /// Counts the instructions of the plugin's `text`.
    ///
    /// # Errors
    /// If the text is not the plugin's, or the debug information is damaged.
    pub(super) fn count(&mut self, marks: &Marks, text: &str) -> Result<Counted> {
        let mut counted = Counted::default();
        self.each(text, |chain, times| counted.add(marks, chain, times))?;
        Ok(counted)
    }

    /// Tells `found` of each instruction the functions that it was reached by, the innermost first, and how often.
    ///
    /// # Errors
    /// As [`Chains::count`].
    pub(super) fn each(&mut self, text: &str, mut found: impl FnMut(&[Frame], f64)) -> Result<()> {
        let mut contexts: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let number = |word: Option<&str>| -> Result<u64> {
            let word = word.context("a line of the counts is too short")?;
            let parsed = word.strip_prefix("0x").map_or_else(|| word.parse(), |hex| u64::from_str_radix(hex, 16));
            parsed.with_context(|| format!("the counts have no number at {word}"))
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("context") => {
                    let (name, caller) = (number(words.next())?, number(words.next())?);
                    contexts.insert(name, (caller, number(words.next())?));
                }
                Some("count") => {
                    let (mut context, address) = (number(words.next())?, number(words.next())?);
                    let times = number(words.next())?;
                    let mut chain = self.functions(address)?;
                    while let Some(&(caller, returns_to)) = contexts.get(&context) {
                        // The call is before the address that it returns to. One inside a single function is a long
                        // branch in the form of a call, as Armv6-M has it; nothing here recurses.
                        let from = self.functions(returns_to - 2)?;
                        if chain.last().map(|f| &f.name) != from.last().map(|f| &f.name) {
                            chain.extend(from);
                        }
                        context = caller;
                    }
                    found(&chain, times as f64);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
