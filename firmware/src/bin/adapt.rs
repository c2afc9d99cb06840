//! Reads the golden text with the adapter and prints the checksum of its node probabilities: the same on every machine.
//!
//! What the adapter does with a byte lies between the markers, for `cargo xtask firmware adapt --count`.
#![no_std]
#![no_main]

use mambabyte_core::adapt::Memory;
use mambabyte_firmware::adapt::{self, Preset};
use mambabyte_firmware::net::Net;
use mambabyte_firmware::{BOARD, GOLDEN_TEXT, marker, start};
use semihosting::{println, process};

start!(main);

fn main() -> ! {
    let mut net = Net::take();
    let mut adapter = adapt::take(Net::THERE);
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    let mut before = 0;
    for &byte in GOLDEN_TEXT {
        let logits = net.step(before);
        marker::begin();
        let path = adapter.read(logits, byte);
        marker::end();
        path.nodes.iter().for_each(|node| digest.update(&node.to_le_bytes()));
        before = byte;
    }
    println!("{BOARD}: {}, adapter {}, {} bytes", net.name(), Preset::DESIGN.name, size_of::<Preset>());
    println!("bytes {}", GOLDEN_TEXT.len());
    println!("checksum {:08x}", digest.finalize());
    process::exit(0)
}
