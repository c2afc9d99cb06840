//! Prints `docs/stream.svg`, the picture of the README: what `stream --color` writes to a terminal of the demonstration's
//! log, with one bit flipped.
//!
//! `cargo run --release -p mambabyte-tests --bin picture -- target/release/mambabyte > docs/stream.svg` asks that program.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use mambabyte::builtin::{DAMAGE, SAMPLE};

/// Width and height of a character cell, and cells in a row of the terminal.
const CELL: (f64, f64) = (8.4, 19.0);
const COLUMNS: usize = 110;
/// Lines before and after the damaged one.
const CONTEXT: usize = 5;
const TEXT: &str = "#e6e6e6";
const GROUND: &str = "#14161a";

/// How a terminal writes at the moment.
#[derive(Clone, Copy, Default)]
struct Pen {
    /// One of the 256 colours, behind the letter.
    ground: Option<u8>,
    reversed: bool,
}

impl Pen {
    /// Takes the numbers of a sequence that ends with `m`.
    fn take(&mut self, sequence: &str) {
        let numbers: Vec<u8> = sequence.split(';').map(|n| n.parse().expect("numbers of colours")).collect();
        match numbers[..] {
            [0] => *self = Self::default(),
            [1, 7] => self.reversed = true,
            [38, 5, 231, 48, 5, ground] => self.ground = Some(ground),
            _ => panic!("colours that this program does not know: {sequence}"),
        }
    }

    /// The colours of letter and ground.
    fn colors(self) -> (String, Option<String>) {
        match self {
            Self { reversed: true, .. } => (GROUND.into(), Some(TEXT.into())),
            Self { ground: Some(ground), .. } => ("#ffffff".into(), Some(shade(ground))),
            _ => (TEXT.into(), None),
        }
    }
}

/// One of the 6 x 6 x 6 colours of the 256, as a page writes it.
fn shade(color: u8) -> String {
    let levels = [0, 95, 135, 175, 215, 255];
    let at = usize::from(color.checked_sub(16).expect("one of the cube"));
    format!("#{:02x}{:02x}{:02x}", levels[at / 36], levels[at / 6 % 6], levels[at % 6])
}

/// A picture that grows.
struct Screen {
    body: String,
    row: usize,
}

impl Screen {
    /// Writes a line from the left; what is too long goes on in the next row.
    fn line(&mut self, line: &str) {
        let (mut pen, mut at) = (Pen::default(), 0);
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let end = sequence.find('m').expect("a sequence of colours");
                pen.take(&sequence[..end]);
                rest = &sequence[end + 1..];
                continue;
            }
            rest = &rest[c.len_utf8()..];
            self.cell(at, c, pen);
            at += 1;
        }
        self.row += at.div_ceil(COLUMNS).max(1);
    }

    fn cell(&mut self, at: usize, c: char, pen: Pen) {
        let (x, y) = (16.0 + (at % COLUMNS) as f64 * CELL.0, 34.0 + (self.row + at / COLUMNS) as f64 * CELL.1);
        let (letter, ground) = pen.colors();
        if let Some(ground) = ground {
            let (w, h) = CELL;
            let y = y - 14.0;
            // A little wider: no seam between two cells.
            let w = w + 0.5;
            let _ = writeln!(self.body, "<rect x='{x:.1}' y='{y:.1}' width='{w:.1}' height='{h}' fill='{ground}'/>");
        }
        let c = match c {
            ' ' => return,
            '<' => "&lt;".to_owned(),
            '&' => "&amp;".to_owned(),
            c => c.to_string(),
        };
        let fill = if letter == TEXT { String::new() } else { format!(" fill='{letter}'") };
        let _ = writeln!(self.body, "<text x='{x:.1}' y='{y:.1}'{fill}>{c}</text>");
    }
}

fn main() {
    let program = std::env::args_os().nth(1).expect("usage: picture PROGRAM > docs/stream.svg");
    let mut command = Command::new(program);
    command.args(["stream", "sensor-nano", "--color"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let text = DAMAGE.of(SAMPLE);
    let writer = std::thread::spawn(move || stdin.write_all(&text));
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("no panic").expect("the program reads its input");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let mut screen = Screen { body: String::new(), row: 0 };
    for (_, line) in shown.lines().enumerate().filter(|(number, _)| number.abs_diff(DAMAGE.line) <= CONTEXT) {
        screen.line(line);
    }
    screen.row += 1;
    screen.line(said.lines().find(|line| line.starts_with("colours")).expect("a legend"));
    let (width, height) = (32.0 + COLUMNS as f64 * CELL.0, 34.0 + screen.row as f64 * CELL.1);
    println!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0}' height='{height}' viewBox='0 0 {width:.0} {height}'>\n\
         <rect width='100%' height='100%' rx='8' fill='{GROUND}'/>\n\
         <g font-family='ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace' font-size='13.5' fill='{TEXT}' \
         xml:space='preserve'>\n{}</g></svg>",
        screen.body
    );
}
