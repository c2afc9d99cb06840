//! A batch of rows, to the GPU and back.

use super::memory::Memory;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::train::Window;

/// Part of a row, from one of its positions.
pub(super) struct Part<'a> {
    pub(super) symbols: &'a [u16],
    next: &'a [u16],
    starts: &'a [u32],
    from: usize,
}

impl<'a> Part<'a> {
    pub(super) fn of(row: &Window<'a>, range: std::ops::Range<usize>) -> Self {
        let length = row.symbols.len();
        let range = range.start.min(length)..range.end.min(length);
        let from = range.start;
        Self { symbols: &row.symbols[range.clone()], next: &row.next[range], starts: row.starts, from }
    }
}

/// Whether a document ends after the last symbol of `window`: what is carried on is the zero state then.
pub(super) fn ends(window: &Window<'_>) -> bool {
    window.starts.last().is_some_and(|&start| start as usize >= window.symbols.len())
}

/// Positions in the order of their symbols, those of one in their own; and where each symbol's begin, with the end.
fn by_symbol(symbols: &[u16], vocabulary: usize) -> (Vec<u32>, Vec<u32>) {
    let mut start = vec![0u32; vocabulary + 1];
    symbols.iter().for_each(|&symbol| start[usize::from(symbol) + 1] += 1);
    for symbol in 0..vocabulary {
        start[symbol + 1] += start[symbol];
    }
    let (mut next, mut order) = (start.clone(), vec![0; symbols.len()]);
    for (position, &symbol) in symbols.iter().enumerate() {
        let at = &mut next[usize::from(symbol)];
        order[*at as usize] = position as u32;
        *at += 1;
    }
    (order, start)
}

impl Memory {
    /// After the windows were read: what the rows carry is the state then, zero where a document ends with the window.
    pub(super) fn leave(&mut self, device: &Device, windows: &[Window<'_>], size: usize) -> Result<(), CudaError> {
        for (index, _) in windows.iter().enumerate().filter(|(_, window)| ends(window)) {
            let mut row = self.after.slice_mut(index * size..(index + 1) * size);
            device.stream().memset_zeros(&mut row)?;
        }
        std::mem::swap(&mut self.before, &mut self.after);
        Ok(())
    }

    /// Uploads a batch's text: rows that are missing or shorter are filled up with zeros, which nothing before them sees.
    pub(super) fn enter(&mut self, device: &Device, len: usize, rows: &[Part<'_>]) -> Result<(), CudaError> {
        let size = self.symbols.len();
        let (mut symbols, mut next, mut age) = (vec![0; size], vec![0; size], vec![255; size]);
        for (index, row) in rows.iter().enumerate() {
            let at = index * len;
            symbols[at..at + row.symbols.len()].copy_from_slice(row.symbols);
            next[at..at + row.next.len()].copy_from_slice(row.next);
            let starts = row.starts.iter().map(|&s| s as usize).filter(|&s| (row.from..row.from + len).contains(&s));
            for start in starts {
                let rest = &mut age[at + start - row.from..at + len];
                rest.iter_mut().enumerate().for_each(|(distance, age)| *age = distance.min(255) as u8);
            }
        }
        let stream = device.stream();
        if self.start.len() > 1 {
            let (order, start) = by_symbol(&symbols, self.start.len() - 1);
            stream.memcpy_htod(&order, &mut self.order)?;
            stream.memcpy_htod(&start, &mut self.start)?;
        }
        stream.memcpy_htod(&symbols, &mut self.symbols)?;
        stream.memcpy_htod(&next, &mut self.next)?;
        stream.memcpy_htod(&age, &mut self.age)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_sorted_by_symbol() {
        let (order, start) = by_symbol(&[3, 0, 3, 2, 0, 3], 5);
        assert_eq!(order, [1, 4, 3, 0, 2, 5]);
        assert_eq!(start, [0, 2, 2, 3, 6, 6]);
        assert_eq!(by_symbol(&[], 2), (vec![], vec![0, 0, 0]));
    }
}
