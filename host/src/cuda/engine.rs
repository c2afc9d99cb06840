//! A model on a GPU as an [`Engine`]: what is computed in integers has the bits of the CPU's engine.

use mambabyte_core::{Dims, Rng, SampleOptions, State};

use super::model::GpuModel;
use super::state::{Drafted, GpuState};
use crate::engine::{Answer, Engine, EngineError, Load, MAX_DRAFT, Precision, Want, check, check_counts, propose};

/// Bytes that the narrowest of the persistent kernels reads.
const BLOCK: usize = 8;

impl GpuModel {
    fn own(&self, rows: &GpuState) -> Result<(), EngineError> {
        if rows.model == self.id() { Ok(()) } else { Err(EngineError::ForeignRows) }
    }

    fn own_row(&self, rows: &GpuState, row: usize) -> Result<(), EngineError> {
        self.own(rows)?;
        let count = rows.positions.len();
        if row < count { Ok(()) } else { Err(EngineError::NoSuchRow { row, rows: count }) }
    }

    /// Reads what fits one launch of the persistent kernel, as a draft that is accepted whole.
    fn read_few(&self, text: &[&[u8]], rows: &mut GpuState, want: Want<'_>) -> Result<Answer, EngineError> {
        rows.drafted = None;
        let all = self.score(text, rows)?;
        self.commit(rows, &text.iter().map(|text| text.len()).collect::<Vec<_>>())?;
        let Answer::FloatLogits(all) = all else { return Ok(all) };
        Ok(match want {
            Want::Nothing => Answer::Nothing,
            Want::Last => {
                let ends = text.iter().filter(|text| !text.is_empty()).scan(0, |end, text| {
                    *end += text.len();
                    Some(*end - 1)
                });
                Answer::FloatLogits(ends.map(|end| all[end]).collect())
            }
            Want::All | Want::Surprise(_) => Answer::FloatLogits(all),
        })
    }
}

/// After a failure of the GPU itself ([`EngineError::Cuda`]) the states of the rows are lost.
impl Engine for GpuModel {
    type Rows = GpuState;

    fn dims(&self) -> &Dims {
        self.dims()
    }

    fn precision(&self) -> Precision {
        self.precision()
    }

    fn unknown_text(&self) -> u16 {
        self.unknown_text()
    }

    fn full_load(&self) -> Load {
        // Float models without the persistent kernel verify by steps.
        let block = if self.is_persistent() || self.precision() == Precision::Exact { BLOCK } else { 1 };
        Load { rows: 64, bytes: 32_768, block }
    }

    /// At most 256 rows.
    fn rows(&self, n: usize) -> Result<GpuState, EngineError> {
        if n == 0 {
            return Err(EngineError::NoRows);
        }
        Ok(self.zero_states(n)?)
    }

    fn positions<'r>(&self, rows: &'r GpuState) -> &'r [u64] {
        &rows.positions
    }

    fn read_into(
        &self,
        rows: &mut GpuState,
        text: &[&[u8]],
        want: Want<'_>,
        answer: &mut Answer,
    ) -> Result<(), EngineError> {
        check(rows.positions.len(), text, want)?;
        self.own(rows)?;
        // A step is one launch, and so is a draft of a few bytes; prefill of one byte is many.
        let is_step = matches!(want, Want::Last | Want::All) && text.iter().all(|text| text.len() == 1);
        let is_short = self.is_persistent() && (1..=MAX_DRAFT).contains(&text.iter().map(|text| text.len()).sum());
        *answer = match want {
            _ if is_step => self.step(&text.concat(), rows)?,
            Want::Nothing | Want::Last | Want::All if is_short => self.read_few(text, rows, want)?,
            _ => self.prefill(text, rows, want)?,
        };
        Ok(())
    }

    fn fork(&self, rows: &mut GpuState, from: usize, to: usize) -> Result<(), EngineError> {
        self.own_row(rows, from)?;
        self.own_row(rows, to)?;
        if from != to {
            rows.drafted = None;
            self.copy_row(rows, from, to)?;
            rows.positions[to] = rows.positions[from];
        }
        Ok(())
    }

    fn copy(&self, source: &mut GpuState, rows: &mut GpuState, which: &[usize]) -> Result<(), EngineError> {
        for &row in which {
            self.own_row(source, row)?;
            self.own_row(rows, row)?;
        }
        rows.drafted = None;
        self.copy_rows(source, rows, which)?;
        which.iter().for_each(|&row| rows.positions[row] = source.positions[row]);
        Ok(())
    }

    fn reset(&self, rows: &mut GpuState, row: usize) -> Result<(), EngineError> {
        self.own_row(rows, row)?;
        rows.drafted = None;
        self.zero_row(rows, row)?;
        rows.positions[row] = 0;
        Ok(())
    }

    fn state(&self, rows: &mut GpuState, row: usize) -> Result<State<Vec<i16>>, EngineError> {
        self.own_row(rows, row)?;
        let position = rows.positions[row];
        self.read_state(rows, row, position)?.ok_or(EngineError::NotIntegers { precision: self.precision() })
    }

    fn set_state(&self, rows: &mut GpuState, row: usize, state: &State<Vec<i16>>) -> Result<(), EngineError> {
        // Of this model, or refused.
        let mut own = self.state(rows, row)?;
        own.clone_from(state)?;
        rows.drafted = None;
        self.write_state(rows, row, &own)?;
        rows.positions[row] = own.position();
        Ok(())
    }

    fn draft(&self, rows: &mut GpuState, drafts: &[&[u8]], answer: &mut Answer) -> Result<(), EngineError> {
        check(rows.positions.len(), drafts, Want::All)?;
        self.own(rows)?;
        rows.drafted = None;
        *answer = self.score(drafts, rows)?;
        rows.drafted = Some(Drafted::Verified(drafts.iter().map(|draft| draft.len()).collect()));
        Ok(())
    }

    fn accept(&self, rows: &mut GpuState, counts: &[usize]) -> Result<(), EngineError> {
        self.own(rows)?;
        let Some(Drafted::Verified(drafted)) = &rows.drafted else { return Err(EngineError::NoDraft) };
        check_counts(drafted.iter().copied(), counts)?;
        rows.drafted = None;
        Ok(self.commit(rows, counts)?)
    }

    /// All on the GPU, many bytes a launch.
    fn generate(
        &self,
        rows: &mut GpuState,
        last: &mut [u8],
        rngs: &mut [Rng],
        options: &SampleOptions,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        self.own(rows)?;
        let expected = rows.positions.len();
        if let Some(found) = [last.len(), rngs.len()].into_iter().find(|&found| found != expected) {
            return Err(EngineError::Rows { expected, found });
        }
        Ok(self.decode(count, last, rngs, options, rows)?)
    }

    fn propose(
        &self,
        rows: &mut GpuState,
        ahead: &mut GpuState,
        (last, rngs): (&[u8], &[Rng]),
        options: &SampleOptions,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        self.own(rows)?;
        self.own(ahead)?;
        let expected = rows.positions.len();
        if let Some(found) = [last.len(), rngs.len(), ahead.positions.len()].into_iter().find(|&n| n != expected) {
            return Err(EngineError::Rows { expected, found });
        }
        ahead.drafted = None;
        let written = if (1..MAX_DRAFT).contains(&count) {
            self.run_ahead(rows, ahead, (last, rngs), options, count)?
        } else {
            None
        };
        let Some(written) = written else {
            return propose::propose(self, rows, ahead, (last, rngs), options, count);
        };
        ahead.drafted = Some(Drafted::Proposed(rows.positions.clone()));
        Ok(written)
    }

    fn follow(&self, rows: &mut GpuState, ahead: &mut GpuState, text: &[&[u8]]) -> Result<(), EngineError> {
        self.own(rows)?;
        self.own(ahead)?;
        let Some(Drafted::Proposed(from)) = &ahead.drafted else { return propose::follow(self, rows, ahead, text) };
        check(from.len(), text, Want::Nothing)?;
        if *from != rows.positions {
            return Err(EngineError::NoDraft);
        }
        let counts: Vec<usize> = text.iter().map(|text| text.len()).collect();
        check_counts(ahead.positions.iter().zip(from).map(|(to, from)| to.wrapping_sub(*from) as usize), &counts)?;
        self.catch_up(rows, ahead, &counts)?;
        // Once: the rows are elsewhere now.
        ahead.drafted = None;
        rows.drafted = None;
        Ok(())
    }
}
