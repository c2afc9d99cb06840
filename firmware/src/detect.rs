//! The detector of `FW_FALSE_ALARMS`: its share of false alarms and its memory.

use mambabyte_core::detect::{Detector, Rate};
use static_cell::ConstStaticCell;

use crate::net::Net;

/// The share of quiet lines that may be false alarms.
pub const RATE: Rate = match u32::from_str_radix(env!("FW_SHARE"), 10) {
    Ok(share) => Rate::of_share(share),
    Err(_) => panic!("FW_SHARE is no number"),
};

// Filled at compile time: what is filled at run time is on the stack first.
static DETECTOR: ConstStaticCell<Detector> = ConstStaticCell::new(Detector::new(RATE));

/// The detector at the beginning of a stream, once; it hears what `net` knows.
///
/// # Panics
/// The second time.
pub fn take(net: &Net) -> &'static mut Detector {
    let detector = DETECTOR.take();
    detector.set_unknown_text(net.unknown_text());
    detector
}
