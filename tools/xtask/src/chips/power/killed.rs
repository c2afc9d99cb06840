//! The program `stream` killed on its serial line.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use mambabyte_core::record::{Message, Record};
use mambabyte_core::{Blob, Rng};

use super::rig::Rig;
use crate::chips::line;

/// The program `stream`, killed at moments that nobody chose, each time started again and sent the text from the byte
/// that it asks for. Every record must be one that this machine has, and all of them must have come.
pub(super) fn streamed(root: &Path, rig: &Rig<'_>, elf: &Path, blob: Blob<'_>, kills: u64, seed: u64) -> Result<()> {
    let board = rig.board;
    let text = line::text(root, 6000 * (kills as usize + 1))?;
    let expected = line::expected(Some(blob), board.adapt, &text);
    let mut came = vec![false; expected.len()];
    let (mut rng, mut resumed, mut repeated) = (Rng::new(seed), 0, 0);
    rig.put(&[])?;
    for start in 0..=kills {
        let (_emulator, mut device) = line::start(board, elf, Some(&rig.image))?;
        let end = if start == kills { u64::MAX } else { 4500 + rng.next_u64() % 4000 };
        let (mut from, mut fed, mut wrong, mut first, mut last) = (None, 0, None, true, Instant::now());
        while came.iter().any(|&c| !c) && device.sent() < end {
            let moved = device.poll(|message| match *message {
                Message::Start(start) => {
                    from = Some(start.position);
                    fed = start.position as usize;
                }
                Message::Line(record) => match expected.get(record.sequence as usize) {
                    // The line in which a start goes on does not have what the net had of its first bytes.
                    Some(want) if *want == record || first && Record { net: None, ..*want } == record => {
                        first = false;
                        if let Some(came) = came.get_mut(record.sequence as usize) {
                            repeated += u64::from(std::mem::replace(came, true));
                        }
                    }
                    want => wrong = Some(format!("{record:?}, this machine has {want:?}")),
                },
                _ => {}
            })?;
            if moved {
                last = Instant::now();
            }
            ensure!(last.elapsed() < line::SILENCE, "{}: silent in start {start}", board.name);
            if let Some(wrong) = wrong {
                bail!("{}: start {start} from {from:?}: record {wrong}", board.name);
            }
            fed += device.feed(text.get(fed..).unwrap_or_default())?;
        }
        resumed += u64::from(from.is_some_and(|from| from > 0));
    }
    let missing = came.iter().filter(|&&c| !c).count();
    ensure!(missing == 0, "{}: {missing} records never came", board.name);
    ensure!(
        kills < 4 || resumed > kills / 2,
        "{}: only {resumed} of {kills} starts went on from a snapshot",
        board.name
    );
    println!(
        "{}: stream killed {kills} times on its serial line: {resumed} starts from a snapshot, {} records all equal, \
         {repeated} of them sent twice",
        board.name,
        expected.len()
    );
    Ok(())
}
