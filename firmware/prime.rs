//! The adapter in a file of `mambabyte prime`, checked while the program is built.

use crate::PRESETS;

/// Bytes before the adapter: the layout is in `core/FORMAT.md`.
const HEAD: usize = 64;
const MAGIC: &[u8] = b"MBP\x1a\x01\0\0\0";
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// The adapter of `file`, if that is of the preset `adapt` and was primed with the model `blob`, or without one.
pub(crate) fn adapter(file: &str, adapt: &str, blob: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let file = std::fs::read(file).map_err(|e| e.to_string())?;
    let (head, adapter) = file.split_at_checked(HEAD).ok_or("not a file of `mambabyte prime`")?;
    if !head.starts_with(MAGIC) {
        return Err("not a file of `mambabyte prime`, or of a version that this one does not read".into());
    }
    let number = |at: usize| head.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut digest = CRC.digest();
    digest.update(&head[..HEAD - 4]);
    digest.update(adapter);
    if number(56) as usize != file.len() || number(60) != digest.finalize() {
        return Err("it is damaged".into());
    }
    let preset = adapter.first().and_then(|&id| PRESETS.get(usize::from(id).checked_sub(1)?));
    if preset != Some(&adapt) {
        return Err(format!("an adapter {}, and FW_ADAPT is {adapt}", preset.unwrap_or(&"of an unknown preset")));
    }
    let model = blob.map_or(Some(&[0; 16][..]), |blob| blob.get(80..96));
    if model != head.get(8..24) {
        return Err("it was primed with another model than FW_MODEL".into());
    }
    Ok(adapter.to_vec())
}
