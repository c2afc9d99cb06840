//! The start values of the adapters: what the texts of `tools/data/calibration` teach.
//!
//! Of each text the first 16 KiB are read, alone and with the logits of the first sensor-nano (`data/first`): start values are
//! part of what archives and primed adapters rely on, so they stay what they are when a model is trained anew; the mean over the texts is rounded to
//! nearest.

use std::path::{Path, PathBuf};

use mambabyte_core::adapt::{Adapter, Memory};
use mambabyte_core::{Blob, Decoder, Logits, include_blob};

/// Bytes of each text.
const LENGTH: usize = 16 << 10;
const NET: &[u8] = include_blob!("../data/first/sensor-nano.mbb");

/// A text, and the net's logits for each byte of it.
pub struct Text {
    bytes: Vec<u8>,
    logits: Vec<Logits>,
}

impl Text {
    /// All of them, by name.
    ///
    /// # Panics
    /// If they are not there.
    pub fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/data/calibration");
        let entries = std::fs::read_dir(folder).expect("a folder of this checkout");
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let mut bytes = std::fs::read(path).expect("a text of tools/data/calibration");
        bytes.truncate(LENGTH);
        let mut decoder = Decoder::owned(Blob::parse(NET).expect("a model of this checkout"));
        let before = std::iter::once(&0).chain(&bytes);
        let logits = before.take(bytes.len()).map(|&byte| *decoder.step(byte)).collect();
        Self { bytes, logits }
    }
}

/// The mean of what each text teaches.
fn half<M: Memory>(texts: &[Text], net: bool) -> Vec<u8> {
    let design = M::DESIGN;
    let mut sums = vec![0_i64; design.start_words()];
    for text in texts {
        let mut adapter = Adapter::plain(Box::new(M::ZERO), net);
        for (&byte, logits) in text.bytes.iter().zip(&text.logits) {
            adapter.read(net.then_some(logits), byte);
        }
        let mut words = vec![0; 2 * sums.len()];
        adapter.into_start_values(&mut words);
        for (at, (sum, &word)) in sums.iter_mut().zip(words.as_chunks::<2>().0).enumerate() {
            let signed = at < design.start_weights();
            *sum += if signed { i64::from(i16::from_le_bytes(word)) } else { i64::from(u16::from_le_bytes(word)) };
        }
    }
    let count = texts.len() as i64;
    sums.iter().flat_map(|sum| ((2 * sum + count).div_euclid(2 * count) as u16).to_le_bytes()).collect()
}

/// The file of a preset: without a net, then with one.
pub fn values<M: Memory>(texts: &[Text]) -> Vec<u8> {
    [half::<M>(texts, false), half::<M>(texts, true)].concat()
}

/// Where it is.
pub fn path<M: Memory>() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src/adapt/start");
    folder.join(format!("{}.bin", M::DESIGN.name))
}
