//! `mambabyte generate`: bytes that the model finds likely.

use std::io::Write;
use std::path::Path;

use mambabyte_core::{Rng, SampleOptions, Want, sample};
use mambabyte_host::cpu::Stream;

use crate::backend::Gpu;
use crate::cli;
use crate::error::CliError;
use crate::model::{AnyModel, BlobFile, cpu, read_text};

/// Checks the options and puts them into the integers that the sampler uses.
///
/// # Errors
/// [`CliError::Usage`] names the option.
pub fn options(args: &cli::Generate) -> Result<SampleOptions, CliError> {
    if !(0.0..=100.0).contains(&args.temperature) {
        return Err(CliError::Usage(format!("--temperature {}: between 0 and 100", args.temperature)));
    }
    if !(args.top_p > 0.0 && args.top_p <= 1.0) {
        return Err(CliError::Usage(format!("--top-p {}: above 0, at most 1", args.top_p)));
    }
    if args.top_k > 256 {
        return Err(CliError::Usage(format!("--top-k {}: there are 256 bytes", args.top_k)));
    }
    let temperature = (args.temperature * 65_536.0).round() as u32;
    Ok(SampleOptions {
        temperature: if args.temperature > 0.0 { temperature.max(1) } else { 0 },
        top_k: args.top_k,
        top_p: (args.top_p * 65_536.0).round() as u32,
    })
}

/// Runs the command. One 0x00 byte is read before the prompt, as in training windows.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &cli::Generate) -> Result<(), CliError> {
    let options = options(args)?;
    let cpu = cpu(&args.running)?;
    let file = BlobFile::open(&args.model)?;
    let prompt = match args.prompt.as_str() {
        "-" => read_text(Path::new("-"))?,
        text => text.as_bytes().to_vec(),
    };
    let model = AnyModel::Blob(file);
    let mut out = std::io::stdout().lock();
    if let Some(gpu) = Gpu::open(args.device, &model)? {
        return gpu.generate(&prompt, args.bytes, (&options, args.seed), &mut |text| {
            out.write_all(text).and_then(|()| out.flush()).map_err(CliError::stdout)
        });
    }
    let AnyModel::Blob(file) = &model else { return Err(CliError::NeedsBlob { path: args.model.clone() }) };
    let mut stream = Stream::new(file.weights(), cpu);
    let mut rng = Rng::new(args.seed);
    let mut last = 0;
    if let Some((&end, head)) = prompt.split_last() {
        let known: Vec<u8> = std::iter::once(0).chain(head.iter().copied()).collect();
        stream.prefill(&known, Want::Nothing, |_, _| (), |()| ());
        last = end;
    }
    for _ in 0..args.bytes {
        last = sample(stream.step(last), &options, &mut rng);
        out.write_all(&[last]).map_err(CliError::stdout)?;
        if last == b'\n' {
            out.flush().map_err(CliError::stdout)?;
        }
    }
    out.flush().map_err(CliError::stdout)
}
