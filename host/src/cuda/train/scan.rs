//! Which form of `kernels/train_scan.cu` a shape takes, and its launches.

use mambabyte_core::Dims;

use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::float::buffer::Element;
use crate::cuda::kernels::{Kernel, Launch, TRAIN_SCAN};

/// Blocks of eight warps are chosen if there are at least so many; else there are more blocks, of four.
const BLOCKS: usize = 120;

/// A form of the kernel: `lanes` to a channel with `states` each, `warps` a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variant {
    element: Element,
    lanes: usize,
    states: usize,
    warps: usize,
    /// Names: forward and back, of free and of tied decays.
    names: [[&'static str; 2]; 2],
}

macro_rules! variants {
    ($($element:ident $type:literal $lanes:literal $states:literal $warps:literal),*) => {
        [$(Variant {
            element: Element::$element,
            lanes: $lanes,
            states: $states,
            warps: $warps,
            names: [
                [
                    concat!("train_scan_", $type, "_q", $lanes, "_ns", $states, "_w", $warps),
                    concat!("train_scan_back_", $type, "_q", $lanes, "_ns", $states, "_w", $warps),
                ],
                [
                    concat!("train_scan_", $type, "_q", $lanes, "_ns", $states, "_w", $warps, "_tied"),
                    concat!("train_scan_back_", $type, "_q", $lanes, "_ns", $states, "_w", $warps, "_tied"),
                ],
            ],
        }),*]
    };
}

/// Every form; of two for the same states, the one with larger blocks first.
const VARIANTS: [Variant; 10] = variants![
    Bf16 "bf16" 2 4 8, Bf16 "bf16" 2 4 4, Bf16 "bf16" 4 4 8, Bf16 "bf16" 4 4 4, Bf16 "bf16" 8 4 4, Bf16 "bf16" 8 8 4,
    F32 "float" 2 4 4, F32 "float" 4 4 4, F32 "float" 8 4 4, F32 "float" 8 8 4
];

impl Variant {
    const fn padded(&self) -> usize {
        self.lanes * self.states
    }

    /// Steps of a tile.
    const fn tile(&self) -> usize {
        32 / self.states
    }

    /// Channels of a block.
    const fn channels(&self) -> usize {
        32 * self.warps / self.lanes
    }

    /// Bytes of `TrainScan::Forward` and `Back`: the same sums as in the source.
    const fn shared(&self) -> [usize; 2] {
        let (channels, tile, states) = (self.channels(), self.tile(), 2 * self.padded());
        let (elements, threads) = (tile * channels, 32 * self.warps);
        let slots = 2 * elements * self.element.bytes();
        let sums = 2 * threads / (channels / 4) * channels;
        let forward = 4 * (2 * channels + 3 * elements + 2 * tile * states) + 3 * slots;
        let back =
            4 * (2 * channels + sums + 5 * elements + 2 * tile * states + self.warps * tile * states) + 5 * slots;
        [forward, back]
    }
}

/// The scan of one shape of batch.
#[derive(Debug)]
pub(super) struct Scan {
    variant: Variant,
    forward: Kernel,
    back: Kernel,
    grid: (u32, u32, u32),
}

/// Memory that a shape needs, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// States before the tiles of one layer.
    pub(super) checkpoints: usize,
    /// Planes of the gradients of B and C, and states in them.
    pub(super) planes: usize,
    pub(super) padded: usize,
}

fn choose(element: Element, dims: &Dims, batch: usize) -> Variant {
    let fits = |v: &&Variant| v.element == element && v.padded() >= dims.d_state;
    let least = VARIANTS.iter().filter(fits).map(Variant::padded).min().unwrap_or(64);
    let mut of_size = VARIANTS.iter().filter(|v| v.element == element && v.padded() == least);
    let (large, small) = (of_size.next(), of_size.next());
    let many = large.is_some_and(|v| batch * dims.d_inner.div_ceil(v.channels()) >= BLOCKS);
    *small.filter(|_| !many).or(large).unwrap_or(&VARIANTS[0])
}

impl Scan {
    /// # Errors
    /// [`CudaError::Shape`] for what no form holds.
    pub(super) fn load(device: &Device, element: Element, dims: &Dims, batch: usize) -> Result<Self, CudaError> {
        let limits = [("batch", batch, 65_535), ("d_state", dims.d_state, 64)];
        if let Some((name, found, limit)) = limits.into_iter().find(|(_, found, limit)| found > limit) {
            return Err(CudaError::Shape { name, found, limit });
        }
        let variant = choose(element, dims, batch);
        let [forward, back] = variant.names[usize::from(dims.tied_decays)];
        let (forward, back) = (device.kernel(&TRAIN_SCAN, forward)?, device.kernel(&TRAIN_SCAN, back)?);
        let [shared, shared_back] = variant.shared();
        forward.allow_shared(shared)?;
        back.allow_shared(shared_back)?;
        let grid = (dims.d_inner.div_ceil(variant.channels()) as u32, batch as u32, 1);
        Ok(Self { variant, forward, back, grid })
    }

    pub(super) const fn sizes(&self, seq_len: usize) -> Sizes {
        let padded = self.variant.padded();
        let tiles = seq_len.div_ceil(self.variant.tile());
        let (planes, batch) = (self.grid.0 as usize, self.grid.1 as usize);
        Sizes { checkpoints: batch * tiles * planes * self.variant.channels() * padded, planes, padded }
    }

    pub(super) const fn forward(&self) -> (&Kernel, Launch) {
        (&self.forward, self.launch(self.variant.shared()[0]))
    }

    pub(super) const fn back(&self) -> (&Kernel, Launch) {
        (&self.back, self.launch(self.variant.shared()[1]))
    }

    const fn launch(&self, shared: usize) -> Launch {
        Launch { grid: self.grid, block: 32 * self.variant.warps as u32, shared: shared as u32, cooperative: false }
    }
}

#[cfg(test)]
mod tests {
    use mambabyte_core::Norm;

    use super::*;

    fn dims(d_inner: usize, d_state: usize) -> Dims {
        let (norm, tied_head, tied_decays) = (Norm::Rms, true, false);
        Dims { d_model: 64, n_layer: 1, d_inner, d_state, d_conv: 4, dt_rank: 4, norm, tied_head, tied_decays }
    }

    #[test]
    fn every_form_is_in_the_source_and_every_shape_has_one() {
        let source = include_str!("../kernels/train_scan.cu");
        for v in VARIANTS {
            let kind = if v.element == Element::F32 { "float" } else { "bf16" };
            assert!(source.contains(&format!("BOTH({kind}, {}, {}, {})", v.lanes, v.states, v.warps)));
            // Sixteen warps are resident.
            let blocks = 16 / v.warps;
            assert!(blocks * (v.shared()[1] + 1024) <= 233_472, "{v:?} takes {:?}", v.shared());
        }
        assert_eq!(source.matches("\nBOTH(").count(), VARIANTS.len());
        for element in [Element::F32, Element::Bf16] {
            for d_state in 1..=64 {
                let v = choose(element, &dims(128, d_state), 8);
                assert!(v.padded() >= d_state && v.element == element);
            }
        }
        assert_eq!(choose(Element::Bf16, &dims(128, 8), 64).warps, 4);
        assert_eq!(choose(Element::Bf16, &dims(256, 8), 64).warps, 8);
    }
}
