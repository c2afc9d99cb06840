//! A GPU: found, checked, with one stream that all work of this crate goes through, in order.
//!
//! Models and their device are `Sync`: threads may call them at the same time. What each launches, copies, allocates
//! and frees (also by dropping a state) goes to the one stream, in the order of the calls of the driver, which is
//! thread-safe. Captures of graphs are the exception: a stream that captures would record what other threads send to it
//! meanwhile, and refuse their waits. So captures have a stream of their own, which one thread at a time uses, and a
//! graph is then launched on the one stream like all other work. A lock around the calls of a model would not be
//! enough: states are freed when they are dropped, outside of any call. What waits for a whole context spoils the
//! captures of every stream in it, and all devices of one GPU share a context: so [`between_captures`] keeps cuBLASLt's
//! start and end, which do that, apart from captures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{
    CudaContext, CudaGraph, CudaModule, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, ValidAsZeroBits, sys,
};

use super::error::{CudaError, is_out_of_memory};
use super::kernels::{Kernel, KernelFile};
use super::probe::probe;

/// A GPU with its context, one stream and the kernels loaded so far. Cheap to share.
pub struct Device {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    /// Of captures, one at a time: see [`between_captures`].
    captures: Arc<CudaStream>,
    modules: Arc<Mutex<HashMap<&'static str, Arc<CudaModule>>>>,
    name: Arc<str>,
    sms: u32,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({}, {} SMs)", self.name, self.sms)
    }
}

/// Waits until no thread captures, and keeps every thread from it until the guard is dropped. One for the whole
/// process, like a GPU's context.
pub(crate) fn between_captures() -> MutexGuard<'static, ()> {
    static CAPTURES: Mutex<()> = Mutex::new(());
    CAPTURES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// GPU number `ordinal`, in the driver's order.
    ///
    /// # Errors
    /// Says what is missing: driver, GPU, a new enough one of either.
    pub fn open(ordinal: usize) -> Result<Arc<Self>, CudaError> {
        probe()?;
        let absent = |e: cudarc::driver::DriverError| CudaError::NoDevice { ordinal, reason: e.to_string() };
        let context = CudaContext::new(ordinal).map_err(absent)?;
        let (major, minor) = context.compute_capability()?;
        let name = context.name()?;
        if major < 8 {
            return Err(CudaError::OldDevice { name, major, minor, needed: 8 });
        }
        // SAFETY: with one stream for everything, what is launched later runs later; there is nothing to wait for
        // between streams. Events would also spoil the capture of graphs.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream()?;
        let captures = context.new_stream()?;
        let sms = context.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32;
        Ok(Arc::new(Self { context, stream, captures, modules: Arc::default(), name: name.into(), sms }))
    }

    /// What the driver calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Streaming multiprocessors. No result may depend on it.
    pub const fn sms(&self) -> u32 {
        self.sms
    }

    /// The stream of all work.
    pub const fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// The driver's context.
    pub const fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// Kernel `name` of `file`; the file is loaded at its first use.
    ///
    /// # Errors
    /// [`CudaError::Kernel`].
    pub(crate) fn kernel(&self, file: &KernelFile, name: &'static str) -> Result<Kernel, CudaError> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match modules.get(file.name) {
            Some(module) => module.clone(),
            None => {
                let refused =
                    |e: cudarc::driver::DriverError| CudaError::Kernel { file: file.name, reason: e.to_string() };
                let module =
                    self.context.load_module(file.image(self.context.compute_capability()?)?).map_err(refused)?;
                modules.insert(file.name, module.clone());
                module
            }
        };
        let missing = |e| CudaError::Kernel { file: file.name, reason: format!("{name}: {e}") };
        Ok(Kernel::new(name, module.load_function(name).map_err(missing)?))
    }

    /// `len` zeros on the GPU.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] with the bytes needed.
    pub(crate) fn zeros<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        what: &'static str,
        len: usize,
    ) -> Result<CudaSlice<T>, CudaError> {
        // The driver has no allocation of no bytes.
        self.stream.alloc_zeros(len.max(1)).map_err(|e| self.out_of_memory(what, len.saturating_mul(size_of::<T>()), e))
    }

    /// A copy of `values` on the GPU.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] with the bytes needed.
    pub(crate) fn upload<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        what: &'static str,
        values: &[T],
    ) -> Result<CudaSlice<T>, CudaError> {
        let mut slice = self.zeros(what, values.len())?;
        if !values.is_empty() {
            self.stream.memcpy_htod(values, &mut slice)?;
        }
        Ok(slice)
    }

    /// Copies `len` elements of a buffer from one place to another in it; the two do not overlap.
    ///
    /// # Errors
    /// [`CudaError::Shape`] if they are not in the buffer, the driver's.
    pub(crate) fn copy_within<T: DeviceRepr>(
        &self,
        slice: &mut CudaSlice<T>,
        from: usize,
        to: usize,
        len: usize,
    ) -> Result<(), CudaError> {
        let (end, limit) = (from.max(to) + len, slice.len());
        if end > limit || from.abs_diff(to) < len {
            return Err(CudaError::Shape { name: "end of a copy", found: end, limit });
        }
        self.context.bind_to_thread()?;
        let at = |index: usize| self.address(slice) + (index * size_of::<T>()) as u64;
        // SAFETY: both places are in the buffer and apart, and it is borrowed; the copy is in the order of the one
        // stream.
        Ok(unsafe {
            cudarc::driver::result::memcpy_dtod_async(at(to), at(from), len * size_of::<T>(), self.stream.cu_stream())
        }?)
    }

    fn out_of_memory(&self, what: &'static str, need: usize, error: cudarc::driver::DriverError) -> CudaError {
        if is_out_of_memory(&error) {
            let free = self.context.mem_get_info().map_or(0, |(free, _)| free);
            CudaError::OutOfMemory { what, need, free }
        } else {
            error.into()
        }
    }

    /// Waits until everything launched so far is done.
    ///
    /// # Errors
    /// The first failure of that work.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        Ok(self.stream.synchronize()?)
    }

    /// The launches of `enqueue` as a graph; nothing runs yet. `enqueue` gets this GPU with the stream that captures,
    /// and launches nowhere else; the buffers exist already, since memory that is allocated while capturing would
    /// belong to the graph.
    ///
    /// # Errors
    /// Those of `enqueue`, the driver's.
    pub(crate) fn capture(&self, enqueue: impl FnOnce(&Self) -> Result<(), CudaError>) -> Result<Graph, CudaError> {
        let _alone = between_captures();
        let stream = &self.captures;
        stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        let capturing = Self {
            context: self.context.clone(),
            stream: stream.clone(),
            captures: self.captures.clone(),
            modules: self.modules.clone(),
            name: self.name.clone(),
            sms: self.sms,
        };
        let launched = enqueue(&capturing);
        // Ended in any case: a stream that still captures could do nothing else.
        let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0));
        launched?;
        let graph = graph?.ok_or(CudaError::Driver(DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE)))?;
        Ok(Graph { graph })
    }

    /// Address of a buffer, for the parameters of a kernel. The buffer must outlive the launch; since frees go through
    /// the same stream, it is enough that it lives until the launch has been made.
    pub(crate) fn address<T>(&self, slice: &CudaSlice<T>) -> u64 {
        slice.device_ptr(&self.stream).0
    }
}

/// Launches that were captured, to be made again together.
pub(crate) struct Graph {
    graph: CudaGraph,
}

// SAFETY: the driver's graphs may be used by any thread, one at a time; `launch` takes `&mut self`.
unsafe impl Send for Graph {}

impl Graph {
    /// Launches all of it on the stream of `device`, where what it works on has been written.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn launch(&mut self, device: &Device) -> Result<(), CudaError> {
        device.context.bind_to_thread()?;
        // SAFETY: the graph is of this context and alive. Its launches were made with buffers that its owner keeps as
        // long as it keeps the graph, and frees through the same stream.
        Ok(unsafe { cudarc::driver::result::graph::launch(self.graph.cu_graph_exec(), device.stream.cu_stream()) }?)
    }
}
