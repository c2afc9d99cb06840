//! Power cuts: ends QEMU before the Nth instruction after the first begin marker.
//!
//! Up to shortly before that, blocks are counted when they start, which is cheap. Then QEMU is made to translate
//! everything anew, and instructions are counted one by one.
//!
//! With a range of addresses, stores to it are counted instead of instructions, from the start of the program, and the
//! power goes after the Nth. What lies there does not change between two stores, so that a loop over N is every cut
//! that a program can see afterwards if nothing else outlives the cut.

use std::ffi::c_uint;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::decode::{Isa, Kind};
use crate::qemu::{Block, cut_power, qemu};

/// This near the cut, instructions are counted one by one. QEMU has to leave its loop by then, which it does at the
/// next block.
const NEAR: u64 = 20_000;

struct Cut {
    at: u64,
    stores: Option<Range<u64>>,
    out: Option<PathBuf>,
}

static CUT: OnceLock<Cut> = OnceLock::new();
/// The begin marker was passed.
static BEGUN: AtomicBool = AtomicBool::new(false);
/// Instructions since then. Only the thread of the virtual CPU writes it.
static EXECUTED: AtomicU64 = AtomicU64::new(0);
/// Instructions are counted one by one.
static SINGLE: AtomicBool = AtomicBool::new(false);
/// QEMU was asked to translate anew.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Asks for a cut instead of instruction `at`, or after store `at` to an address of `stores`.
pub(crate) fn arm(at: u64, stores: Option<Range<u64>>, out: Option<PathBuf>) {
    SINGLE.store(at <= NEAR, Relaxed);
    CUT.get_or_init(|| Cut { at, stores, out });
}

/// Whether a cut was asked for.
pub(crate) fn active() -> bool {
    CUT.get().is_some()
}

/// Registers what has to be known of a block.
pub(crate) fn translate(block: &Block<'_>, isa: Isa) {
    let instructions = block.instructions();
    if CUT.get().is_some_and(|cut| cut.stores.is_some()) {
        return instructions.iter().for_each(|instruction| instruction.on_store(stored));
    }
    let kinds: Vec<Kind> = instructions.iter().map(|i| isa.decode(i.bytes).1).collect();
    let marked = kinds.iter().any(|kind| matches!(kind, Kind::Begin | Kind::End));
    if !marked && !SINGLE.load(Relaxed) {
        return block.on_execution(passed, instructions.len());
    }
    for (instruction, kind) in instructions.iter().zip(kinds) {
        match kind {
            Kind::Begin => instruction.on_execution(begin, 0),
            Kind::End => {}
            Kind::Call | Kind::Other => instruction.on_execution(next, instruction.address as usize),
        }
    }
}

/// A store has been executed.
extern "C" fn stored(_vcpu: c_uint, kind: u32, address: u64, _number: usize) {
    let Some(cut) = CUT.get() else { return };
    let inside = cut.stores.as_ref().is_some_and(|range| range.contains(&address));
    if !inside || !qemu().is_some_and(|qemu| qemu.is_store(kind)) {
        return;
    }
    let executed = EXECUTED.load(Relaxed) + 1;
    EXECUTED.store(executed, Relaxed);
    if executed == cut.at {
        cut_power();
    }
}

/// The program has ended before the cut: says how many stores there were.
pub(crate) extern "C" fn finish(_id: u64, _data: usize) {
    if let Some(Cut { stores: Some(_), out: Some(file), .. }) = CUT.get()
        && let Err(error) = std::fs::write(file, format!("stores {}\n", EXECUTED.load(Relaxed)))
    {
        eprintln!("mambabyte-qemu-plugin: {}: {error}", file.display());
    }
}

extern "C" fn begin(_vcpu: c_uint, _number: usize) {
    BEGUN.store(true, Relaxed);
}

/// A block of `n` instructions starts.
extern "C" fn passed(_vcpu: c_uint, n: usize) {
    if !BEGUN.load(Relaxed) {
        return;
    }
    let (Some(cut), executed) = (CUT.get(), EXECUTED.load(Relaxed) + n as u64) else { return };
    EXECUTED.store(executed, Relaxed);
    if executed + NEAR < cut.at {
        return;
    }
    if executed >= cut.at {
        // Never cut at an instruction other than the one that was asked for.
        eprintln!("mambabyte-qemu-plugin: QEMU did not translate anew within {NEAR} instructions");
        std::process::abort();
    }
    if !ASKED.swap(true, Relaxed) {
        SINGLE.store(true, Relaxed);
        if let Some(qemu) = qemu() {
            qemu.translate_anew();
        }
    }
}

/// The instruction at `address` starts.
extern "C" fn next(_vcpu: c_uint, address: usize) {
    if !BEGUN.load(Relaxed) {
        return;
    }
    let (Some(cut), executed) = (CUT.get(), EXECUTED.load(Relaxed) + 1) else { return };
    if executed == cut.at {
        if let Some(file) = &cut.out
            && let Err(error) = std::fs::write(file, format!("kill_at {}\naddress {address:#x}\n", cut.at))
        {
            eprintln!("mambabyte-qemu-plugin: {}: {error}", file.display());
        }
        cut_power();
    }
    EXECUTED.store(executed, Relaxed);
}
