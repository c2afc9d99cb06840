//! What a launch reads: its columns, and how streams and drafts are divided into launches.

use std::ops::Range;

use super::plan::MAX_COLUMNS;

/// A column as the kernels read it: its stream (below 256), the first column of the same one, its byte. For
/// [`Decoder::accept`](super::Decoder::accept): a stream, the first column that was kept of it, how many of them.
pub(super) const fn column(stream: usize, first: usize, byte: u8) -> u32 {
    stream as u32 | (first as u32) << 8 | (byte as u32) << 24
}

/// A launch's columns, as the kernel reads them: which stream each belongs to (below 256), where this stream's columns
/// start, and the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) len: usize,
    pub(super) words: [u32; MAX_COLUMNS],
}

impl Columns {
    fn push(&mut self, word: u32) {
        self.words[self.len] = word;
        self.len += 1;
    }

    /// One byte of each stream in `group`, at most as many as fit.
    pub(super) fn of_streams(group: Range<usize>, bytes: &[u8]) -> Self {
        let mut columns = Self::default();
        group.enumerate().for_each(|(n, stream)| columns.push(column(stream, n, bytes[stream])));
        columns
    }

    /// All bytes of each draft, at most as many as fit; `first` is the stream of the first draft.
    pub(super) fn of_drafts(first: usize, drafts: &[&[u8]]) -> Self {
        let mut columns = Self::default();
        for (index, draft) in drafts.iter().enumerate() {
            let start = columns.len;
            draft.iter().for_each(|&byte| columns.push(column(first + index, start, byte)));
        }
        columns
    }
}

/// Streams by launches.
pub(super) fn groups(streams: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    (0..streams.div_ceil(MAX_COLUMNS)).map(move |g| g * MAX_COLUMNS..((g + 1) * MAX_COLUMNS).min(streams))
}

/// Drafts by launches: as many whole ones as have at most 32 bytes together.
pub(super) fn whole_drafts(drafts: &[&[u8]]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (stream, draft) in drafts.iter().enumerate() {
        bytes += draft.len();
        match ranges.last_mut() {
            Some(range) if bytes <= MAX_COLUMNS => range.end = stream + 1,
            _ => {
                ranges.push(stream..stream + 1);
                bytes = draft.len();
            }
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_stay_whole() {
        let lengths = |lengths: &[usize]| {
            let drafts: Vec<Vec<u8>> = lengths.iter().map(|&n| vec![0; n]).collect();
            let drafts: Vec<&[u8]> = drafts.iter().map(Vec::as_slice).collect();
            whole_drafts(&drafts)
        };
        assert_eq!(lengths(&[32, 32, 1]), [0..1, 1..2, 2..3]);
        assert_eq!(lengths(&[16, 16, 0, 1, 31, 0, 7]), [0..3, 3..6, 6..7]);
        assert_eq!(lengths(&[0, 0]), std::slice::from_ref(&(0..2)));
        assert!(lengths(&[]).is_empty());
    }

    #[test]
    fn columns_of_a_draft_know_its_start() {
        let columns = Columns::of_drafts(5, &[b"ab", b"", b"cde"]);
        let words = [(5, 0, b'a'), (5, 0, b'b'), (7, 2, b'c'), (7, 2, b'd'), (7, 2, b'e')];
        assert_eq!(columns.words[..columns.len], words.map(|(stream, first, byte)| column(stream, first, byte)));
        let columns = Columns::of_streams(1..3, b"xyz");
        assert_eq!(columns.words[..columns.len], [column(1, 0, b'y'), column(2, 1, b'z')]);
        // The fields do not meet.
        assert_eq!(column(255, 1023, 255), 255 | 1023 << 8 | 255 << 24);
    }
}
