//! Blobs that arrive in pieces: counted and hashed on the way, kept only if they are what was announced.

use std::io::Write;

use fermion_model::Digest;
use sha2::Digest as _;
use tempfile::NamedTempFile;

use super::{Repository, Store};
use crate::{Error, Result};

/// A blob that is being received. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    repository: Option<Repository>,
    file: NamedTempFile,
    hasher: sha2::Sha256,
    bytes: u64,
    bytes_max: u64,
}

impl Store {
    /// Begins a blob of at most `bytes_max` that will belong to no repository.
    pub fn writer(&self, bytes_max: u64) -> Result<BlobWriter> {
        self.writer_for(None, bytes_max)
    }

    fn writer_for(&self, repository: Option<Repository>, bytes_max: u64) -> Result<BlobWriter> {
        let (store, file) = (self.clone(), self.temporary()?);
        Ok(BlobWriter {
            store,
            repository,
            file,
            hasher: sha2::Sha256::new(),
            bytes: 0,
            bytes_max,
        })
    }
}

impl Repository {
    /// Begins a blob of at most `bytes_max` that belongs to this repository once it is finished.
    pub fn writer(&self, bytes_max: u64) -> Result<BlobWriter> {
        self.store().writer_for(Some(self.clone()), bytes_max)
    }
}

impl BlobWriter {
    /// Adds a piece.
    ///
    /// # Errors
    /// `SIZE_EXCEEDED` before a byte too much is written.
    pub fn push(&mut self, piece: &[u8]) -> Result<()> {
        let bytes = self.bytes.saturating_add(piece.len() as u64);
        if bytes > self.bytes_max {
            return Err(Error::SizeExceeded {
                what: "the blob".to_owned(),
                bytes_max: self.bytes_max,
            });
        }
        self.store.effect(self.file.path())?;
        self.file.write_all(piece).map_err(|source| Error::Io {
            operation: "write",
            path: self.file.path().to_owned(),
            source,
        })?;
        self.hasher.update(piece);
        self.bytes = bytes;
        Ok(())
    }

    /// Keeps the blob if its digest is `expected`; gives its length.
    pub fn finish(self, expected: &Digest) -> Result<u64> {
        let found = Digest::from_bytes(self.hasher.finalize().into());
        if found != *expected {
            return Err(Error::DigestMismatch {
                what: "blob",
                digest: (*expected).into(),
                found: found.to_string(),
            });
        }
        let change = self.store.change()?;
        self.store.settle(self.file, &self.store.path(expected))?;
        if let Some(repository) = &self.repository {
            repository.link_blob(&change, &(*expected).into(), self.bytes)?;
        }
        Ok(self.bytes)
    }
}
