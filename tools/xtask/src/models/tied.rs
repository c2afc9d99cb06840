//! Shipped models with their decays tied, to count the loops for tied decays on boards that no shipped model with tied
//! decays fits.
//!
//! `NAME-tied` is the model NAME, but each channel's decays are the powers of its first. It was not trained like that:
//! it has a cost per byte and no use.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use mambabyte_core::Blob;
use mambabyte_core::blob::Section;
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::quantize::writer::BlobParts;

use super::shipped::{NONE, file};

/// The file of a shipped model, or of one that is made of it.
pub(crate) fn blob_file(root: &Path, model: &str) -> Result<PathBuf> {
    if model == NONE {
        return Ok(NONE.into());
    }
    let shipped = file(root, model, "model.mbb");
    let Some(source) = model.strip_suffix("-tied").filter(|_| !shipped.exists()) else { return Ok(shipped) };
    let original = file(root, source, "model.mbb");
    let bytes = std::fs::read(&original).with_context(|| format!("--model {model}: {}", original.display()))?;
    let bytes = AlignedBytes::new(&bytes);
    let blob = Blob::parse(bytes.as_slice()).map_err(|e| anyhow!("{source}: {e}"))?;
    let made = tied(&blob, model)?;
    let folder = root.join("firmware/target/models");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{model}.mbb"));
    // The same bytes are not written again, so that no program is built again.
    if std::fs::read(&path).ok().as_deref() != Some(&*made) {
        std::fs::write(&path, made).with_context(|| format!("{} could not be written", path.display()))?;
    }
    Ok(path)
}

/// The same model with the first row of each layer's `a_log` for all states.
fn tied(blob: &Blob<'_>, name: &str) -> Result<Vec<u8>> {
    let mut dims = *blob.dims();
    let channels = dims.d_inner;
    let rows = dims.a_log_rows();
    dims.tied_decays = true;
    let mut parts = BlobParts::new(dims, name);
    // `core/FORMAT.md`, the header.
    let header = blob.as_bytes().first_chunk::<96>().context("a blob has a header")?;
    parts.residual_frac = blob.residual_frac();
    parts.norm_f_shift = header[53];
    (parts.embedding_shift, parts.head_shift) = blob.embedding_and_head_shift();
    parts.norm_eps = u64::from_le_bytes(*header[64..].first_chunk().context("a header is that long")?);
    parts.head_in_scale_log2 = blob.head_in_scale_log2();
    parts.layers = blob.blocks().map(|layer| *layer.params()).collect();
    for section in Section::ALL.into_iter().skip(1) {
        let values = blob.section(section);
        if section == Section::ALog {
            values.chunks(rows * channels).for_each(|layer| parts.push_u8(section, &layer[..channels]));
        } else {
            parts.push_u8(section, values);
        }
    }
    Ok(parts.finish())
}
