//! A few bytes that a model under training finds likely: what people look at first.

use mambabyte_core::{Rng, SampleOptions, sample as choose};
use mambabyte_host::Model;
use mambabyte_host::model::{LOGIT_LIMIT, logit_units};

/// Bytes of a sample.
const BYTES: usize = 160;
/// Somewhat more certain than the model is.
const OPTIONS: SampleOptions = SampleOptions { temperature: 52_429, top_k: 0, top_p: 65_536 };

/// A sample from the zero state, as text: bytes that are no UTF-8 are replacement characters. It ends where the model
/// fails.
pub fn sample(model: &Model, seed: u64) -> String {
    let (mut session, mut rng, mut last) = (model.session(), Rng::new(seed), 0);
    let mut bytes = Vec::with_capacity(BYTES);
    while bytes.len() < BYTES {
        match session.step(last) {
            Ok(logits) if logits.iter().all(|l| l.abs() < LOGIT_LIMIT) => {
                last = choose(&logit_units(logits), &OPTIONS, &mut rng);
                bytes.push(last);
            }
            _ => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
