//! Lengths in linker scripts: one parser, for `build.rs` and for `cargo xtask firmware`.

/// Bytes of the region `name` of a memory map: the number after its `LENGTH =`, in decimal or after `0x`; a `K` or an
/// `M` after it means times 1024 or times 1024 * 1024.
pub(crate) fn region(map: &str, name: &str) -> Option<u64> {
    let line = map.lines().map(str::trim).find(|line| line.split([' ', '(', ':']).next() == Some(name))?;
    let (_, length) = line.split_once("LENGTH")?;
    bytes(length.trim_start().strip_prefix('=')?)
}

/// A length as the linker reads it.
fn bytes(text: &str) -> Option<u64> {
    let text = text.split([',', '}']).next()?.trim();
    let (number, scale) = match text.strip_suffix(['K', 'k']) {
        Some(number) => (number, 1024),
        None => match text.strip_suffix(['M', 'm']) {
            Some(number) => (number, 1024 * 1024),
            None => (text, 1),
        },
    };
    let number = match number.strip_prefix("0x").or(number.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    number.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::region;

    #[test]
    fn lengths_of_every_kind() {
        for (text, bytes) in [
            ("64K", 65_536),
            ("64k", 65_536),
            ("4M", 4_194_304),
            ("65536", 65_536),
            ("262136", 262_136),
            ("0x10000", 65_536),
            ("0x40K", 65_536),
            ("8", 8),
        ] {
            let map = format!(
                "MEMORY\n{{\n  FLASH : ORIGIN = 0x0, LENGTH = 1K\n  RAM (rwx) : ORIGIN = 4K, LENGTH = {text}\n}}"
            );
            assert_eq!(region(&map, "RAM"), Some(bytes), "{text}");
            assert_eq!(region(&map, "FLASH"), Some(1024));
        }
    }

    #[test]
    fn what_is_no_length() {
        for text in ["", "K", "64G", "-1", "0x", "1.5K", "99999999999999999999", "18446744073709551615K"] {
            assert_eq!(region(&format!("RAM : ORIGIN = 0, LENGTH = {text}"), "RAM"), None, "{text}");
        }
        assert_eq!(region("RAMDISK : ORIGIN = 0, LENGTH = 1K", "RAM"), None);
        assert_eq!(region("REGION_ALIAS(\"REGION_DATA\", RAM);", "RAM"), None);
    }
}
