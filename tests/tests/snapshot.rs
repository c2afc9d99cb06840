//! Snapshots: their bytes, what is refused and under which name, and that a stream resumes as if it had never stopped.

use std::collections::BTreeSet;

use mambabyte_core::adapt::{Adapter, Adapter4K, Adapter8K, AdapterError, Memory};
use mambabyte_core::lines::SAVED;
use mambabyte_core::snapshot::{HEADER, SECTION_HEAD, Section, SectionKind, Sections, Snapshot};
use mambabyte_core::{
    Blob, Decoder, LineScore, LineScorer, ModelId, Prefill, Show, State, StateError, Threshold, surprise,
};
use mambabyte_host::align::AlignedBytes;
use mambabyte_tests::model_file;
use mambabyte_tests::random_blob::{BlobSpec, random_blob, reseal_snapshot};

type Cpu<'b> = Decoder<'b, Vec<i16>, Vec<i32>>;

fn model(seed: u64) -> AlignedBytes {
    AlignedBytes::new(&random_blob(BlobSpec::small(seed)))
}

/// A scorer that has seen some lines.
fn scorer() -> LineScorer {
    let mut scorer = LineScorer::new(Threshold::Learned, 3);
    for (index, byte) in b"one line\nand another one\nand a third, open".iter().enumerate() {
        scorer.push(*byte, 7_000 * index as u32);
    }
    scorer
}

/// An adapter that has read a line.
fn adapter() -> Adapter<Box<Adapter4K>> {
    let mut adapter = Adapter::new(Box::new(Adapter4K::ZERO), true);
    for &byte in b"a line that an adapter has read" {
        adapter.read(None, byte);
    }
    adapter
}

/// What an adapter saves, changed.
fn saved_adapter(edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut saved = vec![0; Adapter4K::DESIGN.saved_bytes()];
    adapter().save(&mut saved).unwrap();
    edit(&mut saved);
    saved
}

fn save(decoder: &Cpu<'_>, takes: Sections) -> Vec<u8> {
    let scorer = scorer();
    let mut adapter = adapter();
    let lines = [Section::Pending(0xa5), Section::Lines(&scorer)];
    let all = lines.into_iter().chain([Section::Adapter(&mut adapter), Section::Records(0x0102_0304)]);
    let mut beside: Vec<Section<'_>> = all.filter(|section| takes.has(section.kind())).collect();
    let mut out = vec![0xee; takes.snapshot_bytes(decoder.blob().dims())];
    assert_eq!(decoder.state().snapshot_with(&mut beside, &mut out), Ok(out.len()), "the size that was said");
    out
}

fn saved_lines() -> [u8; SAVED] {
    let mut saved = [0; SAVED];
    scorer().save(&mut saved);
    saved
}

/// A snapshot by hand: header, then sections as `(kind, version, data)`, sealed.
fn by_hand(blob: &Blob<'_>, sections: &[(u16, u16, &[u8])]) -> Vec<u8> {
    let mut bytes = b"MBS\x1a\x02\0\0\0".to_vec();
    bytes.extend(blob.fingerprint());
    bytes.extend(11u64.to_le_bytes());
    bytes.extend([0; 8]);
    for (kind, version, data) in sections {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(version.to_le_bytes());
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(*data);
    }
    reseal_snapshot(&mut bytes, true);
    bytes
}

fn state_bytes(decoder: &Cpu<'_>) -> Vec<u8> {
    decoder.state().as_slice().iter().flat_map(|element| element.to_le_bytes()).collect()
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let memory = model(1);
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let mut decoder = Decoder::owned(blob);
    decoder.prefill(b"eleven byte");
    let (state, lines) = (state_bytes(&decoder), saved_lines());
    let sections: [(u16, u16, &[u8]); 4] = [(1, 1, &state), (2, 1, &[0xa5]), (3, 1, &lines), (5, 1, &[4, 3, 2, 1])];
    for (takes, count) in [(Sections::STATE, 1), (Sections::STREAM, 3), (Sections::DEVICE, 4)] {
        let saved = save(&decoder, takes);
        assert!(saved == by_hand(&blob, &sections[..count]), "{takes:?}");
        let parsed = Snapshot::parse(&saved, takes).unwrap();
        assert_eq!((parsed.fingerprint(), parsed.position()), (blob.fingerprint(), 11));
        assert!(parsed.state().unwrap() == state);
        let missing = |kind| StateError::MissingSection { kind };
        assert_eq!(parsed.pending(), if count > 1 { Ok(0xa5) } else { Err(missing(2)) });
        assert_eq!(parsed.lines().copied(), if count > 1 { Ok(lines) } else { Err(missing(3)) });
        assert_eq!(parsed.records(), if count > 3 { Ok(0x0102_0304) } else { Err(missing(5)) });
        let mut other = Decoder::owned(blob);
        other.prefill(b"something else");
        other.state_mut().load(&parsed).unwrap();
        assert!(save(&other, takes) == saved);
    }
    let bytes = SECTION_HEAD + state.len();
    assert_eq!(Sections::STATE.snapshot_bytes(blob.dims()), HEADER + bytes);
    assert_eq!(Sections::DEVICE.snapshot_bytes(blob.dims()), HEADER + bytes + (8 + 1) + (8 + 572) + (8 + 4));
    assert_eq!(blob.dims().snapshot_bytes(), HEADER + bytes);
    assert_eq!(
        SectionKind::ALL.map(SectionKind::name),
        [
            "state",
            "pending byte",
            "line scorer",
            "adapter",
            "records of a device",
            "line scorer of the net alone",
            "detector"
        ]
    );
    let mut short = vec![0; Sections::STREAM.snapshot_bytes(blob.dims()) - 1];
    let scorer = scorer();
    let mut beside = [Section::Pending(1), Section::Lines(&scorer)];
    let (need, have) = (short.len() + 1, short.len());
    let error = StateError::TooSmall { what: "snapshot buffer", need, have };
    assert_eq!(decoder.state().snapshot_with(&mut beside, &mut short), Err(error));
    let mut out = vec![0; 4096];
    for (mut beside, kind) in [
        (vec![Section::Lines(&scorer), Section::Pending(1)], 2),
        (vec![Section::Pending(1), Section::Pending(1)], 2),
        (vec![Section::State(decoder.state().as_slice())], 1),
    ] {
        let error = StateError::SectionOrder { kind };
        assert_eq!(decoder.state().snapshot_with(&mut beside, &mut out), Err(error));
    }
}

/// Every way in which bytes may not be a snapshot, the error, and a word of its text.
#[test]
fn every_refusal_names_its_reason() {
    let (memory, other_memory) = (model(1), model(2));
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let other = Blob::parse(other_memory.as_slice()).unwrap();
    let mut source = Decoder::owned(blob);
    source.prefill(b"eleven byte");
    let mut target = Decoder::owned(blob);
    target.prefill(b"before");
    let before = save(&target, Sections::STATE);
    let (state, lines) = (state_bytes(&source), saved_lines());
    let (state, lines): (&[u8], &[u8]) = (&state, &lines);
    let edited = |takes, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = save(&source, takes);
        edit(&mut bytes);
        reseal_snapshot(&mut bytes, false);
        bytes
    };
    // The format before this one: a header of the same length, then the elements without a section's head.
    let mut version_1 = by_hand(&blob, &[]);
    version_1[4] = 1;
    version_1.extend(state);
    version_1[32..36].copy_from_slice(&(state.len() as u32).to_le_bytes());
    reseal_snapshot(&mut version_1, false);
    const ADAPTED: Sections = Sections::STATE.with_adapter(&Adapter4K::DESIGN);
    let adapted = |data: &[u8]| by_hand(&blob, &[(1, 1, state), (4, 1, data)]);
    let preset = |expected, found| StateError::Adapter(AdapterError::Preset { expected, found });
    let (four, eight) = (Adapter4K::DESIGN.id, Adapter8K::DESIGN.id);
    let adapter_bytes = Adapter4K::DESIGN.saved_bytes();
    let length_of_adapter = |found| StateError::Adapter(AdapterError::Length { expected: adapter_bytes, found });
    let whole = save(&source, Sections::STREAM).len();
    let (stream, only) = (Sections::STREAM, Sections::STATE);
    let foreign = StateError::ForeignModel { expected: blob.fingerprint(), found: other.fingerprint() };
    let length = |kind, expected, found| StateError::SectionLength { kind, expected, found };
    let all: [(Vec<u8>, Sections, StateError, &str); 36] = [
        (b"MBF\x1a\x01".to_vec(), stream, StateError::BadMagic, "not a MambaByte snapshot"),
        (b"$GPG".to_vec(), stream, StateError::BadMagic, "not a MambaByte snapshot"),
        (
            version_1,
            only,
            StateError::UnsupportedVersion { found: 1 },
            "snapshot version 1, this build reads version 2",
        ),
        (b"MBS\x1a\x03\0".to_vec(), only, StateError::UnsupportedVersion { found: 3 }, "version 3"),
        (vec![], stream, StateError::Length { expected: 40, found: 0 }, "40"),
        (
            edited(stream, &|b| b.push(0)),
            stream,
            StateError::Length { expected: whole, found: whole + 1 },
            "have to be",
        ),
        (edited(stream, &|b| b[6] = 1), stream, StateError::Reserved { found: 1 }, "reserved"),
        (edited(stream, &|b| b[7] = 0x80), stream, StateError::Reserved { found: 0x8000 }, "reserved"),
        (save(&Decoder::owned(other), stream), stream, foreign, "another model"),
        (save(&source, stream), only, StateError::UnwantedSection { kind: 2 }, "pending byte"),
        (save(&source, Sections::DEVICE), stream, StateError::UnwantedSection { kind: 5 }, "records of a device"),
        (save(&source, only), stream, StateError::MissingSection { kind: 2 }, "no section 2 (pending byte)"),
        (save(&source, stream), Sections::DEVICE, StateError::MissingSection { kind: 5 }, "records of a device"),
        (by_hand(&blob, &[(2, 1, &[1]), (3, 1, lines)]), stream, StateError::MissingSection { kind: 1 }, "(state)"),
        (by_hand(&blob, &[]), only, StateError::MissingSection { kind: 1 }, "(state)"),
        (
            by_hand(&blob, &[(1, 1, state), (2, 1, &[1]), (3, 1, lines), (4, 1, &saved_adapter(|_| ()))]),
            stream,
            StateError::UnwantedSection { kind: 4 },
            "section 4 (adapter) that is not taken here",
        ),
        (save(&source, only), ADAPTED, StateError::MissingSection { kind: 4 }, "no section 4 (adapter)"),
        (
            save(&source, ADAPTED),
            only.with_adapter(&Adapter8K::DESIGN),
            preset(eight, four),
            "the saved adapter is 4K, 8K is read",
        ),
        (
            adapted(&saved_adapter(|b| b[0] = 99)),
            ADAPTED,
            preset(four, 99),
            "an unknown preset (number 99), 4K is read",
        ),
        (
            adapted(&saved_adapter(|b| b[1] += 1)),
            ADAPTED,
            StateError::Adapter(AdapterError::Version { found: saved_adapter(|b| b[1] += 1)[1] }),
            "the saved adapter is of version",
        ),
        (adapted(&saved_adapter(|b| b[3] = 1)), ADAPTED, StateError::Adapter(AdapterError::Reserved), "reserved"),
        (adapted(&saved_adapter(|b| b.push(0))), ADAPTED, length_of_adapter(adapter_bytes + 1), "this preset"),
        (adapted(&[four]), ADAPTED, length_of_adapter(1), "1 bytes"),
        (
            by_hand(&blob, &[(1, 1, state), (9, 3, b"new")]),
            only,
            StateError::UnsupportedSection { kind: 9, version: 3 },
            "section 9 of the snapshot (unknown to this build), version 3",
        ),
        (by_hand(&blob, &[(0, 1, state)]), only, StateError::UnsupportedSection { kind: 0, version: 1 }, "section 0"),
        (
            by_hand(&blob, &[(1, 1, state), (2, 1, &[1]), (3, 2, lines)]),
            stream,
            StateError::UnsupportedSection { kind: 3, version: 2 },
            "(line scorer), version 2",
        ),
        (by_hand(&blob, &[(1, 0, state)]), only, StateError::UnsupportedSection { kind: 1, version: 0 }, "(state)"),
        (
            by_hand(&blob, &[(1, 1, state), (1, 1, state)]),
            only,
            StateError::SectionOrder { kind: 1 },
            "(state) is there twice",
        ),
        (
            by_hand(&blob, &[(2, 1, &[1]), (1, 1, state), (3, 1, lines)]),
            stream,
            StateError::SectionOrder { kind: 1 },
            "out of order",
        ),
        (by_hand(&blob, &[(1, 1, &state[2..])]), only, length(1, state.len(), state.len() - 2), "(state)"),
        (by_hand(&blob, &[(1, 1, &[state, state].concat())]), only, length(1, state.len(), 2 * state.len()), "(state)"),
        (by_hand(&blob, &[(1, 1, state), (2, 1, &[1, 2]), (3, 1, lines)]), stream, length(2, 1, 2), "pending byte"),
        (by_hand(&blob, &[(1, 1, state), (2, 1, &[1]), (3, 1, &lines[1..])]), stream, length(3, 572, 571), "571"),
        (
            // A section that says it is longer than the file.
            edited(only, &|b| b[47] = 0x7f),
            only,
            length(1, (0x7f << 24) + state.len(), state.len()),
            "(state)",
        ),
        (
            edited(only, &|b| {
                b.extend([1; 7]);
                reseal_snapshot(b, true);
            }),
            only,
            StateError::TrailingBytes { bytes: 7 },
            "7 bytes after the last section",
        ),
        (
            {
                let mut bytes = save(&source, only);
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                bytes
            },
            only,
            StateError::Checksum { stored: 0, computed: 0 },
            "CRC-32",
        ),
    ];
    let mut seen = BTreeSet::new();
    for (bytes, takes, error, word) in all {
        let loaded = Snapshot::parse(&bytes, takes).and_then(|parsed| target.state_mut().load(&parsed));
        let refused = loaded.expect_err(word);
        match (refused, error) {
            (StateError::Checksum { stored, computed }, StateError::Checksum { .. }) => assert_ne!(stored, computed),
            _ => assert_eq!(refused, error),
        }
        assert!(refused.to_string().contains(word), "{refused}");
        assert!(save(&target, Sections::STATE) == before, "{refused} changed the state");
        seen.insert(format!("{refused:?}").split([' ', '(']).next().unwrap().to_owned());
    }
    let too_small = target.state().snapshot(&mut []).unwrap_err();
    seen.insert(format!("{too_small:?}").split([' ', '(']).next().unwrap().to_owned());
    let every = "Adapter BadMagic Checksum ForeignModel Length MissingSection Reserved SectionLength SectionOrder TooSmall \
                 TrailingBytes UnsupportedSection UnsupportedVersion UnwantedSection";
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>().join(" "), every, "an error without a test");
    // `restore` is `parse` of a state alone and `load`; the state of another model is not copied either.
    let foreign_state = Decoder::owned(other);
    assert_eq!(target.state_mut().restore(&save(&foreign_state, only)), Err(foreign));
    assert_eq!(target.state_mut().clone_from(foreign_state.state()), Err(foreign));
    assert_eq!(target.state_mut().restore(&save(&source, stream)), Err(StateError::UnwantedSection { kind: 2 }));
    assert!(save(&target, Sections::STATE) == before);
    target.state_mut().restore(&save(&source, only)).unwrap();
    assert!(save(&target, Sections::STATE) == save(&source, only));
}

/// Cut at every byte, with and without the length made right again: never taken, the state never touched.
#[test]
fn no_part_of_a_snapshot_is_one() {
    let memory = model(1);
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let mut source = Decoder::owned(blob);
    source.prefill(b"snapshot me");
    let whole = save(&source, Sections::DEVICE);
    for found in 0..whole.len() {
        let error = Snapshot::parse(&whole[..found], Sections::DEVICE).unwrap_err();
        let expected = if found < HEADER { HEADER } else { whole.len() };
        assert_eq!(error, StateError::Length { expected, found });
        // The checksum right again.
        let mut cut = whole[..found].to_vec();
        reseal_snapshot(&mut cut, true);
        let error = Snapshot::parse(&cut, Sections::DEVICE).unwrap_err();
        let named = matches!(
            error,
            StateError::Length { .. }
                | StateError::MissingSection { .. }
                | StateError::SectionLength { .. }
                | StateError::TrailingBytes { .. }
        );
        assert!(named, "{found} bytes: {error:?}");
        // At the end of the first section, sealed again, it is the snapshot of a state alone, and nothing else ever is.
        let state_alone = found == Sections::STATE.snapshot_bytes(blob.dims());
        assert_eq!(Decoder::owned(blob).state_mut().restore(&cut).is_ok(), state_alone, "{found} bytes");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let memory = model(1);
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let mut source = Decoder::owned(blob);
    source.prefill(b"snapshot me");
    let mut bytes = save(&source, Sections::DEVICE);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let error = Snapshot::parse(&bytes, Sections::DEVICE).expect_err("damage was taken");
            let named = match at {
                0..4 => error == StateError::BadMagic,
                4..6 => error == StateError::UnsupportedVersion { found: u16::from_le_bytes([bytes[4], bytes[5]]) },
                32..36 => matches!(error, StateError::Length { found, .. } if found == bytes.len()),
                _ => matches!(error, StateError::Checksum { stored, computed } if stored != computed),
            };
            assert!(named, "bit {bit} of byte {at}: {error:?}");
            bytes[at] ^= 1 << bit;
        }
    }
    assert!(Snapshot::parse(&bytes, Sections::DEVICE).is_ok());
}

/// A stream that is scored and adapted, as `mambabyte stream` reads it byte by byte; with a model or without.
struct Reader<'b> {
    decoder: Option<Cpu<'b>>,
    /// Where there is no decoder.
    state: State<&'static mut [i16]>,
    adapter: Option<Adapter<Box<Adapter8K>>>,
    scorer: LineScorer,
    pending: u8,
}

impl<'b> Reader<'b> {
    fn new(blob: Option<Blob<'b>>, adapted: bool) -> Self {
        let adapter = adapted.then(|| Adapter::new(Box::new(Adapter8K::ZERO), blob.is_some()));
        let (scorer, state) = (LineScorer::new(Threshold::Learned, 0), State::without_model());
        Self { decoder: blob.map(Decoder::owned), state, adapter, scorer, pending: 0 }
    }

    fn read(&mut self, byte: u8) -> (u32, Option<LineScore>) {
        let logits = match &mut self.decoder {
            Some(decoder) => Some(decoder.step(self.pending)),
            None => {
                self.state.count(1);
                None
            }
        };
        let bits = match (&mut self.adapter, logits) {
            (Some(adapter), logits) => adapter.read(logits, byte).surprise(),
            (None, Some(logits)) => surprise(logits, byte),
            (None, None) => unreachable!("nothing that predicts"),
        };
        self.pending = byte;
        (bits, self.scorer.push(byte, bits))
    }

    fn sections(&self) -> Sections {
        if self.adapter.is_some() { Sections::STREAM.with_adapter(&Adapter8K::DESIGN) } else { Sections::STREAM }
    }

    fn save(&mut self) -> Vec<u8> {
        let sections = self.sections();
        let bytes = match &self.decoder {
            Some(decoder) => sections.snapshot_bytes(decoder.blob().dims()),
            None => sections.bytes_without_model(),
        };
        let mut out = vec![0; bytes];
        let mut beside = vec![Section::Pending(self.pending), Section::Lines(&self.scorer)];
        if let Some(adapter) = &mut self.adapter {
            beside.push(Section::Adapter(adapter));
        }
        let saved = match &self.decoder {
            Some(decoder) => decoder.state().snapshot_with(&mut beside, &mut out),
            None => self.state.snapshot_with(&mut beside, &mut out),
        };
        assert_eq!(saved, Ok(bytes));
        out
    }

    fn load(&mut self, saved: &[u8]) {
        let saved = Snapshot::parse(saved, self.sections()).unwrap();
        match &mut self.decoder {
            Some(decoder) => decoder.state_mut().load(&saved).unwrap(),
            None => self.state.load(&saved).unwrap(),
        }
        if let Some(adapter) = &mut self.adapter {
            adapter.load(saved.adapter().unwrap()).unwrap();
        }
        self.pending = saved.pending().unwrap();
        self.scorer = LineScorer::load(Threshold::Learned, saved.lines().unwrap());
    }

    fn position(&self) -> u64 {
        self.decoder.as_ref().map_or(self.state.position(), |decoder| decoder.state().position())
    }
}

#[test]
fn a_stream_that_is_split_anywhere_is_unbroken() {
    let memory = AlignedBytes::new(&std::fs::read(model_file("sensor-pico", "model.mbb")).unwrap());
    let blob = Blob::parse(memory.as_slice()).unwrap();
    // Enough lines that thresholds are learned, short enough to be split everywhere.
    let line = |n: usize| format!("$II{n},{},M*{:02X}\n", n * n % 97, n * 37 % 256);
    let text: Vec<u8> = (0..40).flat_map(|n| line(n).into_bytes()).collect();
    for (model, adapted) in [(Some(blob), false), (Some(blob), true), (None, true)] {
        let mut whole = Reader::new(model, adapted);
        let mut saves = vec![whole.save()];
        let mut said = Vec::new();
        for &byte in &text {
            said.push(whole.read(byte));
            saves.push(whole.save());
        }
        assert!(said.iter().filter_map(|(_, score)| *score).any(|score| score.mean_threshold != u32::MAX), "learned");
        // Into a reader that has seen something else; from each save to the next line's end and past it.
        let mut second = Reader::new(model, adapted);
        for &byte in b"other\nthings" {
            second.read(byte);
        }
        for split in 0..text.len() {
            second.load(&saves[split]);
            assert_eq!(second.position(), split as u64);
            let end = text.len().min(split + 40);
            for at in split..end {
                assert_eq!(second.read(text[at]), said[at], "byte {at} after a split at {split}");
            }
            assert!(second.save() == saves[end], "split at {split}");
        }
    }
}

/// A save without a model is not one of a model, and the other way round.
#[test]
fn no_model_is_a_model_of_its_own() {
    let memory = model(1);
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let (mut with, mut without) = (Reader::new(Some(blob), true), Reader::new(None, true));
    let (with_bytes, without_bytes) = (with.save(), without.save());
    let parse = |bytes| Snapshot::parse(bytes, Sections::STREAM.with_adapter(&Adapter8K::DESIGN)).unwrap();
    let foreign = |expected, found| Err(StateError::ForeignModel { expected, found });
    let none = ModelId::NONE.fingerprint();
    assert_eq!(
        with.decoder.as_mut().unwrap().state_mut().load(&parse(&without_bytes)),
        foreign(blob.fingerprint(), none)
    );
    assert_eq!(without.state.load(&parse(&with_bytes)), foreign(none, blob.fingerprint()));
    assert_eq!(without.state.load(&parse(&without_bytes)), Ok(()));
}

/// Only a state of its model's length can be made, so a read that compares fingerprints reads the right memory. With a
/// length that nobody checked, `Prefill::read` took a state of three elements and computed logits of nothing.
#[test]
fn a_state_has_the_length_of_its_models_states() {
    let memory = model(1);
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let model = ModelId::of(&blob);
    assert_eq!((model.fingerprint(), model.state_len()), (blob.fingerprint(), blob.dims().state_len()));
    let expected = model.state_len();
    for found in [0, 3, expected - 1, expected + 1, 2 * expected] {
        let refused = State::from_parts(model, vec![0i16; found], 7).map(|_| ());
        assert_eq!(refused, Err(StateError::Length { expected, found }));
    }
    // The right length reads as any other state does.
    let mut decoder = Decoder::owned(blob);
    decoder.prefill(b"some text");
    let mut state = State::from_parts(model, decoder.state().as_slice().to_vec(), decoder.state().position()).unwrap();
    assert_eq!(state.model(), decoder.state().model());
    let mut prefill = Prefill::new(blob, 4, vec![0; blob.dims().prefill_len(4)]).unwrap();
    let mut logits = Vec::new();
    prefill.read(&mut state, b"more", Show::All, &mut |_, some| logits.extend_from_slice(some)).unwrap();
    let expected: Vec<_> = b"more".iter().map(|&byte| *decoder.step(byte)).collect();
    assert!(logits == expected);
    assert!(state.as_slice() == decoder.state().as_slice());
}
