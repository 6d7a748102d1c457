//! Lists: the tags of a repository, and what refers to a manifest. Both in pages, with a `Link` to the next.

use fermion_package::ContentDigest;
use fermion_package::canonical::INDEX_TYPE;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue, LINK};

use super::refusal::Refusal;
use super::{Answer, Asked, json, text};
use crate::limits::{REFERRERS_PAGE_MAX, TAGS_PAGE_MAX};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn tags(asked: &Asked) -> Answer {
    let wanted = match asked.parameter("n") {
        None => TAGS_PAGE_MAX,
        Some(n) => n
            .parse::<usize>()
            .map_err(|_| Refusal::unsupported("n is not a number"))?,
    };
    let count = wanted.min(TAGS_PAGE_MAX);
    let last = asked.parameter("last").map(str::to_owned);
    let listed = asked.blocking(move |repository| {
        if !repository.exists() {
            return Ok(None);
        }
        let mut tags = repository.tags()?;
        if let Some(last) = last {
            tags.retain(|tag| *tag > last);
        }
        let is_more = tags.len() > count;
        tags.truncate(count);
        Ok(Some((tags, is_more)))
    });
    let (tags, is_more) = listed.await?.ok_or_else(|| {
        let message = "there is no such repository";
        Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
    })?;
    let list = serde_json::json!({ "name": asked.name(), "tags": tags });
    let mut response = json(list.to_string().into_bytes(), "application/json");
    if let (true, Some(last)) = (is_more, tags.last()) {
        let link = format!(
            "</v2/{}/tags/list?n={count}&last={last}>; rel=\"next\"",
            asked.name()
        );
        response.headers_mut().insert(LINK, text(link));
    }
    Ok(response)
}

pub(super) async fn referrers(asked: &Asked, digest: &str) -> Answer {
    let subject: ContentDigest = digest.parse()?;
    let kind = asked.parameter("artifactType").map(str::to_owned);
    let last = match asked.parameter("last") {
        Some(last) => Some(last.parse::<ContentDigest>()?),
        None => None,
    };
    let filter = kind.clone();
    let listed = asked.blocking(move |repository| {
        let mut found = repository.referrers(&subject)?;
        if let Some(kind) = &filter {
            found.retain(|referrer| referrer.artifact_type.as_ref() == Some(kind));
        }
        if let Some(last) = last {
            found.retain(|referrer| referrer.digest > last);
        }
        let is_more = found.len() > REFERRERS_PAGE_MAX;
        found.truncate(REFERRERS_PAGE_MAX);
        Ok((found, is_more))
    });
    let (found, is_more) = listed.await?;
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": found });
    let mut response = json(index.to_string().into_bytes(), INDEX_TYPE);
    let headers = response.headers_mut();
    if kind.is_some() {
        headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let (true, Some(last)) = (is_more, found.last()) {
        let kind = kind.map_or_else(String::new, |kind| format!("&artifactType={}", encode(&kind)));
        let link = format!(
            "</v2/{}/referrers/{subject}?last={}{kind}>; rel=\"next\"",
            asked.name(),
            last.digest
        );
        headers.insert(LINK, text(link));
    }
    Ok(response)
}

/// Percent-encodes everything that could mean something in a query or a header field.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex::encode_upper([byte]));
        }
    }
    encoded
}
