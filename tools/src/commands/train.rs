//! `mambabyte train`: texts in, a model for a device out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mambabyte_core::VOCAB;
use mambabyte_host::Checkpoint;
use mambabyte_host::subwords::Subwords;
use mambabyte_host::train::data::{Corpus, Text};
use mambabyte_host::train::holdout::Holdout;
use mambabyte_host::train::saved::ResumeError;
use mambabyte_host::train::schedule::Schedule;
use mambabyte_host::train::trainer::{Settings, Trainer};
use mambabyte_host::train::{initial, state_file};

use crate::error::CliError;
use crate::model::read_text;
use crate::output::{bytes, say, shown, thousands};
use crate::shipped::{self, Found};
use crate::subwords::{self, Bpe};
use crate::training::finish::{finish, memory, write_checkpoint};
use crate::training::folder::{Folder, STATE};
use crate::training::log::Log;
use crate::training::pace::{Pace, begin, time};
use crate::training::place::Place;
use crate::training::recipe::{Length, Recipe, Sizes, Source, digits};
use crate::training::run::{End, Note, Run, Surroundings, Told};
use crate::training::subword;
use crate::training::texts::Asked;

mod ends;
mod options;
mod reading;
mod start;
pub use ends::{Finished, FinishedSubwords, Trained};
use ends::{done, done_subwords, stopped};
pub use options::{Args, FallArg, MatricesArg, ModelArgs, ReadingArgs, RunArgs};
use options::{beside_resume, separator, settings};
use reading::{LOOKED_AT, Reading, default_name, read, vocabulary};
use start::{Start, start, teachers};

fn recipe(args: &Args, reading: &Reading, start: &Start, place: &Place) -> Recipe {
    let length = match (args.run.steps, args.run.bytes, args.run.minutes) {
        (Some(steps), ..) => Length::Steps(steps),
        (_, Some(bytes), _) => Length::Bytes(bytes),
        (_, _, minutes) => Length::Minutes(minutes.unwrap_or(5.0)),
    };
    let mut settings = settings(args, &start.weights.dims, place.is_gpu());
    if let (Some(bytes), Some(_)) = (args.run.bytes, args.model.tokenizer) {
        let each = (settings.window * settings.batch) as f64 * reading.corpus.bytes_a_symbol();
        settings.schedule = Schedule::new(((bytes as f64 / each).ceil() as u64).max(1), settings.schedule.fall);
    }
    Recipe {
        texts: reading.texts.clone(),
        valid: reading.valid.clone(),
        separator: args.reading.separator.clone(),
        shape: Sizes::of(&start.weights.dims),
        tokenizer: args.model.tokenizer,
        vocabulary: reading.vocabulary,
        from: start.from.clone(),
        teachers: start.named.clone(),
        name: args.model.name.clone().unwrap_or_else(|| default_name(&reading.texts)),
        refine: args.model.refine,
        digits: args.reading.digits,
        length,
        arithmetic: place.arithmetic,
        settings,
    }
}

/// Every file that the run reads.
fn inputs(args: &Args, asked: &[Asked]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    // Where the output will be: it need not be there.
    let place = args.output.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        path.canonicalize().ok()
    });
    for asked in asked.iter().filter(|asked| asked.path.is_dir()) {
        if asked.path.canonicalize().is_ok_and(|text| place.as_ref().is_some_and(|place| place.starts_with(text))) {
            let (output, text) = (shown(&args.output), shown(&asked.path));
            return Err(CliError::Usage(format!("--output {output}: it lies in {text}, all of which is read as text")));
        }
    }
    let valid = args.reading.valid.iter().map(|path| Asked { path: path.clone(), share: None });
    for asked in asked.iter().cloned().chain(valid) {
        files.extend(asked.files()?);
    }
    for model in args.model.from.iter().chain(&args.run.teacher) {
        if let Ok(Found::File(path)) = shipped::find(model) {
            files.extend(crate::formats::inputs(&path));
        }
    }
    Ok(files)
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] names the text, the option or the step.
pub fn run(args: &Args) -> Result<(), CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // The first Ctrl-C lets the step end and saves; another does not wait.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    match train(args, &stop, &|_| ())? {
        Trained::Stopped { step, best } => {
            stopped(args, step, best);
            Ok(())
        }
        Trained::Finished(finished) => done(args, &finished),
        Trained::Subwords(finished) => done_subwords(args, &finished),
    }
}

/// Makes a run, or goes on with one, up to the blob; `told` hears how it goes. Once `stop` is set, the step ends and the run
/// is saved; after the last step `stop` is set by the run.
///
/// # Errors
/// [`CliError`] names the text, the option or the step.
pub fn train(args: &Args, stop: &AtomicBool, told: &(dyn Fn(&Told<'_>) + Sync)) -> Result<Trained, CliError> {
    let threads = args.run.threads.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| CliError::Usage(format!("--threads: {e}")))?;
    pool.install(|| in_pool(args, stop, told))
}

fn in_pool(args: &Args, stop: &AtomicBool, told: &(dyn Fn(&Told<'_>) + Sync)) -> Result<Trained, CliError> {
    let asked = args.texts.iter().map(|text| Asked::parse(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(option) = beside_resume(args) {
        return Err(CliError::Usage(format!(
            "--{option}: --resume without texts takes all from the run; leave it out, or repeat the whole command"
        )));
    }
    let folder = Folder::open(&args.output, inputs(args, &asked)?, args.resume)?;
    let saved = if args.resume { Some(read_text(&folder.path(STATE))?) } else { None };
    let of_state = |source| CliError::TrainState { path: folder.path(STATE), source };
    let opened = saved.as_deref().map(state_file::open).transpose().map_err(of_state)?;
    let note: Option<Note> = match &opened {
        Some((note, _)) => {
            let damaged = |_| of_state(state_file::StateFault::Content("its note is of another program"));
            Some(serde_json::from_slice(note).map_err(damaged)?)
        }
        None => None,
    };
    let place = match (&note, args.run.device) {
        (Some(note), None) => Place::of(note.recipe.arithmetic)?,
        (_, device) => Place::open(device.unwrap_or_default(), args.run.precision)?,
    };
    let kept = folder.path(subwords::FILE);
    let (recipe, reading, start) = prepare(args, asked, note.as_ref(), &place, &kept)?;
    let (weights, place) = (start.weights, place.with_teachers(start.teachers));
    folder.make()?;
    if let (None, Some(words)) = (&note, &reading.words) {
        folder.write(subwords::FILE, words.json()?.as_bytes())?;
        let (name, content) = subwords::CLASS;
        folder.write(name, content.as_bytes())?;
    }
    let texts: Vec<&[u8]> = reading.holdout.iter().flat_map(Text::documents).collect();
    let holdout = Holdout::of(&texts, LOOKED_AT, reading.corpus.subwords());
    let parameters = weights.parameters();
    let save_every = Duration::from_secs_f64(args.run.save_every.clamp(0.0, 1e6));
    let with = Surroundings { corpus: &reading.corpus, holdout: &holdout, folder: &folder, stop, save_every, told };
    let recipe = match &note {
        Some(_) => recipe,
        None => paced(recipe, &weights, &with, &place)?,
    };
    let mut run = match (&note, opened) {
        (Some(note), Some((_, reader))) => {
            let machine = |parts| place.machine(parts, &recipe.settings);
            let trainer = Trainer::load(reader, weights, recipe.settings, &reading.corpus, machine);
            let trainer = trainer.map_err(|error| match error {
                ResumeError::Train(error) => error.into(),
                ResumeError::State(fault) => of_state(fault),
            })?;
            say(format_args!("going on at step {}", thousands(trainer.steps())));
            Run::of(trainer, note, &recipe)
        }
        _ => {
            let mut log = Log::default();
            log.begin(&recipe, passes(&recipe, &reading.corpus), parameters, holdout.bytes());
            Run::new(begin(&weights, recipe.settings, &place)?, log, &recipe)
        }
    };
    if run.go(&with)? == End::Stopped {
        let best = run.trainer.best();
        if let Some(best) = best {
            write_checkpoint(&folder, &best.weights)?;
        }
        let blobs = best.filter(|best| best.weights.vocabulary() == VOCAB);
        return Ok(Trained::Stopped { step: run.trainer.steps(), best: blobs.map(|best| best.bits) });
    }
    // All is saved, so that from here on the first Ctrl-C ends it: --resume converts again.
    stop.store(true, Ordering::SeqCst);
    if let Some(words) = &reading.words {
        let best = subword::finish(&folder, &recipe, &run, &**words)?;
        let (steps, bytes) = (run.trainer.steps(), run.trainer.bytes());
        drop(run);
        return Ok(Trained::Subwords(Box::new(FinishedSubwords { recipe, steps, bytes, parameters, best })));
    }
    let made = finish(&folder, &recipe, &run, reading.corpus.texts(), &reading.holdout)?;
    let (steps, bytes) = (run.trainer.steps(), run.trainer.bytes());
    drop(run);
    Ok(Trained::Finished(Box::new(Finished { recipe, steps, bytes, parameters, made })))
}

/// Recipe, texts and first weights: of the arguments, or of the run that is gone on with.
fn prepare(
    args: &Args,
    asked: Vec<Asked>,
    note: Option<&Note>,
    place: &Place,
    kept: &Path,
) -> Result<(Recipe, Reading, Start), CliError> {
    let given = !asked.is_empty();
    let (asked, valid, ends) = match note {
        Some(note) if !given => {
            let path = |source: &Source| {
                if source.name == "standard input" { "-".into() } else { PathBuf::from(&source.name) }
            };
            let asked = note.recipe.texts.iter().map(|source| Asked { path: path(source), share: source.share });
            (asked.collect(), note.recipe.valid.iter().map(path).collect(), note.recipe.separator.clone())
        }
        _ => (asked, args.reading.valid.clone(), args.reading.separator.clone()),
    };
    let ends = ends.as_deref().map(separator).transpose()?.unwrap_or_default();
    let mut reading = read(&asked, &valid, &ends)?;
    let wanted = if given || note.is_none() { args.model.tokenizer } else { note.and_then(|n| n.recipe.tokenizer) };
    if let Some(count) = wanted {
        // A run that is gone on with has its vocabulary already.
        let words = if note.is_some() { Bpe::open(kept)? } else { vocabulary(&reading.corpus, count)? };
        let words = Arc::new(words);
        reading.corpus = reading.corpus.in_subwords(Arc::clone(&words) as _);
        reading.vocabulary = Some(crc32fast::hash(words.json()?.as_bytes()));
        reading.words = Some(words);
    }
    let symbols = reading.words.as_ref().map_or(VOCAB, |words| words.count());
    let of_other =
        |why: String| CliError::Usage(format!("--resume: the run in {} is another: {why}", shown(&args.output)));
    match note {
        None => {
            let start = start(args, symbols)?;
            Ok((recipe(args, &reading, &start, place), reading, start))
        }
        Some(note) => {
            let (mine, teachers) = if given {
                let start = start(args, symbols)?;
                (recipe(args, &reading, &start, place), start.teachers)
            } else {
                let (texts, valid) = (reading.texts.clone(), reading.valid.clone());
                let paths: Vec<PathBuf> = note.recipe.teachers.iter().map(|(name, _)| name.into()).collect();
                let (all, teachers) = teachers(&paths, &args.loading)?.into_iter().unzip();
                let arithmetic = place.arithmetic;
                let vocabulary = reading.vocabulary;
                (Recipe { texts, valid, vocabulary, arithmetic, teachers, ..note.recipe.clone() }, all)
            };
            if let Some(difference) = note.recipe.difference(&mine) {
                return Err(of_other(difference));
            }
            let weights = initial::with_vocabulary(&note.recipe.shape.dims(), symbols, 0);
            let Recipe { from, teachers: named, .. } = note.recipe.clone();
            Ok((note.recipe.clone(), reading, Start { weights, from, teachers, named }))
        }
    }
}

/// How often the steps of a run read its texts.
fn passes(recipe: &Recipe, corpus: &Corpus) -> f64 {
    let Settings { schedule, batch, window, .. } = recipe.settings;
    schedule.steps as f64 * (batch * window) as f64 * corpus.bytes_a_symbol() / corpus.bytes().max(1) as f64
}

/// Measures how fast the machine is, makes steps of minutes, chooses what follows from them, and says how long it will
/// take.
fn paced(mut recipe: Recipe, weights: &Checkpoint, with: &Surroundings<'_>, place: &Place) -> Result<Recipe, CliError> {
    let budget = match recipe.length {
        Length::Minutes(minutes) => Duration::from_secs_f64((minutes * 60.0 * 0.02).min(10.0)),
        Length::Bytes(_) | Length::Steps(_) => Duration::ZERO,
    };
    let pace = Pace::measure(weights, recipe.settings, place, with.corpus, with.holdout, budget)?;
    if let Length::Minutes(minutes) = recipe.length {
        let steps = pace.steps(minutes);
        recipe.settings.schedule = Schedule::new(steps, recipe.settings.schedule.fall);
    }
    let passes = passes(&recipe, with.corpus);
    if recipe.digits.is_none() {
        recipe.settings.augment.digits = digits(passes);
    }
    let settings = &recipe.settings;
    let (steps, each) = (settings.schedule.steps, (settings.batch * settings.window) as u64);
    let (converting, unit) = match with.corpus.subwords() {
        Some(_) => (0, "subwords"),
        None => (memory(&recipe, weights.parameters(), with.corpus.texts()), "bytes"),
    };
    let memory = pace.memory.map(|memory| format!(", {} of memory", bytes(memory + converting))).unwrap_or_default();
    say(format_args!(
        "{} parameters, {} bytes of text, {} bytes of hold-out; {} steps of {} {unit} read the text {:.1} times: about {} \
         and converting, at {:.1} KB/s{memory}",
        thousands(weights.parameters() as u64),
        thousands(with.corpus.bytes() as u64),
        thousands(with.holdout.bytes() as u64),
        thousands(steps),
        thousands(each),
        passes,
        time(pace.time(steps)),
        each as f64 * with.corpus.bytes_a_symbol() / pace.step.as_secs_f64().max(1e-9) / 1000.0,
    ));
    match (recipe.digits, settings.augment.digits) {
        (Some(_), _) => {}
        (None, 0.0) => {
            say(format_args!("digits stay as they are: text that is read so seldom is not learned by heart"))
        }
        (None, share) => say(format_args!("in {:.0} % of the passages the digits are permuted", 100.0 * share)),
    }
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_read_and_names_are_cut() {
        assert_eq!(separator("\\n\\n").unwrap(), b"\n\n");
        assert_eq!(separator("a\\x00\\\\\\0é").unwrap(), b"a\0\\\0\xc3\xa9");
        for bad in ["", "\\", "\\q", "\\x", "\\x1", "\\xgg"] {
            assert!(separator(bad).is_err(), "{bad}");
        }
        let source = |name: &str| Source { name: name.into(), bytes: 1, documents: 1, crc: 0, share: None };
        assert_eq!(default_name(&[source("/var/log/linux_syslog.train.txt.xz")]), "linux_syslog");
        assert_eq!(default_name(&[source("ääääääääääääääääääää")]).len(), 24);
        assert_eq!(default_name(&[source(".log")]), "log");
    }
}
