//! The module `mambabyte._mambabyte`, which the Python package `mambabyte` is made of: `python/mambabyte`, `docs/PYTHON.md`.
//!
//! Thin: an argument is checked and turned into what the libraries of the command take, the interpreter's lock is given back
//! while they compute, and results become arrays and objects.
//!
//! * `model`, `stream`, `score`, `archive`, `generate`, `making`: a class or function of the package each.
//! * `line`, `surprise`: what a stream gives.
//! * `data`, `options`, `error`, `work`: bytes, arguments, exceptions, and computing without the interpreter's lock.
//!
//! A class that moves holds what it borrows from beside it (`self_cell`) and is behind a lock, which is taken without the
//! interpreter's, so that neither waits for the other.

mod archive;
mod data;
mod error;
mod generate;
mod line;
mod making;
mod model;
mod options;
mod score;
mod stream;
mod surprise;
mod work;

use pyo3::prelude::*;

/// A line that the command would have written to standard error goes to the logger `mambabyte`. That nobody hears it is no
/// error.
fn hear(line: &str) {
    Python::attach(|py| {
        let method = if line.starts_with("note: ") { "warning" } else { "info" };
        let said = py.import("logging").and_then(|logging| logging.call_method1("getLogger", ("mambabyte",)));
        let _ = said.and_then(|logger| logger.call_method1(method, ("%s", line)));
    });
}

/// Byte-level Mamba models in exact integers.
#[pymodule]
mod _mambabyte {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::archive::{compress, decompress};
    #[pymodule_export]
    use super::generate::{Generation, generate};
    #[pymodule_export]
    use super::line::{Event, Line, Worst};
    #[pymodule_export]
    use super::making::{Converted, Trained, convert, export, train};
    #[pymodule_export]
    use super::model::{_model, Model};
    #[pymodule_export]
    use super::score::{Scores, score};
    #[pymodule_export]
    use super::stream::{_stream, Lines, Stream};
    #[pymodule_export]
    use super::surprise::Surprise;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        mambabyte::output::heard_by(super::hear);
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
