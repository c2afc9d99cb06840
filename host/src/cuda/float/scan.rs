//! Launches `kernels/scan.cu`: the selective scan over many bytes.

use std::fmt::Display;

use super::buffer::Element;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::kernels::{Kernel, Launch, SCAN};
use crate::cuda::layout::kernel_struct;

const THREADS: usize = 128;
/// A segment of a split row is a multiple of this many steps, and so a whole number of tiles of every variant.
const SEGMENT: usize = 64;
/// More segments cost more than they gain: every block of the second launch chains the states before its own.
const MOST_SEGMENTS: usize = 17;

/// What is scanned: `batch` rows of up to `seq_len` steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScanShape {
    pub(crate) batch: usize,
    pub(crate) seq_len: usize,
    /// Channels, a multiple of 8.
    pub(crate) d_inner: usize,
    pub(crate) d_state: usize,
    pub(crate) tied: bool,
    pub(crate) element: Element,
}

impl Display for ScanShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { batch, seq_len, d_inner, d_state, .. } = self;
        write!(f, "{batch} rows x {d_inner} channels x {seq_len} steps, {d_state} states, {:?}", self.element)
    }
}

/// A compiled form of the kernel: `lanes` to a channel with `states` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variant {
    element: Element,
    lanes: usize,
    states: usize,
    free: &'static str,
    tied: &'static str,
}

macro_rules! variants {
    ($($element:ident $type:literal $lanes:literal $states:literal),*) => {
        [$(Variant {
            element: Element::$element,
            lanes: $lanes,
            states: $states,
            free: concat!("scan_", $type, "_q", $lanes, "_ns", $states),
            tied: concat!("scan_", $type, "_q", $lanes, "_ns", $states, "_tied"),
        }),*]
    };
}

/// Every kernel of scan.cu; of two for the same number of states, the one for many channels first.
const VARIANTS: [Variant; 10] = variants![
    Bf16 "bf16" 2 4, Bf16 "bf16" 4 2, Bf16 "bf16" 2 8, Bf16 "bf16" 4 4, Bf16 "bf16" 8 4, Bf16 "bf16" 8 8,
    F32 "float" 4 2, F32 "float" 4 4, F32 "float" 8 4, F32 "float" 8 8
];

impl Variant {
    const fn channels(&self) -> usize {
        THREADS / self.lanes
    }

    /// Bytes of `Scan::Shared`: the same sums as in scan.cu.
    const fn shared(&self) -> usize {
        let (channels, tile, states) = (self.channels(), 8 * self.lanes, self.lanes * self.states);
        let four = 4 * self.element.bytes();
        let step = tile / 2 * (channels + 8) * 16;
        let selection = tile * 2 * states * 4;
        let y = tile * (channels + 32 / self.lanes) * 4;
        let copies = 3 * 2 * 2 + 2 + (tile * 2 * states / 4).div_ceil(THREADS);
        2 * (step + selection + y) + copies * THREADS * four
    }
}

/// How a shape is launched. A function of the shape alone, so that numbers agree between GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    variant: Variant,
    /// 1, or at least 3.
    pub(crate) segments: usize,
    seg_steps: usize,
    tiles: usize,
}

impl ScanShape {
    /// # Errors
    /// [`CudaError::Shape`] names the dimension.
    pub(crate) fn validate(&self) -> Result<(), CudaError> {
        let limits = [
            ("batch", self.batch, 65_535),
            ("seq_len", self.seq_len, 1 << 24),
            ("d_inner", self.d_inner, 1 << 20),
            ("d_state", self.d_state, 64),
        ];
        for (name, found, limit) in limits {
            if found > limit || found == 0 {
                return Err(CudaError::Shape { name, found, limit });
            }
        }
        if !self.d_inner.is_multiple_of(8) {
            return Err(CudaError::Shape { name: "d_inner % 8", found: self.d_inner % 8, limit: 0 });
        }
        Ok(())
    }

    /// Chooses by measurement (`PERFORMANCE.md`): two lanes a channel if all rows together have at least 12,288
    /// channels; else four, and time is split until there are about 256 blocks. More than 16 states take eight lanes.
    pub(crate) fn plan(&self) -> Plan {
        let fits = |v: &&Variant| v.element == self.element && v.lanes * v.states >= self.d_state;
        let least = VARIANTS.iter().filter(fits).map(|v| v.lanes * v.states).min().unwrap_or(64);
        let mut candidates = VARIANTS.iter().filter(|v| v.element == self.element && v.lanes * v.states == least);
        let (many, few) = (candidates.next(), candidates.next());
        let wide = self.batch * self.d_inner >= 12_288;
        let variant = *few.filter(|_| !wide).or(many).unwrap_or(&VARIANTS[0]);
        let tiles = self.d_inner.div_ceil(variant.channels());
        let blocks = self.batch * tiles;
        let mut segments = 1;
        if blocks < 120 {
            segments = (1 + (256 + blocks / 2) / blocks).min(MOST_SEGMENTS).min(self.seq_len / 256);
        }
        if segments < 3 {
            segments = 1;
        }
        self.planned(variant, segments, tiles)
    }

    fn planned(&self, variant: Variant, segments: usize, tiles: usize) -> Plan {
        let seg_steps = self.seq_len.div_ceil(segments).next_multiple_of(SEGMENT);
        // Rounding up may leave the last segments empty.
        let segments = if segments > 1 { self.seq_len.div_ceil(seg_steps).max(3) } else { 1 };
        Plan { variant, segments, seg_steps, tiles }
    }

    /// The plan with another number of segments.
    #[cfg(test)]
    pub(crate) fn plan_split(&self, segments: usize) -> Plan {
        let plan = self.plan();
        self.planned(plan.variant, if segments < 3 { 1 } else { segments }, plan.tiles)
    }

    /// Elements of workspace that a plan of `segments` segments needs: states of the segments, and sums of delta.
    pub(crate) fn workspace(&self, segments: usize) -> (usize, usize) {
        let planes = self.batch * self.d_inner * (segments - 1);
        (planes * self.d_state, planes)
    }
}

impl Plan {
    pub(crate) fn launch(&self, batch: usize) -> Launch {
        let grid = (self.tiles as u32, batch as u32, (self.segments - 1).max(1) as u32);
        Launch { grid, block: THREADS as u32, shared: self.variant.shared() as u32, cooperative: false }
    }
}

kernel_struct! {
    /// Parameters of the kernel. Addresses and leading dimensions as `scan.cu` says.
    pub(crate) struct ScanArgs = "ScanArgs" in "scan.cu" {
        u: u64,
        delta: u64,
        z: u64,
        b: u64,
        c: u64,
        out: u64,
        a: u64,
        d_skip: u64,
        delta_bias: u64,
        h: u64,
        len: u64,
        /// Of [`ScanShape::workspace`], unused if the plan has one segment.
        seg_h: u64,
        seg_delta: u64,
        ld_u: i32,
        ld_delta: i32,
        ld_z: i32,
        ld_bc: i32,
        ld_out: i32,
        d_inner: i32,
        seq_len: i32,
        n_state: i32,
        seg_steps: i32,
        segments: i32,
        phase: i32,
    }
}

/// The kernels of one model's scan.
#[derive(Debug)]
pub(crate) struct Scan {
    kernels: Vec<(&'static str, Kernel)>,
}

impl Scan {
    /// Loads the kernels for `element`.
    pub(crate) fn load(device: &Device, element: Element, tied: bool) -> Result<Self, CudaError> {
        let mut kernels = Vec::new();
        for v in VARIANTS.iter().filter(|v| v.element == element) {
            let name = if tied { v.tied } else { v.free };
            let kernel = device.kernel(&SCAN, name)?;
            kernel.allow_shared(v.shared())?;
            kernels.push((name, kernel));
        }
        Ok(Self { kernels })
    }

    /// Launches the scan, in one or two launches.
    ///
    /// # Errors
    /// [`CudaError::Shape`], [`CudaError::Launch`].
    ///
    /// # Safety
    /// The addresses of `args` are of buffers of this GPU as long as `shape`, `plan` and the leading dimensions say,
    /// alive until the launch has been made; every row starts at a multiple of 16 bytes.
    pub(crate) unsafe fn dispatch(
        &self,
        device: &Device,
        shape: &ScanShape,
        plan: &Plan,
        mut args: ScanArgs,
    ) -> Result<(), CudaError> {
        shape.validate()?;
        let name = if shape.tied { plan.variant.tied } else { plan.variant.free };
        let found = self.kernels.iter().find(|(n, _)| *n == name);
        let missing = CudaError::Kernel { file: SCAN.name, reason: format!("{name} is not loaded") };
        let (_, kernel) = found.ok_or(missing)?;
        args.d_inner = shape.d_inner as i32;
        args.seq_len = shape.seq_len as i32;
        args.n_state = shape.d_state as i32;
        args.seg_steps = plan.seg_steps as i32;
        args.segments = plan.segments as i32;
        for phase in if plan.segments > 1 { 1..3 } else { 0..1 } {
            args.phase = phase;
            // SAFETY: `ScanArgs` is the kernel's struct (a test compares the fields);
            // the caller vouches for the buffers.
            unsafe { kernel.launch(device.stream(), plan.launch(shape.batch), &args, shape) }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(batch: usize, d_inner: usize, seq_len: usize, d_state: usize) -> ScanShape {
        ScanShape { batch, seq_len, d_inner, d_state, tied: false, element: Element::Bf16 }
    }

    /// `sizeof(Scan<...>::Shared)` as nvcc has it.
    #[test]
    fn shared_memory_is_that_of_the_kernel() {
        let sizes = [46_080, 50_176, 48_128, 55_296, 90_112, 131_072, 65_536, 71_680, 112_640, 161_792];
        for (variant, size) in VARIANTS.iter().zip(sizes) {
            assert_eq!(variant.shared(), size, "{}", variant.free);
        }
    }

    #[test]
    fn plans() {
        let name = |s: ScanShape| (s.plan().variant.free, s.plan().segments);
        assert_eq!(name(shape(8, 2048, 8192, 16)), ("scan_bf16_q2_ns8", 1));
        assert_eq!(name(shape(64, 512, 2048, 16)), ("scan_bf16_q2_ns8", 1));
        assert_eq!(name(shape(8, 512, 8192, 16)), ("scan_bf16_q4_ns4", 1));
        assert_eq!(name(shape(1, 2048, 8192, 16)), ("scan_bf16_q4_ns4", 5));
        assert_eq!(name(shape(1, 3584, 65_536, 9)), ("scan_bf16_q4_ns4", 3));
        assert_eq!(name(shape(1, 512, 65_536, 8)), ("scan_bf16_q4_ns2", 17));
        assert_eq!(name(shape(1, 512, 500, 16)), ("scan_bf16_q4_ns4", 1));
        assert_eq!(name(shape(1, 64, 65_536, 17)), ("scan_bf16_q8_ns4", 17));
        assert_eq!(name(shape(9, 4096, 1, 64)), ("scan_bf16_q8_ns8", 1));
        let f32 = ScanShape { element: Element::F32, ..shape(8, 2048, 8192, 1) };
        assert_eq!(name(f32), ("scan_float_q4_ns2", 1));
    }

    #[test]
    fn segments_cover_the_row_and_none_but_the_last_is_short() {
        for seq_len in [1, 63, 64, 65, 767, 768, 769, 8192, 65_535, 65_536, 65_537] {
            for segments in [1, 2, 3, 5, 17] {
                let plan = shape(1, 64, seq_len, 16).plan_split(segments);
                assert!(plan.seg_steps.is_multiple_of(SEGMENT) && plan.segments * plan.seg_steps >= seq_len);
                assert!(plan.segments == 1 || plan.segments >= 3);
                assert!(plan.segments <= 3 || (plan.segments - 1) * plan.seg_steps < seq_len);
                assert_eq!(plan.launch(1).grid.2, (plan.segments as u32 - 1).max(1));
            }
        }
    }

    #[test]
    fn refused_shapes_name_the_dimension() {
        for (shape, name) in [
            (shape(65_536, 8, 1, 1), "batch"),
            (shape(1, 8, 0, 1), "seq_len"),
            (shape(1, 12, 1, 1), "d_inner % 8"),
            (shape(1, 8, 1, 65), "d_state"),
        ] {
            assert!(shape.validate().unwrap_err().to_string().starts_with(name));
        }
        assert!(shape(1, 8, 1, 1).validate().is_ok());
    }
}
