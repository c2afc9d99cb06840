//! A thread that follows one device: opens the port, reads, notices that it is gone, opens it again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mambabyte_core::record::{LineVerdict, Message, Record, Start, Status, VERSION};

use crate::device::Device;
use crate::error::CliError;

/// How long a read waits for bytes, and a write for room.
pub(super) const WAIT: Duration = Duration::from_millis(50);
/// Between two attempts to open a port that is gone.
const RETRY: Duration = Duration::from_millis(300);
/// How long a network connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);
/// Events that wait for whoever shows them. A device that sends more than is shown waits too: its line is not read.
pub(super) const QUEUE: usize = 256;

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
    /// This many frames have been damaged since the connection.
    Damaged(u64),
    /// All of the input is scored.
    Finished,
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
            Self::Serial(port, baud) => {
                let serial = serialport::new(port, *baud).timeout(WAIT).open()?;
                Ok(Box::new(serial))
            }
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
                    if send.send(Event::Connected).is_err() {
                        return;
                    }
                    match listen(link, text.as_deref(), &send, &stop) {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
            };
            if matches!(source, Source::Emulator { .. }) || error.kind() == ErrorKind::InvalidData {
                let _ = send.send(Event::Failed(error));
                return;
            }
            let text = error.to_string();
            if told.as_ref() != Some(&text) && send.send(Event::Disconnected(error)).is_err() {
                return;
            }
            told = Some(text);
            std::thread::sleep(RETRY);
        }
    });
    Ok((events, thread))
}

/// Reads one connection until it ends (an error), or nobody listens, or all is scored.
fn listen(link: Box<dyn Link>, input: Option<&[u8]>, send: &SyncSender<Event>, stop: &AtomicBool) -> io::Result<()> {
    let mut device = Device::new(link);
    let text = input.unwrap_or_default();
    let (mut fed, mut scored, mut bad) = (0, 0, 0);
    while !stop.load(Ordering::SeqCst) {
        let mut events = Vec::new();
        device.poll(|message| match *message {
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
        })?;
        if device.bad() > bad {
            bad = device.bad();
            events.push(Event::Damaged(bad));
        }
        for event in events {
            let other = match &event {
                Event::Start(start) if !(1..=VERSION).contains(&start.version) => Some(start.version),
                _ => None,
            };
            if send.send(event).is_err() {
                return Ok(());
            }
            if let Some(version) = other {
                let text = format!("the device speaks version {version} of the messages, this program 1 to {VERSION}");
                return Err(io::Error::new(ErrorKind::InvalidData, text));
            }
        }
        fed += device.feed(text.get(fed..).unwrap_or_default())?;
        if input.is_some() && scored >= text.len() as u64 {
            let _ = send.send(Event::Finished);
            return Ok(());
        }
    }
    Ok(())
}
