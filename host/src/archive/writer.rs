//! Writing archives: [`compress`].

use std::io::{self, ErrorKind, Read, Write};

use mambabyte_core::archive::{Block, HEADER, Header, RECORD, Record};

use super::{ArchiveFault, Predictor};
use crate::engine::Engine;

/// Bytes of a block unless something else is asked for: with less, heads would count; a damaged archive loses what
/// comes after its last whole block.
pub const BLOCK: u32 = 1 << 20;

/// How long an archive has become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Archives.
    pub archives: u64,
    /// Bytes of the text.
    pub plain: u64,
    /// Bytes of the archive.
    pub archive: u64,
    /// Bytes of it that are code, or stored text; the rest are heads.
    pub code: u64,
    /// Blocks.
    pub blocks: u32,
    /// Blocks that are stored as they are.
    pub stored: u32,
}

impl Totals {
    /// Counts another archive.
    pub(super) const fn add(&mut self, other: &Self) {
        self.archives += other.archives;
        self.plain += other.plain;
        self.archive += other.archive;
        self.code += other.code;
        self.blocks = self.blocks.wrapping_add(other.blocks);
        self.stored = self.stored.wrapping_add(other.stored);
    }
}

/// Reads until `buffer` is full or the source ends; the number of bytes.
///
/// # Errors
/// Those of the source.
pub(super) fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Reads `source` to its end and writes an archive of it to `sink`, a block at a time. `predictor` is what `header`
/// says, at the beginning; `seen` is told how many bytes have been coded.
///
/// # Errors
/// [`ArchiveFault::Read`], [`ArchiveFault::Write`], [`ArchiveFault::Engine`].
/// # Cost
/// Memory of two blocks.
pub fn compress<E: Engine>(
    predictor: &mut Predictor<'_, E>,
    header: &Header,
    source: &mut dyn Read,
    sink: &mut dyn Write,
    seen: &mut dyn FnMut(usize),
) -> Result<Totals, ArchiveFault> {
    let mut totals = Totals { archives: 1, archive: (HEADER + RECORD) as u64, ..Totals::default() };
    let (mut check, mut text) = (header.check(), vec![0; header.block as usize]);
    let mut code = Vec::new();
    sink.write_all(&header.to_bytes()).map_err(ArchiveFault::Write)?;
    loop {
        let length = fill(source, &mut text).map_err(ArchiveFault::Read)?;
        let Some(text) = text.get(..length).filter(|text| !text.is_empty()) else { break };
        // A code has to be shorter than the text.
        code.resize(length - 1, 0);
        let coded = predictor.encode(text, &mut code, seen)?;
        let block = Block::of(text, coded);
        let code = coded.and_then(|coded| code.get(..coded)).unwrap_or(text);
        let head = Record::Block(block).to_bytes(code, &mut check);
        sink.write_all(&head).and_then(|()| sink.write_all(code)).map_err(ArchiveFault::Write)?;
        totals.plain += length as u64;
        totals.code += code.len() as u64;
        totals.archive += (RECORD + code.len()) as u64;
        totals.blocks = totals.blocks.wrapping_add(1);
        totals.stored = totals.stored.wrapping_add(u32::from(block.stored));
    }
    let end = Record::End { total: totals.plain, blocks: totals.blocks }.to_bytes(&[], &mut check);
    sink.write_all(&end).and_then(|()| sink.flush()).map_err(ArchiveFault::Write)?;
    Ok(totals)
}
