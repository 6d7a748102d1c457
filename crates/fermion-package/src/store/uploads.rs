//! Blobs that arrive in several requests. What has arrived survives the process; what nobody finishes is collected. An
//! upload belongs to the repository it was begun in: the name of its file holds the hash of the repository's name.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use super::digest::hash_file;
use super::{ContentDigest, Repository, files};
use crate::{Error, Result, canonical};

/// The name of an upload: 32 hex digits that the caller has drawn at random, or derived from what it uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadId(String);

impl UploadId {
    /// From 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(hex::encode(bytes))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 32 && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::UploadUnknown)
        }
    }
}

/// An upload that this request alone may write to.
#[derive(Debug)]
pub struct Upload {
    repository: Repository,
    path: PathBuf,
    /// Locked for as long as it is open.
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl Repository {
    fn upload_path(&self, id: &UploadId) -> PathBuf {
        let owner = canonical::digest(self.name().as_str().as_bytes()).hex();
        let file = format!("{}.{}", id.as_str(), &owner[..32]);
        self.store().root().join("uploads").join(file)
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED` if too many are unfinished, or the repository is full already.
    pub fn begin_upload(&self, id: &UploadId) -> Result<()> {
        self.store().check_uploads(self.name())?;
        let path = self.upload_path(id);
        File::create_new(&path)
            .map(|_| ())
            .map_err(Error::io("make", &path))
    }

    /// How many bytes of an upload have arrived.
    pub fn upload_bytes(&self, id: &UploadId) -> Result<u64> {
        let path = self.upload_path(id);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::UploadUnknown),
            Err(error) => Err(Error::io("look at", &path)(error)),
        }
    }

    /// Takes an upload up where it stands; it may grow to `bytes_max`.
    ///
    /// # Errors
    /// `UPLOAD_UNKNOWN`; `UPLOAD_BUSY` while another request has it.
    pub fn upload(&self, id: &UploadId, bytes_max: u64) -> Result<Upload> {
        let path = self.upload_path(id);
        let mut file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Error::UploadUnknown),
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::UploadBusy),
            Err(fs::TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
        // Finished or cancelled between opening and locking it.
        if !path.exists() {
            return Err(Error::UploadUnknown);
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(Error::io("look at", &path))?;
        Ok(Upload {
            repository: self.clone(),
            path,
            file,
            bytes,
            bytes_max,
        })
    }

    /// Forgets an upload; false if it was not there.
    pub fn cancel_upload(&self, id: &UploadId) -> Result<bool> {
        match self.upload(id, 0) {
            Ok(upload) => files::remove(&upload.path),
            Err(Error::UploadUnknown) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Upload {
    /// Bytes that have arrived.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// `SIZE_EXCEEDED` and `QUOTA_EXCEEDED` before a byte too much is written.
    pub fn push(&mut self, piece: &[u8]) -> Result<()> {
        let bytes = self.bytes.saturating_add(piece.len() as u64);
        if bytes > self.bytes_max {
            return Err(Error::SizeExceeded {
                what: "the blob".to_owned(),
                bytes_max: self.bytes_max,
            });
        }
        let (store, name) = (self.repository.store(), self.repository.name());
        store.check_bytes(name, bytes)?;
        store.effect(&self.path)?;
        self.file
            .write_all(piece)
            .map_err(Error::io("write", &self.path))?;
        self.bytes = bytes;
        Ok(())
    }

    /// Makes it a blob of its repository, durably; gives its length. The upload is over, whatever comes of it.
    ///
    /// # Errors
    /// `DIGEST_MISMATCH` if what has arrived is something else; `QUOTA_EXCEEDED`.
    pub fn finish(mut self, expected: &ContentDigest) -> Result<u64> {
        let finished = self.settle(expected);
        if finished.is_err() {
            files::remove(&self.path)?;
        }
        finished
    }

    fn settle(&mut self, expected: &ContentDigest) -> Result<u64> {
        let read = Error::io("read", &self.path);
        let found = self
            .file
            .seek(SeekFrom::Start(0))
            .and_then(|_| hash_file(&mut self.file, expected))
            .map_err(read)?;
        if found != *expected {
            return Err(Error::DigestMismatch {
                what: "blob",
                digest: *expected,
                found: found.to_string(),
            });
        }
        let store = self.repository.store();
        store.effect(&self.path)?;
        self.file.sync_all().map_err(Error::io("sync", &self.path))?;
        let change = store.change()?;
        let path = store.content_path(expected);
        // In place of one that is there already: it has the same bytes, or else it is corrupt.
        {
            let _lock = store.lock("lock")?;
            store.effect(&path)?;
            fs::rename(&self.path, &path).map_err(Error::io("rename into", &path))?;
        }
        files::touch(&path)?;
        files::sync_parent(&path)?;
        self.repository.link_blob(&change, expected, self.bytes)?;
        Ok(self.bytes)
    }
}
