//! The bytes of a call, as kernels want them.

/// The bytes of a call, row after row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) tokens: Vec<u8>,
    /// First token of each row, and the end.
    pub(super) starts: Vec<i32>,
    /// Row of each token.
    pub(super) row_of: Vec<i32>,
    /// Last token of each row that has one.
    pub(super) last: Vec<i32>,
}

impl Batch {
    pub(super) fn new(rows: &[&[u8]]) -> Self {
        let mut batch = Self { starts: vec![0], ..Self::default() };
        for (row, bytes) in rows.iter().enumerate() {
            batch.tokens.extend_from_slice(bytes);
            batch.row_of.extend(std::iter::repeat_n(row as i32, bytes.len()));
            let end = batch.tokens.len() as i32;
            batch.starts.push(end);
            if !bytes.is_empty() {
                batch.last.push(end - 1);
            }
        }
        batch
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_ragged() {
        let batch = Batch::new(&[b"ab", b"", b"cde"]);
        assert_eq!(batch.tokens, b"abcde");
        assert_eq!(batch.starts, [0, 2, 2, 5]);
        assert_eq!(batch.row_of, [0, 0, 2, 2, 2]);
        assert_eq!(batch.last, [1, 4]);
        assert_eq!(batch.len(), 5);
    }
}
