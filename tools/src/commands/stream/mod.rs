//! `mambabyte stream`: bytes pass through, every line gets its surprise, odd lines an alarm.
//!
//! An input's thread (`input`) hands bytes to the loop (`service`), which decodes them (`decode`), lets the reader score
//! them, judges lines by a rule (`watching`), shows them (`show`) and does what follows (`react`, `keep`).

mod decode;
mod desk;
mod input;
mod keep;
mod mqtt;
mod out;
mod react;
mod reading;
mod service;
mod show;
mod silence;
mod text;
mod watch;
mod words;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mambabyte_host::adapt::AnyAdapter;
use mambabyte_host::engine::{AnyEngine, Engine, EngineError, Precision};
use mambabyte_host::stream::Reader;

use crate::adapting::{self, Adapt, DEFAULT, chosen, net_engine, presets};
use crate::computing::{Computing, Running};
use crate::error::CliError;
use crate::model::{AnyModel, Loading, Residence};
use crate::net::{PrimedFile, first_adapter, model_name};
use crate::output::{Door, Outputs, clean, shown};
use crate::shipped::is_none;
use crate::totals::Totals;
use crate::watching::{FalseAlarms, Judge, Rule, RuleArgs};
use desk::Way;
use input::{Input, InputArgs};
use keep::KeepArgs;
pub(super) use keep::one_stream;
use mqtt::{Broker, MqttArgs, Outbox};
use out::{Out, Which};
use react::{Exec, ReactArgs};
use service::Service;
use show::{Show, ShowArgs};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "stream sensor-nano --color some.log"
    "stream sensor-nano --only-alarms -C 2 some.log.gz"
    "stream sensor-nano --json --baud 9600 /dev/ttyUSB0"
    "stream sensor-nano --json --follow --state log.state /var/log/syslog"
    "stream none some.log --adapt 1M"
    "stream sensor-nano --mqtt mqtt://broker --topic \"sensors/#\" --only-alarms"
})]
pub struct Args {
    /// Blob or checkpoint, by path or by name; `none` is no net, an adapter alone.
    pub model: PathBuf,
    /// The stream: a file, also .gz, .xz or .zst, a FIFO or a serial port; `-` or nothing is standard input.
    pub file: Option<PathBuf>,
    /// Memory of an adapter that learns the stream beside the model, which stays as it is; off: the model alone. What
    /// repeats stops being surprising: the model's own surprise of a line is shown beside it. Default: that of --prime,
    /// else 16K.
    #[arg(long, value_name = "PRESET", ignore_case = true, value_parser = presets())]
    pub adapt: Option<Adapt>,
    /// Begin with an adapter that has read something, from `mambabyte prime`.
    #[arg(long, value_name = "FILE", conflicts_with = "load_state")]
    pub prime: Option<PathBuf>,
    /// When a line alarms.
    #[command(flatten)]
    pub rule: RuleArgs,
    /// What follows.
    #[command(flatten)]
    pub react: ReactArgs,
    /// What is shown.
    #[command(flatten)]
    pub show: ShowArgs,
    /// Where the bytes come from.
    #[command(flatten)]
    pub input: InputArgs,
    /// Where messages come from.
    #[command(flatten)]
    pub mqtt: MqttArgs,
    /// Where states are kept.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// How the model is loaded.
    #[command(flatten)]
    pub loading: Loading,
    /// Where to compute, and in what. Only a blob in its integers has states to save.
    #[command(flatten)]
    pub computing: Computing,
    /// What to run on.
    #[command(flatten)]
    pub running: Running,
}

/// Bytes that each thread reads at once.
const PIECE: usize = 64;

impl Args {
    /// The inputs and the labels of their streams; of --multiplex and a broker labels come with the lines.
    ///
    /// # Errors
    /// [`CliError::Usage`] for two inputs of one label.
    fn inputs(&self, broker: Option<&Broker>) -> Result<(Vec<Input>, Vec<Option<String>>), CliError> {
        let of = |path: &Path| Input { path: path.to_owned(), place: None };
        if let Some(broker) = broker {
            return Ok((vec![of(broker.name.as_ref())], Vec::new()));
        }
        if self.input.input.is_empty() {
            let input = of(self.file.as_deref().unwrap_or(Path::new("-")));
            return Ok((vec![input], if self.input.multiplex { Vec::new() } else { vec![None] }));
        }
        let mut labels: Vec<Option<String>> = Vec::new();
        for (label, _) in &self.input.input {
            if labels.iter().flatten().any(|other| other == label) {
                return Err(CliError::Usage(format!("--input {}=...: two inputs of that label", clean(label))));
            }
            labels.push(Some(label.clone()));
        }
        Ok((self.input.input.iter().map(|(_, path)| of(path)).collect(), labels))
    }

    /// Checks every file that is written.
    fn outputs(&self, inputs: &[Input]) -> Result<Outputs, CliError> {
        let mut door = Door::default();
        door.reads_model(&self.model);
        inputs.iter().for_each(|input| door.reads(&input.path));
        self.prime.iter().chain(&self.rule.normal).for_each(|read| door.reads(read));
        self.mqtt.files().for_each(|read| door.reads(read));
        // The state that is loaded is no input to protect: the one that is saved is its successor.
        if let Some((option, path)) = self.keep.saves() {
            if self.keep.state.is_some() {
                keep::regular(option, path)?;
            }
            door.writes(option, path);
        }
        if let Some(path) = &self.react.metrics {
            keep::regular("--metrics", path)?;
            door.writes("--metrics", path.as_path());
        }
        door.open()
    }

    /// The adapter to begin with.
    fn adapter(&self, model: Option<&AnyModel>) -> Result<Option<AnyAdapter>, CliError> {
        match &self.prime {
            None => {
                let preset = chosen(self.adapt.unwrap_or(Adapt::Preset(DEFAULT)), model.is_some())?;
                Ok(preset.map(|preset| AnyAdapter::new(preset, model.is_some())))
            }
            Some(_) if matches!(model, Some(AnyModel::Checkpoint(_))) => Err(CliError::Usage(
                "--prime: an adapter is primed with a blob, or with none; this is a checkpoint".into(),
            )),
            Some(file) => first_adapter(self.adapt, Some(&PrimedFile::open(file)?), &model_name(model)),
        }
    }

    /// What shows the stream.
    fn shows(&self, outputs: &Outputs, several: bool, stop: &Arc<AtomicBool>) -> Result<Show, CliError> {
        let plain = !self.show.color && !self.show.json;
        let (which, terminal) = match (outputs.take_stdout(), plain) {
            (false, _) => (Which::Stdout, io::stdout().is_terminal()),
            (true, true) => (Which::None, false),
            (true, false) => (Which::Stderr, io::stderr().is_terminal()),
        };
        let out = Out::new(which, Arc::clone(stop)).map_err(CliError::stdout)?;
        // A program may be started without standard error; then nothing is said.
        let err = Out::new(Which::Stderr, Arc::clone(stop)).or_else(|_| Out::new(Which::None, Arc::clone(stop)));
        Ok(Show::new(&self.show, out, err.map_err(CliError::stdout)?, several, terminal))
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let rule = Rule::new(&args.rule)?;
    let broker = args.mqtt.broker()?;
    let (mut inputs, labels) = args.inputs(broker.as_ref())?;
    let live = inputs.iter().any(|input| input.is_live(&args.input));
    if let (Judge::Detector(FalseAlarms::PerDay(_)), false) = (rule.judge, live || inputs[0].path == Path::new("-")) {
        let why = "--false-alarms N/day is for a live stream: a file has no days; a share, such as 1%, is for both";
        return Err(CliError::Usage(why.into()));
    }
    let cpu = args.running.cpu()?;
    let outputs = args.outputs(&inputs)?;
    let residence = if args.keep.mmap { Residence::Mapped } else { Residence::Copied };
    let model = match is_none(&args.model) {
        true => None,
        false => Some(AnyModel::open_as(&args.model, &args.loading, residence)?),
    };
    let adapter = args.adapter(model.as_ref())?;
    let engine = net_engine(model.as_ref(), args.computing, cpu)?;
    let precision = engine.as_ref().map_or(Precision::Exact, Engine::precision);
    let multiplex = args.input.multiplex || broker.is_some();
    let several = multiplex || labels.len() > 1;
    if precision != Precision::Exact && (args.keep.any() || several) {
        // Better now than at the end of the stream.
        return Err(EngineError::NotIntegers { precision }.into());
    }
    let template = several.then(|| adapter.as_ref().map(AnyAdapter::copy)).flatten();
    let mut reader = match rule.judge {
        Judge::Detector(wanted) => Reader::detecting(engine.as_ref(), adapter, wanted.rate())?,
        Judge::Threshold(threshold) => Reader::of(engine.as_ref(), adapter, threshold)?,
    };
    let adapt = adapting::name(reader.mixture().adapter().map(AnyAdapter::preset));
    let stop = Arc::new(AtomicBool::new(false));
    let way = Way {
        how: args.input.how(),
        rule,
        adapt,
        adapter: template,
        piece: PIECE * cpu.threads,
        multiplex,
        silent: args.input.silent,
        live,
        names: inputs.iter().map(|input| shown(input.name())).collect(),
        saves: args.keep.saves().map(|(option, _)| option),
        save_every: args.keep.state.as_ref().map(|_| args.keep.save_every),
        metrics: args.react.metrics.is_some(),
        stop: Arc::clone(&stop),
    };
    let show = args.shows(&outputs, several, &stop)?;
    let exec = args.react.exec.clone().map(|program| Exec::new(program, args.react.cooldown));
    let totals = serve(args, way, reader, &labels, show, exec, outputs, &mut inputs, broker)?;
    if args.react.exit_code && totals.alarms > 0 { Err(CliError::Alarmed) } else { Ok(()) }
}

/// Loads the state, opens the inputs and runs.
#[expect(clippy::too_many_arguments, reason = "all parts of the service, made one after the other")]
fn serve<'e>(
    args: &Args,
    way: Way,
    reader: Reader<'e, AnyEngine<'e>>,
    labels: &[Option<String>],
    show: Show,
    exec: Option<Exec>,
    outputs: Outputs,
    inputs: &mut Vec<Input>,
    broker: Option<Broker>,
) -> Result<Totals, CliError> {
    let (stop, multiplex) = (Arc::clone(&way.stop), way.multiplex);
    let outbox = broker.as_ref().map(|broker| Arc::new(Outbox::new(broker.topics.clone())));
    let mut service = Service::new(way, reader, labels, show, exec, outbox.clone(), outputs);
    if let Some((path, saved)) = args.keep.load()? {
        service.load(&path, &saved)?;
        if !multiplex {
            inputs.iter_mut().zip(service.places()).for_each(|(input, place)| input.place = place);
        }
    }
    // From here on there is a state to save. A second handler in one process would be refused; the first one then still
    // ends the program.
    let _ = ctrlc::set_handler(move || stop.store(true, Ordering::SeqCst));
    let input = match (broker, outbox) {
        (Some(broker), Some(outbox)) => input::subscribe(broker, outbox),
        _ => input::start(std::mem::take(inputs), &args.input)?,
    };
    service.run(&input)
}
