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
        let size = self.bytes.len();
        let (mut bytes, mut next, mut age) = (vec![0; size], vec![0; size], vec![255; size]);
        for (index, row) in rows.iter().enumerate() {
            let at = index * len;
            let narrow = |to: &mut [u8], from: &[u16]| to.iter_mut().zip(from).for_each(|(to, &from)| *to = from as u8);
            narrow(&mut bytes[at..at + len], row.symbols);
            narrow(&mut next[at..at + len], row.next);
            let starts = row.starts.iter().map(|&s| s as usize).filter(|&s| (row.from..row.from + len).contains(&s));
            for start in starts {
                let rest = &mut age[at + start - row.from..at + len];
                rest.iter_mut().enumerate().for_each(|(distance, age)| *age = distance.min(255) as u8);
            }
        }
        let stream = device.stream();
        stream.memcpy_htod(&bytes, &mut self.bytes)?;
        stream.memcpy_htod(&next, &mut self.next)?;
        stream.memcpy_htod(&age, &mut self.age)?;
        Ok(())
    }
}
