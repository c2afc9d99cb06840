//! The file that a run goes on from: numbers in a fixed order, under a checksum.
//!
//! ```text
//! 0   "MBT\x1a"     8   length of the note, u64
//! 4   version, u32  16  the note, then the trainer's numbers, little-endian; last a CRC-32 of all before it
//! ```
//!
//! The note is the caller's: what else belongs to the run.

/// First bytes.
const MAGIC: [u8; 4] = *b"MBT\x1a";
/// Of this layout.
pub const VERSION: u32 = 1;
const HEAD: usize = 16;

/// Why a file is no state of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateFault {
    /// It begins otherwise.
    #[error("this is no state of a training run")]
    Magic,
    /// Of another version.
    #[error("a state of version {found}; this program reads version {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// Cut off or changed.
    #[error("the state is damaged: its checksum is {found:08x}, that of its bytes {computed:08x}")]
    Checksum {
        /// In the file.
        found: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// Whole, and no state of this run.
    #[error("the state does not belong here: {0}")]
    Content(&'static str),
}

/// Writes numbers.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(note: &[u8]) -> Self {
        let mut writer = Self(MAGIC.to_vec());
        writer.0.extend(VERSION.to_le_bytes());
        writer.number(note.len() as u64);
        writer.0.extend(note);
        writer
    }

    pub(super) fn number(&mut self, n: u64) {
        self.0.extend(n.to_le_bytes());
    }

    pub(super) fn floats(&mut self, values: &[f32]) {
        self.0.reserve(4 * values.len());
        values.iter().for_each(|v| self.0.extend(v.to_le_bytes()));
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let crc = crc32fast::hash(&self.0);
        self.0.extend(crc.to_le_bytes());
        self.0
    }
}

/// Reads them.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

/// The note of a state, and its numbers.
///
/// # Errors
/// [`StateFault`].
pub fn open(file: &[u8]) -> Result<(&[u8], Reader<'_>), StateFault> {
    if !file.starts_with(&MAGIC) || file.len() < HEAD + 4 {
        return Err(StateFault::Magic);
    }
    let found = u32::from_le_bytes(file[4..8].try_into().unwrap_or_default());
    if found != VERSION {
        return Err(StateFault::Version { found });
    }
    let (body, crc) = file.split_at(file.len() - 4);
    let (found, computed) = (u32::from_le_bytes(crc.try_into().unwrap_or_default()), crc32fast::hash(body));
    if found != computed {
        return Err(StateFault::Checksum { found, computed });
    }
    let mut reader = Reader(&body[8..]);
    let length = reader.number()?;
    let note = reader.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
    Ok((note, reader))
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, n: usize) -> Result<&'a [u8], StateFault> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(StateFault::Content("it is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, StateFault> {
        Ok(u64::from_le_bytes(self.bytes(8)?.try_into().unwrap_or_default()))
    }

    /// A number that sizes or places something.
    pub(super) fn size(&mut self) -> Result<usize, StateFault> {
        usize::try_from(self.number()?).map_err(|_| StateFault::Content("a size is too large"))
    }

    pub(super) fn floats(&mut self, to: &mut [f32]) -> Result<(), StateFault> {
        let bytes = self.bytes(4 * to.len())?;
        for (to, from) in to.iter_mut().zip(bytes.chunks_exact(4)) {
            *to = f32::from_le_bytes([from[0], from[1], from[2], from[3]]);
        }
        Ok(())
    }

    /// Bytes that are left.
    pub(super) const fn left(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_refused() {
        let mut writer = Writer::new(b"note");
        writer.number(7);
        writer.floats(&[1.5, -0.0]);
        let file = writer.finish();
        let (note, mut reader) = open(&file).unwrap();
        assert_eq!((note, reader.number()), (&b"note"[..], Ok(7)));
        let mut floats = [0.0; 2];
        reader.floats(&mut floats).unwrap();
        assert_eq!((floats[0], floats[1].to_bits(), reader.left()), (1.5, 0x8000_0000, 0));
        assert!(reader.number().is_err());
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 4;
            assert!(open(&bad).is_err(), "{at}");
            assert!(open(&file[..at]).is_err(), "{at}");
        }
        // A length that reaches beyond the file, under a right checksum.
        let mut long = file[..file.len() - 4].to_vec();
        long[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        let crc = crc32fast::hash(&long);
        assert_eq!(open(&[&long[..], &crc.to_le_bytes()].concat()).err(), Some(StateFault::Content("it is too short")));
    }
}
