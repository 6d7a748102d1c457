//! A blob on its way to the disk: written on a thread of its own, which what blocks needs. A large blob of a repository
//! is kept as an unfinished upload, so that a later process can take it up where this one dies; every other is gone with
//! whoever dropped it.

use bytes::Bytes;
use fermion_model::{Digest, PackageName};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::canonical::Descriptor;
use crate::limits::{RESUMED_BYTES_MIN, TRANSFER_PIECES_MAX};
use crate::store::{Upload, UploadId};
use crate::{BlobWriter, Error, Repository, Result, Store};

/// Runs what blocks where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(tokio::task::spawn_blocking(work).await)
}

fn joined<T>(ended: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    ended.unwrap_or_else(|died| {
        Err(Error::Io {
            operation: "finish a step on",
            path: "the store".into(),
            source: std::io::Error::other(died),
        })
    })
}

/// Where the bytes go.
enum Place {
    Passing(BlobWriter),
    Kept(Upload),
}

impl Place {
    fn find(store: &Store, name: Option<&PackageName>, blob: &Descriptor) -> Result<Self> {
        let kept = match name.filter(|_| blob.size >= RESUMED_BYTES_MIN) {
            Some(name) => kept(&store.repository(name), blob)?,
            None => None,
        };
        match kept {
            Some(upload) => Ok(Self::Kept(upload)),
            None => store.writer(blob.size).map(Self::Passing),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Passing(_) => 0,
            Self::Kept(upload) => upload.bytes(),
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<()> {
        match self {
            Self::Passing(writer) => writer.push(piece),
            Self::Kept(upload) => upload.push(piece),
        }
    }

    fn finish(self, digest: &Digest) -> Result<()> {
        match self {
            Self::Passing(writer) => writer.finish(digest).map(drop),
            Self::Kept(upload) => upload.finish(&(*digest).into()).map(drop),
        }
    }
}

/// The unfinished upload of a blob, an old or a new one; none if another process is at it.
fn kept(repository: &Repository, blob: &Descriptor) -> Result<Option<Upload>> {
    let mut id = [0; 16];
    id.copy_from_slice(&blob.digest.as_bytes()[..16]);
    let id = UploadId::from_bytes(id);
    if matches!(repository.upload_bytes(&id), Ok(bytes) if bytes > blob.size) {
        repository.cancel_upload(&id)?;
    }
    match repository.upload(&id, blob.size) {
        Err(Error::UploadUnknown) => {}
        Err(Error::UploadBusy) => return Ok(None),
        upload => return upload.map(Some),
    }
    match repository.begin_upload(&id) {
        // Somebody else has begun it a moment ago.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
            return Ok(None);
        }
        begun => begun?,
    }
    match repository.upload(&id, blob.size) {
        Err(Error::UploadBusy | Error::UploadUnknown) => Ok(None),
        upload => upload.map(Some),
    }
}

/// A blob that is being written.
pub(super) struct Landing {
    pieces: mpsc::Sender<Option<Bytes>>,
    writer: JoinHandle<Result<()>>,
    /// Bytes handed over, those of an earlier process included.
    pub(super) bytes: u64,
}

impl Landing {
    pub(super) async fn begin(store: &Store, name: Option<&PackageName>, blob: &Descriptor) -> Result<Self> {
        let (store, name, blob) = (store.clone(), name.cloned(), blob.clone());
        let digest = blob.digest;
        let mut place = blocking(move || Place::find(&store, name.as_ref(), &blob)).await?;
        let bytes = place.bytes();
        let (pieces, mut received) = mpsc::channel::<Option<Bytes>>(TRANSFER_PIECES_MAX);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(piece) = received.blocking_recv() {
                match piece {
                    Some(piece) => place.push(&piece)?,
                    None => return place.finish(&digest),
                }
            }
            // Cut off: whoever cut it off knows why.
            Ok(())
        });
        Ok(Self {
            pieces,
            writer,
            bytes,
        })
    }

    /// False if the writer has given up.
    pub(super) async fn push(&mut self, piece: Bytes) -> bool {
        self.bytes += piece.len() as u64;
        self.pieces.send(Some(piece)).await.is_ok()
    }

    /// True if writing failed; `finish` says how.
    pub(super) fn has_given_up(&self) -> bool {
        self.pieces.is_closed()
    }

    pub(super) async fn finish(self) -> Result<()> {
        // It fails if the writer has ended already, and then its end says why.
        drop(self.pieces.send(None).await);
        joined(self.writer.await)
    }

    /// Waits until what has arrived is written: whoever takes it up next finds it whole and nobody at it.
    pub(super) async fn leave(self) {
        drop(self.pieces);
        if let Err(error) = joined(self.writer.await) {
            tracing::debug!(%error, "what arrived of a blob could not be kept");
        }
    }
}
