//! What the plugin was asked for: `-plugin FILE,name=value,..`.

use std::ops::Range;
use std::path::PathBuf;

/// What the plugin was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// File for the result.
    pub(crate) out: Option<PathBuf>,
    /// Number of the instruction that is not executed, from 1.
    pub(crate) kill_at: Option<u64>,
    /// Instead of instructions, `kill_at` counts stores to these addresses; the last one is executed.
    pub(crate) stores: Option<Range<u64>>,
}

impl Options {
    /// Reads `name=value` items.
    ///
    /// # Errors
    /// Says which item is wrong.
    pub(crate) fn parse(items: &[String]) -> Result<Self, String> {
        let mut options = Self { out: None, kill_at: None, stores: None };
        for item in items {
            match item.split_once('=') {
                Some(("out", file)) if !file.is_empty() => options.out = Some(file.into()),
                Some(("kill_at", number)) => match number.parse() {
                    Ok(n) if n > 0 => options.kill_at = Some(n),
                    _ => return Err(format!("kill_at={number}: not a number from 1")),
                },
                Some(("stores", range)) => options.stores = Some(addresses(range)?),
                _ => return Err(format!("{item}: there are out=FILE, kill_at=N and stores=ADDRESS+LENGTH")),
            }
        }
        if options.out.is_none() && options.kill_at.is_none() {
            return Err("nothing to do: give out=FILE or kill_at=N".into());
        }
        if options.stores.is_some() && options.kill_at.is_none() {
            return Err("stores=ADDRESS+LENGTH goes with kill_at=N".into());
        }
        Ok(options)
    }
}

/// `ADDRESS+LENGTH`, both with or without 0x.
fn addresses(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let range = text.split_once('+').and_then(|(at, length)| {
        let at = number(at)?;
        Some(at..at.checked_add(number(length)?)?)
    });
    range.filter(|r| !r.is_empty()).ok_or_else(|| format!("stores={text}: not ADDRESS+LENGTH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(items: &[&str]) -> Result<Options, String> {
        Options::parse(&items.iter().map(|&i| i.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn items() {
        let both = Options { out: Some("a=b".into()), kill_at: Some(7), stores: None };
        assert_eq!(parse(&["out=a=b", "kill_at=7"]), Ok(both));
        let stores = Options { out: None, kill_at: Some(7), stores: Some(0x2100_0000..0x2100_0010) };
        assert_eq!(parse(&["kill_at=7", "stores=0x21000000+16"]), Ok(stores));
        for wrong in [&["stores=1+2"][..], &["kill_at=1", "stores=1"], &["kill_at=1", "stores=1+0"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        for wrong in [&["kill_at=0"][..], &["kill_at=x"], &["kill_at=-1"], &["out="], &["model=m4"], &["out"], &[]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
