//! Who may speak: the token, and the `Host` header.

use axum::extract::{Request, State};
use axum::middleware::Next;
use fermion_api::listener::names_this_machine;
use http::header::AUTHORIZATION;

use super::Api;
use super::answer::Answer;
use crate::Error;

pub(super) async fn check_host(request: Request, next: Next) -> Answer {
    if !names_this_machine(request.headers()) {
        return Err(Error::Host.into());
    }
    Ok(next.run(request).await)
}

pub(super) async fn authenticate(State(api): State<Api>, request: Request, next: Next) -> Answer {
    let mut headers = request.headers().get_all(AUTHORIZATION).iter();
    let header = headers.next();
    let token = header.and_then(|header| header.to_str().ok()).and_then(bearer);
    let known = token.is_some_and(|token| api.control.shared.parts.token.matches(token));
    if !known || headers.next().is_some() {
        return Err(Error::Unauthenticated {
            given: header.is_some(),
        }
        .into());
    }
    Ok(next.run(request).await)
}

/// The token of `Bearer TOKEN` (RFC 6750, section 2.1); the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        for other in ["abc", "Basic abc", "Bearer", ""] {
            assert_eq!(bearer(other), None, "{other}");
        }
    }
}
