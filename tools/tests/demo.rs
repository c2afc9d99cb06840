//! What the demonstration promises: the damaged line is found.

use mambabyte::commands::demo::{DAMAGE, MODEL, SAMPLE, damaged_sample};
use mambabyte::commands::stream::Reader;
use mambabyte_core::{Blob, Threshold};

fn flagged(text: &[u8]) -> Vec<usize> {
    let mut reader = Reader::new(Blob::parse(MODEL).unwrap(), Threshold::Learned);
    let scores = text.iter().filter_map(|&byte| reader.read(byte).1);
    scores.enumerate().filter(|(_, s)| s.flagged).map(|(i, _)| i).collect()
}

#[test]
fn the_damaged_line_is_flagged_and_the_clean_one_is_not() {
    assert!(flagged(&damaged_sample()).contains(&DAMAGE.0));
    assert!(!flagged(SAMPLE).contains(&DAMAGE.0));
}
