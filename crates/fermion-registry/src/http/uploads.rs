//! Uploads: begun, in one request or in several, mounted from elsewhere, finished, cancelled.

use axum::body::Body;
use axum::response::Response;
use fermion_model::PackageName;
use fermion_package::store::{Upload, UploadId};
use fermion_package::{ContentDigest, Error as Package};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use tokio::sync::SemaphorePermit;

use super::refusal::Refusal;
use super::{Answer, Asked, CONTENT_DIGEST, body, empty, range, text};
use crate::access::Right;
use crate::limits::{BLOB_BYTES_MAX, UPLOAD_TURN_MAX};

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// POST: mounts a blob that is here already, takes a whole blob, or begins an upload.
pub(super) async fn begin(asked: &Asked, body: Body) -> Answer {
    if let Some(digest) = asked.parameter("mount") {
        let digest: ContentDigest = digest.parse()?;
        if mount(asked, digest).await? {
            return Ok(created(asked, &digest));
        }
    }
    let id = asked.registry.upload_id()?;
    let whole = match asked.parameter("digest") {
        Some(digest) => Some(digest.parse::<ContentDigest>()?),
        None => None,
    };
    let _turn = turn(asked).await?;
    let new = id.clone();
    asked
        .blocking(move |repository| repository.begin_upload(&new))
        .await?;
    match whole {
        Some(digest) => complete(asked, &id, digest, body, None).await,
        None => Ok(state(asked, &id, 0, StatusCode::ACCEPTED)),
    }
}

/// False where the caller may not know whether there is such a blob, just as where there is none.
async fn mount(asked: &Asked, digest: ContentDigest) -> Result<bool, Refusal> {
    let access = &asked.registry.shared.access;
    match asked.parameter("from") {
        Some(from) if access.may(&asked.caller, Right::Pull, from) => {
            let Ok(from) = from.parse::<PackageName>() else {
                return Ok(false);
            };
            asked
                .blocking(move |repository| {
                    let from = repository.store().repository(&from);
                    repository.mount(&digest, &from)
                })
                .await
        }
        // Whoever may read everything may mount from anywhere.
        None if access.may_everywhere(&asked.caller, Right::Pull) => {
            asked
                .blocking(move |repository| match repository.adopt_blob(&digest) {
                    Ok(()) => Ok(true),
                    Err(Package::BlobMissing(_) | Package::DigestMismatch { .. }) => Ok(false),
                    Err(error) => Err(error),
                })
                .await
        }
        _ => Ok(false),
    }
}

/// PATCH: adds a piece.
pub(super) async fn append(asked: &Asked, id: &str, body: Body) -> Answer {
    let id: UploadId = id.parse()?;
    let _turn = turn(asked).await?;
    let (upload, announced) = match take(asked, &id).await {
        Ok(taken) => taken,
        Err(refusal) => {
            body::discard(body).await;
            return Err(refusal);
        }
    };
    let before = upload.bytes();
    let upload = body::receive(body, upload, announced).await?;
    let bytes = upload.bytes();
    if announced.is_some_and(|announced| announced != bytes - before) {
        return Err(Refusal::upload_invalid("fewer bytes than the content-range says"));
    }
    Ok(state(asked, &id, bytes, StatusCode::ACCEPTED))
}

/// PUT: adds the last piece, if there is one, and makes a blob of it all.
pub(super) async fn finish(asked: &Asked, id: &str, body: Body) -> Answer {
    let id: UploadId = id.parse()?;
    let digest = asked.parameter("digest");
    let digest =
        digest.ok_or_else(|| Refusal::digest_invalid("the digest is missing: ?digest=sha256:..."))?;
    let digest: ContentDigest = digest.parse()?;
    let _turn = turn(asked).await?;
    complete(asked, &id, digest, body, Some(())).await
}

async fn complete(
    asked: &Asked,
    id: &UploadId,
    digest: ContentDigest,
    body: Body,
    ranged: Option<()>,
) -> Answer {
    let (upload, announced) = match ranged {
        Some(()) => take(asked, id).await?,
        None => (open(asked, id).await?, None),
    };
    let upload = match body::receive(body, upload, announced).await {
        Ok(upload) => upload,
        Err(refusal) => {
            if ranged.is_none() {
                // Nobody has been told its name, so nobody can go on with it.
                forget(asked, id).await;
            }
            return Err(refusal);
        }
    };
    let finished = asked.blocking(move |_| match upload.finish(&digest) {
        Ok(_) => Ok(None),
        Err(Package::DigestMismatch { found, .. }) => Ok(Some(found)),
        Err(error) => Err(error),
    });
    match finished.await? {
        None => Ok(created(asked, &digest)),
        Some(found) => Err(Refusal::digest_invalid(format!(
            "what has arrived is {found}, not {digest}; begin again"
        ))),
    }
}

async fn forget(asked: &Asked, id: &UploadId) {
    let id = id.clone();
    drop(
        asked
            .blocking(move |repository| repository.cancel_upload(&id))
            .await,
    );
}

async fn turn(asked: &Asked) -> Result<SemaphorePermit<'_>, Refusal> {
    let permit = asked.registry.shared.uploads.acquire();
    match tokio::time::timeout(UPLOAD_TURN_MAX, permit).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Refusal::busy("uploads")),
    }
}

async fn open(asked: &Asked, id: &UploadId) -> Result<Upload, Refusal> {
    let id = id.clone();
    asked
        .blocking(move |repository| repository.upload(&id, BLOB_BYTES_MAX))
        .await
}

/// Takes the upload up if the piece belongs where it stands; also says how long the piece is, if that was announced.
async fn take(asked: &Asked, id: &UploadId) -> Result<(Upload, Option<u64>), Refusal> {
    let upload = open(asked, id).await?;
    let Some(field) = asked.headers.get(CONTENT_RANGE) else {
        return Ok((upload, None));
    };
    let chunk = field.to_str().ok().and_then(range::chunk);
    let (first, last) =
        chunk.ok_or_else(|| Refusal::upload_invalid("the content-range is not FIRST-LAST in bytes"))?;
    let bytes = last - first + 1;
    let length = asked.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length != bytes) {
        return Err(Refusal::upload_invalid(
            "content-range and content-length say different things",
        ));
    }
    if first != upload.bytes() {
        let stands = upload.bytes();
        let message = format!("the upload stands at byte {stands}, the piece begins at {first}");
        return Err(
            Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message)
                .with(LOCATION, text(place(asked, id)))
                .with(RANGE, text(arrived(stands)))
                .with(UPLOAD_UUID, text(id.as_str())),
        );
    }
    Ok((upload, Some(bytes)))
}

pub(super) async fn status(asked: &Asked, id: &str) -> Answer {
    let id: UploadId = id.parse()?;
    let sought = id.clone();
    let bytes = asked
        .blocking(move |repository| repository.upload_bytes(&sought))
        .await?;
    Ok(state(asked, &id, bytes, StatusCode::NO_CONTENT))
}

pub(super) async fn cancel(asked: &Asked, id: &str) -> Answer {
    let id: UploadId = id.parse()?;
    if asked
        .blocking(move |repository| repository.cancel_upload(&id))
        .await?
    {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    } else {
        Err(Package::UploadUnknown.into())
    }
}

fn place(asked: &Asked, id: &UploadId) -> String {
    format!("/v2/{}/blobs/uploads/{}", asked.name(), id.as_str())
}

/// What has arrived, as a range. Nothing has no form of its own: like one byte, as other registries write it.
fn arrived(bytes: u64) -> String {
    format!("0-{}", bytes.saturating_sub(1))
}

fn state(asked: &Asked, id: &UploadId, bytes: u64, status: StatusCode) -> Response {
    let mut response = if status == StatusCode::NO_CONTENT {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    } else {
        empty(status)
    };
    let headers = response.headers_mut();
    headers.insert(LOCATION, text(place(asked, id)));
    headers.insert(RANGE, text(arrived(bytes)));
    headers.insert(UPLOAD_UUID, text(id.as_str()));
    response
}

fn created(asked: &Asked, digest: &ContentDigest) -> Response {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(
        LOCATION,
        text(format_args!("/v2/{}/blobs/{digest}", asked.name())),
    );
    headers.insert(CONTENT_DIGEST, text(digest));
    response
}
