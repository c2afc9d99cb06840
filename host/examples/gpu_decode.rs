//! Bytes per second of float decoding on a GPU, beside the time that the weights alone would take.
//!
//! `cargo run --release -p mambabyte-host --features cuda --example gpu_decode`

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use mambabyte_core::{Dims, Norm, VOCAB};
use mambabyte_host::Checkpoint;
use mambabyte_host::checkpoint::Layer;
use mambabyte_host::cuda::Device;
use mambabyte_host::cuda::decode::{Decoder, Form, Sampling};

fn random(n: usize, scale: f32, seed: &mut u64) -> Vec<f32> {
    let one = |_| {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((*seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
    };
    (0..n).map(one).collect()
}

fn model(d: usize, n_layer: usize) -> Checkpoint {
    let dims = Dims {
        d_model: d,
        n_layer,
        d_inner: 2 * d,
        d_state: 16,
        d_conv: 4,
        dt_rank: d / 16,
        norm: Norm::Rms,
        tied_head: true,
        tied_decays: false,
    };
    let mut seed = 1;
    let di = dims.d_inner;
    let mut matrix = |rows: usize, columns: usize| random(rows * columns, (3.0 / columns as f32).sqrt(), &mut seed);
    let embedding = matrix(VOCAB, d);
    let layers = (0..n_layer).map(|_| Layer {
        norm: vec![1.0; d],
        norm_bias: Vec::new(),
        in_proj: matrix(2 * di, d),
        conv1d: matrix(di, 4),
        conv_bias: vec![0.0; di],
        x_proj: matrix(dims.x_proj_rows(), di),
        dt_proj: matrix(di, dims.dt_rank),
        dt_bias: vec![-4.0; di],
        a_log: (0..di * 16).map(|i| ((i % 16 + 1) as f32).ln()).collect(),
        d_skip: vec![1.0; di],
        out_proj: matrix(d, di),
    });
    Checkpoint {
        dims,
        norm_eps: 1e-5,
        layers: layers.collect(),
        embedding,
        norm_f: vec![1.0; d],
        norm_f_bias: Vec::new(),
        head: None,
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn time(
    device: &Arc<Device>,
    repeats: usize,
    mut f: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    f()?;
    let mut times = Vec::new();
    for _ in 0..repeats {
        device.synchronize()?;
        let start = Instant::now();
        f()?;
        device.synchronize()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(median(times))
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::open(0)?;
    println!("{}", device.name());
    // The rate that a copy on the device reaches, read and write counted.
    let n = 1usize << 30;
    let from = device.stream().alloc_zeros::<u8>(n)?;
    let mut to = device.stream().alloc_zeros::<u8>(n)?;
    let copy = time(&device, 10, || Ok(device.stream().memcpy_dtod(&from, &mut to)?))?;
    let rate = 2.0 * n as f64 / copy;
    println!("copy on the device: {:.2} TB/s", rate / 1e12);
    drop((from, to));
    for (name, d, layers) in [("3.6 M", 256, 8), ("20.5 M", 512, 12), ("353.6 M", 1024, 53)] {
        let model = model(d, layers);
        for form in [Form::Bf16, Form::I8] {
            let mut decoder = Decoder::load(&device, &model, form)?;
            let weights = decoder.weight_bytes() as f64;
            let mut one = 0.0;
            for batch in [1, 8, 32, 256] {
                let count = if batch == 256 { 64 } else { 512 };
                let mut state = decoder.state(batch)?;
                let bytes = vec![b'a'; batch];
                let seconds = time(&device, 5, || {
                    decoder.decode(&mut state, &bytes, count, Sampling::default(), false)?;
                    Ok(())
                })? / count as f64;
                if batch == 1 {
                    one = seconds;
                }
                println!(
                    "{name} {form:?} decode batch {batch}: {:.1} us per byte, {:.0} B/s in all, weights at {:.2} TB/s, limit {:.1} us",
                    seconds * 1e6,
                    batch as f64 / seconds,
                    weights * batch.div_ceil(32) as f64 / seconds / 1e12,
                    weights / rate * 1e6,
                );
            }
            let mut state = decoder.state(1)?;
            for k in [1, 4, 8, 16, 32] {
                let draft = vec![b'a'; k];
                let seconds = time(&device, 50, || {
                    drop(decoder.verify(&mut state, &[&draft])?);
                    Ok(())
                })?;
                println!(
                    "{name} {form:?} verify K = {k}: {:.1} us with copies, {:.2} of a decode",
                    seconds * 1e6,
                    seconds / one
                );
            }
        }
    }
    Ok(())
}
