//! Why a file is not written.

use std::io;
use std::path::PathBuf;

use super::text::shown;

/// Why an output is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputFault {
    /// It is a file that the command reads.
    #[error("this is the input {}, which it would replace", shown(.0))]
    Input(PathBuf),
    /// It is the file of another output, which is named.
    #[error("this is the file of {0} too")]
    Same(String),
    /// It is a folder.
    #[error("this is a folder")]
    Folder,
    /// Its folder is not there.
    #[error("there is no folder {}", shown(.0))]
    NoFolder(PathBuf),
    /// Nothing can be written into its folder.
    #[error("nothing can be written into the folder {}: {reason}", shown(folder))]
    ClosedFolder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// It is a file of another user, in a folder where files are replaced by their owners only.
    #[error("this is a file of another user, which only they may replace in the folder {}", shown(.0))]
    Kept(PathBuf),
    /// Something has come, or has been replaced, since the command began.
    #[error("this is not what was here when the command began; it is left as it is")]
    Changed,
    /// Standard output has no reader any more, and other outputs depend on it.
    #[error("the reader of standard output is gone, and no other file is written without it")]
    NoReader,
    /// It could not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl OutputFault {
    /// Whether the command was used wrongly, as opposed to what the system refused.
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Input(_) | Self::Same(_))
    }
}
