//! What the demonstration promises: the damaged line is found.

use mambabyte::builtin::{self, DAMAGE, SAMPLE, damaged_sample};
use mambabyte_core::Threshold;
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::stream::Reader;

fn flagged(text: &[u8]) -> Vec<usize> {
    let engine = IntEngine::of(builtin::model().unwrap(), Cpu::single());
    let mut reader = Reader::new(&engine, Threshold::Learned).unwrap();
    let scores = text.iter().filter_map(|&byte| reader.read(byte).unwrap().1);
    let scores = scores.map(|scores| scores.line);
    scores.enumerate().filter(|(_, s)| s.flagged).map(|(i, _)| i).collect()
}

#[test]
fn the_damaged_line_is_flagged_and_the_clean_one_is_not() {
    assert!(flagged(&damaged_sample()).contains(&DAMAGE.0));
    assert!(!flagged(SAMPLE).contains(&DAMAGE.0));
}
