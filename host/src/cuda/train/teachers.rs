//! Distillation: models that read the same batch before a step, and whose distributions are part of what it aims at.

use std::sync::Arc;

use cudarc::driver::CudaSlice;
use mambabyte_core::dims::Norm;

use super::kernels::Kernels;
use super::memory::{HEAD_ROWS, Keep, Memory};
use super::params::Params;
use super::pass::{Pass, Weights};
use super::scan::Scan;
use crate::Checkpoint;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::float::buffer::{Element, to_bf16};
use crate::cuda::float::gemm::Blas;
use crate::train::Window;
use crate::train::teachers::Teaching;

/// One of them, with what its rows carry.
struct Teacher {
    kernels: Kernels,
    scan: Scan,
    params: Params,
    memory: Memory,
    w: CudaSlice<f32>,
    rounded: Option<CudaSlice<u16>>,
    a: CudaSlice<f32>,
    eps: f32,
    centred: bool,
}

/// All of them, and room for the mean of their distributions, `[HEAD_ROWS, 256]`.
pub(super) struct Teachers {
    all: Vec<Teacher>,
    targets: CudaSlice<f32>,
    share: f32,
    element: Element,
    shape: (usize, usize),
}

/// Teachers that have read a step's batch.
pub(super) struct Aim<'a> {
    pub(super) passes: Vec<Pass<'a>>,
    pub(super) targets: u64,
    pub(super) share: f32,
}

impl Teacher {
    fn new(
        device: &Arc<Device>,
        weights: &Checkpoint,
        element: Element,
        (batch, window): (usize, usize),
    ) -> Result<Self, CudaError> {
        let dims = weights.dims;
        let kernels = Kernels::load(device, element, &dims)?;
        let scan = Scan::load(device, element, &dims, batch)?;
        let params = Params::new(weights);
        let memory = Memory::new(device, &params, element, (batch, window), scan.sizes(window), Keep::Nothing)?;
        let packed = params.pack(weights);
        let mut w = device.zeros("a teacher", params.len)?;
        device.stream().memcpy_htod(&packed, &mut w)?;
        let rounded = match element {
            Element::F32 => None,
            Element::Bf16 => {
                let halves: Vec<u16> = packed.iter().map(|&w| to_bf16(w)).collect();
                let mut rounded = device.zeros("a teacher", params.len)?;
                device.stream().memcpy_htod(&halves, &mut rounded)?;
                Some(rounded)
            }
        };
        device.synchronize()?;
        let place = params.place("a_log");
        let a = device.zeros("decays", place.size * place.layers)?;
        let (eps, centred) = (weights.norm_eps, dims.norm == Norm::Layer);
        Ok(Self { kernels, scan, params, memory, w, rounded, a, eps, centred })
    }
}

impl Teachers {
    /// For batches of `shape`: rows and their bytes. `None` if there is no teacher.
    ///
    /// # Errors
    /// As [`GpuMachine::new`](super::GpuMachine::new).
    pub(super) fn new(
        device: &Arc<Device>,
        teaching: &Teaching,
        element: Element,
        shape: (usize, usize),
    ) -> Result<Option<Self>, CudaError> {
        if teaching.teachers.is_empty() {
            return Ok(None);
        }
        let all = teaching.teachers.iter().map(|weights| Teacher::new(device, weights, element, shape));
        let all = all.collect::<Result<_, _>>()?;
        // Teachers and what learns from them are models of bytes.
        let rows = HEAD_ROWS.min(shape.0 * shape.1);
        let targets = device.zeros("distributions", rows * 256)?;
        Ok(Some(Self { all, targets, share: teaching.share, element, shape }))
    }

    /// Floats that a row carries for all of them.
    pub(super) fn carry_len(&self) -> usize {
        self.lengths().sum()
    }

    /// The same of each.
    pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.all.iter().map(|teacher| teacher.params.dims.state_len())
    }

    /// Where each has what its rows carry.
    pub(super) fn states(&self) -> impl Iterator<Item = &CudaSlice<f32>> {
        self.all.iter().map(|teacher| &teacher.memory.before)
    }

    /// The same, to be set.
    pub(super) fn states_mut(&mut self) -> impl Iterator<Item = &mut CudaSlice<f32>> {
        self.all.iter_mut().map(|teacher| &mut teacher.memory.before)
    }

    /// Reads the batch that `student` has.
    pub(super) fn read(&mut self, device: &Device, blas: &Blas, student: &Memory) -> Result<(), CudaError> {
        for teacher in &mut self.all {
            let memory = &mut teacher.memory;
            device.stream().memcpy_dtod(&student.symbols, &mut memory.symbols)?;
            device.stream().memcpy_dtod(&student.next, &mut memory.next)?;
            device.stream().memcpy_dtod(&student.age, &mut memory.age)?;
        }
        self.passes(device, blas).iter().try_for_each(Pass::forward)
    }

    fn passes<'a>(&'a self, device: &'a Device, blas: &'a Blas) -> Vec<Pass<'a>> {
        let pass = |teacher: &'a Teacher| {
            let f32 = device.address(&teacher.w);
            let typed = teacher.rounded.as_ref().map_or(f32, |rounded| device.address(rounded));
            Pass {
                device,
                blas,
                kernels: &teacher.kernels,
                scan: &teacher.scan,
                params: &teacher.params,
                memory: &teacher.memory,
                element: self.element,
                weights: Weights { f32, typed, a: device.address(&teacher.a) },
                batch: self.shape.0,
                seq_len: self.shape.1,
                eps: teacher.eps,
                centred: teacher.centred,
                timeline: None,
            }
        };
        self.all.iter().map(pass).collect()
    }

    /// What the head aims at, after [`Teachers::read`].
    pub(super) fn aim<'a>(&'a self, device: &'a Device, blas: &'a Blas) -> Aim<'a> {
        Aim { passes: self.passes(device, blas), targets: device.address(&self.targets), share: self.share }
    }

    /// After a step: what the rows carry is that after their windows.
    pub(super) fn leave(&mut self, device: &Device, windows: &[Window<'_>]) -> Result<(), CudaError> {
        self.all
            .iter_mut()
            .try_for_each(|teacher| teacher.memory.leave(device, windows, teacher.params.dims.state_len()))
    }
}
