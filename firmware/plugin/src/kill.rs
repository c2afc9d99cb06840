//! Power cuts: ends QEMU before the Nth instruction after the first begin marker.
//!
//! Up to shortly before that, blocks are counted when they start, which is cheap. Then QEMU is made to translate
//! everything anew, and instructions are counted one by one.

use std::ffi::c_uint;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::decode::{Isa, Kind};
use crate::qemu::{Block, cut_power, qemu};

/// Instructions before the cut from which on they are counted one by one. QEMU has to leave its loop until then, which
/// it does at the next block.
const NEAR: u64 = 20_000;

struct Cut {
    at: u64,
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

/// Asks for a cut in place of instruction `at`.
pub(crate) fn arm(at: u64, out: Option<PathBuf>) {
    SINGLE.store(at <= NEAR, Relaxed);
    CUT.get_or_init(|| Cut { at, out });
}

/// Whether a cut was asked for.
pub(crate) fn active() -> bool {
    CUT.get().is_some()
}

/// Registers what has to be known of a block.
pub(crate) fn translate(block: &Block<'_>, isa: Isa) {
    let instructions = block.instructions();
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
        // Never a cut at another instruction than the one that was asked for.
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
