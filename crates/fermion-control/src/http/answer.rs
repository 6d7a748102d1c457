//! Answers: JSON, or a problem description.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use fermion_api::PROBLEM_CONTENT_TYPE;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use crate::{Error, problem};

/// What every handler gives.
pub(super) type Answer = Result<Response, Refusal>;

/// An error on its way to the caller.
pub(super) struct Refusal(Error);

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

pub(super) fn json(value: &impl Serialize) -> Answer {
    let text =
        serde_json::to_vec(value).expect("the API's types are maps with text keys, which JSON can write");
    Ok(answer(StatusCode::OK, "application/json", text.into()))
}

pub(super) fn answer(status: StatusCode, media: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = problem(&self.0);
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::warn!(code = problem.code, error = %self.0, "admin request failed");
        }
        let text = serde_json::to_vec(&problem).expect("a problem is a map of texts and a number");
        let mut response = answer(status, PROBLEM_CONTENT_TYPE, text.into());
        let headers = response.headers_mut();
        match self.0 {
            Error::Unauthenticated { given: false } => {
                headers.insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"fermion\""),
                );
            }
            Error::Unauthenticated { given: true } => {
                let challenge = HeaderValue::from_static("Bearer realm=\"fermion\", error=\"invalid_token\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
