//! A few bytes that a model under training finds likely: what people look at first.

use mambabyte_core::{Rng, SampleOptions, sample as choose};
use mambabyte_host::Model;
use mambabyte_host::model::{LOGIT_LIMIT, logit_units};
use mambabyte_host::subwords::Subwords;

/// Bytes of a sample, of which a large model writes fewer: one look should not take the time of many steps.
const BYTES: usize = 160;
const FEWEST: usize = 32;
/// Weights that a sample multiplies with at most, before it has the fewest bytes.
const WEIGHTS: usize = 2_000_000_000;
/// Somewhat more certain than the model is.
const OPTIONS: SampleOptions = SampleOptions { temperature: 52_429, top_k: 0, top_p: 65_536 };

/// A sample from the zero state, as text: bytes that are no UTF-8 are replacement characters. It ends where the model
/// fails. A model over `words` writes the symbol that it finds likeliest.
pub fn sample(model: &Model, words: Option<&dyn Subwords>, seed: u64) -> String {
    let count = (WEIGHTS / model.checkpoint().parameters().max(1)).clamp(FEWEST, BYTES);
    let bytes = match words {
        Some(words) => likeliest(model, words, count),
        None => drawn(model, seed, count),
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

fn likeliest(model: &Model, words: &dyn Subwords, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    let Ok(mut session) = model.symbols() else { return bytes };
    let mut last = words.encode(&[0]).first().copied().unwrap_or(0);
    // As many symbols as bytes at most: some stand for no text.
    for _ in 0..count {
        let Ok(logits) = session.step(last) else { break };
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(symbol, _)| symbol);
        last = best as u16;
        bytes.extend_from_slice(words.bytes(last));
        if bytes.len() >= count {
            break;
        }
    }
    bytes
}

fn drawn(model: &Model, seed: u64, count: usize) -> Vec<u8> {
    let (mut session, mut rng, mut last) = (model.session(), Rng::new(seed), 0);
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        match session.step(last) {
            Ok(logits) if logits.iter().all(|l| l.abs() < LOGIT_LIMIT) => {
                last = choose(&logit_units(logits), &OPTIONS, &mut rng);
                bytes.push(last);
            }
            _ => break,
        }
    }
    bytes
}
