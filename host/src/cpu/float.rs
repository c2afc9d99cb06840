//! A checkpoint in f32, rows divided among threads: [`FloatEngine`].

use mambabyte_core::{Dims, State};
use rayon::prelude::*;

use super::out::Out;
use super::pool::Pool;
use crate::engine::{Answer, Engine, EngineError, Load, Precision, Want, check, check_counts};
use crate::model::{Model, Session};

/// Bytes of a call that keep a thread busy.
const BYTES: usize = 512;

/// The f32 model on a workstation's processors. Every byte is a step; a row is read by one thread.
pub struct FloatEngine<'m> {
    model: &'m Model,
    threads: usize,
    pool: Pool,
}

/// The states of some streams of a [`FloatEngine`].
pub struct FloatRows<'m> {
    sessions: Vec<Session<'m>>,
    positions: Vec<u64>,
    /// The states after the drafts that were verified last, made when first needed.
    drafted: Vec<Session<'m>>,
    /// These drafts; none if the rows have moved since.
    drafts: Option<Vec<Vec<u8>>>,
}

/// Reads `text`, each byte a step.
fn read((session, text, mut out): (&mut Session<'_>, &[u8], Out<'_, f32>)) {
    for (index, &byte) in text.iter().enumerate() {
        let part = out.take(1, index + 1 == text.len());
        part.write(std::slice::from_ref(session.step(byte)));
    }
}

impl<'m> FloatEngine<'m> {
    /// `model` on `threads` threads.
    pub fn new(model: &'m Model, threads: usize) -> Self {
        Self { model, threads, pool: Pool::default() }
    }

    /// The model.
    pub const fn model(&self) -> &'m Model {
        self.model
    }

    fn check_rows(&self, rows: &FloatRows<'m>) -> Result<(), EngineError> {
        let theirs = rows.sessions.first().is_some_and(|session| std::ptr::eq(session.model(), self.model));
        if theirs { Ok(()) } else { Err(EngineError::ForeignRows) }
    }

    fn row<'r>(&self, rows: &'r mut FloatRows<'m>, row: usize) -> Result<&'r mut Session<'m>, EngineError> {
        self.check_rows(rows)?;
        rows.drafts = None;
        let count = rows.sessions.len();
        rows.sessions.get_mut(row).ok_or(EngineError::NoSuchRow { row, rows: count })
    }

    /// Reads all texts, of which none is empty.
    ///
    /// # Errors
    /// [`EngineError::Threads`]; nothing is read then.
    fn work(&self, jobs: Vec<(&mut Session<'m>, &[u8], Out<'_, f32>)>) -> Result<(), EngineError> {
        if jobs.len() > 1 && self.threads > 1 {
            self.pool.start(self.threads)?.install(|| jobs.into_par_iter().for_each(read));
        } else {
            jobs.into_iter().for_each(read);
        }
        Ok(())
    }
}

impl<'m> Engine for FloatEngine<'m> {
    type Rows = FloatRows<'m>;

    fn dims(&self) -> &Dims {
        self.model.dims()
    }

    fn precision(&self) -> Precision {
        Precision::F32
    }

    fn full_load(&self) -> Load {
        // Rows are of different lengths: more of them than threads keep all threads busy.
        Load { rows: 4 * self.threads, bytes: BYTES * self.threads }
    }

    fn rows(&self, n: usize) -> Result<FloatRows<'m>, EngineError> {
        if n == 0 {
            return Err(EngineError::NoRows);
        }
        let sessions = (0..n).map(|_| self.model.session()).collect();
        Ok(FloatRows { sessions, positions: vec![0; n], drafted: Vec::new(), drafts: None })
    }

    fn positions<'r>(&self, rows: &'r FloatRows<'m>) -> &'r [u64] {
        &rows.positions
    }

    fn read_into(
        &self,
        rows: &mut FloatRows<'m>,
        text: &[&[u8]],
        want: Want<'_>,
        answer: &mut Answer,
    ) -> Result<(), EngineError> {
        check(rows.sessions.len(), text, want)?;
        self.check_rows(rows)?;
        rows.drafts = None;
        let outs = Out::all(answer, text, want);
        let jobs = rows.sessions.iter_mut().zip(text).filter(|(_, text)| !text.is_empty());
        self.work(jobs.zip(outs).map(|((session, &text), out)| (session, text, out)).collect())?;
        rows.positions.iter_mut().zip(text).for_each(|(p, text)| *p = p.wrapping_add(text.len() as u64));
        Ok(())
    }

    fn fork(&self, rows: &mut FloatRows<'m>, from: usize, to: usize) -> Result<(), EngineError> {
        self.row(rows, from)?;
        self.row(rows, to)?;
        if let Ok([from, to]) = rows.sessions.get_disjoint_mut([from, to]) {
            to.copy_state(from);
        }
        rows.positions[to] = rows.positions[from];
        Ok(())
    }

    fn reset(&self, rows: &mut FloatRows<'m>, row: usize) -> Result<(), EngineError> {
        self.row(rows, row)?.reset();
        rows.positions[row] = 0;
        Ok(())
    }

    fn state(&self, _: &mut FloatRows<'m>, _: usize) -> Result<State<Vec<i16>>, EngineError> {
        Err(EngineError::NotIntegers { precision: Precision::F32 })
    }

    fn set_state(&self, _: &mut FloatRows<'m>, _: usize, _: &State<Vec<i16>>) -> Result<(), EngineError> {
        Err(EngineError::NotIntegers { precision: Precision::F32 })
    }

    fn draft(&self, rows: &mut FloatRows<'m>, drafts: &[&[u8]], answer: &mut Answer) -> Result<(), EngineError> {
        check(rows.sessions.len(), drafts, Want::All)?;
        self.check_rows(rows)?;
        rows.drafts = None;
        while rows.drafted.len() < rows.sessions.len() {
            rows.drafted.push(self.model.session());
        }
        let outs = Out::all(answer, drafts, Want::All);
        let sessions = rows.sessions.iter().zip(&mut rows.drafted).zip(drafts).filter(|(_, draft)| !draft.is_empty());
        let jobs = sessions.zip(outs).map(|(((session, after), &draft), out)| {
            after.copy_state(session);
            (after, draft, out)
        });
        self.work(jobs.collect())?;
        rows.drafts = Some(drafts.iter().map(|d| d.to_vec()).collect());
        Ok(())
    }

    fn accept(&self, rows: &mut FloatRows<'m>, counts: &[usize]) -> Result<(), EngineError> {
        self.check_rows(rows)?;
        let Some(drafts) = &rows.drafts else { return Err(EngineError::NoDraft) };
        check_counts(drafts.iter().map(Vec::len), counts)?;
        let parts = drafts.iter().zip(counts).map(|(draft, &count)| (draft.get(..count).unwrap_or(&[]), draft.len()));
        let partly =
            rows.sessions.iter_mut().zip(parts.clone()).filter(|(_, (text, all))| (1..*all).contains(&text.len()));
        self.work(partly.map(|(session, (text, _))| (session, text, Out::Nothing)).collect())?;
        for ((session, after), (text, all)) in rows.sessions.iter_mut().zip(&mut rows.drafted).zip(parts) {
            if all > 0 && text.len() == all {
                std::mem::swap(session, after);
            }
        }
        rows.positions.iter_mut().zip(counts).for_each(|(p, &count)| *p = p.wrapping_add(count as u64));
        rows.drafts = None;
        Ok(())
    }
}
