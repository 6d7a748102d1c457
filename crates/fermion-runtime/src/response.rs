//! What the head of a guest's answer must be like before it goes to a client.

use fermion_model::fault::{Failure, Fault};
use http::response::Parts;

use crate::limits;

/// Refuses heads that break HTTP or the limits.
pub(crate) fn validate(parts: &Parts) -> Result<(), Failure> {
    let refuse = |detail: String| Err(Failure::new(Fault::GuestResponseInvalid, detail));
    if parts.status.is_informational() || parts.status.as_u16() > 599 {
        return refuse(format!("status {} cannot end an exchange", parts.status.as_u16()));
    }
    if parts.headers.len() > limits::RESPONSE_HEADERS_MAX {
        return refuse(format!(
            "{} headers, at most {}",
            parts.headers.len(),
            limits::RESPONSE_HEADERS_MAX
        ));
    }
    let bytes: usize = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if bytes > limits::RESPONSE_HEADER_BYTES_MAX {
        return refuse(format!(
            "{bytes} bytes of headers, at most {}",
            limits::RESPONSE_HEADER_BYTES_MAX
        ));
    }
    Ok(())
}
