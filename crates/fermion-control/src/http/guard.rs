//! Who may speak: the token, and the `Host` header. A page in a browser on this machine can reach loopback under a name
//! of its own making (DNS rebinding); it cannot make the browser send another `Host` than that name.

use axum::extract::{Request, State};
use axum::middleware::Next;
use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;

use super::Api;
use super::answer::Answer;
use crate::Error;

pub(super) async fn check_host(request: Request, next: Next) -> Answer {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() || !host.is_some_and(is_this_machine) {
        return Err(Error::Host.into());
    }
    Ok(next.run(request).await)
}

fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    if host.contains('@') {
        return false;
    }
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.parse::<std::net::IpAddr>()
        .map_or_else(|_| name.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
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
    fn only_hosts_of_this_machine() {
        for good in [
            "localhost",
            "LOCALHOST:7070",
            "127.0.0.1:7070",
            "127.1.2.3",
            "[::1]:7070",
        ] {
            assert!(is_this_machine(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example:7070",
            "127.0.0.1.nip.io",
            "a@127.0.0.1",
            "0.0.0.0",
        ] {
            assert!(!is_this_machine(bad), "{bad}");
        }
    }

    #[test]
    fn bearer_tokens() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        for other in ["abc", "Basic abc", "Bearer", ""] {
            assert_eq!(bearer(other), None, "{other}");
        }
    }
}
