//! Scores a stream from the serial line and sends a record for every line of it.
//!
//! Messages by default, with flow control by credit; the feature `text` sends text for people and XON/XOFF. Both are
//! described in `mambabyte_core::record`.
#![no_std]
#![no_main]

use mambabyte_core::record::{FRAME, Message, Record, Start, Status, TEXT, VERSION, encode};
use mambabyte_core::{Blob, Decoder, LineScorer, Threshold, surprise};
use mambabyte_firmware::port::{self, Losses, Port, RECEIVE};
use mambabyte_firmware::{DIMS, MODEL, log, on_interrupt, stack, start};
use static_cell::ConstStaticCell;

#[cfg(all(feature = "text", feature = "echo"))]
compile_error!("text for people has no place for an echo; choose one of the features text and echo");

// Filled at compile time: what is filled at run time is on the stack first.
static STATE: ConstStaticCell<[i16; DIMS.state_len()]> = ConstStaticCell::new([0; DIMS.state_len()]);
static SCRATCH: ConstStaticCell<[i32; DIMS.scratch_len()]> = ConstStaticCell::new([0; DIMS.scratch_len()]);
static SCORER: ConstStaticCell<LineScorer> = ConstStaticCell::new(LineScorer::new(Threshold::Learned, 0));

/// Bytes after which new credit is worth a message.
const CREDIT: u64 = RECEIVE as u64 / 4;
/// Lines between two messages about the device itself.
const STATUS: u32 = 64;

on_interrupt!(port::interrupted);
start!(main);

/// What is sent, and what has been sent.
struct Sender {
    port: Port,
    credit: u64,
    records: u32,
    echo: heapless::Vec<u8, TEXT>,
    echoed: u64,
}

impl Sender {
    fn message(&mut self, message: &Message<'_>) {
        let mut memory = [0; FRAME];
        // The memory is enough for every message.
        if let Ok(frame) = encode(message, &mut memory) {
            self.port.write(frame);
        }
    }

    fn start(&mut self, blob: &Blob<'_>) {
        if cfg!(feature = "text") {
            self.port.write(b"\r\n# mambabyte ");
            self.port.write(blob.name().as_bytes());
            self.port.write(b": position, bits per byte, ! if surprising, bytes lost\r\n");
            return;
        }
        self.credit = self.port.credit();
        let fingerprint = blob.fingerprint();
        self.port.write(&[0]);
        self.message(&Message::Start(Start { version: VERSION, fingerprint, position: 0, credit: self.credit }));
    }

    fn record(&mut self, record: &Record) {
        if cfg!(feature = "text") {
            let _ = core::fmt::Write::write_fmt(&mut self.port, format_args!("{record}\r\n"));
        } else {
            self.message(&Message::Line(*record));
        }
        self.records += 1;
        if self.records.is_multiple_of(STATUS) {
            self.status();
        }
    }

    fn status(&mut self) {
        let (used, watched) = stack::used();
        log!("stack {} of {} bytes, {} bytes waited", used, watched, self.port.most_waiting());
        if cfg!(feature = "text") {
            return;
        }
        self.message(&Message::Status(Status {
            stack_used: used as u32,
            stack_watched: watched as u32,
            waiting: self.port.most_waiting() as u32,
            capacity: RECEIVE as u32,
        }));
    }

    /// After every byte: credit, and the byte itself as a test of the line.
    fn read(&mut self, byte: u8) {
        if cfg!(feature = "text") {
            return;
        }
        if cfg!(feature = "echo") {
            let _ = self.echo.push(byte);
            if byte == b'\n' || self.echo.is_full() {
                let bytes = core::mem::take(&mut self.echo);
                self.message(&Message::Text(self.echoed, &bytes));
                self.echoed += bytes.len() as u64;
            }
        }
        let credit = self.port.credit();
        if credit - self.credit >= CREDIT {
            self.credit = credit;
            self.message(&Message::Credit(credit));
        }
    }
}

fn main() -> ! {
    stack::paint();
    // Plain texts for what cannot happen: with the errors' own words the program would be 10 KB longer.
    let Ok(blob) = Blob::parse(MODEL) else { panic!("the built-in model is damaged") };
    let state = STATE.take();
    let scratch = SCRATCH.take();
    let Ok(mut decoder) = Decoder::new(blob, &mut state[..], &mut scratch[..]) else { panic!("too little memory") };
    #[cfg(feature = "selftest")]
    mambabyte_firmware::golden::check(&mut decoder);
    let scorer = SCORER.take();

    let port = Port::open(cfg!(feature = "text"));
    let mut sender = Sender { port, credit: 0, records: 0, echo: heapless::Vec::new(), echoed: 0 };
    log!("stream: {} bytes of model", MODEL.len());
    sender.start(&blob);

    // A zero byte is pending at first, as in training; the state has read all bytes but the pending one.
    let mut pending = 0;
    loop {
        let byte = sender.port.read();
        let bits = surprise(decoder.step(pending), byte);
        pending = byte;
        sender.read(byte);
        if let Some(score) = scorer.push(byte, bits) {
            let Losses { lost, overruns } = sender.port.losses();
            sender.record(&Record::new(&score, sender.records, lost, overruns));
        }
    }
}
