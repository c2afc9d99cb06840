//! Drafts that a model writes itself, by copies of states: what [`Engine::propose`] and [`Engine::follow`] do where an engine
//! has no way of its own.

use mambabyte_core::{Rng, SampleOptions};

use super::{Answer, Engine, EngineError, Want};

pub(crate) fn propose<E: Engine + ?Sized>(
    engine: &E,
    rows: &mut E::Rows,
    ahead: &mut E::Rows,
    (last, rngs): (&[u8], &[Rng]),
    options: &SampleOptions,
    count: usize,
) -> Result<Vec<Vec<u8>>, EngineError> {
    let all: Vec<usize> = (0..engine.positions(rows).len()).collect();
    engine.copy(rows, ahead, &all)?;
    engine.generate(ahead, &mut last.to_vec(), &mut rngs.to_vec(), options, count)
}

pub(crate) fn follow<E: Engine + ?Sized>(
    engine: &E,
    rows: &mut E::Rows,
    ahead: &mut E::Rows,
    text: &[&[u8]],
) -> Result<(), EngineError> {
    super::check(engine.positions(rows).len(), text, Want::Nothing)?;
    let positions = engine.positions(ahead).iter().zip(engine.positions(rows));
    let ran: Vec<usize> = positions.map(|(ahead, row)| ahead.wrapping_sub(*row) as usize).collect();
    let whole: Vec<usize> = (0..text.len()).filter(|&row| ran[row] > 0 && ran[row] <= text[row].len()).collect();
    engine.copy(ahead, rows, &whole)?;
    let mut rest = text.to_vec();
    whole.iter().for_each(|&row| rest[row] = &rest[row][ran[row]..]);
    if rest.iter().all(|rest| rest.is_empty()) {
        return Ok(());
    }
    engine.read_into(rows, &rest, Want::Nothing, &mut Answer::Nothing)
}
