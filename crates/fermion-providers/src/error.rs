//! What can go wrong with a store's file. It is logged; the guest is only told that the store failed.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of the file cannot be made.
    #[error("cannot make the folder {}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be opened.
    #[error("cannot open the store {path}: {source}")]
    Open {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: Box<redb::DatabaseError>,
    },
    /// Reading or writing failed.
    #[error("cannot {doing}: {source}")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
}

impl Error {
    pub(crate) fn storage<E: Into<redb::Error>>(doing: &'static str) -> impl Fn(E) -> Self + Copy {
        move |source| Self::Storage {
            doing,
            source: Box::new(source.into()),
        }
    }
}
