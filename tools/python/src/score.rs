//! `score`: what many texts cost, on all cores.

use mambabyte::error::CliError;
use mambabyte_host::bpb::{Cost, compare, each, evaluate};
use mambabyte_host::engine::{Engine, EngineError};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::data;
use crate::error::{exception, usage};
use crate::model::{Model, check, engine};
use crate::options;
use crate::work::{check_signals, detached};

/// What texts cost. Arrays have one number for each text.
#[pyclass(frozen, module = "mambabyte")]
pub(crate) struct Scores {
    bytes: Vec<u64>,
    costs: Vec<Cost>,
}

impl Scores {
    fn array<'py>(&self, py: Python<'py>, of: impl Fn(&Cost) -> Option<f64>) -> Option<Bound<'py, PyArray1<f64>>> {
        let bits: Option<Vec<f64>> = self.costs.iter().map(of).collect();
        bits.map(|bits| PyArray1::from_vec(py, bits))
    }

    fn per_byte<'py>(&self, py: Python<'py>, of: impl Fn(&Cost) -> Option<f64>) -> Option<Bound<'py, PyArray1<f64>>> {
        let each = self.costs.iter().zip(&self.bytes);
        let bits: Option<Vec<f64>> = each.map(|(cost, &bytes)| Some(of(cost)? / bytes as f64)).collect();
        bits.map(|bits| PyArray1::from_vec(py, bits))
    }
}

/// What was asked for.
fn asked(cost: &Cost) -> Option<f64> {
    cost.mixed.or(cost.net)
}

#[pymethods]
impl Scores {
    /// Bytes of each text, uint64.
    #[getter]
    fn bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        PyArray1::from_slice(py, &self.bytes)
    }

    /// Bits of each text, float64: of model and adapter together, or of the one that there is.
    #[getter]
    fn bits<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f64>>> {
        self.array(py, asked)
    }

    /// Bits per byte of each text, float64; NaN of an empty one.
    #[getter]
    fn bits_per_byte<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f64>>> {
        self.per_byte(py, asked)
    }

    /// Bits of each text under the model alone, float64; None without a model.
    #[getter]
    fn bits_net<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f64>>> {
        self.array(py, |cost| cost.net)
    }

    /// Bits per byte of each text under the model alone, float64; None without a model.
    #[getter]
    fn bits_per_byte_net<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f64>>> {
        self.per_byte(py, |cost| cost.net)
    }

    fn __len__(&self) -> usize {
        self.bytes.len()
    }

    fn __repr__(&self) -> String {
        format!("<mambabyte.Scores of {} texts>", self.bytes.len())
    }
}

/// Bytes of texts that are scored between two looks at whether someone wants to stop.
const BATCH: usize = 1 << 20;

/// What each of many texts costs, on all cores; as `mambabyte eval` measures it.
///
/// `model` is a Model, or what Model takes; None is no net, an adapter alone. `texts` are bytes, as many as there are. Each is
/// read from the beginning of a stream, and with `window` anew every so many bytes. With `adapt` an adapter of that preset
/// learns each text or window beside the model. Texts of like lengths are read side by side and share the weights.
///
/// The bits of an adapter are exact; those of a model are summed in float64 in a fixed order, so that they are equal on every
/// machine.
///
/// Raises UsageError for a window of 0, or neither model nor adapter; TypeError for a text that is not bytes.
#[pyfunction]
#[pyo3(signature = (model, texts, *, window = None, adapt = None))]
pub(crate) fn score(
    py: Python<'_>,
    model: Option<&Bound<'_, PyAny>>,
    texts: &Bound<'_, PyAny>,
    window: Option<usize>,
    adapt: Option<&str>,
) -> PyResult<Scores> {
    let model = Model::or_none(model)?;
    let preset = options::preset(adapt, model.is_some())?;
    if window == Some(0) {
        return Err(usage("window: at least 1"));
    }
    if texts.is_instance_of::<PyBytes>() || texts.is_instance_of::<pyo3::types::PyString>() {
        return Err(pyo3::exceptions::PyTypeError::new_err("texts: several texts, such as a list of bytes"));
    }
    let texts: Vec<Bound<'_, PyBytes>> = texts.try_iter()?.map(|text| data::bytes(&text?)).collect::<PyResult<_>>()?;
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let loaded = model.as_ref().map(|model| std::sync::Arc::clone(model.get().loaded()));
    check(loaded.as_ref())?;
    let costs = detached(py, || {
        let engine = engine(loaded.as_ref());
        let wrong = |error: EngineError| exception(&CliError::from(error));
        let mut costs = Vec::with_capacity(texts.len());
        match window {
            None => {
                for batch in batches(&texts) {
                    check_signals()?;
                    costs.extend(each(engine, preset, batch, &|_| ()).map_err(wrong)?);
                }
            }
            Some(_) => {
                for text in &texts {
                    check_signals()?;
                    costs.push(windows(engine, preset, text, window).map_err(wrong)?);
                }
            }
        }
        Ok::<_, PyErr>(costs)
    })??;
    Ok(Scores { bytes: texts.iter().map(|text| text.len() as u64).collect(), costs })
}

/// One text in windows.
fn windows<E: Engine>(
    engine: Option<&E>,
    preset: Option<mambabyte_host::adapt::Preset>,
    text: &[u8],
    window: Option<usize>,
) -> Result<Cost, EngineError> {
    match (engine, preset) {
        (engine, Some(preset)) => {
            let compared = compare(engine, preset, false, text, window, &|_| ())?;
            Ok(Cost { net: compared.net.map(|net| net.bits), mixed: Some(compared.mixed.bits) })
        }
        (Some(engine), None) => Ok(Cost { net: Some(evaluate(engine, text, window, &|_| ())?.bits), mixed: None }),
        (None, None) => Ok(Cost::default()),
    }
}

/// Texts in pieces of about [`BATCH`] bytes, one at least.
fn batches<'t, 'b>(texts: &'t [&'b [u8]]) -> impl Iterator<Item = &'t [&'b [u8]]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut left = BATCH;
        let fits = |text: &&&[u8]| {
            let fits = left > 0;
            left = left.saturating_sub(text.len());
            fits
        };
        let count = rest.iter().take_while(fits).count();
        let (batch, after) = rest.split_at(count);
        rest = after;
        (count > 0).then_some(batch)
    })
}
