//! Everything the bus can refuse or fail at. Messages name the file or the key and what to do next.

use std::path::PathBuf;

/// Why the bus did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the file.
    #[error("{} is in use: another fermion runs on this data directory; stop it, or choose another with --data", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else, or too damaged to be recognised.
    #[error(
        "{} is not a fermion database, or it is damaged ({reason}); move it away to start empty, or restore a copy",
        path.display()
    )]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What the storage engine said.
        reason: String,
    },
    /// A later fermion wrote the file.
    #[error("{} has format {found}, this fermion knows format {known}; use the fermion that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: u64,
        /// What this build knows.
        known: u64,
    },
    /// The file or its folder cannot be made, opened or flushed.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// The operation.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The storage engine failed while the bus was open: a full disk, an I/O error.
    #[error("the bus cannot {doing}: {source}")]
    Storage {
        /// The operation.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// The key breaks the rule for keys.
    #[error(
        "{key:?} is not a key: expected 1 to 512 bytes of A-Z a-z 0-9 - _ . = in segments between single slashes"
    )]
    Key {
        /// The key, shortened.
        key: String,
    },
    /// The value is larger than a document may be.
    #[error("the document {key} has {bytes} bytes, more than the {max} that a document may have", max = crate::limits::VALUE_BYTES_MAX)]
    ValueTooLarge {
        /// The key.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// A commit with no operation, too many, or one key twice.
    #[error("a commit holds 1 to {max} operations with different keys", max = crate::limits::COMMIT_OPS_MAX)]
    Commit,
    /// The document is not in the state the caller expected; nothing was written.
    #[error("the document {key} was changed by someone else (it is now at {})", revision_text(*actual))]
    Conflict {
        /// The key.
        key: String,
        /// Its revision now; none if it does not exist.
        actual: Option<u64>,
    },
    /// More documents match than one listing returns.
    #[error("more than {max} documents begin with {prefix:?}", max = crate::limits::LIST_ENTRIES_MAX)]
    TooManyEntries {
        /// The prefix.
        prefix: String,
    },
    /// The document's bytes are not what the reader knows: written by a later version, or damaged.
    #[error("the document {key} cannot be read: {source}")]
    Decode {
        /// The key.
        key: String,
        /// Why, with the name of the field.
        #[source]
        source: serde_json::Error,
    },
    /// The value cannot be written as JSON: a mistake in the caller's type.
    #[error("the document {key} cannot be written: {source}")]
    Encode {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The lease is held by someone else.
    #[error("the lease {name} is held by {holder}")]
    LeaseHeld {
        /// The lease.
        name: String,
        /// Who holds it.
        holder: String,
        /// Until when, in milliseconds of the caller's clock.
        until_millis: u64,
    },
    /// The lease ran out, was released, or went to someone else: stop what it protected.
    #[error("the lease {name} is lost")]
    LeaseLost {
        /// The lease.
        name: String,
    },
    /// Too many commits wait for the disk.
    #[error("the bus is busy: too many changes wait for the disk; try again")]
    Busy,
    /// A blocking step of the bus panicked or its runtime is shutting down.
    #[error("the bus stopped while it was asked to {doing}")]
    Stopped {
        /// The operation.
        doing: &'static str,
    },
}

fn revision_text(revision: Option<u64>) -> String {
    revision.map_or_else(
        || "no revision: it does not exist".to_owned(),
        |number| format!("revision {number}"),
    )
}

impl Error {
    /// True if a compare-and-set failed because someone else was faster: read again and decide anew.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    pub(crate) fn storage<E: Into<redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Storage {
            doing,
            source: Box::new(source.into()),
        }
    }
}
