//! Manifests and indexes in a registry: read by tag or digest with their bytes checked, written byte for byte, and the
//! list of what refers to a package, from the referrers API or from the fallback tag where there is no such API.

use std::str::FromStr as _;

use bytes::Bytes;
use fermion_model::Digest;
use http::header::{ACCEPT, CONTENT_TYPE, LINK};
use http::{Method, StatusCode};
use reqwest::{Response, Url};

use super::exchange::{Call, Try};
use super::session::Session;
use crate::canonical::{Descriptor, INDEX_TYPE, Index, MANIFEST_TYPE, digest};
use crate::limits::{MANIFEST_BYTES_MAX, REFERRER_PAGES_MAX, REFERRERS_MAX};
use crate::referrers::referrers_tag;
use crate::{Error, RegistryFault, Result};

const DIGEST_HEADER: &str = "docker-content-digest";
const SUBJECT_HEADER: &str = "oci-subject";

/// A manifest or an index, with the bytes that its digest is of.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Bytes,
}

impl Document {
    pub(super) fn of(media_type: &str, bytes: Bytes) -> Self {
        Self {
            descriptor: Descriptor::of(media_type, &bytes),
            bytes,
        }
    }

    pub(super) fn parse<T: serde::de::DeserializeOwned>(&self, what: &'static str) -> Result<T> {
        serde_json::from_slice(&self.bytes).map_err(|why| Error::layout(what, why.to_string()))
    }
}

/// How the registry took a manifest.
pub(super) struct Taken {
    /// It keeps the list of referrers itself.
    pub(super) lists_referrers: bool,
}

impl Session {
    /// The manifest under a tag or digest; none if there is none.
    pub(super) async fn manifest(&self, identifier: &str, bytes_max: u64) -> Result<Option<Document>> {
        let doing = format!("read the manifest {}:{identifier}", self.repository);
        self.retry(&doing, || self.try_manifest(identifier, bytes_max, &doing))
            .await
    }

    async fn try_manifest(&self, identifier: &str, bytes_max: u64, doing: &str) -> Try<Option<Document>> {
        let url = self.url(&format!("manifests/{identifier}"));
        let call =
            Call::new(Method::GET, url, doing).header(ACCEPT, &format!("{MANIFEST_TYPE}, {INDEX_TYPE}"));
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.refusal(response, doing).await),
        }
        let named = text(&response, DIGEST_HEADER);
        let media_type = text(&response, CONTENT_TYPE.as_str()).unwrap_or_default();
        let bytes = self
            .body_of(response, bytes_max.min(MANIFEST_BYTES_MAX), doing)
            .await?;
        let found = digest(&bytes);
        // Only sha256 is checked: a registry may name the same bytes by another algorithm.
        let named = named.filter(|named| named.starts_with("sha256:"));
        for wanted in [
            named.as_deref(),
            Digest::from_str(identifier).ok().map(|_| identifier),
        ] {
            if wanted.is_some_and(|wanted| wanted != found.to_string()) {
                let why = format!("it sends {found} as {}", wanted.unwrap_or_default());
                return Err(self.fault(RegistryFault::OtherBytes, doing, why).into());
            }
        }
        Ok(Some(Document::of(&media_type, bytes)))
    }

    /// Writes a manifest under its digest or a tag.
    pub(super) async fn put_manifest(&self, document: &Document, identifier: &str) -> Result<Taken> {
        let doing = format!("write the manifest {}:{identifier}", self.repository);
        let url = self.url(&format!("manifests/{identifier}"));
        let mut call =
            Call::new(Method::PUT, url, &doing).header(CONTENT_TYPE, &document.descriptor.media_type);
        call.body = document.bytes.clone();
        self.retry(&doing, || {
            self.try_put_manifest(&call, document.descriptor.digest)
        })
        .await
    }

    async fn try_put_manifest(&self, call: &Call, wanted: Digest) -> Try<Taken> {
        let response = self.send(call).await?;
        if !matches!(response.status(), StatusCode::CREATED | StatusCode::OK) {
            return Err(self.refusal(response, &call.doing).await);
        }
        let named = text(&response, DIGEST_HEADER).filter(|named| named.starts_with("sha256:"));
        if let Some(named) = named.filter(|named| *named != wanted.to_string()) {
            let why = format!("it stored {named} where {wanted} was sent");
            return Err(self.fault(RegistryFault::OtherBytes, &call.doing, why).into());
        }
        Ok(Taken {
            lists_referrers: response.headers().contains_key(SUBJECT_HEADER),
        })
    }

    /// What refers to the package.
    pub(super) async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let doing = format!("list what refers to {}@{subject}", self.repository);
        let mut entries: Vec<Descriptor> = Vec::new();
        let mut next = Some(self.url(&format!("referrers/{subject}")));
        let mut pages = 0;
        while let Some(url) = next.take() {
            let page = self.retry(&doing, || self.try_referrers(&url, &doing)).await?;
            let Some((page, link)) = page else {
                // Nothing there, or not this API: then the list is a manifest like any other.
                return Ok(self
                    .referrers_index(subject)
                    .await?
                    .map_or(Vec::new(), |index| index.manifests));
            };
            entries.extend(page.manifests);
            pages += 1;
            if entries.len() > REFERRERS_MAX || pages == REFERRER_PAGES_MAX && link.is_some() {
                let why =
                    format!("it lists more than {REFERRERS_MAX}, or on more than {REFERRER_PAGES_MAX} pages");
                return Err(self.fault(RegistryFault::TooLarge, doing, why));
            }
            next = link;
        }
        Ok(entries)
    }

    /// One page, and where the next one is.
    async fn try_referrers(&self, url: &Url, doing: &str) -> Try<Option<(Index, Option<Url>)>> {
        let call = Call::new(Method::GET, url.clone(), doing).header(ACCEPT, INDEX_TYPE);
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::OK => {}
            // What registries answer that do not know this API: not there, no such method, no such name.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST => {
                return Ok(None);
            }
            _ => return Err(self.refusal(response, doing).await),
        }
        if !text(&response, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with(INDEX_TYPE)) {
            return Ok(None);
        }
        let link = text(&response, LINK.as_str()).and_then(|link| next_page(&link, url));
        let link = link.filter(|link| self.is_own(link));
        let body = self.body_of(response, MANIFEST_BYTES_MAX, doing).await?;
        let index = serde_json::from_slice(&body)
            .map_err(|why| self.fault(RegistryFault::Answer, doing, format!("its list is none: {why}")))?;
        Ok(Some((index, link)))
    }

    /// The list at the fallback tag.
    pub(super) async fn referrers_index(&self, subject: &Digest) -> Result<Option<Index>> {
        let Some(document) = self.manifest(&referrers_tag(subject), MANIFEST_BYTES_MAX).await? else {
            return Ok(None);
        };
        let index: Index = document.parse("the list of referrers")?;
        if index.manifests.len() > REFERRERS_MAX {
            let why = format!(
                "it lists {}, the ceiling is {REFERRERS_MAX}",
                index.manifests.len()
            );
            let doing = format!("list what refers to {}@{subject}", self.repository);
            return Err(self.fault(RegistryFault::TooLarge, doing, why));
        }
        Ok(Some(index))
    }
}

pub(super) fn text(response: &Response, name: &str) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    Some(value.trim().to_owned())
}

/// The target of `<...>; rel="next"` (RFC 8288).
fn next_page(link: &str, from: &Url) -> Option<Url> {
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = rest
        .split(';')
        .any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
    if is_next { from.join(target).ok() } else { None }
}
