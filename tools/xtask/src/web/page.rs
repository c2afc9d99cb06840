//! The page: a list of files in memory, written to a folder or served from there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long a browser may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes of a request that are read.
const REQUEST: usize = 16 * 1024;

/// Names and contents, all that is ever served. A clone shares them until it is changed.
#[derive(Clone)]
pub(super) struct Page {
    files: Arc<Vec<(&'static str, Vec<u8>)>>,
}

impl Page {
    /// The page of `tools/web` with the module in the file `module`, a model and its texts.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn read(root: &Path, module: &Path) -> Result<Self> {
        let list: [(&'static str, PathBuf); 8] = [
            ("index.html", root.join("tools/web/index.html")),
            ("mambabyte.js", root.join("tools/web/mambabyte.js")),
            ("page.css", root.join("tools/web/page.css")),
            ("page.js", root.join("tools/web/page.js")),
            ("mambabyte.wasm", module.to_owned()),
            ("model.mbb", root.join("models/sensor-nano/model.mbb")),
            ("sample.txt", root.join("models/text/gnss-sample.nmea")),
            ("golden.txt", root.join("models/text/golden-4096.txt")),
        ];
        let read =
            |(name, from): (_, PathBuf)| Ok((name, std::fs::read(&from).with_context(|| from.display().to_string())?));
        Ok(Self { files: Arc::new(list.into_iter().map(read).collect::<Result<_>>()?) })
    }

    /// Writes every file into `folder`.
    ///
    /// # Errors
    /// If one cannot be written.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        for (name, body) in self.files.iter() {
            let to = folder.join(name);
            std::fs::write(&to, body).with_context(|| to.display().to_string())?;
        }
        Ok(())
    }

    /// The same page with other contents of the file `name`.
    pub(super) fn with(mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        if let Some((_, body)) = Arc::make_mut(&mut self.files).iter_mut().find(|(have, _)| *have == name) {
            change(body);
        }
        self
    }

    /// Serves it, one request a connection, until the program ends.
    pub(super) fn serve(&self, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let page = self.clone();
            // A browser that goes away is no error of ours.
            thread::spawn(move || page.answer(stream).unwrap_or_default());
        }
    }

    /// The file that a request asks for, and its kind.
    fn find(&self, request: &str) -> Option<(&'static str, &[u8])> {
        let mut words = request.split(' ');
        let path = (words.next() == Some("GET")).then(|| words.next())??.split('?').next()?.strip_prefix('/')?;
        let path = if path.is_empty() { "index.html" } else { path };
        let (name, body) = self.files.iter().find(|(name, _)| *name == path)?;
        let kind = match name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("wasm") => "application/wasm",
            _ => "application/octet-stream",
        };
        Some((kind, body))
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let (mut request, mut part) = (Vec::new(), [0; 1024]);
        while !request.windows(4).any(|w| w == b"\r\n\r\n") && request.len() < REQUEST {
            match stream.read(&mut part)? {
                0 => break,
                n => request.extend_from_slice(&part[..n]),
            }
        }
        let found = self.find(&String::from_utf8_lossy(&request));
        let (status, (kind, body)) = match found {
            Some(found) => ("200 OK", found),
            None => ("404 Not Found", ("text/plain", &b"not found\n"[..])),
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_list_is_served() {
        let page = Page { files: Arc::new(vec![("index.html", b"<p>".to_vec()), ("page.js", b"//".to_vec())]) };
        let asked = |path: &str| page.find(&format!("GET {path} HTTP/1.1\r\n\r\n")).map(|(_, body)| body.to_vec());
        assert_eq!((asked("/"), asked("/?sample")), (Some(b"<p>".to_vec()), Some(b"<p>".to_vec())));
        assert_eq!(asked("/page.js"), Some(b"//".to_vec()));
        for path in ["/Cargo.toml", "/../Cargo.toml", "//etc/passwd", "/%2e%2e/x", "/.", "page.js", "", "/page.js/"] {
            assert_eq!(asked(path), None, "{path}");
        }
        assert_eq!(page.find("POST / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(page.find(""), None);
    }
}
