//! Snapshots in flash through power cuts: on flash that keeps NOR's rules, tears words and half-erases sectors.
//!
//! Always: after a cut the newest complete snapshot is there, never a mix, and with the bytes since then the stream
//! continues bit for bit.

use mambabyte_core::adapt::{Adapter, Adapter4K, Adapter8K, AdapterError, Memory, Savable};
use mambabyte_core::flash::{FlashError, Layout, Progress, STREAM, Slots, load_stream, save_stream};
use mambabyte_core::lines::SAVED;
use mambabyte_core::snapshot::Sections;
use mambabyte_core::{Blob, Decoder, Dims, LineScorer, Rng, State, StateError, Threshold, surprise};
use mambabyte_host::align::AlignedBytes;
use mambabyte_tests::model_file;
use mambabyte_tests::nor::{Nor, NorError, OneSlot, Tear};
use mambabyte_tests::random_blob::{BlobSpec, random_blob};

use embedded_storage::nor_flash::NorFlash;

type Outcome<T> = Result<T, FlashError<NorError>>;

/// A device that scores a stream and saves itself, as `firmware/src/bin/stream.rs` does.
struct Device<'b, F, const N: usize = STREAM> {
    decoder: Decoder<'b, Vec<i16>, Vec<i32>>,
    scorer: LineScorer,
    pending: u8,
    records: u32,
    adapter: Option<AdapterOf>,
    slots: Slots<F, N>,
}

/// The sections of a device whose stream is adapted.
const ADAPTED: Sections = Sections::DEVICE.with_adapter(&Adapter4K::DESIGN);
const WITH_ADAPTER: usize = ADAPTED.beside_state();

type AdapterOf = Adapter<Box<Adapter4K>>;

fn savable(adapter: &mut Option<AdapterOf>) -> Option<&mut dyn Savable> {
    adapter.as_mut().map(|adapter| adapter as &mut dyn Savable)
}

impl<'b, F: NorFlash<Error = NorError>, const N: usize> Device<'b, F, N> {
    fn start(flash: F, blob: Blob<'b>, every: u32) -> Outcome<Self> {
        let sections = if N == WITH_ADAPTER { ADAPTED } else { Sections::DEVICE };
        let mut adapter = (N == WITH_ADAPTER).then(|| Adapter::new(Box::new(Adapter4K::ZERO), true));
        let mut slots = Slots::new(flash, &blob, sections, every)?;
        let mut decoder = Decoder::owned(blob);
        let mut saved = [0; N];
        let found = slots.restore(&mut decoder, &mut saved)?;
        let mut scorer = LineScorer::new(Threshold::Learned, 0);
        let (pending, records) = match found {
            Some(_) => load_stream(&saved, &mut scorer, savable(&mut adapter), None).map_err(FlashError::State)?,
            None => (0, 0),
        };
        assert_eq!(found.unwrap_or(0), decoder.state().position());
        Ok(Self { decoder, scorer, pending, records, adapter, slots })
    }

    fn position(&self) -> usize {
        self.decoder.state().position() as usize
    }

    fn read(&mut self, byte: u8) -> Outcome<Progress> {
        let fed = self.pending;
        let logits = self.decoder.step(fed);
        let bits = match &mut self.adapter {
            Some(adapter) => adapter.read(Some(logits), byte).surprise(),
            None => surprise(logits, byte),
        };
        self.pending = byte;
        self.records += self.scorer.push(byte, bits).is_some() as u32;
        let Self { decoder, scorer, pending, records, adapter, slots } = self;
        let save = |out: &mut [u8; N]| save_stream(out, *pending, *records, scorer, savable(adapter), None);
        slots.after_step(decoder.state(), fed, true, &mut [0; N], save)
    }

    /// Reads until a snapshot is complete.
    fn snapshot(&mut self, text: &[u8]) -> Outcome<usize> {
        while self.read(text[self.position()])? != Progress::Complete {}
        Ok(self.position())
    }

    fn moment(&mut self) -> Moment {
        let mut saved = [0; N];
        save_stream(&mut saved, self.pending, self.records, &self.scorer, savable(&mut self.adapter), None);
        (self.decoder.state().as_slice().to_vec(), saved.to_vec())
    }
}

/// Everything that a device carries.
type Moment = (Vec<i16>, Vec<u8>);

/// What a device that never lost power has at each position.
fn truth<const N: usize>(blob: Blob<'_>, text: &[u8]) -> Vec<Moment> {
    let flash = Nor::<4, 65536>::new(4, 0);
    let mut device = Device::<_, N>::start(flash, blob, u32::MAX).unwrap();
    let mut all = vec![device.moment()];
    for &byte in text {
        assert_eq!(device.read(byte).unwrap(), Progress::Idle);
        all.push(device.moment());
    }
    all
}

fn pico() -> AlignedBytes {
    AlignedBytes::new(&std::fs::read(model_file("sensor-pico", "model.mbb")).unwrap())
}

fn shape(n_layer: usize, d_inner: usize, d_state: usize, d_conv: usize, tied_decays: bool) -> AlignedBytes {
    let small = BlobSpec::small(3);
    let dims = Dims { n_layer, d_inner, d_state, d_conv, tied_decays, ..small.dims };
    AlignedBytes::new(&random_blob(BlobSpec { dims, ..small }))
}

fn text() -> Vec<u8> {
    let mut text = std::fs::read(model_file("text", "gnss-sample.nmea")).unwrap();
    text.extend(std::fs::read(model_file("text", "golden-4096.txt")).unwrap());
    text
}

/// Sectors of two slots.
fn sectors<const SECTOR: usize>(blob: &Blob<'_>, beside: usize) -> usize {
    2 * Layout::new(blob.dims()).slot_bytes(beside).div_ceil(SECTOR)
}

/// Checks a device against the truth, lets it finish another snapshot, starts it again and checks once more.
fn goes_on<F: NorFlash<Error = NorError>, const N: usize>(
    mut device: Device<'_, F, N>,
    every: u32,
    text: &[u8],
    truth: &[Moment],
) {
    assert!(device.moment() == truth[device.position()], "the state at {} is another one", device.position());
    let blob = *device.decoder.blob();
    let at = device.snapshot(text).expect("flash that a cut has left must be usable");
    assert!(device.moment() == truth[at]);
    let mut again = Device::<_, N>::start(device.slots.into_flash(), blob, every).unwrap();
    assert_eq!(again.position(), at, "the snapshot after the cut");
    assert!(again.moment() == truth[at]);
}

/// Cuts at every operation of one snapshot, with every kind of tear; returns operations and how often the new snapshot
/// was found.
fn every_cut<const WORD: usize, const SECTOR: usize, const N: usize>(
    blob: Blob<'_>,
    every: u32,
    stride: usize,
    tears: &[Tear],
) -> (u64, u64) {
    let text = text();
    let truth = truth::<N>(blob, &text[..6 * every as usize + 200]);
    let flash = Nor::<WORD, SECTOR>::new(sectors::<SECTOR>(&blob, N), 1);
    let mut device = Device::<_, N>::start(flash, blob, every).unwrap();
    device.snapshot(&text).unwrap();
    let old = device.snapshot(&text).unwrap();
    let flash = device.slots.into_flash();
    let mut whole = Device::<_, N>::start(flash.clone(), blob, every).unwrap();
    assert_eq!(whole.position(), old);
    let new = whole.snapshot(&text).unwrap();
    let operations = whole.slots.flash().operations() - flash.operations();
    let mut found_new = 0;
    for at in (0..operations - 3).step_by(stride).chain(operations - 3..operations) {
        for &tear in tears {
            let mut flash = flash.clone();
            flash.cut_after(at, tear);
            let mut device = Device::<_, N>::start(flash, blob, every).unwrap();
            let cut = FlashError::Driver(NorError::Cut);
            assert_eq!(device.snapshot(&text), Err(cut), "cut at {at}");
            let mut flash = device.slots.into_flash();
            assert!(flash.is_dark());
            flash.power_on();
            let device = Device::<_, N>::start(flash, blob, every).unwrap();
            let position = device.position();
            assert!(position == old || position == new, "cut at {at}, {tear:?}: {position}, not {old} or {new}");
            if position == new {
                assert_eq!(at, operations - 1, "a snapshot was complete before its last word");
                found_new += 1;
            }
            goes_on(device, every, &text, &truth);
        }
    }
    (operations, found_new)
}

#[test]
fn every_cut_of_a_snapshot_leaves_the_newest_complete_one() {
    let model = pico();
    let blob = Blob::parse(model.as_slice()).unwrap();
    // Words of 4 bytes, sectors of 4 KiB: 2 erasures, then every word of the slot but the unused end of short pieces.
    let (operations, found_new) = every_cut::<4, 4096, STREAM>(blob, 40, 1, &[Tear::Bits, Tear::None]);
    assert_eq!(operations, 2 + 8 * (1 + 9 * 16 + 20 + 1) as u64);
    assert!(found_new <= 1);
}

#[test]
fn every_cut_with_every_tear_on_other_flash() {
    let model = shape(2, 16, 4, 4, false);
    let blob = Blob::parse(model.as_slice()).unwrap();
    assert_eq!(Layout::new(blob.dims()).pieces(), 2);
    // The last operation is found complete when all of it was done.
    let (_, found_new) = every_cut::<8, 256, STREAM>(blob, 16, 1, &Tear::EVERY);
    assert!((1..=4).contains(&found_new), "{found_new}");
    let (_, found_new) = every_cut::<32, 1024, STREAM>(blob, 16, 1, &Tear::EVERY);
    assert!((1..=4).contains(&found_new), "{found_new}");
    let model = shape(3, 256, 3, 3, true);
    let blob = Blob::parse(model.as_slice()).unwrap();
    assert!(Layout::new(blob.dims()).pieces() > 3);
    every_cut::<16, 2048, STREAM>(blob, 20, 1, &[Tear::Bits, Tear::All, Tear::Noise]);
}

/// An adapter is a section beside the state: cut anywhere, both come back from one instant.
#[test]
fn cuts_of_a_snapshot_with_an_adapter_leave_the_newest_complete_one() {
    let model = pico();
    let blob = Blob::parse(model.as_slice()).unwrap();
    let (operations, _) = every_cut::<4, 4096, WITH_ADAPTER>(blob, 40, 17, &[Tear::Bits]);
    assert!(operations > 8 * (1 + 9 * 16 + (WITH_ADAPTER / 32) as u64), "{operations}");
    let (_, found_new) = every_cut::<32, 1024, WITH_ADAPTER>(blob, 40, 1, &[Tear::All]);
    assert_eq!(found_new, 1, "the last operation, done whole");
    assert!(random_cuts::<8, 2048, WITH_ADAPTER>(blob, 40, 100, 3) > 10);
}

/// A program with another preset, or without, refuses by name what is in the flash, and leaves it there.
#[test]
fn another_adapter_in_flash_is_refused_by_name() {
    let model = pico();
    let blob = Blob::parse(model.as_slice()).unwrap();
    let text = text();
    let mut device = Device::<_, WITH_ADAPTER>::start(Nor::<4, 4096>::new(16, 9), blob, 60).unwrap();
    let at = device.snapshot(&text).unwrap();
    let flash = device.slots.into_flash();
    let refused = |error: FlashError<NorError>, word: &str| assert!(error.to_string().contains(word), "{error}");
    refused(Device::<_, STREAM>::start(flash.clone(), blob, 60).map(|_| ()).unwrap_err(), "4 (adapter)");
    const OTHER: Sections = Sections::DEVICE.with_adapter(&Adapter8K::DESIGN);
    let mut slots = Slots::<_, { OTHER.beside_state() }>::new(flash.clone(), &blob, OTHER, 60).unwrap();
    let error = slots.restore(&mut Decoder::owned(blob), &mut [0; OTHER.beside_state()]).unwrap_err();
    let (expected, found) = (Adapter8K::DESIGN.id, Adapter4K::DESIGN.id);
    assert_eq!(error, FlashError::State(StateError::Adapter(AdapterError::Preset { expected, found })));
    refused(error, "the saved adapter is 4K, 8K is read");
    assert_eq!(Device::<_, WITH_ADAPTER>::start(flash, blob, 60).unwrap().position(), at, "it is still there");
}

/// Without a model there is no state, and the adapter alone is saved and comes back.
#[test]
fn a_stream_without_a_model_comes_back() {
    let text = text();
    let start = || Adapter::new(Box::new(Adapter4K::ZERO), false);
    let every = 30;
    let mut flash = Nor::<4, 1024>::new(24, 5);
    let (mut truth, mut moments) = (start(), Vec::new());
    for &byte in &text[..2000] {
        let mut saved = vec![0; Adapter4K::DESIGN.saved_bytes()];
        truth.save(&mut saved).unwrap();
        moments.push(saved);
        truth.read(None, byte);
    }
    let mut found = 0;
    for cut in 0..60 {
        flash.power_on();
        let mut slots = Slots::<_, WITH_ADAPTER>::without_model(flash, ADAPTED, every).unwrap();
        let (mut state, mut adapter, mut saved) = (State::without_model(), start(), [0; WITH_ADAPTER]);
        let mut scorer = LineScorer::new(Threshold::Learned, 0);
        if let Some(position) = slots.restore_without_model(&mut saved).unwrap() {
            load_stream(&saved, &mut scorer, Some(&mut adapter), None).unwrap();
            state.count(position);
            found += 1;
        }
        let at = state.position() as usize;
        let mut now = vec![0; Adapter4K::DESIGN.saved_bytes()];
        adapter.save(&mut now).unwrap();
        assert!(now == moments[at], "cut {cut}: the adapter at {at} is another one");
        flash = slots.into_flash();
        flash.cut_after(200 * cut, Tear::Bits);
        slots = Slots::without_model(flash, ADAPTED, every).unwrap();
        slots.restore_without_model(&mut saved).unwrap();
        for &byte in &text[at..1990] {
            adapter.read(None, byte);
            state.count(1);
            let save = |out: &mut [u8; WITH_ADAPTER]| save_stream(out, byte, 0, &scorer, Some(&mut adapter), None);
            if slots.after_step(&state, byte, true, &mut [0; WITH_ADAPTER], save).is_err() {
                break;
            }
        }
        flash = slots.into_flash();
    }
    assert!(found > 30, "{found}");
    // A program with a model does not take it for its own.
    flash.power_on();
    let model = pico();
    let blob = Blob::parse(model.as_slice()).unwrap();
    let mut slots = Slots::<_, WITH_ADAPTER>::new(flash, &blob, ADAPTED, 60).unwrap();
    let refused = slots.restore(&mut Decoder::owned(blob), &mut [0; WITH_ADAPTER]).unwrap_err();
    assert!(matches!(refused, FlashError::State(StateError::ForeignModel { found: [0, ..], .. })), "{refused}");
}

/// A long stream with cuts at random operations. Returns how many cuts hit a snapshot.
fn random_cuts<const WORD: usize, const SECTOR: usize, const N: usize>(
    blob: Blob<'_>,
    every: u32,
    cuts: u32,
    seed: u64,
) -> u32 {
    let text = text();
    let truth = truth::<N>(blob, &text);
    let mut rng = Rng::new(seed);
    let mut flash = Nor::<WORD, SECTOR>::new(sectors::<SECTOR>(&blob, N), seed);
    let (mut complete, mut hits) = (0, 0);
    for cut in 0..cuts {
        flash.power_on();
        // Once in a while from the beginning, so that the text lasts.
        if complete > text.len() / 2 {
            let sections = if N == WITH_ADAPTER { ADAPTED } else { Sections::DEVICE };
            let mut slots = Slots::<_, N>::new(flash, &blob, sections, every).unwrap();
            slots.clear().unwrap();
            (flash, complete) = (slots.into_flash(), 0);
        }
        let mut device = Device::<_, N>::start(flash, blob, every).unwrap();
        let position = device.position();
        assert!(position == complete || position > complete && cut > 0, "cut {cut}: {complete} was complete");
        assert!(device.moment() == truth[position], "cut {cut}: the state at {position} is another one");
        complete = position;
        let mut flash_left = device.slots.into_flash();
        let tear = Tear::EVERY[rng.next_u64() as usize % 5];
        flash_left.cut_after(rng.next_u64() % (8192 / WORD as u64), tear);
        device = Device::start(flash_left, blob, every).unwrap();
        let limit = position + rng.next_u64() as usize % (4 * every as usize);
        while device.position() < limit {
            match device.read(text[device.position()]) {
                Ok(Progress::Complete) => complete = device.position(),
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error, FlashError::Driver(NorError::Cut));
                    hits += 1;
                    break;
                }
            }
        }
        flash = device.slots.into_flash();
    }
    hits
}

#[test]
fn a_stream_through_random_cuts_loses_nothing() {
    let model = pico();
    let blob = Blob::parse(model.as_slice()).unwrap();
    assert!(random_cuts::<4, 4096, STREAM>(blob, 40, 400, 7) > 100);
    let model = shape(3, 64, 8, 4, false);
    let blob = Blob::parse(model.as_slice()).unwrap();
    for seed in 0..4 {
        assert!(random_cuts::<1, 512, STREAM>(blob, 40, 150, seed) > 20);
        assert!(random_cuts::<8, 2048, STREAM>(blob, 24, 150, seed) > 20);
        assert!(random_cuts::<32, 16384, STREAM>(blob, 30, 150, seed) > 10);
    }
}

/// The same cuts must catch a store that writes over its only snapshot.
#[test]
fn a_store_with_one_slot_fails() {
    let model = pico();
    let blob = Blob::parse(model.as_slice()).unwrap();
    let (text, every) = (text(), 40);
    let slot = (sectors::<4096>(&blob, STREAM) / 2 * 4096) as u32;
    let flash = OneSlot { flash: Nor::<4, 4096>::new(sectors::<4096>(&blob, STREAM), 1), slot };
    let mut device = Device::<_, STREAM>::start(flash, blob, every).unwrap();
    let old = device.snapshot(&text).unwrap();
    let OneSlot { flash, .. } = device.slots.into_flash();
    let (mut lost, cuts) = (0, 100);
    for cut in 0..cuts {
        let mut flash = flash.clone();
        flash.cut_after(13 * cut, Tear::Bits);
        let mut device = Device::<_, STREAM>::start(OneSlot { flash, slot }, blob, every).unwrap();
        assert!(device.snapshot(&text).is_err());
        let OneSlot { mut flash, .. } = device.slots.into_flash();
        flash.power_on();
        let device = Device::<_, STREAM>::start(OneSlot { flash, slot }, blob, every).unwrap();
        lost += (device.position() < old) as u64;
    }
    assert_eq!(lost, cuts, "every cut after the first erasure began loses the only snapshot");
}

#[test]
fn snapshots_of_another_kind_are_refused_and_kept() {
    let (model, other) = (pico(), shape(1, 16, 2, 2, true));
    let (blob, other) = (Blob::parse(model.as_slice()).unwrap(), Blob::parse(other.as_slice()).unwrap());
    let text = text();
    let mut device = Device::<_, STREAM>::start(Nor::<4, 4096>::new(4, 9), blob, 40).unwrap();
    let at = device.snapshot(&text).unwrap();
    let flash = device.slots.into_flash();
    let foreign = StateError::ForeignModel { expected: other.fingerprint(), found: blob.fingerprint() };
    let refused = Device::<_, STREAM>::start(flash.clone(), other, 40).map(|_| ());
    assert_eq!(refused, Err(FlashError::State(foreign)));
    assert!(FlashError::<NorError>::State(foreign).to_string().contains("another model"));
    let mut slots = Slots::<_, STREAM>::new(flash.clone(), &other, Sections::DEVICE, 40).unwrap();
    let foreign = StateError::ForeignModel { expected: other.fingerprint(), found: blob.fingerprint() };
    let mut decoder = Decoder::owned(blob);
    assert_eq!(slots.restore(&mut decoder, &mut [0; STREAM]), Err(FlashError::State(foreign)), "another decoder");
    assert_eq!(Device::<_, STREAM>::start(flash.clone(), blob, 40).unwrap().position(), at, "it is still there");
    let mut slots = Slots::<_, STREAM>::new(flash, &other, Sections::DEVICE, 40).unwrap();
    slots.clear().unwrap();
    assert_eq!(Device::<_, STREAM>::start(slots.into_flash(), other, 40).unwrap().position(), 0);
}

#[test]
fn flash_that_does_not_fit_is_refused() {
    let model = pico();
    let blob = Blob::parse(model.as_slice()).unwrap();
    fn refusal<const W: usize, const S: usize>(blob: &Blob<'_>, sectors: usize, every: u32) -> &'static str {
        match Slots::<_, STREAM>::new(Nor::<W, S>::new(sectors, 0), blob, Sections::DEVICE, every) {
            Err(FlashError::Geometry { what, .. }) => what,
            _ => "taken",
        }
    }
    assert_eq!(refusal::<4, 4096>(&blob, 3, 40), "bytes of two slots");
    assert_eq!(refusal::<4, 4096>(&blob, 4, 40), "taken");
    assert_eq!(refusal::<64, 4096>(&blob, 4, 40), "bytes of a word");
    assert_eq!(refusal::<4, 48>(&blob, 4000, 4000), "bytes of a sector");
    // 2 sectors, 9 pieces, the caller's.
    assert_eq!(refusal::<4, 4096>(&blob, 4, 11), "bytes between snapshots");
    assert_eq!(refusal::<4, 4096>(&blob, 4, 12), "taken");
    let short = Slots::<_, 3>::new(Nor::<4, 4096>::new(4, 0), &blob, Sections::STREAM, 40).map(|_| ());
    let need = Sections::STREAM.beside_state();
    assert_eq!(short, Err(FlashError::Geometry { what: "bytes of the sections", need, have: 3 }));
}

/// Sections and versions that a program does not take are refused by name, and what is in the flash stays.
#[test]
fn other_sections_are_refused_by_name() {
    let model = pico();
    let blob = Blob::parse(model.as_slice()).unwrap();
    let text = text();
    let mut device = Device::<_, STREAM>::start(Nor::<4, 4096>::new(4, 9), blob, 40).unwrap();
    device.snapshot(&text).unwrap();
    let flash = device.slots.into_flash();
    // A program that keeps the state alone would drop the line scorer.
    let mut slots = Slots::<_, 0>::new(flash.clone(), &blob, Sections::STATE, 40).unwrap();
    let unwanted = FlashError::State(StateError::UnwantedSection { kind: 2 });
    assert_eq!(slots.restore(&mut Decoder::owned(blob), &mut []), Err(unwanted));
    // The other way round, one is missing.
    let mut slots = Slots::<_, 0>::new(Nor::<4, 4096>::new(4, 9), &blob, Sections::STATE, 40).unwrap();
    let mut decoder = Decoder::owned(blob);
    for &byte in &text {
        decoder.step(byte);
        if slots.after_step(decoder.state(), byte, true, &mut [], |_| ()).unwrap() == Progress::Complete {
            break;
        }
    }
    let missing = FlashError::State(StateError::MissingSection { kind: 2 });
    assert_eq!(Device::<_, STREAM>::start(slots.into_flash(), blob, 40).map(|_| ()), Err(missing));

    // The first block of the slot that was written: version, sections, blocks of their record; sealed again.
    let named = |edit: &dyn Fn(&mut [u8])| {
        let mut flash = flash.clone();
        let block = &mut flash.bytes_mut()[..32];
        assert_eq!(block[..8], *b"MBF\x1a\x02\x2e\x14\x00", "version 2; sections 1, 2, 3 and 5; 20 blocks");
        edit(block);
        let crc = crc32fast::hash(&block[..28]).to_le_bytes();
        block[28..].copy_from_slice(&crc);
        match Device::<_, STREAM>::start(flash, blob, 40).map(|device| device.position()) {
            Err(FlashError::State(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    type Damage<'d> = &'d dyn Fn(&mut [u8]);
    let cases: [(Damage<'_>, StateError, &str); 5] = [
        (&|b| b[4..8].copy_from_slice(&[1, 0, 68, 2]), StateError::UnsupportedVersion { found: 1 }, "version 2"),
        (&|b| b[4] = 3, StateError::UnsupportedVersion { found: 3 }, "snapshot version 3"),
        (&|b| b[5] |= 1 << 4, StateError::UnwantedSection { kind: 4 }, "adapter"),
        (&|b| b[5] &= !(1 << 3), StateError::MissingSection { kind: 3 }, "line scorer"),
        (&|b| b[6] += 1, StateError::Length { expected: 640, found: 672 }, "672"),
    ];
    for (edit, error, word) in cases {
        assert_eq!(named(edit), error);
        assert!(error.to_string().contains(word), "{error}");
    }

    // Inside the record: a section of a later version is named too, and the scorer stays what it was.
    let mut saved = [0; STREAM];
    save_stream(&mut saved, 7, 9, &LineScorer::new(Threshold::Learned, 5), None, None);
    let mut scorer = LineScorer::new(Threshold::Learned, 0);
    assert_eq!(load_stream(&saved, &mut scorer, None, None), Ok((7, 9)));
    let mut now = [0; SAVED];
    scorer.save(&mut now);
    assert_eq!(now[0], 5, "the start of its line");
    saved[9 + 2] = 2;
    saved[9 + 8] = 6;
    let error = StateError::UnsupportedSection { kind: 3, version: 2 };
    assert_eq!(load_stream(&saved, &mut scorer, None, None), Err(error));
    scorer.save(&mut now);
    assert_eq!(now[0], 5, "unchanged");
}

/// A detector goes on where it was, with the share and the bound of the program that loads it.
#[test]
fn a_detector_is_saved_beside_the_records() {
    use mambabyte_core::detect::{Detector, Rate};

    const SECTIONS: Sections = Sections::DEVICE.with_detector();
    let (mut adapter, mut scorer) =
        (Adapter::new(Box::new(Adapter4K::ZERO), false), LineScorer::new(Threshold::Learned, 0));
    let (mut unbroken, mut broken) = (Detector::new(Rate::ONE_PERCENT), Detector::new(Rate::ONE_PERCENT));
    let mut saved = [0; SECTIONS.beside_state()];
    for (n, &byte) in text().iter().take(6000).enumerate() {
        let bits = adapter.read(None, byte).surprise();
        scorer.push(byte, bits);
        if n % 700 == 650 {
            save_stream(&mut saved, byte, n as u32, &scorer, None, Some(&mut broken));
            broken = Detector::new(Rate::ONE_PERCENT);
            assert_eq!(load_stream(&saved, &mut scorer, None, Some(&mut broken)), Ok((byte, n as u32)));
        }
        assert_eq!(broken.push(byte, bits, None), unbroken.push(byte, bits, None), "byte {n}");
    }
    let mut other = Detector::new(Rate::LEAST);
    load_stream(&saved, &mut scorer, None, Some(&mut other)).unwrap();
    assert_eq!(other.rate(), Rate::LEAST);
    // One that no detector wrote is refused, and nothing is taken.
    let at = STREAM + 8;
    saved[at] = 9;
    let (mut before, mut after) = ([0; mambabyte_core::detect::SAVED], [0; mambabyte_core::detect::SAVED]);
    other.save(&mut before);
    let error = load_stream(&saved, &mut scorer, None, Some(&mut other)).unwrap_err();
    assert!(matches!(error, StateError::Detector(_)), "{error}");
    other.save(&mut after);
    assert_eq!(before, after);
}

#[test]
fn worn_flash_is_noticed_and_damage_costs_one_snapshot() {
    let model = pico();
    let blob = Blob::parse(model.as_slice()).unwrap();
    let (text, every) = (text(), 40);
    let truth = truth::<STREAM>(blob, &text[..1000]);
    let mut device = Device::<_, STREAM>::start(Nor::<4, 4096>::new(4, 2), blob, every).unwrap();
    let first = device.snapshot(&text).unwrap();
    let second = device.snapshot(&text).unwrap();
    let flash = device.slots.into_flash();
    let slot = flash.bytes_len() / 2;
    let length = Layout::new(blob.dims()).slot_bytes(STREAM);

    // The newest is in the second slot. If any byte of it is damaged, the one before counts, and the device resumes
    // there.
    let mut rng = Rng::new(1);
    let mut passed_over = 0;
    for _ in 0..300 {
        let mut flash = flash.clone();
        flash.bytes_mut()[slot + rng.next_u64() as usize % length] ^= 1 << (rng.next_u64() % 8);
        let device = Device::<_, STREAM>::start(flash, blob, every).unwrap();
        passed_over += (device.position() == first) as u32;
        assert!(device.position() == first || device.position() == second);
        goes_on(device, every, &text, &truth);
    }
    assert!(passed_over > 250, "only filling and the unused end of short pieces are unprotected: {passed_over}");

    // A cell of the first slot, the next one to be written, cannot be erased any more.
    let mut worn = 0;
    for at in (0..length).step_by(97) {
        let mut flash = flash.clone();
        flash.stick(at);
        let mut device = Device::<_, STREAM>::start(flash, blob, every).unwrap();
        match device.snapshot(&text) {
            Err(FlashError::Worn { .. }) => worn += 1,
            Ok(_) => continue, // the bit is 0 in this snapshot too
            Err(error) => panic!("{error}"),
        }
        let mut device = Device::<_, STREAM>::start(device.slots.into_flash(), blob, every).unwrap();
        assert_eq!(device.position(), second, "the last good one stays");
        assert!(device.moment() == truth[second]);
    }
    assert!(worn > 10, "{worn}");
}

/// Each snapshot erases one slot's sectors once, the two slots alternately, and no word of a slot is written twice (the
/// mock refuses that). A caller that cannot bear an erasure now is not starved and starves nobody.
#[test]
fn wear_is_even_and_erasures_wait_for_a_quiet_moment() {
    let model = pico();
    let blob = Blob::parse(model.as_slice()).unwrap();
    let text = text();
    let mut device = Device::<_, STREAM>::start(Nor::<4, 1024>::new(12, 3), blob, 40).unwrap();
    for _ in 0..10 {
        device.snapshot(&text).unwrap();
    }
    assert_eq!(device.slots.flash().wear(), [5; 12]);

    let mut slots = Slots::<_, 0>::new(Nor::<4, 1024>::new(12, 3), &blob, Sections::STATE, 40).unwrap();
    let mut decoder = Decoder::owned(blob);
    let mut seen = Vec::new();
    for (step, &byte) in text.iter().enumerate().take(200) {
        decoder.step(byte);
        // The caller's word counts for erasures only.
        let progress = slots.after_step(decoder.state(), byte, (60..70).contains(&step), &mut [], |_| ()).unwrap();
        if seen.last() != Some(&progress) {
            seen.push(progress);
        }
    }
    use Progress::{Complete, Idle, Working, WouldErase};
    assert_eq!(seen, [Idle, WouldErase, Working, Complete, Idle, WouldErase]);
    let mut restored = Decoder::owned(blob);
    let at = slots.restore(&mut restored, &mut []).unwrap().unwrap();
    let mut again = Decoder::owned(blob);
    text[..at as usize].iter().for_each(|&byte| {
        again.step(byte);
    });
    assert!(restored.state().as_slice() == again.state().as_slice());
}
