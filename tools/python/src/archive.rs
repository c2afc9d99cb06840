//! `compress`, `decompress`: archives.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mambabyte::adapting::Adapt;
use mambabyte::error::CliError;
use mambabyte::net::{Given, PrimedFile, first_adapter, model_name};
use mambabyte_core::archive::{Header, MAX_BLOCK};
use mambabyte_host::archive::{ArchiveFault, BLOCK, Predictor};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::data::{self, Raised, Sink, Source};
use crate::error::{exception, usage};
use crate::model::{Model, engine, model};
use crate::options;
use crate::work::check_process;

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

/// The exception of what failed.
fn failed(fault: ArchiveFault) -> PyErr {
    let source = match fault {
        ArchiveFault::Nothing => return usage("neither a model nor an adapter: nothing predicts"),
        ArchiveFault::Engine(error) => return exception(&error.into()),
        ArchiveFault::Write(error) => return exception(&CliError::io("the text", error)),
        ArchiveFault::Read(error) => return exception(&CliError::io("the source", error)),
        source => source,
    };
    exception(&CliError::Archive { path: PathBuf::from("the archive"), source })
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
    let (given, raised, loaded) =
        (Input::of(source)?, Raised::default(), net.map(|net| Arc::clone(net.get().loaded())));
    let mut from = given.source(py, &raised);
    let mut memory = Vec::new();
    let mut to = match output {
        Some(file) => Sink::File(file, &raised, u64::MAX),
        None => Sink::Memory(&mut memory, u64::MAX),
    };
    let written = matches!(to, Sink::File(..));
    check_process()?;
    let totals = py.detach(|| -> PyResult<_> {
        let name = model_name(self::model(loaded.as_ref()));
        let adapter = first_adapter(asked, primed.as_ref(), &name).map_err(|error| exception(&error))?;
        let id = primed.as_ref().map(|file| file.primed().map(|primed| primed.id())).transpose();
        let header = Header {
            model: name,
            preset: adapter.as_ref().map_or(0, |adapter| adapter.preset().design().id),
            primed: id.map_err(|error| exception(&error))?,
            block,
        };
        Predictor::new(engine(loaded.as_ref()), adapter)
            .and_then(|mut predictor| {
                mambabyte_host::archive::compress(&mut predictor, &header, &mut from, &mut to, &mut |_| ())
            })
            .map_err(|fault| raised.or(failed(fault)))
    })?;
    drop(to);
    match written {
        true => Ok(totals.archive.into_pyobject(py)?.into_any()),
        false => Ok(PyBytes::new(py, &memory).into_any()),
    }
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
    let (given, raised, loaded) =
        (Input::of(source)?, Raised::default(), net.map(|net| Arc::clone(net.get().loaded())));
    let mut from = given.source(py, &raised);
    let mut memory = Vec::new();
    let mut to = match output {
        Some(file) => Sink::File(file, &raised, max_bytes),
        None => Sink::Memory(&mut memory, max_bytes),
    };
    let written = matches!(to, Sink::File(..));
    check_process()?;
    let decoded = py.detach(|| {
        let given = Given {
            model: model_name(self::model(loaded.as_ref())),
            engine: engine(loaded.as_ref()),
            primed: primed.as_ref(),
        };
        mambabyte_host::archive::decompress(&mut from, &mut to, &mut |header| given.open(header), &mut |_| ())
    });
    drop(to);
    match decoded {
        Ok(totals) if written => Ok(totals.plain.into_pyobject(py)?.into_any()),
        Ok(_) => Ok(PyBytes::new(py, &memory).into_any()),
        Err(fault) => {
            let damaged = matches!(fault, ArchiveFault::Archive { .. });
            let error = raised.or(failed(fault));
            if damaged && !written {
                error.value(py).setattr("kept", PyBytes::new(py, &memory))?;
            }
            Err(error)
        }
    }
}
