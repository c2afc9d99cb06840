//! How much stack `stream` can need: from the program itself, and from a run of it.
//!
//! The bound is the deepest path through the calls of the program, and the deepest path of its interrupt on top of it.
//! The compiler says what each function takes (`-Z emit-stack-sizes`), the disassembly which function calls which. A
//! call through a pointer may reach every function whose address the program holds; one in assembly, of which the
//! compiler says nothing, only assembly that calls nothing (the loops of projections end in such functions). What only
//! a panic calls is left out, because it ends the program, and so is `core::fmt`, which only texts of panics use here.
//! Recursion would make the bound wrong, so the command fails on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use mambabyte_core::record::Status;
use mambabyte_host::adapt::Preset;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::boards::Adapt;
use super::line;
use super::program::{PROFILE, Program};
use super::select::What;
use super::snapshots;
use crate::models::{self, Model};
use crate::route::{Missing, Route};

/// RAM that a program may take beside the state of its model, its adapter and, for snapshots, a copy of the adapter.
const BUDGET: usize = 8 * 1024;
/// Text for the run: enough for every kind of line and for the first report of the board.
const BYTES: usize = 24_000;
/// What an exception puts on the stack, without and with registers of the FPU, and up to 4 bytes to align it.
const EXCEPTION: usize = 32 + 4;
const EXCEPTION_FPU: usize = 104 + 4;
/// Programs that disassemble for Cortex-M.
const OBJDUMP: [&str; 2] = ["arm-none-eabi-objdump", "llvm-objdump"];

/// A function: its name, its own frame, what it calls.
#[derive(Debug, Default)]
struct Function {
    name: String,
    end: u64,
    frame: Option<usize>,
    pushed: usize,
    calls: BTreeSet<u64>,
    indirect: bool,
}

impl Function {
    /// The compiler's word, else what the instructions show.
    fn frame(&self) -> usize {
        self.frame.unwrap_or(self.pushed)
    }

    /// Whether it runs only to end the program, or not at all (`core::fmt`, by its mangled name).
    fn ends_the_program(&self) -> bool {
        ["3fmt", "panic", "panic_fmt", "_fail", "rust_begin_unwind", "rustc_entry", "expect_failed", "unwrap_failed"]
            .iter()
            .any(|part| self.name.contains(part))
    }
}

/// Builds `stream` with the compiler's notes about stack.
fn build(root: &Path, program: &Program<'_>) -> Result<PathBuf> {
    let board = program.board;
    let route = Route::find(&board.target)?;
    let mut cargo = program.cargo(root, &route, "rustc", &models::file(root, program.model, "model.mbb"));
    let script = root.join("tools/xtask/stack-sizes.x");
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.args(["--", "-Zemit-stack-sizes", &format!("-Clink-arg=-T{}", script.display())]);
    ensure!(cargo.status().context("cargo could not be started")?.success(), "stream could not be built");
    Ok(route.output(root).join(&board.target).join(PROFILE).join("stream"))
}

/// The functions of a program by address, with their frames.
fn functions(file: &object::File<'_>) -> Result<BTreeMap<u64, Function>> {
    let mut all = BTreeMap::new();
    for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text && !s.name().unwrap_or("$").starts_with('$')) {
        let start = symbol.address() & !1;
        let name = symbol.name()?.to_owned();
        let function: &mut Function = all.entry(start).or_default();
        function.end = function.end.max(start + symbol.size());
        // One function may have several names; all of them count.
        function.name = if function.name.is_empty() { name } else { format!("{} {name}", function.name) };
    }
    let notes = file.section_by_name(".stack_sizes").context("the program has no notes about stack")?;
    let mut data = notes.data()?;
    while let Some((address, rest)) = data.split_first_chunk::<4>() {
        let (mut size, mut shift, mut used) = (0, 0, 0);
        for &byte in rest {
            size |= usize::from(byte & 0x7f) << shift;
            (shift, used) = (shift + 7, used + 1);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if let Some(function) = all.get_mut(&u64::from(u32::from_le_bytes(*address) & !1)) {
            function.frame = Some(size);
        }
        data = rest.get(used..).unwrap_or_default();
    }
    Ok(all)
}

/// The instructions as text.
fn disassemble(elf: &Path) -> Result<String> {
    for program in OBJDUMP {
        if let Ok(output) = Command::new(program).args(["-d", "--no-show-raw-insn"]).arg(elf).output() {
            ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
    }
    bail!(Missing(format!("one of {} (Debian: apt-get install binutils-arm-none-eabi)", OBJDUMP.join(", "))))
}

/// Adds to each function what it calls and, for those without a note, what it pushes. Returns whether the program uses
/// the FPU's registers.
fn read_instructions(text: &str, all: &mut BTreeMap<u64, Function>) -> bool {
    let starts: Vec<(u64, u64)> = all.iter().map(|(&start, f)| (start, f.end)).collect();
    let holder = |address: u64| -> Option<u64> {
        let at = starts.partition_point(|&(start, _)| start <= address).checked_sub(1)?;
        starts.get(at).filter(|&&(start, end)| address < end || address == start).map(|&(start, _)| start)
    };
    let mut fpu = false;
    for line in text.lines() {
        let Some((address, code)) = line.split_once(":\t") else { continue };
        let Ok(address) = u64::from_str_radix(address.trim(), 16) else { continue };
        let Some(here) = holder(address) else { continue };
        let mut words = code.split_whitespace();
        let (mnemonic, rest) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>().join(" "));
        fpu |= mnemonic.starts_with('v');
        let Some(function) = all.get_mut(&here) else { continue };
        let base = mnemonic.split('.').next().unwrap_or_default();
        let registers = || -> usize {
            let list = rest.split_once('{').map_or("", |(_, l)| l.trim_end_matches('}'));
            let number = |r: &str| r.trim().trim_start_matches(['r', 'd', 's']).parse::<usize>().unwrap_or(0);
            let count = |r: &str| r.split_once('-').map_or(1, |(a, b)| 1 + number(b).saturating_sub(number(a)));
            list.split(',').map(count).sum()
        };
        let immediate = || rest.rsplit_once('#').and_then(|(_, n)| n.trim_end_matches([']', '!']).parse::<i64>().ok());
        match base {
            "push" => function.pushed += 4 * registers(),
            "vpush" => function.pushed += 8 * registers(),
            "stmdb" if rest.starts_with("sp!") => function.pushed += 4 * registers(),
            "sub" | "subw" if rest.starts_with("sp,") => function.pushed += immediate().unwrap_or(0) as usize,
            "str" | "strd" if rest.ends_with("]!") && rest.contains("[sp, #-") => {
                function.pushed += immediate().unwrap_or(0).unsigned_abs() as usize;
            }
            "blx" => function.indirect = true,
            "bx" if rest != "lr" => function.indirect = true,
            _ => {}
        }
        let branch = base.starts_with('b') && !["bic", "bics", "bfi", "bfc", "bkpt", "bx", "blx"].contains(&base);
        if branch || base == "cbz" || base == "cbnz" {
            let target = rest.rsplit(", ").next().unwrap_or_default();
            let target = target.split_whitespace().next().unwrap_or_default().trim_start_matches("0x");
            if let Some(target) = u64::from_str_radix(target, 16).ok().and_then(holder)
                && target != here
            {
                function.calls.insert(target);
            }
        }
    }
    fpu
}

/// The functions whose address is in the program's data or among the constants of its code.
fn taken(file: &object::File<'_>, text: &str, all: &BTreeMap<u64, Function>) -> Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    let mut see = |word: u64| {
        if word & 1 == 1 && all.get(&(word - 1)).is_some_and(|f| !f.ends_the_program()) {
            found.insert(word - 1);
        }
    };
    for name in [".text", ".rodata", ".data"] {
        let Some(section) = file.section_by_name(name) else { continue };
        for word in section.data()?.chunks_exact(4) {
            see(word.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)));
        }
    }
    // Halves that are loaded one after the other.
    let mut low: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_once(":\t").map_or("", |(_, code)| code).split_whitespace();
        let (Some(mnemonic @ ("movw" | "movt")), Some(register), Some(value)) =
            (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let value = value.trim_start_matches('#').trim_end_matches(',').parse::<u64>().unwrap_or(0);
        if mnemonic == "movw" {
            // Without an upper half the address is below 64 KiB.
            see(value);
            low.insert(register, value);
        } else {
            see(value << 16 | low.get(register).copied().unwrap_or(0));
        }
    }
    Ok(found)
}

/// Bytes of the deepest path from `from`, and the path.
fn deepest(
    all: &BTreeMap<u64, Function>,
    taken: &BTreeSet<u64>,
    from: u64,
    path: &mut Vec<u64>,
) -> Result<(usize, Vec<u64>)> {
    let function = all.get(&from).with_context(|| format!("no function at {from:#x}"))?;
    if function.ends_the_program() {
        return Ok((0, Vec::new()));
    }
    ensure!(!path.contains(&from), "recursion: {}", function.name);
    path.push(from);
    let mut most = (0, Vec::new());
    let leaf = |at: &u64| all.get(at).is_some_and(|f| f.frame.is_none() && f.calls.is_empty() && !f.indirect);
    let pointed = taken.iter().filter(|at| function.indirect && (function.frame.is_some() || leaf(at)));
    for &callee in function.calls.iter().chain(pointed) {
        let below = deepest(all, taken, callee, path)?;
        if below.0 >= most.0 {
            most = below;
        }
    }
    path.pop();
    most.0 += function.frame();
    most.1.insert(0, from);
    Ok(most)
}

/// The bound, and the deepest path as text.
fn bound(elf: &Path, data: &[u8]) -> Result<(usize, String)> {
    let file = object::File::parse(data)?;
    let mut all = functions(&file)?;
    let text = disassemble(elf)?;
    let fpu = read_instructions(&text, &mut all);
    let mut taken = taken(&file, &text, &all)?;
    // The table of interrupts holds these; nothing calls them.
    taken.retain(|at| {
        all.get(at).is_some_and(|f| !["Reset", "Handler", "HardFault"].iter().any(|n| f.name.contains(n)))
    });
    let find = |name: &str| -> Result<u64> {
        let found = all.iter().find(|(_, f)| f.name.split(' ').any(|n| n == name));
        found.map(|(&at, _)| at).with_context(|| format!("the program has no function {name}"))
    };
    let exception = if fpu { EXCEPTION_FPU } else { EXCEPTION };
    let (program, path) = deepest(&all, &taken, find("Reset")?, &mut Vec::new())?;
    let (interrupt, interrupt_path) = deepest(&all, &taken, find("DefaultHandler")?, &mut Vec::new())?;
    let show = |path: &[u64]| -> String {
        let part = |at: &u64| all.get(at).map(|f| format!("\n    {:5} {}", f.frame(), f.name));
        path.iter().filter_map(part).collect()
    };
    let text =
        format!("  program {program}{}\n  interrupt {exception} + {interrupt}{}", show(&path), show(&interrupt_path));
    Ok((program + exception + interrupt, text))
}

/// Prints bound, run and RAM of every board; Cortex-M only.
///
/// # Errors
/// If a run takes more than the bound, or RAM beside the state more than the budget.
pub(crate) fn run(root: &Path, what: What) -> Result<()> {
    // Where the path is longest, and where RAM is shortest: a snapshot is put together beside the adapter that it holds.
    let off = Some(Adapt(None));
    let kinds: [(&[&str], _); 3] = [(&["echo"], None), (&["echo", "snapshots"], off), (&["echo", "snapshots"], None)];
    let pairs = what.of_job("stack", &["sensor-nano"])?;
    for ((board, model), (features, adapt)) in pairs.iter().flat_map(|pair| kinds.map(|kind| (pair, kind))) {
        if features.contains(&"snapshots") && !snapshots::has_flash(board) {
            continue;
        }
        ensure!(board.target.starts_with("thumb"), "{}: the instructions of Cortex-M only are understood", board.name);
        let program = Program::new(board, model, "stream").with_features(features).with_adapter(adapt);
        let elf = build(root, &program)?;
        let data = std::fs::read(&elf)?;
        let (bound, path) = bound(&elf, &data)?;
        let blob = Model::read(root, model)?;
        let dims = *blob.blob()?.dims();
        let Status { stack_used, stack_watched, .. } = line::echo(root, &program, &elf, BYTES)?;
        let file = object::File::parse(&*data)?;
        let size = |name: &str| file.section_by_name(name).map_or(0, |s| s.size() as usize);
        let statics = size(".data") + size(".bss") + size(".uninit");
        let adapter = program.adapt.0.map_or(0, Preset::bytes);
        let snapshots = features.contains(&"snapshots");
        let copy = program.adapt.0.filter(|_| snapshots).map_or(0, |preset| preset.design().saved_bytes());
        let beside = statics + bound - dims.state_bytes() - adapter - copy;
        println!(
            "{} {model} ({}, adapter {}): stack {stack_used} bytes used, at most {bound} possible\n{path}",
            board.name,
            features.join(","),
            program.adapt
        );
        println!(
            "  RAM: {statics} in statics + {bound} of stack = state {} + adapter {adapter} + its copy {copy} + {beside} (scratch {} among them), {BUDGET} allowed",
            dims.state_bytes(),
            dims.scratch_bytes()
        );
        ensure!(stack_used < stack_watched, "the watched part of the stack, {stack_watched} bytes, is used up");
        ensure!(stack_used as usize <= bound, "{stack_used} bytes of stack were used: the bound of {bound} is wrong");
        ensure!(beside <= BUDGET, "{beside} bytes of RAM beside state and adapter, {BUDGET} are allowed");
    }
    Ok(())
}
