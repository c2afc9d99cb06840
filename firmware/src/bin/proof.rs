//! A proof by linking: nothing that this program can reach panics. It is built and never run.
//!
//! The panic handler calls a function that is defined nowhere. If the optimiser leaves one path to a panic, the linker
//! says `undefined symbol: MAMBABYTE_HAS_A_REACHABLE_PANIC`. The optimiser knows nothing of the model, the lengths of
//! the memory and the bytes: each passes a `black_box`.
//!
//! `cargo xtask firmware proof` builds it for three kinds of cores, looks for calls of float and allocation functions
//! in it, and builds it with the features `proof-panic` and `proof-float` to see that both would be found.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use mambabyte_core::adapt::{Adapter, Adapter1M, Adapter8K, Memory};
use mambabyte_core::flash::{STREAM, Slots, load_stream, save_stream};
use mambabyte_core::lines::SAVED;
use mambabyte_core::snapshot::{Section, Sections, Snapshot};
use mambabyte_core::{
    Blob, Decoder, LineScorer, Logits, Rng, SampleOptions, StateError, Threshold, most_probable, probability, sample,
    surprise,
};
use mambabyte_firmware::{DIMS, MODEL, start};
use static_cell::StaticCell;

static STATE: StaticCell<[i16; DIMS.state_len()]> = StaticCell::new();
static SCRATCH: StaticCell<[i32; DIMS.scratch_len()]> = StaticCell::new();
static SNAPSHOT: StaticCell<[u8; Sections::STREAM.snapshot_bytes(&DIMS)]> = StaticCell::new();

start!(main);

fn main() -> ! {
    let state = STATE.try_init([0; DIMS.state_len()]);
    let scratch = SCRATCH.try_init([0; DIMS.scratch_len()]);
    let snapshot = SNAPSHOT.try_init([0; Sections::STREAM.snapshot_bytes(&DIMS)]);
    if let (Some(state), Some(scratch), Some(snapshot)) = (state, scratch, snapshot)
        && let Ok(blob) = Blob::parse(black_box(MODEL))
        && let Ok(mut decoder) = Decoder::new(blob, black_box(&mut state[..]), black_box(&mut scratch[..]))
    {
        black_box(blob.name());
        loop {
            let _ = black_box(use_all(&mut decoder, black_box(&mut snapshot[..])));
        }
    }
    loop {
        core::hint::spin_loop();
    }
}

/// Everything that a program does with a model.
#[inline(never)]
fn use_all(decoder: &mut Decoder<'_, &mut [i16], &mut [i32]>, snapshot: &mut [u8]) -> Result<(), StateError> {
    let mut scorer = LineScorer::load(Threshold::Learned, black_box(&[0; SAVED]));
    let options = SampleOptions { temperature: black_box(1), top_k: black_box(2), top_p: black_box(3) };
    let mut rng = Rng::new(black_box(4));
    black_box(decoder.prefill(black_box(b"some")));
    let byte = black_box(0);
    let logits = decoder.step(byte);
    let bits = surprise(logits, byte);
    black_box((most_probable(logits), probability(logits, byte), sample(logits, &options, &mut rng)));
    black_box(scorer.push(byte, bits).map(|score| score.mean()));
    black_box(scorer.finish());
    let mut saved = [0; SAVED];
    scorer.save(&mut saved);
    black_box(saved);
    black_box(decoder.state().position());
    let bytes = decoder.state().snapshot(snapshot)?;
    decoder.state_mut().restore(snapshot.get(..black_box(bytes)).unwrap_or(&[]))?;
    let mut beside = [Section::Pending(black_box(5)), Section::Lines(&scorer)];
    let bytes = decoder.state().snapshot_with(black_box(&mut beside), snapshot)?;
    let saved = Snapshot::parse(snapshot.get(..black_box(bytes)).unwrap_or(&[]), black_box(Sections::STREAM))?;
    decoder.state_mut().load(&saved)?;
    black_box((saved.pending()?, saved.records().is_ok()));
    scorer.restore(saved.lines()?);
    decoder.state_mut().reset();
    let logits = black_box(Some(decoder.step(byte)));
    // The one without bit histories, the one with all that there is.
    use_adapter::<Adapter8K>(logits);
    use_adapter::<Adapter1M>(logits);
    use_flash(decoder, &mut scorer);
    #[cfg(feature = "proof-panic")]
    black_box(b"an index that may be out of range"[black_box(1)]);
    #[cfg(feature = "proof-float")]
    black_box(black_box(1.5f32) * black_box(2.5));
    Ok(())
}

/// Everything that a program does with an adapter, in memory that the optimiser cannot know to be none.
#[inline(never)]
fn use_adapter<M: Memory>(logits: Option<&Logits>) {
    let Some(memory) = black_box(None::<&mut M>) else { return };
    let mut adapter = Adapter::new(memory, black_box(true));
    black_box(adapter.read(logits, black_box(1)).surprise());
    black_box(adapter.node(logits, black_box(1)));
    let mut reading = adapter.begin(logits);
    let one = black_box(reading.node()) > 1;
    reading.take(one);
    black_box(reading.finish());
    let mut mixed = [0; 256];
    adapter.distribution(logits, &mut mixed);
    black_box(mixed);
    let saved = black_box(&mut [][..]);
    black_box((adapter.save(saved).is_ok(), adapter.load(saved).is_ok()));
}

/// Flash of which the optimiser knows nothing but its geometry.
struct Unknown;

impl ErrorType for Unknown {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Unknown {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        black_box((offset, bytes));
        black_box(Ok(()))
    }

    fn capacity(&self) -> usize {
        black_box(1 << 20)
    }
}

impl NorFlash for Unknown {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        black_box((from, to));
        black_box(Ok(()))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        black_box((offset, bytes));
        black_box(Ok(()))
    }
}

/// Everything that a program does with snapshots in flash.
#[inline(never)]
fn use_flash(decoder: &mut Decoder<'_, &mut [i16], &mut [i32]>, scorer: &mut LineScorer) {
    let Ok(mut slots) = Slots::<_, STREAM>::new(Unknown, decoder.blob(), Sections::DEVICE, black_box(4096)) else {
        return;
    };
    let mut saved = [0; STREAM];
    if let Ok(Some(position)) = slots.restore(decoder, &mut saved) {
        black_box((position, load_stream(black_box(&saved), scorer, None, None).is_ok()));
    }
    let (fed, quiet) = (black_box(1), black_box(true));
    let save = |out: &mut _| save_stream(out, black_box(2), black_box(3), scorer, None, None);
    let _ = black_box(slots.after_step(decoder.state(), fed, quiet, &mut saved, save).is_ok());
    let _ = black_box(slots.clear().is_ok());
}

unsafe extern "C" {
    // SAFETY: never called: a program that could call it does not link.
    safe fn MAMBABYTE_HAS_A_REACHABLE_PANIC() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    MAMBABYTE_HAS_A_REACHABLE_PANIC()
}
