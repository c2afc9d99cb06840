//! Lays sections out as a blob: header, table, checksums, fingerprint. `core/FORMAT.md` is the specification.

use mambabyte_core::blob::{
    ALIGN, HEADER, LayerParams, MAGIC, QUANT_W8A16H16, SECTIONS, Section, TABLE_ROW, VERSION, align_up, blob_bytes,
    payload_offset,
};
use mambabyte_core::{Blob, Dims, Fingerprint, Norm, VOCAB};
use sha2::{Digest, Sha256};

/// Everything that a blob holds, as values.
#[derive(Clone, Debug)]
pub struct BlobParts {
    /// The shape.
    pub dims: Dims,
    /// At most 24 bytes; longer names are cut at a character.
    pub name: String,
    /// Fractional bits of the residual stream.
    pub residual_frac: u8,
    /// Shift of the last norm.
    pub norm_f_shift: u8,
    /// `base` of the embedding's row multipliers.
    pub embedding_shift: u8,
    /// `base` of the head's row multipliers.
    pub head_shift: u8,
    /// `norm_eps * d_model * 2^(2 * residual_frac)`.
    pub norm_eps: u64,
    /// log2 of the scale of the head's input, Q8.
    pub head_in_scale_log2: i16,
    /// Bits per byte above which a text is none that the model knows, Q8, at most 2048; 0: it does not say.
    pub unknown_text: u16,
    /// One per layer.
    pub layers: Vec<LayerParams>,
    /// Bytes of each section by `Section as usize`; `LayerParams` is taken from `layers`.
    pub sections: Vec<Vec<u8>>,
}

impl BlobParts {
    /// Empty parts of shape `dims`.
    pub fn new(dims: Dims, name: &str) -> Self {
        Self {
            dims,
            name: name.to_owned(),
            residual_frac: 16,
            norm_f_shift: 1,
            embedding_shift: 1,
            head_shift: 1,
            norm_eps: 0,
            head_in_scale_log2: 0,
            unknown_text: 0,
            layers: Vec::new(),
            sections: vec![Vec::new(); SECTIONS],
        }
    }

    /// Appends i8 values to a section.
    pub fn push_i8(&mut self, section: Section, values: &[i8]) {
        self.sections[section as usize].extend_from_slice(bytemuck::cast_slice(values));
    }

    /// Appends bytes to a section.
    pub fn push_u8(&mut self, section: Section, values: &[u8]) {
        self.sections[section as usize].extend_from_slice(values);
    }

    /// Appends i16 values to a section.
    pub fn push_i16(&mut self, section: Section, values: &[i16]) {
        self.sections[section as usize].extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }

    /// The blob.
    ///
    /// # Panics
    /// If a section does not have the length that `dims` gives it: a bug of the caller.
    pub fn finish(mut self) -> Vec<u8> {
        let dims = self.dims;
        self.sections[Section::LayerParams as usize] = bytemuck::cast_slice(&self.layers).to_vec();
        let mut out = vec![0u8; blob_bytes(&dims) as usize];
        let total = out.len() as u64;
        let flags =
            u32::from(dims.norm == Norm::Layer) | u32::from(!dims.tied_head) << 1 | u32::from(dims.tied_decays) << 2;
        out[0..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&(HEADER as u16).to_le_bytes());
        let words = [
            flags,
            QUANT_W8A16H16,
            SECTIONS as u32,
            dims.d_model as u32,
            dims.n_layer as u32,
            dims.d_inner as u32,
            dims.d_state as u32,
            dims.d_conv as u32,
            dims.dt_rank as u32,
            VOCAB as u32,
        ];
        out[12..52].copy_from_slice(bytemuck::cast_slice(&words));
        out[52..56].copy_from_slice(&[self.residual_frac, self.norm_f_shift, self.embedding_shift, self.head_shift]);
        out[56..64].copy_from_slice(&total.to_le_bytes());
        out[64..72].copy_from_slice(&self.norm_eps.to_le_bytes());
        out[72..74].copy_from_slice(&self.head_in_scale_log2.to_le_bytes());
        let mut offset = payload_offset();
        let mut hash = Sha256::new();
        hash.update(&out[8..80]);
        for section in Section::ALL {
            let data = &self.sections[section as usize];
            assert_eq!(data.len() as u64, section.bytes(&dims), "section {}", section.name());
            hash.update(data);
            let row = HEADER + section as usize * TABLE_ROW;
            out[row..row + 4].copy_from_slice(&((offset / ALIGN as u64) as u32).to_le_bytes());
            out[row + 4..row + 8].copy_from_slice(&crc32fast::hash(data).to_le_bytes());
            out[offset as usize..offset as usize + data.len()].copy_from_slice(data);
            offset += align_up(data.len() as u64);
        }
        out[80..96].copy_from_slice(&hash.finalize()[..16]);
        let mut cut = self.name.len().min(24);
        while !self.name.is_char_boundary(cut) {
            cut -= 1;
        }
        out[96..96 + cut].copy_from_slice(&self.name.as_bytes()[..cut]);
        out[120..122].copy_from_slice(&self.unknown_text.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&out[..HEADER - 4]);
        hasher.update(&out[HEADER..HEADER + SECTIONS * TABLE_ROW]);
        let crc = hasher.finalize();
        out[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
        out
    }
}

/// The fingerprint that the bytes of a blob should carry.
///
/// # Cost
/// SHA-256 over every byte, on one thread: 0.7 ms each MB with the instructions that most processors have for it, several
/// times that without.
pub fn fingerprint(blob: &Blob<'_>) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update(&blob.as_bytes()[8..80]);
    for section in Section::ALL {
        hash.update(blob.section(section));
    }
    let mut out = [0; 16];
    out.copy_from_slice(&hash.finalize()[..16]);
    out
}

/// A blob whose contents are not those that its fingerprint names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherContents {
    /// What the header says.
    pub stored: Fingerprint,
    /// That of the contents.
    pub contents: Fingerprint,
}

impl std::fmt::Display for OtherContents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = |name: Fingerprint| u128::from_be_bytes(name);
        let (stored, contents) = (hex(self.stored), hex(self.contents));
        write!(f, "the blob calls itself {stored:032x}, its contents are {contents:032x}")
    }
}

impl std::error::Error for OtherContents {}

/// Compares the fingerprint with the contents. A state is taken by the fingerprint alone, so a blob under another's
/// would go on from the other's states.
///
/// # Errors
/// [`OtherContents`] has both.
/// # Cost
/// That of [`fingerprint`].
pub fn verify(blob: &Blob<'_>) -> Result<(), OtherContents> {
    let (stored, contents) = (blob.fingerprint(), fingerprint(blob));
    if stored == contents { Ok(()) } else { Err(OtherContents { stored, contents }) }
}
