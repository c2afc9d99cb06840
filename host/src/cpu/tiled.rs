//! A copy of a blob whose matrices are in [tiles](mambabyte_core::tiles), on huge pages.
//!
//! One thread reads 400 MB at 28 GB/s from pages of 2 MB, and at 19 from those of 4 KB that a mapped file has. The
//! source's pages are given back as the copy grows, so that a process never holds the weights twice.

use std::io;
use std::ops::Range;

use mambabyte_core::{Blob, tiles};
use memmap2::{MmapMut, MmapOptions};
use rayon::prelude::*;

use super::memory::Source;

const HUGE_PAGE: usize = 2 << 20;
/// Bytes from which on huge pages are asked for: less is in the nearest caches.
const HUGE_FROM: usize = 4 << 20;

/// The copy.
pub(super) struct TiledCopy {
    map: MmapMut,
    start: usize,
    len: usize,
}

/// What is copied at once: a matrix, or what is between two.
struct Piece<'a> {
    range: Range<usize>,
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
        let from = blob.as_bytes();
        let len = from.len();
        let mut map = MmapOptions::new().len(len + HUGE_PAGE).map_anon()?;
        let start = map.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
        // Whole pages only: half of the last one would be memory for nothing. A system without huge pages says no, and
        // the copy is as good without them.
        #[cfg(target_os = "linux")]
        if len >= HUGE_FROM {
            let _ = map.advise_range(memmap2::Advice::HugePage, start, len / HUGE_PAGE * HUGE_PAGE);
        }
        let copy = |piece: Piece<'_>| {
            let Some(from) = from.get(piece.range.clone()) else { return };
            tiles::tile(from, piece.columns, piece.to);
            source.release(piece.range);
        };
        let pieces = pieces(blob, map.get_mut(start..start + len).unwrap_or(&mut []));
        // A small blob is copied sooner than a pool of threads starts.
        if len < HUGE_FROM {
            pieces.into_iter().for_each(copy);
        } else {
            pieces.into_par_iter().for_each(copy);
        }
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
    let mut add = |range: Range<usize>, columns| {
        let all = std::mem::take(&mut to);
        if let Some((to_piece, rest)) = all.split_at_mut_checked(range.len()) {
            pieces.push(Piece { range, columns, to: to_piece });
            to = rest;
        }
    };
    let mut end = 0;
    for (at, rows, columns) in tiles::matrices(blob) {
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
    use std::sync::Mutex;

    struct Recorded(AlignedBytes, Mutex<Vec<Range<usize>>>);

    impl AsRef<[u8]> for Recorded {
        fn as_ref(&self) -> &[u8] {
            self.0.as_slice()
        }
    }

    impl Source for Recorded {
        fn release(&self, range: Range<usize>) {
            self.1.lock().unwrap().push(range);
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
            let source = Recorded(AlignedBytes::new(&bytes), Mutex::new(Vec::new()));
            let blob = Blob::parse(source.as_ref()).unwrap();
            let copy = TiledCopy::new(&source, &blob).unwrap();
            let mut want = bytes.clone();
            let mut matrices = 0;
            for (at, rows, columns) in tiles::matrices(&blob) {
                let range = at..at + rows * columns;
                tiles::tile(&bytes[range.clone()], columns, &mut want[range]);
                matrices += 1;
            }
            assert_eq!(matrices, 3 * if dt_rank == 3 { 4 } else { 5 });
            assert!(copy.bytes() == want);
            assert!(want != bytes);
            // Every byte was released, once.
            let mut released = source.1.into_inner().unwrap();
            released.sort_by_key(|r| r.start);
            assert_eq!(released.iter().map(Range::len).sum::<usize>(), bytes.len());
            assert!(released.windows(2).all(|w| w[0].end == w[1].start));
        }
    }
}
