//! Scores a stream from the serial line and sends a record for every line of it.
//!
//! A model reads it (`FW_MODEL`), an adapter learns from it (`FW_ADAPT`), or one of the two alone. Lines are flagged by the
//! surprise of both together; a record also has that of the net alone. With `FW_FALSE_ALARMS` a detector flags them, which
//! says with every line how rare it is and, now and then, what has become of the stream.
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

#[cfg(adapt)]
use mambabyte_core::adapt::Memory;
#[cfg(feature = "snapshots")]
use mambabyte_core::adapt::Savable;
#[cfg(any(alarms, feature = "snapshots"))]
use mambabyte_core::detect::Detector;
use mambabyte_core::record::{FRAME, Message, Record, Start, Status, TEXT, VERSION, encode};
#[cfg(alarms)]
use mambabyte_core::record::{LineVerdict, encode_detector, encode_verdict};
#[cfg(not(adapt))]
use mambabyte_core::surprise;
use mambabyte_core::{LineScorer, Threshold};
#[cfg(adapt)]
use mambabyte_firmware::adapt;
#[cfg(alarms)]
use mambabyte_firmware::detect;
use mambabyte_firmware::net::Net;
use mambabyte_firmware::port::{self, Losses, Port, RECEIVE};
use mambabyte_firmware::{log, on_interrupt, stack, start};
use static_cell::ConstStaticCell;

#[cfg(feature = "snapshots")]
use mambabyte_core::flash::{FlashError, Progress, Slots, load_stream, save_stream};
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
    fn start(&mut self, net: &Net) {
        let position = net.position();
        self.echoed = position;
        if cfg!(feature = "text") {
            self.port.write(b"\r\n# mambabyte ");
            self.port.write(net.name().as_bytes());
            #[cfg(adapt)]
            {
                self.port.write(b", adapter ");
                self.port.write(adapt::Preset::DESIGN.name.as_bytes());
            }
            self.port.write(b": position, bits per byte, ! if surprising, bytes lost\r\n");
            if position > 0 {
                let _ = core::fmt::Write::write_fmt(&mut self.port, format_args!("# from byte {position}\r\n"));
            }
            return;
        }
        self.credit = self.port.credit();
        let fingerprint = net.fingerprint();
        self.port.write(&[0]);
        self.message(&Message::Start(Start { version: VERSION, fingerprint, position, credit: self.credit }));
        #[cfg(adapt)]
        self.message(&Message::Adapter(adapt::Preset::DESIGN.id));
        #[cfg(alarms)]
        if let Ok(frame) = encode_detector(detect::RATE.share(), &mut [0; FRAME]) {
            self.port.write(frame);
        }
    }

    fn record(&mut self, record: &Record, #[cfg(alarms)] verdict: &LineVerdict) {
        if cfg!(feature = "text") {
            #[cfg(not(alarms))]
            let _ = core::fmt::Write::write_fmt(&mut self.port, format_args!("{record}\r\n"));
            #[cfg(alarms)]
            let _ = core::fmt::Write::write_fmt(&mut self.port, format_args!("{record}{verdict}\r\n"));
        } else {
            // Whoever gets the record then has its verdict.
            #[cfg(alarms)]
            if let Ok(frame) = encode_verdict(verdict, &mut [0; FRAME]) {
                self.port.write(frame);
            }
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

/// What the stream is read with.
struct Readers {
    net: Net,
    #[cfg(adapt)]
    adapter: adapt::Adapter,
    /// Sum of the net's own surprises over the line, Q16, where an adapter stands beside it and all of the line was read.
    of_net: Option<u64>,
    #[cfg(alarms)]
    detector: &'static mut Detector,
}

/// What a byte was worth in bits, Q16.
struct Worth {
    /// Under what reads: both together, or whichever there is.
    asked: u32,
    /// Under the net alone.
    #[cfg(alarms)]
    net: Option<u32>,
}

impl Readers {
    fn take() -> Self {
        let net = Net::take();
        Self {
            #[cfg(alarms)]
            detector: detect::take(&net),
            net,
            #[cfg(adapt)]
            adapter: adapt::take(Net::THERE),
            of_net: Self::BOTH,
        }
    }

    /// The sum at the beginning of a line.
    const BOTH: Option<u64> = if Net::THERE && cfg!(adapt) { Some(0) } else { None };

    /// Adapter and detector, to load them.
    #[cfg(feature = "snapshots")]
    fn learned(&mut self) -> (Option<&mut dyn Savable>, Option<&mut Detector>) {
        #[cfg(adapt)]
        let adapter: Option<&mut dyn Savable> = Some(&mut self.adapter);
        #[cfg(not(adapt))]
        let adapter = None;
        #[cfg(alarms)]
        return (adapter, Some(self.detector));
        #[cfg(not(alarms))]
        (adapter, None)
    }

    /// Reads the byte that was pending: what the next one, `byte`, was worth. The adapter learns it.
    fn read(&mut self, pending: u8, byte: u8) -> Worth {
        let logits = self.net.step(pending);
        #[cfg(adapt)]
        {
            let Some(logits) = logits else {
                return Worth {
                    asked: self.adapter.read(None, byte).surprise(),
                    #[cfg(alarms)]
                    net: None,
                };
            };
            let (alone, path) = self.adapter.read_beside(logits, byte);
            self.of_net = self.of_net.map(|sum| sum + u64::from(alone));
            Worth {
                asked: path.surprise(),
                #[cfg(alarms)]
                net: Some(alone),
            }
        }
        #[cfg(not(adapt))]
        {
            let alone = logits.map(|logits| surprise(logits, byte));
            Worth {
                asked: alone.unwrap_or(0),
                #[cfg(alarms)]
                net: alone,
            }
        }
    }
}

/// Resumes at the newest snapshot; returns the pending byte and the number of records.
#[cfg(feature = "snapshots")]
#[inline(never)]
fn restore(slots: &mut Snapshots, readers: &mut Readers, scorer: &mut LineScorer) -> (u8, u32) {
    let Snapshots { slots, beside } = slots;
    #[cfg(net)]
    let found = slots.restore(&mut readers.net.decoder, beside);
    #[cfg(not(net))]
    let found = slots.restore_without_model(beside);
    let loaded = found.and_then(|position| match position {
        Some(position) => {
            readers.net.resume(position);
            // What the net alone had of this line is not saved.
            readers.of_net = None;
            let (adapter, detector) = readers.learned();
            load_stream(beside, scorer, adapter, detector).map_err(FlashError::State)
        }
        None => Ok((0, 0)),
    });
    match loaded {
        Ok(loaded) => loaded,
        // Nobody who waits for records is helped by a device that stands still.
        Err(FlashError::State(_)) => {
            log!("the flash has snapshots of another model, adapter, detector or format: the stream begins anew");
            // If they cannot be erased now, they are written over in time.
            let _ = slots.clear();
            readers.net.reset();
            readers.of_net = Readers::BOTH;
            (0, 0)
        }
        Err(_) => panic!("the flash cannot be read"),
    }
}

/// Does the next part of a snapshot, if it is time for one.
#[cfg(feature = "snapshots")]
#[inline(never)]
fn save(slots: &mut Snapshots, readers: &mut Readers, fed: u8, pending: u8, scorer: &LineScorer, sender: &mut Sender) {
    // After an overrun it is not known how much was sent: the erasure then does not wait for a quiet line, and what is
    // lost by it is counted.
    let quiet = !STALLS || sender.port.used_up(sender.credit) || sender.port.losses().overruns > 0;
    let records = sender.records;
    #[cfg(adapt)]
    let adapter: Option<&mut dyn Savable> = Some(&mut readers.adapter);
    #[cfg(not(adapt))]
    let adapter = None;
    #[cfg(alarms)]
    let detector = Some(&mut *readers.detector);
    #[cfg(not(alarms))]
    let detector = None;
    let save = |out: &mut _| save_stream(out, pending, records, scorer, adapter, detector);
    let Snapshots { slots, beside } = slots;
    let done = slots.after_step(readers.net.state(), fed, quiet, beside, save);
    let held = core::mem::replace(&mut sender.hold, done == Ok(Progress::WouldErase));
    if held && !sender.hold {
        // The other end has nothing left to send with.
        sender.grant(1);
    }
    match done {
        Ok(Progress::Complete) => log!("snapshot at byte {}", readers.net.position()),
        Ok(_) => {}
        // The last complete one stays; the next attempt comes after as many bytes again.
        Err(_) => log!("no snapshot: the flash failed"),
    }
}

/// What a snapshot holds, and the bytes of it beside the state.
#[cfg(feature = "snapshots")]
const SECTIONS: Sections = {
    #[cfg(adapt)]
    let sections = Sections::DEVICE.with_adapter(&adapt::Preset::DESIGN);
    #[cfg(not(adapt))]
    let sections = Sections::DEVICE;
    if cfg!(alarms) { sections.with_detector() } else { sections }
};
#[cfg(feature = "snapshots")]
const BESIDE: usize = SECTIONS.beside_state();
// Those bytes too must fit, beside the reserve for the rest of the stack.
#[cfg(all(feature = "snapshots", adapt))]
const _: () = match adapt::LEFT.checked_sub(BESIDE) {
    #[cfg(net)]
    Some(left) => mambabyte_firmware::DIMS.assert_fits(left),
    #[cfg(not(net))]
    Some(_) => {}
    None => panic!("the snapshots of the adapter do not fit the board: FW_ADAPT takes a smaller preset, or off"),
};
#[cfg(feature = "snapshots")]
static MEMORY: ConstStaticCell<[u8; BESIDE]> = ConstStaticCell::new([0; BESIDE]);

/// The flash, and memory for what goes there beside the state when it is written and read.
#[cfg(feature = "snapshots")]
struct Snapshots {
    slots: Slots<Flash, BESIDE>,
    beside: &'static mut [u8; BESIDE],
}

fn main() -> ! {
    stack::paint();
    let mut readers = Readers::take();
    #[cfg(feature = "selftest")]
    readers.net.check();
    let scorer = SCORER.take();
    // A zero byte is pending at first, as in training; the state has read all bytes but the pending one.
    #[cfg(not(feature = "snapshots"))]
    let (mut pending, records) = (0, 0);
    #[cfg(feature = "snapshots")]
    let mut slots = {
        // SAFETY: the only one.
        let flash = unsafe { Flash::take() };
        #[cfg(net)]
        let slots = Slots::new(flash, readers.net.decoder.blob(), SECTIONS, EVERY);
        #[cfg(not(net))]
        let slots = Slots::without_model(flash, SECTIONS, EVERY);
        let Ok(slots) = slots else { panic!("the flash does not hold two snapshots") };
        Snapshots { slots, beside: MEMORY.take() }
    };
    #[cfg(feature = "snapshots")]
    let (mut pending, records) = restore(&mut slots, &mut readers, scorer);

    let port = Port::open(cfg!(feature = "text"));
    let mut sender = Sender { port, credit: 0, records, hold: false, echo: heapless::Vec::new(), echoed: 0 };
    log!("stream: {=str}", readers.net.name());
    sender.start(&readers.net);

    loop {
        let byte = sender.port.read();
        let fed = pending;
        let worth = readers.read(fed, byte);
        pending = byte;
        sender.read(byte);
        #[cfg(alarms)]
        let verdict = readers.detector.push(byte, worth.asked, worth.net);
        if let Some(score) = scorer.push(byte, worth.asked) {
            let Losses { lost, overruns } = sender.port.losses();
            let of_net = core::mem::replace(&mut readers.of_net, Readers::BOTH);
            let record = Record::new(&score, sender.records, lost, overruns, of_net);
            #[cfg(not(alarms))]
            sender.record(&record);
            // Both end lines at the same bytes.
            #[cfg(alarms)]
            if let Some(verdict) = verdict {
                let said = LineVerdict { sequence: sender.records, verdict };
                sender.record(&Record { flagged: verdict.alarm, ..record }, &said);
            }
        }
        #[cfg(feature = "snapshots")]
        save(&mut slots, &mut readers, fed, pending, scorer, &mut sender);
    }
}
