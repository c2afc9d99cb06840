//! Arrays of f32 or bf16 on the GPU.

use cudarc::driver::CudaSlice;

use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// Type of weights and activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Element {
    F32,
    Bf16,
}

impl Element {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// The nearest bf16, ties to even. NaN stays NaN.
pub(crate) const fn to_bf16(v: f32) -> u16 {
    let bits = v.to_bits();
    if v.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// A bf16 in f32, exactly.
#[cfg(test)]
pub(crate) const fn from_bf16(v: u16) -> f32 {
    f32::from_bits((v as u32) << 16)
}

/// An array of either type.
#[derive(Debug)]
pub(crate) enum Buffer {
    F32(CudaSlice<f32>),
    Bf16(CudaSlice<u16>),
}

impl Buffer {
    pub(crate) fn zeros(device: &Device, what: &'static str, len: usize, element: Element) -> Result<Self, CudaError> {
        Ok(match element {
            Element::F32 => Self::F32(device.zeros(what, len)?),
            Element::Bf16 => Self::Bf16(device.zeros(what, len)?),
        })
    }

    /// A copy of `values`, rounded to `element`.
    pub(crate) fn upload(
        device: &Device,
        what: &'static str,
        values: &[f32],
        element: Element,
    ) -> Result<Self, CudaError> {
        Ok(match element {
            Element::F32 => Self::F32(device.upload(what, values)?),
            Element::Bf16 => {
                let rounded: Vec<u16> = values.iter().map(|&v| to_bf16(v)).collect();
                Self::Bf16(device.upload(what, &rounded)?)
            }
        })
    }

    pub(crate) fn address(&self, device: &Device) -> u64 {
        match self {
            Self::F32(s) => device.address(s),
            Self::Bf16(s) => device.address(s),
        }
    }

    /// The values, after all work so far.
    #[cfg(test)]
    pub(crate) fn download(&self, device: &Device) -> Result<Vec<f32>, CudaError> {
        Ok(match self {
            Self::F32(s) => device.stream().clone_dtoh(s)?,
            Self::Bf16(s) => device.stream().clone_dtoh(s)?.into_iter().map(from_bf16).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_nearest_even() {
        assert_eq!(to_bf16(1.0), 0x3f80);
        assert_eq!(to_bf16(f32::from_bits(0x3f80_8000)), 0x3f80); // a tie, to even
        assert_eq!(to_bf16(f32::from_bits(0x3f81_8000)), 0x3f82); // a tie, to even
        assert_eq!(to_bf16(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!(to_bf16(f32::MAX), 0x7f80); // infinity is the nearest
        assert!(from_bf16(to_bf16(f32::NAN)).is_nan());
        assert!(from_bf16(to_bf16(f32::from_bits(0x7f80_0001))).is_nan());
        for bits in 0..=u16::MAX {
            let v = from_bf16(bits);
            assert!(v.is_nan() || to_bf16(v) == bits);
        }
    }
}
