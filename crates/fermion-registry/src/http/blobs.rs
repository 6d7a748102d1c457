//! Blobs: read, looked at, in parts, deleted.

use axum::body::Body;
use axum::response::Response;
use fermion_package::ContentDigest;
use fermion_package::store::OpenBlob;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE, RANGE,
};
use http::{HeaderMap, StatusCode};

use super::range::{Part, wanted};
use super::refusal::Refusal;
use super::{Answer, Asked, CONTENT_DIGEST, body, empty, text};
use crate::access::Right;

pub(super) async fn get(asked: &Asked, digest: &str) -> Answer {
    let digest: ContentDigest = digest.parse()?;
    let now = asked.registry.now();
    let (is_head, headers) = (asked.is_head(), asked.headers.clone());
    // Whoever may push looks before pushing what names it: from here on no collection takes it away.
    let is_pusher = is_head
        && asked
            .registry
            .shared
            .access
            .may(&asked.caller, Right::Push, asked.name().as_str());
    let found = asked.blocking(move |repository| {
        if is_pusher {
            repository.refresh_blob(&digest)?;
        }
        let open = repository.open_blob(&digest, now)?;
        Ok(open.map(|open| content(&headers, is_head, &digest, open)))
    });
    let mut response = found.await?.ok_or_else(Refusal::blob_unknown)??;
    let media = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, media);
    Ok(response)
}

/// Verified content as an answer, whole or in part; without a body for HEAD.
pub(super) fn content(headers: &HeaderMap, is_head: bool, digest: &ContentDigest, open: OpenBlob) -> Answer {
    let length = open.bytes;
    let etag = text(format_args!("\"{digest}\""));
    let is_same = headers.get(IF_RANGE).is_none_or(|condition| *condition == etag);
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    let part = wanted(range.filter(|_| is_same && !is_head), length);
    let (status, first, bytes) = match part {
        Part::Whole => (StatusCode::OK, 0, length),
        Part::Bytes { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Part::Nothing => {
            let message = format!("the content has {length} bytes");
            let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", message);
            return Err(refusal.with(CONTENT_RANGE, text(format_args!("bytes */{length}"))));
        }
    };
    let body = if is_head {
        Body::empty()
    } else {
        body::send(open.file, first, bytes).map_err(|error| Refusal::internal(&error))?
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_LENGTH, text(bytes));
    fields.insert(CONTENT_DIGEST, text(digest));
    fields.insert(ETAG, etag);
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        let last = first + bytes - 1;
        fields.insert(CONTENT_RANGE, text(format_args!("bytes {first}-{last}/{length}")));
    }
    Ok(response)
}

pub(super) async fn delete(asked: &Asked, digest: &str) -> Answer {
    let digest: ContentDigest = digest.parse()?;
    if asked
        .blocking(move |repository| repository.remove_blob(&digest))
        .await?
    {
        Ok(empty(StatusCode::ACCEPTED))
    } else {
        Err(Refusal::blob_unknown())
    }
}
