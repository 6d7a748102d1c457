//! Bodies on their way between connection and disk, piece by piece: what is in memory at a time is bounded, whatever the
//! length and however slow either side.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use axum::body::Body;
use bytes::Bytes;
use fermion_package::store::Upload;
use futures::stream;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::refusal::Refusal;
use crate::limits::{
    BODY_IDLE_MAX, BODY_TIME_MAX, DISCARD_TIME_MAX, DISCARDED_BYTES_MAX, PIECE_BYTES, PIECES_MAX,
};

/// Why a body did not come to its end.
enum Lost {
    Slow,
    Broken,
}

/// Adds a body to an upload; at most `bytes_max` of it, if so many were announced. What has arrived stays with the
/// upload also when the rest does not come.
pub(super) async fn receive(body: Body, upload: Upload, bytes_max: Option<u64>) -> Result<Upload, Refusal> {
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let reading = async {
        tokio::time::timeout(BODY_TIME_MAX, read(body, pieces))
            .await
            .unwrap_or(Err(Lost::Slow))
    };
    let writing = tokio::task::spawn_blocking(move || write(upload, received, bytes_max));
    let (read, written) = tokio::join!(reading, writing);
    let upload = written.map_err(|_| Refusal::stopped())??;
    match read {
        Ok(()) => Ok(upload),
        Err(Lost::Slow) => Err(Refusal::upload_invalid(
            "the body came too slowly; go on where it stopped",
        )),
        Err(Lost::Broken) => Err(Refusal::upload_invalid(
            "the body ended early; go on where it stopped",
        )),
    }
}

/// Reads what nobody wants, within bounds: a connection that is closed on a client that still sends may lose it the
/// answer that says why.
pub(super) async fn discard(mut body: Body) {
    let reading = async {
        let mut left = DISCARDED_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Whoever takes longer has had its chance.
    drop(tokio::time::timeout(DISCARD_TIME_MAX, reading).await);
}

async fn read(mut body: Body, pieces: mpsc::Sender<Bytes>) -> Result<(), Lost> {
    loop {
        let frame = tokio::time::timeout(BODY_IDLE_MAX, body.frame()).await;
        match frame.map_err(|_| Lost::Slow)? {
            None => return Ok(()),
            Some(Err(_)) => return Err(Lost::Broken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && pieces.send(data).await.is_err()
                {
                    // The writer has given up; its own refusal says why.
                    return Ok(());
                }
            }
        }
    }
}

fn write(
    mut upload: Upload,
    mut received: mpsc::Receiver<Bytes>,
    bytes_max: Option<u64>,
) -> Result<Upload, Refusal> {
    let mut left = bytes_max;
    while let Some(piece) = received.blocking_recv() {
        if let Some(left) = &mut left {
            let rest = left.checked_sub(piece.len() as u64);
            *left = rest.ok_or_else(|| Refusal::upload_invalid("more bytes than the content-range says"))?;
        }
        upload.push(&piece)?;
    }
    Ok(upload)
}

/// `length` bytes of a file from `first` on. Called where it may block: what is short is read at once.
pub(super) fn send(mut file: File, first: u64, length: u64) -> std::io::Result<Body> {
    if first > 0 {
        file.seek(SeekFrom::Start(first))?;
    }
    if length <= PIECE_BYTES as u64 {
        return piece(&mut file, length).map(Body::from);
    }
    let pieces = stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let length = left.min(PIECE_BYTES as u64);
            piece(&mut file, length).map(|bytes| (bytes, (file, left - length)))
        });
        // An error breaks the connection: the answer never looks finished.
        read.await.map_err(std::io::Error::other)?.map(Some)
    });
    Ok(Body::from_stream(pieces))
}

fn piece(file: &mut File, length: u64) -> std::io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(PIECE_BYTES)];
    file.read_exact(&mut bytes)?;
    Ok(bytes.into())
}
