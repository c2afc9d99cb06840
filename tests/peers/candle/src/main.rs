//! candle's Mamba in f32 with random weights: `peer-candle WIDTH LAYERS SECONDS` prints bytes per second as JSON.

use std::error::Error;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use candle_transformers::models::mamba::{Config, Model, State};

fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("peer-candle WIDTH LAYERS SECONDS");
    let (d_model, n_layer, seconds) = (next()?.parse()?, next()?.parse()?, next()?.parse::<f64>()?);
    let config = Config { d_model, n_layer, vocab_size: 256, pad_vocab_size_multiple: 1 };
    let model = Model::new(&config, VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu))?;
    let mut state = State::new(1, &config, DType::F32, &Device::Cpu)?;
    let mut byte = 97u32;
    let mut step = || -> candle_core::Result<()> {
        let logits = model.forward(&Tensor::new(&[byte], &Device::Cpu)?, &mut state)?;
        byte = logits.squeeze(0)?.argmax(0)?.to_scalar()?;
        Ok(())
    };
    for _ in 0..4 {
        step()?;
    }
    let (start, mut done) = (Instant::now(), 0.0);
    while start.elapsed().as_secs_f64() < seconds {
        step()?;
        done += 1.0;
    }
    // It cannot read many known bytes at once: prefill is decode.
    let rate = done / start.elapsed().as_secs_f64();
    let peak = peak_rss().map_or("null".to_owned(), |peak| peak.to_string());
    println!(r#"{{"decode": {rate}, "prefill": {rate}, "peak_rss": {peak}}}"#);
    Ok(())
}
