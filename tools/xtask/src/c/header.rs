//! The C header, made by cbindgen from the sources of `core/capi`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use cbindgen::{Builder, Config, DocumentationStyle, EnumConfig, Language, RenameRule, Style};

/// Where it is, from the root of the repository.
const PATH: &str = "core/include/mambabyte.h";
/// In the order of the header.
const SOURCES: [&str; 5] = ["status", "decoder", "logits", "adapter", "detector"];

/// What stands before the declarations.
const INTRODUCTION: &str = "\
/*
 * MambaByte: a byte-level Mamba model, one byte in, 256 logits out, the same bits on every machine.
 *
 * Made by `cargo xtask c header` from core/capi; do not edit.
 *
 * All memory is the caller's. Nothing is allocated, nothing is global. A function returns a mambabyte_status; what it
 * hands back goes through pointers and is written only if the status is MAMBABYTE_STATUS_OK. Pointers are checked: null,
 * misaligned, overlapping and too short memory is refused. That memory exists and stays is up to the caller. Different
 * decoders may be used by different threads, one decoder by one thread at a time.
 *
 * Numbers are integers: \"16 fractional bits\" means that 65536 stands for 1.
 */";

/// The header as it must be.
pub(crate) fn generate(root: &Path) -> Result<String> {
    let mut config = Config {
        language: Language::C,
        style: Style::Type,
        header: Some(INTRODUCTION.to_owned()),
        include_guard: Some("MAMBABYTE_H".to_owned()),
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        after_includes: Some(
            "\n#if UINTPTR_MAX > 0xffffffffu\n#define MAMBABYTE_64_BIT\n#else\n#define MAMBABYTE_32_BIT\n#endif"
                .to_owned(),
        ),
        cpp_compat: true,
        usize_is_size_t: true,
        line_length: 120,
        tab_width: 4,
        documentation_style: DocumentationStyle::C99,
        enumeration: EnumConfig { rename_variants: RenameRule::QualifiedScreamingSnakeCase, ..EnumConfig::default() },
        ..Config::default()
    };
    for (width, define) in [("64", "MAMBABYTE_64_BIT"), ("32", "MAMBABYTE_32_BIT")] {
        config.defines.insert(format!("target_pointer_width = {width}"), define.to_owned());
    }
    for (rust, c) in [
        ("Status", "mambabyte_status"),
        ("MambabyteDecoder", "mambabyte_decoder"),
        ("MambabyteSizes", "mambabyte_sizes_t"),
        ("MambabyteSampling", "mambabyte_sampling"),
        ("MambabyteVerdict", "mambabyte_verdict"),
    ] {
        config.export.rename.insert(rust.to_owned(), c.to_owned());
    }
    let mut builder = Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(root.join("core/capi/src").join(source).with_extension("rs"));
    }
    let mut bytes = Vec::new();
    builder.generate().context("cbindgen")?.write(&mut bytes);
    // The heading that Rust wants means little to a reader of C.
    Ok(String::from_utf8(bytes)?.replace("// # Safety\n", "// The caller's part:\n"))
}

/// Writes the header, or compares it.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let (path, text) = (root.join(PATH), generate(root)?);
    if check {
        if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            bail!("{PATH} is not current: run `cargo xtask c header`");
        }
        return Ok(());
    }
    let unfinished = path.with_extension("h.new");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, &path)?;
    println!("{}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_current() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        run(&root, true).unwrap();
    }
}
