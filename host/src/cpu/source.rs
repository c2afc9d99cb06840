//! Where a blob lies.

use std::io;

/// Memory that holds a blob.
pub trait Source: AsRef<[u8]> + Send + Sync {
    /// Fills `out` with the bytes from `at` on. A map may read them from its file, which brings none of its pages into
    /// memory.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, at: usize, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.as_ref().get(at..).and_then(|from| from.get(..out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// The bytes are not read again soon: a map gives back the memory of its pages.
    fn release(&self) {}
}
