//! A checkpoint in f32, rows divided among threads: [`FloatEngine`].

use mambabyte_core::{Dims, State};
use rayon::prelude::*;

use super::out::Out;
use super::pool::Pool;
use crate::engine::{Answer, Engine, EngineError, Load, Precision, Want, check, check_counts};
use crate::model::{Model, Session, unfit};

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

/// The bytes that a row is to read, at least one.
struct Job<'j, 'm> {
    row: usize,
    /// Bytes that it has read.
    position: u64,
    session: &'j mut Session<'m>,
    text: &'j [u8],
    out: Out<'j, f32>,
}

/// Reads all bytes, each a step.
fn read(job: Job<'_, '_>) -> Result<(), EngineError> {
    let Job { row, mut position, session, text, mut out } = job;
    for (index, &byte) in text.iter().enumerate() {
        let part = out.take(1, index + 1 == text.len());
        let logits = session.step(byte).map_err(|place| EngineError::NotFinite { row, position, place })?;
        if let Some(largest) = unfit(logits) {
            return Err(EngineError::HugeLogit { row, position, largest });
        }
        part.write(std::slice::from_ref(logits));
        position = position.wrapping_add(1);
    }
    Ok(())
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
    /// [`EngineError::Threads`], and nothing is read; that of [`read`] for the first row that has one.
    fn work(&self, jobs: Vec<Job<'_, 'm>>) -> Result<(), EngineError> {
        if jobs.len() > 1 && self.threads > 1 {
            let pool = self.pool.start(self.threads)?;
            let done: Vec<_> = pool.install(|| jobs.into_par_iter().map(read).collect());
            done.into_iter().collect()
        } else {
            jobs.into_iter().try_for_each(read)
        }
    }
}

/// After [`EngineError::NotFinite`] and [`EngineError::HugeLogit`] the rows that were to read are lost until they are
/// reset; those of a draft are not.
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
        Load { rows: 4 * self.threads, bytes: BYTES * self.threads, block: 1 }
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
        let all = rows.sessions.iter_mut().zip(&rows.positions).zip(text).enumerate();
        let jobs = all.filter(|(_, (_, text))| !text.is_empty()).zip(outs);
        self.work(
            jobs.map(|((row, ((session, &position), &text)), out)| Job { row, position, session, text, out }).collect(),
        )?;
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

    fn copy(&self, source: &mut FloatRows<'m>, rows: &mut FloatRows<'m>, which: &[usize]) -> Result<(), EngineError> {
        for &row in which {
            let state = self.row(source, row)?;
            self.row(rows, row)?.copy_state(state);
            rows.positions[row] = source.positions[row];
        }
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
        let all = rows.sessions.iter().zip(&mut rows.drafted).zip(&rows.positions).zip(drafts).enumerate();
        let jobs = all.filter(|(_, (_, draft))| !draft.is_empty()).zip(outs).map(|((row, rest), out)| {
            let (((session, after), &position), &text) = rest;
            after.copy_state(session);
            Job { row, position, session: after, text, out }
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
        let all = rows.sessions.iter_mut().zip(&rows.positions).zip(parts.clone()).enumerate();
        let partly = all.filter(|(_, (_, (text, all)))| (1..*all).contains(&text.len()));
        let job = |(row, ((session, &position), (text, _)))| Job { row, position, session, text, out: Out::Nothing };
        self.work(partly.map(job).collect())?;
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

#[cfg(test)]
mod tests {
    use mambabyte_core::dims::Norm;
    use mambabyte_core::oracle::NotFinite;
    use mambabyte_core::stage::Stage;
    use mambabyte_core::{Rng, SampleOptions};

    use super::*;
    use crate::model::LOGIT_LIMIT;
    use crate::train::tests::model;
    use crate::{Checkpoint, Layer};

    const HUGE: f32 = f32::MAX;

    /// Changes weights of a layer.
    type Damage = fn(&mut Layer);

    /// A model of two layers, RMSNorm and an untied head, after `damage`.
    fn damaged(damage: impl FnOnce(&mut Checkpoint)) -> Model {
        let mut checkpoint = model(Norm::Rms, false).checkpoint().clone();
        damage(&mut checkpoint);
        Model::new(checkpoint).unwrap()
    }

    /// What reading `text` says.
    fn fault(model: &Model, text: &[u8]) -> (u64, Option<usize>, Stage) {
        let engine = FloatEngine::new(model, 1);
        match engine.read(&mut engine.rows(1).unwrap(), &[text], Want::Nothing) {
            Err(EngineError::NotFinite { row: 0, position, place }) => (position, place.layer, place.stage),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_layer_and_stage_that_overflow_are_named() {
        fn loud(l: &mut Layer) -> &mut Layer {
            l.conv_bias.fill(10.0);
            l
        }
        let cases: [(Stage, Damage); 10] = [
            (Stage::Norm, |l| l.norm.fill(HUGE)),
            (Stage::InProj, |l| l.in_proj.fill(HUGE)),
            (Stage::InProj, |l| l.in_proj[40 * 16] = f32::NAN), // of the gate
            (Stage::Conv, |l| [&mut l.conv1d, &mut l.conv_bias].into_iter().for_each(|w| w.fill(HUGE))),
            (Stage::XProj, |l| loud(l).x_proj.fill(HUGE)),
            (Stage::DtProj, |l| l.dt_bias[7] = f32::INFINITY),
            (Stage::Scan, |l| loud(l).dt_bias.fill(HUGE)),
            (Stage::Scan, |l| l.a_log[5] = f32::NAN),
            (Stage::Gate, |l| loud(l).d_skip.fill(HUGE)),
            (Stage::OutProj, |l| loud(l).out_proj.fill(HUGE)),
        ];
        for (stage, damage) in cases {
            for layer in 0..2 {
                let model = damaged(|c| damage(&mut c.layers[layer]));
                assert_eq!(fault(&model, b"ab"), (0, Some(layer), stage));
            }
        }
        let last = damaged(|c| c.norm_f.fill(HUGE));
        assert_eq!(fault(&last, b"a"), (0, None, Stage::Norm));
        let head = damaged(|c| c.head.as_mut().unwrap()[1000] = f32::NAN);
        assert_eq!(fault(&head, b"a"), (0, None, Stage::Head));
        let row = damaged(|c| c.embedding[usize::from(b'c') * 16 + 3] = f32::NEG_INFINITY);
        assert_eq!(fault(&row, b"abaac"), (4, None, Stage::Embed));
    }

    /// Finite values whose squares are not: the norm would give zeros, and the layer would be silent.
    #[test]
    fn a_norm_that_overflows_is_no_silence() {
        for norm in [Norm::Rms, Norm::Layer] {
            let mut checkpoint = model(norm, true).checkpoint().clone();
            checkpoint.layers[0].out_proj.iter_mut().for_each(|w| *w *= 1e22);
            let model = Model::new(checkpoint).unwrap();
            assert_eq!(fault(&model, b"ab"), (0, Some(1), Stage::Norm));
        }
    }

    #[test]
    fn logits_that_no_unit_holds_are_an_error() {
        let model = damaged(|c| c.norm_f.iter_mut().for_each(|w| *w *= 1e6));
        let engine = FloatEngine::new(&model, 1);
        let error = engine.read(&mut engine.rows(1).unwrap(), &[b"a"], Want::All).unwrap_err();
        assert!(
            matches!(error, EngineError::HugeLogit { row: 0, position: 0, largest } if largest > LOGIT_LIMIT),
            "{error}"
        );
        assert_eq!(unfit(&[1.0, -22_712.9]), None);
        assert_eq!(unfit(&[1.0, -22_713.0]), Some(22_713.0));
        assert!(unfit(&[1.0, f32::NAN, f32::INFINITY]).is_some_and(f32::is_nan));
        // The largest that is allowed has a unit of its own.
        let most = crate::model::logit_units(&[22_712.998; mambabyte_core::VOCAB])[0];
        assert!((i32::MAX - 10_000..i32::MAX).contains(&most), "{most}");
    }

    /// Whatever the call and the threads: the row and the byte, and rows that did not move are as they were.
    #[test]
    fn every_way_to_read_says_it() {
        let model = damaged(|c| c.embedding[usize::from(b'!') * 16] = f32::NAN);
        let place = NotFinite { layer: None, stage: Stage::Embed };
        let at = |error: Result<(), EngineError>, row, position| {
            let found = error.unwrap_err();
            let EngineError::NotFinite { row: r, position: p, place: found } = found else { panic!("{found}") };
            assert_eq!((r, p, found), (row, position, place));
        };
        for threads in [1, 3] {
            let engine = FloatEngine::new(&model, threads);
            let mut rows = engine.rows(4).unwrap();
            let text: [&[u8]; 4] = [b"one", b"", b"three", b"four"];
            engine.read(&mut rows, &text, Want::Nothing).unwrap();
            for want in [Want::Nothing, Want::Last, Want::All, Want::Surprise(&[b"", b"xy", b"uvwxyz", b"ab"])] {
                let mut rows = engine.rows(4).unwrap();
                engine.read(&mut rows, &text, Want::Nothing).unwrap();
                at(engine.read(&mut rows, &[b"", b"ok", b"abc!de", b"a!"], want).map(drop), 2, 8);
                assert_eq!(engine.positions(&rows), [3, 0, 5, 4]);
            }
            let draft: [&[u8]; 4] = [b"a", b"b", b"c", b"de!"];
            at(engine.verify(&mut rows, &draft).map(drop), 3, 6);
            let mut answer = Answer::Nothing;
            assert!(matches!(engine.accept(&mut rows, &[1, 1, 1, 1]), Err(EngineError::NoDraft)));
            // The drafts were read beside the rows.
            engine.read_into(&mut rows, &[&b"x"[..]; 4], Want::All, &mut answer).unwrap();
            let mut fresh = engine.rows(4).unwrap();
            engine.read(&mut fresh, &text, Want::Nothing).unwrap();
            assert_eq!(engine.read(&mut fresh, &[&b"x"[..]; 4], Want::All).unwrap(), answer);

            let (mut last, mut rngs) = (*b"ab!c", [1, 2, 3, 4].map(Rng::new));
            let written = engine.generate(&mut rows, &mut last, &mut rngs, &SampleOptions::GREEDY, 5);
            at(written.map(drop), 2, 6);
            // A row that is reset is as new.
            engine.reset(&mut rows, 2).unwrap();
            let again = engine.read(&mut rows, &[b"", b"", b"abc", b""], Want::All).unwrap();
            let new = engine.read(&mut engine.rows(1).unwrap(), &[b"abc"], Want::All).unwrap();
            assert_eq!(again, new);
        }
    }

    #[test]
    fn scores_name_the_byte_of_the_text() {
        let model = damaged(|c| c.embedding[usize::from(b'!') * 16] = f32::NAN);
        let engine = FloatEngine::new(&model, 1);
        let mut text = vec![b'a'; 500];
        text[348] = b'!';
        for window in [None, Some(70), Some(64)] {
            // The byte after it is the one that cannot be predicted.
            let error = crate::bpb::evaluate(&engine, &text, window, &|_| ()).unwrap_err();
            assert!(matches!(error, EngineError::NotFinite { row: 0, position: 349, .. }), "{window:?}: {error}");
        }
        let texts: [&[u8]; 3] = [b"abc", b"de", b"a!c"];
        let error = crate::bpb::evaluate_all(&engine, &texts, &|_| ()).unwrap_err();
        assert!(matches!(error, EngineError::NotFinite { row: 2, position: 2, .. }), "{error}");
    }
}
