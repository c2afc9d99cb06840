//! Times by events on the GPU: a copy, the scan alone, prefill, decoding and verification of models with random
//! weights.

use std::sync::Arc;

use cudarc::driver::sys::{CUdevice_attribute, CUevent_flags};
use mambabyte_core::{Dims, Norm, Rng, SampleOptions, VOCAB};

use super::float::buffer::{Buffer, Element, to_bf16};
use super::float::gemm::{Blas, Form, Many, Product};
use super::float::scan::{Scan, ScanArgs, ScanShape};
use super::{CudaError, Device, GpuModel};
use crate::engine::Want;
use crate::{Checkpoint, Layer};

/// Numbers for weights and inputs, from the core's generator.
#[derive(Clone, Debug)]
pub struct Numbers(Rng);

impl Numbers {
    /// Equal seeds give equal numbers.
    pub const fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// In `[0, 1)`.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / 16_777_216.0
    }

    /// Mean 0, deviation 1: the sum of twelve uniforms of sixteen bits each is near enough.
    pub fn normal(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..3 {
            let bits = self.next_u64();
            sum += (0..4).map(|i| (bits >> (16 * i) & 0xffff) as f32).sum::<f32>();
        }
        sum / 65_536.0 - 6.0
    }
}

/// A model with the initial values of training: matrices of unit gain, decays 1..N, steps of 0.001 to 0.1.
pub fn random_checkpoint(dims: &Dims, seed: u64) -> Checkpoint {
    let mut random = Numbers::new(seed);
    let mut matrix = |rows: usize, columns: usize, gain: f32| -> Vec<f32> {
        let scale = gain * (12.0 / columns as f32).sqrt();
        (0..rows * columns).map(|_| (random.uniform() - 0.5) * scale).collect()
    };
    let (d, di, n) = (dims.d_model, dims.d_inner, dims.d_state);
    let bias = |m: Vec<f32>| if dims.norm == Norm::Layer { m } else { Vec::new() };
    let layers = (0..dims.n_layer)
        .map(|_| Layer {
            norm: matrix(1, d, 0.1).iter().map(|v| 1.0 + v).collect(),
            norm_bias: bias(matrix(1, d, 1.0)),
            in_proj: matrix(2 * di, d, 1.0),
            conv1d: matrix(di, dims.d_conv, 1.0),
            conv_bias: matrix(1, di, 1.0),
            x_proj: matrix(dims.x_proj_rows(), di, 1.0),
            dt_proj: matrix(di, dims.dt_rank, 0.5),
            dt_bias: matrix(1, di, (di as f32).sqrt()).iter().map(|v| v * 1.3 - 4.5).collect(),
            a_log: (0..di * n).map(|i| ((i % n + 1) as f32).ln()).collect(),
            d_skip: vec![1.0; di],
            out_proj: matrix(d, di, 0.3),
        })
        .collect();
    Checkpoint {
        dims: *dims,
        norm_eps: 1e-5,
        embedding: matrix(VOCAB, d, 1.0),
        layers,
        norm_f: vec![1.0; d],
        norm_f_bias: bias(matrix(1, d, 1.0)),
        head: (!dims.tied_head).then(|| matrix(VOCAB, d, 1.0)),
    }
}

/// Median milliseconds of `runs` runs on the GPU, after two more to warm up.
fn median(device: &Device, runs: usize, mut run: impl FnMut() -> Result<(), CudaError>) -> Result<f32, CudaError> {
    let event = || device.context().new_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
    let (before, after) = (event()?, event()?);
    let mut times = Vec::with_capacity(runs);
    for i in 0..runs + 2 {
        before.record(device.stream())?;
        run()?;
        after.record(device.stream())?;
        device.synchronize()?;
        if i >= 2 {
            times.push(before.elapsed_ms(&after)?);
        }
    }
    times.sort_by(f32::total_cmp);
    Ok(times[times.len() / 2])
}

/// Bytes per second of a device-to-device copy, reads and writes counted.
///
/// # Errors
/// The driver's.
pub fn copy_rate(device: &Device) -> Result<f64, CudaError> {
    const BYTES: usize = 1 << 30;
    let from = device.zeros::<u8>("measuring", BYTES)?;
    let mut to = device.zeros::<u8>("measuring", BYTES)?;
    let ms = median(device, 9, || Ok(device.stream().memcpy_dtod(&from, &mut to)?))?;
    Ok(2.0 * BYTES as f64 / f64::from(ms) * 1e3)
}

/// Operations per second of a large product in bf16, 8192 x 8192 x 8192, of random values.
///
/// # Errors
/// [`CudaError::NoLibrary`], [`CudaError::OutOfMemory`].
pub fn product_rate(device: &Arc<Device>) -> Result<f64, CudaError> {
    const N: usize = 8192;
    let mut random = Numbers::new(2);
    let million: Vec<u16> = (0..1 << 20).map(|_| to_bf16(random.normal())).collect();
    let values = |turn: usize| {
        let all: Vec<u16> = million.iter().cycle().skip(turn).take(N * N).copied().collect();
        device.upload("measuring", &all)
    };
    let (w, x, y) = (values(0)?, values(777)?, device.zeros::<u16>("measuring", N * N)?);
    let e = Element::Bf16;
    let product = Product {
        m: N,
        n: N,
        k: N,
        ld_x: N,
        ld_w: N,
        ld_y: N,
        input: e,
        output: e,
        add: false,
        form: Form::Nt,
        many: Many::ONE,
    };
    let blas = Blas::new(device)?;
    let (w, x, y) = (device.address(&w), device.address(&x), device.address(&y));
    // SAFETY: three matrices of N x N, made above.
    let ms = median(device, 15, || unsafe { blas.run(device, product, w, x, y) })?;
    Ok(2.0 * (N * N * N) as f64 / f64::from(ms) * 1e3)
}

/// Exponentials per second: 16 a clock on each multiprocessor, at the GPU's highest clock.
///
/// # Errors
/// The driver's.
pub fn exponential_rate(device: &Device) -> Result<f64, CudaError> {
    let khz = device.context().attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?;
    Ok(16.0 * f64::from(device.sms()) * f64::from(khz) * 1e3)
}

/// Milliseconds of the scan in bf16 with 16 states, softplus, skip and gate fused; free or tied decays.
///
/// # Errors
/// [`CudaError::OutOfMemory`], the driver's.
pub fn scan(device: &Arc<Device>, batch: usize, d_inner: usize, seq_len: usize, tied: bool) -> Result<f32, CudaError> {
    let shape = ScanShape { batch, seq_len, d_inner, d_state: 16, tied, element: Element::Bf16 };
    let mut random = Numbers::new(1);
    // A million normal values, repeated: random enough, and quickly made.
    let million: Vec<f32> = (0..1 << 20).map(|_| random.normal()).collect();
    let normal = |len: usize, mean: f32, turn: usize| {
        let values: Vec<f32> = million.iter().cycle().skip(turn).take(len.min(1 << 24)).map(|v| v + mean).collect();
        let all: Vec<u16> = values.iter().cycle().take(len).map(|&v| to_bf16(v)).collect();
        Ok::<_, CudaError>(Buffer::Bf16(device.upload("measuring", &all)?))
    };
    let m = batch * seq_len * d_inner;
    let (u, z, delta) = (normal(m, 0.0, 0)?, normal(m, 0.0, 333)?, normal(m, -4.0, 77_777)?);
    let bc = normal(batch * seq_len * 32, 0.0, 5)?;
    let out = Buffer::zeros(device, "measuring", m, Element::Bf16)?;
    let a: Vec<f32> = (0..d_inner * if tied { 1 } else { 16 }).map(|i| -((i % 16 + 1) as f32)).collect();
    let (a, ones) = (device.upload("measuring", &a)?, device.upload("measuring", &vec![1.0f32; d_inner])?);
    let zeros = device.zeros::<f32>("measuring", d_inner)?;
    let h = device.zeros::<f32>("measuring", batch * d_inner * 16)?;
    let len = device.upload("measuring", &vec![seq_len as i32; batch])?;
    let plan = shape.plan();
    let (states, sums) = shape.workspace(plan.segments);
    let (seg_h, seg_delta) = (device.zeros::<f32>("measuring", states)?, device.zeros::<f32>("measuring", sums)?);
    let args = ScanArgs {
        u: u.address(device),
        delta: delta.address(device),
        z: z.address(device),
        b: bc.address(device),
        c: bc.address(device) + 32,
        out: out.address(device),
        a: device.address(&a),
        d_skip: device.address(&ones),
        delta_bias: device.address(&zeros),
        h: device.address(&h),
        len: device.address(&len),
        seg_h: device.address(&seg_h),
        seg_delta: device.address(&seg_delta),
        ld_u: d_inner as i32,
        ld_delta: d_inner as i32,
        ld_z: d_inner as i32,
        ld_bc: 32,
        ld_out: d_inner as i32,
        ..ScanArgs::default()
    };
    let scan = Scan::load(device, Element::Bf16, tied)?;
    // SAFETY: all buffers were made above with the sizes of `shape`, rows are multiples of 16 bytes.
    median(device, 15, || unsafe { scan.dispatch(device, &shape, &plan, args) })
}

/// Milliseconds of prefill, `rows` x `steps` random bytes, state only, uploads included.
///
/// # Errors
/// Those of [`GpuModel::prefill`].
pub fn prefill(model: &GpuModel, rows: usize, steps: usize) -> Result<f32, CudaError> {
    let mut random = Numbers::new(4);
    let texts: Vec<Vec<u8>> = (0..rows).map(|_| (0..steps).map(|_| random.next_u64() as u8).collect()).collect();
    let rows: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    let mut state = model.zero_states(rows.len())?;
    median(model.device(), 7, || model.prefill(&rows, &mut state, Want::Nothing).map(|_| ()))
}

/// Milliseconds of greedy decoding of one byte of each of `rows` streams, measured over `count` bytes in a call.
///
/// # Errors
/// Those of [`GpuModel::decode`].
pub fn decode(model: &GpuModel, rows: usize, count: usize) -> Result<f32, CudaError> {
    let mut state = model.zero_states(rows)?;
    let (mut last, mut rngs) = (vec![b'a'; rows], vec![Rng::new(1); rows]);
    let ms = median(model.device(), 5, || {
        model.decode(count, &mut last, &mut rngs, &SampleOptions::GREEDY, &mut state).map(|_| ())
    })?;
    Ok(ms / count as f32)
}

/// Milliseconds of the verification of `bytes` drafted bytes of one stream, with the copies of bytes and logits.
///
/// # Errors
/// Those of the verification.
pub fn verify(model: &GpuModel, bytes: usize) -> Result<f32, CudaError> {
    let mut state = model.zero_states(1)?;
    let draft = vec![b'a'; bytes];
    median(model.device(), 25, || model.score(&[&draft], &mut state).map(drop))
}

/// The shape `d_model` x `n_layer` of mamba-ssm's models.
pub const fn dims(d_model: usize, n_layer: usize) -> Dims {
    Dims {
        d_model,
        n_layer,
        d_inner: 2 * d_model,
        d_state: 16,
        d_conv: 4,
        dt_rank: d_model.div_ceil(16),
        norm: Norm::Rms,
        tied_head: true,
        tied_decays: false,
    }
}
