//! `Stream`: bytes that pass by, read by a model, an adapter, or both.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use mambabyte::adapting;
use mambabyte::error::CliError;
use mambabyte::watching::{Count, FalseAlarms, Judge, Listener, Page, Repeats, Rule, RuleArgs, read};
use mambabyte_core::VOCAB;
use mambabyte_core::lines::MAX_LINE;
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::engine::{AnyEngine, Engine, EngineError, natural};
use mambabyte_host::stream::{Cost, LineScores, Reader};
use numpy::PyArray1;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyTuple};
use regex::bytes::Regex;
use self_cell::self_cell;

use crate::data;
use crate::error::{exception, usage};
use crate::line::Line;
use crate::model::{Loaded, Model, check, engine};
use crate::options;
use crate::surprise::Surprise;
use crate::work::{Held, check_signals, compute};

type Watching<'a> = Reader<'a, AnyEngine<'a>>;

self_cell!(
    /// A reader and what it reads with.
    struct Watched {
        owner: Option<Arc<Loaded>>,
        #[not_covariant]
        dependent: Watching,
    }
);

/// Bytes after which it is looked whether someone wants to stop; where no model reads, those of a block.
const BLOCK: usize = 1 << 16;
/// Bytes that each thread reads at once where lines are asked for: as the command does.
const PIECE: usize = 64;

/// What a stream was made with, and can be made with again.
#[derive(Clone, Debug)]
struct Made {
    preset: Option<Preset>,
    false_alarms: Option<String>,
    threshold: Option<String>,
    ignore: Vec<String>,
}

impl Made {
    /// # Errors
    /// `UsageError`.
    fn rule(&self) -> PyResult<Rule> {
        if self.false_alarms.is_some() && self.threshold.is_some() {
            return Err(usage("false_alarms and threshold: give one of them"));
        }
        let regex = |text: &String| Regex::new(text).map_err(|why| usage(format!("ignore: {why}")));
        let rule = Rule::new(&RuleArgs {
            false_alarms: self.false_alarms.clone(),
            threshold: self.threshold.clone(),
            ignore: self.ignore.iter().map(regex).collect::<PyResult<_>>()?,
            normal: None::<PathBuf>,
        })
        .map_err(|error| exception(&error))?;
        match rule.judge {
            Judge::Detector(FalseAlarms::PerDay(_)) => {
                Err(usage("false_alarms: a share such as \"1%\"; alarms a day need the clock of the command `stream`"))
            }
            _ => Ok(rule),
        }
    }
}

/// What moves.
struct Moving {
    watched: Option<Watched>,
    page: Page,
    /// What the reader has read since its mark.
    since: Vec<u8>,
}

impl Drop for Moving {
    fn drop(&mut self) {
        let loaded = self.watched.as_ref().and_then(|watched| watched.borrow_owner().as_ref());
        if loaded.is_some_and(|loaded| loaded.is_elsewhere()) {
            std::mem::forget(self.watched.take());
        }
    }
}

impl Moving {
    fn new(loaded: Option<Arc<Loaded>>, made: &Made, rule: &Rule) -> Result<Self, CliError> {
        let watched = Watched::try_new(loaded, |loaded| {
            let engine = engine(loaded.as_ref());
            let adapter = made.preset.map(|preset| AnyAdapter::new(preset, engine.is_some()));
            match rule.judge {
                Judge::Detector(wanted) => Reader::detecting(engine, adapter, wanted.rate()),
                Judge::Threshold(threshold) => Reader::of(engine, adapter, threshold),
            }
        })?;
        Ok(Self { watched: Some(watched), page: Page::default(), since: Vec::new() })
    }

    /// The reader, and the rest.
    fn with<T>(&mut self, work: impl FnOnce(&mut Watching<'_>, &mut Page, &mut Vec<u8>) -> T) -> T {
        let Self { watched, page, since } = self;
        // It is taken out where it is dropped, and nowhere else.
        let watched = watched.as_mut().unwrap_or_else(|| unreachable!());
        watched.with_dependent_mut(|_, reader| work(reader, page, since))
    }

    /// After the reader has moved without its mark.
    fn unmark(&mut self) {
        self.page.marked = false;
        self.since.clear();
    }
}

/// What is read for `lines`: records, without arrays.
struct Records<'s> {
    page: &'s mut Page,
    rule: &'s Rule,
    adapt: &'static str,
    bytes: &'s [u8],
    lines: &'s mut VecDeque<Line>,
}

impl Records<'_> {
    fn finished(&mut self, scores: &LineScores, last: Option<u8>, instead: Vec<(u8, u32)>) {
        let (line, scored) = self.page.judge(scores, last, instead, self.rule);
        self.lines.push_back(Line::of(&line, scored, scores, self.adapt));
        self.page.clear();
    }
}

impl Listener for Records<'_> {
    type Error = EngineError;

    fn page(&mut self) -> &mut Page {
        self.page
    }

    fn byte(&mut self, at: usize, _: Cost) -> Result<(), EngineError> {
        let byte = self.bytes.get(at).copied().unwrap_or_default();
        self.page.push(byte, byte);
        Ok(())
    }

    fn line(&mut self, scores: &LineScores, last: Option<u8>, instead: Vec<(u8, u32)>) -> Result<(), EngineError> {
        self.finished(scores, last, instead);
        Ok(())
    }
}

/// A stream of bytes that a model reads, an adapter, or both together; it knows what every byte cost, and which lines are odd.
///
/// Stream(model=None, *, adapt="16K", false_alarms="1%", threshold=None, ignore=())
///
/// `model` is a Model, or what Model takes; None is no net, an adapter alone. `adapt` is the memory of an adapter that learns
/// the stream: "4K", "8K", "16K", "32K", "64K", "1M", or None for the model alone. `false_alarms` is the share of quiet lines
/// that may alarm, such as "1%" or 0.01; `threshold` instead of it a number of bits per byte, or "auto". Lines that match one
/// of the regular expressions of `ignore` never alarm.
///
/// Bytes are read as they come, lines end with a newline: as `mambabyte stream` reads a file whose lines do. How a stream is
/// cut into calls changes no bit. copy.copy is a fork of it; pickled, it goes on elsewhere, on a machine of any kind.
///
/// Raises UsageError for an argument that makes no sense; those of Model.
#[pyclass(frozen, module = "mambabyte", weakref)]
pub(crate) struct Stream {
    model: Option<Py<Model>>,
    loaded: Option<Arc<Loaded>>,
    made: Made,
    rule: Rule,
    moving: Held<Moving>,
}

impl Stream {
    /// # Errors
    /// Those of the constructor.
    fn make(py: Python<'_>, model: Option<Bound<'_, Model>>, made: Made) -> PyResult<Self> {
        let rule = made.rule()?;
        let loaded = model.as_ref().map(|model| Arc::clone(model.get().loaded()));
        check(loaded.as_ref())?;
        let moving = compute(py, || Moving::new(loaded.clone(), &made, &rule))?;
        Ok(Self { model: model.map(Bound::unbind), loaded, made, rule, moving: Held::new(moving) })
    }

    /// Another stream like it, at `snapshot` and `page`.
    fn at(&self, py: Python<'_>, snapshot: &[u8], page: Page) -> PyResult<Self> {
        let stream = Self::make(py, self.model.as_ref().map(|model| model.bind(py).clone()), self.made.clone())?;
        stream.load(py, snapshot, page)?;
        Ok(stream)
    }

    /// Works on what moves.
    ///
    /// # Errors
    /// Those of the work, of [`check`] and of [`Held::lock`].
    fn at_work<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Moving) -> Result<T, CliError> + Send,
    ) -> PyResult<T> {
        check(self.loaded.as_ref())?;
        compute(py, || work(&mut *self.moving.lock()?))
    }

    /// Goes on at `snapshot`.
    fn load(&self, py: Python<'_>, snapshot: &[u8], page: Page) -> PyResult<()> {
        self.at_work(py, |moving| {
            moving.with(|reader, _, _| reader.load(snapshot, self.rule.threshold()))?;
            moving.page = page;
            moving.unmark();
            Ok(())
        })
    }

    fn save(&self, py: Python<'_>) -> PyResult<(Vec<u8>, Page)> {
        self.at_work(py, |moving| {
            let snapshot = moving.with(|reader, _, _| reader.save())?;
            Ok((snapshot, moving.page.clone()))
        })
    }

    fn adapt_name(&self) -> &'static str {
        adapting::name(self.made.preset)
    }

    /// Reads a block of bytes for records; `lines` get those of all lines that end in it, also if it fails.
    ///
    /// # Errors
    /// Those of the engine.
    fn read_lines(&self, py: Python<'_>, block: &[u8], lines: &mut VecDeque<Line>) -> PyResult<()> {
        self.at_work(py, |moving| {
            let piece = PIECE * engine(self.loaded.as_ref()).map_or(1, |engine| engine.full_load().rows.max(1));
            let adapt = self.adapt_name();
            moving.with(|reader, page, since| {
                let mut records = Records { page, rule: &self.rule, adapt, bytes: block, lines };
                read(reader, &mut records, since, block, piece)
            })?;
            Ok(())
        })
    }

    /// Ends the line that is open.
    fn end(&self, py: Python<'_>) -> PyResult<Option<Line>> {
        self.at_work(py, |moving| {
            let adapt = self.adapt_name();
            Ok(moving.with(|reader, page, _| {
                let scores = reader.finish()?;
                let mut lines = VecDeque::new();
                let mut records = Records { page, rule: &self.rule, adapt, bytes: &[], lines: &mut lines };
                records.finished(&scores, None, Vec::new());
                lines.pop_front()
            }))
        })
    }
}

/// `false_alarms`: "1%", or 0.01.
fn share(given: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(share) = given.extract::<f64>() {
        return Ok(format!("{}%", share * 100.0));
    }
    given.extract().map_err(|_| PyTypeError::new_err("false_alarms: a share, such as \"1%\" or 0.01"))
}

/// `threshold`: bits per byte, or "auto".
fn threshold(given: &Bound<'_, PyAny>) -> PyResult<String> {
    match given.extract::<f64>() {
        Ok(bits) => Ok(bits.to_string()),
        Err(_) => {
            given.extract().map_err(|_| PyTypeError::new_err("threshold: a number of bits per byte, or \"auto\""))
        }
    }
}

#[pymethods]
impl Stream {
    #[new]
    #[pyo3(signature = (model = None, *, adapt = Some("16K"), false_alarms = None, threshold = None, ignore = Vec::new()),
        text_signature = "(model=None, *, adapt='16K', false_alarms=None, threshold=None, ignore=())")]
    fn new(
        py: Python<'_>,
        model: Option<&Bound<'_, PyAny>>,
        adapt: Option<&str>,
        false_alarms: Option<&Bound<'_, PyAny>>,
        threshold: Option<&Bound<'_, PyAny>>,
        ignore: Vec<String>,
    ) -> PyResult<Self> {
        let model = Model::or_none(model)?;
        let preset = options::preset(adapt, model.is_some())?;
        let false_alarms = false_alarms.map(share).transpose()?;
        let threshold = threshold.map(self::threshold).transpose()?;
        Self::make(py, model, Made { preset, false_alarms, threshold, ignore })
    }

    /// Reads the next bytes of the stream; what each cost, as arrays. Lines are judged and counted too; what was likely in
    /// the place of an odd byte only Stream.lines looks up.
    ///
    /// `text` is bytes, or anything with a buffer of bytes, which is copied.
    ///
    /// Raises TypeError for str. After KeyboardInterrupt the bytes up to some block are read.
    fn feed(&self, py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<Surprise> {
        let text = data::bytes(text)?;
        let bytes = text.as_bytes();
        check(self.loaded.as_ref())?;
        let engine = engine(self.loaded.as_ref());
        let block = match (engine, self.made.preset) {
            // Logits take 1 KiB for each byte of a block.
            (Some(engine), Some(_)) => engine.full_load().bytes.max(1),
            _ => BLOCK,
        };
        let (has_net, has_adapter) = (engine.is_some(), self.made.preset.is_some());
        let (net, adapted) = py.detach(|| {
            let room = |wanted: bool| Vec::with_capacity(if wanted { bytes.len() } else { 0 });
            let (mut net, mut adapted) = (room(has_net), room(has_adapter));
            let mut moving = self.moving.lock().map_err(|error| exception(&error))?;
            moving.unmark();
            let mut look = 0;
            for block in bytes.chunks(block) {
                if look == 0 {
                    check_signals()?;
                    look = BLOCK;
                }
                look = look.saturating_sub(block.len());
                let done = moving.with(|reader, page, _| {
                    reader.read_all(block, |byte, cost, scores| {
                        page.push(byte, byte);
                        net.extend(cost.net);
                        adapted.extend(cost.mixed);
                        if let Some(scores) = scores {
                            page.judge(&scores, Some(byte), Vec::new(), &self.rule);
                            page.clear();
                        }
                        Ok::<(), EngineError>(())
                    })
                });
                done.map_err(|error| exception(&error.into()))?;
            }
            Ok::<_, PyErr>((net, adapted))
        })?;
        Ok(Surprise::new(&text, has_net.then_some(net), has_adapter.then_some(adapted)))
    }

    /// Reads the next bytes of the stream, or all of a file or of an iterable of bytes; an iterator of the records of its
    /// lines, as `mambabyte stream --json` has them. It reads when it is asked for the next line. At the end of the source
    /// the line that is open ends, unless `end` is false. What is raised, by the source or by Ctrl-C, loses no record: the
    /// next call goes on.
    #[pyo3(signature = (source, *, end = true))]
    fn lines(slf: Bound<'_, Self>, source: &Bound<'_, PyAny>, end: bool) -> PyResult<Lines> {
        let from = if data::is_file(source) {
            From::File(source.clone().unbind())
        } else if let Ok(bytes) = data::bytes(source) {
            From::Bytes(Some(bytes.unbind()))
        } else {
            match source.try_iter() {
                Ok(items) if !source.is_instance_of::<pyo3::types::PyString>() => From::Items(items.unbind()),
                _ => return Err(data::bytes(source).err().unwrap_or_else(|| PyTypeError::new_err("bytes are needed"))),
            }
        };
        let reading = Reading { from, read: None, ready: VecDeque::new() };
        Ok(Lines { stream: slf.unbind(), reading: Held::new(Some(reading)), end })
    }

    /// Ends the line that is open; its record, or None if no byte of it has come.
    fn finish(&self, py: Python<'_>) -> PyResult<Option<Line>> {
        self.end(py)
    }

    /// What the model expects next: 256 logits in 1/65536 of a binary order of magnitude, int32. The stream stays where it is.
    ///
    /// Raises UsageError without a model.
    fn logits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let logits = self.at_work(py, |moving| Ok(moving.with(|reader, _, _| reader.mixture().peek())?.0))?;
        match logits {
            Some(logits) => Ok(PyArray1::from_slice(py, logits.as_slice())),
            None => Err(usage("without a model there are no logits; distribution() is the adapter's")),
        }
    }

    /// What is expected next: 256 probabilities, float64, of model and adapter together. The stream stays where it is.
    fn distribution<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (net, mixed) = self.at_work(py, |moving| Ok(moving.with(|reader, _, _| reader.mixture().peek())?))?;
        let logits = mixed.or(net).map_or([0.0; VOCAB], |logits| natural(&logits));
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = logits.map(|logit| (logit - largest).exp());
        let sum: f64 = weights.iter().sum();
        Ok(PyArray1::from_iter(py, weights.iter().map(|weight| weight / sum)))
    }

    /// Where the stream is, as bytes: equal on every machine; `mambabyte stream --load-state` reads them too. Numbers of lines
    /// and the text of the open line are not in it: a pickle has them.
    ///
    /// Raises UsageError for a model in floats.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let (snapshot, _) = self.save(py)?;
        Ok(PyBytes::new(py, &snapshot))
    }

    /// Goes on at a snapshot, of a stream with the same model, the same `adapt` and a detector where this one has one. Lines
    /// are counted from 1.
    ///
    /// Raises DataError for anything else; nothing has changed then.
    fn restore(&self, py: Python<'_>, snapshot: &Bound<'_, PyAny>) -> PyResult<()> {
        let snapshot = data::bytes(snapshot)?;
        self.load(py, snapshot.as_bytes(), Page::default())
    }

    /// A stream that goes on from here by itself.
    ///
    /// Raises UsageError for a model in floats.
    fn fork(&self, py: Python<'_>) -> PyResult<Self> {
        let (snapshot, page) = self.save(py)?;
        self.at(py, &snapshot, page)
    }

    /// Back to the beginning.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.at_work(py, |moving| {
            *moving = Moving::new(self.loaded.clone(), &self.made, &self.rule)?;
            Ok(())
        })
    }

    /// Bytes that were read.
    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<u64> {
        compute(py, || Ok(self.moving.lock()?.page.totals.bytes))
    }

    /// What was counted, a dict: lines, bytes, alarms, odd, fine, bits_per_byte.
    #[getter]
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let totals = compute(py, || Ok(self.moving.lock()?.page.totals.clone()))?;
        let found = PyDict::new(py);
        for (name, count) in [
            ("lines", totals.lines),
            ("bytes", totals.bytes),
            ("alarms", totals.alarms),
            ("odd", totals.odd),
            ("fine", totals.fine),
        ] {
            found.set_item(name, count)?;
        }
        found.set_item("bits_per_byte", totals.mean())?;
        Ok(found)
    }

    /// The model, or None.
    #[getter]
    fn model(&self, py: Python<'_>) -> Option<Py<Model>> {
        self.model.as_ref().map(|model| model.clone_ref(py))
    }

    /// The preset of the adapter, or "off".
    #[getter]
    fn adapt(&self) -> &'static str {
        self.adapt_name()
    }

    fn __copy__(&self, py: Python<'_>) -> PyResult<Self> {
        self.fork(py)
    }

    fn __deepcopy__(&self, py: Python<'_>, _memo: &Bound<'_, PyAny>) -> PyResult<Self> {
        self.fork(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let totals = compute(py, || Ok(self.moving.lock()?.page.totals.clone()))?;
        let (bytes, line, adapt) = (totals.bytes, totals.lines + 1, self.adapt_name());
        Ok(format!("<mambabyte.Stream at byte {bytes}, line {line}, adapter {adapt}>"))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (snapshot, page) = self.save(py)?;
        let keywords = PyDict::new(py);
        keywords.set_item("adapt", self.adapt_name())?;
        keywords.set_item("false_alarms", &self.made.false_alarms)?;
        keywords.set_item("threshold", &self.made.threshold)?;
        keywords.set_item("ignore", &self.made.ignore)?;
        let Page { count, view, repeats, totals, .. } = &page;
        let counts = (totals.lines, totals.bytes, totals.alarms, totals.odd, totals.fine, totals.bits);
        let page = (count.line, count.pieces, PyBytes::new(py, view), counts, repeats.seen().to_vec());
        let make = py.import("mambabyte._mambabyte")?.getattr("_stream")?;
        let model = self.model.as_ref().map(|model| model.clone_ref(py));
        Ok((make, (model, keywords, PyBytes::new(py, &snapshot), page).into_pyobject(py)?))
    }
}

type Counts = (u64, u64, u64, u64, u64, u128);
type Pickled<'py> = (u64, u32, Bound<'py, PyBytes>, Counts, Vec<(u64, u32, u64)>);

/// A stream as it was pickled.
#[pyfunction]
pub(crate) fn _stream<'py>(
    py: Python<'py>,
    model: Option<Bound<'py, PyAny>>,
    keywords: &Bound<'py, PyDict>,
    snapshot: &Bound<'py, PyBytes>,
    page: Pickled<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let stream = py.get_type::<Stream>().call((model,), Some(keywords))?;
    let (line, pieces, view, (lines, bytes, alarms, odd, fine, bits), seen) = page;
    let view = view.as_bytes();
    if view.len() > MAX_LINE as usize {
        return Err(PyValueError::new_err("the pickle is damaged: a line that is open has at most 4,096 bytes"));
    }
    let mut page = Page {
        count: Count { line: line.max(1), pieces },
        view: view.to_vec(),
        text: view.to_vec(),
        repeats: Repeats::of(seen),
        ..Page::default()
    };
    let totals = &mut page.totals;
    (totals.lines, totals.bytes, totals.alarms, totals.odd) = (lines, bytes, alarms, odd);
    (totals.fine, totals.bits) = (fine, bits);
    stream.cast::<Stream>()?.get().load(py, snapshot.as_bytes(), page)?;
    Ok(stream)
}

/// Where lines come from.
enum From {
    /// Bytes, until they are given.
    Bytes(Option<Py<PyBytes>>),
    File(Py<PyAny>),
    Items(Py<PyIterator>),
}

impl From {
    /// The next bytes; `None` at the end.
    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.take().map(|bytes| bytes.into_bound(py))),
            Self::File(file) => {
                let part = data::bytes(&file.bind(py).call_method1("read", (BLOCK,))?)?;
                Ok((!part.as_bytes().is_empty()).then_some(part))
            }
            Self::Items(items) => {
                let mut items = items.bind(py).clone();
                items.next().transpose()?.map(|item| data::bytes(&item)).transpose()
            }
        }
    }
}

/// How far lines are read.
struct Reading {
    from: From,
    /// Bytes that came, and how many of them are read.
    read: Option<(Py<PyBytes>, usize)>,
    /// Records that nobody has taken yet.
    ready: VecDeque<Line>,
}

impl Reading {
    /// The next record; `None` at the end of the source. What is raised loses nothing: the next call goes on.
    fn next(&mut self, py: Python<'_>, stream: &Stream) -> PyResult<Option<Line>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let Some((bytes, at)) = &mut self.read else {
                let Some(bytes) = self.from.next(py)? else { return Ok(None) };
                self.read = Some((bytes.unbind(), 0));
                continue;
            };
            let rest = bytes.as_bytes(py).get(*at..).unwrap_or(&[]);
            let block = rest.get(..BLOCK).unwrap_or(rest);
            let done = if block.is_empty() { Ok(()) } else { stream.read_lines(py, block, &mut self.ready) };
            *at += block.len();
            if block.len() == rest.len() {
                self.read = None;
            }
            done?;
            // Who has pressed Ctrl-C meanwhile hears it here, before a record is taken out.
            py.check_signals()?;
        }
    }
}

/// An iterator of lines: see Stream.lines.
#[pyclass(frozen, module = "mambabyte")]
pub(crate) struct Lines {
    stream: Py<Stream>,
    /// `None` while another thread is in it, and after the end.
    reading: Held<Option<Reading>>,
    end: bool,
}

#[pymethods]
impl Lines {
    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Line>> {
        // Not held while Python runs.
        let Some(mut reading) = compute(py, || Ok(self.reading.lock()?.take()))? else { return Ok(None) };
        let stream = self.stream.get();
        let found = match reading.next(py, stream) {
            Ok(None) if self.end => return stream.end(py),
            Ok(None) => return Ok(None),
            found => found,
        };
        compute(py, || {
            *self.reading.lock()? = Some(reading);
            Ok(())
        })?;
        found
    }
}
