//! What a request and an answer must be, whichever protocol carried them, and what is taken off their heads.

use fermion_model::Fault;
use fermion_model::fault::Failure;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, StatusCode, Version};

use crate::limits::{
    ANSWER_HEADERS_BYTES_MAX, ANSWER_HEADERS_MAX, HEADER_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_MAX,
    URI_BYTES_MAX,
};

/// A request's target without its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/path`, to be routed.
    Path,
    /// `OPTIONS *`: the server itself.
    Server,
}

fn bad(detail: impl Into<String>) -> Failure {
    Failure::new(Fault::BadRequest, detail)
}

fn invalid(detail: impl Into<String>) -> Failure {
    Failure::new(Fault::GuestResponseInvalid, detail)
}

/// Checks target and host, and brings both into one form: the target as path and query, the host in its field.
pub(crate) fn request<B>(request: &mut Request<B>) -> Result<Target, Failure> {
    if request.method() == Method::CONNECT {
        return Err(bad("CONNECT: this is not a proxy"));
    }
    if request.uri().authority().is_some() {
        move_authority(request)?;
    }
    let is_http_10 = request.version() == Version::HTTP_10;
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => {}
        (None, None) if is_http_10 => {}
        _ => return Err(bad("no valid host")),
    }
    strip_hop_by_hop(request.headers_mut());
    match request.uri().path() {
        "*" if request.method() == Method::OPTIONS => Ok(Target::Server),
        path if path.starts_with('/') => Ok(Target::Path),
        _ => Err(bad("a target that is not a path")),
    }
}

/// RFC 9112 section 3.2.2: the authority of an absolute target replaces the host field. RFC 9113 section 8.3.1: in
/// HTTP/2 the two must agree.
fn move_authority<B>(request: &mut Request<B>) -> Result<(), Failure> {
    let uri = request.uri();
    let Some(authority) = uri.authority() else {
        return Ok(());
    };
    let Some(path) = uri.path_and_query().cloned() else {
        return Err(bad("a target without path"));
    };
    if uri
        .scheme_str()
        .is_some_and(|scheme| scheme != "http" && scheme != "https")
    {
        return Err(bad("a target with a scheme other than http"));
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| bad("authority"))?;
    if request.version() == Version::HTTP_2
        && request
            .headers()
            .get(header::HOST)
            .is_some_and(|given| !given.as_bytes().eq_ignore_ascii_case(host.as_bytes()))
    {
        return Err(bad("a host field that differs from :authority"));
    }
    *request.uri_mut() = origin_form(path);
    request.headers_mut().insert(header::HOST, host);
    Ok(())
}

fn origin_form(path: PathAndQuery) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or_default()
}

/// Takes `strip` bytes off the front of the path; what is left begins with a slash, and the query stays.
pub(crate) fn strip_prefix(uri: &mut Uri, strip: usize) -> Result<(), Failure> {
    let Some(whole) = uri.path_and_query() else {
        return Ok(());
    };
    let rest = whole.as_str().get(strip..).unwrap_or_default();
    let stripped = if rest.starts_with('/') {
        PathAndQuery::try_from(rest)
    } else {
        PathAndQuery::try_from(format!("/{rest}"))
    };
    *uri = origin_form(stripped.map_err(|error| bad(format!("target: {error}")))?);
    Ok(())
}

/// The bounds of an HTTP/2 head; HTTP/1 heads are held to them while they are read.
pub(crate) fn head_size<B>(request: &Request<B>) -> Result<(), Failure> {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    if target > URI_BYTES_MAX {
        return Err(Failure::new(Fault::UriTooLong, format!("{target} bytes")));
    }
    let headers = request.headers();
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    let (sum, largest) = sizes.fold((0, 0), |(sum, largest): (usize, usize), size| {
        (sum + size, largest.max(size))
    });
    if headers.len() > HEADERS_MAX || sum > HEADERS_BYTES_MAX || largest > HEADER_BYTES_MAX {
        let detail = format!("{} fields of {sum} bytes, the largest {largest}", headers.len());
        return Err(Failure::new(Fault::HeadersTooLarge, detail));
    }
    Ok(())
}

/// A name or address, and perhaps a port.
fn is_host(host: &[u8]) -> bool {
    let is_plain = |&b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'%');
    let (name, port) = match host {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&b| b == b']') else {
                return false;
            };
            let is_address = |&b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
            if end == 0 || !rest[..end].iter().all(is_address) {
                return false;
            }
            (&b"x"[..], &rest[end + 1..])
        }
        _ => host.split_at(host.iter().position(|&b| b == b':').unwrap_or(host.len())),
    };
    let port_holds = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !name.is_empty() && name.iter().all(is_plain) && port_holds
}

/// Fields that concern one connection and not the message (RFC 9110 section 7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name.len() {
        7 => name == "upgrade",
        10 => name == "connection" || name == "keep-alive",
        14 => name == "http2-settings",
        16 => name == "proxy-connection",
        17 => name == "transfer-encoding",
        _ => false,
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.keys().any(is_hop_by_hop) {
        for name in [
            "upgrade",
            "connection",
            "keep-alive",
            "http2-settings",
            "proxy-connection",
            "transfer-encoding",
        ] {
            headers.remove(name);
        }
    }
}

/// Checks a guest's head and takes off it what is the connection's business. Returns the declared length of a body
/// that will be sent.
pub(crate) fn answer(parts: &mut Parts, is_head: bool) -> Result<Option<u64>, Failure> {
    if parts.status.is_informational() {
        return Err(invalid(format!("status {}", parts.status)));
    }
    let (mut bytes, mut has_hop_by_hop, mut declared) = (0, false, None);
    for (name, value) in &parts.headers {
        bytes += name.as_str().len() + value.len();
        has_hop_by_hop |= is_hop_by_hop(name);
        if name == header::CONTENT_LENGTH {
            let text = value.as_bytes();
            let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
            let length = value
                .to_str()
                .ok()
                .filter(|_| digits)
                .and_then(|text| text.parse::<u64>().ok());
            if length.is_none() || declared.is_some() {
                return Err(invalid("content-length is not one number"));
            }
            declared = length;
        }
    }
    let count = parts.headers.len();
    if count > ANSWER_HEADERS_MAX || bytes > ANSWER_HEADERS_BYTES_MAX {
        return Err(invalid(format!("{count} header fields of {bytes} bytes")));
    }
    if has_hop_by_hop {
        strip_hop_by_hop(&mut parts.headers);
    }
    if parts.status == StatusCode::NO_CONTENT {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    let has_body =
        !is_head && parts.status != StatusCode::NO_CONTENT && parts.status != StatusCode::NOT_MODIFIED;
    Ok(declared.filter(|_| has_body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        for good in [
            "a",
            "shop.example.com:8080",
            "127.0.0.1",
            "[::1]",
            "[::1]:80",
            "a_b-c.",
            "a:",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a/b", "a@b", "a:b", "a:1:2", "a:123456", "[::1", "[]", "[g]", "[::1]x", "ä",
            "a,b",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_stripped_target_begins_with_a_slash_and_keeps_its_query() {
        for (from, to) in [
            ("/a/x?q=1", "/x?q=1"),
            ("/a", "/"),
            ("/a?q", "/?q"),
            ("/a/", "/"),
            ("/a//b", "//b"),
            ("/a/../b", "/../b"),
            ("/a/%2e%2e/b", "/%2e%2e/b"),
        ] {
            let mut uri: Uri = from.parse().unwrap();
            strip_prefix(&mut uri, 2).unwrap();
            assert_eq!(uri.to_string(), to, "{from}");
            assert!(uri.authority().is_none());
        }
    }

    #[test]
    fn an_absolute_target_replaces_the_host() {
        let build = |uri: &str| {
            Request::builder()
                .uri(uri)
                .header("host", "other")
                .body(())
                .unwrap()
        };
        let mut absolute = build("http://shop.example:81/a?b");
        assert_eq!(request(&mut absolute).unwrap(), Target::Path);
        assert_eq!(absolute.uri(), "/a?b");
        assert_eq!(absolute.headers()["host"], "shop.example:81");
        for bad in ["ftp://x/", "http://user@x/", "x:80"] {
            assert!(request(&mut build(bad)).is_err(), "{bad}");
        }
    }
}
