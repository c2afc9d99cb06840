//! Text from the model on a chip: the same bytes as `mambabyte generate` with the same options.
//!
//! `cargo xtask firmware run --bin generate -- --prompt "$GPGGA," --seed 7` reads the options as that command does and
//! passes them on as words of the semihosting command line, in the integers that the sampler takes:
//!
//! ```text
//! prompt=HEX bytes=N seed=N temperature=Q16 top_k=N top_p=Q16
//! ```
//!
//! A word that is missing has the command's default. A board has no such line: for it, `FW_ARGUMENTS` has the words
//! when the program is built. The text goes to standard output, everything else to standard error.
#![no_std]
#![no_main]

use mambabyte_core::{Blob, Decoder, Rng, SampleOptions, sample};
use mambabyte_firmware::{COMMAND_LINE, DIMS, MODEL, start};
use semihosting::experimental::env;
use semihosting::io::{self, Write};
use semihosting::{eprintln, process};
use static_cell::StaticCell;

static STATE: StaticCell<[i16; DIMS.state_len()]> = StaticCell::new();
static SCRATCH: StaticCell<[i32; DIMS.scratch_len()]> = StaticCell::new();

/// What to generate.
struct Options<'a> {
    prompt: &'a str,
    bytes: u64,
    seed: u64,
    sampling: SampleOptions,
}

start!(main);

fn main() -> ! {
    let words;
    let mut options = Options { prompt: "", bytes: 256, seed: 0, sampling: SampleOptions::default() };
    // The first word is the program's name.
    if let Some(words) = option_env!("FW_ARGUMENTS") {
        words.split_ascii_whitespace().skip(1).for_each(|word| options.set(word));
    } else {
        words = env::args::<COMMAND_LINE>().unwrap_or_else(|_| fail("command line", "not there or too long"));
        for word in (&words).into_iter().skip(1) {
            options.set(word.unwrap_or_else(|_| fail("a word of the command line", "not UTF-8")));
        }
    }
    match generate(&options) {
        Ok(()) => process::exit(0),
        Err(_) => fail("standard output", "it cannot be written"),
    }
}

impl<'a> Options<'a> {
    /// Takes one word, `NAME=VALUE`.
    fn set(&mut self, word: &'a str) {
        match word.split_once('=') {
            Some(("prompt", hex)) => self.prompt = hex,
            Some(("bytes", n)) => self.bytes = number(word, n),
            Some(("seed", n)) => self.seed = number(word, n),
            Some(("temperature", n)) => self.sampling.temperature = number(word, n),
            Some(("top_k", n)) => self.sampling.top_k = number(word, n),
            Some(("top_p", n)) => self.sampling.top_p = number(word, n),
            _ => fail(word, "no such option"),
        }
    }
}

/// One 0x00 byte is read before the prompt, as in training windows.
fn generate(options: &Options<'_>) -> io::Result<()> {
    let blob = Blob::parse(MODEL).expect("the built-in model");
    let state = STATE.init([0; DIMS.state_len()]);
    let scratch = SCRATCH.init([0; DIMS.scratch_len()]);
    let mut decoder = Decoder::new(blob, &mut state[..], &mut scratch[..]).expect("sized by the model");
    let mut rng = Rng::new(options.seed);
    let mut last = 0;
    let mut prompt = options.prompt;
    while !prompt.is_empty() {
        let (digits, rest) = prompt.split_at_checked(2).unwrap_or_else(|| fail("prompt", "half a byte"));
        decoder.step(last);
        last = u8::from_str_radix(digits, 16).unwrap_or_else(|_| fail(digits, "not hexadecimal"));
        prompt = rest;
    }
    let mut out = io::stdout()?;
    for _ in 0..options.bytes {
        last = sample(decoder.step(last), &options.sampling, &mut rng);
        out.write_all(&[last])?;
    }
    Ok(())
}

/// The number of an option.
fn number<T: core::str::FromStr>(word: &str, digits: &str) -> T {
    digits.parse().unwrap_or_else(|_| fail(word, "not a number that fits"))
}

/// Ends the program with a sentence.
fn fail(what: &str, why: &str) -> ! {
    eprintln!("{what}: {why}");
    process::exit(1)
}
