//! `mambabyte bench train`: how many bytes a second a training step reads.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use clap::ValueEnum;
use mambabyte_core::{Dims, Rng};
use mambabyte_host::train::machine::{Change, Machine};
use mambabyte_host::train::optimizer::Matrices;
use mambabyte_host::train::rounding::Rounding;
use mambabyte_host::train::schedule::{Fall, Schedule};
use mambabyte_host::train::trainer::{Settings, Trainer};
use mambabyte_host::train::{Window, initial, rate};
use serde_json::{Value, json};

use super::{TrainArgs, peer};
use crate::error::CliError;
use crate::output::{print, print_json, say, thousands};
use crate::training::place::Place;
use crate::training::shape::Shape;

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub(super) fn run(args: &TrainArgs) -> Result<(), CliError> {
    let threads = args.threads.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| CliError::Usage(format!("--threads: {e}")))?;
    let place = Place::open(args.device, args.precision)?;
    let (window, batch) = if place.is_gpu() { (8192, 64) } else { (1024, 8) };
    let (window, batch) = (args.window.unwrap_or(window) as usize, usize::from(args.batch.unwrap_or(batch)));
    let products = match place.product_rate() {
        Some(rate) => rate?,
        None => pool.install(rate::products),
    };
    let measure = |&shape| pool.install(|| measure(shape, &place, (batch, window), products, args));
    let mut shapes = args.shape.iter().map(measure).collect::<Result<Vec<_>, _>>()?;
    let peer = args.peer.as_deref().map(|python| {
        let device = if place.is_gpu() { "cuda" } else { "cpu" };
        let numbers = [pool.current_num_threads(), batch, window, args.steps.into()].map(|n| n.to_string());
        peer(python, [&[device.to_owned()], &numbers[..]].concat(), &args.shape, &mut shapes)
    });
    if let Some(Err(reason)) = &peer {
        say(format_args!("no peer: {reason}"));
    }
    let report = json!({
        "version": env!("CARGO_PKG_VERSION"), "arithmetic": place.arithmetic, "threads": pool.current_num_threads(),
        "batch": batch, "window": window, "steps": args.steps, "shapes": shapes,
        "operations_per_second": products, "operations_in": if place.is_gpu() { "bf16" } else { "f32" },
        "peer": match &peer { None => Value::Null, Some(Ok(())) => "PyTorch".into(), Some(Err(e)) => e.as_str().into() },
    });
    if args.json { print_json(&report) } else { print(&table(&report)) }
}

/// Times the same steps in PyTorch, and puts its bytes a second beside ours. An error says in one line why not.
fn peer(python: &Path, mut arguments: Vec<String>, asked: &[Shape], shapes: &mut [Value]) -> Result<(), String> {
    say("measuring PyTorch");
    let bytes: f64 = arguments[2..4].iter().filter_map(|n| n.parse::<f64>().ok()).product();
    for (shape, measured) in asked.iter().zip(&*shapes) {
        let Dims { d_model, n_layer, d_state, .. } = shape.dims();
        arguments.push(format!("{}:{d_model}:{n_layer}:{d_state}", measured["shape"].as_str().unwrap_or_default()));
    }
    let needs = if arguments[0] == "cuda" { "torch mamba-ssm causal-conv1d" } else { "torch transformers" };
    peer::run(python, (include_bytes!("train_peer.py"), &arguments), needs, |name, seconds| {
        for shape in shapes.iter_mut().filter(|shape| shape["shape"] == name) {
            shape["peer_bytes_per_second"] = json!(bytes / seconds);
        }
    })
}

fn settings(batch: usize, window: usize) -> Settings {
    Settings {
        window,
        batch,
        passage: window,
        schedule: Schedule::new(1000, Fall::Cosine),
        rate: 1e-4,
        decay: 0.1,
        clip: 1.0,
        matrices: Matrices::Muon,
        augment: mambabyte_host::train::augment::Augment::default(),
        rounding: Rounding::None,
        teachers_share: 0.0,
        seed: 1,
    }
}

/// Rows of random text.
struct Text {
    rows: Vec<Vec<u16>>,
}

impl Text {
    fn new(batch: usize, window: usize) -> Self {
        let mut rng = Rng::new(1);
        let rows = (0..batch).map(|_| (0..=window).map(|_| 32 + (rng.next_u64() % 64) as u16).collect());
        Self { rows: rows.collect() }
    }

    fn windows(&self) -> Vec<Window<'_>> {
        let rows = self.rows.iter();
        rows.map(|text| Window { symbols: &text[..text.len() - 1], next: &text[1..], starts: &[0] }).collect()
    }
}

fn measure(
    shape: Shape,
    place: &Place,
    (batch, window): (usize, usize),
    products: f64,
    args: &TrainArgs,
) -> Result<Value, CliError> {
    let name = shape.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    say(format_args!("measuring {name}"));
    let weights = initial::checkpoint(&shape.dims(), 1);
    let settings = settings(batch, window);
    let text = Text::new(batch, window);
    let windows = text.windows();
    let mut machine: Box<dyn Machine> = place.machine(Trainer::begin(weights.clone(), &settings), &settings)?;
    let change = Change { rate: settings.rate, clip: settings.clip };
    let mut times = Vec::new();
    for number in 0..args.steps + 2 {
        let begin = Instant::now();
        machine.step(&windows, change)?;
        if number >= 2 {
            times.push(begin.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    drop(machine);
    let stages = if args.stages { place.stages(&weights, &settings, &windows, change)? } else { Vec::new() };
    let stages: Vec<_> = stages.iter().map(|(name, ms, n)| json!({"name": name, "ms": ms, "launches": n})).collect();
    let seconds = times[times.len() / 2];
    Ok(json!({
        "shape": name, "parameters": weights.parameters(), "seconds": seconds,
        "bytes_per_second": (batch * window) as f64 / seconds, "stages": stages,
        "limit_bytes_per_second": products / rate::operations(&shape.dims()),
    }))
}

fn table(report: &Value) -> String {
    let mut out = format!(
        "training steps with update (PyTorch's by its AdamW, ours by Muon), {} rows of {} bytes, {}; limit: products alone, at \
         the rate of large ones in this run ({}), {:.1} GFLOP/s\n\n| shape | parameters | ms a step | bytes/s | limit | of it | PyTorch | ratio |\n\
         |---|---|---|---|---|---|---|---|\n",
        report["batch"],
        report["window"],
        report["arithmetic"].as_str().unwrap_or_default(),
        report["operations_in"].as_str().unwrap_or_default(),
        report["operations_per_second"].as_f64().unwrap_or_default() / 1e9,
    );
    for shape in report["shapes"].as_array().into_iter().flatten() {
        let number = |name: &str| shape[name].as_f64().unwrap_or_default();
        let (speed, limit) = (number("bytes_per_second"), number("limit_bytes_per_second"));
        let (peer, ratio) = match shape["peer_bytes_per_second"].as_f64() {
            Some(peer) => (thousands(peer as u64), format!("{:.2}", speed / peer)),
            None => ("-".into(), "-".into()),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {:.2} | {} | {} | {:.0} % | {peer} | {ratio} |",
            shape["shape"].as_str().unwrap_or_default(),
            thousands(number("parameters") as u64),
            1e3 * number("seconds"),
            thousands(speed as u64),
            thousands(limit as u64),
            100.0 * speed / limit,
        );
        for stage in shape["stages"].as_array().into_iter().flatten() {
            let (name, ms) = (stage["name"].as_str().unwrap_or_default(), stage["ms"].as_f64().unwrap_or_default());
            let _ = writeln!(out, "|   {name}, {} launches | | {ms:.3} | | | | | |", stage["launches"]);
        }
    }
    out
}
