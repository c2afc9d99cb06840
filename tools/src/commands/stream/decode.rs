//! From the bytes of an input to the bytes that a model reads: encoding, escape sequences, line ends.
//!
//! The model reads every line with `\n` at its end. Where another byte ends lines, the two change places; a line end
//! within a record of several lines is a vertical tab to the model. The text and the bytes of the input stay beside it.

use regex::bytes::Regex;

use super::text::{Escapes, Units};

/// What a model reads for a line end within a record.
const WITHIN: u8 = 0x0b;
/// Longest line that is looked at for the start of a record.
const LONGEST_START: usize = 4096;
/// Bytes that show UTF-16.
const SNIFFED: u32 = 64;

/// How bytes are text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Encoding {
    /// Bytes as they are: ASCII, UTF-8, Latin-1.
    #[default]
    Bytes,
    /// UTF-16, its byte order by its mark, without one little-endian.
    #[value(name = "utf-16")]
    Utf16,
    /// Little-endian UTF-16.
    #[value(name = "utf-16le")]
    Utf16Le,
    /// Big-endian UTF-16.
    #[value(name = "utf-16be")]
    Utf16Be,
}

/// How an input is read.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    pub(super) encoding: Encoding,
    pub(super) strip_ansi: bool,
    /// The byte that ends lines; `None`: `\n`, or `\r` where that alone ends them.
    pub(super) delimiter: Option<u8>,
    /// Lines that begin a record.
    pub(super) record_start: Option<Regex>,
}

/// Something to say of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// It looks like UTF-16.
    Utf16,
    /// A carriage return alone ends lines.
    CrOnly,
}

/// Bytes that were decoded, one after the other.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// What the model reads.
    pub(super) view: Vec<u8>,
    /// What stands there, byte for byte.
    pub(super) text: Vec<u8>,
    /// The input's bytes.
    pub(super) raw: Vec<u8>,
    /// Where in `raw` each byte of `view` ends.
    pub(super) ends: Vec<usize>,
}

impl Decoded {
    fn push(&mut self, view: u8, text: u8, end: usize) {
        self.view.push(view);
        self.text.push(text);
        self.ends.push(end);
    }

    pub(super) fn clear(&mut self) {
        self.view.clear();
        self.text.clear();
        self.raw.clear();
        self.ends.clear();
    }
}

/// How lines end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Nobody knows yet; whether a carriage return waits for what comes after it.
    Open(bool),
    Lf,
    /// A carriage return; whether it was the last byte.
    Cr(bool),
    Byte(u8),
}

fn units(encoding: Encoding) -> Units {
    match encoding {
        Encoding::Utf16Be => Units::new(true, false),
        Encoding::Utf16Le => Units::new(false, false),
        Encoding::Utf16 | Encoding::Bytes => Units::new(false, true),
    }
}

/// Decodes one input.
#[derive(Debug)]
pub(super) struct Decoder {
    how: How,
    ends: Ends,
    escapes: Escapes,
    units: Units,
    /// Bytes looked at, zeros at even places and at odd ones.
    sniffed: [u32; 3],
    /// The line that may begin a record; `None` once that is known.
    line: Option<Vec<u8>>,
    /// The line end before it.
    held: bool,
    notice: Option<Notice>,
}

impl Decoder {
    pub(super) fn new(how: &How) -> Self {
        Self {
            ends: how
                .delimiter
                .map_or(Ends::Open(false), |byte| if byte == b'\n' { Ends::Lf } else { Ends::Byte(byte) }),
            escapes: Escapes::default(),
            units: units(how.encoding),
            sniffed: [0; 3],
            line: how.record_start.as_ref().map(|_| Vec::new()),
            held: false,
            notice: None,
            how: how.clone(),
        }
    }

    /// What there is to say, once.
    pub(super) const fn notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    /// Whether a line end waits for the line after it.
    pub(super) const fn holds(&self) -> bool {
        self.held
    }

    /// Decodes the next bytes; `out` is added to.
    pub(super) fn decode(&mut self, bytes: &[u8], out: &mut Decoded) {
        for &byte in bytes {
            out.raw.push(byte);
            match self.how.encoding {
                Encoding::Bytes => {
                    self.sniff(byte);
                    self.plain(byte, out);
                }
                _ => self.unit(byte, out),
            }
        }
    }

    /// The end of the input, or of a wait for more of it: what is held is let go.
    pub(super) fn release(&mut self, out: &mut Decoded) {
        if self.ends == Ends::Open(true) {
            // A lone line end at the end: what it ends is a line.
            self.ends = Ends::Open(false);
            let end = out.raw.len();
            self.records(b'\n', b'\r', end, out);
        }
        if self.line.as_ref().is_some_and(|line| !line.is_empty()) {
            self.begin_line(out);
        }
        if self.held {
            self.held = false;
            let end = out.raw.len();
            out.push(b'\n', b'\n', end);
            self.line = Some(Vec::new());
        }
    }

    /// The end of a message, which ends a line too; `open` if its last line has no end of its own.
    pub(super) fn end_message(&mut self, open: bool, out: &mut Decoded) {
        if open {
            out.push(b'\n', b'\n', out.raw.len());
        }
        // Half a unit, half an escape sequence and the byte order are those of one message.
        self.units = units(self.how.encoding);
        self.escapes = Escapes::default();
    }

    /// Whether it looks like UTF-16: half of the bytes of ASCII text are zero then.
    fn sniff(&mut self, byte: u8) {
        let [count, even, odd] = &mut self.sniffed;
        if *count >= SNIFFED {
            return;
        }
        if byte == 0 {
            *(if count.is_multiple_of(2) { &mut *even } else { &mut *odd }) += 1;
        }
        *count += 1;
        let found = |many: u32, few: u32| many >= 6 && many * 5 >= *count * 2 && few * 8 <= many;
        if *count >= 16 && (found(*even, *odd) || found(*odd, *even)) {
            self.notice = Some(Notice::Utf16);
            *count = SNIFFED;
        }
    }

    fn unit(&mut self, byte: u8, out: &mut Decoded) {
        for c in self.units.take(byte).into_iter().flatten() {
            let mut bytes = [0; 4];
            for &byte in c.encode_utf8(&mut bytes).as_bytes() {
                self.plain(byte, out);
            }
        }
    }

    fn plain(&mut self, byte: u8, out: &mut Decoded) {
        if self.how.strip_ansi && self.escapes.takes(byte) {
            return;
        }
        let end = out.raw.len();
        self.ends(byte, end, out);
    }

    fn ends(&mut self, byte: u8, end: usize, out: &mut Decoded) {
        let before = end.saturating_sub(1);
        match (self.ends, byte) {
            (Ends::Lf, _) => self.records(byte, byte, end, out),
            (Ends::Byte(delimiter), _) if byte == delimiter => self.records(b'\n', byte, end, out),
            (Ends::Byte(delimiter), b'\n') => self.records(delimiter, byte, end, out),
            (Ends::Byte(_), _) => self.records(byte, byte, end, out),
            (Ends::Open(waits), b'\n') => {
                self.ends = Ends::Lf;
                if waits {
                    self.records(b'\r', b'\r', before, out);
                }
                self.records(byte, byte, end, out);
            }
            (Ends::Open(false), b'\r') => self.ends = Ends::Open(true),
            (Ends::Open(true), b'\r') => self.records(byte, byte, before, out),
            (Ends::Open(true), _) => {
                self.ends = Ends::Cr(false);
                self.notice = self.notice.or(Some(Notice::CrOnly));
                self.records(b'\n', b'\r', before, out);
                self.records(byte, byte, end, out);
            }
            (Ends::Open(false), _) => self.records(byte, byte, end, out),
            (Ends::Cr(_), b'\r') => {
                self.ends = Ends::Cr(true);
                self.records(b'\n', byte, end, out);
            }
            (Ends::Cr(_), b'\n') => {
                self.ends = Ends::Lf;
                self.records(byte, byte, end, out);
            }
            (Ends::Cr(_), _) => {
                self.ends = Ends::Cr(false);
                self.records(byte, byte, end, out);
            }
        }
    }

    /// Line ends within records become others.
    fn records(&mut self, view: u8, text: u8, end: usize, out: &mut Decoded) {
        if self.how.record_start.is_none() {
            out.push(view, text, end);
            return;
        }
        if view == b'\n' {
            self.begin_line(out);
            // Of two line ends the first one is known to be within, or to end, when the line between them is.
            self.held = true;
            self.line = Some(Vec::new());
            return;
        }
        match &mut self.line {
            Some(line) => {
                line.push(view);
                if line.len() >= LONGEST_START {
                    self.begin_line(out);
                }
            }
            None => out.push(view, text, out.raw.len()),
        }
    }

    /// Now it has to be known whether the line begins a record.
    fn begin_line(&mut self, out: &mut Decoded) {
        let (Some(line), Some(start)) = (self.line.take(), &self.how.record_start) else { return };
        let end = out.raw.len();
        if std::mem::take(&mut self.held) {
            out.push(if start.is_match(&line) { b'\n' } else { WITHIN }, b'\n', end);
        }
        for byte in line {
            out.push(byte, byte, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `input` in pieces of every length.
    #[track_caller]
    fn reads(how: &How, input: &[u8], view: &[u8], text: &[u8]) {
        for size in [1, 2, 3, 7, input.len().max(1)] {
            let (mut decoder, mut all) = (Decoder::new(how), Decoded::default());
            let mut raw = Vec::<u8>::new();
            let mut out = Decoded::default();
            let mut take = |out: &mut Decoded| {
                let mut from = 0;
                for &end in &out.ends {
                    assert!(end >= from && end <= out.raw.len());
                    from = end;
                }
                all.view.extend(&out.view);
                all.text.extend(&out.text);
                raw.extend(&out.raw);
                out.clear();
            };
            for part in input.chunks(size) {
                decoder.decode(part, &mut out);
                take(&mut out);
            }
            decoder.release(&mut out);
            take(&mut out);
            assert_eq!(raw, input);
            assert_eq!(String::from_utf8_lossy(&all.view), String::from_utf8_lossy(view), "pieces of {size}");
            assert_eq!(String::from_utf8_lossy(&all.text), String::from_utf8_lossy(text), "pieces of {size}");
        }
    }

    #[test]
    fn lines_end_as_they_do() {
        let plain = How::default();
        for same in [&b"a\r\nb\r\n"[..], b"a\nb\rc\n", b"", b"abc", b"a\r\r\nb\n"] {
            reads(&plain, same, same, same);
        }
        reads(&plain, b"a\rb\rc\r", b"a\nb\nc\n", b"a\rb\rc\r");
        reads(&plain, b"a\r", b"a\n", b"a\r");
        reads(&plain, b"a\rb\r\nc\rd\n", b"a\nb\n\nc\rd\n", b"a\rb\r\nc\rd\n");
        let zero = How { delimiter: Some(0), ..How::default() };
        reads(&zero, b"a\nb\0c\0", b"a\0b\nc\n", b"a\nb\0c\0");
        let lf = How { delimiter: Some(b'\n'), ..How::default() };
        reads(&lf, b"a\rb\rc", b"a\rb\rc", b"a\rb\rc");
    }

    #[test]
    fn escapes_and_utf_16_become_text() {
        let strip = How { strip_ansi: true, ..How::default() };
        let input = b"\x1b[1;31mred\x1b[0m \x1b]52;c;xx\x07a\x1b]8;;u\x1b\\b\x1b(Bc\n";
        reads(&strip, input, b"red abc\n", b"red abc\n");
        reads(&strip, b"\x1b]never closed\nnext\n", b"\nnext\n", b"\nnext\n");
        let text = "Träne 🦀\r\nzwei\n";
        for big in [false, true] {
            let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
            let input: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect();
            let how = How { encoding: Encoding::Utf16, ..How::default() };
            reads(&how, &input, text.as_bytes(), text.as_bytes());
            let how = How { encoding: if big { Encoding::Utf16Be } else { Encoding::Utf16Le }, ..How::default() };
            reads(&how, &input, text.as_bytes(), text.as_bytes());
            let mut decoder = Decoder::new(&How::default());
            decoder.decode(
                &"plain ASCII text".encode_utf16().flat_map(bytes).collect::<Vec<u8>>(),
                &mut Decoded::default(),
            );
            assert_eq!(decoder.notice(), Some(Notice::Utf16));
        }
        let mut decoder = Decoder::new(&How::default());
        decoder.decode(b"\0\x01\x02\0\0\0\xb5\x62 some frames, some text\n\n\n", &mut Decoded::default());
        assert_eq!(decoder.notice(), None);
    }

    #[test]
    fn records_of_several_lines_are_one() {
        let how = How { record_start: Some(Regex::new(r"^\d+ ").unwrap()), ..How::default() };
        let input = b"1 one\n at a\n at b\n2 two\n\n3 three\n";
        let view = b"1 one\x0b at a\x0b at b\n2 two\x0b\n3 three\n";
        reads(&how, input, view, input);
        // A wait ends a record.
        let (mut decoder, mut out) = (Decoder::new(&how), Decoded::default());
        decoder.decode(b"1 one\n", &mut out);
        assert!(decoder.holds() && !out.view.contains(&b'\n'));
        decoder.release(&mut out);
        decoder.decode(b"2 two\n", &mut out);
        assert!(out.view.starts_with(b"1 one\n"));
    }
}
