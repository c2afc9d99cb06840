//! A serial port whose reads and writes end, whatever the device does.

#[cfg(unix)]
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use serialport::{ClearBuffer, SerialPort};

/// How long a read waits for bytes, and a write in the network for room.
pub(super) const WAIT: Duration = Duration::from_millis(50);

/// An open port.
///
/// The driver of a terminal that blocks waits until *all* bytes of a write have a place, for ever where a device reads
/// none. So bytes go over a descriptor of our own that never blocks; the library's has the settings.
pub(super) struct Port {
    #[cfg(unix)]
    line: File,
    settings: Box<dyn SerialPort>,
}

impl Port {
    /// Opens the port called `name`: raw, for this program alone.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn open(name: &str, baud: u32) -> io::Result<Self> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits().cast_signed();
            // First: the library's makes the port its own.
            let line = File::options().read(true).write(true).custom_flags(flags).open(name)?;
            Ok(Self { line, settings: serialport::new(name, baud).timeout(WAIT).open()? })
        }
        #[cfg(not(unix))]
        Ok(Self { settings: serialport::new(name, baud).timeout(WAIT).open()? })
    }
}

/// Bytes that the device did not take are given up: to close a port would wait for it, half a minute under Linux.
impl Drop for Port {
    fn drop(&mut self) {
        let _ = self.settings.clear(ClearBuffer::Output);
    }
}

#[cfg(unix)]
impl Read for Port {
    /// Waits for [`WAIT`]; silence is [`io::ErrorKind::TimedOut`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec { tv_sec: 0, tv_nsec: WAIT.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.line, PollFlags::IN)], Some(&timeout))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => self.line.read(buffer),
        }
    }
}

#[cfg(unix)]
impl Write for Port {
    /// What there is room for now; no room is [`io::ErrorKind::WouldBlock`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(unix))]
impl Read for Port {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.settings.read(buffer)
    }
}

#[cfg(not(unix))]
impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.settings.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
