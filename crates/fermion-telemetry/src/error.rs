//! What can go wrong while a log is being set up. Nothing here fails later: lines that cannot be written are counted.

use std::io;
use std::path::PathBuf;

/// Setting up a log failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log file cannot be opened for appending.
    #[error("cannot open the log file {}: {source}", path.display())]
    LogFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The thread that writes a log cannot be started.
    #[error("cannot start the log writer: {source}")]
    Thread {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
