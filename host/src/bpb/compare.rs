//! Bits per byte with an adapter, beside the net's and the adapter's own: [`compare()`].

use std::time::Instant;

use mambabyte_core::Logits;
use rayon::prelude::*;

use super::score::{Cost, Score, Tally, costs};
use crate::adapt::{AnyAdapter, Preset};
use crate::engine::{Answer, Engine, EngineError};
use crate::stream::{block, part, read_ahead};

/// What a text cost under a net, under an adapter that hears it, and under an adapter alone.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Compared {
    /// Net and adapter; without a net the adapter alone.
    pub mixed: Score,
    /// The net alone.
    pub net: Option<Score>,
    /// The adapter alone.
    pub adapter: Option<Score>,
}

/// Most bytes of memory that adapters side by side take.
const ADAPTERS: usize = 256 << 20;

/// One window, and who reads it. An adapter's bits are integers, whose sums are exact.
struct Window<'t> {
    text: &'t [u8],
    mixed: (AnyAdapter, Tally),
    net: Tally,
    alone: Option<(AnyAdapter, Tally)>,
}

impl Window<'_> {
    fn new(text: &[u8], preset: Preset, net: bool, alone: bool) -> Window<'_> {
        let new = |net| (AnyAdapter::new(preset, net), Tally::default());
        Window { text, mixed: new(net), net: Tally::default(), alone: (alone && net).then(|| new(false)) }
    }

    /// Reads the bytes from `from` on, under as many logits as there are; under none, all of `count`.
    fn read(&mut self, from: usize, logits: &[Logits], costs: &[f64], count: usize) {
        let Self { text, mixed, net, alone } = self;
        let text = text.get(from..from + count).unwrap_or(&[]);
        let read = |(adapter, tally): &mut (AnyAdapter, Tally), logits: &[Logits]| {
            for (t, &byte) in text.iter().enumerate() {
                tally.add(from + t, f64::from(adapter.read(logits.get(t), byte).surprise()) / 65_536.0);
            }
        };
        costs.iter().enumerate().for_each(|(t, &bits)| net.add(from + t, bits));
        rayon::join(|| read(mixed, logits), || alone.iter_mut().for_each(|alone| read(alone, &[])));
    }
}

/// As [`evaluate`](super::evaluate), with an adapter of `preset` that starts anew in each window. Without an engine it is alone; with
/// `alone`, a second one reads the same text without the net.
///
/// # Errors
/// As [`evaluate`](super::evaluate).
/// # Cost
/// That of [`evaluate`](super::evaluate); adapters read on other threads while the engine reads the next block.
pub fn compare<E: Engine>(
    engine: Option<&E>,
    preset: Preset,
    alone: bool,
    text: &[u8],
    window: Option<usize>,
    progress: &dyn Fn(usize),
) -> Result<Compared, EngineError> {
    let start = Instant::now();
    let size = window.unwrap_or(text.len()).max(1);
    let texts: Vec<&[u8]> = text.chunks(size).collect();
    let (mut mixed, mut net, mut adapter) = (Score::empty(), Score::empty(), Score::empty());
    each_window(engine, preset, alone, &texts, progress, &mut |_, window| {
        mixed.add(&window.mixed.1);
        net.add(&window.net);
        window.alone.iter().for_each(|(_, tally)| adapter.add(tally));
    })
    .map_err(|e| e.of_text(|window| (0, (window * size) as u64)))?;
    for score in [&mut mixed, &mut net, &mut adapter] {
        (score.bytes, score.seconds) = (text.len(), start.elapsed().as_secs_f64());
    }
    let adapter = match engine {
        None => Some(mixed.clone()),
        Some(_) => alone.then_some(adapter),
    };
    Ok(Compared { mixed, net: engine.map(|_| net), adapter })
}

/// What each of `texts` cost, under the net and under an adapter that starts anew in each.
///
/// # Errors
/// As [`evaluate`](super::evaluate); rows in them are the numbers of the texts.
pub(super) fn each_mixed<E: Engine>(
    engine: Option<&E>,
    preset: Preset,
    texts: &[&[u8]],
    progress: &dyn Fn(usize),
    take: &mut dyn FnMut(usize, Cost),
) -> Result<(), EngineError> {
    each_window(engine, preset, false, texts, progress, &mut |number, window| {
        let net = engine.map(|_| window.net.bits);
        take(number, Cost { net, mixed: Some(window.mixed.1.bits) });
    })
}

/// Reads each of `texts` from the zero state; `take` gets what each has cost, in their order.
fn each_window<E: Engine>(
    engine: Option<&E>,
    preset: Preset,
    alone: bool,
    texts: &[&[u8]],
    progress: &dyn Fn(usize),
    take_window: &mut dyn FnMut(usize, &Window<'_>),
) -> Result<(), EngineError> {
    let fits = (ADAPTERS / (2 * preset.bytes())).max(1);
    let at_once = engine.map_or_else(rayon::current_num_threads, |engine| engine.full_load().rows).clamp(1, fits);
    for (number, group) in texts.chunks(at_once).enumerate() {
        let new = |text| Window::new(text, preset, engine.is_some(), alone);
        let mut windows: Vec<Window<'_>> = group.iter().map(|&text| new(text)).collect();
        match engine {
            None => windows.par_iter_mut().for_each(|window| window.read(0, &[], &[], window.text.len())),
            Some(engine) => {
                let each = block(engine, group.len());
                let take = |from: usize, answer: &Answer| {
                    let next: Vec<u8> = group.iter().flat_map(|text| &text[part(text, from, each)]).copied().collect();
                    let (logits, costs) = (answer.logits(), costs(answer, &next));
                    let mut first = 0;
                    let parts = windows.iter_mut().map(|window| {
                        let range = first..first + part(window.text, from, each).len();
                        first = range.end;
                        (window, range)
                    });
                    parts.collect::<Vec<_>>().into_par_iter().for_each(|(window, range)| {
                        let logits = logits.get(range.clone()).unwrap_or(&[]);
                        window.read(from, logits, costs.get(range).unwrap_or(&[]), logits.len());
                    });
                };
                read_ahead(engine, group, progress, take).map_err(|e| e.of_text(|row| (number * at_once + row, 0)))?;
            }
        }
        if engine.is_none() {
            progress(group.iter().map(|text| text.len()).sum());
        }
        windows.iter().enumerate().for_each(|(row, window)| take_window(number * at_once + row, window));
    }
    Ok(())
}
