//! The serial line with its memory: interrupts fill one queue and empty another, the program does the reverse.
//!
//! Nothing is lost silently: a byte that finds its queue full is counted, and so is every loss that the hardware
//! reports. Between the two ends lie [`RECEIVE`] and [`SEND`] bytes.

use core::cell::Cell;

use critical_section::Mutex;
use heapless::spsc::{Consumer, Producer, Queue};
use mambabyte_core::record::{XOFF, XON};
use static_cell::ConstStaticCell;

use crate::interrupt;
use crate::uart::{Line, Uart};

/// Bytes that may wait to be read.
pub const RECEIVE: usize = 511;
/// Bytes that may wait to be sent.
pub const SEND: usize = 255;
/// From this many on, the other end is held back, if the line can do that.
const HIGH: usize = RECEIVE * 3 / 4;
/// Below this many it may send again.
const LOW: usize = RECEIVE / 4;

static RECEIVED: ConstStaticCell<Queue<u8, { RECEIVE + 1 }>> = ConstStaticCell::new(Queue::new());
static TO_SEND: ConstStaticCell<Queue<u8, { SEND + 1 }>> = ConstStaticCell::new(Queue::new());
static OTHER_END: Mutex<Cell<Option<Driver>>> = Mutex::new(Cell::new(None));

/// The interrupt's end of the queues.
struct Driver {
    line: Line,
    received: Producer<'static, u8>,
    to_send: Consumer<'static, u8>,
    /// Sent before everything else.
    urgent: Option<u8>,
    /// Whether XON and XOFF are sent.
    software: bool,
    held_back: bool,
    waiting: usize,
    lost: u32,
    overruns: u32,
}

impl Driver {
    /// Moves what can be moved. Called by the interrupt, and by the program when it has changed a queue.
    fn serve(&mut self) {
        self.line.acknowledge();
        while let Some(byte) = self.line.receive() {
            if self.received.enqueue(byte).is_err() {
                self.lost = self.lost.saturating_add(1);
            }
        }
        self.overruns = self.overruns.saturating_add(self.line.overruns());
        let waiting = self.received.len();
        self.waiting = self.waiting.max(waiting);
        if self.held_back && waiting < LOW || !self.held_back && waiting >= HIGH {
            self.held_back = !self.held_back;
            self.line.admit(!self.held_back);
            if self.software {
                self.urgent = Some(if self.held_back { XOFF } else { XON });
            }
        }
        loop {
            let more = self.urgent.is_some() || self.to_send.ready();
            if !more || !self.line.ready() {
                self.line.ask(more);
                return;
            }
            if let Some(byte) = self.urgent.take().or_else(|| self.to_send.dequeue()) {
                self.line.send(byte);
            }
        }
    }
}

/// What the interrupt calls.
pub fn interrupted() {
    driver(Driver::serve);
}

/// Runs `what` on the interrupt's end, if it is there.
fn driver<R: Default>(what: impl FnOnce(&mut Driver) -> R) -> R {
    critical_section::with(|token| {
        let cell = OTHER_END.borrow(token);
        let Some(mut driver) = cell.take() else { return R::default() };
        let result = what(&mut driver);
        cell.set(Some(driver));
        result
    })
}

/// Bytes that did not arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Bytes that found the memory full.
    pub lost: u32,
    /// Times that the hardware reported a loss, of at least one byte each.
    pub overruns: u32,
}

/// The program's end of the line.
pub struct Port {
    received: Consumer<'static, u8>,
    to_send: Producer<'static, u8>,
    taken: u64,
}

impl Port {
    /// Starts the line. The program holds back the other end by XON and XOFF if `software`, and by RTS where there is
    /// such a wire.
    ///
    /// # Panics
    /// The second time.
    pub fn open(software: bool) -> Self {
        let (fill, received) = RECEIVED.take().split();
        let (to_send, drain) = TO_SEND.take().split();
        // SAFETY: the only one: the queues, taken just before, exist once.
        let mut line = unsafe { Line::take() };
        line.start();
        let (urgent, held_back, waiting, lost, overruns) = (None, false, 0, 0, 0);
        let end = Driver { line, received: fill, to_send: drain, urgent, software, held_back, waiting, lost, overruns };
        critical_section::with(|token| OTHER_END.borrow(token).replace(Some(end)));
        interrupt::enable(Line::INTERRUPTS);
        Self { received, to_send, taken: 0 }
    }

    /// The next byte; sleeps until there is one.
    pub fn read(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.received.dequeue() {
                self.taken += 1;
                // Here the other end may have to be told that it may send again; at other counts there is nothing to
                // tell.
                if self.received.len() + 1 == LOW {
                    interrupted();
                }
                return byte;
            }
            interrupt::sleep_unless(|| self.received.ready());
        }
    }

    /// Sends bytes; sleeps while the memory for them is full.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            while self.to_send.enqueue(byte).is_err() {
                interrupted();
                interrupt::sleep_unless(|| self.to_send.ready());
            }
        }
        interrupted();
    }

    /// Bytes lost since the start.
    pub fn losses(&self) -> Losses {
        driver(|d| Losses { lost: d.lost, overruns: d.overruns })
    }

    /// Most bytes that have waited to be read.
    pub fn most_waiting(&self) -> usize {
        driver(|d| d.waiting)
    }

    /// Whether an end that had credit for `credit` bytes in all has sent them, so that nothing can arrive now.
    pub fn used_up(&self, credit: u64) -> bool {
        let Losses { lost, overruns } = self.losses();
        self.taken + self.received.len() as u64 + lost as u64 + overruns as u64 >= credit
    }

    /// Bytes that the other end may have sent in all: those taken or lost, and as many as there is memory for.
    pub fn credit(&self) -> u64 {
        let Losses { lost, overruns } = self.losses();
        self.taken + lost as u64 + overruns as u64 + RECEIVE as u64
    }
}

impl core::fmt::Write for Port {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}
