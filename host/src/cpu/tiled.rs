//! A copy of a blob whose matrices are in [tiles](mambabyte_core::tiles), on huge pages.
//!
//! One thread reads 400 MB at 28 GB/s from pages of 2 MB, and at 19 from those of 4 KB that a mapped file has. The
//! source's pages are given back before the copy grows and the file is read in pieces, so that a process that maps its
//! blob does not hold the weights twice (Linux; elsewhere the system decides when it takes a map's pages).

use std::io;
use std::ops::Range;

use mambabyte_core::blob::matrices;
use mambabyte_core::{Blob, tiles};
use memmap2::{MmapMut, MmapOptions};
use rayon::prelude::*;

use super::source::Source;

const HUGE_PAGE: usize = 2 << 20;
/// From this many bytes on, huge pages are asked for: less fits the nearest caches.
const HUGE_FROM: usize = 4 << 20;

/// The copy.
pub(super) struct TiledCopy {
    map: MmapMut,
    start: usize,
    len: usize,
}

/// Bytes of a line of the cache, and of a tile.
const LINE: usize = 64;
/// Approximate number of bytes that are copied at a time.
const PIECE: usize = 64 << 10;

/// What is copied at a time: panels of a matrix, or bytes between two matrices.
struct Piece<'a> {
    at: usize,
    /// 0 for what has no tiles.
    columns: usize,
    to: &'a mut [u8],
}

impl TiledCopy {
    /// Of `blob`, the bytes of `source`.
    ///
    /// # Errors
    /// What the system says if it has no memory.
    pub(super) fn new(source: &dyn Source, blob: &Blob<'_>) -> io::Result<Self> {
        let len = blob.as_bytes().len();
        let mut map = MmapOptions::new().len(len + HUGE_PAGE).map_anon()?;
        let page = map.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE - LINE);
        // The first matrix begins at a line of the cache: a tile on two lines is two reads.
        let first = matrices(blob).next().map_or(0, |(at, ..)| at);
        let start = page + first.wrapping_neg() % LINE;
        // Whole pages only: half of the last one would be memory for nothing. A system without huge pages refuses, and
        // the copy works without them.
        #[cfg(target_os = "linux")]
        if len >= HUGE_FROM {
            let _ = map.advise_range(memmap2::Advice::HugePage, page, len / HUGE_PAGE * HUGE_PAGE);
        }
        source.release();
        let copy = |memory: &mut Vec<u8>, piece: Piece<'_>| {
            if !tiles::fits(piece.columns) {
                return source.read(piece.at, piece.to);
            }
            memory.resize(piece.to.len(), 0);
            source.read(piece.at, memory)?;
            tiles::tile(memory, piece.columns, piece.to);
            Ok(())
        };
        let mut pieces = pieces(blob, map.get_mut(start..start + len).unwrap_or(&mut []));
        // A small blob is copied before a pool of threads would have started.
        if len < HUGE_FROM {
            let mut memory = Vec::new();
            pieces.drain(..).try_for_each(|piece| copy(&mut memory, piece))?;
        } else {
            pieces.into_par_iter().try_for_each_init(Vec::new, copy)?;
        }
        // The pages that were read to find the matrices.
        source.release();
        Ok(Self { map, start, len })
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.map.get(self.start..self.start + self.len).unwrap_or(&[])
    }
}

/// All bytes of a blob, one after the other.
fn pieces<'a>(blob: &Blob<'_>, mut to: &'a mut [u8]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut add = |range: Range<usize>, columns: usize| {
        let panel = (tiles::PANEL * columns).max(1);
        let step = PIECE.next_multiple_of(panel);
        for start in range.clone().step_by(step) {
            let all = std::mem::take(&mut to);
            if let Some((to_piece, rest)) = all.split_at_mut_checked(step.min(range.end - start)) {
                pieces.push(Piece { at: start, columns, to: to_piece });
                to = rest;
            }
        }
    };
    let mut end = 0;
    for (at, rows, columns) in matrices(blob) {
        let matrix = at..at + rows * columns;
        add(end..at, 0);
        end = matrix.end;
        add(matrix, columns);
    }
    add(end..blob.as_bytes().len(), 0);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::AlignedBytes;
    use crate::random_blob::{BlobSpec, Contents, random_blob};
    use mambabyte_core::{Dims, Norm};
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Recorded(AlignedBytes, AtomicUsize);

    impl AsRef<[u8]> for Recorded {
        fn as_ref(&self) -> &[u8] {
            self.0.as_slice()
        }
    }

    impl Source for Recorded {
        fn release(&self) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A file that became shorter.
    struct Short(AlignedBytes);

    impl AsRef<[u8]> for Short {
        fn as_ref(&self) -> &[u8] {
            self.0.as_slice()
        }
    }

    impl Source for Short {
        fn read(&self, _: usize, _: &mut [u8]) -> io::Result<()> {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    #[test]
    fn matrices_are_in_tiles_and_all_else_as_it_was() {
        for (d_model, d_inner, dt_rank) in [(64, 128, 4), (640, 1280, 40), (36, 72, 3)] {
            let dims = Dims {
                d_model,
                n_layer: 3,
                d_inner,
                d_state: 8,
                d_conv: 4,
                dt_rank,
                norm: Norm::Layer,
                tied_head: false,
                tied_decays: false,
            };
            let bytes = random_blob(BlobSpec { dims, contents: Contents::Wild, seed: 5 });
            let source = Recorded(AlignedBytes::new(&bytes), AtomicUsize::new(0));
            let blob = Blob::parse(source.as_ref()).unwrap();
            let copy = TiledCopy::new(&source, &blob).unwrap();
            let mut want = bytes.clone();
            let mut seen = 0;
            for (at, rows, columns) in matrices(&blob) {
                let range = at..at + rows * columns;
                tiles::tile(&bytes[range.clone()], columns, &mut want[range]);
                seen += 1;
            }
            assert_eq!(seen, 3 * if dt_rank == 3 { 4 } else { 5 });
            assert!(copy.bytes() == want);
            assert!(want != bytes);
            assert_eq!(source.1.load(Ordering::Relaxed), 2);
            let short = Short(AlignedBytes::new(&bytes));
            assert_eq!(TiledCopy::new(&short, &blob).err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
