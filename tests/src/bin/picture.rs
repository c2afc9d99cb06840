//! Prints `docs/stream.svg`, the picture of the README: the demonstration's stream as a terminal shows it.
//!
//! `cargo run --release -p mambabyte-tests --bin picture > docs/stream.svg`

use std::fmt::Write;

use mambabyte::builtin::{self, DAMAGE, SAMPLE};
use mambabyte::paint::bits;
use mambabyte_core::Threshold;
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::stream::{LineScores, Reader};

/// Width and height of a character cell.
const CELL: (f64, f64) = (8.4, 19.0);

/// The terminal's colours as a page writes them.
fn shade(surprise: u32) -> Option<&'static str> {
    match surprise >> 16 {
        0 => None,
        1 => Some("#00005f"),
        2 => Some("#000087"),
        3 => Some("#5f0087"),
        4 | 5 => Some("#870087"),
        6 | 7 => Some("#af005f"),
        8..=10 => Some("#d70000"),
        _ => Some("#ff0000"),
    }
}

fn main() {
    let engine = IntEngine::of(builtin::model().expect("built-in model"), Cpu::single());
    let mut reader = Reader::new(&engine, Threshold::Learned).expect("one stream");
    let (mut line, mut number, mut shown, mut body) = (Vec::new(), 0usize, 0usize, String::new());
    for byte in DAMAGE.of(SAMPLE) {
        let (cost, scores) = reader.read(byte).expect("on a CPU");
        line.push((byte, cost.asked()));
        let Some(LineScores { line: score, .. }) = scores else { continue };
        if number.abs_diff(DAMAGE.line) <= 5 {
            let y = 34.0 + shown as f64 * CELL.1;
            for (i, &(byte, surprise)) in line.iter().enumerate().filter(|(_, (b, _))| *b != b'\n') {
                let x = 92.0 + i as f64 * CELL.0;
                if let Some(color) = shade(surprise) {
                    let (w, h) = CELL;
                    let _ = writeln!(
                        body,
                        "<rect x='{x:.1}' y='{:.1}' width='{w}' height='{h}' fill='{color}'/>",
                        y - 14.0
                    );
                }
                let c = if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' };
                let c = match c {
                    '<' => "&lt;".to_owned(),
                    '&' => "&amp;".to_owned(),
                    c => c.to_string(),
                };
                let _ = writeln!(body, "<text x='{x:.1}' y='{y:.1}'>{c}</text>");
            }
            let flag = if score.flagged { "<tspan fill='#ff5f5f' font-weight='bold'> !</tspan>" } else { "" };
            let _ = writeln!(body, "<text x='16' y='{y:.1}' fill='#9aa'>{:.3}{flag}</text>", bits(score.mean()));
            shown += 1;
        }
        number += 1;
        line.clear();
    }
    let height = 34.0 + shown as f64 * CELL.1 + 34.0;
    for (i, (bits, label)) in
        [(1, "1"), (2, "2"), (3, "3"), (4, "4-5"), (6, "6-7"), (8, "8-10"), (11, "11+")].iter().enumerate()
    {
        let (x, y) = (92.0 + i as f64 * 62.0, height - 16.0);
        let color = shade(bits << 16).unwrap_or("none");
        let _ = writeln!(body, "<rect x='{x}' y='{:.1}' width='16' height='14' fill='{color}'/>", y - 11.0);
        let _ = writeln!(body, "<text x='{:.1}' y='{y:.1}' fill='#9aa'>{label}</text>", x + 21.0);
    }
    let _ = writeln!(body, "<text x='16' y='{:.1}' fill='#9aa'>bits</text>", height - 16.0);
    println!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='800' height='{height}' viewBox='0 0 800 {height}'>\n\
         <rect width='100%' height='100%' rx='8' fill='#14161a'/>\n\
         <g font-family='ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace' font-size='13.5' fill='#e6e6e6'>\n{body}</g></svg>"
    );
}
