//! Why a request is refused, in the form and with the codes of the distribution specification. The one place that turns
//! an error of the store into HTTP; what only the operator may know goes to the log.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use fermion_package::Error as Package;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

/// How to say who one is: any user name, and a token as the password. A token works as a bearer token too; there is no
/// service to fetch one from, so that is not offered.
pub(super) const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"fermion\", charset=\"UTF-8\"");

/// A request that is not done.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            headers: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn unauthenticated() -> Self {
        let message = "say who you are: any user name, and a token as the password";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message).with(WWW_AUTHENTICATE, CHALLENGE)
    }

    pub(super) fn denied() -> Self {
        let message = "this token does not grant it; `fermion registry token new` makes one that does";
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    pub(super) fn host() -> Self {
        let message = "the Host is not this machine's; only loopback names are answered here";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "DENIED", message)
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "UNSUPPORTED",
            "this path means nothing here",
        )
    }

    pub(super) fn no_such_method() -> Self {
        let message = "this method means nothing here";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", message)
    }

    pub(super) fn busy(what: &str) -> Self {
        let message = format!("too many {what} at once; try again");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
            .with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    pub(super) fn stopped() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNKNOWN",
            "the registry is stopping",
        )
    }

    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(%error, "registry request failed");
        let message = "the registry failed; its log says how";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", message)
    }

    pub(super) fn blob_unknown() -> Self {
        let message = "this repository has no such blob";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message)
    }

    pub(super) fn manifest_unknown() -> Self {
        let message = "this repository has no such manifest";
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    pub(super) fn upload_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    }

    /// What was sent has another digest than what was said.
    pub(super) fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    /// As an answer; one to HEAD has no body.
    pub(super) fn answer(self, is_head: bool) -> Response {
        let text = serde_json::json!({
            "errors": [{ "code": self.code, "message": self.message, "detail": null }],
        })
        .to_string();
        let length = super::text(text.len());
        let mut response = Response::new(if is_head { Body::empty() } else { Body::from(text) });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, length);
        headers.extend(self.headers.into_iter().map(|(name, value)| (Some(name), value)));
        response
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.answer(false)
    }
}

impl From<Package> for Refusal {
    fn from(error: Package) -> Self {
        let message = error.to_string();
        let (status, code) = match &error {
            Package::DigestInvalid { .. } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            Package::NameInvalid(_) => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Package::TagInvalid(_) | Package::ManifestInvalid { .. } => {
                (StatusCode::BAD_REQUEST, "MANIFEST_INVALID")
            }
            Package::ManifestBlobUnknown { .. } => (StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN"),
            Package::SizeExceeded { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
            Package::UploadUnknown => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Package::UploadBusy => (StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID"),
            Package::QuotaExceeded { .. } => (StatusCode::FORBIDDEN, "DENIED"),
            // Damaged here and moved aside: whoever has it may push it again.
            Package::DigestMismatch { .. } | Package::BlobMissing(_) => return Self::blob_unknown(),
            _ => return Self::internal(&error),
        };
        Self::new(status, code, message)
    }
}
