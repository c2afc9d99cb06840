//! How fast a model would be on a chip: an estimate from instructions that were counted.
//!
//! `cargo xtask firmware footprint` counts the instructions of every stage of the step on emulated cores, for the
//! shipped models; the counts are exact and are in a table that this module holds. A shape that was not counted is put
//! together by stage: instructions per multiply-add, per element of the scan, per channel, from the counted models of
//! that core whose widths are next to it. Between the two, the cost per unit is taken to be linear in 1 / `d_model`,
//! which is how work that is done once for a row shows.
//!
//! Instructions are not cycles, and no emulator here knows cycles. [`cycles_per_instruction`] is a range from general
//! knowledge of the cores, not a measurement.

use mambabyte_core::{Dims, VOCAB};
use mambabyte_host::adapt::Preset;

/// Written by `cargo xtask firmware footprint`.
const TABLE: &str = include_str!("../data/instructions.tsv");
/// Stages of the step, in the order of the table.
const STAGES: usize = 10;
/// The scan's place among them.
const SCAN: usize = 4;

/// A counted model on a counted core.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// The core.
    pub core: &'static str,
    /// The emulated board.
    pub board: &'static str,
    /// The model.
    pub model: &'static str,
    shape: [usize; 5],
    tied_decays: bool,
    stages: [f64; STAGES],
}

/// The table.
pub fn counted() -> impl Iterator<Item = Counted> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(row)
}

/// A row; `None` for the header.
fn row(line: &'static str) -> Option<Counted> {
    let mut cells = line.split('\t');
    let (core, board, model) = (cells.next()?, cells.next()?, cells.next()?);
    let mut numbers = cells.map(str::parse::<f64>);
    let mut next = || numbers.next()?.ok();
    let mut shape = [0; 5];
    for n in &mut shape {
        *n = next()? as usize;
    }
    let tied_decays = next()? != 0.0;
    let mut stages = [0.0; STAGES];
    for n in &mut stages {
        *n = next()?;
    }
    Some(Counted { core, board, model, shape, tied_decays, stages })
}

/// What each stage does once per unit: multiply-adds, elements, channels, columns, layers.
fn units([d_model, n_layer, d_inner, d_state, dt_rank]: [usize; 5]) -> [f64; STAGES] {
    let channels = n_layer * d_inner;
    let columns = (n_layer + 1) * d_model;
    [
        2 * channels * d_model,
        channels * (dt_rank + 2 * d_state),
        channels * d_model,
        VOCAB * d_model,
        channels * d_state,
        channels,
        channels,
        channels,
        columns,
        n_layer,
    ]
    .map(|n| n as f64)
}

/// Instructions per byte, and where the number is from.
#[derive(Clone, Debug, PartialEq)]
pub struct Instructions {
    /// Per byte.
    pub per_byte: f64,
    /// This very shape was counted on this core.
    pub exact: bool,
    /// The kind of decays was not counted on this core; the other kind's scan stands in.
    pub other_decays: bool,
    /// The counted models, in the order of their width.
    pub models: Vec<&'static str>,
}

/// Instructions that an adapter adds to a byte, in the order of [`Preset::ALL`], by core: beyond the 256 exponentials that
/// the net's own surprise takes, as `firmware/FOOTPRINT.md` has them. `None`: not counted.
const ADAPTERS: [(&str, [Option<u32>; 6]); 2] = [
    ("Cortex-M0", [None, Some(10_501), None, None, None, None]),
    ("Cortex-M4F", [None, Some(7_652), None, None, None, None]),
];

/// Instructions per byte of an adapter on `core`; `None` if they were not counted there.
pub fn adapter_instructions(core: &str, preset: Preset) -> Option<f64> {
    let (_, counts) = ADAPTERS.iter().find(|(counted, _)| *counted == core)?;
    let at = Preset::ALL.iter().position(|&one| one == preset)?;
    counts.get(at).copied().flatten().map(f64::from)
}

/// Instructions of a step of a model of shape `dims` on `core`; `None` for a core that nothing was counted on.
pub fn instructions(core: &str, dims: &Dims) -> Option<Instructions> {
    estimate(counted().filter(|c| c.core == core).collect(), dims)
}

fn estimate(mut rows: Vec<Counted>, dims: &Dims) -> Option<Instructions> {
    let shape = [dims.d_model, dims.n_layer, dims.d_inner, dims.d_state, dims.dt_rank];
    rows.sort_by_key(|c| c.shape[0]);
    if let Some(same) = rows.iter().find(|c| c.shape == shape && c.tied_decays == dims.tied_decays) {
        let (per_byte, models) = (same.stages.iter().sum(), vec![same.model]);
        return Some(Instructions { per_byte, exact: true, other_decays: false, models });
    }
    let alike: Vec<Counted> = rows.iter().filter(|c| c.tied_decays == dims.tied_decays).cloned().collect();
    let other_decays = alike.is_empty();
    let per_byte = units(shape)
        .into_iter()
        .enumerate()
        .map(|(stage, units)| {
            let rows = if stage == SCAN && !other_decays { &alike } else { &rows };
            Some(units * per_unit(rows, stage, dims.d_model)?)
        })
        .sum::<Option<f64>>()?;
    Some(Instructions { per_byte, exact: false, other_decays, models: rows.iter().map(|c| c.model).collect() })
}

/// Instructions per unit of a stage, for rows in the order of their width.
fn per_unit(rows: &[Counted], stage: usize, d_model: usize) -> Option<f64> {
    let rate = |c: &Counted| c.stages[stage] / units(c.shape)[stage];
    let above = rows.iter().find(|c| c.shape[0] >= d_model);
    let below = rows.iter().rev().find(|c| c.shape[0] < d_model);
    match (below, above) {
        (Some(below), Some(above)) => {
            let [low, at, high] = [below.shape[0], d_model, above.shape[0]].map(|d| 1.0 / d as f64);
            Some(rate(above) + (rate(below) - rate(above)) * (at - high) / (low - high))
        }
        // Outside of what was counted nothing is extrapolated.
        (Some(only), None) | (None, Some(only)) => Some(rate(only)),
        (None, None) => None,
    }
}

/// Cycles per instruction, from and to, without wait states of the flash. General knowledge: cores without dual issue
/// need a cycle for an instruction, more for loads and taken branches; an M7 issues up to two, a Helium instruction of
/// an M55 takes up to two.
pub fn cycles_per_instruction(core: &str) -> (f64, f64) {
    match core {
        "Cortex-M0" => (1.2, 2.0),
        "Cortex-M7" => (0.5, 1.0),
        "Cortex-M55" => (1.0, 2.0),
        _ => (1.0, 1.7),
    }
}

/// Bytes per second at `mhz`, from and to.
pub fn bytes_per_second(core: &str, mhz: u32, per_byte: f64) -> (f64, f64) {
    let (few, many) = cycles_per_instruction(core);
    let hertz = f64::from(mhz) * 1e6;
    (hertz / (per_byte * many), hertz / (per_byte * few))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mambabyte_core::Norm;

    fn dims(c: &Counted) -> Dims {
        let [d_model, n_layer, d_inner, d_state, dt_rank] = c.shape;
        let (norm, tied_head, tied_decays) = (Norm::Rms, true, c.tied_decays);
        Dims { d_model, n_layer, d_inner, d_state, d_conv: 4, dt_rank, norm, tied_head, tied_decays }
    }

    #[test]
    fn the_table_is_whole_and_a_counted_shape_is_exact() {
        let rows: Vec<_> = counted().collect();
        assert_eq!(rows.len(), TABLE.lines().count() - 2);
        for c in &rows {
            let found = instructions(c.core, &dims(c)).unwrap();
            assert!(found.exact && found.models == [c.model], "{c:?}");
            assert_eq!(found.per_byte, c.stages.iter().sum::<f64>());
        }
        for chip in crate::chips::CHIPS {
            assert!(rows.iter().any(|c| c.core == chip.counted), "{} names no counted core", chip.name);
        }
        assert_eq!(instructions("abacus", &dims(&rows[0])), None);
    }

    /// What the interpolation is worth: a counted model predicted from its neighbours alone.
    #[test]
    fn a_counted_model_is_predicted_from_its_neighbours() {
        let rows: Vec<_> = counted().filter(|c| c.core == "Cortex-M4F").collect();
        let nano = rows.iter().find(|c| c.model == "sensor-nano").unwrap();
        let others = rows.iter().filter(|c| c.model != "sensor-nano").cloned().collect();
        let found = estimate(others, &dims(nano)).unwrap();
        let real = nano.stages.iter().sum::<f64>();
        assert!(!found.exact && (found.per_byte / real - 1.0).abs() < 0.05, "{} and {real}", found.per_byte);
    }

    #[test]
    fn the_cost_of_a_unit_lies_between_its_neighbours() {
        let rows = |stages: [(usize, f64); 2]| -> Vec<Counted> {
            stages
                .iter()
                .map(|&(d_model, per_mac)| {
                    let shape = [d_model, 1, 2 * d_model, 8, 2];
                    let stages = units(shape).map(|n| n * per_mac);
                    Counted { core: "x", board: "b", model: "m", shape, tied_decays: true, stages }
                })
                .collect()
        };
        let rows = rows([(32, 2.0), (128, 1.0)]);
        assert_eq!(per_unit(&rows, 0, 16), Some(2.0));
        assert_eq!(per_unit(&rows, 0, 1024), Some(1.0));
        assert!((per_unit(&rows, 0, 64).unwrap() - 4.0 / 3.0).abs() < 1e-9);
        let (slow, fast) = bytes_per_second("Cortex-M7", 400, 1e6);
        assert_eq!((slow, fast), (400.0, 800.0));
    }
}
