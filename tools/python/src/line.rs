//! `Line`, `Worst`, `Event`: records of a stream, as `mambabyte stream --json` has them.

use mambabyte::records::{self, Found, q8, q16};
use mambabyte::watching::Scored;
use mambabyte_core::detect::{Event as Said, Verdict};
use mambabyte_host::stream::LineScores;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use serde_json::Value;

/// The byte that stands out most in a line.
#[pyclass(frozen, get_all, module = "mambabyte")]
#[derive(Clone, Debug)]
pub(crate) struct Worst {
    /// Its place in the line, or in the piece, from 0.
    offset: u32,
    /// The byte, 0 to 255.
    byte: u8,
    /// What it cost, in bits.
    bits: f64,
    /// What was likeliest there, as pairs of a byte and the bits that it would have cost; of odd lines.
    instead: Vec<(u8, f64)>,
}

#[pymethods]
impl Worst {
    fn __repr__(&self) -> String {
        format!("Worst(offset={}, byte={}, bits={}, instead={:?})", self.offset, self.byte, self.bits, self.instead)
    }
}

/// Something that happens to a stream: learned, more-odd, new-normal, new-kind, frozen or unknown-text.
#[pyclass(frozen, get_all, module = "mambabyte")]
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Its name.
    event: &'static str,
    /// The number of the line at which it is said.
    line: u64,
    /// Position of that line's first byte.
    start: u64,
    /// learned: lines of the first 64 that look odd afterwards.
    odd_lines: Option<Vec<u8>>,
    /// more-odd: the share of the last 64 lines or so.
    share: Option<f64>,
}

impl Event {
    fn of(said: Said, verdict: &Verdict, line: u64, start: u64) -> Self {
        let learned = (said == Said::Learned).then(|| records::learned(verdict));
        let share = (said == Said::MoreOdd).then(|| records::rounded(records::share(verdict)));
        Self { event: said.name(), line, start, odd_lines: learned, share }
    }
}

#[pymethods]
impl Event {
    /// The record as `mambabyte stream --json --no-time` has it, as a dict.
    fn record<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let record = PyDict::new(py);
        record.set_item("event", self.event)?;
        record.set_item("line", self.line)?;
        record.set_item("start", self.start)?;
        if let Some(lines) = &self.odd_lines {
            record.set_item("odd_lines", PyList::new(py, lines)?)?;
        }
        if let Some(share) = self.share {
            record.set_item("share", share)?;
        }
        Ok(record)
    }

    fn __repr__(&self) -> String {
        format!("<mambabyte.Event {} at line {}>", self.event, self.line)
    }
}

/// A scored line of a stream, or a piece of a line of more than 4,096 bytes. Bits have three decimals, as in the records of
/// the command.
#[pyclass(frozen, module = "mambabyte")]
#[derive(Clone, Debug)]
pub(crate) struct Line {
    line: u64,
    piece: Option<u32>,
    start: u64,
    bytes: u32,
    text: Vec<u8>,
    adapted: (u32, u32),
    net: Option<(u32, u32)>,
    adapt: &'static str,
    found: Found,
    events: Vec<Event>,
}

impl Line {
    /// A copy of a record.
    pub(crate) fn of(line: &records::Line<'_>, scored: Scored, scores: &LineScores, adapt: &'static str) -> Self {
        let events = match &scores.verdict {
            Some(verdict) => {
                verdict.events.iter().map(|said| Event::of(said, verdict, scored.line, line.start)).collect()
            }
            None => Vec::new(),
        };
        Self {
            line: scored.line,
            piece: scored.piece,
            start: line.start,
            bytes: line.bytes,
            text: line.text.unwrap_or(&[]).to_vec(),
            adapted: line.adapted,
            net: line.net,
            adapt,
            found: line.found.clone(),
            events,
        }
    }

    fn record_of(&self) -> records::Line<'_> {
        records::Line {
            line: Some(self.line),
            piece: self.piece,
            start: self.start,
            bytes: self.bytes,
            text: Some(&self.text),
            adapted: self.adapted,
            net: self.net,
            adapt: Some(self.adapt),
            found: self.found.clone(),
            ..records::Line::default()
        }
    }
}

#[pymethods]
impl Line {
    /// Its number in the stream, from 1.
    #[getter]
    const fn line(&self) -> u64 {
        self.line
    }

    /// Which piece of it, from 1, if it is scored in pieces.
    #[getter]
    const fn piece(&self) -> Option<u32> {
        self.piece
    }

    /// Position of its first byte in the stream.
    #[getter]
    const fn start(&self) -> u64 {
        self.start
    }

    /// Bytes, the line end included.
    #[getter]
    const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Its bytes without the line end.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.text)
    }

    /// Mean surprise in bits per byte, adapted: of model and adapter together.
    #[getter]
    fn bits_per_byte(&self) -> f64 {
        q16(self.adapted.0)
    }

    /// Largest mean over eight bytes, adapted.
    #[getter]
    fn peak(&self) -> f64 {
        q16(self.adapted.1)
    }

    /// Mean surprise under the model alone, where an adapter hears it.
    #[getter]
    fn bits_per_byte_net(&self) -> Option<f64> {
        self.net.map(|net| q16(net.0))
    }

    /// Largest mean over eight bytes under the model alone.
    #[getter]
    fn peak_net(&self) -> Option<f64> {
        self.net.map(|net| q16(net.1))
    }

    /// The preset of the adapter, or "off".
    #[getter]
    const fn adapt(&self) -> &'static str {
        self.adapt
    }

    /// Someone should look.
    #[getter]
    const fn alarm(&self) -> bool {
        self.found.alarm
    }

    /// Rarer than the share that was asked for; alarms are as many of them as the promise allows.
    #[getter]
    const fn odd(&self) -> bool {
        self.found.odd
    }

    /// Why it is odd: byte, stretch; with a threshold mean, peak.
    #[getter]
    const fn reason(&self) -> Option<&'static str> {
        self.found.reason
    }

    /// 2^-rarity of quiet lines are as odd: bits. None with a threshold.
    #[getter]
    fn rarity(&self) -> Option<f64> {
        self.found.rarity.map(q8)
    }

    /// The threshold of the mean, if there is one.
    #[getter]
    fn threshold(&self) -> Option<f64> {
        self.found.thresholds.and_then(|(mean, _)| mean).map(q16)
    }

    /// The threshold of the peak, if there is one.
    #[getter]
    fn threshold_peak(&self) -> Option<f64> {
        self.found.thresholds.and_then(|(_, peak)| peak).map(q16)
    }

    /// The byte that stands out most; None with a threshold.
    #[getter]
    fn worst(&self) -> Option<Worst> {
        let worst = self.found.worst.as_ref()?;
        let instead = worst.instead.iter().map(|&(byte, bits)| (byte, q16(bits))).collect();
        Some(Worst { offset: worst.offset, byte: worst.byte, bits: q8(worst.bits), instead })
    }

    /// How often such a line came since it was odd for the first time, if more than once.
    #[getter]
    const fn seen(&self) -> Option<u32> {
        self.found.seen
    }

    /// It is odd, and `ignore` says that it is fine: no alarm.
    #[getter]
    const fn fine(&self) -> bool {
        self.found.fine
    }

    /// What happens to the stream at this line.
    #[getter]
    fn events(&self) -> Vec<Event> {
        self.events.clone()
    }

    /// The record as `mambabyte stream --json --no-time` has it, as a dict: docs/stream.schema.json. Events are records of
    /// their own.
    fn record<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let record = PyDict::new(py);
        for (name, value) in &self.record_of().record() {
            record.set_item(name, object(py, value)?)?;
        }
        Ok(record)
    }

    fn __repr__(&self) -> String {
        let what = match (self.found.alarm, self.found.odd) {
            (true, _) => ", alarm",
            (false, true) => ", odd",
            _ => "",
        };
        format!("<mambabyte.Line {}, {:.3} bits per byte{what}>", self.line, self.bits_per_byte())
    }
}

/// A value of a record as an object.
fn object<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Value::Number(number) => match number.as_u64() {
            Some(number) => number.into_pyobject(py)?.into_any(),
            None => number.as_f64().unwrap_or(f64::NAN).into_pyobject(py)?.into_any(),
        },
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::Array(values) => {
            let list = PyList::empty(py);
            values.iter().try_for_each(|value| list.append(object(py, value)?))?;
            list.into_any()
        }
        Value::Object(values) => {
            let dict = PyDict::new(py);
            values.iter().try_for_each(|(name, value)| dict.set_item(name, object(py, value)?))?;
            dict.into_any()
        }
    })
}
