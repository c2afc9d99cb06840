//! The core's sampler on the GPU, for float logits from the kernels of prefill (the persistent kernel contains the
//! sampler too). Logits are rounded to the core's units and drawn from as the core does.

use cudarc::driver::CudaSlice;
use mambabyte_core::{Rng, SampleOptions, VOCAB};

use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::exact::{Sample, table_words};
use crate::cuda::kernels::{EXACT, HEAD, Kernel, Launch};
use crate::cuda::layout::kernel_struct;

kernel_struct! {
    /// Parameters of `logit_units`.
    pub(crate) struct UnitsArgs = "UnitsArgs" in "head.cu" { logits: u64, units: u64, n: i32 }
}

/// The kernels and their tables.
pub(super) struct Sampler {
    units: Kernel,
    sample: Kernel,
    tables: CudaSlice<u16>,
}

/// The draws of one call.
pub(super) struct Draws {
    options: SampleOptions,
    rows: usize,
    count: usize,
    units: CudaSlice<i32>,
    rng: CudaSlice<u64>,
    /// `[count, rows]`.
    out: CudaSlice<u8>,
    step: CudaSlice<u32>,
}

impl Sampler {
    /// # Errors
    /// [`CudaError::Kernel`], [`CudaError::OutOfMemory`].
    pub(super) fn load(device: &Device) -> Result<Self, CudaError> {
        Ok(Self {
            units: device.kernel(&HEAD, "logit_units")?,
            sample: device.kernel(&EXACT, "exact_sample")?,
            tables: device.upload("tables of the sampler", &table_words())?,
        })
    }

    /// Memory for `count` bytes of each row.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`].
    pub(super) fn begin(
        &self,
        device: &Device,
        count: usize,
        rngs: &[Rng],
        options: &SampleOptions,
    ) -> Result<Draws, CudaError> {
        let (what, rows) = ("decoded bytes", rngs.len());
        Ok(Draws {
            options: *options,
            rows,
            count,
            units: device.zeros(what, rows * VOCAB)?,
            rng: device.upload(what, &rngs.iter().map(Rng::state).collect::<Vec<u64>>())?,
            out: device.zeros(what, rows * count)?,
            step: device.zeros(what, rows)?,
        })
    }

    /// Launches one draw of each row into `tokens`.
    ///
    /// # Errors
    /// [`CudaError::Launch`].
    ///
    /// # Safety
    /// `logits` is f32 `[rows, 256]`, `tokens` u8 `[rows]`, both alive until the launches have been made; at most as
    /// many draws as [`Sampler::begin`] was told.
    pub(super) unsafe fn draw(
        &self,
        device: &Device,
        draws: &Draws,
        logits: u64,
        tokens: u64,
    ) -> Result<(), CudaError> {
        let n = draws.rows * VOCAB;
        let units = UnitsArgs { logits, units: device.address(&draws.units), n: n as i32 };
        let sample = Sample {
            logits: units.units,
            tables: device.address(&self.tables),
            rng: device.address(&draws.rng),
            tokens,
            out: device.address(&draws.out),
            step: device.address(&draws.step),
            rows: draws.rows as u32,
            ..Sample::of(&draws.options)
        };
        let shape = format_args!("{} rows", draws.rows);
        let blocks = |threads: u32| Launch::new((draws.rows as u32, 1, 1), threads);
        // SAFETY: a thread for each logit, a warp for each row; the rest as the caller promises.
        unsafe {
            self.units.launch(device.stream(), blocks(VOCAB as u32), &units, &shape)?;
            self.sample.launch(device.stream(), blocks(32), &sample, &shape)
        }
    }

    /// What was drawn, row after row; `rngs` move by these draws.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn finish(&self, device: &Device, draws: &Draws, rngs: &mut [Rng]) -> Result<Vec<Vec<u8>>, CudaError> {
        let out = device.stream().clone_dtoh(&draws.out.slice(..draws.count * draws.rows))?;
        let states = device.stream().clone_dtoh(&draws.rng)?;
        device.synchronize()?;
        rngs.iter_mut().zip(states).for_each(|(rng, state)| *rng = Rng::new(state));
        Ok((0..draws.rows).map(|row| out.iter().skip(row).step_by(draws.rows).copied().collect()).collect())
    }
}
