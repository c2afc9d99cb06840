//! Archives by hand: where their records are, and checksums made right again.

use mambabyte_core::archive::{HEADER, Header, MAX_BLOCK, RECORD, Record};

/// Where the records of an archive begin, as far as they can be read.
pub fn records(archive: &[u8]) -> Vec<usize> {
    let mut all = vec![HEADER];
    let mut at = HEADER;
    while let Some(head) = archive.get(at..).and_then(|rest| rest.first_chunk()) {
        let Ok(Record::Block(block)) = Record::parse(head, MAX_BLOCK) else { break };
        at += RECORD + block.coded as usize;
        all.push(at);
    }
    all
}

/// Makes the checks of the header and of all records right, as somebody would who means harm.
pub fn reseal_archive(archive: &mut [u8]) {
    let Some(header) = archive.first_chunk_mut::<HEADER>() else { return };
    let mut check = crc32fast::hash(&header[..HEADER - 4]);
    header[HEADER - 4..].copy_from_slice(&check.to_le_bytes());
    let most = Header::parse(header).map_or(MAX_BLOCK, |header| header.block);
    for at in records(archive) {
        let Some(head) = archive.get(at..).and_then(|rest| rest.first_chunk::<RECORD>()) else { return };
        let Ok(record) = Record::parse(head, most) else { return };
        let length = if let Record::Block(block) = record { block.coded as usize } else { 0 };
        let Some(code) = archive.get(at + RECORD..).and_then(|rest| rest.get(..length)) else { return };
        let head = record.to_bytes(code, &mut check);
        archive[at..at + RECORD].copy_from_slice(&head);
    }
}
