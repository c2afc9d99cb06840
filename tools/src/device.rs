//! The host's end of a device that scores a stream: messages in, bytes of the stream out while there is credit.

use std::io::{self, Read, Write};

use mambabyte_core::record::{Frames, Message};

/// The most bytes that are given to a link at once, so that what the device says is read between two writes.
const WRITE: usize = 4096;

/// A device at the other end of `L`, whose reads and writes return after a short while when nothing moves.
#[derive(Debug)]
pub struct Device<L> {
    link: L,
    frames: Frames,
    started: bool,
    sent: u64,
    credit: u64,
    foreign: u64,
}

impl<L: Read + Write> Device<L> {
    /// A device of which nothing is known yet.
    pub const fn new(link: L) -> Self {
        Self { link, frames: Frames::new(), started: false, sent: 0, credit: 0, foreign: 0 }
    }

    /// Frames that were damaged on the way.
    pub const fn bad(&self) -> u64 {
        self.frames.bad()
    }

    /// Bytes sent since the device started.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that have come since the last message, or since the beginning. A device of another kind sends those alone:
    /// no message is longer than [`FRAME`](mambabyte_core::record::FRAME).
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Reads what has arrived and passes every message to `take`. Returns whether any byte came.
    ///
    /// # Errors
    /// Those of the link; `UnexpectedEof` if it has ended. Silence is no error.
    pub fn poll(&mut self, mut take: impl FnMut(&Message<'_>)) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let n = match self.link.read(&mut buffer) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection has ended")),
            Ok(n) => n,
            Err(e) if is_silence(&e) => return Ok(false),
            Err(e) => return Err(e),
        };
        for &byte in buffer.iter().take(n) {
            self.foreign = self.foreign.saturating_add(1);
            let Some(message) = self.frames.push(byte) else { continue };
            self.foreign = 0;
            match message {
                Message::Start(start) => (self.started, self.sent, self.credit) = (true, 0, start.credit),
                Message::Credit(credit) => self.credit = self.credit.max(credit),
                _ => {}
            }
            take(&message);
        }
        Ok(true)
    }

    /// Sends the beginning of `text` that there is credit for and that the link takes now; returns its length. Nothing
    /// before the device started. A device that grants credit and does not read gets nothing: that is no error.
    ///
    /// # Errors
    /// Those of the link.
    pub fn feed(&mut self, text: &[u8]) -> io::Result<usize> {
        let credit = if self.started { self.credit.saturating_sub(self.sent) } else { 0 };
        let n = text.len().min(usize::try_from(credit).unwrap_or(usize::MAX)).min(WRITE);
        if n == 0 {
            return Ok(0);
        }
        // No flush: that would wait until a serial port has sent everything.
        let n = match self.link.write(text.get(..n).unwrap_or(text)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => n,
            Err(e) if is_silence(&e) => 0,
            Err(e) => return Err(e),
        };
        self.sent = self.sent.saturating_add(n as u64);
        Ok(n)
    }

    /// Sends `text` whatever the device can take. What it loses by that, it counts.
    ///
    /// # Errors
    /// Those of the link.
    pub fn flood(&mut self, text: &[u8]) -> io::Result<()> {
        if !text.is_empty() {
            self.link.write_all(text)?;
            self.link.flush()?;
            self.sent = self.sent.saturating_add(text.len() as u64);
        }
        Ok(())
    }
}

/// Whether a read or a write only says that nothing moved for a while.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use mambabyte_core::record::{FRAME, Start, VERSION, encode};

    use super::*;

    /// Reads from a queue, one chunk at a time; an empty queue is silence. Collects what is written.
    #[derive(Default)]
    struct Fake {
        incoming: VecDeque<Vec<u8>>,
        written: Vec<u8>,
        full: bool,
    }

    impl Read for Fake {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let chunk = self.incoming.pop_front().ok_or(io::ErrorKind::TimedOut)?;
            buffer[..chunk.len()].copy_from_slice(&chunk);
            Ok(chunk.len())
        }
    }

    impl Write for Fake {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.full {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn frame(message: &Message<'_>) -> Vec<u8> {
        encode(message, &mut [0; FRAME]).unwrap().to_vec()
    }

    #[test]
    fn bytes_are_sent_as_far_as_there_is_credit() {
        let mut device = Device::new(Fake::default());
        let text = [7u8; 100];
        assert_eq!(device.feed(&text).unwrap(), 0, "nothing before the start");
        let start = Message::Start(Start { version: VERSION, fingerprint: [0; 16], position: 0, credit: 10 });
        device.link.incoming = [frame(&start), frame(&Message::Credit(25)), vec![], frame(&start)].into();
        assert!(device.poll(|_| ()).unwrap());
        assert_eq!((device.feed(&text).unwrap(), device.feed(&text).unwrap()), (10, 0));
        device.poll(|_| ()).unwrap();
        assert_eq!(device.feed(&text).unwrap(), 15);
        assert_eq!(device.link.written.len(), 25);
        assert_eq!(device.poll(|_| ()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        // A device that starts anew has forgotten what it was sent.
        device.poll(|_| ()).unwrap();
        assert_eq!(device.feed(&text).unwrap(), 10);
        assert!(!device.poll(|_| ()).unwrap(), "silence is no error");
        // What is no message is counted until the next one.
        device.link.incoming = [b"$GPGGA\n".to_vec(), [b"more\0".to_vec(), frame(&Message::Credit(9))].concat()].into();
        device.poll(|_| ()).unwrap();
        assert_eq!(device.foreign(), 7);
        device.poll(|_| ()).unwrap();
        assert_eq!(device.foreign(), 0);
    }

    #[test]
    fn a_link_that_takes_nothing_is_waited_for_and_read_on() {
        let mut device = Device::new(Fake { full: true, ..Fake::default() });
        let start = Start { version: VERSION, fingerprint: [0; 16], position: 0, credit: u64::MAX };
        device.link.incoming = [frame(&Message::Start(start)), frame(&Message::Credit(1))].into();
        device.poll(|_| ()).unwrap();
        assert_eq!(device.feed(&[7; 10_000]).unwrap(), 0);
        assert!(device.poll(|m| assert_eq!(*m, Message::Credit(1))).unwrap());
        device.link.full = false;
        assert_eq!((device.feed(&[7; 10_000]).unwrap(), device.sent()), (WRITE, WRITE as u64));
    }
}
