//! Reads measurements with the adapter, or with the net alone, and has the detector judge each line: prints how many
//! lines alarm.
//!
//! What the detector does with a byte lies between the markers, for `cargo xtask firmware alarms --count`.
#![no_std]
#![no_main]

#[cfg(adapt)]
use mambabyte_core::adapt::Memory;
use mambabyte_core::detect::{Detector, Rate};
#[cfg(adapt)]
use mambabyte_firmware::adapt;
use mambabyte_firmware::net::Net;
use mambabyte_firmware::{BOARD, marker, start};
use semihosting::{println, process};
use static_cell::ConstStaticCell;

/// What is read.
static TEXT: &[u8] = include_bytes!("../../../models/text/request-latency.csv");

static DETECTOR: ConstStaticCell<Detector> = ConstStaticCell::new(Detector::new(Rate::ONE_PERCENT));

start!(main);

fn main() -> ! {
    let mut net = Net::take();
    #[cfg(adapt)]
    let mut adapter = adapt::take(Net::THERE);
    let detector = DETECTOR.take();
    detector.set_unknown_text(net.unknown_text());
    let (mut lines, mut odd, mut alarms, mut before) = (0, 0, 0, 0);
    for &byte in TEXT {
        let logits = net.step(before);
        let alone = logits.map(|logits| mambabyte_core::surprise(logits, byte));
        #[cfg(adapt)]
        let bits = adapter.read(logits, byte).surprise();
        #[cfg(not(adapt))]
        let bits = alone.unwrap_or(0);
        marker::begin();
        let verdict = detector.push(byte, bits, alone);
        marker::end();
        if let Some(verdict) = verdict {
            (lines, odd, alarms) = (lines + 1, odd + u32::from(verdict.odd), alarms + u32::from(verdict.alarm));
        }
        before = byte;
    }
    #[cfg(adapt)]
    println!("{BOARD}: {}, adapter {}", net.name(), adapt::Preset::DESIGN.name);
    println!("detector of {} bytes", size_of_val(detector));
    println!("bytes {}", TEXT.len());
    println!("lines {lines}");
    println!("odd {odd}, alarms {alarms}");
    process::exit(0)
}
