//! `mambabyte generate`: bytes that the model finds likely.

use std::io::Write;
use std::path::Path;

use mambabyte_core::{Logits, Rng, SampleOptions, Want, sample};
use mambabyte_host::cpu::Stream;
use mambabyte_host::model::logit_units;

use crate::backend::Gpu;
use crate::cli;
use crate::error::CliError;
use crate::model::{AnyModel, cpu, read_text};

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
    let model = AnyModel::open(&args.model)?;
    let prompt = match args.prompt.as_str() {
        "-" => read_text(Path::new("-"))?,
        text => text.as_bytes().to_vec(),
    };
    let mut out = std::io::stdout().lock();
    if let Some(gpu) = Gpu::open(args.computing, &model)? {
        return gpu.generate(&prompt, args.bytes, (&options, args.seed), &mut |text| {
            out.write_all(text).and_then(|()| out.flush()).map_err(CliError::stdout)
        });
    }
    let mut rng = Rng::new(args.seed);
    // Bytes before the last one that is known, and that one.
    let (known, mut last) = match prompt.split_last() {
        Some((&last, head)) => (std::iter::once(0).chain(head.iter().copied()).collect(), last),
        None => (Vec::new(), 0),
    };
    let mut write = |step: &mut dyn FnMut(u8) -> Logits| {
        for _ in 0..args.bytes {
            last = sample(&step(last), &options, &mut rng);
            out.write_all(&[last]).map_err(CliError::stdout)?;
            if last == b'\n' {
                out.flush().map_err(CliError::stdout)?;
            }
        }
        Ok::<_, CliError>(())
    };
    match &model {
        AnyModel::Blob(file) => {
            let mut stream = Stream::new(file.weights(cpu.backend), cpu);
            stream.prefill(&known, Want::Nothing, |_, _| (), |()| ());
            write(&mut |byte| *stream.step(byte))?;
        }
        AnyModel::Checkpoint(model) => {
            let mut session = model.session();
            known.iter().for_each(|&byte| _ = session.step(byte));
            write(&mut |byte| logit_units(session.step(byte)))?;
        }
    }
    out.flush().map_err(CliError::stdout)
}
