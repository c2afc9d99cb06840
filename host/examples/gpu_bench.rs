//! `cargo run --release -p mambabyte-host --features cuda --example gpu_bench [-- --peer PATH_TO_PYTHON]`: times of the
//! float path on GPU 0, beside those of mamba-ssm in the same run if that Python has it.

use std::error::Error;
use std::process::Command;

use mambabyte_host::cuda::{Device, float::bench};

/// Rows, channels, steps, tied, the least time that the special-function unit or the issue rate allows.
const SCANS: [(usize, usize, usize, bool, f32); 9] = [
    (8, 2048, 8192, false, 0.64),
    (1, 2048, 8192, false, 0.08),
    (1, 3584, 65_536, false, 1.12),
    (64, 512, 2048, false, 0.32),
    (8, 512, 8192, false, 0.16),
    (1, 512, 65_536, false, 0.16),
    (8, 2048, 8192, true, 0.35),
    (1, 2048, 8192, true, 0.044),
    (64, 512, 2048, true, 0.175),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let device = Device::open(0)?;
    println!("{}: device-to-device copy {:.2} TB/s", device.name(), bench::copy_rate(&device)? / 1e12);
    println!("\nscan forward, bf16, 16 states | ms | limit | share of it");
    for (batch, d_inner, seq_len, tied, limit) in SCANS {
        let ms = bench::scan(&device, batch, d_inner, seq_len, tied)?;
        let kind = if tied { "tied" } else { "free" };
        println!("{batch} x {d_inner} x {seq_len} {kind} | {ms:.3} | {limit} | {:.0} %", 100.0 * limit / ms);
    }
    println!("\nprefill, bf16, 8 x 8192 bytes | ms | MB/s");
    for (d_model, n_layer) in [(256, 8), (512, 12), (1024, 53)] {
        let ms = bench::prefill(&device, &bench::dims(d_model, n_layer), 8, 8192)?;
        println!("{d_model} x {n_layer} | {ms:.2} | {:.3}", 8.0 * 8192.0 / f64::from(ms) / 1e3);
    }
    if let [flag, python] = arguments.as_slice()
        && flag == "--peer"
    {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gpu_peer.py");
        println!("\nmamba-ssm");
        if !Command::new(python).arg(script).status()?.success() {
            println!("{python} has no PyTorch with CUDA and mamba-ssm: pip install torch mamba-ssm causal-conv1d");
        }
    }
    Ok(())
}
