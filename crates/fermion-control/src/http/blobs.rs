//! Blobs on their way into the store: read piece by piece, written and hashed on a blocking thread, kept only if they
//! are what their name says.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use fermion_api::limits::BLOB_BYTES_MAX;
use fermion_model::Digest;
use fermion_package::Store;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::Api;
use super::answer::{Answer, answer};
use crate::Error;
use crate::limits::{BLOB_IDLE_MAX, UPLOAD_PIECES_MAX};

const BYTES: &str = "application/octet-stream";

pub(super) async fn has(State(api): State<Api>, Path(digest): Path<String>) -> Answer {
    let digest = parse_digest(&digest)?;
    let store = api.control.shared.parts.store.clone();
    if !blocking("look for a blob", move || Ok(store.has(&digest))).await? {
        return Err(Error::NoSuchBlob.into());
    }
    Ok(answer(StatusCode::OK, BYTES, Body::empty()))
}

pub(super) async fn put(State(api): State<Api>, Path(digest): Path<String>, request: Request) -> Answer {
    let digest = parse_digest(&digest)?;
    if announced_bytes(&request)?.is_some_and(|bytes| bytes > BLOB_BYTES_MAX) {
        return Err(Error::BodyTooLarge {
            bytes_max: BLOB_BYTES_MAX,
        }
        .into());
    }
    let _slot = api
        .control
        .shared
        .uploads
        .try_acquire()
        .map_err(|_| Error::Busy { what: "uploads" })?;
    let store = api.control.shared.parts.store.clone();
    let (pieces, received) = mpsc::channel(UPLOAD_PIECES_MAX);
    // Both end when either fails: the writer by dropping the receiver, the reader by dropping the sender unfinished.
    let (read, written) = tokio::join!(
        read_pieces(request.into_body(), pieces),
        blocking("store a blob", move || write_pieces(&store, &digest, received)),
    );
    let new = match (read, written) {
        (_, Err(Error::BodyLost { .. })) | (Err(_), Ok(_)) => {
            return Err(Error::BodyLost {
                why: "the connection ended before it, or it was too slow",
            }
            .into());
        }
        (_, written) => written?,
    };
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Response::builder()
        .status(status)
        .body(Body::empty())
        .expect("a status alone is a valid answer"))
}

/// One piece, or the end: a channel that closes without it was cut off.
type Piece = Option<Bytes>;

async fn read_pieces(mut body: Body, pieces: mpsc::Sender<Piece>) -> Result<(), Error> {
    loop {
        let frame = tokio::time::timeout(BLOB_IDLE_MAX, body.frame()).await;
        let piece = match frame.map_err(|_| Error::BodyLost { why: "too slow" })? {
            None => None,
            Some(Err(_)) => {
                return Err(Error::BodyLost {
                    why: "the connection ended before it",
                });
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Some(data),
                Err(_trailers) => continue,
            },
        };
        let last = piece.is_none();
        // The writer has given up; its own error says why.
        if pieces.send(piece).await.is_err() || last {
            return Ok(());
        }
    }
}

/// True if the blob was not there before.
fn write_pieces(store: &Store, digest: &Digest, mut pieces: mpsc::Receiver<Piece>) -> Result<bool, Error> {
    let new = !store.has(digest);
    let mut writer = store.writer(BLOB_BYTES_MAX)?;
    loop {
        match pieces.blocking_recv() {
            Some(Some(piece)) => writer.push(&piece)?,
            Some(None) => break,
            None => {
                return Err(Error::BodyLost {
                    why: "the connection ended before it",
                });
            }
        }
    }
    writer.finish(digest)?;
    Ok(new)
}

fn announced_bytes(request: &Request) -> Result<Option<u64>, Error> {
    let Some(length) = request.headers().get(CONTENT_LENGTH) else {
        return Ok(None);
    };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| Error::Request {
        what: "content-length is not a number".to_owned(),
    })
}

fn parse_digest(text: &str) -> Result<Digest, Error> {
    text.parse()
        .map_err(|error: fermion_model::digest::DigestError| Error::Request {
            what: error.to_string(),
        })
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Stopped { doing })?
}
