//! `convert`, `export`, `train`: the commands of these names, with a function that hears how it goes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Command};
use mambabyte::commands::convert::{Args as ConvertArgs, convert as convert_only, write as convert_and_write};
use mambabyte::commands::export::{open as open_export, write as write_export};
use mambabyte::commands::train::{Args as TrainArgs, Trained as Ended, train as run};
use mambabyte::training::run::Told;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::error::usage;
use crate::model::Model;
use crate::work::{Tell, compute, interruptible};

/// The arguments of a command: `keywords` are its options, with underscores for hyphens. `True` is an option without a value,
/// `None` and `False` are options that are not given, a list gives one several times.
///
/// # Errors
/// `UsageError`, in the command's words.
fn arguments<A: Args>(
    name: &'static str,
    positional: Vec<OsString>,
    output: &Path,
    keywords: Option<&Bound<'_, PyDict>>,
) -> PyResult<A> {
    // Of one word, so that a value may begin with a hyphen.
    let word = |option: &str, value: &Path| {
        let mut word = OsString::from(format!("--{option}="));
        word.push(value);
        word
    };
    let mut words = vec![OsString::from(name), word("output", output)];
    for (option, value) in keywords.into_iter().flatten() {
        let option = option.extract::<String>()?.replace('_', "-");
        let values = match value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
            true => value.try_iter()?.collect::<PyResult<Vec<_>>>()?,
            false => vec![value],
        };
        for value in values {
            match value.extract::<bool>() {
                Ok(true) => words.push(format!("--{option}").into()),
                Ok(false) => {}
                Err(_) if value.is_none() => {}
                Err(_) => {
                    let text = || Ok::<_, PyErr>(PathBuf::from(value.str()?.to_string()));
                    words.push(word(&option, &value.extract::<PathBuf>().or_else(|_| text())?));
                }
            }
        }
    }
    words.push("--".into());
    words.extend(positional);
    let command = A::augment_args(Command::new(name).no_binary_name(false).disable_help_flag(true));
    let matches = command.try_get_matches_from(words).map_err(|error| refused(&error))?;
    A::from_arg_matches(&matches).map_err(|error| refused(&error))
}

/// What the command's parser says, in one line.
fn refused(error: &clap::Error) -> PyErr {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    usage(first.strip_prefix("error: ").unwrap_or(first))
}

/// What a conversion gave.
#[pyclass(frozen, module = "mambabyte")]
pub(crate) struct Converted {
    blob: Py<PyBytes>,
    /// Bits per byte of the checkpoint on the hold-out.
    #[pyo3(get)]
    bits_per_byte_f32: f64,
    /// Bits per byte of the blob's integers on the hold-out.
    #[pyo3(get)]
    bits_per_byte: f64,
    /// Parameters of the checkpoint.
    #[pyo3(get)]
    parameters: usize,
    /// What there is to say.
    #[pyo3(get)]
    notes: Vec<String>,
}

#[pymethods]
impl Converted {
    /// The blob, as bytes: Model(converted.blob) is the model.
    #[getter]
    fn blob(&self, py: Python<'_>) -> Py<PyBytes> {
        self.blob.clone_ref(py)
    }

    fn __repr__(&self) -> String {
        format!("<mambabyte.Converted {:.4} bits per byte, f32 {:.4}>", self.bits_per_byte, self.bits_per_byte_f32)
    }
}

/// Calls the function that hears how it goes, with a dict.
fn tell<'py>(
    py: Python<'py>,
    progress: Option<&Py<PyAny>>,
    fill: impl FnOnce(&Bound<'py, PyDict>) -> PyResult<()>,
) -> PyResult<()> {
    let Some(progress) = progress else { return Ok(()) };
    let said = PyDict::new(py);
    fill(&said)?;
    progress.call1(py, (said,)).map(drop)
}

/// Quantises a trained checkpoint into a blob, as `mambabyte convert`.
///
/// `checkpoint` is a folder, a weight file, or the name of a shipped model whose checkpoint is at hand. The blob is written to
/// `output`, whole or not at all, if that is given. Options are those of the command, with underscores: calibrate (a path or
/// several), mixture, refine, max_delta, report, name, unknown_text, trust_tensors, byte_offset. `progress` is called with a
/// dict: bytes, of.
///
/// KeyboardInterrupt is raised when the conversion has ended.
///
/// Raises UsageError for an option that makes no sense, DataError for a checkpoint that does not load, Error if the integers
/// cost more than max_delta; nothing is written then.
#[pyfunction]
#[pyo3(signature = (checkpoint, output = None, *, progress = None, **options))]
pub(crate) fn convert<'py>(
    py: Python<'py>,
    checkpoint: PathBuf,
    output: Option<PathBuf>,
    progress: Option<Py<PyAny>>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Converted> {
    let place = output.clone().unwrap_or_else(|| "-".into());
    let args: ConvertArgs = arguments("convert", vec![checkpoint.into_os_string()], &place, options)?;
    if output.is_none() && args.report.is_some() {
        return Err(usage("report: it appears together with the blob; give output, too"));
    }
    if output.as_deref() == Some(Path::new("-")) {
        return Err(usage("output: standard output is the caller's; leave it out, and take the blob"));
    }
    let mut read = 0;
    let made = interruptible(
        py,
        |_, tell: Tell<'_, (usize, usize)>| {
            let tick = |bytes, of| tell((bytes, of));
            match output {
                Some(_) => convert_and_write(&args, &tick).map(|(made, _)| made),
                None => convert_only(&args, &tick),
            }
        },
        |py, (bytes, of)| {
            read += bytes;
            tell(py, progress.as_ref(), |said| {
                said.set_item("bytes", read)?;
                said.set_item("of", of)
            })
        },
    )?;
    Ok(Converted {
        blob: PyBytes::new(py, &made.quantized.blob).unbind(),
        bits_per_byte_f32: made.measured.f32.bits_per_byte(),
        bits_per_byte: made.measured.int.bits_per_byte(),
        parameters: made.parameters,
        notes: made.notes,
    })
}

/// Writes the step of a model as an ONNX model of opset 17, in f32, as `mambabyte export --onnx`; how many bytes the file has.
///
/// `model` is a Model, or what Model takes. Of a blob the numbers that its integers stand for are written, which do not compute
/// its bits. The file is written to `path`, whole or not at all, and never over a file of the model.
///
/// Inputs are byte int64 [batch], conv float32 [n_layer, batch, d_inner, d_conv - 1] and ssm float32 [n_layer, batch, d_inner,
/// d_state], both zeros before the first byte; outputs are logits float32 [batch, 256], natural logits of the next byte, and
/// conv_out and ssm_out, which are the next step's conv and ssm.
///
/// Raises DataError for a model of more than 2 GiB, or with a weight that is not finite; FileError if the file cannot be
/// written.
#[pyfunction]
#[pyo3(signature = (model, path))]
pub(crate) fn export(py: Python<'_>, model: &Bound<'_, PyAny>, path: PathBuf) -> PyResult<usize> {
    if path == Path::new("-") {
        return Err(usage("path: standard output is the caller's"));
    }
    let model = Model::of(model)?;
    let (loaded, from) = (Arc::clone(model.get().loaded()), model.get().path());
    compute(py, || {
        let outputs = open_export(from, &path)?;
        Ok(write_export(loaded.model(), outputs)?.bytes)
    })
}

/// What a training run gave.
#[pyclass(frozen, get_all, module = "mambabyte")]
pub(crate) struct Trained {
    /// The folder: checkpoint, blob (model.mbb), log, report and card.
    output: PathBuf,
    /// Steps that were made.
    steps: u64,
    /// Bytes that were read.
    bytes: u64,
    /// Parameters of the model.
    parameters: usize,
    /// The step whose weights were the best.
    best_step: u64,
    /// Bits per byte of the checkpoint on the hold-out.
    bits_per_byte_f32: f64,
    /// Bits per byte of the blob's integers on the hold-out.
    bits_per_byte: f64,
}

#[pymethods]
impl Trained {
    fn __repr__(&self) -> String {
        format!("<mambabyte.Trained {} steps, {:.4} bits per byte>", self.steps, self.bits_per_byte)
    }
}

/// How a run goes, for another thread.
enum Heard {
    Step { step: u64, steps: u64, bytes: u64, bits: f64 },
    Look { step: u64, bits: f64, best: bool, sample: String },
}

/// Trains a model on texts, as `mambabyte train`: from random weights, or those of a model, up to the blob.
///
/// `texts` are paths of files or folders, plain or packed, each also as "FILE:0.3" with its share; `output` is the folder of the
/// run. Options are those of the command, with underscores: shape, chip, from_ (for --from), d_model, n_layer, minutes, bytes,
/// steps, window, batch, seed, rate, valid, separator, digits, resume, device and the others. `progress` is called with a dict
/// after each step (step, steps, bytes, bits_per_byte) and each look at the hold-out (step, holdout, best, sample).
///
/// Ctrl-C, or anything that `progress` raises, ends the run after its step. It is saved then, and raised:
/// train([], output, resume=True) goes on.
///
/// Raises UsageError for an option that makes no sense, FileError for a text that cannot be read.
#[pyfunction]
#[pyo3(signature = (texts, output, *, progress = None, **options))]
pub(crate) fn train<'py>(
    py: Python<'py>,
    texts: Vec<PathBuf>,
    output: PathBuf,
    progress: Option<Py<PyAny>>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Trained> {
    let options = options.map(|options| options.copy()).transpose()?;
    if let Some(options) = &options
        && let Some(from) = options.get_item("from_")?
    {
        options.del_item("from_")?;
        options.set_item("from", from)?;
    }
    let texts = texts.into_iter().map(PathBuf::into_os_string).collect();
    let args: TrainArgs = arguments("train", texts, &output, options.as_ref())?;
    if args.model.tokenizer.is_some() {
        return Err(usage("tokenizer: runs over subwords are the command's, `mambabyte train --tokenizer`"));
    }
    let ended = interruptible(
        py,
        |stop, tell: Tell<'_, Heard>| {
            run(&args, stop, &|told| {
                tell(match *told {
                    Told::Step { step, steps, bytes, bits_per_byte: bits } => Heard::Step { step, steps, bytes, bits },
                    Told::Look { step, bits_per_byte: bits, best, sample } => {
                        Heard::Look { step, bits, best, sample: sample.to_owned() }
                    }
                });
            })
        },
        |py, heard| {
            tell(py, progress.as_ref(), |said| match heard {
                Heard::Step { step, steps, bytes, bits } => {
                    said.set_item("step", step)?;
                    said.set_item("steps", steps)?;
                    said.set_item("bytes", bytes)?;
                    said.set_item("bits_per_byte", bits)
                }
                Heard::Look { step, bits, best, sample } => {
                    said.set_item("step", step)?;
                    said.set_item("holdout", bits)?;
                    said.set_item("best", best)?;
                    said.set_item("sample", sample)
                }
            })
        },
    )?;
    match ended {
        Ended::Finished(run) => Ok(Trained {
            output,
            steps: run.steps,
            bytes: run.bytes,
            parameters: run.parameters,
            best_step: run.made.best.0,
            bits_per_byte_f32: run.made.measured.f32.bits_per_byte(),
            bits_per_byte: run.made.measured.int.bits_per_byte(),
        }),
        Ended::Subwords(_) => Err(usage("a run over subwords is one of the command's")),
        // Only what was raised stops a run, and that is raised before this.
        Ended::Stopped { step, .. } => Err(usage(format!("stopped after step {step}"))),
    }
}
