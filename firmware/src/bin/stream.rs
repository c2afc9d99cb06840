//! Scores a stream from the serial line and sends a record for every line of it.
//!
//! Messages by default, with flow control by credit; the feature `text` sends text for people and XON/XOFF. Both are
//! described in `mambabyte_core::record`.
//!
//! With the feature `snapshots` it saves itself in flash every `FW_EVERY` bytes, between the bytes of the stream, and
//! resumes at the newest snapshot when it starts; the first message says from which byte. Where the chip stands still
//! while a sector is erased, it first gives no more credit and waits until all that it gave has been used, so that no
//! byte can arrive during the erasure.
#![no_std]
#![no_main]

use mambabyte_core::record::{FRAME, Message, Record, Start, Status, TEXT, VERSION, encode};
use mambabyte_core::{Blob, Decoder, LineScorer, Threshold, surprise};
use mambabyte_firmware::port::{self, Losses, Port, RECEIVE};
use mambabyte_firmware::{DIMS, MODEL, log, on_interrupt, stack, start};
use static_cell::ConstStaticCell;

#[cfg(feature = "snapshots")]
use mambabyte_core::flash::{FlashError, Progress, STREAM, Slots, load_stream, save_stream};
#[cfg(feature = "snapshots")]
use mambabyte_core::snapshot::Sections;
#[cfg(feature = "snapshots")]
use mambabyte_firmware::flash::{EVERY, Flash, STALLS};

#[cfg(feature = "snapshots")]
const _: () = assert!(
    !(STALLS && cfg!(feature = "text")),
    "this chip stands still while it erases flash, and text for people has no credit to hold the sender off with"
);

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
    /// No credit is given for now.
    hold: bool,
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

    /// Says from which byte the stream is wanted.
    fn start(&mut self, blob: &Blob<'_>, position: u64) {
        self.echoed = position;
        if cfg!(feature = "text") {
            self.port.write(b"\r\n# mambabyte ");
            self.port.write(blob.name().as_bytes());
            self.port.write(b": position, bits per byte, ! if surprising, bytes lost\r\n");
            if position > 0 {
                let _ = core::fmt::Write::write_fmt(&mut self.port, format_args!("# from byte {position}\r\n"));
            }
            return;
        }
        self.credit = self.port.credit();
        let fingerprint = blob.fingerprint();
        self.port.write(&[0]);
        self.message(&Message::Start(Start { version: VERSION, fingerprint, position, credit: self.credit }));
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
        self.grant(CREDIT);
    }

    /// Tells the other end what it may send, if that is at least `least` bytes more than it knows.
    fn grant(&mut self, least: u64) {
        let credit = self.port.credit();
        if !self.hold && credit - self.credit >= least {
            self.credit = credit;
            self.message(&Message::Credit(credit));
        }
    }
}

/// Resumes at the newest snapshot; returns the pending byte and the number of records.
#[cfg(feature = "snapshots")]
#[inline(never)]
fn restore(slots: &mut Snapshots, decoder: &mut Model, scorer: &mut LineScorer) -> (u8, u32) {
    let mut saved = [0; STREAM];
    let found = slots.restore(decoder, &mut saved);
    let loaded = found.and_then(|position| match position {
        Some(_) => load_stream(&saved, scorer, None).map_err(FlashError::State),
        None => Ok((0, 0)),
    });
    match loaded {
        Ok(loaded) => loaded,
        Err(FlashError::State(_)) => panic!("the flash has snapshots of another model or format: erase them"),
        Err(_) => panic!("the flash cannot be read"),
    }
}

/// Does the next part of a snapshot, if it is time for one.
#[cfg(feature = "snapshots")]
#[inline(never)]
fn save(slots: &mut Snapshots, decoder: &Model, fed: u8, pending: u8, scorer: &LineScorer, sender: &mut Sender) {
    // After an overrun it is not known how much was sent: the erasure then does not wait for a quiet line, and what is
    // lost by it is counted.
    let quiet = !STALLS || sender.port.used_up(sender.credit) || sender.port.losses().overruns > 0;
    let records = sender.records;
    let done = slots.after_step(decoder.state(), fed, quiet, |out| save_stream(out, pending, records, scorer, None));
    let held = core::mem::replace(&mut sender.hold, done == Ok(Progress::WouldErase));
    if held && !sender.hold {
        // The other end has nothing left to send with.
        sender.grant(1);
    }
    match done {
        Ok(Progress::Complete) => log!("snapshot at byte {}", decoder.state().position()),
        Ok(_) => {}
        // The last complete one stays; the next attempt comes after as many bytes again.
        Err(_) => log!("no snapshot: the flash failed"),
    }
}

type Model = Decoder<'static, &'static mut [i16], &'static mut [i32]>;
#[cfg(feature = "snapshots")]
type Snapshots = Slots<Flash, STREAM>;

fn main() -> ! {
    stack::paint();
    // Plain texts for what cannot happen: with the errors' own words the program would be 10 KB longer.
    let Ok(blob) = Blob::parse(MODEL) else { panic!("the built-in model is damaged") };
    let state = STATE.take();
    let scratch = SCRATCH.take();
    let Ok(decoder) = Decoder::new(blob, &mut state[..], &mut scratch[..]) else { panic!("too little memory") };
    let mut decoder: Model = decoder;
    #[cfg(feature = "selftest")]
    mambabyte_firmware::golden::check(&mut decoder);
    let scorer = SCORER.take();
    // A zero byte is pending at first, as in training; the state has read all bytes but the pending one.
    #[cfg(not(feature = "snapshots"))]
    let (mut pending, records) = (0, 0);
    #[cfg(feature = "snapshots")]
    let mut slots = {
        // SAFETY: the only one.
        let flash = unsafe { Flash::take() };
        let Ok(slots) = Slots::new(flash, &blob, Sections::DEVICE, EVERY) else {
            panic!("the flash does not hold two snapshots")
        };
        slots
    };
    #[cfg(feature = "snapshots")]
    let (mut pending, records) = restore(&mut slots, &mut decoder, scorer);

    let port = Port::open(cfg!(feature = "text"));
    let mut sender = Sender { port, credit: 0, records, hold: false, echo: heapless::Vec::new(), echoed: 0 };
    log!("stream: {} bytes of model", MODEL.len());
    sender.start(&blob, decoder.state().position());

    loop {
        let byte = sender.port.read();
        let fed = pending;
        let bits = surprise(decoder.step(fed), byte);
        pending = byte;
        sender.read(byte);
        if let Some(score) = scorer.push(byte, bits) {
            let Losses { lost, overruns } = sender.port.losses();
            sender.record(&Record::new(&score, sender.records, lost, overruns));
        }
        #[cfg(feature = "snapshots")]
        save(&mut slots, &decoder, fed, pending, scorer, &mut sender);
    }
}
