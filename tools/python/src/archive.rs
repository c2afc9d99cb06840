//! `compress`, `decompress`: archives.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mambabyte::adapting::Adapt;
use mambabyte::error::CliError;
use mambabyte::net::{Given, PrimedFile, first_adapter, header, model_name, named};
use mambabyte_core::archive::MAX_BLOCK;
use mambabyte_host::adapt::AnyAdapter;
use mambabyte_host::archive::{self, ArchiveFault, BLOCK, Predictor};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::data::{self, Raised, Sink, Source};
use crate::error::{exception, usage};
use crate::model::{Model, check, engine, model};
use crate::options;

/// Most bytes that an archive becomes if nobody says how many.
const MOST: u64 = 1 << 30;

/// What an argument is to be read from.
enum Input<'py> {
    Bytes(Bound<'py, PyBytes>),
    File(Py<PyAny>),
}

impl<'py> Input<'py> {
    fn of(source: &Bound<'py, PyAny>) -> PyResult<Self> {
        match data::is_file(source) {
            true => Ok(Self::File(source.clone().unbind())),
            false => data::bytes(source).map(Self::Bytes),
        }
    }

    fn source<'a>(&'a self, py: Python<'_>, raised: &'a Raised) -> Source<'a> {
        match self {
            Self::Bytes(bytes) => Source::Bytes(bytes.as_bytes()),
            Self::File(file) => Source::File(file.clone_ref(py), raised),
        }
    }
}

/// What failed, in which `what` was read.
fn failed(fault: ArchiveFault, what: &str) -> PyErr {
    exception(&named(fault, Path::new(what), |error| CliError::io("the text", error)))
}

/// Calls `work` with what takes at most `most` bytes: `output`, or memory, which is given back.
fn written<T>(
    output: Option<Py<PyAny>>,
    raised: &Raised,
    most: u64,
    work: impl FnOnce(&mut Sink<'_>) -> T,
) -> (T, Option<Vec<u8>>) {
    match output {
        Some(file) => (work(&mut Sink::File(file, raised, most)), None),
        None => {
            let mut memory = Vec::new();
            (work(&mut Sink::Memory(&mut memory, most)), Some(memory))
        }
    }
}

/// What the caller gets: the bytes, or how many the file got.
fn given<'py>(py: Python<'py>, memory: Option<Vec<u8>>, count: u64) -> PyResult<Bound<'py, PyAny>> {
    match memory {
        Some(memory) => Ok(PyBytes::new(py, &memory).into_any()),
        None => Ok(count.into_pyobject(py)?.into_any()),
    }
}

fn opened(prime: Option<&Path>) -> PyResult<Option<PrimedFile>> {
    prime.map(PrimedFile::open).transpose().map_err(|error| exception(&error))
}

/// Compresses a text with what a model and an adapter predict, or with the adapter alone; as `mambabyte compress`.
///
/// `source` is bytes or a file that is read; `model` a Model with a blob, or what Model takes, or None for the adapter alone.
/// `adapt` is the adapter's memory; None stands for that of `prime`, or "16K", and "off" for the model alone. `prime` is the
/// file of an adapter that has read something. `block` is how many bytes a block has: what follows a damaged one is lost.
///
/// Returns the archive, or, if `output` is a file that is written, how many bytes it got. Memory: two blocks, whatever the
/// length of the source.
///
/// Raises UsageError for a checkpoint, whose floats differ from machine to machine; what the files raise.
#[pyfunction]
#[pyo3(signature = (source, model = None, *, adapt = None, prime = None, block = BLOCK, output = None))]
pub(crate) fn compress<'py>(
    py: Python<'py>,
    source: &Bound<'py, PyAny>,
    model: Option<&Bound<'py, PyAny>>,
    adapt: Option<&str>,
    prime: Option<PathBuf>,
    block: u32,
    output: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let net = Model::or_none(model)?;
    if !(1..=MAX_BLOCK).contains(&block) {
        return Err(usage(format!("block: 1 to {MAX_BLOCK} bytes")));
    }
    let asked: Option<Adapt> = adapt.map(|adapt| options::adapt(Some(adapt))).transpose()?;
    let primed = opened(prime.as_deref())?;
    let (input, raised, loaded) =
        (Input::of(source)?, Raised::default(), net.map(|net| Arc::clone(net.get().loaded())));
    let mut from = input.source(py, &raised);
    check(loaded.as_ref())?;
    let (totals, memory) = written(output, &raised, u64::MAX, |to| {
        py.detach(|| -> PyResult<_> {
            let name = model_name(self::model(loaded.as_ref()));
            let adapter = first_adapter(asked, primed.as_ref(), &name).map_err(|error| exception(&error))?;
            let preset = adapter.as_ref().map(AnyAdapter::preset);
            let header = header(name, preset, primed.as_ref(), block).map_err(|error| exception(&error))?;
            Predictor::new(engine(loaded.as_ref()), adapter)
                .and_then(|mut predictor| archive::compress(&mut predictor, &header, &mut from, to, &mut |_| ()))
                .map_err(|fault| raised.or(failed(fault, "the source")))
        })
    });
    given(py, memory, totals?.archive)
}

/// The text of an archive, or of several one after the other; as `mambabyte decompress`.
///
/// `source` is bytes or a file that is read; `model` the Model that it was compressed with, or what Model takes, None for an
/// adapter alone; `prime` the file of the primed adapter that it was begun with. The text has at most `max_bytes` bytes (1 GiB):
/// an archive of strangers may be small and its text long.
///
/// Returns the text, or, if `output` is a file that is written, how many bytes it got: of a damaged archive it gets what is
/// right.
///
/// Raises DataError for what is damaged or no archive; it says where, and its `kept` is the text before the damage, unless
/// there is an `output`. UsageError if the archive needs another model or adapter. FileError for a text that is too long.
#[pyfunction]
#[pyo3(signature = (source, model = None, *, prime = None, max_bytes = MOST, output = None))]
pub(crate) fn decompress<'py>(
    py: Python<'py>,
    source: &Bound<'py, PyAny>,
    model: Option<&Bound<'py, PyAny>>,
    prime: Option<PathBuf>,
    max_bytes: u64,
    output: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let net = Model::or_none(model)?;
    let primed = opened(prime.as_deref())?;
    let (input, raised, loaded) =
        (Input::of(source)?, Raised::default(), net.map(|net| Arc::clone(net.get().loaded())));
    let mut from = input.source(py, &raised);
    check(loaded.as_ref())?;
    let (decoded, memory) = written(output, &raised, max_bytes, |to| {
        py.detach(|| {
            let given = Given {
                model: model_name(self::model(loaded.as_ref())),
                engine: engine(loaded.as_ref()),
                primed: primed.as_ref(),
            };
            archive::decompress(&mut from, to, &mut |header| given.open(header), &mut |_| ())
        })
    });
    match decoded {
        Ok(totals) => given(py, memory, totals.plain),
        Err(fault) => {
            let damaged = matches!(fault, ArchiveFault::Archive { .. });
            let error = raised.or(failed(fault, "the archive"));
            if let (true, Some(memory)) = (damaged, &memory) {
                error.value(py).setattr("kept", PyBytes::new(py, memory))?;
            }
            Err(error)
        }
    }
}
