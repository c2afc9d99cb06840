//! `stream`: inputs as they are: packed, in other encodings, with other line ends, of several lines, several at once.

mod common;

use std::fs;
use std::io::Write;

use common::{expect, line_records, pico, records, run, run_with, sample, text};
use serde_json::Value;

fn stream(more: &[&str], input: &[u8]) -> std::process::Output {
    run_with(&[&["stream", "none", "--json"], more].concat(), input)
}

/// What a record says of the bytes, but for their line end.
fn scores(records: &[Value]) -> Vec<[Value; 5]> {
    records.iter().map(|r| ["line", "bits_per_byte", "alarm", "rarity", "text"].map(|key| r[key].clone())).collect()
}

#[test]
fn packed_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let plain = fs::read(sample()).unwrap();
    let whole = scores(&line_records(&run(&["stream", "none", "--json", &sample()])));
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&plain).unwrap();
    let gz = gz.finish().unwrap();
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    xz.write_all(&plain).unwrap();
    let zst = |part: &[u8]| ruzstd::encoding::compress_to_vec(part, ruzstd::encoding::CompressionLevel::Fastest);
    let zst = [zst(&plain[..3000]), zst(&plain[3000..])].concat();
    for (name, bytes) in [("a.gz", &gz), ("b.xz", &xz.finish().unwrap()), ("c.zst", &zst)] {
        let file = text(dir.path().join(name));
        fs::write(&file, bytes).unwrap();
        assert_eq!(scores(&line_records(&run(&["stream", "none", "--json", &file]))), whole, "{name}");
        assert_eq!(scores(&line_records(&stream(&[], bytes))), whole, "{name} from a pipe");
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        expect(&run(&["stream", "none", &file]), 1, name);
    }
}

#[test]
fn lines_end_as_they_do() {
    let lf = fs::read(sample()).unwrap();
    let lf: Vec<u8> = lf.into_iter().filter(|&byte| byte != b'\r').collect();
    let with = |end: u8| lf.iter().map(|&byte| if byte == b'\n' { end } else { byte }).collect::<Vec<u8>>();
    let whole = scores(&line_records(&stream(&[], &lf)));
    // The model reads the same, whatever ends lines.
    let output = stream(&[], &with(b'\r'));
    assert_eq!(scores(&line_records(&output)), whole);
    assert!(records(&output).iter().any(|r| r["event"] == "line-ends" && r["line_ends"] == "cr"));
    assert_eq!(scores(&line_records(&stream(&["--delimiter", "\\0"], &with(0)))), whole);
    assert_eq!(scores(&line_records(&stream(&["--delimiter", ";"], &with(b';')))), whole);
    // The stream passes as it is.
    for more in [&[][..], &["--delimiter", "\\x1e"]] {
        let bytes = with(if more.is_empty() { b'\r' } else { 0x1e });
        assert_eq!(run_with(&[&["stream", "none"], more].concat(), &bytes).stdout, bytes);
    }
    let within = line_records(&stream(&["--delimiter", "\\0"], b"a\nb\0c\0"));
    assert_eq!((&within[0]["text"], &within[1]["text"]), (&"a\nb".into(), &"c".into()));
    expect(&stream(&["--delimiter", "ab"], b""), 2, "--delimiter");
}

#[test]
fn encodings_and_colours_become_text() {
    let lines: String = (0..90).map(|n| format!("{n} grün, {n} Öl\n")).collect();
    let whole = scores(&line_records(&stream(&[], lines.as_bytes())));
    let utf_16: Vec<u8> = std::iter::once(0xfeff).chain(lines.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(scores(&line_records(&stream(&["--encoding", "utf-16"], &utf_16))), whole);
    let said = records(&stream(&[], &utf_16));
    let encoding: Vec<&Value> = said.iter().filter(|r| r["event"] == "encoding").collect();
    assert!(encoding.len() == 1 && encoding[0]["encoding"] == "utf-16", "{said:?}");
    expect(&run_with(&["stream", "none"], &utf_16), 0, "--encoding utf-16");
    assert_eq!(run_with(&["stream", "none", "--encoding", "utf-16"], &utf_16).stdout, utf_16);
    let painted = lines.replace("grün", "\x1b[1;32mgrün\x1b[0m");
    assert_eq!(scores(&line_records(&stream(&["--strip-ansi"], painted.as_bytes()))), whole);
    assert_eq!(run_with(&["stream", "none", "--strip-ansi"], painted.as_bytes()).stdout, painted.as_bytes());
}

#[test]
fn a_record_of_several_lines_is_one() {
    let log = "1 error\n  at a\n  at b\n2 fine\n3 error\n\n  at c\n";
    let read = line_records(&stream(&["--record-start", r"^\d"], log.as_bytes()));
    let texts: Vec<&str> = read.iter().map(|r| r["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["1 error\n  at a\n  at b", "2 fine", "3 error\n\n  at c"]);
    assert_eq!(read.iter().map(|r| r["line"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(run_with(&["stream", "none", "--record-start", r"^\d"], log.as_bytes()).stdout, log.as_bytes());
    expect(&stream(&["--record-start", "("], b""), 2, "--record-start");
}

#[test]
fn several_inputs_are_read_as_if_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (sample(), text(dir.path().join("b")));
    fs::write(&b, (0..300).map(|n| format!("{n:04} ok {}\n", n * 7 % 13)).collect::<String>()).unwrap();
    let alone = |path: &str| scores(&line_records(&run(&["stream", &pico(), "--json", path])));
    let (first, second) = (format!("gps={a}"), format!("log={b}"));
    let both = ["stream", &pico(), "--json", "--input", &first, "--input", &second];
    let all = line_records(&run(&both));
    let of = |label: &str| -> Vec<Value> { all.iter().filter(|r| r["label"] == label).cloned().collect() };
    assert_eq!((scores(&of("gps")), scores(&of("log"))), (alone(&a), alone(&b)));
    // With a state, too: each stream goes on where it was.
    let state = text(dir.path().join("state"));
    let with = [&both[..], &["--state", &state]].concat();
    let lines = line_records(&run(&with)).len() as u64;
    let again = line_records(&run(&with));
    assert_eq!(again.iter().filter(|r| r["label"] == "log").map(|r| r["line"].as_u64().unwrap()).min(), Some(301));
    assert_eq!(again.len() as u64, lines);
    let one = run(&["stream", &pico(), "--json", "--state", &state, &a]);
    expect(&one, 0, "its stream gps is none of the inputs");
    expect(&run(&[&both[..], &["--input", "gps=x"]].concat()), 2, "two inputs of that label");
    expect(&run(&["stream", &pico(), "--input", "gps", &a]), 2, "--input");
    let missing = format!("x={}", text(dir.path().join("missing")));
    expect(&run(&["stream", &pico(), "--input", &missing]), 1, "missing");
}

#[test]
fn labelled_lines_are_streams_of_their_own() {
    let line = |n: usize, k: usize| format!("{n:04} s{k} {}\n", n * (k + 3) % 17);
    let mixed: String = (0..90).flat_map(|n| (0..7).map(move |k| format!("sensor {k}\t{}", line(n, k)))).collect();
    let all = line_records(&run_with(&["stream", &pico(), "--json", "--multiplex", "--adapt", "8K"], mixed.as_bytes()));
    assert_eq!(all.len(), 90 * 7);
    for k in [0, 6] {
        let alone: String = (0..90).map(|n| line(n, k)).collect();
        let alone = line_records(&run_with(&["stream", &pico(), "--json", "--adapt", "8K"], alone.as_bytes()));
        let label = format!("sensor {k}");
        let of: Vec<Value> = all.iter().filter(|r| r["label"] == *label).cloned().collect();
        assert_eq!(scores(&of), scores(&alone), "{k}");
    }
    // Stopped anywhere, all of them go on.
    let dir = tempfile::tempdir().unwrap();
    let state = text(dir.path().join("state"));
    let with = ["stream", &pico(), "--json", "--multiplex", "--adapt", "8K", "--state", &state];
    let at = mixed.match_indices('\n').nth(200).unwrap().0 + 1;
    let mut parts = line_records(&run_with(&with, &mixed.as_bytes()[..at]));
    parts.extend(line_records(&run_with(&with, &mixed.as_bytes()[at..])));
    assert_eq!(scores(&parts), scores(&all));
    // As text: label, tab, line. A line without label is one of an empty label.
    let plain = run_with(&["stream", "none", "--multiplex"], b"a\tone\nno label\n\x1b[1m\tx\n");
    assert_eq!(String::from_utf8_lossy(&plain.stdout), "a\tone\n\tno label\n\\u{1b}[1m\tx\n");
}
