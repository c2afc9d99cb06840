//! Texts that are packed: gzip, xz or Zstandard, which show by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Bytes that say what a file is.
const MAGIC: usize = 6;

/// What is in `source` if it is packed, else `source`; nothing more of it is read than is asked for.
///
/// # Errors
/// Those of `source`. A damaged file shows when it is read.
pub fn unpacking(mut source: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    while head.len() < MAGIC && may_be_packed(&head) {
        let mut buffer = [0; MAGIC];
        match source.read(&mut buffer[..MAGIC - head.len()]) {
            Ok(0) => break,
            Ok(n) => head.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let magic = head.clone();
    let whole = io::Cursor::new(head).chain(source);
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, 8, ..] => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(whole))),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(BufReader::new(whole), true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(Frames::Between(BufReader::new(whole))),
        _ => Box::new(whole),
    })
}

/// Whether a file that begins so can be a packed one.
fn may_be_packed(head: &[u8]) -> bool {
    let magics: [&[u8]; 3] = [&[0x1f, 0x8b, 8], &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]];
    magics.iter().any(|magic| head.len() < magic.len() && magic.starts_with(head))
}

/// What is in packed bytes, or the bytes.
///
/// # Errors
/// Of a damaged file.
pub fn unpacked(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    unpacking(io::Cursor::new(bytes))?.read_to_end(&mut out)?;
    Ok(out)
}

/// Frames of Zstandard, one after the other.
enum Frames<R: Read> {
    Between(BufReader<R>),
    In(Box<StreamingDecoder<BufReader<R>, FrameDecoder>>),
    Over,
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            *self = match std::mem::replace(self, Self::Over) {
                Self::Over => return Ok(0),
                Self::Between(mut source) => {
                    if source.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    Self::In(Box::new(StreamingDecoder::new(source).map_err(io::Error::other)?))
                }
                Self::In(mut frame) => match frame.read(out)? {
                    0 if !out.is_empty() => {
                        let (source, frame) = frame.into_parts();
                        let (told, found) = (frame.get_checksum_from_data(), frame.get_calculated_checksum());
                        if told.is_some() && told != found {
                            return Err(io::Error::other("the Zstandard frame is damaged: its checksum is another"));
                        }
                        Self::Between(source)
                    }
                    n => {
                        *self = Self::In(frame);
                        return Ok(n);
                    }
                },
            };
        }
    }
}
