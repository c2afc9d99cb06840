//! The loop: what comes from the inputs is read, judged, shown; states are saved meanwhile.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mambabyte_host::adapt::AnyAdapter;
use mambabyte_host::engine::AnyEngine;
use mambabyte_host::stream::Reader;
use serde_json::{Value, json};

use super::decode::Decoded;
use super::desk::{Desk, Way};
use super::input::{News, shown_label};
use super::keep::{self, Saving};
use super::mqtt::Outbox;
use super::react::Exec;
use super::show::Show;
use super::silence::Silent;
use super::watch::Watch;
use super::words;
use crate::error::CliError;
use crate::output::{Outputs, note, shown};
use crate::records;
use crate::totals::{Totals, metrics};
use crate::watching::{Clock, FalseAlarms, Judge};

/// Between two looks at the clock and at whether the program should end.
const TICK: Duration = Duration::from_millis(50);
/// How long a record of several lines waits for its next line.
const RECORD: Duration = Duration::from_secs(1);
/// Between two writes of --metrics.
const METRICS: Duration = Duration::from_secs(5);
/// How long a block that came before the program should end may still be read.
pub(super) const LAST: Duration = Duration::from_millis(250);
/// All of it.
pub(super) struct Service<'e> {
    pub(super) desk: Desk,
    pub(super) reader: Reader<'e, AnyEngine<'e>>,
    /// Which of them the reader reads.
    current: usize,
    pub(super) labels: HashMap<String, usize>,
    outputs: Outputs,
    pub(super) decoded: Decoded,
    /// What the reader has read since its mark.
    pub(super) since: Vec<u8>,
    /// Of --multiplex: a line that is not whole.
    pub(super) line: Vec<u8>,
    pub(super) full: bool,
    begun: Instant,
    saved: Instant,
    measured: Instant,
    /// What cannot be written was said.
    told: [bool; 2],
    pub(super) stopped: Option<Instant>,
}

impl<'e> Service<'e> {
    /// One stream for each label; without labels one, or those that come.
    pub(super) fn new(
        way: Way,
        reader: Reader<'e, AnyEngine<'e>>,
        labels: &[Option<String>],
        show: Show,
        exec: Option<Exec>,
        outbox: Option<Arc<Outbox>>,
        outputs: Outputs,
    ) -> Self {
        let now = Instant::now();
        let mut service = Self {
            desk: Desk { way, watches: Vec::new(), show, exec, outbox, rate: None },
            reader,
            since: Vec::new(),
            current: 0,
            labels: HashMap::new(),
            outputs,
            decoded: Decoded::default(),
            line: Vec::new(),
            full: false,
            begun: now,
            saved: now,
            measured: now,
            told: [false; 2],
            stopped: None,
        };
        labels.iter().for_each(|label| _ = service.begin(label.clone()));
        service
    }

    /// A new stream; the first one is what the reader reads.
    pub(super) fn begin(&mut self, label: Option<String>) -> usize {
        let parked = (!self.desk.watches.is_empty()).then(|| {
            let adapter = self.desk.way.adapter.as_ref().map(AnyAdapter::copy);
            self.reader.beginning(adapter, self.desk.way.rule.threshold())
        });
        let clock = match self.desk.way.rule.judge {
            Judge::Detector(wanted) => Clock::new(wanted),
            Judge::Threshold(_) => None,
        };
        if let Some(label) = &label {
            self.labels.insert(label.clone(), self.desk.watches.len());
            if let Some(outbox) = &self.desk.outbox {
                outbox.stream(label);
            }
        }
        self.desk.watches.push(Watch::new(label, &self.desk.way.how, clock, parked));
        self.desk.watches.len() - 1
    }

    /// The reader reads stream `index` from now on.
    pub(super) fn activate(&mut self, index: usize) -> Result<(), CliError> {
        if index == self.current {
            return Ok(());
        }
        let Some(mut parked) = self.desk.watches[index].parked.take() else { return Ok(()) };
        let exchanged = self.reader.exchange(&mut parked);
        let to = if exchanged.is_ok() { self.current } else { index };
        self.desk.watches[to].parked = Some(parked);
        exchanged?;
        self.desk.watches[to].page.marked = false;
        self.desk.watches[to].shrink();
        self.current = index;
        Ok(())
    }

    /// Goes on where a saved state stopped.
    ///
    /// # Errors
    /// [`CliError::State`], and those of the index.
    pub(super) fn load(&mut self, path: &Path, saved: &[u8]) -> Result<(), CliError> {
        for (kept, snapshot) in keep::streams(path, saved)? {
            let known = match &kept.label {
                Some(label) if self.desk.way.multiplex => {
                    Some(self.labels.get(label).copied().unwrap_or_else(|| self.begin(Some(label.clone()))))
                }
                Some(label) => self.labels.get(label).copied(),
                None => self.desk.watches.iter().position(|watch| watch.label.is_none()),
            };
            let Some(index) = known else {
                let name = kept.label.as_deref().map_or_else(|| "without a label".to_owned(), shown_label);
                note(format_args!("{}: its stream {name} is none of the inputs; it is left out", shown(path)));
                continue;
            };
            self.activate(index)?;
            self.reader
                .load(snapshot, self.desk.way.rule.threshold())
                .map_err(|error| CliError::of_state(path, error))?;
            if let Judge::Detector(FalseAlarms::Share(rate)) = self.desk.way.rule.judge {
                self.reader.set_rate(rate);
            }
            self.desk.watches[index].go_on(&kept);
        }
        Ok(())
    }

    /// Where the file of each stream was left.
    pub(super) fn places(&self) -> Vec<Option<super::input::Place>> {
        self.desk.watches.iter().map(|watch| watch.place).collect()
    }

    /// Runs until all inputs end, the output closes or the program should end; then the state is saved.
    ///
    /// # Errors
    /// [`CliError`]; [`CliError::Alarmed`] is not among them.
    pub(super) fn run(mut self, input: &Receiver<(usize, News)>) -> Result<Totals, CliError> {
        self.desk.show.legend();
        let outcome = self.announce().and_then(|()| self.pass(input)).and_then(|()| self.end());
        let outcome = match outcome {
            // Asked to end while nobody reads: what could not be shown is lost, the state is not.
            Err(CliError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::TimedOut && self.desk.way.stop.load(Ordering::SeqCst) =>
            {
                Err(CliError::BrokenPipe)
            }
            other => other,
        };
        let saved = match self.desk.way.saves {
            Some(_) => self.save(),
            None => Ok(()),
        };
        if self.desk.way.metrics {
            self.measure();
        }
        if let Some(exec) = self.desk.exec.take() {
            exec.end(&self.desk.way.stop, LAST);
        }
        if let Some(outbox) = &self.desk.outbox {
            // Who waits here with a message cannot say that the broker has the last alarm.
            outbox.end(&self.desk.way.stop, LAST, || input.try_iter().for_each(drop));
        }
        saved?;
        outcome?;
        Ok(self.totals())
    }

    fn totals(&self) -> Totals {
        let mut all = Totals::default();
        self.desk.watches.iter().for_each(|watch| all.add(&watch.page.totals));
        all
    }

    /// That the detector learns, where a stream begins.
    fn announce(&mut self) -> Result<(), CliError> {
        for index in 0..if self.desk.way.multiplex { 0 } else { self.desk.watches.len() } {
            self.activate(index)?;
            if let Some((lines, words)) = self.reader.detector().and_then(words::learning) {
                self.desk.event(index, "learning", |record| record["lines"] = json!(lines), &words)?;
            }
        }
        Ok(())
    }

    fn pass(&mut self, input: &Receiver<(usize, News)>) -> Result<(), CliError> {
        let mut failed = None;
        while !self.desk.way.stop.load(Ordering::SeqCst) {
            // What is said of an input with many streams is said of none of them.
            let of = |number: usize| if self.desk.way.multiplex { usize::MAX } else { number };
            match input.recv_timeout(TICK) {
                Ok((number, News::Bytes(bytes, place))) if self.desk.way.multiplex => {
                    let _ = (number, place);
                    self.demultiplex(&bytes)?;
                }
                Ok((number, News::Bytes(bytes, place))) => {
                    self.feed(number, &bytes)?;
                    if let Some(watch) = self.desk.watches.get_mut(number) {
                        watch.place = place;
                    }
                }
                Ok((_, News::Message { topic, payload, last })) => self.message(&topic, &payload, last)?,
                Ok((number, News::Event(name, words))) => {
                    let about = of(number);
                    let why = |record: &mut Value| {
                        if name == "disconnected" {
                            record["error"] = json!(words);
                        }
                    };
                    self.desk.event(about, name, why, &words)?;
                }
                Ok((number, News::End)) => self.ends(number)?,
                Ok((number, News::Failed(error))) => {
                    let name = self.desk.way.names.get(number).map_or("", String::as_str);
                    let error = CliError::io(name, error);
                    if self.desk.watches.len() > 1 {
                        let about = of(number);
                        let words = caused(&error);
                        self.desk.event(about, "failed", |record| record["error"] = json!(words), &words)?;
                        self.ends(number)?;
                    }
                    failed = failed.or(Some(error));
                }
                Err(RecvTimeoutError::Timeout) => self.idle()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.periodic();
        }
        failed.map_or(Ok(()), Err)
    }

    /// Nothing comes at the moment.
    fn idle(&mut self) -> Result<(), CliError> {
        let now = Instant::now();
        for index in 0..self.desk.watches.len() {
            let watch = &self.desk.watches[index];
            if watch.decoder.holds() && now.duration_since(watch.last) >= RECORD {
                self.release(index)?;
            }
            let watch = &mut self.desk.watches[index];
            let rule = if self.desk.way.live && !watch.ended { self.desk.way.silent } else { Silent::Off };
            if let Some(silent) = watch.pauses.silent(rule, now) {
                let seconds = silent.as_secs();
                let words = format!("silent: nothing has come for {seconds} seconds");
                self.desk.event(index, "silent", |record| record["seconds"] = json!(seconds), &words)?;
            }
        }
        let open = self.desk.watches.get(self.current).map_or(&[][..], |watch| &watch.costs);
        self.desk.show.idle(open).map_err(CliError::stdout)
    }

    /// What is written from time to time. That it cannot be is said once; the stream goes on.
    fn periodic(&mut self) {
        let now = Instant::now();
        if self.desk.way.save_every.is_some_and(|every| now.duration_since(self.saved) >= every) {
            self.saved = now;
            let saved = self.save();
            self.tell(0, saved);
        }
        if self.desk.way.metrics && now.duration_since(self.measured) >= METRICS {
            self.measure();
        }
    }

    fn measure(&mut self) {
        self.measured = Instant::now();
        let all = self.desk.watches.iter().map(|watch| (watch.label.as_deref(), &watch.page.totals));
        let text = metrics(all);
        let written = self.outputs.renew("--metrics", text.as_bytes());
        self.tell(1, written);
    }

    fn tell(&mut self, which: usize, written: Result<(), CliError>) {
        match written {
            Ok(()) => self.told[which] = false,
            Err(error) if !std::mem::replace(&mut self.told[which], true) => {
                note(format_args!("{error}; the stream goes on, it is tried again"));
            }
            Err(_) => {}
        }
    }

    fn save(&mut self) -> Result<(), CliError> {
        let Some(option) = self.desk.way.saves else { return Ok(()) };
        let mut saving = Saving::default();
        for index in 0..self.desk.watches.len() {
            self.activate(index)?;
            let snapshot = self.reader.save()?;
            saving.add(self.desk.watches[index].kept(), &snapshot);
        }
        self.outputs.renew(option, &saving.bytes())
    }

    /// An input has ended. With a state to save its last line stays open: a later run continues it.
    fn ends(&mut self, number: usize) -> Result<(), CliError> {
        let indices = if self.desk.way.multiplex { 0..self.desk.watches.len() } else { number..number + 1 };
        if self.desk.way.multiplex && !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.labelled(&line)?;
        }
        for index in indices {
            self.release(index)?;
            self.desk.watches[index].ended = true;
            if self.desk.way.saves.is_none() {
                if let Some(scores) = self.reader.finish() {
                    self.desk.line(index, &scores, None, Vec::new())?;
                }
            } else {
                self.desk.show.last(&self.desk.watches[index].costs).map_err(CliError::stdout)?;
            }
        }
        Ok(())
    }

    /// The last record.
    fn end(&mut self) -> Result<(), CliError> {
        for index in 0..self.desk.watches.len() {
            if !self.desk.watches[index].ended {
                self.ends(index)?;
                if self.desk.way.multiplex {
                    break;
                }
            }
        }
        let totals = self.totals();
        let mut record = records::event("end", None, self.desk.show.now());
        totals.put(&mut record, self.desk.show.now().map(|_| self.begun));
        self.desk.show.event(&record, &format!("end: {}", totals.words())).map_err(CliError::stdout)
    }
}

/// An error with its reason.
fn caused(error: &CliError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
