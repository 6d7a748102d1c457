//! The platform's own answers: the one place where a [`Failure`] becomes HTTP. The code goes into an RFC 9209
//! `proxy-status` field and an RFC 9457 problem body; the failure's detail goes to neither.

use bytes::Bytes;
use fermion_model::Fault;
use fermion_model::fault::Failure;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::limits::RETRY_AFTER_SECONDS;
use crate::trace::trace_id_hex;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Where each code is explained; the code is appended.
const TYPE_PREFIX: &str = "https://fermion.dev/errors/";

/// The answer a caller gets for a failure. `request_id` is the trace id, absent if the request could not be read.
pub fn answer(failure: &Failure, request_id: Option<&[u8; 16]>) -> Response<Bytes> {
    let fault = failure.fault;
    let mut problem = serde_json::json!({
        "type": format!("{TYPE_PREFIX}{}", fault.code()),
        "title": fault.title(),
        "status": fault.status(),
        "code": fault.code(),
        "blame": fault.blame().as_str(),
    });
    if let Some(id) = request_id {
        problem["request_id"] = trace_id_hex(id).into();
    }
    let mut response = Response::new(Bytes::from(format!("{problem}\n")));
    *response.status_mut() =
        StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let status = format!(
        "fermion; error={}; details=\"{}\"",
        fault.proxy_error(),
        fault.code()
    );
    headers.insert(
        PROXY_STATUS,
        HeaderValue::from_str(&status).expect("codes are plain ASCII"),
    );
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match fault {
        Fault::Overloaded | Fault::NotReady => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        Fault::GuestTrap
        | Fault::GuestNoResponse
        | Fault::GuestMemoryLimit
        | Fault::GuestStackLimit
        | Fault::GuestResourceLimit
        | Fault::GuestResponseInvalid
        | Fault::GuestError
        | Fault::GuestCpuLimit
        | Fault::GuestTimeout
        | Fault::Internal
        | Fault::NoRoute
        | Fault::MethodNotAllowed
        | Fault::BadRequest
        | Fault::RequestTimeout
        | Fault::BodyTooLarge
        | Fault::UriTooLong
        | Fault::HeadersTooLarge => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_code_status_and_blame_and_never_its_detail() {
        for &fault in Fault::ALL {
            let response = answer(&Failure::new(fault, "the operator's secret"), Some(&[0xab; 16]));
            assert_eq!(response.status().as_u16(), fault.status());
            let status = response.headers()[PROXY_STATUS].to_str().unwrap();
            assert!(status.starts_with("fermion; error="), "{status}");
            assert!(
                status.ends_with(&format!("details=\"{}\"", fault.code())),
                "{status}"
            );
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["code"], fault.code());
            assert_eq!(body["status"], fault.status());
            assert_eq!(body["blame"], fault.blame().as_str());
            assert_eq!(body["request_id"], "ab".repeat(16));
            assert_eq!(
                response.headers().contains_key("retry-after"),
                fault.status() == 503,
                "{fault}"
            );
            assert!(!format!("{response:?}").contains("secret"));
        }
    }
}
