//! `Surprise`: what bytes cost, as arrays.

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// What the bytes of a call of Stream.feed cost. Arrays have one number for each byte.
///
/// The arrays of integers are the results themselves, without a copy: equal on every machine. Those of floats are made when
/// they are asked for.
#[pyclass(frozen, module = "mambabyte")]
pub(crate) struct Surprise {
    text: Py<PyBytes>,
    net: Option<Py<PyArray1<u32>>>,
    adapted: Option<Py<PyArray1<u32>>>,
}

/// Q16 bits as bits, f32.
fn floats<'py>(py: Python<'py>, bits: &Py<PyArray1<u32>>) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let bits = bits.bind(py).try_readonly()?;
    let bits = bits.as_slice()?;
    Ok(PyArray1::from_iter(py, bits.iter().map(|&bits| bits as f32 / 65_536.0)))
}

impl Surprise {
    /// What `text` cost, Q16, under the net and under the adapter.
    pub(crate) fn new(text: &Bound<'_, PyBytes>, net: Option<Vec<u32>>, adapted: Option<Vec<u32>>) -> Self {
        let py = text.py();
        let array = |bits: Vec<u32>| PyArray1::from_vec(py, bits).unbind();
        Self { text: text.clone().unbind(), net: net.map(array), adapted: adapted.map(array) }
    }

    fn asked(&self) -> Option<&Py<PyArray1<u32>>> {
        self.adapted.as_ref().or(self.net.as_ref())
    }
}

#[pymethods]
impl Surprise {
    /// The bytes that were fed.
    #[getter]
    fn text(&self, py: Python<'_>) -> Py<PyBytes> {
        self.text.clone_ref(py)
    }

    /// Bits of each byte under the model alone, 1/65536 of a bit, uint32; None without a model.
    #[getter]
    fn net_q16(&self, py: Python<'_>) -> Option<Py<PyArray1<u32>>> {
        self.net.as_ref().map(|bits| bits.clone_ref(py))
    }

    /// Bits of each byte under model and adapter together, 1/65536 of a bit, uint32; None without an adapter.
    #[getter]
    fn adapted_q16(&self, py: Python<'_>) -> Option<Py<PyArray1<u32>>> {
        self.adapted.as_ref().map(|bits| bits.clone_ref(py))
    }

    /// Bits of each byte under the model alone, float32; None without a model.
    #[getter]
    fn net<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray1<f32>>>> {
        self.net.as_ref().map(|bits| floats(py, bits)).transpose()
    }

    /// Bits of each byte under model and adapter together, float32; None without an adapter.
    #[getter]
    fn adapted<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray1<f32>>>> {
        self.adapted.as_ref().map(|bits| floats(py, bits)).transpose()
    }

    /// Bits of each byte under what the stream was made of, float32: adapted if there is an adapter, else the model's.
    #[getter]
    fn bits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        match self.asked() {
            Some(bits) => floats(py, bits),
            None => Ok(PyArray1::from_vec(py, Vec::new())),
        }
    }

    /// Mean of `bits`, summed exactly; NaN of no bytes.
    #[getter]
    fn bits_per_byte(&self, py: Python<'_>) -> PyResult<f64> {
        let Some(bits) = self.asked() else { return Ok(f64::NAN) };
        let bits = bits.bind(py).try_readonly()?;
        let bits = bits.as_slice()?;
        let sum: u64 = bits.iter().map(|&bits| u64::from(bits)).sum();
        Ok(sum as f64 / 65_536.0 / bits.len() as f64)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.text.as_bytes(py).len()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let bytes = self.text.as_bytes(py).len();
        Ok(format!("<mambabyte.Surprise of {bytes} bytes, {:.4} bits per byte>", self.bits_per_byte(py)?))
    }
}
