//! `mambabyte bench gpu`: times on the first NVIDIA GPU, each beside what it must be, the peer and a limit of the GPU.
//!
//! Limits are of this GPU: bytes that must be moved at the rate of a copy measured in the same run, products at the
//! rate of a large bf16 product measured in the same run, exponentials at 16 a clock and multiprocessor.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use mambabyte_host::checksum::checksum;
use mambabyte_host::cpu::{Cpu, FloatEngine, IntEngine};
use mambabyte_host::cuda::bench::{self, Numbers};
use mambabyte_host::cuda::{CudaError, Device, GpuModel};
use mambabyte_host::engine::{Engine, Precision, Want};
use mambabyte_host::{Checkpoint, Model};
use serde_json::{Value, json};

use super::peer;
use crate::builtin::{self, SAMPLE};
use crate::error::CliError;
use crate::output::{print, print_json, say};

/// Rows, channels, steps, tied decays, and what it must be in ms.
const SCANS: [(usize, usize, usize, bool, f64); 5] = [
    (8, 2048, 8192, false, 0.90),
    (1, 2048, 8192, false, 0.15),
    (1, 3584, 65_536, false, 2.0),
    (64, 512, 2048, false, 0.45),
    (8, 2048, 8192, true, 0.55),
];
/// Bytes of a call of decoding.
const COUNT: usize = 512;

/// What a figure must be.
#[derive(Clone, Copy)]
enum Bar {
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// One line of the tables.
struct Figure {
    table: &'static str,
    name: String,
    unit: &'static str,
    value: f64,
    bar: Bar,
    /// What no program on this GPU could pass, and why.
    limit: Option<(f64, &'static str)>,
    peer: Option<f64>,
}

impl Figure {
    fn new(table: &'static str, name: impl Into<String>, unit: &'static str, value: f64, bar: Bar) -> Self {
        Self { table, name: name.into(), unit, value, bar, limit: None, peer: None }
    }

    fn limited(self, limit: f64, why: &'static str) -> Self {
        Self { limit: Some((limit, why)), ..self }
    }

    fn is_met(&self) -> Option<bool> {
        match self.bar {
            Bar::AtMost(bar) => Some(self.value <= bar),
            Bar::AtLeast(bar) => Some(self.value >= bar),
            Bar::None => None,
        }
    }
}

/// What this GPU can do.
struct Rates {
    /// Bytes a second of a copy, read and written.
    copy: f64,
    /// Operations a second of a bf16 product.
    product: f64,
    /// Exponentials a second.
    exponentials: f64,
}

impl Rates {
    /// Milliseconds that the scan takes at least, and why.
    fn scan(&self, batch: usize, channels: usize, steps: usize, tied: bool) -> (f64, &'static str) {
        let elements = (batch * channels * steps) as f64;
        // x, delta, z and the output in bf16; one exponential a state (one in all if tied), three of softplus and gate.
        let memory = elements * 8.0 / self.copy;
        let special = elements * if tied { 4.0 } else { 19.0 } / self.exponentials;
        if memory > special { (memory * 1e3, "memory") } else { (special * 1e3, "exponentials") }
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Cuda`].
pub(super) fn run(args: &super::GpuArgs) -> Result<(), CliError> {
    let device = Device::open(0)?;
    let rates = Rates {
        copy: bench::copy_rate(&device)?,
        product: bench::product_rate(&device)?,
        exponentials: bench::exponential_rate(&device)?,
    };
    let mut figures = Vec::new();
    scans(&device, &rates, &mut figures)?;
    for (name, d_model, n_layer, bars) in
        [("3.6 M", 256, 8, [3.0, 40_000.0, f64::NAN, f64::NAN]), ("353.6 M", 1024, 53, [120.0, 4_000.0, 6_000.0, 1.25])]
    {
        say(format_args!("measuring {name}"));
        let checkpoint = bench::random_checkpoint(&bench::dims(d_model, n_layer), 3);
        model(&device, &rates, name, &checkpoint, bars, &mut figures)?;
    }
    errors(&device, &mut figures)?;
    in_tables(&mut figures);
    let (cpu, gpu) = checksums(&device)?;
    let peer = args.peer.as_deref().map(|python| measure_peer(python, &mut figures));
    let report = json!({
        "version": env!("CARGO_PKG_VERSION"), "gpu": device.name(), "copy_bytes_per_second": rates.copy,
        "product_operations_per_second": rates.product, "exponentials_per_second": rates.exponentials,
        "checksum_cpu": format!("{cpu:08x}"), "checksum_gpu": format!("{gpu:08x}"),
        "peer": match &peer { None => Value::Null, Some(Ok(())) => "mamba-ssm".into(), Some(Err(e)) => e.as_str().into() },
        "figures": figures.iter().map(as_json).collect::<Vec<_>>(),
    });
    if args.json {
        print_json(&report)?;
    } else {
        let mut out = format!(
            "{}: copy {:.2} TB/s, bf16 product {:.0} TFLOP/s, {:.2} T exponentials/s\n",
            device.name(),
            rates.copy / 1e12,
            rates.product / 1e12,
            rates.exponentials / 1e12
        );
        tables(&figures, &mut out);
        let equal = if cpu == gpu { "equal" } else { "DIFFERENT" };
        let _ =
            writeln!(out, "\nexact mode, built-in model: checksum {gpu:08x} on the GPU, {cpu:08x} on the CPU: {equal}");
        if let Some(Err(reason)) = &peer {
            let _ = writeln!(out, "\nno peer: {reason}");
        }
        print(&out)?;
    }
    if cpu == gpu { Ok(()) } else { Err(CliError::Usage("the GPU's checksum is not the CPU's".into())) }
}

/// Puts the figures of each table together, tables in the order of their first figure.
fn in_tables(figures: &mut [Figure]) {
    let mut order: Vec<&'static str> = Vec::new();
    for figure in figures.iter() {
        if !order.contains(&figure.table) {
            order.push(figure.table);
        }
    }
    figures.sort_by_key(|figure| order.iter().position(|&table| table == figure.table));
}

fn scans(device: &Arc<Device>, rates: &Rates, figures: &mut Vec<Figure>) -> Result<(), CudaError> {
    say("measuring the scan");
    for (batch, channels, steps, tied, bar) in SCANS {
        let ms = bench::scan(device, batch, channels, steps, tied)?;
        let name = format!("scan {batch} x {channels} x {steps}{}", if tied { " tied" } else { "" });
        let (limit, why) = rates.scan(batch, channels, steps, tied);
        let table = "scan forward, bf16, 16 states, gate and softplus fused";
        figures.push(Figure::new(table, name, "ms", f64::from(ms), Bar::AtMost(bar)).limited(limit, why));
    }
    Ok(())
}

/// Prefill, decoding, verification of one model. `bars`: ms of prefill, bytes a second in bf16 and in i8, ratio of a
/// verification; NaN is no bar.
fn model(
    device: &Arc<Device>,
    rates: &Rates,
    name: &str,
    checkpoint: &Checkpoint,
    [prefill, bf16, i8, verify]: [f64; 4],
    figures: &mut Vec<Figure>,
) -> Result<(), CudaError> {
    let bar = |bar: f64, make: fn(f64) -> Bar| if bar.is_nan() { Bar::None } else { make(bar) };
    for (precision, decode_bar) in [(Precision::Bf16, bf16), (Precision::I8, i8)] {
        let gpu = GpuModel::load(device, checkpoint, precision)?;
        let dims = gpu.dims();
        if precision == Precision::Bf16 {
            let ms = f64::from(bench::prefill(&gpu, 8, 8192)?);
            let matrices = dims.d_inner * (3 * dims.d_model + dims.x_proj_rows() + dims.dt_rank);
            let products = 2.0 * (dims.n_layer * matrices * 8 * 8192) as f64 / rates.product * 1e3;
            let (scan, _) = rates.scan(8, dims.d_inner, 8192, dims.tied_decays);
            let limit = products + dims.n_layer as f64 * scan;
            let name = format!("prefill {name}");
            let figure = Figure::new("prefill, bf16, 8 x 8192 bytes", name, "ms", ms, bar(prefill, Bar::AtMost));
            figures.push(figure.limited(limit, "products, scan"));
        }
        let table = "decoding, greedy, bytes per second of all streams";
        let mut one = f64::NAN;
        for rows in [1, 8, 32] {
            let ms = f64::from(bench::decode(&gpu, rows, COUNT)?);
            let (batch, bar) = match rows {
                1 => (String::new(), bar(decode_bar, Bar::AtLeast)),
                _ => (format!(", batch {rows}"), Bar::None),
            };
            if rows == 1 {
                one = ms;
            }
            let speed = rows as f64 / ms * 1e3;
            let figure = Figure::new(table, format!("decode {name} {precision}{batch}"), "B/s", speed, bar);
            let least = gpu.pass_bytes() as f64 / rates.copy;
            figures.push(if least > 0.0 { figure.limited(rows as f64 / least, "weights") } else { figure });
        }
        for k in [8, 16, 32] {
            let ratio = f64::from(bench::verify(&gpu, k)?) / one;
            let bar = if k == 16 { bar(verify, Bar::AtMost) } else { Bar::None };
            let name = format!("verify {name} {precision}, K = {k}");
            figures.push(Figure::new("verification, copies included", name, "decodes", ratio, bar));
        }
    }
    Ok(())
}

/// Errors of prefill against the f32 model on the CPU, in relation to the norm of the logits.
fn errors(device: &Arc<Device>, figures: &mut Vec<Figure>) -> Result<(), CliError> {
    say("measuring errors");
    let model = Model::new(bench::random_checkpoint(&bench::dims(256, 8), 3))?;
    let mut random = Numbers::new(9);
    let text: Vec<u8> = (0..256).map(|_| random.next_u64() as u8).collect();
    let engine = FloatEngine::new(&model, 1);
    let expected = engine.read(&mut engine.rows(1)?, &[&text], Want::All)?.natural_logits();
    for (precision, bar) in [(Precision::F32, 1e-5), (Precision::Bf16, 4e-3)] {
        let gpu = GpuModel::load(device, model.checkpoint(), precision)?;
        let found = gpu.read(&mut gpu.rows(1)?, &[&text], Want::All)?.natural_logits();
        let (mut error, mut norm) = (0.0f64, 0.0f64);
        for (&found, &expected) in found.as_flattened().iter().zip(expected.as_flattened()) {
            error += (found - expected).powi(2);
            norm += expected.powi(2);
        }
        let name = format!("prefill 3.6 M {precision}, 256 bytes");
        let table = "error of logits against stepping in f32 on the CPU";
        figures.push(Figure::new(table, name, "of norm", (error / norm).sqrt(), Bar::AtMost(bar)));
    }
    Ok(())
}

/// CRC-32 over the integer logits of the built-in text by the built-in model: CPU, GPU.
fn checksums(device: &Arc<Device>) -> Result<(u32, u32), CliError> {
    let blob = builtin::model()?;
    let text = &SAMPLE[..SAMPLE.len().min(4096)];
    let gpu = GpuModel::load(device, blob, Precision::Exact)?;
    Ok((checksum(&IntEngine::of(blob, Cpu::default()), text, |_| ())?, checksum(&gpu, text, |_| ())?))
}

/// Times mamba-ssm and puts its figures beside ours. An error says in one line why not.
fn measure_peer(python: &Path, figures: &mut [Figure]) -> Result<(), String> {
    say("measuring mamba-ssm");
    let script = (&include_bytes!("gpu_peer.py")[..], &[][..]);
    peer::run(python, script, "torch mamba-ssm causal-conv1d", |name, ms| {
        for figure in figures.iter_mut().filter(|f| f.name == name) {
            figure.peer = Some(if figure.unit == "B/s" { 1e3 / ms } else { ms });
        }
    })
}

fn as_json(figure: &Figure) -> Value {
    let (at_most, at_least) = match figure.bar {
        Bar::AtMost(bar) => (Some(bar), None),
        Bar::AtLeast(bar) => (None, Some(bar)),
        Bar::None => (None, None),
    };
    json!({
        "table": figure.table, "name": figure.name, "unit": figure.unit, "value": figure.value, "at_most": at_most,
        "at_least": at_least, "met": figure.is_met(), "peer": figure.peer,
        "limit": figure.limit.map(|(limit, _)| limit), "limit_by": figure.limit.map(|(_, why)| why),
    })
}

/// Four significant digits.
fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    if digits < -3.0 { format!("{value:.2e}") } else { format!("{value:.*}", (3.0 - digits).max(0.0) as usize) }
}

/// What people read.
fn tables(figures: &[Figure], out: &mut String) {
    let mut table = "";
    for figure in figures {
        if figure.table != table {
            table = figure.table;
            let _ = writeln!(
                out,
                "\n{table}\n{:<34} {:>10} {:<8} {:>10} {:>7} {:>10} {:>10}",
                "", "measured", "", "must be", "", "peer", "limit"
            );
        }
        let bar = match figure.bar {
            Bar::AtMost(bar) => format!("<= {bar}"),
            Bar::AtLeast(bar) => format!(">= {bar}"),
            Bar::None => String::new(),
        };
        let met = figure.is_met().map_or("", |met| if met { "met" } else { "MISSED" });
        let peer = figure.peer.map_or("-".into(), short);
        let (limit, why) = figure.limit.map_or(("-".into(), ""), |(limit, why)| (short(limit), why));
        let _ = writeln!(
            out,
            "{:<34} {:>10} {:<8} {bar:>10} {met:>7} {peer:>10} {limit:>10} {why}",
            figure.name,
            short(figure.value),
            figure.unit
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_know_their_bars_and_are_printed_with_them() {
        let fast = Figure::new("t", "a", "ms", 0.5, Bar::AtMost(0.9)).limited(0.25, "memory");
        let slow = Figure { peer: Some(362.0), ..Figure::new("t", "b", "B/s", 1073.4, Bar::AtLeast(4000.0)) };
        assert_eq!((fast.is_met(), slow.is_met()), (Some(true), Some(false)));
        assert_eq!(as_json(&slow)["at_least"], 4000.0);
        let mut out = String::new();
        tables(&[fast, slow], &mut out);
        assert_eq!(out.matches("must be").count(), 1);
        let row = out.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(row, ["b", "1073", "B/s", ">=", "4000", "MISSED", "362.0", "-"]);
    }

    #[test]
    fn figures_of_a_table_stand_together() {
        let figure = |table, name: &str| Figure::new(table, name, "ms", 1.0, Bar::None);
        let mut figures = [figure("b", "1"), figure("a", "2"), figure("b", "3"), figure("a", "4")];
        in_tables(&mut figures);
        assert_eq!(figures.map(|f| f.name), ["1", "3", "2", "4"]);
    }

    #[test]
    fn numbers_have_four_digits() {
        assert_eq!([0.0, 0.2064, 1073.4, 12031.0, 3.2e-6].map(short), ["0.000", "0.2064", "1073", "12031", "3.20e-6"]);
    }

    /// 8 x 2048 x 8192 on an H100: 0.61 ms of exponentials, 0.36 ms of memory; tied, memory is the limit.
    #[test]
    fn limits_of_the_scan() {
        let rates = Rates { copy: 3e12, product: 7e14, exponentials: 16.0 * 132.0 * 1.98e9 };
        let (free, why) = rates.scan(8, 2048, 8192, false);
        assert!((free - 0.610).abs() < 0.001 && why == "exponentials", "{free}");
        let (tied, why) = rates.scan(8, 2048, 8192, true);
        assert!((tied - 0.358).abs() < 0.001 && why == "memory", "{tied}");
    }
}
