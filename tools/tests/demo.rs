//! What the demonstration promises: the damaged line is found, and the log is learned.

use mambabyte::builtin::{DAMAGE, SAMPLE, UNSEEN, UNSEEN_DAMAGE};
use mambabyte::commands::demo::Read;

mod common;

use common::{line_records, run};

/// Lines that alarm by the model alone.
fn flagged(text: &[u8]) -> Vec<usize> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    let path = file.path().to_str().unwrap();
    let lines = line_records(&run(&["stream", "sensor-nano", path, "--adapt", "off", "--json"]));
    (0..).zip(lines).filter(|(_, line)| line["alarm"] == true).map(|(number, _)| number).collect()
}

#[test]
fn a_damaged_line_of_a_known_kind_is_flagged_and_the_clean_one_is_not() {
    assert!(flagged(&DAMAGE.of(SAMPLE)).contains(&DAMAGE.line));
    assert!(!flagged(SAMPLE).contains(&DAMAGE.line));
}

#[test]
fn a_damaged_line_of_an_unseen_kind_is_found_by_the_adapter() {
    let damage = UNSEEN_DAMAGE;
    let shown = |text: &[u8]| {
        let line = text.split(|&b| b == b'\n').nth(damage.line).unwrap().to_vec();
        String::from_utf8(line).unwrap()
    };
    assert!(shown(UNSEEN).starts_with("2014-03-09 ") && shown(&damage.of(UNSEEN)).starts_with("2014-03-01 "));
    let (clean, damaged) = (Read::all(UNSEEN).unwrap(), Read::all(&damage.of(UNSEEN)).unwrap());
    let flagged = |read: &Read| read.lines[damage.line].1.line.flagged;
    assert!(!flagged(&clean) && flagged(&damaged));
    let (net, both) = damaged.ranks(damage.line);
    assert!(both <= 3 && net > 100, "{net} {both}");
}
