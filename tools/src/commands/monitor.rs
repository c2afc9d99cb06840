//! `mambabyte monitor`: watches a device that scores a stream, on a serial port or emulated.

mod connection;
mod emulator;
mod limit;
mod port;
mod seen;
mod speak;
mod view;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::error::CliError;
use crate::model::read_text;
use crate::output::{json_line, say};
use connection::{Event, Source, died};
use limit::Limit;
use seen::Seen;
use speak::Speaker;

/// How long the end of the thread that follows the device is waited for.
const END: Duration = Duration::from_millis(400);
/// How long, after the program should end, what is being printed is waited for.
const LAST: Duration = Duration::from_millis(200);

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "monitor /dev/ttyACM0 --input some.log"
    "monitor --qemu mps2-an386 --model sensor-nano --input some.log"
})]
pub struct Args {
    /// Serial port of the device, or tcp:HOST:PORT. If it is unplugged, the command waits for its return.
    #[arg(required_unless_present = "qemu", conflicts_with = "qemu")]
    pub port: Option<String>,
    /// Emulate this board instead of a port (`cargo xtask firmware boards` lists them) and send it --input. In the
    /// source folder only.
    #[arg(long, value_name = "BOARD", requires = "input")]
    pub qemu: Option<String>,
    /// A text to send to the device as it can take it; `-` is standard input. A newline is added if the last line has
    /// none. A device that starts anew gets it again from the byte on that it asks for: the first, or the one after its
    /// last snapshot. The command ends when all is scored.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The emulated board's model, a folder in `models`.
    #[arg(long, value_name = "NAME", default_value = "sensor-pico", requires = "qemu")]
    pub model: String,
    /// Bits per second of a serial port.
    #[arg(long, default_value_t = 115_200)]
    pub baud: u32,
    /// End after this many lines.
    #[arg(long, value_name = "N")]
    pub lines: Option<u64>,
    /// Print one JSON object per line and per event instead of the live view, as `stream` does: docs/stream.schema.json
    /// describes them. A device does not send the text back, so there is none.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Io`] names the port or the board.
pub fn run(args: &Args) -> Result<(), CliError> {
    let mut text = match &args.input {
        Some(file) => Some(read_text(file)?),
        None => None,
    };
    // Only a complete line has a record.
    if let Some(text) = &mut text
        && text.last().is_some_and(|&last| last != b'\n')
    {
        text.push(b'\n');
    }
    let source = match (&args.port, &args.qemu) {
        (_, Some(board)) => emulator::start(board, &args.model)?,
        (Some(port), None) => Source::port(port, args.baud),
        (None, None) => return Err(CliError::Usage("a port, or --qemu with a board".into())),
    };
    let name = source.name();
    let stop = Arc::new(AtomicBool::new(false));
    let (events, thread) = connection::follow(source, text, Arc::clone(&stop))?;
    let flag = Arc::clone(&stop);
    // A second handler in one process would be refused; the first one then still ends the program.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst));
    let (port, json, lines, flag) = (name.clone(), args.json, args.lines, Arc::clone(&stop));
    let outcome = if !json && io::stdout().is_terminal() {
        watched(&name, &stop, move || view::run(&events, &port, lines, &flag))
    } else {
        watched(&name, &stop, move || print(&events, &port, json, lines, &flag, &mut io::stdout().lock()))
    };
    stop.store(true, Ordering::SeqCst);
    end(thread);
    outcome
}

/// Waits for the thread, with which an emulator ends, but not for ever: the name of a port in the network may not be
/// found for long.
fn end(thread: JoinHandle<()>) {
    let begin = Instant::now();
    while !thread.is_finished() && begin.elapsed() < END {
        std::thread::sleep(view::TICK / 5);
    }
    if thread.is_finished() {
        let _ = thread.join();
    }
}

/// Shows on a thread of its own: where nobody reads the output, or its terminal is gone, it may never return, and the
/// program ends all the same.
fn watched(
    name: &str,
    stop: &AtomicBool,
    show: impl FnOnce() -> Result<(), CliError> + Send + 'static,
) -> Result<(), CliError> {
    let (send, outcome) = sync_channel(1);
    std::thread::spawn(move || send.send(show()));
    let mut stopped: Option<Instant> = None;
    loop {
        match outcome.recv_timeout(view::TICK) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Disconnected) => return Err(died(name)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if stop.load(Ordering::SeqCst) && stopped.get_or_insert_with(Instant::now).elapsed() >= LAST {
            return Ok(());
        }
    }
}

/// Lines on standard output: JSON, or text with the news of the connection on standard error.
fn print(
    events: &Receiver<Event>,
    name: &str,
    json: bool,
    lines: Option<u64>,
    stop: &AtomicBool,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let (mut seen, begun) = (Seen::new(name), Instant::now());
    let mut limit = Limit::default();
    let mut speaker = Speaker::new(name);
    let mut tell = |event: &Event, left_out: u64| {
        let written = if json {
            let records = speaker.take(event, left_out, SystemTime::now());
            records.iter().try_for_each(|record| out.write_all(json_line(record).as_bytes()))
        } else if let Event::Line(record) = event {
            writeln!(out, "{record}")
        } else {
            if let Some(news) = seen::news(event, name) {
                let more =
                    if left_out > 0 { format!(" ({left_out} more like it are not shown)") } else { String::new() };
                say(format_args!("{news}{more}"));
            }
            Ok(())
        };
        written.and_then(|()| out.flush()).map_err(CliError::stdout)
    };
    while !stop.load(Ordering::SeqCst) && !seen.enough(lines) {
        match events.recv_timeout(view::TICK) {
            Ok(Event::Failed(error)) => {
                let event = Event::Failed(error);
                tell(&event, 0)?;
                let Event::Failed(error) = event else { break };
                return Err(CliError::io(name, error));
            }
            Ok(event) => {
                let before = seen.missed;
                seen.take(&event);
                let missed = (seen.missed > before).then(|| Event::Missed(seen.missed - before));
                missed.iter().for_each(|missed| seen.take(missed));
                let now = Instant::now();
                for event in missed.into_iter().chain([event]) {
                    if let Some(event) = limit.take(event, now) {
                        tell(&event, 0)?;
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if stop.load(Ordering::SeqCst) => break,
            Err(RecvTimeoutError::Disconnected) => return Err(died(name)),
        }
        limit.due(Instant::now(), false).iter().try_for_each(|(event, left_out)| tell(event, *left_out))?;
    }
    limit.due(Instant::now(), true).iter().try_for_each(|(event, left_out)| tell(event, *left_out))?;
    let (record, words) = seen.end(begun, SystemTime::now());
    if !json {
        say(words);
        return Ok(());
    }
    out.write_all(json_line(&record).as_bytes()).and_then(|()| out.flush()).map_err(CliError::stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_thread_is_an_error_unless_all_is_scored() {
        let run = |told: Vec<Event>, stop| {
            let (send, events) = sync_channel(connection::QUEUE);
            told.into_iter().for_each(|event| send.send(event).unwrap());
            drop(send);
            let mut out = Vec::new();
            (print(&events, "the-port", true, None, &AtomicBool::new(stop), &mut out), out)
        };
        let (died, out) = run(vec![Event::Connected], false);
        assert!(died.unwrap_err().to_string().contains("the-port"));
        assert!(out.starts_with(b"{\"event\":\"connected\""), "what came is told");
        assert!(run(vec![Event::Finished], false).0.is_ok());
        assert!(run(vec![], true).0.is_ok());
    }

    #[test]
    fn news_that_repeat_are_counted() {
        let (send, events) = sync_channel(connection::QUEUE);
        (1..=200).for_each(|frames| send.send(Event::Damaged(frames)).unwrap());
        send.send(Event::Finished).unwrap();
        let mut out = Vec::new();
        print(&events, "p", true, None, &AtomicBool::new(false), &mut out).unwrap();
        let last = String::from_utf8(out).unwrap();
        let last: Vec<serde_json::Value> = last.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told = last.iter().filter(|record| record["event"] == "damaged").count() as u64;
        let left_out: u64 = last.iter().filter_map(|record| record["suppressed"].as_u64()).sum();
        assert_eq!((told + left_out, &last[last.len() - 2]["frames"]), (200, &200.into()), "the sum is told");
        assert!(told < 100, "{told}");
    }
}
