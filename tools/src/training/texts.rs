//! The texts of `train`: files, folders, standard input; plain or packed.

use std::fs;
use std::path::{Path, PathBuf};

use mambabyte_host::train::data::Text;

use crate::error::CliError;
use crate::model::read_text;
use crate::output::{shown, thousands};
use crate::packed::unpacked;

/// A text as the user names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The file or folder, or `-`.
    pub path: PathBuf,
    /// Its share of what is read.
    pub share: Option<f64>,
}

/// Fewer bytes are no text to learn from.
const LEAST: usize = 64;

impl Asked {
    /// `FILE` or `FILE:SHARE`; a file of the whole name wins.
    ///
    /// # Errors
    /// [`CliError::Usage`] for a share that is no number above 0.
    pub fn parse(given: &str) -> Result<Self, CliError> {
        let whole = || Self { path: PathBuf::from(given), share: None };
        let Some((path, share)) = given.rsplit_once(':') else { return Ok(whole()) };
        if path.is_empty() || Path::new(given).exists() {
            return Ok(whole());
        }
        match share.parse::<f64>() {
            Ok(share) if share.is_finite() && share > 0.0 => Ok(Self { path: path.into(), share: Some(share) }),
            Ok(_) => Err(CliError::Usage(format!("{given}: the share behind the colon must be above 0"))),
            Err(_) => Ok(whole()),
        }
    }

    /// Every file that is read, sorted; those of a folder with all folders in it, without hidden ones.
    ///
    /// # Errors
    /// [`CliError::Io`] names what cannot be looked at.
    pub fn files(&self) -> Result<Vec<PathBuf>, CliError> {
        let mut files = Vec::new();
        if self.path == Path::new("-") || !self.path.is_dir() {
            return Ok(vec![self.path.clone()]);
        }
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            let failed = |e| CliError::io(&folder, e);
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
                let linked = fs::symlink_metadata(&path).map_err(|e| CliError::io(&path, e))?.is_symlink();
                match fs::metadata(&path) {
                    _ if hidden => {}
                    // A link to a folder may lead in a circle.
                    Ok(found) if found.is_dir() && !linked => folders.push(path),
                    Ok(found) if found.is_file() => files.push(path),
                    Ok(_) => {}
                    Err(e) => return Err(CliError::io(&path, e)),
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Reads it: every file is a document, and ends one after each `separator`.
    ///
    /// # Errors
    /// [`CliError::Io`] names the file; [`CliError::Usage`] for a text that is too short.
    pub fn read(&self, separator: &[u8]) -> Result<Text, CliError> {
        let name = if self.path == Path::new("-") { "standard input".to_owned() } else { shown(&self.path) };
        let mut text = Text { name, bytes: Vec::new(), ends: Vec::new() };
        for file in self.files()? {
            let bytes = unpacked(read_text(&file)?).map_err(|e| CliError::io(&file, e))?;
            text.bytes.extend(bytes);
            text.ends.push(text.bytes.len());
        }
        text.ends.dedup();
        if text.bytes.len() < LEAST {
            let bytes = text.bytes.len();
            let found = if bytes == 0 { "empty".to_owned() } else { format!("{} bytes", thousands(bytes as u64)) };
            return Err(CliError::Usage(format!("{}: {found}; {LEAST} bytes are the least to learn from", text.name)));
        }
        text.separate(separator);
        Ok(text)
    }
}

/// The texts and their shares: given for all of them or for none.
///
/// # Errors
/// [`CliError::Usage`] if some have a share and some have none; as [`Asked::read`].
pub fn read_all(asked: &[Asked], separator: &[u8]) -> Result<(Vec<Text>, Option<Vec<f64>>), CliError> {
    let shares: Vec<f64> = asked.iter().filter_map(|asked| asked.share).collect();
    if !shares.is_empty() && shares.len() < asked.len() {
        let without = asked.iter().find(|asked| asked.share.is_none());
        let without = without.map(|asked| shown(&asked.path)).unwrap_or_default();
        return Err(CliError::Usage(format!(
            "{without}: without a share; give one to every text, FILE:0.3, or to none"
        )));
    }
    let texts = asked.iter().map(|asked| asked.read(separator)).collect::<Result<Vec<_>, _>>()?;
    Ok((texts, (!shares.is_empty()).then_some(shares)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn shares_are_read_and_names_with_colons_stay() {
        let dir = tempfile::tempdir().unwrap();
        let name = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        fs::write(name("a:0.5"), b"x").unwrap();
        let parsed = |given: &str| Asked::parse(given).map(|asked| (asked.path, asked.share));
        assert_eq!(parsed(&name("a:0.5")).unwrap(), (name("a:0.5").into(), None));
        assert_eq!(parsed(&name("b:0.5")).unwrap(), (name("b").into(), Some(0.5)));
        assert_eq!(parsed("c:log").unwrap(), ("c:log".into(), None));
        assert_eq!(parsed("-").unwrap(), ("-".into(), None));
        for bad in ["d:0", "d:-1", "d:inf", "d:nan"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        let asked = |share| Asked { path: name("a:0.5").into(), share };
        let error = read_all(&[asked(Some(1.0)), asked(None)], b"").unwrap_err().to_string();
        assert!(error.contains("without a share"), "{error}");
    }

    #[test]
    fn packed_files_and_folders_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..500u32).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&text).unwrap();
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        xz.write_all(&text).unwrap();
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let zst = ruzstd::encoding::compress_to_vec(text.as_slice(), level);
        fs::create_dir(dir.path().join("sub")).unwrap();
        let packed = [
            ("1.gz", gz.finish().unwrap()),
            ("2.xz", xz.finish().unwrap()),
            ("sub/3.zst", [zst.clone(), zst].concat()),
            ("4", text.clone()),
            (".hidden", text.clone()),
        ];
        for (name, bytes) in &packed {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let asked = Asked { path: dir.path().to_owned(), share: None };
        let found = asked.read(b"").unwrap();
        // In the order of their names, `4` before the folder.
        assert_eq!(found.bytes, text.repeat(5));
        assert_eq!(found.ends, [1, 2, 3, 5].map(|n| n * text.len()));
        for (name, bytes) in &packed[..3] {
            for damaged in [&bytes[..bytes.len() / 2 - 3], &[&bytes[..30], &[!bytes[30]], &bytes[31..]].concat()] {
                fs::write(dir.path().join(name), damaged).unwrap();
                let one = Asked { path: dir.path().join(name), share: None };
                assert!(one.read(b"").is_err(), "{name}");
            }
        }
        fs::write(dir.path().join("4"), b"").unwrap();
        let empty = Asked { path: dir.path().join("4"), share: None }.read(b"").unwrap_err().to_string();
        assert!(empty.contains("4: empty"), "{empty}");
    }
}
