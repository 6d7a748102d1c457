//! Manifests: by tag or digest, byte for byte, with what they were declared to be.

use axum::body::Body;
use fermion_package::limits::MANIFEST_BYTES_MAX;
use fermion_package::{ContentDigest, Error as Package, ManifestReference};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http_body_util::BodyExt as _;

use super::blobs::content;
use super::body::discard;
use super::refusal::Refusal;
use super::{Answer, Asked, CONTENT_DIGEST, empty, text};
use crate::limits::{BODY_IDLE_MAX, TAGS_PUT_MAX, UPLOAD_TURN_MAX};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

pub(super) async fn get(asked: &Asked, reference: &str) -> Answer {
    // No tag can be called that, so there is none.
    let reference = match reference.parse::<ManifestReference>() {
        Err(Package::TagInvalid(_)) => return Err(Refusal::manifest_unknown()),
        reference => reference?,
    };
    let now = asked.registry.now();
    let (is_head, headers) = (asked.is_head(), asked.headers.clone());
    let found = asked.blocking(
        move |repository| match repository.open_manifest(&reference, now) {
            Ok(Some((digest, media, open))) => Ok(Some((media, content(&headers, is_head, &digest, open)))),
            Ok(None) | Err(Package::DigestMismatch { .. } | Package::TagDamaged { .. }) => Ok(None),
            Err(error) => Err(error),
        },
    );
    let (media, response) = found.await?.ok_or_else(Refusal::manifest_unknown)?;
    let mut response = response?;
    let media = HeaderValue::try_from(media).map_err(|error| Refusal::internal(&error))?;
    response.headers_mut().insert(CONTENT_TYPE, media);
    Ok(response)
}

pub(super) async fn put(asked: &Asked, reference: &str, body: Body) -> Answer {
    let reference: ManifestReference = reference.parse()?;
    let more: Vec<String> = asked
        .query
        .iter()
        .filter(|(key, _)| key == "tag")
        .map(|(_, tag)| tag.clone())
        .collect();
    if more.len() > TAGS_PUT_MAX {
        return Err(Refusal::unsupported(format!(
            "at most {TAGS_PUT_MAX} tags at once"
        )));
    }
    let declared = asked
        .headers
        .get(CONTENT_TYPE)
        .and_then(|media| media.to_str().ok());
    let declared = declared.map(|media| media.split(';').next().unwrap_or(media).trim().to_owned());
    let turn = asked.registry.shared.manifests.acquire();
    let _turn = match tokio::time::timeout(UPLOAD_TURN_MAX, turn).await {
        Ok(Ok(turn)) => turn,
        _ => return Err(Refusal::busy("manifests")),
    };
    let bytes = read(body).await?;
    let tags = more.clone();
    let put = asked.blocking(move |repository| {
        let digest = match &reference {
            ManifestReference::Digest(digest) => *digest,
            ManifestReference::Tag(_) => fermion_package::canonical::digest(&bytes).into(),
        };
        let tag = match &reference {
            ManifestReference::Tag(tag) => Some(tag.as_str()),
            ManifestReference::Digest(_) => None,
        };
        let media = declared.or_else(|| written(&bytes)).unwrap_or_default();
        let put = match repository.put_manifest_as(&digest, &media, &bytes, tag) {
            Err(Package::DigestMismatch { found, .. }) => return Ok(Err(found)),
            put => put?,
        };
        for tag in &tags {
            repository.set_tag(tag, &digest)?;
        }
        Ok(Ok(put))
    });
    let put = put.await?.map_err(|found| {
        Refusal::digest_invalid(format!(
            "what has arrived is {found}; send it under that name, or what was meant"
        ))
    })?;
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    let place = format!("/v2/{}/manifests/{}", asked.name(), put.digest);
    headers.insert(LOCATION, text(place));
    headers.insert(CONTENT_DIGEST, text(put.digest));
    if let Some(subject) = put.subject {
        headers.insert(SUBJECT, text(subject));
    }
    for tag in more {
        headers.append(TAG, text(tag));
    }
    Ok(response)
}

/// What a manifest calls itself.
fn written(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    serde_json::from_slice::<Typed>(bytes)
        .ok()
        .map(|typed| typed.media_type)
}

async fn read(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let too_large = || {
        let message = format!("a manifest has at most {MANIFEST_BYTES_MAX} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message)
    };
    let lost = |message: &str| Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message);
    if http_body::Body::size_hint(&body).lower() > MANIFEST_BYTES_MAX {
        discard(body).await;
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| lost("the body ended early"))?;
            let Ok(data) = frame.into_data() else { continue };
            if (bytes.len() + data.len()) as u64 > MANIFEST_BYTES_MAX {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    let read = tokio::time::timeout(BODY_IDLE_MAX, reading).await;
    match read.map_err(|_| lost("the body came too slowly"))? {
        Ok(()) => Ok(bytes),
        Err(refusal) => {
            discard(body).await;
            Err(refusal)
        }
    }
}

pub(super) async fn delete(asked: &Asked, reference: &str) -> Answer {
    let reference = match reference.parse::<ManifestReference>() {
        Err(Package::TagInvalid(_)) => return Err(Refusal::manifest_unknown()),
        reference => reference?,
    };
    let removed = asked.blocking(move |repository| match &reference {
        ManifestReference::Tag(tag) => repository.remove_tag(tag),
        ManifestReference::Digest(digest) => remove(&repository, digest),
    });
    if removed.await? {
        Ok(empty(StatusCode::ACCEPTED))
    } else {
        Err(Refusal::manifest_unknown())
    }
}

fn remove(repository: &fermion_package::Repository, digest: &ContentDigest) -> fermion_package::Result<bool> {
    repository.remove_manifest(digest)
}
