//! Bits per byte of a text, under any engine.

mod compare;
mod score;

use std::time::Instant;

use crate::adapt::Preset;
use crate::engine::{Answer, Engine, EngineError};
use crate::stream::{block, part, read_ahead};
pub use compare::{Compared, compare};
pub use score::{Cost, PositionBin, Score, surprise_bits};
use score::{Tally, costs};

/// Scores `text` in windows of `window` bytes (`None`: one unbroken stream), each from the zero state with one 0x00
/// byte read first, so that every byte of the text is predicted. Windows are read side by side; sums have a fixed
/// order, so an engine in integers gives the same number everywhere, to the last bit.
///
/// `progress` is told bytes as they are read.
///
/// # Errors
/// Those of [`Engine::read_into`]; positions in them are of the byte of the text that was to be predicted.
pub fn evaluate<E: Engine>(
    engine: &E,
    text: &[u8],
    window: Option<usize>,
    progress: &dyn Fn(usize),
) -> Result<Score, EngineError> {
    let size = window.unwrap_or(text.len()).max(1);
    let windows: Vec<&[u8]> = text.chunks(size).collect();
    evaluate_all(engine, &windows, progress).map_err(|e| e.of_text(|window| (0, (window * size) as u64)))
}

/// [`evaluate`] of several texts, each as one unbroken stream, side by side; their scores together.
///
/// # Errors
/// As [`evaluate`]; rows in them are the numbers of the texts.
pub fn evaluate_all<E: Engine>(engine: &E, texts: &[&[u8]], progress: &dyn Fn(usize)) -> Result<Score, EngineError> {
    let start = Instant::now();
    let mut score = Score { bytes: texts.iter().map(|t| t.len()).sum(), ..Score::empty() };
    each_text(engine, texts, progress, &mut |_, tally| score.add(tally))?;
    score.seconds = start.elapsed().as_secs_f64();
    Ok(score)
}

/// What each of `texts` cost, each by itself: as one unbroken stream from the zero state, under a net, under an adapter of
/// `preset` that begins anew in each, or under both. Texts are read side by side, those of like lengths together, and their
/// rows share the weights. With neither, nothing is said.
///
/// `progress` is told bytes as they are read.
///
/// # Errors
/// As [`evaluate`]; rows in them are the numbers of the texts.
pub fn each<E: Engine>(
    engine: Option<&E>,
    preset: Option<Preset>,
    texts: &[&[u8]],
    progress: &dyn Fn(usize),
) -> Result<Vec<Cost>, EngineError> {
    let mut costs = vec![Cost::default(); texts.len()];
    // Rows end together where texts of like lengths are side by side; the results do not depend on it.
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&number| std::cmp::Reverse(texts[number].len()));
    let sorted: Vec<&[u8]> = order.iter().map(|&number| texts[number]).collect();
    let mut put = |place: usize, cost: Cost| costs[order[place]] = cost;
    let read = match (engine, preset) {
        (engine, Some(preset)) => compare::each_mixed(engine, preset, &sorted, progress, &mut put),
        (Some(engine), None) => each_text(engine, &sorted, progress, &mut |place, tally| {
            put(place, Cost { net: Some(tally.bits), mixed: None });
        }),
        (None, None) => Ok(()),
    };
    read.map_err(|e| e.of_text(|place| (order.get(place).copied().unwrap_or(place), 0)))?;
    Ok(costs)
}

/// Reads each of `texts` from the zero state; `take_text` gets what each has cost, in their order.
fn each_text<E: Engine>(
    engine: &E,
    texts: &[&[u8]],
    progress: &dyn Fn(usize),
    take_text: &mut dyn FnMut(usize, &Tally),
) -> Result<(), EngineError> {
    let at_once = engine.full_load().rows.max(1);
    for (number, group) in texts.chunks(at_once).enumerate() {
        let mut tallies = vec![Tally::default(); group.len()];
        let each = block(engine, group.len());
        let take = |from: usize, answer: &Answer| {
            let next: Vec<u8> = group.iter().flat_map(|text| &text[part(text, from, each)]).copied().collect();
            let bits = costs(answer, &next);
            let mut rest = bits.as_slice();
            for (text, tally) in group.iter().zip(&mut tallies) {
                let (mine, others) = rest.split_at(part(text, from, each).len());
                mine.iter().enumerate().for_each(|(t, &bits)| tally.add(from + t, bits));
                rest = others;
            }
        };
        read_ahead(engine, group, progress, take).map_err(|e| e.of_text(|row| (number * at_once + row, 0)))?;
        tallies.iter().enumerate().for_each(|(row, tally)| take_text(number * at_once + row, tally));
    }
    Ok(())
}
