//! Reading archives: [`decompress`] and [`survey`].

use std::io::{Read, Write};

use mambabyte_core::archive::{ArchiveError, Block, HEADER, Header, RECORD, Record};

use super::writer::fill;
use super::{ArchiveFault, Predictor, Totals};
use crate::engine::Engine;

/// A file of archives, read head by head.
struct Source<'s> {
    source: &'s mut dyn Read,
    /// Where the head begins that was read last.
    at: u64,
    next: u64,
    /// Bytes that were decoded.
    kept: u64,
}

/// The next record, checked; its code is in a buffer of the caller.
enum Next {
    Block(Block),
    End,
}

impl Source<'_> {
    fn fault(&self, error: ArchiveError) -> ArchiveFault {
        ArchiveFault::Archive { at: self.at, kept: self.kept, error }
    }

    /// Reads a head of `N` bytes; `None` at the end of the file.
    fn head<const N: usize>(&mut self) -> Result<Option<[u8; N]>, ArchiveFault> {
        let mut head = [0; N];
        self.at = self.next;
        let length = fill(self.source, &mut head).map_err(ArchiveFault::Read)?;
        self.next += length as u64;
        match length {
            0 => Ok(None),
            _ if length == N => Ok(Some(head)),
            // What begins otherwise is another file, or garbage behind an archive.
            _ if N == HEADER && !mambabyte_core::archive::MAGIC.iter().zip(&head[..length]).all(|(a, b)| a == b) => {
                Err(self.fault(ArchiveError::BadMagic))
            }
            _ => Err(self.fault(ArchiveError::Truncated)),
        }
    }

    /// The next header; `None` at the end of a file that has one.
    fn header(&mut self) -> Result<Option<Header>, ArchiveFault> {
        match self.head::<HEADER>()? {
            Some(head) => Header::parse(&head).map(Some).map_err(|error| self.fault(error)),
            None if self.at == 0 => Err(self.fault(ArchiveError::Truncated)),
            None => Ok(None),
        }
    }

    /// The next record of an archive; `code` becomes its code.
    fn record(
        &mut self,
        header: &Header,
        check: &mut u32,
        totals: &Totals,
        code: &mut Vec<u8>,
    ) -> Result<Next, ArchiveFault> {
        let head = self.head::<RECORD>()?.ok_or_else(|| self.fault(ArchiveError::Truncated))?;
        let record = Record::parse(&head, header.block).map_err(|error| self.fault(error))?;
        let length = match record {
            Record::Block(block) => block.coded as usize,
            Record::End { .. } => 0,
        };
        // At most a block's length, which the header bounds.
        code.resize(length, 0);
        let found = fill(self.source, code).map_err(ArchiveFault::Read)?;
        self.next += found as u64;
        if found < length {
            return Err(self.fault(ArchiveError::Truncated));
        }
        Record::check(&head, code, check).map_err(|error| self.fault(error))?;
        match record {
            Record::End { total, blocks } if (total, blocks) == (totals.plain, totals.blocks) => Ok(Next::End),
            Record::End { total, .. } => Err(self.fault(ArchiveError::Total { came: totals.plain, says: total })),
            Record::Block(block) => Ok(Next::Block(block)),
        }
    }

    /// Reads an archive whose header is `header`; `take` gets each block and its code.
    fn blocks(
        &mut self,
        header: &Header,
        code: &mut Vec<u8>,
        mut take: impl FnMut(&mut Self, &Block, &[u8]) -> Result<(), ArchiveFault>,
    ) -> Result<Totals, ArchiveFault> {
        let (mut check, begin) = (header.check(), self.at);
        let mut totals = Totals { archives: 1, ..Totals::default() };
        while let Next::Block(block) = self.record(header, &mut check, &totals, code)? {
            take(self, &block, code)?;
            totals.plain += u64::from(block.plain);
            totals.code += u64::from(block.coded);
            totals.blocks = totals.blocks.wrapping_add(1);
            totals.stored = totals.stored.wrapping_add(u32::from(block.stored));
        }
        totals.archive = self.next - begin;
        Ok(totals)
    }
}

/// Decodes the archives in `source`, one after the other, and writes each block to `sink` when it is known to be right.
/// `open` gives what an archive's header asks for, at the beginning; `seen` is told how many bytes have been decoded.
/// Returns how long all of them are together.
///
/// # Errors
/// [`ArchiveFault::Archive`] says where the file is wrong; the blocks before have been written. What `open` returns,
/// [`ArchiveFault::Read`], [`ArchiveFault::Write`], [`ArchiveFault::Engine`].
/// # Cost
/// Memory of two blocks, at most 8 MiB whatever the file says. A step of the model for each byte.
pub fn decompress<'e, E: Engine>(
    source: &mut dyn Read,
    sink: &mut dyn Write,
    open: &mut dyn FnMut(&Header) -> Result<Predictor<'e, E>, ArchiveFault>,
    seen: &mut dyn FnMut(usize),
) -> Result<Totals, ArchiveFault> {
    let mut source = Source { source, at: 0, next: 0, kept: 0 };
    let (mut all, mut code, mut text) = (Totals::default(), Vec::new(), Vec::new());
    while let Some(header) = source.header()? {
        let mut predictor = open(&header)?;
        let totals = source.blocks(&header, &mut code, |source, block, code| {
            let text = if block.stored {
                predictor.read(code, &mut |_| (), seen)?;
                code
            } else {
                text.resize(block.plain as usize, 0);
                predictor.decode(code, &mut text, seen)?;
                &text
            };
            block.check(text).map_err(|error| source.fault(error))?;
            sink.write_all(text).map_err(ArchiveFault::Write)?;
            source.kept += text.len() as u64;
            Ok(())
        })?;
        all.add(&totals);
    }
    sink.flush().map_err(ArchiveFault::Write)?;
    Ok(all)
}

/// Looks through the archives in `source` without decoding them, heads and checksums; `see` gets what each needs and
/// how long it is.
///
/// # Errors
/// [`ArchiveFault::Archive`], [`ArchiveFault::Read`].
pub fn survey(source: &mut dyn Read, see: &mut dyn FnMut(&Header, &Totals)) -> Result<(), ArchiveFault> {
    let mut source = Source { source, at: 0, next: 0, kept: 0 };
    let mut code = Vec::new();
    while let Some(header) = source.header()? {
        let totals = source.blocks(&header, &mut code, |_, _, _| Ok(()))?;
        see(&header, &totals);
    }
    Ok(())
}
