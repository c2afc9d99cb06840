//! Where a blob lies.

use std::io;

/// Memory that holds a blob.
pub trait Source: AsRef<[u8]> + Send + Sync {
    /// Copies the bytes from `at` on to `out`. A map that reads them from its file brings no page into memory for it.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, at: usize, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.as_ref().get(at..).and_then(|from| from.get(..out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// The bytes are not looked at again soon: a map gives the memory of its pages back.
    fn release(&self) {}
}
