//! A thread that follows one device: opens the port, reads, notices that it is gone, opens it again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mambabyte_core::record::{FRAME, LineVerdict, Message, Record, Start, Status, VERSION};

use super::port::{Port, WAIT};
use crate::device::Device;
use crate::error::CliError;

/// Between two attempts to open a port that is gone.
const RETRY: Duration = Duration::from_millis(300);
/// How long a network connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);
/// Events that wait for whoever shows them. A device that sends more than is shown waits too: its line is not read.
pub(super) const QUEUE: usize = 256;
/// How long whoever shows events is left alone when the queue is full.
const FULL: Duration = Duration::from_millis(5);
/// Bytes that are no messages may come for so long.
const FOREIGN: Duration = Duration::from_secs(2);

/// What happens at a port.
#[derive(Debug)]
pub(super) enum Event {
    /// It is open.
    Connected,
    /// It is gone; it will be opened again.
    Disconnected(io::Error),
    /// It is gone for good.
    Failed(io::Error),
    /// The device has started.
    Start(Start),
    /// The preset of the device's adapter, by its number.
    Adapter(u8),
    /// The share of quiet lines that the device's detector may flag, Q32.
    Detector(u32),
    /// What the detector says of the line that comes next.
    Verdict(LineVerdict),
    /// A line was scored.
    Line(Record),
    /// The device's own state.
    Status(Status),
    /// What has come for a while is none of our messages.
    Foreign,
    /// This many records were lost on the way here.
    Missed(u64),
    /// This many frames have been damaged since the connection.
    Damaged(u64),
    /// All of the input is scored.
    Finished,
}

impl Event {
    /// Its name in records; of a line, and of what is said with one, there is none.
    pub(super) const fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Line(_) | Self::Verdict(_) => return None,
            Self::Connected => "connected",
            Self::Disconnected(_) => "disconnected",
            Self::Failed(_) => "failed",
            Self::Start(_) => "start",
            Self::Adapter(_) => "adapter",
            Self::Detector(_) => "detector",
            Self::Status(_) => "status",
            Self::Foreign => "foreign",
            Self::Missed(_) => "missed",
            Self::Damaged(_) => "damaged",
            Self::Finished => "finished",
        })
    }
}

/// Both directions of a port.
pub(super) trait Link: Read + Write + Send {}
impl<T: Read + Write + Send> Link for T {}

/// Where a device is.
pub(super) enum Source {
    /// A serial port and its speed.
    Serial(String, u32),
    /// An address of a serial line in the network.
    Network(String),
    /// An emulator, connected.
    Emulator {
        /// The board.
        board: String,
        /// Its serial line.
        link: TcpStream,
        /// The process.
        _process: Process,
    },
}

/// A process that ends with its owner.
pub(super) struct Process(pub(super) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Source {
    /// The port called `name`: `tcp:HOST:PORT`, else a serial port.
    pub(super) fn port(name: &str, baud: u32) -> Self {
        match name.strip_prefix("tcp:") {
            Some(address) => Self::Network(address.to_owned()),
            None => Self::Serial(name.to_owned(), baud),
        }
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Serial(port, _) => port.clone(),
            Self::Network(address) => format!("tcp:{address}"),
            Self::Emulator { board, .. } => board.clone(),
        }
    }

    fn open(&self) -> io::Result<Box<dyn Link>> {
        match self {
            Self::Serial(port, baud) => Ok(Box::new(Port::open(port, *baud)?)),
            Self::Network(address) => {
                let addresses = address.to_socket_addrs()?;
                let mut error = io::Error::new(ErrorKind::NotFound, "the name has no address");
                for address in addresses {
                    match TcpStream::connect_timeout(&address, CONNECT) {
                        Ok(link) => {
                            link.set_read_timeout(Some(WAIT))?;
                            link.set_write_timeout(Some(WAIT))?;
                            return Ok(Box::new(link));
                        }
                        Err(e) => error = e,
                    }
                }
                Err(error)
            }
            Self::Emulator { link, .. } => Ok(Box::new(link.try_clone()?)),
        }
    }
}

/// Follows `source` until `stop` or until nobody listens, and sends it `text`: after each start from the byte that the
/// device asks for. The thread owns the source: an emulator has ended when the thread has.
///
/// # Errors
/// If the port cannot be opened the first time: a name that was mistyped is better said than waited for.
pub(super) fn follow(
    source: Source,
    text: Option<Vec<u8>>,
    stop: Arc<AtomicBool>,
) -> Result<(Receiver<Event>, JoinHandle<()>), CliError> {
    let first = source.open().map_err(|e| CliError::io(source.name(), e))?;
    let (send, events) = sync_channel(QUEUE);
    let thread = std::thread::spawn(move || {
        let mut next = Some(first);
        // An error that repeats is told once.
        let mut told = None;
        while !stop.load(Ordering::SeqCst) {
            let opened = match next.take() {
                Some(link) => Ok(link),
                None => source.open(),
            };
            let error = match opened {
                Err(error) => error,
                Ok(link) => {
                    told = None;
                    if !give(&send, Event::Connected, &stop) {
                        return;
                    }
                    match listen(link, text.as_deref(), &send, &stop) {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
            };
            if matches!(source, Source::Emulator { .. }) || error.kind() == ErrorKind::InvalidData {
                give(&send, Event::Failed(error), &stop);
                return;
            }
            let text = error.to_string();
            if told.as_ref() != Some(&text) && !give(&send, Event::Disconnected(error), &stop) {
                return;
            }
            told = Some(text);
            std::thread::sleep(RETRY);
        }
    });
    Ok((events, thread))
}

/// The thread that follows the device called `name` is no more, nor has it said why.
pub(super) fn died(name: &str) -> CliError {
    CliError::io(name, io::Error::other("the thread that follows the device has died, which is a bug"))
}

/// Gives an event to whoever shows them, as soon as they can take it. Whether they did: not after `stop`, nor if nobody
/// is there.
fn give(send: &SyncSender<Event>, event: Event, stop: &AtomicBool) -> bool {
    let mut event = event;
    while !stop.load(Ordering::SeqCst) {
        event = match send.try_send(event) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(event)) => event,
        };
        std::thread::sleep(FULL);
    }
    false
}

/// Reads one connection until it ends (an error), or nobody listens, or all is scored.
fn listen(link: Box<dyn Link>, input: Option<&[u8]>, send: &SyncSender<Event>, stop: &AtomicBool) -> io::Result<()> {
    let mut device = Device::new(link);
    let text = input.unwrap_or_default();
    let (mut fed, mut scored, mut bad) = (0, 0, 0);
    // Since when there are foreign bytes; after they were told nothing until the next message.
    let (mut since, mut told) = (None, false);
    while !stop.load(Ordering::SeqCst) {
        let (mut events, mut heard) = (Vec::new(), false);
        device.poll(|message| {
            heard = true;
            match *message {
                Message::Start(start) => {
                    // A device that resumes at a snapshot has read the beginning before.
                    fed = usize::try_from(start.position).unwrap_or(usize::MAX).min(text.len());
                    scored = start.position;
                    events.push(Event::Start(start));
                }
                Message::Line(record) => {
                    scored = record.start.saturating_add(u64::from(record.bytes));
                    events.push(Event::Line(record));
                }
                Message::Detector(share) => events.push(Event::Detector(share)),
                Message::Verdict(verdict) => events.push(Event::Verdict(verdict)),
                Message::Adapter(preset) => events.push(Event::Adapter(preset)),
                Message::Status(status) => events.push(Event::Status(status)),
                // Records of version 1 come as those of today.
                Message::FirstLine(_) | Message::Credit(_) | Message::Text(..) => {}
            }
        })?;
        if device.bad() > bad {
            bad = device.bad();
            events.push(Event::Damaged(bad));
        }
        if heard {
            (since, told) = (None, false);
        } else if device.foreign() > 0 {
            let since = *since.get_or_insert_with(Instant::now);
            if !told && device.foreign() > FRAME as u64 && since.elapsed() >= FOREIGN {
                told = true;
                events.push(Event::Foreign);
            }
        }
        for event in events {
            let other = match &event {
                Event::Start(start) if !(1..=VERSION).contains(&start.version) => Some(start.version),
                _ => None,
            };
            if !give(send, event, stop) {
                return Ok(());
            }
            if let Some(version) = other {
                let text = format!("the device speaks version {version} of the messages, this program 1 to {VERSION}");
                return Err(io::Error::new(ErrorKind::InvalidData, text));
            }
        }
        fed += device.feed(text.get(fed..).unwrap_or_default())?;
        if input.is_some() && scored >= text.len() as u64 {
            give(send, Event::Finished, stop);
            return Ok(());
        }
    }
    Ok(())
}
