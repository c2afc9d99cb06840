//! A serial port as an input: raw, and opened again when it is gone.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use serialport::SerialPort;

use super::news::{BLOCK, News, PATIENCE, RETRY, Sender};

/// Bits per second, if nothing else is said.
pub(super) const BAUD: u32 = 115_200;
/// How long a read waits for bytes.
const WAIT: Duration = Duration::from_millis(100);

/// Whether `path` is a terminal: what a serial port looks like.
#[cfg(unix)]
pub(super) fn is_port(path: &Path) -> bool {
    use std::io::IsTerminal;
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits().cast_signed();
    path.metadata().is_ok_and(|found| found.file_type().is_char_device())
        && std::fs::File::options().read(true).custom_flags(flags).open(path).is_ok_and(|file| file.is_terminal())
}

/// Whether `path` is the name of a serial port.
#[cfg(not(unix))]
pub(super) fn is_port(path: &Path) -> bool {
    path.to_str().is_some_and(|name| name.trim_start_matches(r"\\.\").to_ascii_uppercase().starts_with("COM"))
}

/// A port that is followed.
pub(super) struct Port {
    name: String,
    baud: u32,
    link: Option<Box<dyn SerialPort>>,
}

impl Port {
    /// Opens a port; one that is not there is waited for if `patient`.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn open(name: &str, baud: u32, patient: bool) -> std::io::Result<Self> {
        let port = Self { name: name.to_owned(), baud, link: None };
        match port.link() {
            Ok(link) => Ok(Self { link: Some(link), ..port }),
            Err(_) if patient && !Path::new(name).exists() => Ok(port),
            Err(e) => Err(e),
        }
    }

    fn link(&self) -> std::io::Result<Box<dyn SerialPort>> {
        Ok(serialport::new(&self.name, self.baud).timeout(WAIT).open()?)
    }

    /// Reads until nobody listens.
    pub(super) fn read(mut self, out: &Sender) {
        let mut buffer = vec![0; BLOCK];
        let (mut retry, mut gone) = (RETRY, false);
        loop {
            let Some(link) = &mut self.link else {
                match self.link() {
                    Ok(link) => {
                        self.link = Some(link);
                        retry = RETRY;
                        if gone && !out.say(News::Event("connected", format!("{} is back", self.name))) {
                            return;
                        }
                    }
                    Err(_) => {
                        if !std::mem::replace(&mut gone, true)
                            && !out.say(News::Event("disconnected", format!("{} is not there", self.name)))
                        {
                            return;
                        }
                        std::thread::sleep(retry);
                        retry = (2 * retry).min(PATIENCE);
                    }
                }
                continue;
            };
            match link.read(&mut buffer) {
                Ok(n) if n > 0 => {
                    gone = false;
                    if !out.say(News::Bytes(buffer[..n].to_vec(), None)) {
                        return;
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                ended => {
                    self.link = None;
                    let why = ended.err().map_or_else(|| "it ended".to_owned(), |e| e.to_string());
                    // A port that opens and fails at once is told once too.
                    if !std::mem::replace(&mut gone, true)
                        && !out.say(News::Event("disconnected", format!("{}: {why}", self.name)))
                    {
                        return;
                    }
                    std::thread::sleep(retry);
                    retry = (2 * retry).min(PATIENCE);
                }
            }
        }
    }
}
