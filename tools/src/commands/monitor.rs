//! `mambabyte monitor`: watches a device that scores a stream, on a serial port or emulated.

mod connection;
mod emulator;
mod seen;
mod view;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::{Value, json};

use super::stream::bits;
use crate::cli;
use crate::error::CliError;
use crate::model::read_text;
use connection::{Event, Source};
use seen::Seen;

/// How long the loops wait for something to happen.
const TICK: Duration = Duration::from_millis(50);

/// Runs the command.
///
/// # Errors
/// [`CliError::Io`] names the port or the board.
pub fn run(args: &cli::Monitor) -> Result<(), CliError> {
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
    let outcome = if !args.json && io::stdout().is_terminal() {
        view::run(&events, &name, args.lines)
    } else {
        let flag = Arc::clone(&stop);
        // A second handler in one process would be refused; the first one then still ends the program.
        let _ = ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst));
        print(&events, &name, args, &stop)
    };
    stop.store(true, Ordering::SeqCst);
    drop(events);
    let _ = thread.join();
    outcome
}

/// Lines on standard output: JSON, or text with the news of the connection on standard error.
fn print(events: &Receiver<Event>, name: &str, args: &cli::Monitor, stop: &AtomicBool) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let mut seen = Seen::new(name);
    while !stop.load(Ordering::SeqCst) && !seen.enough(args.lines) {
        let event = match events.recv_timeout(TICK) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let missed = seen.missed;
        seen.take(&event);
        if args.json {
            if seen.missed > missed {
                writeln!(out, "{}", json!({ "event": "missed", "records": seen.missed - missed }))
                    .map_err(CliError::stdout)?;
            }
            writeln!(out, "{}", as_json(&event, name)).and_then(|()| out.flush()).map_err(CliError::stdout)?;
        } else if let Event::Line(record) = &event {
            writeln!(out, "{record}").and_then(|()| out.flush()).map_err(CliError::stdout)?;
        } else if let Some(news) = seen::news(&event, name) {
            let _ = writeln!(io::stderr(), "{news}");
        }
        if let Event::Failed(error) = event {
            return Err(CliError::io(name, error));
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn as_json(event: &Event, port: &str) -> Value {
    match event {
        Event::Connected => json!({ "event": "connected", "port": port }),
        Event::Disconnected(error) => json!({ "event": "disconnected", "port": port, "error": error.to_string() }),
        Event::Failed(error) => json!({ "event": "failed", "port": port, "error": error.to_string() }),
        Event::Start(s) => json!({
            "event": "start", "port": port, "version": s.version, "fingerprint": hex(&s.fingerprint),
            "position": s.position,
        }),
        Event::Line(r) => json!({
            "event": "line", "sequence": r.sequence, "start": r.start, "bytes": r.bytes,
            "bits_per_byte": bits(r.bits), "peak": bits(r.peak), "flagged": r.flagged, "lost": r.lost,
            "overruns": r.overruns,
        }),
        Event::Status(s) => json!({
            "event": "status", "stack_used": s.stack_used, "stack_watched": s.stack_watched, "waiting": s.waiting,
            "capacity": s.capacity,
        }),
        Event::Damaged(frames) => json!({ "event": "damaged", "frames": frames }),
        Event::Finished => json!({ "event": "finished" }),
    }
}
