//! The inputs of a stream: files and pipes, packed or not, files that grow, serial ports, a broker. Each is read on a thread of its
//! own, so that the program ends when it is asked to, whatever an input does.

mod follow;
mod mqtt;
mod news;
mod serial;

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use regex::bytes::Regex;

use super::decode::{Encoding, How};
use super::mqtt::{Broker, Outbox};
use super::silence::Silent;
use crate::error::CliError;
use crate::output::{clean, say, shown};
use crate::packed::unpacking;
use news::{BLOCK, Sender};
pub(super) use news::{News, Place};

/// Blocks that wait to be read by the model.
const WAITING: usize = 16;

/// Where the bytes come from, and how they are text.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Input")]
pub struct InputArgs {
    /// One of several inputs, each a stream of its own over one copy of the model: its records have `label`. Repeat it.
    #[arg(long, value_name = "LABEL=PATH", value_parser = labelled, conflicts_with_all = ["file", "multiplex"])]
    pub input: Vec<(String, PathBuf)>,
    /// Standard input has lines of many streams: label, tab, line. Each label is a stream of its own over one copy of the
    /// model.
    #[arg(long)]
    pub multiplex: bool,
    /// Go on at the end of a file, through rotation (another file of that name) and truncation; open a FIFO again when its
    /// writer has closed it. With --state a file that is followed is gone on from where it was left.
    #[arg(long)]
    pub follow: bool,
    /// Bits per second of a serial port, 8 data bits, no parity. A port is read raw, and opened again when it is gone.
    /// Default: 115200.
    #[arg(long, value_name = "BITS")]
    pub baud: Option<u32>,
    /// The byte that ends lines: a character, \0, \n, \r, \t or \xHH. Default: newline, or carriage return where that
    /// alone ends the first line.
    #[arg(long, value_name = "BYTE", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// A record of several lines begins with a line that matches; it is scored as one line, when the next one begins or
    /// after a second.
    #[arg(long, value_name = "REGEX", value_parser = Regex::new)]
    pub record_start: Option<Regex>,
    /// Leave escape sequences of terminals (colours) out.
    #[arg(long)]
    pub strip_ansi: bool,
    /// Say `silent` of a live input from which nothing has come for so long. auto: 16 times its longest pause, at least 10
    /// seconds, once 64 lines have come.
    #[arg(long, value_name = "TIME|auto|off", default_value = "auto", value_parser = Silent::parse)]
    pub(super) silent: Silent,
    /// How the input is text; UTF-16 is read as UTF-8.
    #[arg(long, value_enum, value_name = "NAME", default_value = "bytes")]
    pub(super) encoding: Encoding,
}

/// `LABEL=PATH`.
fn labelled(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((label, path)) if !label.is_empty() && !path.is_empty() => Ok((label.to_owned(), path.into())),
        _ => Err("a label, =, and a path".into()),
    }
}

/// One byte, as text.
fn delimiter(text: &str) -> Result<u8, String> {
    let hex = |digits: &str| u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2);
    match (text, text.as_bytes()) {
        ("\\0", _) => Ok(0),
        ("\\n", _) => Ok(b'\n'),
        ("\\r", _) => Ok(b'\r'),
        ("\\t", _) => Ok(b'\t'),
        (_, &[byte]) => Ok(byte),
        _ => text.strip_prefix("\\x").and_then(hex).ok_or_else(|| "one byte: x, \\0, \\n, \\r, \\t or \\x1e".into()),
    }
}

impl InputArgs {
    /// How all inputs are read.
    pub(super) fn how(&self) -> How {
        How {
            encoding: self.encoding,
            strip_ansi: self.strip_ansi,
            delimiter: self.delimiter,
            record_start: self.record_start.clone(),
        }
    }
}

/// An input to be read.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    /// Where a file that is followed was left.
    pub(super) place: Option<Place>,
}

impl Input {
    /// Its name, for people.
    pub(super) fn name(&self) -> &Path {
        if self.is_stdin() { Path::new("standard input") } else { &self.path }
    }

    fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Whether what comes from it comes as it happens.
    pub(super) fn is_live(&self, args: &InputArgs) -> bool {
        let is_file = |found: io::Result<std::fs::Metadata>| found.is_ok_and(|found| found.is_file());
        args.follow
            || match self.is_stdin() {
                #[cfg(unix)]
                true => {
                    use std::os::fd::AsFd;
                    let stdin = io::stdin();
                    !stdin.as_fd().try_clone_to_owned().is_ok_and(|fd| is_file(File::from(fd).metadata()))
                }
                #[cfg(not(unix))]
                true => true,
                false => !is_file(self.path.metadata()),
            }
    }
}

/// Reads all inputs, each on a thread of its own. What comes has the number of its input.
///
/// # Errors
/// [`CliError::Io`] for a file that cannot be opened, of which that shows at once; [`CliError::Usage`].
pub(super) fn start(inputs: Vec<Input>, args: &InputArgs) -> Result<Receiver<(usize, News)>, CliError> {
    let (send, receive) = sync_channel(WAITING);
    for (number, input) in inputs.into_iter().enumerate() {
        let out = Sender { number, send: send.clone() };
        if input.is_stdin() {
            if io::stdin().is_terminal() {
                say("reading standard input; Ctrl-D ends it");
            }
            spawn(move || read(io::stdin(), &out));
            continue;
        }
        if args.baud.is_some() || serial::is_port(&input.path) {
            let name = input
                .path
                .to_str()
                .ok_or_else(|| CliError::Usage(format!("{}: the name of a serial port is text", shown(&input.path))))?;
            let port = serial::Port::open(name, args.baud.unwrap_or(serial::BAUD), args.baud.is_some())
                .map_err(|e| CliError::io(&input.path, e))?;
            spawn(move || port.read(&out));
            continue;
        }
        let failed = |e| CliError::io(&input.path, e);
        if args.follow {
            let follow = follow::Follow::open(&input.path, input.place).map_err(failed)?;
            spawn(move || follow.read(&out));
            continue;
        }
        // A FIFO waits for its writer, on the thread.
        if input.path.metadata().map_err(failed)?.is_file() {
            let file = File::open(&input.path).map_err(failed)?;
            spawn(move || read(file, &out));
        } else {
            let path = input.path.clone();
            spawn(move || match File::open(&path) {
                Ok(file) => read(file, &out),
                Err(e) => _ = out.say(News::Failed(e)),
            });
        }
    }
    Ok(receive)
}

/// Reads the messages of a broker, on a thread.
pub(super) fn subscribe(broker: Broker, outbox: Arc<Outbox>) -> Receiver<(usize, News)> {
    let (send, receive) = sync_channel(WAITING);
    let out = Sender { number: 0, send };
    spawn(move || {
        // What a broker sends is read by a library: if that fails, the stream must not end as if all were well.
        if catch_unwind(AssertUnwindSafe(|| mqtt::read(&broker, &outbox, &out))).is_err() {
            out.say(News::Failed(io::Error::other("what the broker sends cannot be read")));
        }
    });
    receive
}

fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

/// Reads `source` to its end, packed or not.
fn read(source: impl Read + Send + 'static, out: &Sender) {
    let mut source = match unpacking(source) {
        Ok(source) => source,
        Err(e) => {
            out.say(News::Failed(e));
            return;
        }
    };
    let mut buffer = vec![0; BLOCK];
    loop {
        let news = match source.read(&mut buffer) {
            Ok(0) => News::End,
            Ok(n) => News::Bytes(buffer[..n].to_vec(), None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => News::Failed(e),
        };
        let ends = !matches!(news, News::Bytes(..));
        if !out.say(news) || ends {
            return;
        }
    }
}

/// A label of a stream, as it is shown.
pub(super) fn shown_label(label: &str) -> String {
    clean(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_one_byte() {
        for (text, byte) in [("\\0", 0), (";", b';'), ("\\x1e", 0x1e), ("\\r", b'\r'), ("\\xff", 0xff)] {
            assert_eq!(delimiter(text), Ok(byte));
        }
        for wrong in ["", "ab", "\\x1", "\\xzz", "ä", "\\q"] {
            assert!(delimiter(wrong).is_err(), "{wrong}");
        }
        assert_eq!(labelled("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert!(labelled("ab").is_err() && labelled("=b").is_err() && labelled("a=").is_err());
    }
}
