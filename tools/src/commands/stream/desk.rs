//! What becomes of a line that is scored: it is judged, counted and shown, and what follows an alarm follows.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use mambabyte_core::detect::Rate;
use mambabyte_host::adapt::AnyAdapter;
use mambabyte_host::stream::{Cost, LineScores};
use serde_json::{Value, json};

use super::decode::{Decoded, How};
use super::input::shown_label;
use super::mqtt::Outbox;
use super::react::Exec;
use super::show::Show;
use super::silence::Silent;
use super::watch::Watch;
use super::words;
use crate::error::CliError;
use crate::records::{self, Line};
use crate::watching::Rule;

/// How the loop works.
pub(super) struct Way {
    pub(super) how: How,
    pub(super) rule: Rule,
    pub(super) adapt: &'static str,
    /// What a new stream's adapter begins with.
    pub(super) adapter: Option<AnyAdapter>,
    /// Bytes that are read as one block.
    pub(super) piece: usize,
    pub(super) multiplex: bool,
    pub(super) silent: Silent,
    /// Inputs from which bytes come as they happen.
    pub(super) live: bool,
    /// Names of inputs, for errors.
    pub(super) names: Vec<String>,
    /// The option of the state to save, and how often.
    pub(super) saves: Option<&'static str>,
    pub(super) save_every: Option<Duration>,
    pub(super) metrics: bool,
    pub(super) stop: Arc<AtomicBool>,
}

/// All but the reader, which reads meanwhile.
pub(super) struct Desk {
    pub(super) way: Way,
    pub(super) watches: Vec<Watch>,
    pub(super) show: Show,
    pub(super) exec: Option<Exec>,
    /// Where alarms of a broker's streams go.
    pub(super) outbox: Option<Arc<Outbox>>,
    /// The share of false alarms is another one from now on.
    pub(super) rate: Option<Rate>,
}

impl Desk {
    /// Byte `at` of what was decoded is read; `passed` bytes of the input were passed on.
    pub(super) fn byte(
        &mut self,
        index: usize,
        decoded: &Decoded,
        at: usize,
        passed: &mut usize,
        cost: Cost,
    ) -> Result<(), CliError> {
        let (watch, text) = (&mut self.watches[index], decoded.text[at]);
        if self.show.passes() {
            self.show.pass(&decoded.raw[*passed..decoded.ends[at]]).map_err(CliError::stdout)?;
            *passed = decoded.ends[at];
        }
        if self.show.paints() {
            watch.costs.push((text, cost.asked()));
        }
        watch.page.push(decoded.view[at], text);
        Ok(())
    }

    /// The rest of a block's bytes.
    pub(super) fn passed(&mut self, rest: &[u8]) -> Result<(), CliError> {
        if !self.show.passes() {
            return Ok(());
        }
        self.show.pass(rest).and_then(|()| self.show.flush()).map_err(CliError::stdout)
    }

    /// A line, or a piece of one, is finished; `last` is its last byte, `None` at the end of the stream.
    /// `instead` is what was likely in the place of the worst one.
    pub(super) fn line(
        &mut self,
        index: usize,
        scores: &LineScores,
        last: Option<u8>,
        instead: Vec<(u8, u32)>,
    ) -> Result<(), CliError> {
        let Self { way, watches, show, exec, outbox, rate } = self;
        let watch = &mut watches[index];
        let score = &scores.line;
        let (line, scored) = watch.page.judge(scores, last, instead, &way.rule);
        let (label, text) = (watch.label.as_deref(), line.text.unwrap_or(&[]));
        let line = Line { label, time: show.now(), adapt: Some(way.adapt), ..line };
        if let (true, Some(exec)) = (line.found.alarm, exec) {
            exec.alarm(&Value::Object(line.record()));
        }
        if let (true, Some(outbox), Some(label)) = (line.found.alarm, outbox, line.label) {
            let published = Line { text: line.text.filter(|_| show.text), ..line.clone() };
            outbox.alarm(label, Value::Object(published.record()));
        }
        show.line(&line, score, scored.goes_on, text, &watch.costs).map_err(CliError::stdout)?;
        watch.clear();
        let now = Instant::now();
        watch.pauses.line(now);
        *rate = watch.clock.as_mut().and_then(|clock| clock.line(now)).or(*rate);
        let Some(verdict) = &scores.verdict else { return Ok(()) };
        for event in verdict.events.iter() {
            let words = words::sentence(event, scored.line, verdict);
            let start = score.start;
            let put = |record: &mut Value| {
                record["line"] = json!(scored.line);
                record["start"] = json!(start);
                records::add(event, verdict, record);
            };
            self.event(index, event.name(), put, &words)?;
        }
        Ok(())
    }

    /// Something about a stream.
    pub(super) fn event(
        &mut self,
        index: usize,
        name: &'static str,
        put: impl FnOnce(&mut Value),
        words: &str,
    ) -> Result<(), CliError> {
        let watch = self.watches.get_mut(index);
        let label = watch.as_ref().and_then(|watch| watch.label.clone());
        let mut record = records::event(name, label.as_deref(), self.show.now());
        if let Some(watch) = watch {
            record["line"] = json!(watch.page.count.line);
            *watch.page.totals.events.entry(name).or_default() += 1;
        }
        put(&mut record);
        if let (Some(outbox), Some(label)) = (&self.outbox, &label) {
            outbox.event(label, &record);
        }
        let words = label.map_or_else(|| words.to_owned(), |label| format!("{}: {words}", shown_label(&label)));
        self.show.event(&record, &words).map_err(CliError::stdout)
    }
}
