//! How fast training is: forward, back and update over random text, for the shapes of the shipped models.
//!
//! ```text
//! cargo run --release -p mambabyte-tests --bin train_speed -- [--threads 2] [--seconds 10] [--window 2048] [--rows 8] [--shape nano]
//! ```
//!
//! The update is AdamW, plain. `tests/peers/train_speed.py` times the same in PyTorch.

use std::time::Instant;

use mambabyte_core::Dims;
use mambabyte_core::dims::Norm;
use mambabyte_host::train::{Carry, Row, gradient, zeros_like};
use mambabyte_host::{Checkpoint, Layer, Model};

/// Name, d_model, n_layer, d_state.
const SHAPES: [(&str, usize, usize, usize); 4] =
    [("pico", 32, 3, 8), ("nano", 64, 4, 8), ("nano, d_state 16", 64, 4, 16), ("micro", 128, 6, 8)];

/// Numbers from -1 to 1, the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / 8_388_608.0 - 1.0
    }

    fn around(&mut self, n: usize, base: f32, scale: f32) -> Vec<f32> {
        (0..n).map(|_| base + scale * self.next()).collect()
    }
}

/// A model as training begins with it.
fn start(d_model: usize, n_layer: usize, d_state: usize, tied_decays: bool) -> Checkpoint {
    let (d_inner, d_conv, dt_rank) = (2 * d_model, 4, d_model.div_ceil(16));
    let dims =
        Dims { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm: Norm::Rms, tied_head: true, tied_decays };
    let mut noise = Noise(1);
    let mut matrix = |rows: usize, columns: usize| noise.around(rows * columns, 0.0, (columns as f32).powf(-0.5));
    let layers = (0..n_layer).map(|_| Layer {
        norm: vec![1.0; d_model],
        norm_bias: vec![],
        in_proj: matrix(2 * d_inner, d_model),
        conv1d: matrix(d_inner, d_conv),
        conv_bias: vec![0.0; d_inner],
        x_proj: matrix(dims.x_proj_rows(), d_inner),
        dt_proj: matrix(d_inner, dt_rank),
        dt_bias: vec![-4.0; d_inner],
        a_log: (0..d_inner * d_state).map(|i| ((i % d_state + 1) as f32).ln()).collect(),
        d_skip: vec![1.0; d_inner],
        out_proj: matrix(d_model, d_inner),
    });
    let layers = layers.collect();
    let (embedding, norm_f) = (matrix(256, d_model), vec![1.0; d_model]);
    Checkpoint { dims, norm_eps: 1e-5, embedding, layers, norm_f, norm_f_bias: vec![], head: None }
}

/// One update of AdamW without decay, `count` the number of the update.
fn update(c: &mut Checkpoint, grad: &mut Checkpoint, moments: &mut [Checkpoint; 2], symbols: usize, count: i32) {
    let [m, v] = moments;
    let rate = 1e-3 * (1.0 - 0.95f32.powi(count)).sqrt() / (1.0 - 0.9f32.powi(count));
    let all = c.tensors_mut().into_iter().zip(grad.tensors_mut()).zip(m.tensors_mut()).zip(v.tensors_mut());
    for ((((.., w), (.., g)), (.., m)), (.., v)) in all {
        for (((w, g), m), v) in w.iter_mut().zip(g.iter_mut()).zip(m.iter_mut()).zip(v.iter_mut()) {
            let slope = *g / symbols as f32;
            *m += 0.1 * (slope - *m);
            *v += 0.05 * (slope * slope - *v);
            *w -= rate * *m / (v.sqrt() + 1e-8);
            *g = 0.0;
        }
    }
    c.tie_decays();
}

/// Seconds of processor that this program has had, where `/proc` says it (in hundredths).
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks: Option<f64> = [11, 12].iter().map(|&i| fields.get(i)?.parse::<f64>().ok()).sum();
    Some(ticks? / 100.0)
}

/// What was measured.
struct Speed {
    /// Bytes per second, and per second of one processor: a busy machine does not disturb that.
    bytes: f64,
    per_processor: Option<f64>,
    /// The loss of the last update, bits per byte.
    bits: f64,
}

fn measure(mut c: Checkpoint, rows: usize, window: usize, seconds: f64) -> Result<Speed, String> {
    let mut noise = Noise(7);
    let texts: Vec<Vec<u16>> = (0..rows)
        .map(|_| (0..=window).map(|i| (40 + i % 60) as u16 + u16::from(noise.next() > 0.0)).collect())
        .collect();
    let mut carries = vec![Carry::zero(&c.dims); rows];
    let mut grad = zeros_like(&c);
    let mut moments = [zeros_like(&c), zeros_like(&c)];
    let (mut begin, mut processor) = (Instant::now(), processor_seconds());
    let (mut bytes, mut bits, mut count) = (0, 0.0, 0);
    // The first update warms up: memory is taken, weights come into caches.
    while count < 2 || begin.elapsed().as_secs_f64() < seconds {
        let model = Model::new(c.clone()).map_err(|e| e.to_string())?;
        let mut batch: Vec<Row<'_>> = texts
            .iter()
            .zip(&mut carries)
            .map(|(text, carry)| Row { symbols: &text[..window], next: &text[1..], starts: &[], carry })
            .collect();
        let loss = gradient(&model, &mut batch, &mut grad);
        count += 1;
        update(&mut c, &mut grad, &mut moments, loss.symbols, count);
        bits = loss.nats / loss.symbols as f64 / std::f64::consts::LN_2;
        bytes += loss.symbols;
        if count == 1 {
            (begin, processor, bytes) = (Instant::now(), processor_seconds(), 0);
        }
    }
    let per_processor = processor_seconds().zip(processor).map(|(now, then)| bytes as f64 / (now - then));
    Ok(Speed { bytes: bytes as f64 / begin.elapsed().as_secs_f64(), per_processor, bits })
}

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: usize| -> Result<usize, String> {
        let Some(at) = args.iter().position(|a| a == name) else { return Ok(default) };
        let value = args.get(at + 1).and_then(|v| v.parse().ok()).filter(|&v| v > 0);
        value.ok_or(format!("{name}: a number from 1 on"))
    };
    let (threads, seconds) = (option("--threads", 2)?, option("--seconds", 10)?);
    let (window, rows) = (option("--window", 2048)?, option("--rows", 8)?);
    let only = args.iter().position(|a| a == "--shape").and_then(|at| args.get(at + 1));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| e.to_string())?;
    println!("{threads} threads, {rows} rows of {window} bytes: forward, back and update");
    for (name, d_model, n_layer, d_state) in SHAPES {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        for tied in [true, false] {
            let c = start(d_model, n_layer, d_state, tied);
            let parameters = c.parameters();
            let Speed { bytes, per_processor, bits } = pool.install(|| measure(c, rows, window, seconds as f64))?;
            let kind = if tied { "tied" } else { "free" };
            let per_processor = per_processor.map_or("-".into(), |speed| format!("{:.2}", speed / 1e3));
            println!(
                "{name:16} {kind}  {parameters:>7} parameters  {:8.2} KB/s, {per_processor:>6} per processor ({bits:.3} bits)",
                bytes / 1e3
            );
        }
    }
    Ok(())
}
