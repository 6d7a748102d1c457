//! The tables of what a host must refuse: response headers, and parts of outgoing requests.

/// Headers a guest tries to set on a response: (label, name, value).
pub const HEADERS: [(&str, &str, &[u8]); 17] = [
    ("connection", "connection", b"close"),
    ("keep-alive", "keep-alive", b"timeout=5"),
    ("proxy-connection", "proxy-connection", b"close"),
    ("proxy-authenticate", "proxy-authenticate", b"Basic"),
    ("transfer-encoding", "transfer-encoding", b"chunked"),
    ("upgrade", "upgrade", b"h2c"),
    ("host", "host", b"elsewhere.example"),
    ("http2-settings", "http2-settings", b"AAMAAABkAAQAAP__"),
    ("CONNECTION", "CONNECTION", b"close"),
    ("empty name", "", b"x"),
    ("space in name", "bad name", b"x"),
    ("line in name", "bad\nname", b"x"),
    ("colon in name", "bad:name", b"x"),
    ("line in value", "x-value", b"a\r\nx-injected: 1"),
    ("nul in value", "x-value", b"a\0b"),
    ("bytes in value", "x-value", b"\xff\xfe"),
    ("plain", "x-value", b"plain"),
];

/// One outgoing request that is wrong in one part; the other parts are right.
pub struct BadRequest {
    /// Method, if that is the bad part.
    pub method: Option<&'static str>,
    /// Scheme, if that is the bad part.
    pub scheme: Option<&'static str>,
    /// Authority, if that is the bad part.
    pub authority: Option<&'static str>,
    /// Path, if that is the bad part.
    pub path: Option<&'static str>,
    /// A header, if that is the bad part.
    pub header: Option<(&'static str, &'static str)>,
}

/// The bad request for `kind`.
pub fn bad_request(kind: &str) -> Option<BadRequest> {
    let good = BadRequest {
        method: None,
        scheme: None,
        authority: None,
        path: None,
        header: None,
    };
    Some(match kind {
        "method" => BadRequest {
            method: Some("GE T"),
            ..good
        },
        "scheme" => BadRequest {
            scheme: Some("ht tp"),
            ..good
        },
        "scheme-unknown" => BadRequest {
            scheme: Some("ftp"),
            ..good
        },
        "authority" => BadRequest {
            authority: Some("bad host"),
            ..good
        },
        "authority-user" => BadRequest {
            authority: Some("user:word@upstream.invalid"),
            ..good
        },
        "authority-port" => BadRequest {
            authority: Some("upstream.invalid:99999"),
            ..good
        },
        "path" => BadRequest {
            path: Some("/bad path"),
            ..good
        },
        "path-line" => BadRequest {
            path: Some("/a\r\nx-injected: 1"),
            ..good
        },
        "header" => BadRequest {
            header: Some(("bad name", "x")),
            ..good
        },
        "header-line" => BadRequest {
            header: Some(("x-value", "a\r\nx-injected: 1")),
            ..good
        },
        "header-forbidden" => BadRequest {
            header: Some(("transfer-encoding", "chunked")),
            ..good
        },
        "header-host" => BadRequest {
            header: Some(("host", "elsewhere.example")),
            ..good
        },
        _ => return None,
    })
}
