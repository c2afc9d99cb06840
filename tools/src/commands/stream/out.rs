//! Standard output that may stall: a reader who does not read must not keep the program from ending.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where records and lines go.
pub(super) struct Out {
    to: To,
    buffer: Vec<u8>,
    stop: Arc<AtomicBool>,
}

enum To {
    /// Standard output or standard error, by the system.
    #[cfg(unix)]
    Stream(std::fs::File),
    /// Wherever the system has no way to ask first.
    #[cfg(not(unix))]
    Writer(Box<dyn Write>),
    Nowhere,
}

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Stdout,
    Stderr,
    None,
}

/// Bytes that are written at once after the system has said that there is room: a pipe takes so many.
#[cfg(unix)]
const AT_ONCE: usize = 4096;
/// Bytes that are gathered.
const GATHERED: usize = 1 << 16;
/// How long room is waited for, in milliseconds, before it is looked whether the program should end.
#[cfg(unix)]
const LOOK: i64 = 50;
/// Such looks, after the program should end, until what is left is given up.
#[cfg(unix)]
const LAST_LOOKS: u32 = 4;

impl Out {
    /// # Errors
    /// Those of the system.
    pub(super) fn new(which: Which, stop: Arc<AtomicBool>) -> io::Result<Self> {
        #[cfg(unix)]
        let to = {
            use std::os::fd::AsFd;
            match which {
                Which::Stdout => To::Stream(io::stdout().as_fd().try_clone_to_owned()?.into()),
                Which::Stderr => To::Stream(io::stderr().as_fd().try_clone_to_owned()?.into()),
                Which::None => To::Nowhere,
            }
        };
        #[cfg(not(unix))]
        let to = match which {
            Which::Stdout => To::Writer(Box::new(io::stdout())),
            Which::Stderr => To::Writer(Box::new(io::stderr())),
            Which::None => To::Nowhere,
        };
        Ok(Self { to, buffer: Vec::new(), stop })
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !matches!(self.to, To::Nowhere) {
            self.buffer.extend_from_slice(bytes);
            if self.buffer.len() >= GATHERED {
                self.flush()?;
            }
        }
        Ok(bytes.len())
    }

    /// What is gathered goes out. When the program should end and nobody reads, the rest is lost, which is
    /// [`io::ErrorKind::TimedOut`].
    fn flush(&mut self) -> io::Result<()> {
        let result = match &mut self.to {
            To::Nowhere => Ok(()),
            #[cfg(unix)]
            To::Stream(file) => flush(file, &self.buffer, &self.stop),
            #[cfg(not(unix))]
            To::Writer(writer) => {
                let _ = self.stop.load(Ordering::Relaxed);
                writer.write_all(&self.buffer).and_then(|()| writer.flush())
            }
        };
        self.buffer.clear();
        result
    }
}

#[cfg(unix)]
fn flush(file: &mut std::fs::File, bytes: &[u8], stop: &AtomicBool) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut looks = 0;
    let mut rest = bytes;
    while !rest.is_empty() {
        let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK * 1_000_000 };
        let mut asked = [PollFd::new(file, PollFlags::OUT)];
        let ready = match poll(&mut asked, Some(&timeout)) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => 0,
            Err(e) => return Err(e.into()),
        };
        if ready == 0 {
            looks += u32::from(stop.load(Ordering::SeqCst));
            if looks > LAST_LOOKS {
                return Err(io::ErrorKind::TimedOut.into());
            }
            continue;
        }
        match file.write(&rest[..rest.len().min(AT_ONCE)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => rest = &rest[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // A descriptor that somebody else has made so: it is asked again.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(std::time::Duration::from_millis(5)),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
