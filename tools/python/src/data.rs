//! Bytes that come from Python: objects with a buffer, and files.

use std::io::{self, Read, Write};
use std::sync::Mutex;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyString};

use crate::work::locked;

/// The bytes of an argument: `bytes` as they are, without a copy. Any other buffer is copied: someone could write to it
/// while it is read without the interpreter's lock.
///
/// # Errors
/// `TypeError` for what has no buffer of bytes; `str` is none, since it is for the caller to say how it is encoded.
pub(crate) fn bytes<'py>(given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    if given.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("a model reads bytes, not str: encode it, for example by .encode()"));
    }
    let view = PyMemoryView::from(given)
        .map_err(|_| PyTypeError::new_err(format!("bytes are needed, not {}", type_name(given))))?;
    Ok(view.call_method0("tobytes")?.cast_into()?)
}

/// The name of an object's type.
pub(crate) fn type_name(given: &Bound<'_, PyAny>) -> String {
    given.get_type().name().map_or_else(|_| "this object".to_owned(), |name| name.to_string())
}

/// Whether it is read like a file.
pub(crate) fn is_file(given: &Bound<'_, PyAny>) -> bool {
    given.hasattr("read").unwrap_or(false)
}

/// What a file of Python raised, while Rust read it or wrote to it.
#[derive(Default)]
pub(crate) struct Raised(Mutex<Option<PyErr>>);

impl Raised {
    /// Keeps what was raised.
    fn keep(&self, error: PyErr) -> io::Error {
        *locked(&self.0) = Some(error);
        io::Error::other("a file of Python has raised an exception")
    }

    /// What was raised first, else `error`.
    pub(crate) fn or(&self, error: PyErr) -> PyErr {
        locked(&self.0).take().unwrap_or(error)
    }
}

/// A file of Python that is read, or bytes.
pub(crate) enum Source<'a> {
    /// All of it.
    Bytes(&'a [u8]),
    /// An object with `read`.
    File(Py<PyAny>, &'a Raised),
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => bytes.read(out),
            Self::File(file, raised) => Python::attach(|py| {
                let mut read = || -> PyResult<usize> {
                    py.check_signals()?;
                    let found = file.bind(py).call_method1("read", (out.len(),))?;
                    let found = bytes(&found)?;
                    let found = found.as_bytes();
                    let room = out.get_mut(..found.len());
                    let room = room.ok_or_else(|| PyTypeError::new_err("read(n) gave more than n bytes"))?;
                    room.copy_from_slice(found);
                    Ok(found.len())
                };
                read().map_err(|error| raised.keep(error))
            }),
        }
    }
}

/// A file of Python that is written, or memory of a bounded size.
pub(crate) enum Sink<'a> {
    /// At most so many bytes.
    Memory(&'a mut Vec<u8>, u64),
    /// An object with `write`; at most so many bytes.
    File(Py<PyAny>, &'a Raised, u64),
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (Self::Memory(_, left) | Self::File(_, _, left)) = self;
        *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            io::Error::other("the text is longer than max_bytes, which bounds what an archive of strangers may become")
        })?;
        match self {
            Self::Memory(memory, _) => {
                memory.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Self::File(file, raised, _) => Python::attach(|py| {
                let write = || -> PyResult<()> {
                    py.check_signals()?;
                    let mut rest = bytes;
                    while !rest.is_empty() {
                        let written = file.bind(py).call_method1("write", (PyBytes::new(py, rest),))?;
                        // A buffered file takes all of it; a raw one says how much.
                        let written = written.extract::<usize>().unwrap_or(rest.len()).clamp(1, rest.len());
                        rest = &rest[written..];
                    }
                    Ok(())
                };
                write().map(|()| bytes.len()).map_err(|error| raised.keep(error))
            }),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
