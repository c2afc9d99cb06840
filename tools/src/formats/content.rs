//! What a file is, by its first bytes: the wrong file gets its right name, and what to do about it.

use std::fmt;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A header of JSON after eight bytes of length.
    Safetensors,
    /// A zip with a pickle, as `torch.save` writes it; or one whose directory cannot be read.
    TorchZip,
    /// Something else.
    Foreign(Foreign),
}

/// A kind of file that is no checkpoint for this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// Nothing in it.
    Empty,
    /// What `git clone` leaves without Git LFS.
    LfsPointer,
    /// A web page, often an error page.
    Html,
    /// llama.cpp's format.
    Gguf,
    /// ONNX.
    Onnx,
    /// TensorFlow Lite, LiteRT.
    Tflite,
    /// HDF5: Keras.
    Hdf5,
    /// A zip of NumPy arrays.
    Npz,
    /// One NumPy array.
    Npy,
    /// gzip, bzip2, xz or zstd around something.
    Compressed(&'static str),
    /// A tar archive.
    Tar,
    /// A zip that `torch.save` did not write.
    Zip,
    /// A pickle in the format from before PyTorch 1.6.
    LegacyPickle,
    /// This project's own blob.
    Blob,
    /// JSON, but neither a config nor weights.
    Json,
    /// Some text.
    Text,
    /// None of these.
    Unknown,
}

impl Foreign {
    /// What to do about it.
    pub fn help(self) -> &'static str {
        match self {
            Self::Empty => "the download or the copy of it did not happen: get it again",
            Self::LfsPointer => "in the repository that it is from: git lfs install && git lfs pull",
            Self::Html => {
                "a server's page was saved under this name: download the file itself (the raw or resolve link), logged in if it asks"
            }
            Self::Gguf | Self::Onnx | Self::Tflite | Self::Hdf5 => {
                "it cannot be converted back: give the checkpoint that it was made from, as safetensors or torch.save writes it"
            }
            Self::Npz | Self::Npy => {
                "save the arrays as safetensors, under the names of mamba_ssm: safetensors.numpy.save_file(dict(np.load(path)), \"model.safetensors\")"
            }
            Self::Compressed(_) | Self::Tar => "unpack it first",
            Self::Zip => "if it holds a checkpoint, unpack it; files of torch.save are zips with a data.pkl",
            Self::LegacyPickle => {
                "load it with a PyTorch you trust it with and save it again: torch.save(state_dict, path), or as safetensors"
            }
            Self::Blob => "it needs no conversion: give it to the other commands",
            Self::Json => "give the folder or the file of weights instead",
            Self::Text | Self::Unknown => "weights come as safetensors or as torch.save writes them",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::LfsPointer => "a Git LFS pointer: the weights themselves were not fetched",
            Self::Html => "an HTML page",
            Self::Gguf => "a GGUF file",
            Self::Onnx => "an ONNX file",
            Self::Tflite => "a TensorFlow Lite file",
            Self::Hdf5 => "an HDF5 file (Keras)",
            Self::Npz => "a NumPy archive (npz)",
            Self::Npy => "a NumPy array (npy)",
            Self::Compressed(with) => return write!(f, "compressed with {with}"),
            Self::Tar => "a tar archive",
            Self::Zip => "a zip archive that torch.save did not write",
            Self::LegacyPickle => "a pickle in the format from before PyTorch 1.6",
            Self::Blob => "a MambaByte blob already",
            Self::Json => "a JSON document, not weights",
            Self::Text => "text",
            Self::Unknown => "neither safetensors nor a file of torch.save",
        })
    }
}

/// How much of a file [`Content::of`] looks at.
const LOOK: usize = 512;

impl Content {
    /// By the first bytes of a file; of a zip by its directory, and for ONNX, which has no mark of its own, also by the
    /// end of its name.
    pub(super) fn of(bytes: &[u8], name: &str) -> Self {
        const STARTS: [(&[u8], Foreign); 10] = [
            (b"version https://git-lfs.github.com/", Foreign::LfsPointer),
            (b"\x89HDF\r\n\x1a\n", Foreign::Hdf5),
            (b"\x93NUMPY", Foreign::Npy),
            (b"\x1f\x8b", Foreign::Compressed("gzip")),
            (b"BZh", Foreign::Compressed("bzip2")),
            (b"\xfd7zXZ\0", Foreign::Compressed("xz")),
            (b"\x28\xb5\x2f\xfd", Foreign::Compressed("zstd")),
            (b"7z\xbc\xaf\x27\x1c", Foreign::Compressed("7-Zip")),
            (&mambabyte_core::blob::MAGIC, Foreign::Blob),
            (b"PK\x05\x06", Foreign::Zip),
        ];
        let head = bytes.get(..LOOK).unwrap_or(bytes);
        let text = head.trim_ascii_start();
        let begins =
            |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
        if bytes.is_empty() {
            Self::Foreign(Foreign::Empty)
        } else if let Some((_, kind)) = STARTS.into_iter().find(|(start, _)| head.starts_with(start)) {
            Self::Foreign(kind)
        } else if head.starts_with(b"GGUF") && head.get(5..8) == Some(&[0; 3]) {
            // A version below 256: a text may begin so.
            Self::Foreign(Foreign::Gguf)
        } else if head.get(4..8) == Some(b"TFL3") {
            Self::Foreign(Foreign::Tflite)
        } else if head.starts_with(b"PK\x03\x04") {
            of_zip(bytes).map_or(Self::TorchZip, Self::Foreign)
        } else if head.get(8) == Some(&b'{') && head.get(..8).is_some_and(|length| length.ends_with(&[0; 4])) {
            Self::Safetensors
        } else if head.starts_with(&[0x80]) && head.get(1).is_some_and(|version| (2..=5).contains(version)) {
            Self::Foreign(Foreign::LegacyPickle)
        } else if head.get(257..262) == Some(b"ustar") {
            Self::Foreign(Foreign::Tar)
        } else if begins("<!doctype html") || begins("<html") {
            Self::Foreign(Foreign::Html)
        } else if name.ends_with(".onnx") || is_onnx(head) {
            Self::Foreign(Foreign::Onnx)
        } else if text.starts_with(b"{") && is_text(head) {
            Self::Foreign(Foreign::Json)
        } else if is_text(head) {
            Self::Foreign(Foreign::Text)
        } else {
            Self::Foreign(Foreign::Unknown)
        }
    }
}

/// A zip that `torch.save` did not write.
fn of_zip(bytes: &[u8]) -> Option<Foreign> {
    // A damaged one is for the reader of zips to name.
    let archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).ok()?;
    let ends = |with: &str| archive.file_names().any(|name| name.is_ok_and(|name| name.ends_with(with)));
    if ends("data.pkl") {
        None
    } else if ends(".npy") {
        Some(Foreign::Npz)
    } else {
        Some(Foreign::Zip)
    }
}

/// A ModelProto as exporters write it: field 1, the version of the format, then field 2, the name of the producer.
fn is_onnx(head: &[u8]) -> bool {
    matches!(head, [0x08, 1..=32, 0x12, length, rest @ ..]
        if *length > 0 && rest.get(..usize::from(*length)).is_some_and(|name| name.iter().all(u8::is_ascii_graphic)))
}

/// UTF-8 without control characters; the last character may be cut.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(head.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.is_empty() && valid.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_by_its_name() {
        let zip = |entry: &str| {
            let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            zip.start_file(entry, zip::write::SimpleFileOptions::default()).unwrap();
            zip.finish().unwrap().into_inner()
        };
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        tar[0] = b'a';
        for (bytes, kind) in [
            (b"".to_vec(), Foreign::Empty),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(), Foreign::LfsPointer),
            (b"\n <!DOCTYPE HTML><html>".to_vec(), Foreign::Html),
            (b"<html lang=en>".to_vec(), Foreign::Html),
            (b"GGUF\x03\0\0\0".to_vec(), Foreign::Gguf),
            (b"\x08\x08\x12\x07pytorch\x1a\x032.0".to_vec(), Foreign::Onnx),
            (b"\x1c\0\0\0TFL3\0\0".to_vec(), Foreign::Tflite),
            (b"\x89HDF\r\n\x1a\n\0".to_vec(), Foreign::Hdf5),
            (b"\x93NUMPY\x01\0".to_vec(), Foreign::Npy),
            (zip("a.npy"), Foreign::Npz),
            (zip("a.txt"), Foreign::Zip),
            (b"\x1f\x8b\x08".to_vec(), Foreign::Compressed("gzip")),
            (tar, Foreign::Tar),
            (b"\x80\x02\x8a\x0a".to_vec(), Foreign::LegacyPickle),
            (mambabyte_core::blob::MAGIC.to_vec(), Foreign::Blob),
            (b"{\"weight_map\": {}}".to_vec(), Foreign::Json),
            ("grüße\n".as_bytes().to_vec(), Foreign::Text),
            (b"GGUF is a format.\n".to_vec(), Foreign::Text),
            (vec![0xff; 99], Foreign::Unknown),
        ] {
            assert_eq!(Content::of(&bytes, "x.bin"), Content::Foreign(kind));
            assert!(!kind.help().is_empty() && !kind.to_string().is_empty());
        }
        assert_eq!(Content::of(b"\x08\0\0\0\0\0\0\0{}      ", "x.safetensors"), Content::Safetensors);
        assert_eq!(Content::of(&zip("archive/data.pkl"), "x.pt"), Content::TorchZip);
        assert_eq!(Content::of(&[0xff; 99], "x.onnx"), Content::Foreign(Foreign::Onnx));
    }
}
