//! A tensor still in its file: borrowed bytes and a checked way to walk them.
//!
//! Nothing is converted until it is asked for, so a model of several gigabytes never exists twice in memory. A
//! [`RawTensor`] can only be made through [`RawTensor::new`], which proves that every element it can name lies inside
//! its bytes; reading one afterwards cannot fail.

use std::fmt;
use std::ops::Range;

use half::{bf16, f16};
use thiserror::Error;

/// Element types that become f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// IEEE binary64, rounded to nearest on the way in.
    F64,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::F64 => "f64",
        })
    }
}

impl Dtype {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::F32 => 4,
            Dtype::F64 => 8,
        }
    }
}

/// Why a shape does not fit its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The product of the shape, or of shape and strides, is larger than any file.
    #[error("its sizes overflow")]
    Overflow,
    /// More axes than any weight has.
    #[error("it has {found} axes, at most 8 are read")]
    Rank {
        /// Axes in the file.
        found: usize,
    },
    /// Shape and strides differ in length.
    #[error("it has {sizes} sizes but {strides} strides")]
    Strides {
        /// Length of the shape.
        sizes: usize,
        /// Length of the strides.
        strides: usize,
    },
    /// The last element lies beyond the storage.
    #[error("it needs {need} bytes of storage, there are {have}")]
    OutOfBounds {
        /// Bytes that the shape, strides and offset reach.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// Some elements are read twice (a broadcast view); such a tensor could be far larger than its file.
    #[error("it is a broadcast view: {elements} elements of a storage of {stored}")]
    Broadcast {
        /// Elements of the shape.
        elements: usize,
        /// Elements of the storage.
        stored: usize,
    },
}

const MAX_AXES: usize = 8;

/// What a file has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Weights.
    Tensor(RawTensor<'a>),
    /// Something that is no tensor of floats, in words: a counter, a buffer of integers.
    Other(String),
}

impl<'a> Entry<'a> {
    /// The tensor, if it is one.
    pub fn tensor(&self) -> Option<&RawTensor<'a>> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            Self::Other(_) => None,
        }
    }
}

/// Dtype, shape and strides over borrowed little-endian bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    /// In elements, like `shape`.
    strides: Vec<usize>,
    elements: usize,
    /// Starts at the first element.
    bytes: &'a [u8],
}

impl<'a> RawTensor<'a> {
    /// Checks a view of `storage`; `offset` and `strides` count elements, no strides mean row-major.
    ///
    /// # Errors
    /// [`ViewError`] if an element would lie outside `storage` or there are more elements than stored ones.
    pub fn new(
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Option<Vec<usize>>,
        offset: usize,
        storage: &'a [u8],
    ) -> Result<Self, ViewError> {
        if shape.len() > MAX_AXES {
            return Err(ViewError::Rank { found: shape.len() });
        }
        let elements = shape.iter().try_fold(1_usize, |n, &s| n.checked_mul(s)).ok_or(ViewError::Overflow)?;
        let strides = match strides {
            Some(strides) if strides.len() != shape.len() => {
                return Err(ViewError::Strides { sizes: shape.len(), strides: strides.len() });
            }
            Some(strides) => strides,
            None => row_major(&shape),
        };
        let stored = storage.len() / dtype.size();
        if elements > stored {
            return Err(ViewError::Broadcast { elements, stored });
        }
        let start = offset.checked_mul(dtype.size()).ok_or(ViewError::Overflow)?;
        if elements > 0 {
            let reach = |n: usize, (&size, &stride): (&usize, &usize)| (size - 1).checked_mul(stride)?.checked_add(n);
            let last = shape.iter().zip(&strides).try_fold(offset, reach).ok_or(ViewError::Overflow)?;
            let need = last.checked_add(1).and_then(|n| n.checked_mul(dtype.size())).ok_or(ViewError::Overflow)?;
            if need > storage.len() {
                return Err(ViewError::OutOfBounds { need, have: storage.len() });
            }
        }
        let bytes = storage.get(start..).unwrap_or_default();
        Ok(Self { dtype, shape, strides, elements, bytes })
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Element type in the file.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Whether both are the same bytes of the same file.
    pub(super) fn is_view_of(&self, other: &Self) -> bool {
        std::ptr::eq(self.bytes, other.bytes) && self.shape == other.shape && self.strides == other.strides
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Elements `range` in row-major order, as f32; fewer if there are fewer.
    ///
    /// f16 and bf16 convert exactly, f64 rounds to nearest (and to infinity beyond the range of f32).
    pub fn to_f32(&self, range: Range<usize>) -> Vec<f32> {
        let Range { start, end } = range.start.min(self.elements)..range.end.min(self.elements);
        if start >= end {
            Vec::new()
        } else if self.is_row_major() {
            let size = self.dtype.size();
            decode(self.dtype, self.bytes.get(start * size..end * size).unwrap_or_default())
        } else {
            let mut all = self.gather(end);
            all.drain(..start);
            all
        }
    }

    /// The same elements in another shape with axes of size 1 elsewhere; `None` if it is another shape.
    pub(super) fn with_shape(&self, shape: &[usize]) -> Option<Self> {
        let squeezed = |shape: &[usize]| shape.iter().copied().filter(|&n| n != 1).collect::<Vec<_>>();
        let mut strides =
            self.shape.iter().zip(&self.strides).filter(|(size, _)| **size != 1).map(|(_, stride)| *stride);
        (squeezed(shape) == squeezed(&self.shape)).then(|| Self {
            shape: shape.to_vec(),
            strides: shape.iter().map(|&size| if size == 1 { 1 } else { strides.next().unwrap_or(1) }).collect(),
            ..self.clone()
        })
    }

    /// Row-major, whatever the strides of axes of size 1 claim.
    fn is_row_major(&self) -> bool {
        let canonical = row_major(&self.shape);
        self.shape.iter().zip(&self.strides).zip(&canonical).all(|((&size, found), want)| size == 1 || found == want)
    }

    /// Counts through the indices like an odometer; `new` has bounded every position.
    fn gather(&self, count: usize) -> Vec<f32> {
        let size = self.dtype.size();
        let mut index = vec![0_usize; self.shape.len()];
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            let position: usize = index.iter().zip(&self.strides).map(|(&i, &stride)| i * stride).sum();
            let element = self.bytes.get(position * size..(position + 1) * size).unwrap_or_default();
            out.extend(decode(self.dtype, element));
            for (i, &limit) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < limit {
                    break;
                }
                *i = 0;
            }
        }
        out
    }
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        // Saturation only happens for a tensor with a zero axis, which has no element to find.
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

fn decode(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    fn map<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&element| f(element)).collect()
    }
    match dtype {
        Dtype::F32 => map(bytes, f32::from_le_bytes),
        Dtype::F16 => map(bytes, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::Bf16 => map(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F64 => map(bytes, |b| f64::from_le_bytes(b) as f32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: u8) -> Vec<u8> {
        (0..count).flat_map(|i| f32::from(i).to_le_bytes()).collect()
    }

    #[test]
    fn transposed_and_offset() {
        let storage = bytes(7);
        let tensor = RawTensor::new(Dtype::F32, vec![3, 2], Some(vec![1, 3]), 1, &storage).unwrap();
        assert_eq!(tensor.to_f32(0..usize::MAX), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(tensor.to_f32(1..3), [4., 2.]);
        let plain = RawTensor::new(Dtype::F32, vec![3, 2], None, 1, &storage).unwrap();
        assert_eq!((plain.to_f32(2..4), plain.to_f32(9..12)), (vec![3., 4.], vec![]));
        for moved in [&tensor, &plain] {
            let moved =
                [moved.with_shape(&[3, 1, 2]).unwrap(), moved.with_shape(&[1, 3, 2, 1]).unwrap(), moved.clone()];
            assert!(moved.iter().all(|m| m.to_f32(0..6) == moved[2].to_f32(0..6)));
            assert_eq!(moved[0].with_shape(&[2, 3]), None);
        }
    }

    #[test]
    fn every_dtype() {
        let read = |dtype, bytes: &[u8]| RawTensor::new(dtype, vec![1], None, 0, bytes).unwrap().to_f32(0..1);
        assert_eq!(read(Dtype::F16, &[0x00, 0xbe]), [-1.5]);
        assert_eq!(read(Dtype::Bf16, &[0xc0, 0xbf]), [-1.5]);
        assert_eq!(read(Dtype::F64, &(-1.5_f64).to_le_bytes()), [-1.5]);
    }

    #[test]
    fn refused() {
        let storage = bytes(6);
        let view = |shape: &[usize], strides: &[usize], offset| {
            RawTensor::new(Dtype::F32, shape.to_vec(), Some(strides.to_vec()), offset, &storage).unwrap_err()
        };
        assert_eq!(view(&[2, 3], &[3, 1], 1), ViewError::OutOfBounds { need: 28, have: 24 });
        assert_eq!(view(&[2, 3], &[3], 0), ViewError::Strides { sizes: 2, strides: 1 });
        assert_eq!(view(&[1 << 40], &[0], 0), ViewError::Broadcast { elements: 1 << 40, stored: 6 });
        assert_eq!(view(&[usize::MAX, 2], &[1, 1], 0), ViewError::Overflow);
        assert_eq!(view(&[2], &[usize::MAX], 1), ViewError::Overflow);
        assert_eq!(view(&[1; 9], &[1; 9], 0), ViewError::Rank { found: 9 });
    }
}
