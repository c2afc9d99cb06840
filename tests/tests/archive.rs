//! Archives: what was compressed comes back, on another backend too; damage is found, and nothing wrong is given out.

use std::io::{self, Read};

use mambabyte_core::archive::{ArchiveError, HEADER, Header, MAX_BLOCK, ModelName, Primed, RECORD};
use mambabyte_core::{Backend, Blob, Rng};
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::archive::{ArchiveFault, BLOCK, Predictor, Totals, compress, decompress, survey};
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::engine::EngineError;
use mambabyte_host::stream::Mixture;
use mambabyte_tests::archive_forge::{records, reseal_archive};
use mambabyte_tests::{data_file, model_file};

type Engine<'w> = IntEngine<'w>;

const TEXT: &[u8] = include_bytes!("../../models/text/golden-4096.txt");
/// The adapter alone.
const ALONE: Option<&Engine<'_>> = None;

fn model(name: &str) -> AlignedBytes {
    AlignedBytes::new(&std::fs::read(model_file(name, "model.mbb")).unwrap())
}

fn header(blob: Option<&Blob<'_>>, preset: Option<Preset>, block: u32) -> Header {
    let model = blob.map_or(ModelName::NONE, ModelName::of);
    Header { model, preset: preset.map_or(0, |preset| preset.design().id), primed: None, block }
}

/// What `header` asks for.
fn predictor<'e, 'w>(engine: Option<&'e Engine<'w>>, header: &Header) -> Predictor<'e, Engine<'w>> {
    let adapter = Preset::of_id(header.preset).map(|preset| AnyAdapter::new(preset, engine.is_some()));
    Predictor::new(engine, adapter).unwrap()
}

fn pack(engine: Option<&Engine<'_>>, header: &Header, mut text: impl Read) -> (Vec<u8>, Totals) {
    let mut archive = Vec::new();
    let mut seen = 0;
    let totals =
        compress(&mut predictor(engine, header), header, &mut text, &mut archive, &mut |n| seen += n as u64).unwrap();
    assert_eq!((totals.archive, totals.plain), (archive.len() as u64, seen));
    (archive, totals)
}

/// What was given out, and how it ended.
fn unpack(engine: Option<&Engine<'_>>, mut archive: impl Read) -> (Vec<u8>, Result<Totals, ArchiveFault>) {
    let mut text = Vec::new();
    let mut open = |header: &Header| Ok(predictor(engine, header));
    let end = decompress(&mut archive, &mut text, &mut open, &mut |_| ());
    (text, end)
}

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

/// Gives pieces of odd sizes, and is interrupted.
struct Pieces<'t> {
    text: &'t [u8],
    rng: Rng,
    most: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.rng.next_u64().is_multiple_of(4) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let piece = 1 + self.rng.next_u64() as usize % self.most;
        let length = piece.min(out.len()).min(self.text.len());
        let (here, rest) = self.text.split_at(length);
        out[..length].copy_from_slice(here);
        self.text = rest;
        Ok(length)
    }
}

#[test]
fn every_length_and_every_piece_comes_back() {
    let header = header(None, Some(Preset::K8), 64);
    let random = random(1, 200);
    for text in [TEXT, &random] {
        for length in (0..4).chain(62..67).chain(126..131).chain([200]) {
            let text = &text[..length];
            let (archive, totals) = pack(ALONE, &header, text);
            assert_eq!(totals.blocks as usize, length.div_ceil(64));
            for most in [1, 7, 1000] {
                let pieces = |text| Pieces { text, rng: Rng::new(most as u64), most };
                assert!(pack(ALONE, &header, pieces(text)).0 == archive, "{length} bytes in pieces of {most}");
                let (back, end) = unpack(ALONE, pieces(&archive));
                assert_eq!(end.unwrap(), totals);
                assert!(back == text, "{length} bytes in pieces of {most}");
            }
        }
    }
}

#[test]
fn random_bytes_grow_by_heads_alone() {
    let text = random(3, 300_000);
    for (block, blocks) in [(BLOCK, 1), (100_000, 3), (1 << 16, 5)] {
        let (archive, totals) = pack(ALONE, &header(None, Some(Preset::K4), block), &text[..]);
        assert_eq!((totals.blocks, totals.stored, totals.code), (blocks, blocks, 300_000));
        assert_eq!(archive.len(), text.len() + HEADER + (blocks as usize + 1) * RECORD);
        let (back, end) = unpack(ALONE, &archive[..]);
        end.unwrap();
        assert!(back == text);
    }
}

/// Text, then what is stored, then text again: the adapter has read the stored blocks too.
#[test]
fn model_and_adapter_run_on_through_stored_blocks() {
    let text = [&TEXT[..700], &random(5, 700), &TEXT[..700]].concat();
    let file = model("sensor-pico");
    let blob = Blob::parse(file.as_slice()).unwrap();
    let engine = IntEngine::of(blob, Cpu::default());
    for (engine, blob) in [(Some(&engine), Some(&blob)), (None, None)] {
        let (archive, totals) = pack(engine, &header(blob, Some(Preset::K16), 350), &text[..]);
        assert_eq!((totals.blocks, totals.stored), (6, 2));
        let (back, end) = unpack(engine, &archive[..]);
        end.unwrap();
        assert!(back == text);
    }
}

#[test]
fn every_model_and_preset_comes_back_on_another_backend() {
    let cpu = |backend, threads| Cpu { backend, threads };
    let presets = [None].into_iter().chain(Preset::ALL.map(Some));
    for preset in presets.clone().flatten() {
        let (archive, _) = pack(ALONE, &header(None, Some(preset), 1000), TEXT);
        assert!(unpack(ALONE, &archive[..]).0 == TEXT, "{preset}");
        assert!(archive.len() < TEXT.len() * 3 / 4, "{preset}: {}", archive.len());
    }
    for (name, length) in [("sensor-pico", 4096), ("sensor-nano", 2048), ("sensor-micro", 512), ("prose-small", 200)] {
        let file = model(name);
        let blob = Blob::parse(file.as_slice()).unwrap();
        let here = IntEngine::of(blob, cpu(Cpu::default().backend, 2));
        let there = IntEngine::of(blob, cpu(Backend::by_name("scalar").unwrap(), 1));
        let text = &TEXT[..length];
        for preset in presets.clone().filter(|preset| length > 2048 || matches!(preset, None | Some(Preset::K16))) {
            let (archive, totals) = pack(Some(&here), &header(Some(&blob), preset, 1000), text);
            assert!(totals.stored == 0 || name == "prose-small", "{name} {preset:?}");
            let (back, end) = unpack(Some(&there), &archive[..]);
            end.unwrap();
            assert!(back == text, "{name} {preset:?}");
        }
    }
}

/// The coded size is what the probabilities are worth.
#[test]
fn the_code_costs_what_was_predicted() {
    let file = model("sensor-nano");
    let blob = Blob::parse(file.as_slice()).unwrap();
    let engine = IntEngine::of(blob, Cpu::default());
    for (engine, blob, preset) in [
        (Some(&engine), Some(&blob), Some(Preset::K16)),
        (Some(&engine), Some(&blob), None),
        (None, None, Some(Preset::K64)),
    ] {
        let header = header(blob, preset, BLOCK);
        let mut bits = 0u64;
        let mut take = |path: &mambabyte_core::adapt::Path| bits += u64::from(path.surprise());
        predictor(engine, &header).read(TEXT, &mut take, &mut |_| ()).unwrap();
        let (ideal, (_, totals)) = (bits as f64 / 65_536.0 / 8.0, pack(engine, &header, TEXT));
        let code = totals.code as f64;
        assert!(code > ideal - 1.0 && code < ideal * 1.002 + 2.0, "{preset:?}: {code}, {ideal} predicted");
    }
}

#[test]
fn archives_follow_each_other() {
    let file = model("sensor-pico");
    let blob = Blob::parse(file.as_slice()).unwrap();
    let engine = IntEngine::of(blob, Cpu::default());
    let (one, first) = pack(Some(&engine), &header(Some(&blob), Some(Preset::K8), 100), &TEXT[..250]);
    let (two, second) = pack(Some(&engine), &header(Some(&blob), None, BLOCK), &TEXT[1000..1300]);
    let (empty, third) = pack(Some(&engine), &header(Some(&blob), Some(Preset::K4), 1), &b""[..]);
    let all = [one, empty, two].concat();
    let (back, end) = unpack(Some(&engine), &all[..]);
    assert_eq!((end.unwrap().archives, back), (3, [&TEXT[..250], &TEXT[1000..1300]].concat()));
    let mut seen = Vec::new();
    survey(&mut &all[..], &mut |header, totals| seen.push((header.preset, *totals))).unwrap();
    assert_eq!(seen, [(2, first), (1, third), (0, second)]);
    // What follows has to be an archive, and what came before is kept.
    let (back, end) = unpack(Some(&engine), &[&all, &b"xyz"[..]].concat()[..]);
    let end = end.unwrap_err();
    assert_eq!(back.len(), 550);
    let at = all.len() as u64;
    assert!(
        matches!(end, ArchiveFault::Archive { at: a, kept: 550, error: ArchiveError::BadMagic } if a == at),
        "{end}"
    );
}

#[test]
fn headers_are_refused_by_name() {
    let good = header(None, Some(Preset::K8), 1000);
    assert_eq!(Header::parse(&good.to_bytes()), Ok(good));
    let edited = |edit: &dyn Fn(&mut [u8; HEADER])| {
        let mut bytes = good.to_bytes();
        edit(&mut bytes);
        let crc = crc32fast::hash(&bytes[..HEADER - 4]).to_le_bytes();
        bytes[HEADER - 4..].copy_from_slice(&crc);
        Header::parse(&bytes).map(|_| ())
    };
    type Edit<'e> = &'e dyn Fn(&mut [u8; HEADER]);
    let length = |found| ArchiveError::BlockLength { most: MAX_BLOCK, found };
    let cases: [(Edit<'_>, ArchiveError, &str); 11] = [
        (&|b| b[3] = 0, ArchiveError::BadMagic, "another kind"),
        (&|b| b[4] = 2, ArchiveError::UnsupportedVersion { found: 2 }, "version 2"),
        (&|b| b[6] = 99, ArchiveError::UnknownPreset { found: 99 }, "number 99"),
        (&|b| b[6] = 0, ArchiveError::Nothing, "neither"),
        (&|b| b[7] = 2, ArchiveError::Reserved, "reserved"),
        (&|b| b[52] = 1, ArchiveError::Reserved, "reserved"),
        (&|b| b[24] = b'x', ArchiveError::Name, "no text"),
        (&|b| (b[8], b[24]) = (1, 0xff), ArchiveError::Name, "no text"),
        (&|b| (b[8], b[30]) = (1, b'x'), ArchiveError::Name, "no text"),
        (&|b| b[48..52].fill(0), length(0), "a block of 0"),
        (&|b| b[48..52].copy_from_slice(&(MAX_BLOCK + 1).to_le_bytes()), length(MAX_BLOCK + 1), "to 4194304"),
    ];
    for (edit, error, word) in cases {
        assert_eq!(edited(edit), Err(error));
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(edited(&|_| ()), Ok(()));
    for at in HEADER - 4..HEADER {
        let mut bytes = good.to_bytes();
        bytes[at] ^= 1;
        assert!(matches!(Header::parse(&bytes), Err(ArchiveError::Checksum { .. })));
    }
}

/// Two archives with one header, of different texts, each with coded and stored blocks; and their texts.
fn victims() -> [(Vec<u8>, Vec<u8>); 2] {
    let header = header(None, Some(Preset::K4), 90);
    let texts = [
        [&TEXT[..200], &random(11, 150), &TEXT[200..300]].concat(),
        [&random(12, 100), &TEXT[400..600], &random(13, 90)].concat(),
    ];
    texts.map(|text| (pack(ALONE, &header, &text[..]).0, text))
}

/// Forges `count` archives: flips, cuts, splices, mended checksums. Returns how many were refused.
fn forge(count: u32, seed: u64) -> u32 {
    let victims = victims();
    let texts: Vec<&[u8]> = victims.iter().map(|(_, text)| &text[..]).collect();
    let mut rng = Rng::new(seed);
    let mut refused = 0;
    for n in 0..count {
        let mut below = |limit: usize| (rng.next_u64() % limit as u64) as usize;
        let first = below(2);
        let (archive, other) = (&victims[first].0, &victims[below(2)].0);
        let mut forged = archive.clone();
        match n % 5 {
            // Bits that flipped.
            0 => (0..=below(3)).for_each(|_| {
                let at = below(forged.len());
                forged[at] ^= 1 << below(8);
            }),
            1 => forged.truncate(below(archive.len())),
            // The beginning of one and the end of another, anywhere or at records.
            2 => {
                forged.truncate(below(archive.len() + 1));
                forged.extend(&other[below(other.len() + 1)..]);
            }
            3 => {
                let (here, there) = (records(archive), records(other));
                forged.truncate(here[below(here.len())]);
                forged.extend(&other[there[below(there.len())]..]);
            }
            // A code that was changed, with right checksums around it.
            _ => {
                let here = records(archive);
                let at = here[below(here.len() - 1)] + RECORD;
                let end = here.iter().copied().find(|&next| next > at).unwrap();
                let place = at + below(end - at);
                forged[place] ^= 1 << below(8);
                reseal_archive(&mut forged);
            }
        }
        let (text, end) = unpack(ALONE, &forged[..]);
        refused += u32::from(end.is_err());
        // A splice may be two archives, one after the other. Nothing else is right but what was compressed.
        let whole = |rest: &[u8]| rest.is_empty() || texts.contains(&rest);
        let right = match end {
            Ok(_) => texts.iter().any(|first| text.strip_prefix(*first).is_some_and(whole)),
            Err(_) => texts.iter().any(|first| {
                first.starts_with(&text)
                    || text.strip_prefix(*first).is_some_and(|rest| texts.iter().any(|text| text.starts_with(rest)))
            }),
        };
        assert!(right, "forgery {n} of seed {seed} gave out {} wrong bytes", text.len());
        let surveyed = survey(&mut &forged[..], &mut |_, _| ());
        assert!(surveyed.is_ok() || n % 5 != 4, "only decoding can find a changed code with right checksums");
    }
    refused
}

#[test]
fn archives_damaged_ten_thousand_times_give_nothing_wrong() {
    assert!(forge(10_000, 2) > 9_600);
}

/// Lengths that a file says are bounded before memory is taken or anything is read.
#[test]
fn lengths_are_bounded_before_they_are_believed() {
    let header = header(None, Some(Preset::K4), 1000);
    let head = |kind: u8, plain: u32, coded: u32| {
        let mut head = [0; RECORD];
        head[0] = kind;
        head[4..8].copy_from_slice(&plain.to_le_bytes());
        head[8..12].copy_from_slice(&coded.to_le_bytes());
        head
    };
    for (head, error) in [
        (head(1, u32::MAX, 5), ArchiveError::BlockLength { most: 1000, found: u32::MAX }),
        (head(1, 1001, 5), ArchiveError::BlockLength { most: 1000, found: 1001 }),
        (head(1, 1000, 1000), ArchiveError::CodeLength { plain: 1000, found: 1000 }),
        (head(1, 1000, u32::MAX), ArchiveError::CodeLength { plain: 1000, found: u32::MAX }),
        (head(2, 1000, 999), ArchiveError::CodeLength { plain: 1000, found: 999 }),
        (head(2, 0, 0), ArchiveError::BlockLength { most: 1000, found: 0 }),
        (head(9, 10, 5), ArchiveError::Kind { found: 9 }),
    ] {
        let archive = [&header.to_bytes()[..], &head].concat();
        let (text, end) = unpack(ALONE, archive.chain(io::repeat(0)));
        let end = end.unwrap_err();
        assert!(text.is_empty());
        assert!(
            matches!(end, ArchiveFault::Archive { at, error: e, .. } if at == HEADER as u64 && e == error),
            "{end}"
        );
    }
}

/// Archives of version 1, written once by `mambabyte compress MODEL models/text/golden-4096.txt --adapt 8K`: read for ever, also
/// with a model that is shipped no more (`data/first`).
#[test]
fn archives_of_version_1_are_read_for_ever() {
    let files = [model("sensor-pico"), AlignedBytes::new(&std::fs::read(data_file("first/sensor-pico.mbb")).unwrap())];
    let [blob, first] = files.each_ref().map(|file| Blob::parse(file.as_slice()).unwrap());
    let [engine, first_engine] = [blob, first].map(|blob| IntEngine::of(blob, Cpu::default()));
    for (name, engine, blob) in [
        ("golden/none", None, None),
        ("golden/sensor-pico", Some(&engine), Some(&blob)),
        ("first/sensor-pico", Some(&first_engine), Some(&first)),
    ] {
        let archive = std::fs::read(data_file(&format!("{name}-8K.mba"))).unwrap();
        let (text, end) = unpack(engine, &archive[..]);
        end.unwrap();
        assert!(text == TEXT, "{name}");
        assert!(pack(engine, &header(blob, Some(Preset::K8), BLOCK), TEXT).0 == archive, "{name} is written anew");
    }
}

/// A primed adapter of version 1, written once by `mambabyte prime`: read for ever, and what it says next does not change.
#[test]
fn the_golden_primed_adapter_is_one_that_has_read_the_text() {
    let file = std::fs::read(data_file("golden/sensor-pico-8K.mbp")).unwrap();
    let primed = Primed::parse(&file).unwrap();
    let blob = model("sensor-pico");
    let blob = Blob::parse(blob.as_slice()).unwrap();
    assert_eq!((primed.model(), primed.id().bytes), (ModelName::of(&blob), TEXT.len() as u64));
    let engine = IntEngine::of(blob, Cpu::default());
    let mut mixture = Mixture::new(Some(&engine), Some(AnyAdapter::new(Preset::K8, true))).unwrap();
    mixture.read(TEXT, |_, _| Ok::<_, EngineError>(())).unwrap();
    assert!(mixture.parts().1.unwrap().save() == primed.adapter());
    for (at, byte) in file.iter().enumerate() {
        let mut damaged = file.clone();
        damaged[at] = byte ^ 4;
        assert!(Primed::parse(&damaged).is_err(), "byte {at}");
        assert!(Primed::parse(&file[..at]).is_err(), "{at} bytes");
    }
}
