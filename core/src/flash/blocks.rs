//! Blocks and records: a slot consists of them. All are written in whole blocks, so that any flash word up to a block's
//! size fits.

use embedded_storage::nor_flash::NorFlash;

use super::FlashError;
use crate::adapt::{AdapterError, DESIGNS};
use crate::blob::{CRC32, Crc32Digest, Fingerprint, array_at};
use crate::cannot::never;
use crate::snapshot::{self, Sections};
use crate::state::StateError;

/// Bytes of a block: the largest flash word there is.
pub(super) const BLOCK: usize = 32;
/// Version of the layout, always that of [`snapshot`](crate::snapshot).
const VERSION: u8 = snapshot::VERSION as u8;
const HEADER: [u8; 4] = *b"MBF\x1a";
const COMMIT: [u8; 4] = *b"MBF\x06";
/// Bytes of a record before its data.
const HEAD: usize = 16;

/// Bytes that a record with `data` bytes takes.
pub(super) const fn record_bytes(data: usize) -> usize {
    (HEAD + data).next_multiple_of(BLOCK)
}

/// Blocks of a record with `data` bytes.
const fn blocks(data: usize) -> u16 {
    (record_bytes(data) / BLOCK) as u16
}

/// What tells a snapshot from all others: sequence number, model, sections. Every checksum covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name([u8; BLOCK - 4]);

impl Name {
    /// `beside` bytes hold the sections that are not the state.
    pub(super) fn new(sequence: u32, fingerprint: Fingerprint, sections: Sections, beside: usize) -> Self {
        let parts = HEADER.into_iter().chain([VERSION, sections.bits()]).chain(blocks(beside).to_le_bytes());
        let mut name = Self([0; BLOCK - 4]);
        let bytes = parts.chain(sequence.to_le_bytes()).chain(fingerprint);
        name.0.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        name
    }

    /// The name in a block, if the block holds a whole one.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let name = Self(array_at(block, 0));
        (array_at(block, 0) == HEADER && name.header() == *block).then_some(name)
    }

    pub(super) fn sequence(&self) -> u32 {
        u32::from_le_bytes(array_at(&self.0, 8))
    }

    /// Whether the snapshot is one that this program reads.
    pub(super) fn check(&self, expected: Fingerprint, sections: Sections, beside: usize) -> Result<(), StateError> {
        let [version, bits] = array_at(&self.0, 4);
        if version != VERSION {
            return Err(StateError::UnsupportedVersion { found: version as u16 });
        }
        let found: Fingerprint = array_at(&self.0, 12);
        if found != expected {
            return Err(StateError::ForeignModel { expected, found });
        }
        sections.exactly(bits)?;
        let (expected, found) = (blocks(beside), u16::from_le_bytes(array_at(&self.0, 6)));
        if found == expected {
            return Ok(());
        }
        if let Some((preset, bytes)) = sections.adapter() {
            // Of the presets no two have as many blocks, so their number names the other one.
            let other = DESIGNS.iter().find(|design| blocks(beside - bytes + design.saved_bytes()) == found);
            if let Some(design) = other {
                return Err(StateError::Adapter(AdapterError::Preset { expected: preset, found: design.id }));
            }
        }
        Err(StateError::Length { expected: expected as usize * BLOCK, found: found as usize * BLOCK })
    }

    fn block(&self, magic: [u8; 4]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let name = magic.into_iter().chain(self.0.into_iter().skip(magic.len()));
        block.iter_mut().zip(name).for_each(|(to, from)| *to = from);
        let crc =
            CRC32.checksum(block.get(..BLOCK - 4).unwrap_or_else(|| never("a block is longer than its name", &[])));
        block.iter_mut().skip(BLOCK - 4).zip(crc.to_le_bytes()).for_each(|(to, from)| *to = from);
        block
    }

    /// The first block of a slot.
    pub(super) fn header(&self) -> [u8; BLOCK] {
        self.block(HEADER)
    }

    /// The last block of a slot.
    pub(super) fn commit(&self) -> [u8; BLOCK] {
        self.block(COMMIT)
    }
}

/// What goes with the data of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The byte that the model read just before.
    pub(super) fed: u8,
    /// The state's position.
    pub(super) position: u64,
}

impl Head {
    /// Without a check; [`read_record`] checks it.
    fn parse(block: &[u8; BLOCK]) -> Self {
        let [fed] = array_at(block, 4);
        Self { fed, position: u64::from_le_bytes(array_at(block, 8)) }
    }

    /// The head of the record at `at`, unchecked.
    pub(super) fn read<F: NorFlash>(flash: &mut F, at: u32) -> Result<Self, FlashError<F::Error>> {
        let mut block = [0; BLOCK];
        flash.read(at, &mut block).map_err(FlashError::Driver)?;
        Ok(Self::parse(&block))
    }
}

/// The checksum of a record before its data.
fn digest(name: &Name, index: u32, head: Head) -> Crc32Digest {
    let mut digest = CRC32.digest();
    digest.update(&name.0);
    digest.update(&index.to_le_bytes());
    digest.update(&[head.fed]);
    digest.update(&head.position.to_le_bytes());
    digest
}

/// Writes one block.
pub(super) fn write_block<F: NorFlash>(
    flash: &mut F,
    at: u32,
    block: &[u8; BLOCK],
) -> Result<(), FlashError<F::Error>> {
    flash.write(at, block).map_err(FlashError::Driver)?;
    let mut back = [0; BLOCK];
    flash.read(at, &mut back).map_err(FlashError::Driver)?;
    if back == *block { Ok(()) } else { Err(FlashError::Worn { at }) }
}

/// Writes a record: u32 CRC-32, u8 fed, 3 zeros, u64 position, data, 0xff to the end of the block. Reads it back.
pub(super) fn write_record<F: NorFlash>(
    flash: &mut F,
    at: u32,
    name: &Name,
    index: u32,
    head: Head,
    data: &[u8],
) -> Result<(), FlashError<F::Error>> {
    let mut digest = digest(name, index, head);
    digest.update(data);
    let front = digest.finalize().to_le_bytes().into_iter().chain([head.fed, 0, 0, 0]);
    let front = front.chain(head.position.to_le_bytes());
    let mut block = [0xff; BLOCK];
    let first = data.get(..BLOCK - HEAD).unwrap_or(data);
    block.iter_mut().zip(front.chain(first.iter().copied())).for_each(|(to, from)| *to = from);
    flash.write(at, &block).map_err(FlashError::Driver)?;
    let mut next = at;
    for part in data.get(BLOCK - HEAD..).unwrap_or(&[]).chunks(BLOCK) {
        next += BLOCK as u32;
        match <&[u8; BLOCK]>::try_from(part) {
            Ok(whole) => block = *whole,
            Err(_) => {
                block = [0xff; BLOCK];
                block.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            }
        }
        flash.write(next, &block).map_err(FlashError::Driver)?;
    }
    let back = read_record(flash, at, name, index, data.len(), &mut [])?;
    if back == Some(head) { Ok(()) } else { Err(FlashError::Worn { at }) }
}

/// Reads a record with `length` bytes of data into `out`, or only checks it if `out` is empty. `None` if it is not
/// whole; `out` is then undefined.
pub(super) fn read_record<F: NorFlash>(
    flash: &mut F,
    mut at: u32,
    name: &Name,
    index: u32,
    length: usize,
    out: &mut [u8],
) -> Result<Option<Head>, FlashError<F::Error>> {
    let mut block = [0; BLOCK];
    flash.read(at, &mut block).map_err(FlashError::Driver)?;
    let (stored, head) = (u32::from_le_bytes(array_at(&block, 0)), Head::parse(&block));
    let mut digest = digest(name, index, head);
    let (mut done, mut skip) = (0, HEAD);
    loop {
        let rest = block.get(skip..).unwrap_or_else(|| never("the head of a record lies in its first block", &[]));
        let part = rest.get(..length - done).unwrap_or(rest);
        digest.update(part);
        out.iter_mut().skip(done).zip(part).for_each(|(to, from)| *to = *from);
        done += part.len();
        if done >= length {
            return Ok((digest.finalize() == stored).then_some(head));
        }
        (skip, at) = (0, at + BLOCK as u32);
        flash.read(at, &mut block).map_err(FlashError::Driver)?;
    }
}
