//! `Model`: weights, and what computes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mambabyte::commands::inspect::parameters;
use mambabyte::formats;
use mambabyte::model::{AnyModel, BlobFile, Loading, Residence, Verify};
use mambabyte::output::hex;
use mambabyte::shipped::{SHIPPED, is_none};
use mambabyte_core::Norm;
use mambabyte_host::adapt::AnyAdapter;
use mambabyte_host::checksum::{adapter_checksum, checksum};
use mambabyte_host::engine::{AnyEngine, Engine};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyType};
use self_cell::self_cell;

use crate::data;
use crate::error::{Kind, raised, usage};
use crate::options;
use crate::work::compute;

self_cell!(
    /// A model and what computes it.
    pub(crate) struct Opened {
        owner: AnyModel,
        #[covariant]
        dependent: AnyEngine,
    }
);

/// A model and what computes it.
pub(crate) struct Loaded {
    /// There until it is dropped.
    opened: Option<Opened>,
    /// The process that has opened it.
    process: u32,
}

impl Loaded {
    fn opened(&self) -> &Opened {
        self.opened.as_ref().unwrap_or_else(|| unreachable!())
    }

    /// Whether another process has opened it, and this one was forked from that: what was made of it is not dropped here, as a
    /// GPU is not this process's.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.process != std::process::id()
    }

    /// The weights.
    pub(crate) fn model(&self) -> &AnyModel {
        self.opened().borrow_owner()
    }

    /// What computes them.
    pub(crate) fn engine(&self) -> &AnyEngine<'_> {
        self.opened().borrow_dependent()
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if self.is_elsewhere() {
            std::mem::forget(self.opened.take());
        }
    }
}

/// Where a model came from, which is how it is pickled.
#[derive(Clone, Debug)]
enum Origin {
    Name(&'static str),
    Checkpoint(PathBuf),
    Blob,
}

/// Arguments of the constructor beside the source.
#[derive(Clone, Debug)]
struct How {
    device: String,
    precision: Option<String>,
    threads: Option<u16>,
    backend: Option<String>,
    verify: bool,
    mmap: bool,
    trust_tensors: bool,
    byte_offset: Option<usize>,
}

/// A model: a blob in its integers, or a checkpoint in f32.
///
/// Model(source, *, device="cpu", precision=None, threads=None, backend=None, verify=False, mmap=False,
///       trust_tensors=False, byte_offset=None)
///
/// `source` is the path of a blob, of a checkpoint (a folder, safetensors, or a file of PyTorch), the name of a shipped
/// model, or the bytes of a blob. All results of a blob have the same bits on every machine and with any number of threads.
///
/// Raises UsageError for what is neither a path nor a name, DataError for a file that is damaged or no model, DeviceError if
/// `device="cuda"` and there is no GPU, or none in this build.
///
/// A model is not changed by anything: it can be used by many streams and threads at a time. Pickled, a blob is its bytes, a
/// shipped model its name, a checkpoint its path.
#[pyclass(frozen, module = "mambabyte")]
pub(crate) struct Model {
    loaded: Arc<Loaded>,
    origin: Origin,
    /// Where its files are, if it was read from any.
    path: Option<PathBuf>,
    how: How,
}

impl Model {
    /// Where its files are, if it was read from any.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What it is.
    pub(crate) const fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// Opens what an argument `model` is: a model, or what the constructor takes.
    ///
    /// # Errors
    /// As the constructor.
    pub(crate) fn of<'py>(given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        match given.cast::<Self>() {
            Ok(model) => Ok(model.clone()),
            Err(_) => Ok(given.py().get_type::<Self>().call1((given,))?.cast_into()?),
        }
    }

    /// As [`Model::of`]; `None` and the name `none` are no net, an adapter alone.
    ///
    /// # Errors
    /// As the constructor.
    pub(crate) fn or_none<'py>(given: Option<&Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, Self>>> {
        let Some(given) = given else { return Ok(None) };
        if given.extract::<&str>().is_ok_and(|name| is_none(Path::new(name))) {
            return Ok(None);
        }
        Self::of(given).map(Some)
    }
}

/// The bytes of a source that is a blob itself; `None` for a path.
fn blob_bytes<'py>(source: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    if source.extract::<PathBuf>().is_ok() && !source.is_instance_of::<PyBytes>() {
        return Ok(None);
    }
    let bytes = data::bytes(source).map_err(|_| {
        PyTypeError::new_err(format!("a model is a path, a name or bytes, not {}", data::type_name(source)))
    })?;
    Ok(Some(bytes))
}

/// What pickle wants: a callable and its two arguments.
type Reduced = (Py<PyAny>, (Py<PyAny>, Py<PyAny>));

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (source, *, device = "cpu", precision = None, threads = None, backend = None, verify = false,
        mmap = false, trust_tensors = false, byte_offset = None))]
    #[expect(clippy::too_many_arguments, reason = "they are named where it is called")]
    fn new(
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        device: &str,
        precision: Option<&str>,
        threads: Option<u16>,
        backend: Option<String>,
        verify: bool,
        mmap: bool,
        trust_tensors: bool,
        byte_offset: Option<usize>,
    ) -> PyResult<Self> {
        let computing = options::computing(device, precision)?;
        let cpu = options::cpu(threads, backend.clone())?;
        let how = How {
            device: device.to_owned(),
            precision: precision.map(str::to_owned),
            threads,
            backend,
            verify,
            mmap,
            trust_tensors,
            byte_offset,
        };
        let loading = Loading { checkpoint: formats::Options { trust_tensors, byte_offset }, blob: Verify { verify } };
        let bytes = blob_bytes(source)?;
        let path: PathBuf = if bytes.is_none() { source.extract()? } else { PathBuf::from("bytes") };
        let blob = bytes.as_ref().map(|bytes| bytes.as_bytes());
        let residence = if mmap { Residence::Mapped } else { Residence::Copied };
        let loaded = compute(py, || {
            let model = match blob {
                Some(bytes) => AnyModel::Blob(BlobFile::of_bytes(bytes, &path)?),
                None => AnyModel::open_as(&path, &loading, residence)?,
            };
            let opened = Some(Opened::try_new(model, |model| computing.engine(model, cpu))?);
            Ok(Loaded { opened, process: std::process::id() })
        })?;
        let found = path.canonicalize().ok().filter(|_| bytes.is_none());
        let name = SHIPPED.iter().map(|model| model.name).find(|name| Path::new(name) == path);
        let origin = match (loaded.model(), name) {
            (_, Some(name)) if found.is_none() => Origin::Name(name),
            (AnyModel::Blob(_), _) => Origin::Blob,
            (AnyModel::Checkpoint(_), _) => Origin::Checkpoint(found.clone().unwrap_or(path)),
        };
        Ok(Self { loaded: Arc::new(loaded), origin, path: found, how })
    }

    /// A model that comes with the package, by name: see Model.names(). Keyword arguments as those of Model.
    ///
    /// Raises UsageError for another name, and for one that is too large to be in the package and is not at hand.
    #[classmethod]
    #[pyo3(signature = (name, **keywords))]
    fn shipped<'py>(
        class: &Bound<'py, PyType>,
        name: &str,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if !SHIPPED.iter().any(|model| model.name == name) {
            let names: Vec<_> = SHIPPED.iter().map(|model| model.name).collect();
            return Err(usage(format!("{name}: no such model; there are {}", names.join(", "))));
        }
        class.call((name,), keywords)
    }

    /// Names of the models that are in the package.
    #[staticmethod]
    fn names(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
        PyList::new(py, SHIPPED.iter().filter(|model| model.blob.is_some()).map(|model| model.name))
    }

    /// What the model is: a dict of its name, kind ("blob" or "checkpoint"), precision, shape (d_model, n_layer, d_inner,
    /// d_state, d_conv, dt_rank, norm, tied_head, tied_decays), `parameters`, `bytes` of the blob, `state_bytes` of a
    /// stream on a device, `unknown_text` (bits per byte above which it says that it does not know a text, or None), and
    /// `fingerprint`.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let model = self.loaded.model();
        let (dims, info) = (model.dims(), PyDict::new(py));
        let (name, kind, count, bytes, unknown) = match model {
            AnyModel::Blob(file) => {
                let blob = file.blob();
                let unknown = Some(f64::from(blob.unknown_text()) / 256.0).filter(|&bits| bits > 0.0);
                let bytes = Some(blob.as_bytes().len());
                (Some(blob.name().to_owned()), "blob", parameters(&blob), bytes, unknown)
            }
            AnyModel::Checkpoint(model) => (None, "checkpoint", model.checkpoint().parameters() as u64, None, None),
        };
        info.set_item("name", name)?;
        info.set_item("kind", kind)?;
        info.set_item("precision", self.loaded.engine().precision().name())?;
        info.set_item("device", self.how.device.as_str())?;
        info.set_item("parameters", count)?;
        info.set_item("bytes", bytes)?;
        for (name, value) in [
            ("d_model", dims.d_model),
            ("n_layer", dims.n_layer),
            ("d_inner", dims.d_inner),
            ("d_state", dims.d_state),
            ("d_conv", dims.d_conv),
            ("dt_rank", dims.dt_rank),
            ("state_bytes", dims.state_len() * 2),
        ] {
            info.set_item(name, value)?;
        }
        info.set_item("norm", if dims.norm == Norm::Rms { "RMSNorm" } else { "LayerNorm" })?;
        info.set_item("tied_head", dims.tied_head)?;
        info.set_item("tied_decays", dims.tied_decays)?;
        info.set_item("unknown_text", unknown)?;
        info.set_item("fingerprint", self.fingerprint())?;
        Ok(info)
    }

    /// What names a blob's contents, hexadecimal; None of a checkpoint.
    #[getter]
    fn fingerprint(&self) -> Option<String> {
        match self.loaded.model() {
            AnyModel::Blob(file) => Some(hex(&file.blob().fingerprint())),
            AnyModel::Checkpoint(_) => None,
        }
    }

    /// One CRC-32 over all integer logits of a text, or with `adapt` over the eight node probabilities of each byte: equal on
    /// every machine and chip.
    ///
    /// Raises UsageError for a checkpoint, which computes in floats.
    #[pyo3(signature = (text, *, adapt = None))]
    fn checksum(&self, py: Python<'_>, text: &Bound<'_, PyAny>, adapt: Option<&str>) -> PyResult<u32> {
        let (text, preset) = (data::bytes(text)?, options::preset(adapt, true)?);
        let text = text.as_bytes();
        check(Some(&self.loaded))?;
        compute(py, || {
            let engine = self.loaded.engine();
            Ok(match preset {
                Some(preset) => adapter_checksum(Some(engine), AnyAdapter::new(preset, true), text, |_| ())?,
                None => checksum(engine, text, |_| ())?,
            })
        })
    }

    /// The bytes of a blob.
    ///
    /// Raises UsageError for a checkpoint: mambabyte.convert makes a blob of it.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        match self.loaded.model() {
            AnyModel::Blob(file) => Ok(PyBytes::new(py, file.blob().as_bytes())),
            AnyModel::Checkpoint(_) => {
                Err(usage("a checkpoint has no bytes of a blob; mambabyte.convert makes one of it"))
            }
        }
    }

    fn __repr__(&self) -> String {
        let dims = self.loaded.model().dims();
        let (what, name) = match self.loaded.model() {
            AnyModel::Blob(file) => ("blob", format!(" {:?}", file.blob().name())),
            AnyModel::Checkpoint(_) => ("checkpoint", String::new()),
        };
        format!("<mambabyte.Model {what}{name}, d_model {}, {} layers>", dims.d_model, dims.n_layer)
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced> {
        let keywords = PyDict::new(py);
        let How { device, precision, threads, backend, verify, mmap, trust_tensors, byte_offset } = &self.how;
        keywords.set_item("device", device)?;
        keywords.set_item("precision", precision)?;
        keywords.set_item("threads", threads)?;
        keywords.set_item("backend", backend)?;
        keywords.set_item("verify", verify)?;
        keywords.set_item("mmap", mmap)?;
        keywords.set_item("trust_tensors", trust_tensors)?;
        keywords.set_item("byte_offset", byte_offset)?;
        let source = match &self.origin {
            Origin::Name(name) => name.into_pyobject(py)?.into_any().unbind(),
            Origin::Checkpoint(path) => path.as_os_str().into_pyobject(py)?.into_any().unbind(),
            Origin::Blob => self.to_bytes(py)?.into_any().unbind(),
        };
        let make = py.import("mambabyte._mambabyte")?.getattr("_model")?;
        Ok((make.unbind(), (source, keywords.into_any().unbind())))
    }
}

/// A model as it was pickled.
#[pyfunction]
pub(crate) fn _model<'py>(
    py: Python<'py>,
    source: &Bound<'py, PyAny>,
    keywords: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    py.get_type::<Model>().call((source,), Some(keywords))
}

/// What of a net and an adapter there is; for who computes without the interpreter's lock.
pub(crate) fn engine(loaded: Option<&Arc<Loaded>>) -> Option<&AnyEngine<'_>> {
    loaded.map(|loaded| loaded.engine())
}

/// Refuses what a GPU computes in a process that was forked from the one that has opened it.
///
/// # Errors
/// `DeviceError`.
pub(crate) fn check(loaded: Option<&Arc<Loaded>>) -> PyResult<()> {
    match loaded {
        Some(loaded) if loaded.is_elsewhere() && loaded.engine().is_gpu() => Err(raised(
            Kind::Device,
            "a GPU does not follow a process that is forked: start processes by spawn or forkserver; models and streams go there \
             as pickles",
        )),
        _ => Ok(()),
    }
}

/// The model, if there is a net.
pub(crate) fn model(loaded: Option<&Arc<Loaded>>) -> Option<&AnyModel> {
    loaded.map(|loaded| loaded.model())
}
