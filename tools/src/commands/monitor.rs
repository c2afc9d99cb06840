//! `mambabyte monitor`: watches a device that scores a stream, on a serial port or emulated.

mod connection;
mod emulator;
mod seen;
mod view;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mambabyte_core::detect::{Event as Said, Reason};
use mambabyte_core::record::LineVerdict;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::model::read_text;
use crate::output::{hex, say};
use crate::paint::bits;
use connection::{Event, Source};
use seen::Seen;

/// How long the end of the thread that follows the device is waited for.
const END: Duration = Duration::from_secs(1);

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
    /// Print one JSON object per event instead of the live view.
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
    end(thread);
    outcome
}

/// Waits for the thread, with which an emulator ends, but not for ever: a serial port that takes no more bytes may
/// hold it, and then ends with the program.
fn end(thread: JoinHandle<()>) {
    let begin = Instant::now();
    while !thread.is_finished() && begin.elapsed() < END {
        std::thread::sleep(view::TICK / 5);
    }
    if thread.is_finished() {
        let _ = thread.join();
    }
}

/// Lines on standard output: JSON, or text with the news of the connection on standard error.
fn print(events: &Receiver<Event>, name: &str, args: &Args, stop: &AtomicBool) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let mut seen = Seen::new(name);
    while !stop.load(Ordering::SeqCst) && !seen.enough(args.lines) {
        let event = match events.recv_timeout(view::TICK) {
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
            say(news);
        }
        if let Event::Failed(error) = event {
            return Err(CliError::io(name, error));
        }
    }
    Ok(())
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
            "bits_per_byte": bits(r.bits), "bits_per_byte_net": r.net.map(bits), "peak": bits(r.peak), "flagged": r.flagged, "lost": r.lost,
            "overruns": r.overruns,
        }),
        Event::Adapter(preset) => json!({ "event": "adapter", "port": port, "preset": seen::preset_name(*preset) }),
        Event::Detector(share) => {
            json!({ "event": "detector", "port": port, "false_alarms": seen::percent(*share) / 100.0 })
        }
        Event::Verdict(LineVerdict { sequence, verdict: v }) => json!({
            "event": "verdict", "sequence": sequence, "rarity": q8(v.rarity), "odd": v.odd, "alarm": v.alarm,
            "reason": v.reason.map(Reason::name),
            "worst": { "offset": v.worst.at, "byte": v.worst.byte, "bits": q8(v.worst.bits) },
            "events": v.events.iter().map(Said::name).collect::<Vec<_>>(),
            "odd_lines": v.learned.into_iter().filter(|&line| line > 0).collect::<Vec<_>>(),
            "odd_share": f64::from(v.odd_share) / 65_536.0,
        }),
        Event::Status(s) => json!({
            "event": "status", "stack_used": s.stack_used, "stack_watched": s.stack_watched, "waiting": s.waiting,
            "capacity": s.capacity,
        }),
        Event::Damaged(frames) => json!({ "event": "damaged", "frames": frames }),
        Event::Finished => json!({ "event": "finished" }),
    }
}

/// Q8 bits as a number.
fn q8(bits: u16) -> f64 {
    f64::from(bits) / 256.0
}
