//! Errors of the library as exceptions: the words of the command, and a class that says of what kind they are.

use std::error::Error;

use mambabyte::error::CliError;
use mambabyte_host::archive::ArchiveFault;
use mambabyte_host::engine::EngineError;
use miette::Diagnostic;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// The classes, which are written in Python: see `_errors.py`.
static CLASSES: PyOnceLock<Vec<Py<PyType>>> = PyOnceLock::new();

/// Their names, in the order of [`Kind`].
const NAMES: [&str; 5] = ["Error", "UsageError", "FileError", "DataError", "DeviceError"];

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any other.
    Other,
    /// An argument that makes no sense.
    Usage,
    /// A file that cannot be read or written.
    File,
    /// Bytes that are damaged, or that are something else.
    Data,
    /// A machine that is not there or does not work.
    Device,
}

/// An exception of ours.
pub(crate) fn raised(kind: Kind, words: &str) -> PyErr {
    Python::attach(|py| {
        let classes = CLASSES.get_or_try_init(py, || {
            let module = py.import("mambabyte._errors")?;
            NAMES.iter().map(|name| Ok(module.getattr(*name)?.cast_into::<PyType>()?.unbind())).collect()
        });
        match classes {
            Ok(classes) => match classes.get(kind as usize) {
                Some(class) => PyErr::from_type(class.bind(py).clone(), (words.to_owned(),)),
                None => pyo3::exceptions::PyRuntimeError::new_err(words.to_owned()),
            },
            Err(error) => error,
        }
    })
}

/// An argument that makes no sense.
pub(crate) fn usage(words: impl AsRef<str>) -> PyErr {
    raised(Kind::Usage, words.as_ref())
}

/// The kind of an error.
const fn kind(error: &CliError) -> Kind {
    if error.is_of_device() {
        return Kind::Device;
    }
    match error {
        CliError::Usage(_) | CliError::NeedsBlob { .. } | CliError::NoModel { .. } => Kind::Usage,
        CliError::Engine(EngineError::NotIntegers { .. }) => Kind::Usage,
        CliError::Archive { source: ArchiveFault::Needs(_), .. } => Kind::Usage,
        CliError::Io { .. } | CliError::Output { .. } => Kind::File,
        CliError::Blob { .. }
        | CliError::Contents { .. }
        | CliError::NoBlob { .. }
        | CliError::State { .. }
        | CliError::Archive { .. }
        | CliError::Format(_)
        | CliError::Onnx(_)
        | CliError::Model(_)
        | CliError::TrainState { .. } => Kind::Data,
        CliError::Engine(EngineError::State(_)) => Kind::Data,
        _ => Kind::Other,
    }
}

/// The words of an error, its causes after it, and what helps.
pub(crate) fn words(error: &CliError) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let said = source.to_string();
        // A transparent error has its cause's words.
        if !words.ends_with(&said) {
            words = format!("{words}: {said}");
        }
        cause = source.source();
    }
    match error.help() {
        Some(help) => format!("{words} ({help})"),
        None => words,
    }
}

/// The exception of an error.
pub(crate) fn exception(error: &CliError) -> PyErr {
    raised(kind(error), &words(error))
}
