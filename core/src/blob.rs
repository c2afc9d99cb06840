//! The blob: a trained, quantised model as one flat file, read in place from flash or a memory map.
//!
//! `FORMAT.md` beside this crate's `src` documents it byte by byte. [`Blob::parse`] checks everything once (magic,
//! version, alignment, bounds of every dimension, that the sections tile the file, ranges of shifts, checksums);
//! afterwards no accessor and no step can fail. Nothing is copied: a [`Blob`] is a set of slices.

use bytemuck::Pod;

use crate::cannot::never;
use crate::dims::{Dims, Norm, VOCAB};
use crate::weights::WeightsView;

mod error;
mod layers;
mod params;
mod section;
#[cfg(mambabyte_tiles)]
mod tiled;

pub use error::BlobError;
pub use layers::{BlockView, Blocks, LayerView};
pub use params::LayerParams;
use params::in_range;
pub use section::{ALIGN, HEADER, MAGIC, SECTIONS, Section, TABLE_ROW, VERSION, align_up, blob_bytes, payload_offset};
#[cfg(mambabyte_tiles)]
pub use tiled::matrices;

/// Bytes up to the end of the section table.
const TABLE_END: usize = HEADER + SECTIONS * TABLE_ROW;
/// What a byte costs at most where nothing is known, Q8 bits.
const MOST_BITS: u16 = 8 * 256;
/// i8 weights, i16 activations, i16 state.
pub const QUANT_W8A16H16: u32 = 1;

/// CRC-32 as in zip and PNG. One table for all uses; on chips no table, which would be a thirtieth of their program.
pub(crate) static CRC32: crc::Crc<u32, CrcTable> = crc::Crc::<u32, CrcTable>::new(&crc::CRC_32_ISO_HDLC);
type CrcTable = crc::Table<{ if cfg!(mambabyte_mcu) { 0 } else { 1 } }>;
/// A checksum that is not complete.
#[cfg(any(feature = "record", feature = "flash"))]
pub(crate) type Crc32Digest = crc::Digest<'static, u32, CrcTable>;

/// 128 bits that name a model: the head of SHA-256 over its shape and all sections.
pub type Fingerprint = [u8; 16];

/// A checked blob, borrowed from wherever it lies.
#[derive(Clone, Copy)]
pub struct Blob<'a> {
    dims: Dims,
    bytes: &'a [u8],
    pub(crate) head: HeadParams,
    fingerprint: Fingerprint,
    sections: [&'a [u8]; SECTIONS],
    #[cfg(mambabyte_tiles)]
    tiled: bool,
}

/// Header numbers that the step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadParams {
    pub(crate) residual_frac: u8,
    pub(crate) norm_f_shift: u8,
    pub(crate) embedding_shift: u8,
    pub(crate) head_shift: u8,
    pub(crate) norm_eps: u64,
}

/// `N` bytes at `at`; zeros if the slice ends before. No panic path, not even in constants.
pub(crate) const fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    match bytes.split_at_checked(at) {
        Some((_, rest)) => match rest.first_chunk() {
            Some(&array) => array,
            None => [0; N],
        },
        None => [0; N],
    }
}

const fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

const fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

const fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// Reads the shape from a header: magic, version and bounds are checked, checksums are not.
///
/// # Errors
/// Every [`BlobError`] of the header.
pub const fn read_dims(bytes: &[u8]) -> Result<Dims, BlobError> {
    if bytes.len() < HEADER {
        return Err(BlobError::Truncated { need: HEADER as u64, have: bytes.len() as u64 });
    }
    if u64_at(bytes, 0) != u64::from_le_bytes(MAGIC) {
        return Err(BlobError::BadMagic);
    }
    let version = u16_at(bytes, 8);
    if version != VERSION {
        return Err(BlobError::UnsupportedVersion { found: version });
    }
    if u16_at(bytes, 10) != HEADER as u16 {
        return Err(BlobError::BadHeader { field: "header_bytes", found: u16_at(bytes, 10) as u64 });
    }
    let flags = u32_at(bytes, 12);
    if flags > 7 {
        return Err(BlobError::BadHeader { field: "flags", found: flags as u64 });
    }
    if u32_at(bytes, 16) != QUANT_W8A16H16 {
        return Err(BlobError::BadHeader { field: "quantisation", found: u32_at(bytes, 16) as u64 });
    }
    if u32_at(bytes, 20) != SECTIONS as u32 {
        return Err(BlobError::BadHeader { field: "sections", found: u32_at(bytes, 20) as u64 });
    }
    if u32_at(bytes, 48) != VOCAB as u32 {
        return Err(BlobError::BadHeader { field: "vocabulary", found: u32_at(bytes, 48) as u64 });
    }
    let dims = Dims {
        d_model: u32_at(bytes, 24) as usize,
        n_layer: u32_at(bytes, 28) as usize,
        d_inner: u32_at(bytes, 32) as usize,
        d_state: u32_at(bytes, 36) as usize,
        d_conv: u32_at(bytes, 40) as usize,
        dt_rank: u32_at(bytes, 44) as usize,
        norm: if flags & 1 == 0 { Norm::Rms } else { Norm::Layer },
        tied_head: flags & 2 == 0,
        tied_decays: flags & 4 != 0,
    };
    match dims.out_of_bounds() {
        Some((name, found, low, high)) => Err(BlobError::Dimension { name, found, low, high }),
        None => Ok(dims),
    }
}

impl<'a> Blob<'a> {
    /// Checks a blob and borrows its sections.
    ///
    /// # Errors
    /// [`BlobError`] names what is wrong and where; see there. Any input is safe to give.
    /// # Cost
    /// One pass over the bytes for the checksums. No allocation.
    pub fn parse(bytes: &'a [u8]) -> Result<Blob<'a>, BlobError> {
        Self::parse_parts::<true>(bytes)
    }

    /// [`Blob::parse`] without the checksums of the sections: the caller computes them, faster or later, and gives them
    /// to [`Blob::check_sum`].
    ///
    /// Until then such a blob is as safe to run as any other, but a damaged one gives wrong numbers.
    ///
    /// # Errors
    /// Every [`BlobError`], except that [`BlobError::SectionChecksum`] is found in the layer parameters only.
    /// # Cost
    /// One pass over header, table and layer parameters; weights are not touched.
    pub fn parse_unsummed(bytes: &'a [u8]) -> Result<Blob<'a>, BlobError> {
        Self::parse_parts::<false>(bytes)
    }

    /// Either of the two: with `SUMS` the checksums of all sections are checked.
    #[inline(always)]
    fn parse_parts<const SUMS: bool>(bytes: &'a [u8]) -> Result<Blob<'a>, BlobError> {
        let dims = read_dims(bytes)?;
        let remainder = bytes.as_ptr() as usize % ALIGN;
        if remainder != 0 {
            return Err(BlobError::Misaligned { remainder });
        }
        let (need, have) = (u64_at(bytes, 56), bytes.len() as u64);
        let expected = blob_bytes(&dims);
        if need != expected {
            return Err(BlobError::BadHeader { field: "blob_bytes", found: need });
        }
        if have < need {
            return Err(BlobError::Truncated { need, have });
        }
        if have > need {
            return Err(BlobError::TrailingBytes { need, have });
        }
        // Cannot fail: `need` covers header and table.
        let (Some(header), Some(table)) = (bytes.get(..HEADER - 4), bytes.get(HEADER..TABLE_END)) else {
            return Err(BlobError::Truncated { need, have });
        };
        let mut digest = CRC32.digest();
        digest.update(header);
        digest.update(table);
        let (stored, computed) = (u32_at(bytes, HEADER - 4), digest.finalize());
        if stored != computed {
            return Err(BlobError::HeaderChecksum { stored, computed });
        }
        let sections = parse_sections::<SUMS>(bytes, &dims)?;
        let [residual_frac, norm_f_shift, embedding_shift, head_shift] = array_at(bytes, 52);
        let norm_eps = u64_at(bytes, 64);
        let head = HeadParams { residual_frac, norm_f_shift, embedding_shift, head_shift, norm_eps };
        let fingerprint = array_at(bytes, 80);
        let blob = Blob {
            dims,
            bytes,
            head,
            fingerprint,
            sections,
            #[cfg(mambabyte_tiles)]
            tiled: false,
        };
        blob.check_params()?;
        Ok(blob)
    }

    /// [`Blob::parse_unsummed`] of bytes that were checked and whose matrices were then put in tiles: every one of
    /// [`matrices`] by [`tiles::tile`](crate::tiles::tile).
    ///
    /// Such a blob is only for running, on a backend that [reads tiles](crate::Backend::reads_tiles). For any other
    /// reader its matrices are in disorder, and their checksums do not hold.
    ///
    /// # Errors
    /// As [`Blob::parse_unsummed`].
    #[cfg(mambabyte_tiles)]
    pub fn parse_tiled(bytes: &'a [u8]) -> Result<Blob<'a>, BlobError> {
        Ok(Blob { tiled: true, ..Self::parse_unsummed(bytes)? })
    }

    /// Whether the matrices are in tiles.
    #[cfg(mambabyte_tiles)]
    pub const fn is_tiled(&self) -> bool {
        self.tiled
    }

    /// Compares the CRC-32 that the caller computed over [`Blob::section`] with the stored one.
    ///
    /// # Errors
    /// [`BlobError::SectionChecksum`].
    pub fn check_sum(&self, section: Section, computed: u32) -> Result<(), BlobError> {
        let stored = self.section_crc(section);
        if stored == computed { Ok(()) } else { Err(BlobError::SectionChecksum { section, stored, computed }) }
    }

    /// Every shift and format in its range and every reserved byte zero, so that the step needs no checks.
    fn check_params(&self) -> Result<(), BlobError> {
        let n_layer = self.dims.n_layer;
        for (layer, params) in self.elements::<LayerParams>(Section::LayerParams).iter().enumerate() {
            params.check(layer)?;
        }
        in_range(n_layer, "norm_f_shift", self.head.norm_f_shift, 1, 54)?;
        in_range(n_layer, "embedding_shift", self.head.embedding_shift, 1, 54)?;
        in_range(n_layer, "head_shift", self.head.head_shift, 1, 54)?;
        in_range(n_layer, "residual_frac", self.head.residual_frac, 0, 24)?;
        if self.head.norm_eps > 1 << 56 {
            return Err(BlobError::BadHeader { field: "norm_eps", found: self.head.norm_eps });
        }
        if self.unknown_text() > MOST_BITS {
            return Err(BlobError::BadHeader { field: "unknown_text", found: self.unknown_text() as u64 });
        }
        let reserved = [("reserved", u64_at(self.bytes, 72) >> 16), ("reserved2", u16_at(self.bytes, 122) as u64)];
        match reserved.into_iter().find(|&(_, found)| found != 0) {
            Some((field, found)) => Err(BlobError::BadHeader { field, found }),
            None => Ok(()),
        }
    }

    /// The shape.
    pub const fn dims(&self) -> &Dims {
        &self.dims
    }

    /// 128 bits that name this model; snapshots carry them.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The whole file; the copy of it if the blob is in tiles.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Name given at conversion, at most 24 bytes of UTF-8; empty if there is none.
    pub fn name(&self) -> &'a str {
        let field = self.bytes.get(96..120).unwrap_or_else(|| never("a whole header", &[]));
        let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
        core::str::from_utf8(field.get(..end).unwrap_or(&[])).unwrap_or("")
    }

    /// Bits per byte above which a text is none that this model knows, Q8; 0 if the model does not say. See
    /// [`Detector::set_unknown_text`](crate::detect::Detector::set_unknown_text).
    pub fn unknown_text(&self) -> u16 {
        u16_at(self.bytes, 120)
    }

    /// Raw bytes of a section.
    pub fn section(&self, section: Section) -> &'a [u8] {
        self.sections.get(section as usize).copied().unwrap_or_else(|| never("every section", &[]))
    }

    /// CRC-32 of a section as stored (and checked).
    pub fn section_crc(&self, section: Section) -> u32 {
        u32_at(self.bytes, HEADER + section as usize * TABLE_ROW + 4)
    }

    /// Fractional bits of the residual stream.
    pub const fn residual_frac(&self) -> u8 {
        self.head.residual_frac
    }

    /// log2 of the scale of the head's input in Q8, for people.
    pub fn head_in_scale_log2(&self) -> i16 {
        u16_at(self.bytes, 72) as i16
    }

    /// `base` of the row multipliers of the embedding and of the head.
    pub const fn embedding_and_head_shift(&self) -> (u8, u8) {
        (self.head.embedding_shift, self.head.head_shift)
    }

    /// Shift of the last norm's weights, and the epsilon of all norms as [`norm`](crate::norm::norm) takes it.
    pub const fn norm_f_shift_and_eps(&self) -> (u8, u64) {
        (self.head.norm_f_shift, self.head.norm_eps)
    }

    /// A section as elements.
    fn elements<T: Pod>(&self, section: Section) -> &'a [T] {
        bytemuck::try_cast_slice(self.section(section)).unwrap_or_else(|_| never("sections aligned and whole", &[]))
    }

    /// Layer `index`; a layer of empty tensors if there is no such layer.
    pub fn block(&self, index: usize) -> BlockView<'a> {
        self.blocks().nth(index).unwrap_or(BlockView::Mamba1(LayerView::EMPTY))
    }

    /// All layers, in order. Cheaper than [`Blob::block`] for each.
    pub fn blocks(&self) -> Blocks<'a> {
        let rest = LayerView {
            params: &LayerParams::ZERO,
            norm_weight: self.elements(Section::NormWeight),
            norm_bias: self.elements(Section::NormBias),
            in_proj_code: self.elements(Section::InProjCode),
            in_proj: self.elements(Section::InProj),
            conv_code: self.elements(Section::ConvCode),
            conv: self.elements(Section::Conv),
            conv_bias: self.elements(Section::ConvBias),
            x_proj_code: self.elements(Section::XProjCode),
            x_proj: self.elements(Section::XProj),
            dt_proj_code: self.elements(Section::DtProjCode),
            dt_proj: self.elements(Section::DtProj),
            dt_bias: self.elements(Section::DtBias),
            a_log: self.elements(Section::ALog),
            d_skip: self.elements(Section::DSkip),
            state_code: self.elements(Section::StateCode),
            out_proj_code: self.elements(Section::OutProjCode),
            out_proj: self.elements(Section::OutProj),
            #[cfg(mambabyte_tiles)]
            tiled: self.tiled,
        };
        Blocks { dims: self.dims, params: self.elements(Section::LayerParams), rest }
    }

    /// Row codes `[256]` and weights `[256, d_model]` of the embedding.
    pub fn embedding(&self) -> (&'a [u8], &'a [i8]) {
        (self.elements(Section::EmbeddingCode), self.elements(Section::Embedding))
    }

    /// Row codes and weights of the head: the embedding's if they are tied.
    pub fn head(&self) -> (&'a [u8], &'a [i8]) {
        if self.dims.tied_head {
            self.embedding()
        } else {
            (self.elements(Section::HeadCode), self.elements(Section::Head))
        }
    }

    /// The scale of a byte's row of the embedding, and the row `[d_model]`.
    #[inline(always)]
    pub(crate) fn embedding_of(&self, byte: u8) -> (u8, &'a [i8]) {
        let (codes, rows) = self.embedding();
        let row = rows.chunks_exact(self.dims.d_model.max(1)).nth(byte as usize);
        let code = codes.get(byte as usize).copied();
        (
            code.unwrap_or_else(|| never("a scale for each byte", 0)),
            row.unwrap_or_else(|| never("a row for each byte", &[])),
        )
    }

    /// The head, `[256, d_model]`.
    #[inline(always)]
    pub(crate) fn head_weights(&self) -> WeightsView<'a> {
        let (codes, rows) = self.head();
        WeightsView::of_rows(rows, codes, self.head.head_shift, self.dims.d_model)
    }

    /// Weight and bias of the last norm.
    pub fn norm_f(&self) -> (&'a [i16], &'a [i16]) {
        let last = |all: &'a [i16]| {
            let from = all.len().saturating_sub(self.dims.d_model);
            all.get(from..).unwrap_or_else(|| never("a last row", &[]))
        };
        (last(self.elements(Section::NormWeight)), last(self.elements(Section::NormBias)))
    }
}

impl Dims {
    /// The shape of the model in `blob`, for constants: `static` memory is sized by it at compile time.
    ///
    /// # Panics
    /// If `blob` is not a blob of this version. In a constant that is a compile error with the same words.
    /// ```
    /// # use mambabyte_core::Dims;
    /// const MODEL: &[u8] = include_bytes!("../../models/sensor-pico/model.mbb");
    /// const DIMS: Dims = Dims::of_blob(MODEL);
    /// static STATE: [i16; DIMS.state_len()] = [0; DIMS.state_len()];
    /// assert_eq!(size_of_val(&STATE), 4224);
    /// ```
    pub const fn of_blob(blob: &[u8]) -> Dims {
        match read_dims(blob) {
            Ok(dims) => dims,
            Err(_) => panic!("not a MambaByte blob of this version (see core/FORMAT.md)"),
        }
    }
}

/// Walks the section table: offsets tile the file, padding is zero, checksums hold (with `SUMS` all of them, else that
/// of the layer parameters).
fn parse_sections<'a, const SUMS: bool>(bytes: &'a [u8], dims: &Dims) -> Result<[&'a [u8]; SECTIONS], BlobError> {
    let mut sections: [&[u8]; SECTIONS] = [&[]; SECTIONS];
    // `parse` has checked that the file is as long as all sections together: no part is missing.
    let part = |from: u64, to: u64| {
        let missing = BlobError::Truncated { need: to, have: bytes.len() as u64 };
        bytes.get(from as usize..to as usize).ok_or(missing)
    };
    let mut offset = payload_offset();
    if part(TABLE_END as u64, offset)?.iter().any(|&b| b != 0) {
        return Err(BlobError::Padding { section: Section::LayerParams });
    }
    for (slot, section) in sections.iter_mut().zip(Section::ALL) {
        let row = HEADER + section as usize * TABLE_ROW;
        let found = u32_at(bytes, row) as u64 * ALIGN as u64;
        if found != offset {
            return Err(BlobError::SectionOffset { section, expected: offset, found });
        }
        let data_end = offset + section.bytes(dims);
        let data = part(offset, data_end)?;
        offset = align_up(data_end);
        if part(data_end, offset)?.iter().any(|&b| b != 0) {
            return Err(BlobError::Padding { section });
        }
        if SUMS || section as usize == Section::LayerParams as usize {
            let (stored, computed) = (u32_at(bytes, row + 4), CRC32.checksum(data));
            if stored != computed {
                return Err(BlobError::SectionChecksum { section, stored, computed });
            }
        }
        *slot = data;
    }
    Ok(sections)
}
