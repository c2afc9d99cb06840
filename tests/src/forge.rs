//! Hostile blobs: checksums and bounds are right, and whatever these leave open is as bad as it can be. Shapes lie at and
//! beside the widths of vectors; weights, codes, biases and shifts at their ends or anywhere, in all of a blob or in some
//! places of a sane one, so that saturation meets ordinary numbers.
//!
//! Such a blob has the bits of the scalar code wherever it runs, and nothing overflows: `tests/tests/forge.rs` for the
//! backends of this machine, `host/tests/gpu_forge.rs` for a GPU, `cargo xtask web test` and `cargo xtask firmware forge`
//! for WebAssembly and for chips.

use std::ops::Range;

use mambabyte_core::blob::{LayerParams, Section, blob_bytes};
use mambabyte_core::{Backend, Blob, Decoder, Dims, Logits, Norm, Rng};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::quantize::writer::BlobParts;
use mambabyte_host::random_blob::has_codes;

/// The seeds that every test takes.
pub const SEEDS: Range<u64> = 0..100;
/// Bytes of a text.
pub const BYTES: usize = 200;
/// Bytes of the largest blob of most seeds, and of each sixteenth.
const LARGEST: [u64; 2] = [40 << 10, 300 << 10];

/// A blob and a text for it.
pub struct Forged {
    /// What it was made of.
    pub seed: u64,
    memory: AlignedBytes,
    /// [`BYTES`] bytes.
    pub text: Vec<u8>,
}

impl Forged {
    /// Equal seeds give equal blobs and texts.
    pub fn new(seed: u64) -> Self {
        let mut forge = Forge::new(seed);
        let memory = AlignedBytes::new(&forge.blob());
        Self { seed, memory, text: forge.text() }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &AlignedBytes {
        &self.memory
    }

    /// The blob.
    ///
    /// # Panics
    /// If it is refused: then nothing was forged.
    pub fn blob(&self) -> Blob<'_> {
        Blob::parse(self.memory.as_slice()).unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// The logits after every byte from the zero state, by the scalar code.
    pub fn truth(&self) -> Vec<Logits> {
        let scalar = Backend::by_name("scalar").expect("every host has the scalar code");
        let mut decoder = Decoder::owned(self.blob()).with_backend(scalar);
        self.text.iter().map(|&byte| *decoder.step(byte)).collect()
    }

    /// One record for a program elsewhere: the blob, the text, the checksum that it must compute, little-endian.
    pub fn record(&self) -> Vec<u8> {
        let mut record = self.memory.as_slice().to_vec();
        record.extend(&self.text);
        record.extend(checksum(&self.truth()).to_le_bytes());
        record
    }
}

/// CRC-32 of logits, little-endian.
pub fn checksum(logits: &[Logits]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    logits.as_flattened().iter().for_each(|logit| crc.update(&logit.to_le_bytes()));
    crc.finalize()
}

/// A state of any elements, or of the ends of their range.
pub fn hostile_state(seed: u64, elements: usize) -> Vec<i16> {
    let mut rng = Rng::new(seed ^ 77);
    let kind = rng.next_u64() % 3;
    let element = |_| match (kind, rng.next_u64()) {
        (0, any) => any as i16,
        (1, _) => i16::MIN,
        (_, any) if any & 1 == 0 => i16::MAX,
        _ => i16::MIN,
    };
    (0..elements).map(element).collect()
}

struct Forge {
    seed: u64,
    rng: Rng,
    /// Of 16 values, how many are hostile.
    hostile: u64,
}

impl Forge {
    fn new(seed: u64) -> Self {
        let mut forge = Self { seed, rng: Rng::new(seed.wrapping_mul(0x0123_4567)), hostile: 0 };
        // Blobs that are hostile throughout saturate at once: more of them are mostly sane.
        forge.hostile = forge.pick([16, 6, 2, 1, 1, 1, 0, 0]);
        forge
    }

    fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        from[(self.rng.next_u64() % N as u64) as usize]
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.rng.next_u64() % (high - low + 1) as u64) as i64
    }

    /// Whether the next value is hostile.
    fn bad(&mut self) -> bool {
        self.rng.next_u64() % 16 < self.hostile
    }

    fn dims(&mut self) -> Dims {
        let most = LARGEST[usize::from(self.seed % 16 == 15)];
        loop {
            let dims = Dims {
                d_model: self.pick([16, 17, 24, 31, 32, 33, 48, 64, 96, 100, 128, 511, 512, 513, 1024]),
                n_layer: self.pick([1, 1, 1, 2, 2, 3, 5, 16]),
                d_inner: self.pick([16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 128, 160, 511, 512, 513, 2048]),
                d_state: self.pick([1, 2, 3, 7, 8, 15, 16, 16, 17, 32, 63, 64]),
                d_conv: self.pick([2, 3, 4, 4]),
                dt_rank: self.pick([1, 2, 3, 4, 8, 15, 16, 17, 31, 32, 64, 255, 256, 257, 512]),
                norm: self.pick([Norm::Rms, Norm::Layer]),
                tied_head: self.pick([true, false]),
                tied_decays: self.pick([true, false]),
            };
            if dims.out_of_bounds().is_none() && blob_bytes(&dims) <= most {
                return dims;
            }
        }
    }

    /// A shift of a range that ends at 54, near `sane`.
    fn shift(&mut self, sane: u32, low: u8) -> u8 {
        if self.bad() {
            let any = self.between(low.into(), 54) as u8;
            return self.pick([low, low, low + 1, 54, any, any]);
        }
        (i64::from(sane) + self.between(-1, 1)).clamp(low.into(), 54) as u8
    }

    fn layer(&mut self, dims: &Dims) -> LayerParams {
        let half = |columns: usize| columns.ilog2() / 2;
        LayerParams {
            norm_shift: self.shift(23, 1),
            in_proj_shift: self.shift(22 + half(dims.d_model), 1),
            conv_shift: self.shift(23, 1),
            x_proj_shift: self.shift(22 + half(dims.d_inner), 1),
            dt_proj_shift: self.shift(22 + half(dims.dt_rank), 1),
            out_proj_shift: self.shift(24 + half(dims.d_inner), 18),
            y_shift: self.shift(20, 1),
            d_shift: self.shift(12, 1),
            gate_shift: self.shift(14, 1),
            x_frac: self.between(4, 15) as u8,
            z_frac: self.between(4, 15) as u8,
            a_base: if self.bad() {
                let any = self.rng.next_u64() as i16;
                self.pick([i16::MAX, i16::MIN, 0, any])
            } else {
                self.between(-8000, 4000) as i16
            },
            dx_base: if self.bad() {
                let any = self.between(-(1 << 20), 1 << 20) as i32;
                self.pick([1 << 20, -(1 << 20), any])
            } else {
                self.between(-12_000, 12_000) as i32
            },
            scale_log2: std::array::from_fn(|_| self.rng.next_u64() as i16),
            ..LayerParams::ZERO
        }
    }

    /// A section of bytes: weights, or the codes of rows and channels.
    fn bytes(&mut self, section: Section, len: usize) -> Vec<u8> {
        let codes = has_codes(section);
        let kind = if self.bad() { self.between(1, 7) } else { 0 };
        let byte = |at: usize| {
            let any = self.rng.next_u64();
            match kind {
                0 if codes => any as u8 & 63,
                0 | 1 => any as u8,
                2 => 0x7f,
                3 => 0x80,
                4 => [0x7f, 0x80][any as usize & 1],
                5 => [0x7f, 0x81][at & 1],
                6 => 0xff,
                // Mostly nothing.
                _ => {
                    if any.is_multiple_of(17) {
                        (any >> 8) as u8
                    } else {
                        0
                    }
                }
            }
        };
        (0..len).map(byte).collect()
    }

    /// A section of i16: norms, biases, the skip.
    fn words(&mut self, section: Section, len: usize) -> Vec<i16> {
        let kind = if self.bad() { self.between(1, 5) } else { 0 };
        let word = |_| {
            let any = self.rng.next_u64();
            match kind {
                0 if section == Section::NormWeight => 4096 + (any % 8192) as i16,
                0 => (any % 2048) as i16 - 1024,
                1 => any as i16,
                2 => i16::MAX,
                3 => i16::MIN,
                4 => [i16::MAX, i16::MIN][any as usize & 1],
                _ => 0,
            }
        };
        (0..len).map(word).collect()
    }

    fn blob(&mut self) -> Vec<u8> {
        let dims = self.dims();
        let mut parts = BlobParts::new(dims, "forged");
        parts.residual_frac = self.between(0, 24) as u8;
        parts.norm_f_shift = self.shift(23, 1);
        parts.embedding_shift = self.shift(8, 1);
        parts.head_shift = self.shift(22 + dims.d_model.ilog2() / 2, 1);
        parts.norm_eps = if self.bad() {
            let any = self.rng.next_u64() >> 8;
            self.pick([0, 1, 1 << 56, any])
        } else {
            self.rng.next_u64() >> 40
        };
        parts.head_in_scale_log2 = self.rng.next_u64() as i16;
        parts.layers = (0..dims.n_layer).map(|_| self.layer(&dims)).collect();
        for section in Section::ALL.into_iter().filter(|&section| section != Section::LayerParams) {
            let len = section.bytes(&dims) as usize;
            if section.element_size() == 2 {
                let words = self.words(section, len / 2);
                parts.push_i16(section, &words);
            } else {
                let bytes = self.bytes(section, len);
                parts.push_u8(section, &bytes);
            }
        }
        parts.finish()
    }

    /// Noise, one byte, a sentence that repeats, or letters and the last byte value in turn.
    fn text(&mut self) -> Vec<u8> {
        const SENTENCE: &[u8] = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M\r\n";
        let (kind, one) = (self.rng.next_u64() % 4, self.rng.next_u64() as u8);
        let byte = |at: usize| match kind {
            0 => self.rng.next_u64() as u8,
            1 => one,
            2 => SENTENCE[at % SENTENCE.len()],
            _ if (at / 50).is_multiple_of(2) => b'a' + (self.rng.next_u64() % 3) as u8,
            _ => 0xff,
        };
        (0..BYTES).map(byte).collect()
    }
}
