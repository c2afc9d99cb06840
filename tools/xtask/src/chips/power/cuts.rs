//! Cuts of the power: at every store of one snapshot, and at random instructions of a long stream.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use mambabyte_core::Rng;

use super::rig::{EVERY, Rig};

/// Instructions between two random cuts at most.
const BETWEEN: u64 = 21_000_000;

/// Cuts at `points` stores; returns how many there were and what failed.
pub(super) fn sweep(rigs: &[Rig<'_>], points: u64) -> Result<(u64, u64, Vec<String>)> {
    let first = rigs.first().context("no emulator")?;
    let prepared = first.prepare()?;
    let stores = prepared.stores;
    let (count, next) = (points.clamp(2, stores + 1), AtomicU64::new(0));
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for rig in rigs {
            let (prepared, next, wrong) = (&prepared, &next, &wrong);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    if index >= count {
                        return;
                    }
                    // From before the first store to after the last.
                    let n = index * stores / (count - 1);
                    if let Err(error) = rig.cut(prepared, n)
                        && let Ok(mut wrong) = wrong.lock()
                    {
                        wrong.push(format!("cut after store {n} of {stores}: {error:#}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().map_err(|_| anyhow!("a thread has panicked"))?;
    Ok((count, stores, wrong))
}

/// `cuts` cuts at random instructions of streams of `length` bytes, one after the other; returns how many bytes were
/// scored for good.
pub(super) fn random(rig: &Rig<'_>, length: u64, cuts: u64, seed: u64) -> Result<u64> {
    let mut rng = Rng::new(seed);
    rig.put(&[])?;
    let (mut done, mut bytes, mut newest) = (0, 0, 0);
    while done < cuts {
        let at = 1 + rng.next_u64() % BETWEEN;
        // Once the stream has ended, it begins anew.
        let (killed, said) = rig.run(length, &format!("kill_at={at}"))?;
        if let Some((from, carried)) = said.restored {
            ensure!(Some(carried) == rig.truth.carried(from), "cut {done}: wrong state at {from}");
            ensure!(from >= newest, "cut {done}: lost: went on from {from}, {newest} was complete");
            newest = from;
        }
        if let Some((to, carried, heard)) = said.end {
            let right = Some(carried) == rig.truth.carried(to) && heard == rig.truth.heard(newest, to);
            ensure!(right, "cut {done}: wrong continuation from {newest} to {to}");
        }
        if !killed {
            rig.put(&[])?;
            (bytes, newest) = (bytes + length, 0);
            continue;
        }
        done += 1;
        if let Some(at) = rig.place.witness {
            let flash = rig.flash()?;
            let word = flash.get(at..at + 4).and_then(|w| w.try_into().ok()).context("no witness")?;
            let complete = u64::from(u32::from_le_bytes(word));
            ensure!(complete >= newest || newest - complete <= 2 * EVERY, "cut {done}: a witness of another run");
            newest = newest.max(complete);
        }
        let position = rig.recover(newest + EVERY / 2)?;
        ensure!(position >= newest, "cut {done}: lost: went on from {position}, {newest} was complete");
        newest = position;
    }
    // A good part of what is left without a cut.
    let end = length.min(newest + 2048);
    rig.recover(end)?;
    Ok(bytes + end)
}
