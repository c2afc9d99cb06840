//! Counts executions of blocks between the markers, for each call context, and writes them down at the end.

use std::collections::BTreeMap;
use std::ffi::c_uint;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::context::Contexts;
use crate::decode::{Isa, Kind};
use crate::qemu::Block;

/// Instructions that are executed together.
#[derive(Debug)]
struct Run {
    addresses: Vec<u64>,
    /// Begin or End if it is one marker.
    kind: Kind,
    /// The address after it if it ends with a call.
    call: Option<u64>,
    /// Executions by context.
    executions: Vec<u64>,
}

/// All that is counted.
#[derive(Debug)]
struct Counter {
    out: PathBuf,
    contexts: Contexts,
    runs: Vec<Run>,
    /// Between the markers.
    inside: bool,
    begun: bool,
    regions: u64,
    unbalanced: u64,
    since_begin: u64,
}

static COUNTER: OnceLock<Mutex<Counter>> = OnceLock::new();

/// Asks for counts in the file `out`.
pub(crate) fn arm(out: PathBuf) {
    COUNTER.get_or_init(|| Mutex::new(Counter::new(out)));
}

fn counter() -> Option<MutexGuard<'static, Counter>> {
    // A panic in a callback aborts QEMU, so that nobody sees a poisoned lock.
    COUNTER.get().map(|counter| counter.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Registers a block; one that holds a marker instruction by instruction.
pub(crate) fn translate(block: &Block<'_>, isa: Isa) {
    let Some(mut counter) = counter() else { return };
    let instructions = block.instructions();
    let decoded: Vec<_> = instructions.iter().map(|i| (i.address, isa.decode(i.bytes))).collect();
    if decoded.iter().any(|(_, (_, kind))| matches!(kind, Kind::Begin | Kind::End)) {
        for (instruction, one) in instructions.iter().zip(&decoded) {
            instruction.on_execution(executed, counter.add(std::slice::from_ref(one)));
        }
    } else {
        block.on_execution(executed, counter.add(&decoded));
    }
}

extern "C" fn executed(_vcpu: c_uint, number: usize) {
    if let Some(mut counter) = counter() {
        counter.execute(number);
    }
}

/// Writes the file.
pub(crate) extern "C" fn finish(_id: u64, _number: usize) {
    let Some(counter) = counter() else { return };
    if let Err(error) = write(&counter.out, &counter.report()) {
        eprintln!("mambabyte-qemu-plugin: {}: {error}", counter.out.display());
        std::process::abort();
    }
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, file)
}

impl Counter {
    fn new(out: PathBuf) -> Self {
        let (contexts, runs) = (Contexts::new(), Vec::new());
        Self { out, contexts, runs, inside: false, begun: false, regions: 0, unbalanced: 0, since_begin: 0 }
    }

    /// Adds instructions, each with its length and kind, and returns their number.
    fn add(&mut self, instructions: &[(u64, (u64, Kind))]) -> usize {
        let last = instructions.last();
        let call = last.filter(|(_, (_, kind))| *kind == Kind::Call).map(|(address, (length, _))| address + length);
        self.runs.push(Run {
            addresses: instructions.iter().map(|&(address, _)| address).collect(),
            kind: last.map_or(Kind::Other, |&(_, (_, kind))| kind),
            call,
            executions: Vec::new(),
        });
        self.runs.len() - 1
    }

    fn execute(&mut self, number: usize) {
        let Some(run) = self.runs.get_mut(number) else { return };
        match run.kind {
            Kind::Begin => (self.inside, self.begun) = (true, true),
            Kind::End if self.inside => {
                self.inside = false;
                self.regions += 1;
                self.unbalanced += u64::from(!self.contexts.leave());
            }
            Kind::End => {}
            Kind::Call | Kind::Other => {
                if self.begun {
                    self.since_begin += run.addresses.len() as u64;
                }
                if self.inside
                    && let Some(&address) = run.addresses.first()
                {
                    let context = self.contexts.enter(address, run.call);
                    if run.executions.len() <= context {
                        run.executions.resize(context + 1, 0);
                    }
                    run.executions[context] += 1;
                }
            }
        }
    }

    fn report(&self) -> String {
        // One address may be in several translations.
        let mut counts = BTreeMap::<(usize, u64), u64>::new();
        for run in &self.runs {
            for (context, &n) in run.executions.iter().enumerate().filter(|(_, n)| **n > 0) {
                for &address in &run.addresses {
                    *counts.entry((context, address)).or_default() += n;
                }
            }
        }
        let mut text = String::new();
        let instructions: u64 = counts.values().sum();
        // Writing to a String does not fail.
        let _ = writeln!(text, "regions {}\ninstructions {instructions}", self.regions);
        let _ = writeln!(text, "since_begin {}\nunbalanced {}", self.since_begin, self.unbalanced);
        for (number, context) in self.contexts.iter() {
            let _ = writeln!(text, "context {number} {} {:#x}", context.caller, context.returns_to);
        }
        for ((context, address), n) in counts {
            let _ = writeln!(text, "count {context} {address:#x} {n}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: (u64, Kind) = (2, Kind::Other);

    #[test]
    fn counts_between_the_markers() {
        let mut counter = Counter::new("unused".into());
        let before = counter.add(&[(0, OTHER)]);
        let begin = counter.add(&[(2, (2, Kind::Begin))]);
        let call = counter.add(&[(4, OTHER), (6, (4, Kind::Call))]);
        let function = counter.add(&[(100, OTHER), (102, OTHER), (104, OTHER)]);
        let again = counter.add(&[(104, OTHER)]);
        let back = counter.add(&[(10, OTHER)]);
        let end = counter.add(&[(12, (2, Kind::End))]);
        for run in [before, end, begin, call, function, again, again, back, end, before, end] {
            counter.execute(run);
        }
        assert_eq!(
            counter.report(),
            "regions 1\ninstructions 8\nsince_begin 9\nunbalanced 0\ncontext 1 0 0xa\n\
             count 0 0x4 1\ncount 0 0x6 1\ncount 0 0xa 1\ncount 1 0x64 1\ncount 1 0x66 1\ncount 1 0x68 3\n"
        );
    }

    #[test]
    fn an_end_deeper_in_calls_is_said() {
        let mut counter = Counter::new("unused".into());
        let begin = counter.add(&[(2, (2, Kind::Begin))]);
        let call = counter.add(&[(6, (4, Kind::Call))]);
        let function = counter.add(&[(100, OTHER)]);
        let end = counter.add(&[(102, (2, Kind::End))]);
        for run in [begin, call, function, end] {
            counter.execute(run);
        }
        assert!(counter.report().contains("unbalanced 1\n"));
    }
}
