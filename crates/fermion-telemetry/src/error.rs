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
    /// The directory of buffered telemetry cannot be made or read.
    #[error("cannot open the buffer of telemetry {}: {source}", path.display())]
    Buffer {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Where telemetry is to be sent is not understood.
    #[error("{given:?} is no receiver of telemetry: {why}")]
    Receiver {
        /// What was given, without a user's name and password.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// A header for the receiver cannot be sent.
    #[error("the header {name:?} for the receiver of telemetry cannot be sent")]
    ReceiverHeader {
        /// Its name; the value is nobody's business.
        name: String,
    },
    /// The thread that writes a log cannot be started.
    #[error("cannot start the log writer: {source}")]
    Thread {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
