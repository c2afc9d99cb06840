//! `generate`: text that a model writes, as an iterator.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mambabyte::numbers;
use mambabyte::sampling::Sampling;
use mambabyte::writing::{Mode, Speculating, Stops, Way, Writer, length};
use mambabyte_host::engine::EngineError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use self_cell::self_cell;

use crate::data;
use crate::error::{exception, usage};
use crate::model::{Loaded, Model, check, engine};
use crate::options;
use crate::work::{Held, check_signals, compute, detached};

/// Most bytes that are written at once.
const AT_ONCE: usize = 64;
/// A time that nobody notices.
const SOON: Duration = Duration::from_millis(20);

/// The model that writes and the one that drafts.
type Engines = (Option<Arc<Loaded>>, Option<Arc<Loaded>>);
type Writing<'a> = Writer<'a, 'a>;

self_cell!(
    struct Pen {
        owner: Engines,
        #[not_covariant]
        dependent: Writing,
    }
);

/// What moves.
struct Moving {
    /// `None` after the end.
    pen: Option<Pen>,
    left: u64,
    now: usize,
    stops: Vec<Vec<u8>>,
    /// The end of what was written, where a text to stop at may have begun.
    before: Vec<u8>,
}

impl Drop for Moving {
    fn drop(&mut self) {
        let elsewhere = |loaded: &Option<Arc<Loaded>>| loaded.as_ref().is_some_and(|loaded| loaded.is_elsewhere());
        if self.pen.as_ref().is_some_and(|pen| elsewhere(&pen.borrow_owner().0) || elsewhere(&pen.borrow_owner().1)) {
            std::mem::forget(self.pen.take());
        }
    }
}

impl Moving {
    /// # Errors
    /// As [`check`].
    fn check(&self) -> PyResult<()> {
        let Some((net, helper)) = self.pen.as_ref().map(Pen::borrow_owner) else { return Ok(()) };
        check(net.as_ref()).and_then(|()| check(helper.as_ref()))
    }
}

impl Moving {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        let Self { pen: Some(pen), left: left @ 1.., now, .. } = self else { return Ok(None) };
        let begun = Instant::now();
        let count = (*now).min(usize::try_from(*left).unwrap_or(usize::MAX));
        let mut text = pen.with_dependent_mut(|_, writer| writer.write(count))?;
        *left -= count as u64;
        // Twice as many bytes at once, as long as nobody notices the wait.
        *now = if begun.elapsed() < SOON { (2 * *now).min(AT_ONCE) } else { *now };
        let longest = self.stops.iter().map(Vec::len).max().unwrap_or(0);
        let mut stops = Stops::new(self.stops.iter().map(Vec::as_slice).collect());
        // Of what came before nothing was complete.
        stops.end(&self.before);
        if let Some(end) = stops.end(&text) {
            text.truncate(end);
            self.left = 0;
        }
        self.before.extend_from_slice(&text);
        let surplus = self.before.len().saturating_sub(longest.saturating_sub(1));
        self.before.drain(..surplus);
        Ok(Some(text))
    }
}

/// Text that a model writes: an iterator of bytes, a few at a time.
#[pyclass(frozen, module = "mambabyte")]
pub(crate) struct Generation {
    moving: Held<Moving>,
}

#[pymethods]
impl Generation {
    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let text = detached(py, || {
            let mut moving = self.moving.lock().map_err(|error| exception(&error))?;
            moving.check()?;
            moving.next().map_err(|error| exception(&error.into()))
        })??;
        Ok(text.map(|text| PyBytes::new(py, &text)))
    }

    /// All that is still to be written.
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let text = py.detach(|| -> PyResult<Vec<u8>> {
            let (mut moving, mut all) = (self.moving.lock().map_err(|error| exception(&error))?, Vec::new());
            moving.check()?;
            while let Some(text) = moving.next().map_err(|error| exception(&error.into()))? {
                check_signals()?;
                all.extend(text);
            }
            Ok(all)
        })?;
        Ok(PyBytes::new(py, &text))
    }

    /// What drafts did so far, a dict: drafted, accepted, written, rounds, acceptance (the share of those that were looked at);
    /// None without drafts.
    #[getter]
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let stats = compute(py, || {
            let mut moving = self.moving.lock()?;
            let Some(pen) = moving.pen.as_mut() else { return Ok(None) };
            Ok(pen.with_dependent_mut(|_, writer| {
                let stats = writer.stats()?;
                Some((stats.drafted, stats.accepted, stats.written, stats.rounds, stats.acceptance()))
            }))
        })?;
        let Some((drafted, accepted, written, rounds, acceptance)) = stats else { return Ok(None) };
        let found = PyDict::new(py);
        found.set_item("drafted", drafted)?;
        found.set_item("accepted", accepted)?;
        found.set_item("written", written)?;
        found.set_item("rounds", rounds)?;
        found.set_item("acceptance", acceptance)?;
        Ok(Some(found))
    }
}

/// A number that the command would take.
fn checked(name: &str, number: f64, parse: fn(&str) -> Result<f64, String>) -> PyResult<f64> {
    parse(&number.to_string()).map_err(|why| usage(format!("{name}: {why}")))
}

/// Bytes that a model finds likely, as `mambabyte generate` writes them; an iterator.
///
/// `model` is a Model, or what Model takes; None is no net, an adapter alone. The text goes on from `prompt`, which is not
/// repeated, for at most `n` bytes, or until one of the texts in `stop` is complete, which is written too. `temperature` 0 takes
/// the most likely byte; `top_k` only so many most likely bytes, 0 for all; `top_p` only those that together reach this share.
/// Equal seeds give equal text, in integers on every machine. `adapt` is an adapter beside the model, which learns the prompt
/// and what is written.
///
/// `speculate` drafts what comes next for the model to verify: "suffix", "adapter", or another model. With
/// `speculate_mode="exact"` the text is the one without drafts; with "rejection" it is another one of the same distribution.
/// `draft_len` is how many bytes a draft has at most, or "auto".
///
/// Raises UsageError for a number that makes no sense.
#[pyfunction]
#[pyo3(signature = (model, prompt = None, n = 256, *, temperature = 1.0, top_k = 0, top_p = 1.0, seed = 0, stop = Vec::new(),
    adapt = None, speculate = None, draft_len = None, speculate_mode = "exact"),
    text_signature = "(model, prompt=None, n=256, *, temperature=1.0, top_k=0, top_p=1.0, seed=0, stop=(), adapt=None, \
    speculate=None, draft_len=None, speculate_mode='exact')")]
#[expect(clippy::too_many_arguments, reason = "they are named where it is called")]
pub(crate) fn generate(
    py: Python<'_>,
    model: Option<&Bound<'_, PyAny>>,
    prompt: Option<&Bound<'_, PyAny>>,
    n: u64,
    temperature: f64,
    top_k: u16,
    top_p: f64,
    seed: u64,
    stop: Vec<Bound<'_, PyAny>>,
    adapt: Option<&str>,
    speculate: Option<&Bound<'_, PyAny>>,
    draft_len: Option<&Bound<'_, PyAny>>,
    speculate_mode: &str,
) -> PyResult<Generation> {
    let net = Model::or_none(model)?;
    let preset = options::preset(adapt, net.is_some())?;
    if top_k > 256 {
        return Err(usage("top_k: 0 to 256"));
    }
    let temperature = checked("temperature", temperature, numbers::temperature)?;
    let top_p = checked("top_p", top_p, numbers::share)?;
    let options = Sampling { temperature, top_k, top_p }.options();
    let mut stops = Vec::new();
    for text in &stop {
        stops.push(data::bytes(text)?.as_bytes().to_vec());
        if stops.last().is_some_and(Vec::is_empty) {
            return Err(usage("stop: it is empty"));
        }
    }
    if speculate.is_some() && net.is_none() {
        return Err(usage("speculate: without a model an adapter reads byte by byte, so drafts save nothing"));
    }
    let word = speculate.and_then(|given| given.extract::<String>().ok());
    let word = word.filter(|word| ["suffix", "adapter"].contains(&word.as_str()));
    let helper = match (speculate, &word) {
        (Some(given), None) => Some(Model::of(given)?),
        _ => None,
    };
    let draft_len =
        draft_len.map_or_else(|| Ok("auto".to_owned()), |given| given.str().map(|word| word.to_string()))?;
    let speculating = Speculating {
        speculate: speculate.map(|_| PathBuf::from(word.unwrap_or_default())),
        draft_len: length(&draft_len).map_err(|why| usage(format!("draft_len: {why}")))?,
        speculate_mode: match speculate_mode {
            "exact" => Mode::Exact,
            "rejection" => Mode::Rejection,
            other => return Err(usage(format!("speculate_mode {other:?}: exact or rejection"))),
        },
        beta: None,
        stats: false,
    };
    let prompt = prompt.map(data::bytes).transpose()?;
    let prompt = prompt.as_ref().map_or(&[][..], |prompt| prompt.as_bytes());
    let way = Way { preset, seed, options };
    let arc = |model: Bound<'_, Model>| Arc::clone(model.get().loaded());
    let engines: Engines = (net.map(arc), helper.map(arc));
    check(engines.0.as_ref()).and_then(|()| check(engines.1.as_ref()))?;
    let pen = compute(py, || {
        Ok(Pen::try_new(engines, |(net, helper)| match engine(net.as_ref()) {
            Some(engine) if speculating.is_on() => {
                let drafter = speculating.drafter_of_bytes(self::engine(helper.as_ref()), 1)?;
                Writer::drafted(engine, way, None, prompt, drafter, speculating.rule(), speculating.draft_len)
            }
            engine => Writer::plain(engine, way, None, prompt),
        })?)
    })?;
    // A piece ends a draft. Where the text depends on drafts, pieces do not depend on the time.
    let now = if speculating.is_exact() { 1 } else { AT_ONCE };
    let moving = Moving { pen: Some(pen), left: n, now, stops, before: Vec::new() };
    Ok(Generation { moving: Held::new(moving) })
}
