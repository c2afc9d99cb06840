//! What the plugin was asked for: `-plugin FILE,name=value,..`.

use std::path::PathBuf;

/// What the plugin was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// File for the result.
    pub(crate) out: Option<PathBuf>,
    /// Number of the instruction that is not executed, from 1.
    pub(crate) kill_at: Option<u64>,
}

impl Options {
    /// Reads `name=value` items.
    ///
    /// # Errors
    /// Says which item is wrong.
    pub(crate) fn parse(items: &[String]) -> Result<Self, String> {
        let mut options = Self { out: None, kill_at: None };
        for item in items {
            match item.split_once('=') {
                Some(("out", file)) if !file.is_empty() => options.out = Some(file.into()),
                Some(("kill_at", number)) => match number.parse() {
                    Ok(n) if n > 0 => options.kill_at = Some(n),
                    _ => return Err(format!("kill_at={number}: not a number from 1")),
                },
                _ => return Err(format!("{item}: there are out=FILE and kill_at=N")),
            }
        }
        if options.out.is_none() && options.kill_at.is_none() {
            return Err("nothing to do: give out=FILE or kill_at=N".into());
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(items: &[&str]) -> Result<Options, String> {
        Options::parse(&items.iter().map(|&i| i.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn items() {
        let both = Options { out: Some("a=b".into()), kill_at: Some(7) };
        assert_eq!(parse(&["out=a=b", "kill_at=7"]), Ok(both));
        for wrong in [&["kill_at=0"][..], &["kill_at=x"], &["kill_at=-1"], &["out="], &["model=m4"], &["out"], &[]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
